//! JSON Schema, narrowed to what the API's constrained decoding takes.
//!
//! It wants every object closed and knows no bounds. A bound it would refuse becomes part of the
//! description, where the model may still heed it; Anthropic's own libraries do the same.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// A tool's schema, which must say that it describes an object.
pub(in crate::dialect) fn input_schema(parameters: Option<&Value>) -> Cow<'_, Value> {
    match parameters {
        Some(schema) if schema.get("type").is_some() => Cow::Borrowed(schema),
        Some(Value::Object(schema)) => {
            let mut schema = schema.clone();
            schema.insert("type".to_owned(), "object".into());
            Cow::Owned(Value::Object(schema))
        }
        _ => Cow::Owned(json!({ "type": "object", "properties": {} })),
    }
}

/// A narrowed schema. Each keyword that no longer binds is noted as dropped from `field`.
pub(in crate::dialect) fn narrowed(mut schema: Value, field: &str, dropped: &mut Vec<String>) -> Value {
    let mut lost = Vec::new();
    narrow(&mut schema, &mut lost);
    dropped.extend(lost.iter().map(|keyword| format!("{field}: {keyword}")));
    schema
}

/// Narrows a schema; `lost` gets the name of each keyword that no longer binds.
fn narrow(schema: &mut Value, lost: &mut Vec<&'static str>) {
    let Value::Object(schema) = schema else { return };
    for keyword in BOUNDS {
        if let Some(value) = schema.get(keyword)
            && !is_known(keyword, value)
        {
            let remark = format!("{keyword}: {value}");
            schema.remove(keyword);
            describe(schema, &remark);
            lose(keyword, lost);
        }
    }
    if schema.contains_key("properties") || schema.get("type").is_some_and(|kind| kind == "object") {
        let before = schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        if before.is_some_and(|before| before != Value::Bool(false)) {
            lose("additionalProperties", lost);
        }
    }
    // Alternatives are supported under one name only.
    if let Some(alternatives) = schema.remove("oneOf") {
        schema.entry("anyOf").or_insert(alternatives);
    }
    for (keyword, value) in schema.iter_mut() {
        match (keyword.as_str(), value) {
            ("$defs" | "definitions" | "properties", Value::Object(named)) => {
                named.values_mut().for_each(|schema| narrow(schema, lost));
            }
            ("allOf" | "anyOf", Value::Array(several)) => {
                several.iter_mut().for_each(|schema| narrow(schema, lost))
            }
            ("items", schema) => narrow(schema, lost),
            _ => {}
        }
    }
}

/// Whether the API understands this keyword with this value.
fn is_known(keyword: &str, value: &Value) -> bool {
    match keyword {
        "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        "minItems" => value.as_u64().is_some_and(|count| count <= 1),
        _ => false,
    }
}

/// Adds to a schema's description.
pub(super) fn describe(schema: &mut Map<String, Value>, remark: &str) {
    let text = match schema.get("description").and_then(Value::as_str) {
        Some(before) => format!("{before}\n{remark}"),
        None => remark.to_owned(),
    };
    schema.insert("description".to_owned(), Value::String(text));
}

fn lose(keyword: &'static str, lost: &mut Vec<&'static str>) {
    if !lost.contains(&keyword) {
        lost.push(keyword);
    }
}

const BOUNDS: [&str; 13] = [
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "uniqueItems",
];

const FORMATS: [&str; 10] =
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_closed_and_bounds_become_words() {
        let cases = [
            (json!({"type": "string"}), json!({"type": "string"}), vec![]),
            (
                json!({"type": "object", "properties": {"a": {"type": "object"}}, "additionalProperties": true}),
                json!({
                    "type": "object",
                    "properties": {"a": {"type": "object", "additionalProperties": false}},
                    "additionalProperties": false,
                }),
                vec!["additionalProperties"],
            ),
            (
                json!({"type": "integer", "description": "Age.", "minimum": 0, "maximum": 150}),
                json!({"type": "integer", "description": "Age.\nmaximum: 150\nminimum: 0"}),
                vec!["maximum", "minimum"],
            ),
            (
                json!({"type": "array", "items": {"type": "string", "format": "uri"}, "minItems": 1}),
                json!({"type": "array", "items": {"type": "string", "format": "uri"}, "minItems": 1}),
                vec![],
            ),
            (
                json!({"oneOf": [{"type": "array", "minItems": 2}, {"type": "string", "format": "iri"}]}),
                json!({"anyOf": [
                    {"type": "array", "description": "minItems: 2"},
                    {"type": "string", "description": "format: \"iri\""},
                ]}),
                vec!["minItems", "format"],
            ),
            (
                json!({"$defs": {"n": {"type": "number", "multipleOf": 5}}, "$ref": "#/$defs/n"}),
                json!({"$defs": {"n": {"type": "number", "description": "multipleOf: 5"}}, "$ref": "#/$defs/n"}),
                vec!["multipleOf"],
            ),
            // A property may be named like a keyword.
            (
                json!({"type": "object", "properties": {"format": {"type": "string"}}}),
                json!({"type": "object", "properties": {"format": {"type": "string"}}, "additionalProperties": false}),
                vec![],
            ),
        ];
        for (mut schema, narrowed, gone) in cases {
            let mut lost = Vec::new();
            narrow(&mut schema, &mut lost);
            assert_eq!((schema, lost), (narrowed, gone));
        }
    }
}
