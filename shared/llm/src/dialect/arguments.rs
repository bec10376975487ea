//! The arguments of a call: text on the way, the text of a JSON object at the end.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The object that a call's arguments are the text of, as it is written; nothing said is an empty one. `None` where
/// they are no object.
pub(crate) fn object(text: &str) -> Option<&RawValue> {
    json(text).filter(|raw| raw.get().starts_with('{'))
}

/// The JSON that a call's arguments are the text of. `None` where they are none, or some that not everybody could
/// read: nested too deep, or with a number beyond 64 bits of floating point.
pub(crate) fn json(text: &str) -> Option<&RawValue> {
    let text = if text.trim_ascii().is_empty() { "{}" } else { text };
    serde_json::from_str::<Readable>(text).ok()?;
    serde_json::from_str(text).ok()
}

/// Whether arguments, read piece by piece, are a whole JSON object.
#[derive(Debug)]
pub(crate) struct Progress {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Whether there is nothing but white space yet.
    pub(crate) is_blank: bool,
    /// Whether the object has come to its end.
    pub(crate) is_whole: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { depth: 0, in_text: false, escaped: false, is_blank: true, is_whole: false }
    }
}

impl Progress {
    /// Reads on.
    pub(crate) fn read(&mut self, piece: &str) {
        for byte in piece.bytes() {
            self.is_blank &= byte.is_ascii_whitespace();
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_whole |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}

/// JSON of which nothing is kept, but every number is read: what is only passed over may be of any size.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<IgnoredAny, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_that_everybody_can_read_is_one() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        for (text, is_one) in [
            ("", true),
            (" \n", true),
            (" {\"a\":1.5e300} ", true),
            ("{\"a\":123456789012345678901234567890}", true),
            (&nested(100), true),
            ("{\"a\":1234E5678901234567890}", false),
            ("{\"a\":[{\"b\":-1e400}]}", false),
            (&nested(200), false),
            ("[]", false),
            ("1e5", false),
            ("{\"a\":", false),
            ("{} {}", false),
        ] {
            assert_eq!(object(text).is_some(), is_one, "{text}");
        }
        assert_eq!(object(" {\"b\": 1, \"a\": 1.50}").map(RawValue::get), Some("{\"b\": 1, \"a\": 1.50}"));
    }

    #[test]
    fn an_object_is_whole_with_its_last_brace_however_it_is_cut() {
        let text = r#" {"a":"}\"{","b":[{}]} "#;
        let end = text.rfind('}').expect("a brace") + 1;
        for cut in 0..=text.len() {
            let mut progress = Progress::default();
            progress.read(&text[..cut]);
            assert_eq!((progress.is_blank, progress.is_whole), (cut < 2, cut >= end), "{cut}");
            progress.read(&text[cut..]);
            assert!(progress.is_whole);
        }
    }
}
