//! The caller's bytes, on their way to a provider that speaks Messages too.
//!
//! Nothing is re-serialised, so fields unknown here survive. Only the model's name is spliced in, and
//! thought that is not Claude's is left out and named: Claude refuses a signature that is not its own.

use std::borrow::Cow;

use http::HeaderMap;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Error, Target,
    dialect::{Encoded, is_claudes, messages::hosted},
    front::{Framing, Peek},
    peek,
};

/// Reads what the gateway needs from a Messages body.
pub(super) fn peek(body: &[u8]) -> Result<Peek<'_>, Error> {
    let [messages, metadata, model, stream] =
        peek::fields(body, ["messages", "metadata", "model", "stream"], 4)?;
    let (model, model_at) = peek::model(model, body)?;
    if !messages.is_some_and(|messages| messages.get().starts_with('[')) {
        return Err(Error::invalid("messages", "`messages` is required and must be a list."));
    }
    let stream = peek::stream(stream)?;
    Ok(Peek {
        model,
        stream,
        include_usage: true,
        user: metadata.map(user).transpose()?.flatten(),
        choices: 1,
        framing: Framing::Events,
        model_at: Some(model_at),
        usage_wish: None,
    })
}

fn user(metadata: &RawValue) -> Result<Option<Cow<'_, str>>, Error> {
    // A derived struct would take a list for an object.
    let object = match metadata.get() {
        "null" => return Ok(None),
        object if object.starts_with('{') => serde_json::from_str::<RawMetadata<'_>>(object).ok(),
        _ => None,
    };
    let Some(metadata) = object else {
        return Err(Error::invalid("metadata", "`metadata` must be an object with at most one `user_id`."));
    };
    metadata.user_id.map(|user| peek::text(user, "metadata.user_id")).transpose()
}

/// The request for `target`.
pub(super) fn request(
    body: &[u8],
    peek: &Peek<'_>,
    headers: &HeaderMap,
    target: &Target<'_>,
) -> Result<Encoded, Error> {
    let body = peek.rewrite(body, target.model, false);
    let cut = has_foreign_thought(&body).then(|| peek::without_blocks(&body, &is_foreign)).flatten();
    let (body, lost) = cut.unwrap_or((body, Vec::new()));
    let mut encoded = hosted::request(body, peek.stream, headers, target)?;
    encoded.dropped.extend(lost);
    Ok(encoded)
}

/// Whether some block of thought may not be Claude's. Most bodies have none.
fn has_foreign_thought(body: &[u8]) -> bool {
    let foreign = |at: usize| {
        let rest = body.get(at + SIGNATURE.len()..).unwrap_or_default().trim_ascii_start();
        let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        let text = value.and_then(|value| value.strip_prefix(b"\"")).unwrap_or_default();
        let signature = text.split(|byte| *byte == b'"').next().unwrap_or_default();
        signature.is_empty() || signature.contains(&b':')
    };
    // A quote inside JSON text is escaped, so this finds fields only.
    memmem::find_iter(body, SIGNATURE).any(foreign)
}

fn is_foreign(block: &RawValue) -> bool {
    let Ok(block) = serde_json::from_str::<RawThought<'_>>(block.get()) else { return false };
    block.kind == "thinking"
        && block.signature.is_some_and(|signed| signed.is_empty() || !is_claudes(&signed))
}

// --- wire ---

#[derive(Deserialize)]
struct RawMetadata<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawThought<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
}

const SIGNATURE: &[u8] = b"\"signature\"";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::{dialect::messages::hosted::VERSION, provider};

    fn forwarded(body: &str, headers: &[(&'static str, &'static str)]) -> http::Request<Bytes> {
        encoded(body, headers).request
    }

    fn encoded(body: &str, headers: &[(&'static str, &'static str)]) -> Encoded {
        let target = Target {
            provider: provider::find("anthropic").expect("known"),
            model: "claude-x",
            base_url: "https://api.example",
            credential: Some("sk-1"),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let peek = peek(body.as_bytes()).expect("valid");
        request(body.as_bytes(), &peek, &map, &target).expect("a request")
    }

    #[test]
    fn peeks_at_what_the_gateway_needs() {
        let body = br#" {"messages":[{"role":"user","content":"{\"model\":\"x\"}"}],"metadata":{"user_id":"u\u0031","x":{}},"model":"anthropic\/c","stream":true}"#;
        let peek = peek(body).expect("valid");
        assert_eq!((&*peek.model, peek.stream, peek.include_usage), ("anthropic/c", true, true));
        assert_eq!((peek.user.as_deref(), peek.choices, &peek.usage_wish), (Some("u1"), 1, &None));
        let at = peek.model_at.expect("in the body");
        assert_eq!(&body[at], br#""anthropic\/c""#);
        for none in ["null", "{}", r#"{"user_id":null}"#] {
            let body = format!(r#"{{"model":"a/b","messages":[],"metadata":{none}}}"#);
            assert_eq!(super::peek(body.as_bytes()).expect("valid").user, None);
        }
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let cases = [
            ("", None),
            ("[]", None),
            (r#"{"model":"a/b""#, None),
            (r#"{"model":"a/b","messages":[]} x"#, None),
            (r#"{"messages":[]}"#, Some("model")),
            (r#"{"model":null,"messages":[]}"#, Some("model")),
            (r#"{"model":7,"messages":[]}"#, Some("model")),
            (r#"{"model":"a/b"}"#, Some("messages")),
            (r#"{"model":"a/b","messages":null}"#, Some("messages")),
            (r#"{"model":"a/b","messages":"hello"}"#, Some("messages")),
            (r#"{"model":"a/b","messages":[],"stream":"yes"}"#, Some("stream")),
            (r#"{"model":"a/b","messages":[],"metadata":[]}"#, Some("metadata")),
            (r#"{"model":"a/b","messages":[],"metadata":{"user_id":"a","user_id":"b"}}"#, Some("metadata")),
            (r#"{"model":"a/b","messages":[],"metadata":{"user_id":5}}"#, Some("metadata.user_id")),
            (r#"{"model":"a/b","messages":[],"mod\u0065l":"c/d"}"#, Some("model")),
            (r#"{"model":"a/b","messages":[],"MODEL":"c/d"}"#, Some("model")),
            (r#"{"model":"a/b","messages":[],"Stream":true}"#, Some("stream")),
        ];
        for (body, expected) in cases {
            let Err(Error::Invalid { param, message }) = peek(body.as_bytes()) else {
                panic!("{body} was accepted")
            };
            assert_eq!(param.as_deref(), expected, "{body}: {message}");
        }
    }

    #[test]
    fn changes_the_model_and_nothing_else() {
        let request =
            forwarded(r#"{"model": "fast", "messages": [], "x": {"y": [1.50]}, "stream":true}"#, &[]);
        assert_eq!(request.uri(), "https://api.example/v1/messages");
        assert_eq!(
            String::from_utf8_lossy(request.body()),
            r#"{"model": "claude-x", "messages": [], "x": {"y": [1.50]}, "stream":true}"#
        );
        let headers = request.headers();
        assert_eq!(
            (&headers["x-api-key"], &headers["anthropic-version"]),
            (&HeaderValue::from_static("sk-1"), &HeaderValue::from_static(VERSION))
        );
        assert!(!headers.contains_key("anthropic-beta"));
    }

    #[test]
    fn of_the_headers_only_versions_and_betas_go_along() {
        let many: Vec<String> = (0..30).map(|number| format!("b-{number}")).collect();
        let many: &'static str = many.join(",").leak();
        let first_20 = many.split(',').take(20).collect::<Vec<_>>().join(",");
        let cases = [
            (vec![("anthropic-beta", "a-1, b-2"), ("anthropic-beta", "c-3,a-1")], "a-1,b-2,c-3"),
            (vec![("anthropic-beta", "A,b c,,x_y,ok-1")], "x_y,ok-1"),
            (vec![("anthropic-beta", many)], &first_20),
            (vec![("x-api-key", "hg_secret"), ("cookie", "a=b"), ("authorization", "Bearer hg")], ""),
        ];
        for (headers, expected) in cases {
            let request = forwarded(r#"{"model":"fast","messages":[]}"#, &headers);
            let betas = request.headers().get("anthropic-beta").map(|value| value.to_str().expect("text"));
            assert_eq!(betas.unwrap_or_default(), expected);
            assert_eq!(request.headers()["x-api-key"], "sk-1");
            assert_eq!(request.headers().len(), 3 + usize::from(betas.is_some()));
        }
        let version = |value| {
            let request = forwarded(r#"{"model":"fast","messages":[]}"#, &[("anthropic-version", value)]);
            request.headers()["anthropic-version"].to_str().expect("text").to_owned()
        };
        assert_eq!((version("2026-10-21").as_str(), version("a,b").as_str()), ("2026-10-21", VERSION));
    }

    #[test]
    fn thought_that_is_not_claudes_is_left_out_and_named() {
        const USER: &str = r#"{"role":"user","content":"What is \"signature\":\"\"?","x":1.50}"#;
        const TEXT: &str = r#"{"type":"text", "text":"Hi", "n":1e400}"#;
        let said = |blocks: &str| format!(r#"{{ "content" : [ {blocks} ], "role":"assistant"}}"#);
        let thought =
            |signature: &str| format!(r#"{{"type":"thinking","thinking":"Hm","signature": "{signature}"}}"#);
        let (own, unsigned, google) = (thought("EqB"), thought(""), thought("google:call:abc"));
        let cases = [
            (format!("{own} , {TEXT}"), Some(format!("{own} , {TEXT}")), ""),
            (format!("{unsigned} , {TEXT}"), Some(TEXT.to_owned()), "messages[1].content[0]"),
            (
                format!("{own} , {google} ,\n{TEXT} , {unsigned}"),
                Some(format!("{own} , {TEXT}")),
                "messages[1].content[1] messages[1].content[3]",
            ),
            (format!("{unsigned},{google}"), None, "messages[1].content[0] messages[1].content[1]"),
        ];
        for (blocks, left, named) in cases {
            let body = |blocks: Option<&str>| {
                let message = blocks.map(said);
                let messages: Vec<&str> =
                    [Some(USER), message.as_deref(), Some(USER)].into_iter().flatten().collect();
                format!(r#"{{"model":"claude-x", "messages":[{}],"max_tokens":1}}"#, messages.join(" , "))
            };
            let sent = encoded(&body(Some(&blocks)), &[]);
            assert_eq!(String::from_utf8_lossy(sent.request.body()), body(left.as_deref()));
            assert_eq!(sent.dropped.join(" "), named);
        }
    }
}
