//! Reading a caller's JSON, strictly: every complaint names the field as a path and says what would be
//! right. Null means absent, as in the official clients. A key that occurs twice is refused, so that
//! nobody downstream can read another value than we did.

use std::{
    cell::Cell,
    fmt::{self, Display},
};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::Error;

/// A body, which must be an object.
pub(crate) fn body(bytes: &[u8]) -> Result<Object<'static>, Error> {
    let Value::Object(map) = value(bytes)? else {
        return Err(Error::Invalid { message: "The body must be a JSON object.".to_owned(), param: None });
    };
    Ok(Object { map, at: At::Root })
}

/// A body that may be any JSON, as long as it has room in memory.
fn value(bytes: &[u8]) -> Result<Value, Error> {
    let room = Cell::new(ROOM);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Once(&room).deserialize(&mut reader);
    read.and_then(|value| reader.end().map(|()| value)).map_err(malformed)
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
    if let Some((field, _)) = message.strip_prefix("duplicate field `").and_then(|rest| rest.rsplit_once('`'))
    {
        return Error::invalid(field, format!("`{field}` occurs twice."));
    }
    let told = if let Some(at) = message.strip_prefix(BEYOND) {
        format!("The body has a number that is too large to be translated{at}.")
    } else if message.starts_with(TOO_MANY) {
        format!("The body has {message}.")
    } else {
        format!("The body is not valid JSON: {message}.")
    };
    Error::Invalid { message: told, param: None }
}

/// JSON in which no object has a key twice, and for whose values there is room: each takes many times its own bytes.
#[derive(Clone, Copy)]
struct Once<'a>(&'a Cell<usize>);

impl Once<'_> {
    fn take<E: de::Error>(self, room: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(room).ok_or_else(|| E::custom(TOO_MANY))?;
        self.0.set(left);
        Ok(())
    }

    fn fits<E: de::Error>(self, value: Value) -> Result<Value, E> {
        self.take(1).map(|()| value)
    }
}

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.fits(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.fits(Value::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.fits(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.fits(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.fits(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.fits(Value::String(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.fits(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.take(LIST)?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.take(OBJECT)?;
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if map.contains_key(&name) {
                return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

const MAX_NESTED_EXTRAS: usize = 64;

/// What is said of a number beyond 64 bits of floating point, before its place.
const BEYOND: &str = "number out of range";

/// How much room there is for a body's values. A text or a number takes one, some 24 bytes.
const ROOM: usize = 1_000_000;

/// What an empty list takes.
const LIST: usize = 5;

/// What an empty object takes.
const OBJECT: usize = 17;

const TOO_MANY: &str = "more values than there is room for";
