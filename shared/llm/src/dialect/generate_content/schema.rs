//! A caller's type, as JSON Schema.
//!
//! Gemini's own schemas are a part of OpenAPI's: types in capitals, `nullable`, counts that may be strings, an
//! order of properties beside them. Keywords unknown here are kept.

use serde_json::{Map, Value};

/// The schema in JSON Schema's words. As deep as the body is, which the JSON parser bounds.
pub(super) fn json_schema(schema: Value) -> Value {
    let Value::Object(schema) = schema else { return schema };
    let mut out = Map::with_capacity(schema.len());
    let (mut nullable, mut order) = (false, None);
    for (name, value) in schema {
        match (name.as_str(), value) {
            (_, Value::Null) if name != "default" => {}
            ("nullable", value) => nullable = value == Value::Bool(true),
            ("propertyOrdering" | "property_ordering", value) => order = Some(value),
            ("type", value) => {
                if let Some(value) = kind(value) {
                    out.insert(name, value);
                }
            }
            // Says no more than `enum` does.
            ("format", Value::String(format)) if format == "enum" => {}
            ("example", value) => {
                out.insert("examples".to_owned(), Value::Array(vec![value]));
            }
            ("items" | "additionalProperties" | "additional_properties" | "not", value) => {
                out.insert(camel(&name), json_schema(value));
            }
            ("properties" | "$defs" | "defs" | "definitions", Value::Object(map)) => {
                let map = map.into_iter().map(|(name, schema)| (name, json_schema(schema)));
                out.insert(name, Value::Object(map.collect()));
            }
            ("anyOf" | "any_of" | "oneOf" | "allOf" | "prefixItems" | "prefix_items", Value::Array(list)) => {
                out.insert(camel(&name), list.into_iter().map(json_schema).collect());
            }
            (known, value) => {
                let known = COUNTS.contains(&camel(known).as_str());
                let (name, value) = if known { (camel(&name), count(value)) } else { (name, value) };
                out.insert(name, value);
            }
        }
    }
    if let Some(order) = order {
        arrange(&mut out, &order);
    }
    if nullable {
        allow_null(&mut out);
    }
    Value::Object(out)
}

fn kind(value: Value) -> Option<Value> {
    match value {
        Value::String(word) if word == "TYPE_UNSPECIFIED" => None,
        Value::String(word) => Some(Value::String(word.to_ascii_lowercase())),
        Value::Array(list) => Some(list.into_iter().filter_map(kind).collect()),
        other => Some(other),
    }
}

/// 64-bit numbers are strings in the JSON of protobuf.
fn count(value: Value) -> Value {
    match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
        Some(count) => Value::from(count),
        None => value,
    }
}

/// Models answer in the order of the schema.
fn arrange(schema: &mut Map<String, Value>, order: &Value) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let mut rest = std::mem::take(properties);
    for name in order.as_array().into_iter().flatten().filter_map(Value::as_str) {
        if let Some(property) = rest.shift_remove(name) {
            properties.insert(name.to_owned(), property);
        }
    }
    properties.extend(rest);
}

fn allow_null(schema: &mut Map<String, Value>) {
    let null = || Value::from("null");
    match schema.get_mut("type") {
        Some(Value::Array(kinds)) if !kinds.contains(&null()) => kinds.push(null()),
        Some(kind @ Value::String(_)) if *kind != null() => *kind = Value::Array(vec![kind.take(), null()]),
        _ => {}
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.push(serde_json::json!({ "type": "null" }));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

/// A name in the spelling of JSON. Protobuf's own, with underscores, is as good.
pub(super) fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut letters = name.chars();
    // A leading one is part of the name.
    camel.extend(letters.next());
    let mut raise = false;
    for letter in letters {
        if letter == '_' {
            raise = true;
        } else {
            camel.push(if raise { letter.to_ascii_uppercase() } else { letter });
            raise = false;
        }
    }
    camel
}

const COUNTS: [&str; 6] =
    ["maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_become_json_schema() {
        let cases = [
            (json!({ "type": "STRING" }), json!({ "type": "string" })),
            (json!({ "type": "string", "pattern": "^a" }), json!({ "type": "string", "pattern": "^a" })),
            (json!({ "type": "TYPE_UNSPECIFIED", "description": null }), json!({})),
            (json!({ "type": "INTEGER", "nullable": true }), json!({ "type": ["integer", "null"] })),
            (
                json!({ "type": "STRING", "format": "enum", "enum": ["A"], "nullable": true }),
                json!({ "type": ["string", "null"], "enum": ["A", null] }),
            ),
            (
                json!({ "type": "ARRAY", "min_items": "1", "maxItems": 3, "items": { "type": "NUMBER", "example": 1 } }),
                json!({ "type": "array", "minItems": 1, "maxItems": 3, "items": { "type": "number", "examples": [1] } }),
            ),
            (
                json!({ "any_of": [{ "type": "BOOLEAN" }], "nullable": true }),
                json!({ "anyOf": [{ "type": "boolean" }, { "type": "null" }] }),
            ),
            (
                json!({ "type": "OBJECT", "properties": { "type": { "type": "STRING" }, "min_items": { "type": "NULL" } }, "required": ["type"] }),
                json!({ "type": "object", "properties": { "type": { "type": "string" }, "min_items": { "type": "null" } }, "required": ["type"] }),
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(json_schema(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn properties_come_in_the_order_that_is_asked_for() {
        let schema = json!({
            "properties": { "a": {}, "b": {}, "c": {} }, "propertyOrdering": ["c", "x", "a"],
        });
        assert_eq!(json_schema(schema).to_string(), r#"{"properties":{"c":{},"a":{},"b":{}}}"#);
    }
}
