//! Reading an admin request: every field has a type and a bound, and a wrong one is named.

use std::ops::RangeInclusive;

use gateway::Error;
use hypercare::time::parse_rfc3339;
use serde_json::{Map, Value};

/// The fields of a JSON body, taken one by one; what is left over is unknown.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body that must be a JSON object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Error> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(wrong("", "The body must be a JSON object.")),
            Err(error) => Err(wrong("", format!("The body is not valid JSON: {error}."))),
        }
    }

    /// Refuses fields nobody took: a misspelt one would otherwise be lost in silence.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.0.keys().next() {
            Some(name) => Err(wrong(name, format!("`{name}` is not a field of this request."))),
            None => Ok(()),
        }
    }

    /// A text of 1 to 100 characters that can stand in a log line.
    pub(super) fn name(&mut self, field: &str) -> Result<String, Error> {
        let name = self.text(field, 100)?.unwrap_or_default();
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(wrong(
                field,
                format!("`{field}` is required: 1 to 100 characters, no control characters."),
            ));
        }
        Ok(name)
    }

    /// A text of at most `max` characters; absent or null is `None`.
    pub(super) fn text(&mut self, field: &str, max: usize) -> Result<Option<String>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= max => Ok(Some(text)),
            Some(_) => Err(wrong(field, format!("`{field}` must be a text of at most {max} characters."))),
        }
    }

    /// A whole number in a range.
    pub(super) fn integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => {
                value.as_i64().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
                    wrong(
                        field,
                        format!(
                            "`{field}` must be a whole number from {} to {}.",
                            range.start(),
                            range.end()
                        ),
                    )
                })
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, field: &str) -> Result<Option<bool>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(wrong(field, format!("`{field}` must be `true` or `false`."))),
        }
    }

    /// A point in time: RFC 3339 or unix milliseconds.
    pub(super) fn time(&mut self, field: &str) -> Result<Option<i64>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => match &value {
                Value::String(text) => parse_rfc3339(text),
                other => other.as_i64(),
            }
            .map(Some)
            .ok_or_else(|| wrong(field, format!("`{field}` must be a time: {TIME}."))),
        }
    }

    /// A list of 1 to 100 texts.
    pub(super) fn texts(&mut self, field: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let texts: Option<Vec<String>> = value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().filter(|text| (1..=200).contains(&text.len())).map(str::to_owned))
                .collect()
        });
        match texts {
            Some(texts) if (1..=100).contains(&texts.len()) => Ok(Some(texts)),
            _ => {
                Err(wrong(field, format!("`{field}` must be a list of 1 to 100 texts of at most 200 bytes.")))
            }
        }
    }

    /// A list of at most 100 items, to be looked through.
    pub(super) fn list(&mut self, field: &str) -> Result<Option<Vec<Value>>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Array(items)) if items.len() <= 100 => Ok(Some(items)),
            Some(_) => Err(wrong(field, format!("`{field}` must be a list of at most 100 items."))),
        }
    }

    /// An object, to be looked through.
    pub(super) fn object(&mut self, field: &str) -> Result<Option<Map<String, Value>>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(wrong(field, format!("`{field}` must be an object."))),
        }
    }

    /// Whatever it is.
    pub(super) fn value(&mut self, field: &str) -> Option<Value> {
        self.take(field)
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }
}

/// The parameters of a query string, taken one by one.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the `?`, without `format`, which is the same everywhere.
    pub(super) fn parse(query: Option<&str>) -> Self {
        let mut query = Self::all(query);
        query.0.retain(|(name, _)| name != "format");
        query
    }

    /// What a form says beside it.
    pub(super) fn and(&mut self, form: &str) {
        self.0.extend(Self::all(Some(form)).0);
    }

    /// The format asked for.
    pub(super) fn format(query: Option<&str>) -> Option<String> {
        Self::all(query).text("format")
    }

    fn all(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// Refuses parameters nobody took, and such as occurred twice.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.0.first() {
            Some((name, _)) => {
                Err(wrong(name, format!("`{name}` is not a parameter of this request, or occurs twice.")))
            }
            None => Ok(()),
        }
    }

    /// A text; empty is absent.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1).filter(|value| !value.is_empty())
    }

    /// The parameters whose names begin so: the rest of the name, and the text.
    pub(super) fn beginning(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (found, others) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.0 = others;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect()
    }

    /// A whole number in a range.
    pub(super) fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().ok().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            wrong(name, format!("`{name}` must be a whole number from {} to {}.", range.start(), range.end()))
        })
    }

    /// A point in time: RFC 3339 or unix milliseconds.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // A plus sign of an offset arrives as a blank where it was not escaped.
        let time = parse_rfc3339(&text)
            .or_else(|| parse_rfc3339(&text.replace(' ', "+")))
            .or_else(|| text.parse().ok());
        time.map(Some).ok_or_else(|| wrong(name, format!("`{name}` must be a time: {TIME}.")))
    }
}

/// A field that is wrong.
pub(super) fn wrong(field: &str, message: impl Into<String>) -> Error {
    Error::Field { param: field.to_owned(), message: message.into() }
}

/// `a%20b+c` as it was meant.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        rest = tail;
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => bytes.push(if *first == b'+' { b' ' } else { *first }),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

const TIME: &str = "`2026-01-31T12:00:00Z` or unix milliseconds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_a_query() {
        let mut query =
            Query::parse(Some("model=openai%2Fgpt-5&from=2026-01-01T00:00:00+01:00&limit=5&x=%zz%"));
        assert_eq!(query.text("model").as_deref(), Some("openai/gpt-5"));
        assert_eq!(query.time("from").expect("a time"), parse_rfc3339("2025-12-31T23:00:00Z"));
        assert_eq!(query.integer("limit", 1..=10).expect("a number"), Some(5));
        assert_eq!(query.text("x").as_deref(), Some("%zz%"));
        assert!(query.finish().is_ok());
    }

    #[test]
    fn names_what_is_wrong() {
        type Take = fn(&mut Fields) -> Result<(), Error>;
        let cases: [(&str, Take, &str); 6] = [
            (r#"{"name":" "}"#, |fields| fields.name("name").map(drop), "name"),
            (r#"{"name":7}"#, |fields| fields.name("name").map(drop), "name"),
            (r#"{"cap":-1}"#, |fields| fields.integer("cap", 0..=9).map(drop), "cap"),
            (r#"{"at":"soon"}"#, |fields| fields.time("at").map(drop), "at"),
            (r#"{"models":[]}"#, |fields| fields.texts("models").map(drop), "models"),
            (r#"{"models":"gpt"}"#, |fields| fields.texts("models").map(drop), "models"),
        ];
        for (body, take, expected) in cases {
            let mut fields = Fields::parse(body.as_bytes()).expect("an object");
            let error = take(&mut fields).expect_err(body);
            assert_eq!(error.param(), Some(expected), "{error}");
        }
        let unknown =
            Fields::parse(br#"{"nmae":"x"}"#).expect("an object").finish().expect_err("unknown field");
        assert_eq!(unknown.param(), Some("nmae"));
    }
}
