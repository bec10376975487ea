//! `/admin/v1/prometheus`: the part of Prometheus's HTTP API that Grafana's data source for it uses.

use std::collections::BTreeMap;

use bytes::Bytes;
use gateway::{
    Error, Host,
    call::Incoming,
    series::{self, ALL_LABELS, Moments},
};
use http::Response;
use hypercare::{
    promql::{Answer, Labels, Query, Selector, duration_ms},
    time::{DAY_MS, parse_rfc3339},
};
use serde_json::{Map, Value, json};

use super::fields::{self, wrong};
use crate::route::{body, json_response, no_route};

/// Answers what follows `/admin/v1/prometheus/api/v1/`.
pub(super) async fn answer<H: Host>(
    path: &str,
    incoming: &Incoming,
    host: &H,
) -> Result<Response<Bytes>, Error> {
    let mut given = fields::Query::parse(incoming.uri().query());
    let method = incoming.method().as_str();
    if method == "POST" {
        let form = String::from_utf8_lossy(body(incoming, host)?).into_owned();
        given.and(&form);
    }
    let parts: Vec<&str> = path.split('/').collect();
    let answered = match (method, &parts[..]) {
        ("GET" | "POST", ["query"]) => query(&mut given, host).await,
        ("GET" | "POST", ["query_range"]) => query_range(&mut given, host).await,
        ("GET" | "POST", ["labels"]) => Ok(json!(ALL_LABELS)),
        ("GET", ["label", name, "values"]) => label_values(name, &mut given, host).await,
        ("GET" | "POST", ["series"]) => list_series(&mut given, host).await,
        ("GET", ["metadata"]) => Ok(metadata()),
        // Grafana asks what it may ask for.
        ("GET", ["status", "buildinfo"]) => Ok(json!({ "version": LIKE_VERSION, "features": {} })),
        _ => return Err(no_route(method, incoming.uri().path())),
    };
    Ok(match answered {
        Ok(data) => json_response(200, &json!({ "status": "success", "data": data })),
        Err(Error::Field { message, .. }) => {
            json_response(400, &json!({ "status": "error", "errorType": "bad_data", "error": message }))
        }
        Err(error) => return Err(error),
    })
}

async fn query<H: Host>(given: &mut fields::Query, host: &H) -> Result<Value, Error> {
    let query = parsed(given)?;
    let at_ms = moment(given, "time")?.unwrap_or_else(|| host.now_ms());
    let answer = series::query(host, &query, Moments::at(at_ms)).await?.into_iter().next();
    Ok(match answer {
        Some((at_ms, Answer::Scalar(number))) => {
            json!({ "resultType": "scalar", "result": sample(at_ms, number) })
        }
        Some((at_ms, Answer::Vector(vector))) => {
            let result = vector
                .iter()
                .map(|(labels, value)| json!({ "metric": labels, "value": sample(at_ms, *value) }));
            json!({ "resultType": "vector", "result": result.collect::<Vec<_>>() })
        }
        None => json!({ "resultType": "vector", "result": [] }),
    })
}

async fn query_range<H: Host>(given: &mut fields::Query, host: &H) -> Result<Value, Error> {
    let query = parsed(given)?;
    let required = |field: &str| wrong(field, format!("`{field}` is required."));
    let from_ms = moment(given, "start")?.ok_or_else(|| required("start"))?;
    let to_ms = moment(given, "end")?.ok_or_else(|| required("end"))?;
    let step = given.text("step").ok_or_else(|| required("step"))?;
    let step_ms =
        duration_ms(&step).or_else(|| step.parse::<f64>().ok().map(|seconds| (seconds * 1000.0) as i64));
    let step_ms = step_ms.filter(|ms| *ms > 0).ok_or_else(|| wrong("step", "`step` must be a duration."))?;
    if to_ms < from_ms || (to_ms - from_ms) / step_ms >= MOST_MOMENTS {
        let message = format!("`end` must be after `start`, and at most {MOST_MOMENTS} steps.");
        return Err(wrong("end", message));
    }
    let moments = Moments { from_ms, to_ms, step_ms };
    let mut all: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    for (at_ms, answer) in series::query(host, &query, moments).await? {
        let vector = match answer {
            Answer::Scalar(number) => vec![(Labels::new(), number)],
            Answer::Vector(vector) => vector,
        };
        for (labels, value) in vector {
            all.entry(labels).or_default().push(sample(at_ms, value));
        }
    }
    let result = all.iter().map(|(labels, values)| json!({ "metric": labels, "values": values }));
    Ok(json!({ "resultType": "matrix", "result": result.collect::<Vec<_>>() }))
}

async fn label_values<H: Host>(name: &str, given: &mut fields::Query, host: &H) -> Result<Value, Error> {
    let mut selectors = selectors(given)?;
    if selectors.is_empty() {
        selectors = every_metric();
    }
    // Which there are, whether or not somebody called.
    if name == "__name__" {
        let names: Vec<&str> = selectors.iter().map(|selector| selector.name.as_str()).collect();
        let known = series::metrics().into_iter().map(|(name, ..)| name);
        return Ok(json!(known.filter(|known| names.contains(&known.as_str())).collect::<Vec<_>>()));
    }
    let found = series::series(host, &selectors, period(given, host)?).await?;
    let values: std::collections::BTreeSet<&String> =
        found.iter().filter_map(|labels| labels.get(name)).collect();
    Ok(json!(values))
}

async fn list_series<H: Host>(given: &mut fields::Query, host: &H) -> Result<Value, Error> {
    let selectors = selectors(given)?;
    if selectors.is_empty() {
        return Err(wrong("match[]", "`match[]` is required."));
    }
    Ok(json!(series::series(host, &selectors, period(given, host)?).await?))
}

fn metadata() -> Value {
    let mut all = Map::new();
    for (name, kind, help) in series::metrics() {
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
        let family = family.filter(|_| kind == "histogram").unwrap_or(&name).to_owned();
        all.insert(family, json!([{ "type": kind, "help": help, "unit": "" }]));
    }
    Value::Object(all)
}

fn parsed(given: &mut fields::Query) -> Result<Query, Error> {
    let text = given.text("query").ok_or_else(|| wrong("query", "`query` is required."))?;
    Query::parse(&text).map_err(series::refusal)
}

fn selectors(given: &mut fields::Query) -> Result<Vec<Selector>, Error> {
    let mut all = Vec::new();
    for (_, text) in given.beginning("match[]") {
        all.extend(Query::parse(&text).map_err(series::refusal)?.selectors);
    }
    Ok(all)
}

fn every_metric() -> Vec<Selector> {
    let names = series::metrics().into_iter().map(|(name, ..)| name);
    names.map(|name| Selector { name, ..Selector::default() }).collect()
}

/// Where nothing is said, the last day.
fn period<H: Host>(given: &mut fields::Query, host: &H) -> Result<Moments, Error> {
    let to_ms = moment(given, "end")?.unwrap_or_else(|| host.now_ms());
    let from_ms = moment(given, "start")?.unwrap_or(to_ms - DAY_MS);
    Ok(Moments { from_ms, to_ms, step_ms: DAY_MS })
}

/// Unix seconds, or RFC 3339.
fn moment(given: &mut fields::Query, name: &str) -> Result<Option<i64>, Error> {
    let Some(text) = given.text(name) else { return Ok(None) };
    let seconds = || text.parse::<f64>().ok().filter(|seconds| seconds.abs() < 1e11);
    let ms = seconds().map(|seconds| (seconds * 1000.0) as i64).or_else(|| parse_rfc3339(&text));
    ms.map(Some).ok_or_else(|| wrong(name, format!("`{name}` must be unix seconds or RFC 3339.")))
}

fn sample(at_ms: i64, value: f64) -> Value {
    let text = match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    };
    json!([at_ms as f64 / 1000.0, text])
}

/// What this is like, as far as it goes: since then values of labels can be asked for by series.
const LIKE_VERSION: &str = "2.24.0";
/// Prometheus has the same bound.
const MOST_MOMENTS: i64 = 11_000;
