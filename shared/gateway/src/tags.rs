//! What a caller says a call is for, so that calls can be told apart by it later.
//!
//! `x-hypergate-prompt-version: v7` names the version of the prompt, `x-hypergate-tag-feature: search` says that the
//! tag `feature` is `search`. They go no further than the record. A call is never refused for its tags: what cannot
//! be one, or is too much, is left out.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};

/// The tags of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// The version of its prompt.
    pub prompt_version: Option<String>,
    /// Values by name.
    pub tags: BTreeMap<String, String>,
}

/// The tags among the headers of a call: the first [`MOST_TAGS`] by name.
pub fn read(headers: &HeaderMap) -> Tags {
    let mut tags: BTreeMap<String, String> = headers
        .iter()
        .filter_map(|(header, value)| Some((header.as_str().strip_prefix(PREFIX)?, value)))
        .filter(|(name, _)| is_name(name))
        .filter_map(|(name, value)| Some((name.to_owned(), text(value)?)))
        .collect();
    while tags.len() > MOST_TAGS {
        tags.pop_last();
    }
    Tags { prompt_version: headers.get(PROMPT_VERSION).and_then(text), tags }
}

/// Whether a tag may be called this. A header's name comes in small letters.
pub fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=MOST_NAME_CHARS).contains(&name.len()) && name.bytes().all(is_plain)
}

/// The value, without blanks around it and not too long; none if it is empty or no text.
fn text(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    (!text.is_empty()).then(|| text.chars().take(MOST_VALUE_CHARS).collect())
}

/// How many tags a call may have.
pub const MOST_TAGS: usize = 4;

const PREFIX: &str = "x-hypergate-tag-";
const PROMPT_VERSION: &str = "x-hypergate-prompt-version";
const MOST_NAME_CHARS: usize = 32;
const MOST_VALUE_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn tags(headers: &[(&str, &str)]) -> String {
        let name = |name: &str| name.parse::<HeaderName>().expect("a name");
        let value = |value: &str| HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        let headers = headers.iter().map(|(header, text)| (name(header), value(text))).collect();
        let Tags { prompt_version, tags } = read(&headers);
        let tags = tags.iter().map(|(name, value)| format!(" {name}={value}"));
        prompt_version.unwrap_or_default() + &tags.collect::<String>()
    }

    #[test]
    fn tags_are_read_from_headers_and_what_cannot_be_one_is_left_out() {
        let long = "é".repeat(65);
        for (headers, expected) in [
            (&[][..], ""),
            (&[("x-hypergate-prompt-version", "v7")], "v7"),
            (
                &[("X-Hypergate-Tag-Feature", " search "), ("x-hypergate-tag-a_1-b", "2")],
                " a_1-b=2 feature=search",
            ),
            (&[("x-hypergate-tag-", "x"), ("x-hypergate-tag-a.b", "x"), ("x-hypergate-tag-empty", " ")], ""),
            (&[(&format!("x-hypergate-tag-{}", "a".repeat(33)), "x")], ""),
            (&[("x-hypergate-prompt-version", &long)], &"é".repeat(64)),
            (
                &[
                    ("x-hypergate-tag-e", "1"),
                    ("x-hypergate-tag-d", "1"),
                    ("x-hypergate-tag-c", "1"),
                    ("x-hypergate-tag-b", "1"),
                    ("x-hypergate-tag-a", "1"),
                ],
                " a=1 b=1 c=1 d=1",
            ),
        ] {
            assert_eq!(tags(headers), expected, "{headers:?}");
        }
    }
}
