//! Reading a caller's JSON, strictly: every complaint names the field as a path and says what would be
//! right. Null means absent, as in the official clients. A key that occurs twice is refused, so that
//! nobody downstream can read another value than we did.

use std::fmt::{self, Display};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::Error;

/// A body, which must be an object.
pub(crate) fn body(bytes: &[u8]) -> Result<Object<'static>, Error> {
    let Once(body) = serde_json::from_slice(bytes).map_err(malformed)?;
    let Value::Object(map) = body else {
        return Err(Error::Invalid { message: "The body must be a JSON object.".to_owned(), param: None });
    };
    Ok(Object { map, at: At::Root })
}

/// A JSON object being taken apart, and where in the body it is.
pub(crate) struct Object<'a> {
    pub(crate) map: Map<String, Value>,
    pub(crate) at: At<'a>,
}

impl<'a> Object<'a> {
    pub(crate) fn from(value: Value, at: At<'a>) -> Result<Self, Error> {
        match value {
            Value::Object(map) => Ok(Self { map, at }),
            other => Err(at.wrong_type("an object", &other)),
        }
    }

    /// The field, unless it is null or absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.at.field(name).wrong_type("true or false", &other)),
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.at.field(name).wrong_type("a string", &other)),
        }
    }

    pub(crate) fn required_string(&mut self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| self.at.field(name).required("a string"))
    }

    /// A string that is not empty; `what` says what it is.
    pub(crate) fn required_text(&mut self, name: &str, what: &str) -> Result<String, Error> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.at.field(name).required(what))
    }

    pub(crate) fn number(&mut self, name: &str, least: f64, most: f64) -> Result<Option<f64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = self.at.field(name);
        match value.as_f64() {
            None => Err(at.wrong_type("a number", &value)),
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            Some(_) => Err(at.wrong(&format!("must be between {least} and {most}"))),
        }
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = self.at.field(name);
        value.as_i64().map(Some).ok_or_else(|| at.wrong_type("a whole number of at most 64 bits", &value))
    }

    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = self.at.field(name);
        match value.as_u64() {
            Some(0) => Err(at.wrong("must be at least 1")),
            Some(count) => Ok(Some(count)),
            None => Err(at.wrong_type("a whole number of at least 1", &value)),
        }
    }

    pub(crate) fn list(&mut self, name: &str, most: usize) -> Result<Option<Vec<Value>>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => self.at.field(name).bounded(list, most).map(Some),
            Some(other) => Err(self.at.field(name).wrong_type("a list", &other)),
        }
    }

    pub(crate) fn schema(&mut self, name: &str) -> Result<Option<Value>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(schema @ Value::Object(_)) => Ok(Some(schema)),
            Some(other) => Err(self.at.field(name).wrong_type("a JSON Schema object", &other)),
        }
    }

    pub(crate) fn object(&mut self, name: &'a str) -> Result<Option<Object<'_>>, Error> {
        let value = self.take(name);
        value.map(|value| Object::from(value, self.at.field(name))).transpose()
    }
}

/// A place in the body. Costs nothing until something is wrong there.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl<'a> At<'a> {
    pub(crate) fn field(&'a self, name: &'a str) -> At<'a> {
        At::Field(self, name)
    }

    pub(crate) fn index(&'a self, index: usize) -> At<'a> {
        At::Index(self, index)
    }

    pub(crate) fn bounded(&self, list: Vec<Value>, most: usize) -> Result<Vec<Value>, Error> {
        if list.len() > most {
            return Err(self.wrong(&format!("must not hold more than {most} entries, not {}", list.len())));
        }
        Ok(list)
    }

    pub(crate) fn wrong(&self, rule: &str) -> Error {
        Error::invalid(self.to_string(), format!("`{self}` {rule}."))
    }

    pub(crate) fn wrong_type(&self, right: &str, value: &Value) -> Error {
        let found = match value {
            Value::Array(_) => "a list",
            Value::Bool(_) => "a boolean",
            Value::Null => "null",
            Value::Number(number) if number.is_f64() => "a fraction",
            Value::Number(_) => "a number",
            Value::Object(_) => "an object",
            Value::String(_) => "a string",
        };
        self.wrong(&format!("must be {right}, not {found}"))
    }

    pub(crate) fn required(&self, what: &str) -> Error {
        self.wrong(&format!("is required: {what}"))
    }

    pub(crate) fn cannot(&self, why: &str) -> Error {
        Error::unsupported(self.to_string(), format!("`{self}` {why}."))
    }
}

/// Keeps what is left of a nested object under its path.
pub(crate) fn leave(object: Object<'_>, extra: &mut Vec<(String, Value)>) {
    for (name, value) in object.map {
        if extra.len() >= MAX_NESTED_EXTRAS {
            return;
        }
        if !value.is_null() {
            extra.push((object.at.field(&name).to_string(), value));
        }
    }
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Field(At::Root, name) => f.write_str(name),
            At::Field(parent, name) => write!(f, "{parent}.{name}"),
            At::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

fn malformed(error: serde_json::Error) -> Error {
    let message = error.to_string();
    match message.strip_prefix("duplicate field `").and_then(|rest| rest.rsplit_once('`')) {
        Some((field, _)) => Error::invalid(field, format!("`{field}` occurs twice.")),
        None => Error::Invalid { message: format!("The body is not valid JSON: {message}."), param: None },
    }
}

/// JSON in which no object has a key twice.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Once)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Once(value))) = entries.next_entry::<String, Once>()? {
            if map.contains_key(&name) {
                return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

const MAX_NESTED_EXTRAS: usize = 64;
