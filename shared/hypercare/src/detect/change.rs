//! Whether a provider answers as it did: the shape of its answers, its models, the form of its errors.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Observation, enough, judge};
use crate::rule::Rule;

/// The shape of JSON: where which type of value was seen. Lists count as one element of all of theirs, so
/// their length is no shape; nor is an absent value the same as one that is null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape(BTreeMap<String, u8>);

impl Shape {
    /// The shape of a value.
    pub fn of(value: &Value) -> Shape {
        let mut shape = Shape::default();
        shape.learn(value);
        shape
    }

    /// Adds the shape of one more value.
    pub fn learn(&mut self, value: &Value) {
        self.walk(value, &mut String::new(), 0);
    }

    /// What a value has that was never seen: `+ path` for a new place, `~ path` for a new type at a known
    /// one.
    pub fn news(&self, value: &Value) -> Vec<String> {
        let now = Shape::of(value);
        let new = now.0.iter().filter_map(|(path, types)| match self.0.get(path) {
            None => Some(format!("+ {path}")),
            Some(known) if types & !known != 0 => Some(format!("~ {path}")),
            Some(_) => None,
        });
        // What lies below a new place is new with it.
        let mut news: Vec<String> = Vec::new();
        for one in new {
            let is_below =
                news.iter().any(|above| above.starts_with('+') && one.starts_with(&format!("{above}.")));
            if !is_below {
                news.push(one);
            }
        }
        news
    }

    /// The places that this value had and that one has not.
    pub fn gone(&self, now: &Shape) -> Vec<String> {
        self.0.keys().filter(|path| !now.0.contains_key(*path)).map(|path| format!("- {path}")).collect()
    }

    fn walk(&mut self, value: &Value, path: &mut String, depth: usize) {
        let kind = match value {
            Value::Null => 1,
            Value::Bool(_) => 2,
            Value::Number(_) => 4,
            Value::String(_) => 8,
            Value::Array(_) => 16,
            Value::Object(_) => 32,
        };
        if !path.is_empty() {
            *self.0.entry(path.clone()).or_default() |= kind;
        }
        if depth == DEEPEST || self.0.len() >= MOST_PLACES {
            return;
        }
        let length = path.len();
        match value {
            Value::Array(elements) => {
                path.push_str(if length == 0 { "[]" } else { ".[]" });
                for element in elements.iter().take(MOST_ELEMENTS) {
                    self.walk(element, path, depth + 1);
                }
                path.truncate(length);
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    self.walk(field, path, depth + 1);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }
}

/// What a rule on changes sees: how many calls were answered in a way that was not seen before. None is no lack of data.
pub fn changed(rule: &Rule, calls: i64, firing: bool) -> Observation {
    if calls == 0 {
        judge(rule, 0.0, 0, None, firing)
    } else {
        enough(rule, calls as f64, calls, None, firing)
    }
}

const DEEPEST: usize = 8;
/// More is a map with names of its own, not a shape.
const MOST_PLACES: usize = 500;
const MOST_ELEMENTS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::{rule, timeline};
    use serde_json::json;

    #[test]
    fn an_answer_has_news_where_its_shape_is_new() {
        let mut known =
            Shape::of(&json!({ "id": "1", "usage": { "total": 5 }, "choices": [{ "index": 0 }] }));
        known.learn(&json!({ "id": "2", "usage": null, "choices": [] }));
        for (answer, expected) in [
            (json!({ "id": "3", "usage": null, "choices": [{ "index": 1 }, { "index": 2 }] }), ""),
            (json!({ "id": 3 }), "~ id"),
            (json!({ "id": "3", "choices": [{ "index": 0, "extra": true }] }), "+ choices.[].extra"),
            (json!({ "usage": { "total": 5, "detail": { "cached": 1 } } }), "+ usage.detail"),
            (json!({ "choices": {} }), "~ choices"),
        ] {
            assert_eq!(known.news(&answer).join(", "), expected, "{answer}");
        }
        let now = Shape::of(&json!({ "id": "1", "choices": [{}] }));
        assert_eq!(known.gone(&now), ["- choices.[].index", "- usage", "- usage.total"]);
    }

    #[test]
    fn a_shape_is_bounded() {
        let wide: Value =
            (0..2_000).map(|at| (format!("f{at}"), json!(at))).collect::<serde_json::Map<_, _>>().into();
        assert!(Shape::of(&wide).0.len() <= 2_000);
        let nested = (0..50).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert_eq!(Shape::of(&nested).0.len(), DEEPEST);
    }

    #[test]
    fn one_change_is_told() {
        let judged = Rule { threshold: 0.0, ..rule() };
        let judged = Rule { min_count: 3, ..judged };
        let play = timeline([0, 5, 0, 2].map(|calls| {
            let judged = judged.clone();
            move |firing| changed(&judged, calls, firing)
        }));
        // Nothing new is not a lack of data; what happened once or twice says too little.
        assert_eq!(play, ".!.?");
    }
}
