//! Records as OpenTelemetry has them: spans and metrics in OTLP's JSON, by the names of the conventions for generative
//! AI (<https://github.com/open-telemetry/semantic-conventions-genai>, September 2026; they are in development).
//!
//! A call is a span of a server, by its route; each try of a target a span of a client under it, with what the model
//! was asked and what it said of itself. Refused before any target was asked, it has none. Of tries only their length
//! is known, so they are laid out one after another, the last one back from the answer. Ids follow from the call's: what is
//! sent twice is the same spans. Metrics are sums since they were first sent, or of what is sent with them only.

use std::collections::BTreeMap;

use llm::provider;
use serde_json::{Map, Value, json};

use crate::{store::calls::Call, trace::span_id};

/// An `ExportTraceServiceRequest`.
pub fn traces(calls: &[&Call], resource: &[(String, String)]) -> String {
    let spans: Vec<Value> = calls.iter().flat_map(|call| spans(call)).collect();
    let scope = json!({ "scope": scope(), "spans": spans });
    json!({ "resourceSpans": [{ "resource": { "attributes": texts(resource) }, "scopeSpans": [scope] }] })
        .to_string()
}

fn spans(call: &Call) -> Vec<Value> {
    let row = Row(&call.columns);
    let (begin_ms, id) = (row.int("started_ms").unwrap_or_default(), row.text("id").unwrap_or_default());
    let end_ms = begin_ms + row.int("duration_ms").unwrap_or_default();
    let trace_id = row.text("trace_id").unwrap_or_default();
    let operation = row.text("operation").unwrap_or_default();
    let (route, outcome) = (row.text("route").unwrap_or_default(), row.text("outcome").unwrap_or_default());
    let own = span_id(id, None);
    let method = if operation == "realtime" { "GET" } else { "POST" };

    let mut attributes = Attributes::default();
    attributes.text("http.request.method", Some(method));
    attributes.text("http.route", Some(route));
    attributes.int("http.response.status_code", row.int("status"));
    attributes.text("error.type", row.text("error_type"));
    for (name, column) in CALL_TEXTS {
        attributes.text(name, row.text(column).filter(|text| !text.is_empty()));
    }
    for (name, column) in CALL_INTS {
        attributes.int(name, row.int(column));
    }
    if let Some(Value::Object(tags)) = call.columns.get("tags") {
        for (name, value) in tags {
            attributes.text(&format!("hypergate.tag.{name}"), value.as_str());
        }
    }
    let mut server = json!({
        "traceId": trace_id, "spanId": own, "name": format!("{method} {route}"), "kind": SERVER,
        "startTimeUnixNano": nanos(begin_ms), "endTimeUnixNano": nanos(end_ms), "attributes": attributes.0,
        "status": status((outcome == "error").then(|| row.text("error_type").unwrap_or("error"))),
    });
    if let Some(parent) = row.text("parent_span_id") {
        server["parentSpanId"] = json!(parent);
    }
    let mut all = vec![server];

    let mut free_ms = begin_ms;
    let last = call.attempts.len().wrapping_sub(1);
    for (number, attempt) in call.attempts.iter().enumerate() {
        let is_last = number == last;
        // Back from the answer's first bytes, or from its end.
        let answered_ms = row.int("time_to_first_chunk_ms").map_or(end_ms, |ms| begin_ms + ms);
        let starts_ms = match is_last {
            true => (answered_ms - attempt.duration_ms).max(free_ms),
            false => free_ms,
        };
        let ends_ms = if is_last { end_ms.max(starts_ms) } else { starts_ms + attempt.duration_ms };
        free_ms = ends_ms;
        // What broke off later, the try does not know.
        let broken = row.text("error_type").filter(|_| is_last && outcome == "error");
        let error = attempt.error_type.as_deref().or(broken);

        let mut attributes = Attributes::default();
        attributes.text("gen_ai.operation.name", Some(operation));
        let provider = provider::find(&attempt.provider);
        let provider = provider.map_or(attempt.provider.as_str(), |provider| provider.telemetry_name);
        attributes.text("gen_ai.provider.name", Some(provider));
        attributes.text("gen_ai.request.model", Some(&attempt.model));
        attributes.int("http.response.status_code", attempt.status.map(i64::from));
        attributes.text("error.type", error);
        let streams = row.0.get("stream") == Some(&Value::Bool(true));
        attributes.flag("gen_ai.request.stream", streams);
        if is_last {
            attributes.text("gen_ai.response.model", row.text("response_model"));
            if let Some(reason) = row.text("finish_reason") {
                attributes.add("gen_ai.response.finish_reasons", list(reason));
            }
            if streams && attempt.error_type.is_none() {
                attributes.seconds("gen_ai.response.time_to_first_chunk", attempt.duration_ms);
            }
            for (name, column) in USAGE {
                attributes.int(name, row.int(column));
            }
        }
        all.push(json!({
            "traceId": trace_id, "spanId": span_id(id, Some(number)), "parentSpanId": own,
            "name": format!("{operation} {}", attempt.model), "kind": CLIENT,
            "startTimeUnixNano": nanos(starts_ms), "endTimeUnixNano": nanos(ends_ms), "attributes": attributes.0,
            "status": status(error),
        }));
    }
    all
}

/// Sums of metrics: series by what tells them apart, each with its sum and the count of each of its buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    since_ms: i64,
    series: BTreeMap<String, Vec<i64>>,
}

impl Sums {
    /// Nothing yet.
    pub fn since(since_ms: i64) -> Self {
        Self { since_ms, series: BTreeMap::new() }
    }

    /// As stored; none where it is nothing that was.
    pub fn parse(text: &str) -> Option<Self> {
        let stored: Value = serde_json::from_str(text).ok()?;
        let since_ms = stored["since_ms"].as_i64()?;
        let series = stored["series"].as_object()?.iter().map(|(key, counts)| {
            let counts = counts.as_array()?.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>()?;
            let bounds = INSTRUMENTS.get(instrument(key)?)?.bounds.len();
            (counts.len() == bounds + 2).then(|| (key.clone(), counts))
        });
        Some(Self { since_ms, series: series.collect::<Option<_>>()? })
    }

    /// To be stored.
    pub fn to_text(&self) -> String {
        json!({ "since_ms": self.since_ms, "series": self.series }).to_string()
    }

    /// Counts a call, if a model was asked.
    pub fn count(&mut self, call: &Call) {
        let row = Row(&call.columns);
        let (Some(last), Some(operation)) = (call.attempts.last(), row.text("operation")) else { return };
        let is_ok = row.text("outcome") == Some("ok");
        let streams = row.0.get("stream") == Some(&Value::Bool(true));
        let first_ms = row.int("time_to_first_chunk_ms").filter(|_| is_ok && streams);
        let writing_ms = first_ms.and_then(|first_ms| Some(row.int("duration_ms")? - first_ms));
        let after_first = row.int("output_tokens").map(|tokens| tokens - 1).filter(|tokens| *tokens > 0);
        let error = row.text("error_type");
        let asked_ms = (streams && last.error_type.is_none()).then_some(last.duration_ms);
        let micros = |ms: i64| ms * 1_000;
        for (number, value, error, kind) in [
            (0, row.int("upstream_ms").map(micros), error, None),
            (1, asked_ms.map(micros), None, None),
            (2, row.int("input_tokens"), None, Some("input")),
            (2, row.int("output_tokens"), None, Some("output")),
            (3, row.int("duration_ms").map(micros), error, None),
            (4, writing_ms.zip(after_first).map(|(ms, tokens)| micros(ms) / tokens), None, None),
            (5, first_ms.map(micros), None, None),
        ] {
            let Some(value) = value else { continue };
            let models = (row.text("target_model"), row.text("response_model"));
            let key = |(asked, said): (Option<&str>, Option<&str>)| {
                json!([number, operation, row.text("provider_name"), asked, said, error, kind]).to_string()
            };
            let mut named = key(models);
            // Callers name models: of those there may be any number.
            if !self.series.contains_key(&named) && self.series.len() >= MOST_SERIES {
                named = key((Some(OTHER), None));
            }
            let bounds = INSTRUMENTS[number].bounds;
            let counts = self.series.entry(named).or_insert_with(|| vec![0; bounds.len() + 2]);
            counts[0] += value;
            // A bound is part of the bucket it ends.
            counts[1 + bounds.partition_point(|bound| *bound < value)] += 1;
        }
    }

    /// An `ExportMetricsServiceRequest`, with sums as of a moment.
    pub fn request(&self, now_ms: i64, is_delta: bool, resource: &[(String, String)]) -> String {
        let metrics = INSTRUMENTS.iter().enumerate().filter_map(|(number, instrument_row)| {
            let points: Vec<Value> = self
                .series
                .iter()
                .filter(|(key, _)| instrument(key) == Some(number))
                .map(|(key, counts)| self.point(instrument_row, key, counts, now_ms))
                .collect();
            let Instrument { name, unit, about, .. } = instrument_row;
            let temporality = if is_delta { DELTA } else { CUMULATIVE };
            (!points.is_empty()).then(|| {
                json!({ "name": name, "unit": unit, "description": about,
                    "histogram": { "aggregationTemporality": temporality, "dataPoints": points } })
            })
        });
        let scope = json!({ "scope": scope(), "metrics": metrics.collect::<Vec<_>>() });
        json!({ "resourceMetrics": [{ "resource": { "attributes": texts(resource) }, "scopeMetrics": [scope] }] })
            .to_string()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn point(&self, instrument: &Instrument, key: &str, counts: &[i64], now_ms: i64) -> Value {
        let words: Vec<Option<String>> =
            serde_json::from_str::<Vec<Value>>(key).unwrap_or_default().iter().map(word).collect();
        let mut attributes = Attributes::default();
        for (name, word) in SERIES_NAMES.iter().zip(words.iter().skip(1)) {
            attributes.text(name, word.as_deref());
        }
        let scaled = |number: i64| number as f64 / instrument.scale;
        let (sum, buckets) = counts.split_first().map_or((0, &[][..]), |(sum, buckets)| (*sum, buckets));
        json!({
            "attributes": attributes.0,
            "startTimeUnixNano": nanos(self.since_ms), "timeUnixNano": nanos(now_ms),
            "count": buckets.iter().sum::<i64>().to_string(), "sum": scaled(sum),
            "bucketCounts": buckets.iter().map(i64::to_string).collect::<Vec<_>>(),
            "explicitBounds": instrument.bounds.iter().map(|bound| scaled(*bound)).collect::<Vec<_>>(),
        })
    }
}

/// What of an answer of 2xx was refused after all: how much, and why. Never to be sent again.
pub fn partial(body: &[u8]) -> Option<(i64, String)> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let partial = answer["partialSuccess"].as_object()?;
    // 64-bit numbers are texts in this JSON, though not everywhere.
    let count = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let rejected = ["rejectedSpans", "rejectedDataPoints"]
        .iter()
        .find_map(|name| count(partial.get(*name)?))
        .unwrap_or(0);
    let why = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    (rejected > 0 || !why.is_empty()).then(|| (rejected, why.chars().take(200).collect()))
}

fn instrument(key: &str) -> Option<usize> {
    key.strip_prefix('[')?.split(',').next()?.parse().ok()
}

fn word(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn scope() -> Value {
    json!({ "name": "hypergate", "version": env!("CARGO_PKG_VERSION") })
}

fn status(error: Option<&str>) -> Value {
    error.map_or_else(|| json!({}), |error| json!({ "code": ERROR, "message": error }))
}

fn nanos(ms: i64) -> String {
    format!("{ms}000000")
}

fn list(text: &str) -> Value {
    json!({ "arrayValue": { "values": [{ "stringValue": text }] } })
}

fn texts(pairs: &[(String, String)]) -> Vec<Value> {
    let mut attributes = Attributes::default();
    for (name, value) in pairs {
        attributes.text(name, Some(value));
    }
    attributes.0
}

/// Columns of a call.
struct Row<'a>(&'a Map<String, Value>);

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Option<&'a str> {
        self.0.get(column)?.as_str()
    }

    fn int(&self, column: &str) -> Option<i64> {
        self.0.get(column)?.as_i64()
    }
}

/// A list of key-values; what is not known is left out.
#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn add(&mut self, name: &str, value: Value) {
        self.0.push(json!({ "key": name, "value": value }));
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, json!({ "stringValue": value }));
        }
    }

    fn int(&mut self, name: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.add(name, json!({ "intValue": value.to_string() }));
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.add(name, json!({ "boolValue": true }));
        }
    }

    fn seconds(&mut self, name: &str, ms: i64) {
        self.add(name, json!({ "doubleValue": ms as f64 / 1000.0 }));
    }
}

struct Instrument {
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    /// What a number is divided by.
    scale: f64,
    bounds: &'static [i64],
}

/// Names, units and bounds are the conventions'; those in seconds are microseconds here.
const INSTRUMENTS: [Instrument; 6] = [
    Instrument {
        name: "gen_ai.client.operation.duration",
        unit: "s",
        about: "What providers took, tries and pauses between them included",
        scale: MICROS,
        bounds: &DURATIONS,
    },
    Instrument {
        name: "gen_ai.client.operation.time_to_first_chunk",
        unit: "s",
        about: "Until the first chunk of a stream came from the provider",
        scale: MICROS,
        bounds: &DURATIONS,
    },
    Instrument {
        name: "gen_ai.client.token.usage",
        unit: "{token}",
        about: "Input and output tokens, as providers told them",
        scale: 1.0,
        bounds: &[
            1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
            67_108_864,
        ],
    },
    Instrument {
        name: "gen_ai.server.request.duration",
        unit: "s",
        about: "From the first byte in to the last byte out",
        scale: MICROS,
        bounds: &DURATIONS,
    },
    Instrument {
        name: "gen_ai.server.time_per_output_token",
        unit: "s",
        about: "Of streams, after their first chunk",
        scale: MICROS,
        bounds: &[
            10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000, 500_000, 750_000,
            1_000_000, 2_500_000,
        ],
    },
    Instrument {
        name: "gen_ai.server.time_to_first_token",
        unit: "s",
        about: "Until the first bytes of a stream went out to the caller",
        scale: MICROS,
        bounds: &[
            1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 250_000, 500_000, 750_000,
            1_000_000, 2_500_000, 5_000_000, 7_500_000, 10_000_000,
        ],
    },
];
const DURATIONS: [i64; 14] = [
    10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000, 10_240_000,
    20_480_000, 40_960_000, 81_920_000,
];
const MICROS: f64 = 1_000_000.0;

/// What tells series apart, in the order of their keys.
const SERIES_NAMES: [&str; 6] = [
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "error.type",
    "gen_ai.token.type",
];
const USAGE: [(&str, &str); 8] = [
    ("gen_ai.usage.input_tokens", "input_tokens"),
    ("gen_ai.usage.output_tokens", "output_tokens"),
    ("gen_ai.usage.cache_read.input_tokens", "cache_read_input_tokens"),
    ("gen_ai.usage.cache_creation.input_tokens", "cache_write_input_tokens"),
    ("gen_ai.usage.reasoning.output_tokens", "reasoning_output_tokens"),
    ("gen_ai.usage.audio.input_tokens", "audio_input_tokens"),
    ("gen_ai.usage.audio.output_tokens", "audio_output_tokens"),
    ("gen_ai.usage.image.input_tokens", "image_input_tokens"),
];
const CALL_TEXTS: [(&str, &str); 11] = [
    ("hypergate.call.id", "id"),
    ("hypergate.tenant.id", "tenant_id"),
    ("hypergate.key.id", "key_id"),
    ("hypergate.model", "request_model"),
    ("hypergate.outcome", "outcome"),
    ("hypergate.cache_status", "cache_status"),
    ("hypergate.service_tier", "service_tier"),
    ("hypergate.price_version", "price_version"),
    ("hypergate.prompt_version", "prompt_version"),
    ("hypergate.region", "region"),
    ("hypergate.release", "release"),
];
const CALL_INTS: [(&str, &str); 3] = [
    ("hypergate.cost_microusd", "cost_microusd"),
    ("hypergate.overhead_ms", "overhead_ms"),
    ("hypergate.time_to_first_chunk_ms", "time_to_first_chunk_ms"),
];

/// Some hundred kilobytes to store and to send.
const MOST_SERIES: usize = 1_000;
const OTHER: &str = "_other";
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;
const DELTA: u8 = 1;
const CUMULATIVE: u8 = 2;
