//! Lists as CSV (RFC 4180), for spreadsheets: `?format=csv`, or `accept: text/csv`.

use std::collections::BTreeSet;

use bytes::Bytes;
use gateway::{Error, call::Incoming};
use http::{HeaderName, HeaderValue, Response, header};
use serde_json::Value;

use super::fields::{Query, wrong};

/// Whether a list is wanted so.
pub(super) fn is_wanted(incoming: &Incoming) -> Result<bool, Error> {
    match Query::format(incoming.uri().query()).as_deref() {
        None => {
            let accept = incoming.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            Ok(accept.is_some_and(|accept| accept.trim_start().starts_with("text/csv")))
        }
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(_) => Err(wrong("format", "`format` must be `csv` or `json`.")),
    }
}

/// The answer as CSV, if it is a list. Where the next page begins goes into a header.
pub(super) fn of(mut answer: Response<Bytes>) -> Response<Bytes> {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let Some(rows) = body["data"].as_array() else { return answer };
    *answer.body_mut() = Bytes::from(table(rows));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Some(Ok(cursor)) = body["next_cursor"].as_str().map(HeaderValue::from_str) {
        headers.insert(NEXT_CURSOR, cursor);
    }
    answer
}

/// A column for every field that any row has; those of an object within a row are `object.field`.
fn table(rows: &[Value]) -> String {
    let rows: Vec<Vec<(String, String)>> = rows.iter().map(|row| cells(row, "")).collect();
    let columns: BTreeSet<&str> = rows.iter().flatten().map(|(name, _)| name.as_str()).collect();
    let mut table = line(columns.iter().map(|name| quoted(name)));
    for row in &rows {
        let cell = |name: &&str| row.iter().find(|(known, _)| known == name).map_or("", |(_, cell)| cell);
        table += &line(columns.iter().map(|name| cell(name).to_owned()));
    }
    table
}

fn cells(value: &Value, prefix: &str) -> Vec<(String, String)> {
    let Value::Object(fields) = value else { return vec![(prefix.to_owned(), text(value))] };
    let name = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    fields.iter().flat_map(|(field, value)| cells(value, &name(field))).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // To a spreadsheet this would be a formula, and others wrote it.
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            quoted(&format!("'{text}"))
        }
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\r\n"
}

const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-hypergate-next-cursor");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_every_field_of_any_row() {
        for (rows, expected) in [
            (json!([]), "\r\n"),
            (json!([{ "b": 1, "a": "x" }, { "c": null, "a": true }]), "a,b,c\r\nx,1,\r\ntrue,,\r\n"),
            (json!([{ "wait": { "p50_ms": 1.5 }, "list": [1, 2] }]), "list,wait.p50_ms\r\n\"[1,2]\",1.5\r\n"),
            (json!([{ "a": "say \"hi\",\nyou" }]), "a\r\n\"say \"\"hi\"\",\nyou\"\r\n"),
            (json!([{ "a": "=1+1" }, { "a": -1 }, { "a": "@x,y" }]), "a\r\n'=1+1\r\n-1\r\n\"'@x,y\"\r\n"),
        ] {
            assert_eq!(table(rows.as_array().expect("rows")), expected);
        }
    }
}
