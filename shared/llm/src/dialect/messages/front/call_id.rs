//! Ids of tool calls, in the letters Messages takes: `[a-zA-Z0-9_-]`. Other providers use more
//! (`functions.get:0`). Their ids are spelled out in base64, for callers and for Anthropic, which is undone when
//! they come back.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The id for the caller.
pub(in super::super) fn outward(id: &str) -> Cow<'_, str> {
    if is_legal(id) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(id)))
}

/// The id the provider gave, of the one the caller has.
pub(super) fn inward(id: String) -> String {
    let spelled = id.strip_prefix(PREFIX).and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok());
    match spelled.and_then(|bytes| String::from_utf8(bytes).ok()) {
        // Anything else was never spelled out by us.
        Some(original) if !is_legal(&original) => original,
        _ => id,
    }
}

/// Whether Messages takes the id. One that looks spelled out must be spelled out itself.
fn is_legal(id: &str) -> bool {
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_' || letter == b'-';
    !id.is_empty() && id.bytes().all(fits) && !id.starts_with(PREFIX)
}

const PREFIX: &str = "toolu_64_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_legal_and_comes_back() {
        let long = "x:".repeat(300);
        let cases = [
            ("toolu_01AbC-d", "toolu_01AbC-d"),
            ("call_1", "call_1"),
            ("functions.get:0", "toolu_64_ZnVuY3Rpb25zLmdldDow"),
            ("", "toolu_64_"),
            ("é", "toolu_64_w6k"),
            ("toolu_64_w6k", "toolu_64_dG9vbHVfNjRfdzZr"),
        ];
        for (id, expected) in cases {
            assert_eq!(outward(id), expected);
        }
        for id in cases.map(|(id, _)| id).into_iter().chain([long.as_str()]) {
            let out = outward(id);
            assert!(out.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"_-".contains(&letter)));
            assert_eq!(inward(out.into_owned()), id);
        }
        for stranger in ["toolu_64_!", "toolu_64_YWJj", "toolu_01"] {
            assert_eq!(inward(stranger.to_owned()), stranger);
        }
    }
}
