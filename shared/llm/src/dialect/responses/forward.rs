//! Responses in and out: the caller's bytes go on, and the provider's come back.

use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use super::{Kept, MARK, answer, decode};
use crate::{
    Error, Target, UpstreamError,
    dialect::{SseDecoder, post},
    front::{ErrorBody, Framing, Peek, Writer},
    kept, peek,
    relay::{Relay, Summary},
    sse,
    translate::{self, Observe},
};

/// Reads what the gateway needs from a Responses body.
pub(super) fn peek(body: &[u8]) -> Result<Peek<'_>, Error> {
    const NAMES: [&str; 8] = [
        "background",
        "conversation",
        "input",
        "model",
        "previous_response_id",
        "stream",
        "safety_identifier",
        "user",
    ];
    let [background, conversation, input, model, previous, stream, safety_identifier, user] =
        peek::fields(body, NAMES, 6)?;
    let (model, model_at) = peek::model(model, body)?;
    let stream = peek::stream(stream)?;
    // Kept answers belong to the provider's account, which others here share.
    for (field, value) in
        [("background", background), ("conversation", conversation), ("previous_response_id", previous)]
    {
        if peek::is_set(value) {
            return Err(Error::unsupported(field, format!("`{field}` {STATELESS}.")));
        }
    }
    kept::refuse_bare_items(input)?;
    let name = |value: Option<&'_ RawValue>| value.is_some_and(|value| value.get() != "null");
    let user = match (user, safety_identifier) {
        (Some(user), _) if name(Some(user)) => Some(peek::text(user, "user")?),
        (_, Some(user)) if name(Some(user)) => Some(peek::text(user, "safety_identifier")?),
        _ => None,
    };
    Ok(Peek {
        model,
        stream,
        // A stream of this API always ends with it.
        include_usage: true,
        user,
        choices: 1,
        framing: Framing::Events,
        model_at: Some(model_at),
        usage_wish: None,
    })
}

/// The request for `target`: the caller's body, with the model's name in the target's words. And what was left out.
pub(super) fn request(
    body: &[u8],
    peek: &Peek<'_>,
    target: &Target<'_>,
) -> Result<(http::Request<Bytes>, Vec<String>), Error> {
    let url = format!("{}/responses", target.base_url);
    let body = peek.rewrite(body, target.model, false);
    // Letters may be written as escapes.
    let may_think =
        [MARK.as_bytes(), b"reasoning", b"\\u00"].iter().any(|sign| memmem::find(&body, sign).is_some());
    let cut = if may_think { without_foreign_thought(&body)? } else { None };
    let (body, dropped) = cut.unwrap_or((body, Vec::new()));
    Ok((post(url, target, body)?, dropped))
}

/// The body without what another provider thought earlier in the conversation: this one cannot read it,
/// and refuses items it has not made. And without thought of which there is only the id: that is looked for among what
/// the provider keeps for all who share its account. What was thought before goes with it by the ids of items, so
/// those go too; a call and its output know each other by `call_id`. Then where all of it stood. `None` where there is
/// nothing of the kind.
fn without_foreign_thought(body: &[u8]) -> Result<Option<peek::Cut>, Error> {
    let [input] = peek::fields(body, ["input"], 0)?;
    let Some(items) = input.and_then(peek::list) else { return Ok(None) };
    let (mut is_gone, mut ids, mut is_bare) = (vec![false; items.len()], Vec::new(), false);
    for (at, item) in items.iter().enumerate().filter(|(_, item)| item.get().starts_with('{')) {
        let [kind, thought, id] =
            peek::fields(item.get().as_bytes(), ["type", "encrypted_content", "id"], 0)?;
        let kind = kind.and_then(|kind| peek::text(kind, "type").ok()).unwrap_or("message".into());
        match (&*kind, thought.and_then(|thought| peek::text(thought, "").ok())) {
            ("reasoning", Some(thought)) if !thought.is_empty() => {
                is_gone[at] = Kept::read(&thought).is_some()
            }
            ("reasoning", _) => (is_gone[at], is_bare) = (true, true),
            ("custom_tool_call" | "function_call" | "message", _) => {
                ids.extend(id.map(|id| (at, peek::member(id, body))));
            }
            _ => {}
        }
    }
    if !is_gone.contains(&true) {
        return Ok(None);
    }
    let lost = is_gone.iter().enumerate().filter(|(_, is_gone)| **is_gone);
    let mut dropped: Vec<String> = lost.map(|(at, _)| format!("input[{at}]")).collect();
    let places: Vec<_> = items.iter().map(|item| peek::place(item, body)).collect();
    let mut cuts = peek::gone(&places, &is_gone);
    if is_bare {
        dropped.extend(ids.iter().map(|(at, _)| format!("input[{at}].id")));
        cuts.extend(ids.into_iter().map(|(_, id)| peek::with_comma(id, body)));
    }
    Ok(Some((peek::without(body, cuts), dropped)))
}

/// What a whole 2xx answer says about itself, or why it is none.
pub(super) fn summary(body: &[u8]) -> Result<Summary, UpstreamError> {
    decode::read(body).map(|(events, _)| translate::summary(&events))
}

/// Passes a stream on.
pub(super) fn forwarder(request_id: &str) -> Box<dyn Relay> {
    let decoder = Box::new(SseDecoder::new(decode::Reader::default()));
    Box::new(Observe::new(sse::Splitter::default(), decoder, Box::new(Farewell), request_id))
}

/// Says that a forwarded stream failed. The events before it are not ours, nor is their count.
struct Farewell;

impl Writer for Farewell {
    fn events(&mut self, _events: &[crate::chat::Event], _out: &mut Vec<u8>) {}

    fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        answer::error_event(error, 0, out);
    }

    fn done(&mut self, _out: &mut Vec<u8>) {}

    fn is_finished(&self) -> bool {
        false
    }
}

const STATELESS: &str = "needs answers that are kept, and none are kept for you alone. Send the earlier items in \
                         `input` instead, `reasoning` items as they came, and wait for the answer";

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        ErrorClass,
        provider::find,
        relay::{Ending, Passed},
    };

    #[test]
    fn thought_of_which_there_is_only_the_id_is_left_out_with_the_ids_that_need_it() {
        let target = Target {
            provider: find("openai").expect("listed"),
            model: "gpt-5",
            base_url: "http://x",
            credential: None,
        };
        let sent = |input: &str| {
            let body =
                format!(r#"{{"model":"openai/gpt-5","reasoning":{{"effort":"low"}},"input":{input}}}"#);
            let peek = peek(body.as_bytes()).expect("valid");
            let (request, dropped) = request(body.as_bytes(), &peek, &target).expect("sent");
            let sent: Value = serde_json::from_slice(request.body()).expect("JSON");
            (sent["input"].to_string(), dropped.join(" "))
        };
        for thought in [
            r#"{"type":"reasoning","id":"rs_1","summary":[]}"#,
            r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":null}"#,
            r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":""}"#,
            r#"{"t\u0079pe":"\u0072easoning","id":"rs_1","encrypted_content":5}"#,
        ] {
            let (input, dropped) = sent(&format!(
                r#"[{{"role":"user","content":"Hi"}},{thought},{{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{{}}"}},
                {{"type":"function_call_output","call_id":"c","output":"1"}},{{"type":"message","id":"msg_1","role":"assistant","content":[]}}]"#
            ));
            assert_eq!(dropped, "input[1] input[2].id input[4].id", "{thought}");
            for gone in ["rs_1", "fc_1", "msg_1"] {
                assert!(!input.contains(gone), "{input}");
            }
            assert!(input.contains(r#""call_id":"c""#), "{input}");
        }
        let whole = r#"[{"encrypted_content":"gAAA","id":"rs_1","summary":[],"type":"reasoning"},{"id":"msg_1","role":"assistant"}]"#;
        assert_eq!(sent(whole), (whole.to_owned(), String::new()));
    }

    #[test]
    fn peeks_at_what_the_gateway_needs() {
        let body = br#" {"input":[{"role":"user","content":"{\"model\":\"x\"}"}],"model":"openai\/gpt-5","stream":true,"user":null,"safety_identifier":"u1"}"#;
        let peek = peek(body).expect("valid");
        assert_eq!((&*peek.model, peek.stream, peek.include_usage), ("openai/gpt-5", true, true));
        assert_eq!((peek.user.as_deref(), peek.choices, &peek.usage_wish), (Some("u1"), 1, &None));
        assert_eq!(&body[peek.model_at.expect("in the body")], br#""openai\/gpt-5""#);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let cases = [
            ("", None),
            ("[]", None),
            (r#"{"model":"a/b""#, None),
            (r#"{"model":"a/b","input":"Hi"} x"#, None),
            (r#"{"input":"Hi"}"#, Some("model")),
            (r#"{"model":null,"input":"Hi"}"#, Some("model")),
            (r#"{"model":7,"input":"Hi"}"#, Some("model")),
            (r#"{"model":"a/b","stream":"yes"}"#, Some("stream")),
            (r#"{"model":"a/b","user":5}"#, Some("user")),
            (r#"{"model":"a/b","safety_identifier":[]}"#, Some("safety_identifier")),
            (r#"{"model":"a/b","mod\u0065l":"c/d"}"#, Some("model")),
            (r#"{"model":"a/b","MODEL":"c/d"}"#, Some("model")),
            (r#"{"model":"a/b","Input":"c/d"}"#, Some("input")),
        ];
        for (body, expected) in cases {
            let Err(Error::Invalid { param, message }) = peek(body.as_bytes()) else {
                panic!("{body} was accepted")
            };
            assert_eq!(param.as_deref(), expected, "{body}: {message}");
        }
    }

    fn sent(body: &str) -> (String, String) {
        let target = Target {
            provider: find("openai").expect("known"),
            model: "gpt-5",
            base_url: "https://api.openai.com/v1",
            credential: Some("sk-1"),
        };
        let peek = peek(body.as_bytes()).expect("valid");
        let sent = request(body.as_bytes(), &peek, &target).expect("valid");
        (sent.0.uri().to_string(), String::from_utf8(sent.0.body().to_vec()).expect("UTF-8"))
    }

    #[test]
    fn the_body_goes_on_but_for_the_model_and_what_others_thought() {
        let (url, body) = sent(r#"{"model": "fast", "input": "hypergate: hi", "x": {"y": [1.50]}}"#);
        assert_eq!(url, "https://api.openai.com/v1/responses");
        assert_eq!(body, r#"{"model": "gpt-5", "input": "hypergate: hi", "x": {"y": [1.50]}}"#);
        let (_, body) = sent(
            r#"{"model":"fast","input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"hypergate:signature:s"},{"type":"reasoning","id":"rs_2","encrypted_content":"gAAA"}, {"role":"user","content":"Hi","n":1e400}],"x":1.50}"#,
        );
        assert_eq!(
            body,
            r#"{"model":"gpt-5","input":[{"type":"reasoning","id":"rs_2","encrypted_content":"gAAA"}, {"role":"user","content":"Hi","n":1e400}],"x":1.50}"#
        );
    }

    #[test]
    fn a_whole_answer_says_what_it_used() {
        let usage = r#"{"input_tokens":5,"input_tokens_details":{"cached_tokens":2},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":8}"#;
        let body = format!(
            r#"{{"id":"resp_1","model":"gpt-5-1","status":"completed","error":null,"output":[{{"type":"web_search_call","id":"ws_1"}}],"usage":{usage}}}"#
        );
        let seen = summary(body.as_bytes()).expect("whole");
        assert_eq!(
            (seen.response_model.as_deref(), seen.finish_reason.as_deref()),
            (Some("gpt-5-1"), Some("stop"))
        );
        let tokens = seen.usage.expect("usage");
        assert_eq!((tokens.input_tokens, tokens.cache_read_input_tokens), (5, 2));
        assert_eq!((tokens.output_tokens, tokens.reasoning_output_tokens), (3, 1));
        // Made in the background: there is nothing to say yet.
        let queued =
            summary(br#"{"id":"resp_1","model":"m","status":"queued","output":[]}"#).expect("an answer");
        assert_eq!((queued.finish_reason, queued.usage), (None, None));
        for (body, class) in [
            ("", ErrorClass::Garbled),
            ("<html>", ErrorClass::Garbled),
            ("{}", ErrorClass::Garbled),
            (r#"{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}"#, ErrorClass::Rate),
            (
                r#"{"output":[],"status":"failed","error":{"code":"server_error","message":"Ouch."}}"#,
                ErrorClass::Server,
            ),
            (
                r#"{"output":[],"status":"failed","error":{"code":"invalid_prompt","message":"No."}}"#,
                ErrorClass::Content,
            ),
            (r#"{"output":[],"status":"cancelled","error":null}"#, ErrorClass::Server),
        ] {
            assert_eq!(summary(body.as_bytes()).map_err(|error| error.class), Err(class), "{body}");
        }
    }

    #[test]
    fn a_forwarded_stream_is_passed_as_it_is_and_its_failure_is_said() {
        let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\"}}\n\n";
        let end = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n";
        let mut relay = forwarder("req_1");
        let mut out = Vec::new();
        assert_eq!(relay.chunk(created.as_bytes(), &mut out), Passed::AsIs);
        assert_eq!(relay.chunk(end.as_bytes(), &mut out), Passed::AsIs);
        relay.end(Ending::Closed, &mut out);
        assert_eq!((out.as_slice(), relay.summary().finish_reason.as_deref()), (&b""[..], Some("stop")));

        let mut relay = forwarder("req_1");
        relay.chunk(created.as_bytes(), &mut out);
        relay.end(Ending::Closed, &mut out);
        let said = String::from_utf8(out).expect("UTF-8");
        assert!(said.starts_with("event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"upstream_truncated\","), "{said}");
        assert!(said.ends_with("\"request_id\":\"req_1\"}}\n\n"), "{said}");
    }
}
