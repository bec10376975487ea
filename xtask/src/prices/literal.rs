//! Data written down in a script: literals, read without running anything.

use serde_json::{Map, Value};

/// The first list in a script that is the one wanted.
pub(super) fn find(script: &str, is_wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    script.match_indices("= [").find_map(|(at, _)| {
        let mut reader = Reader { rest: &script[at + 2..] };
        reader.value().filter(&is_wanted)
    })
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Option<Value> {
        self.blank();
        match self.rest.chars().next()? {
            '[' => {
                let mut list = Vec::new();
                self.items("[", "]", |reader| {
                    list.push(reader.value()?);
                    Some(())
                })?;
                Some(Value::Array(list))
            }
            '{' => {
                let mut object = Map::new();
                self.items("{", "}", |reader| {
                    let name = reader.name()?;
                    reader.take(":")?;
                    object.insert(name, reader.value()?);
                    Some(())
                })?;
                Some(Value::Object(object))
            }
            '"' | '\'' | '`' => self.text().map(Value::String),
            '!' => {
                // How a minifier writes true and false.
                let is_true = self.rest.starts_with("!0");
                self.take(if is_true { "!0" } else { "!1" })?;
                Some(Value::Bool(is_true))
            }
            _ => {
                let word = self.word();
                match word {
                    "true" => Some(Value::Bool(true)),
                    "false" => Some(Value::Bool(false)),
                    "null" => Some(Value::Null),
                    // `2e5` is as whole as `200000`.
                    number => {
                        let number = number.parse::<f64>().ok()?;
                        let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
                        Some(if is_whole { Value::from(number as i64) } else { Value::from(number) })
                    }
                }
            }
        }
    }

    fn items(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        loop {
            if self.take(close).is_some() {
                return Some(());
            }
            item(self)?;
            if self.take(",").is_none() {
                return self.take(close);
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        self.blank();
        match self.rest.chars().next()? {
            '"' | '\'' => self.text(),
            _ => Some(self.word().to_owned()).filter(|word| !word.is_empty()),
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.char_indices();
        let (_, quote) = chars.next()?;
        let mut text = String::new();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'u' => {
                        let hex: String = chars.by_ref().take(4).map(|(_, digit)| digit).collect();
                        text.push(char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?);
                    }
                    // A line that goes on.
                    '\n' => {}
                    other => text.push(other),
                },
                end if end == quote => {
                    self.rest = &self.rest[at + end.len_utf8()..];
                    return Some(text);
                }
                // What would have to be computed.
                '$' if quote == '`' => return None,
                other => text.push(other),
            }
        }
        None
    }

    /// Letters, digits and what numbers are made of.
    fn word(&mut self) -> &'a str {
        let is_part =
            |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '$' | '.' | '-' | '+');
        let end = self.rest.find(|char| !is_part(char)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn take(&mut self, what: &str) -> Option<()> {
        self.blank();
        self.rest = self.rest.strip_prefix(what)?;
        Some(())
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_read_and_what_would_have_to_run_is_not() {
        for (script, expected) in [
            ("const a = [1, 2.5, 1e-3, .5, -3, 2e5,];", Some(json!([1, 2.5, 0.001, 0.5, -3, 200_000]))),
            (
                r#"let b = [{ id: "x", 'a-b': !0, c: { d: null }, e: [] }, !1]"#,
                Some(json!([{ "id": "x", "a-b": true, "c": { "d": null }, "e": [] }, false])),
            ),
            (r#"x = ["a\"b\\.\u00e9", 'it\'s', `t`]"#, Some(json!(["a\"b\\.é", "it's", "t"]))),
            ("const a = [f(1)]; const b = [7]", Some(json!([7]))),
            ("const a = [`${x}`]", None),
            ("const a = [1", None),
            ("const a = [1 2]", None),
            ("nothing", None),
        ] {
            assert_eq!(find(script, Value::is_array), expected, "{script}");
        }
    }
}
