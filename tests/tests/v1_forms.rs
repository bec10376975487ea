//! Calls that carry files: /v1/audio/transcriptions, /v1/audio/translations, /v1/images/edits, /v1/images/variations.

use bytes::Bytes;
use functions::BodyError;
use gateway::record::Outcome;
use serde_json::{Value, json};
use tests::{Answer, Gateway};

const LISTEN: &str = "https://api.openai.com/v1/audio/transcriptions";
const GROQ: &str = "https://api.groq.com/openai/v1/audio/transcriptions";
const ROUTE: &str = "/v1/audio/transcriptions";

/// A form with these fields, a file among them where the name is `file`.
fn form(fields: &[(&str, &str)]) -> String {
    let mut form = String::new();
    for (name, value) in fields {
        let file = if *name == "file" { "; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg" } else { "" };
        form += &format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n");
    }
    form + "--XyZ--\r\n"
}

/// A form in pieces of this size.
fn pieces(form: &str, size: usize) -> Vec<Result<Bytes, BodyError>> {
    form.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn large() -> String {
    "sound-".repeat(400_000)
}

fn heard() -> Answer {
    Answer::json(200, &json!({ "text": "Hello.", "usage": { "type": "duration", "seconds": 3 } }))
}

#[test]
fn a_form_goes_on_byte_for_byte_but_for_the_models_name() {
    let gateway = Gateway::default();
    let sound = large();
    let cases = [
        form(&[("model", "openai/whisper-1"), ("file", "sound"), ("language", "de")]),
        form(&[("file", "sound"), ("model", "openai/whisper-1")]),
        form(&[("model", "openai/whisper-1"), ("file", &sound), ("stream", "false")]),
        form(&[("file", &sound), ("model", "openai/whisper-1"), ("prompt", "Names: Ann")]),
    ];
    for form in cases {
        for (size, announced) in [(1 << 30, true), (65_536, true), (65_536, false), (1_000, true)] {
            gateway.host.upstream.expect("POST", LISTEN, heard());
            let length = form.len().to_string();
            let headers = [("content-length", length.as_str())];
            let headers = if announced { &headers[..] } else { &[] };
            let answered = gateway.upload(ROUTE, headers, pieces(&form, size));
            assert_eq!(answered.status, 200, "{}", answered.text());
            assert_eq!(answered.json()["text"], "Hello.");
            let sent = gateway.host.upstream.sent_to(LISTEN).pop().unwrap();
            assert_eq!(sent.body, form.replace("openai/whisper-1", "whisper-1"));
            assert_eq!(sent.header("content-type"), "multipart/form-data; boundary=XyZ");
            assert_eq!(sent.header("authorization"), "Bearer sk-openai");
            if !sent.header("content-length").is_empty() {
                assert_eq!(sent.header("content-length"), sent.body.len().to_string());
            }
        }
    }
}

#[test]
fn each_kind_of_call_has_its_address_and_its_name_in_the_record() {
    let gateway = Gateway::with(&[("MISTRAL_API_KEY", "sk-mistral"), ("FIREWORKS_API_KEY", "sk-fireworks")]);
    let cases = [
        ("/v1/audio/transcriptions", "openai/gpt-4o-transcribe", LISTEN, "transcription"),
        (
            "/v1/audio/translations",
            "openai/whisper-1",
            "https://api.openai.com/v1/audio/translations",
            "translation",
        ),
        ("/v1/images/edits", "openai/gpt-image-1", "https://api.openai.com/v1/images/edits", "image_edit"),
        (
            "/v1/images/variations",
            "openai/dall-e-2",
            "https://api.openai.com/v1/images/variations",
            "image_variation",
        ),
        (
            "/v1/audio/transcriptions",
            "mistral/voxtral-mini-latest",
            "https://api.mistral.ai/v1/audio/transcriptions",
            "transcription",
        ),
        (
            "/v1/audio/transcriptions",
            "fireworks/whisper-v3-turbo",
            "https://audio-turbo.api.fireworks.ai/v1/audio/transcriptions",
            "transcription",
        ),
    ];
    for (route, model, url, operation) in cases {
        let (name, answer) = match operation {
            "image_edit" | "image_variation" => {
                ("image", json!({ "created": 1, "data": [{ "b64_json": "AA==" }] }))
            }
            _ => ("file", json!({ "text": "Hello." })),
        };
        gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
        let answered = gateway.upload(route, &[], pieces(&form(&[(name, "bytes"), ("model", model)]), 100));
        assert_eq!((answered.status.as_u16(), answered.json()), (200, answer));
        let record = answered.record.unwrap();
        assert_eq!((record.operation.as_str(), record.route.as_str()), (operation, route));
        assert_eq!((record.request_model.as_str(), record.outcome), (model, Outcome::Ok));
    }
    let form = form(&[("model", "anthropic/claude-haiku-4-5"), ("file", "sound")]);
    let answered = gateway.upload(ROUTE, &[], pieces(&form, 100));
    assert_eq!(answered.status, 400);
    assert!(answered.text().contains("openai"), "it names who could: {}", answered.text());
}

#[test]
fn answers_of_every_format_pass_and_tell_what_they_used() {
    let gateway = Gateway::default();
    let tokens = json!({ "type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
        "input_token_details": { "text_tokens": 4, "audio_tokens": 10 } });
    let event = |event: Value| format!("data: {event}\n\n");
    let stream = [
        event(json!({ "type": "transcript.text.delta", "delta": "Hel" })),
        event(json!({ "type": "transcript.text.delta", "delta": "lo." })),
        event(json!({ "type": "transcript.text.done", "text": "Hello.", "usage": tokens })),
    ];
    let cases = [
        (
            Answer::json(200, &json!({ "text": "Hello.", "usage": tokens })),
            Some((14, 45)),
            "application/json",
        ),
        (Answer::json(200, &json!({ "text": "Hello.", "duration": 8.47 })), None, "application/json"),
        (Answer::json(200, &json!({ "text": "Hello." })), None, "application/json"),
        (Answer::text(200, "Hello.\n"), None, "text/plain"),
        (
            Answer::whole(200, "application/x-subrip", "1\n00:00:00,000 --> 00:00:01,000\nHello."),
            None,
            "application/x-subrip",
        ),
        (Answer::whole(200, "text/vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nHello."), None, "text/vtt"),
        (Answer::stream(stream.clone()), Some((14, 45)), "text/event-stream; charset=utf-8"),
        (Answer::stream([stream.concat()]), Some((14, 45)), "text/event-stream; charset=utf-8"),
    ];
    for (answer, used, content_type) in cases {
        gateway.host.upstream.expect("POST", LISTEN, answer);
        let form = form(&[("model", "openai/gpt-4o-transcribe"), ("file", "sound")]);
        let answered = gateway.upload(ROUTE, &[], pieces(&form, 100));
        let text = answered.text();
        assert_eq!(answered.status, 200, "{text}");
        assert_eq!(answered.headers["content-type"], content_type);
        assert!(text.contains("lo."), "{text}");
        let record = answered.record.unwrap();
        assert_eq!(record.input_tokens.zip(record.output_tokens), used, "{text}");
        assert_eq!((record.outcome, record.stream), (Outcome::Ok, content_type.starts_with("text/event")));
    }
}

#[test]
fn an_answer_that_is_none_is_an_error_and_so_is_half_a_stream() {
    let gateway = Gateway::default();
    let delta = format!("data: {}\n\n", json!({ "type": "transcript.text.delta", "delta": "Hel" }));
    let cases = [
        (Answer::whole(200, "text/html", "<html>Bad day</html>"), 502, "upstream_garbled"),
        (Answer::json(200, &json!({})), 502, "upstream_garbled"),
        (Answer::json(200, &json!({ "error": { "message": "no" } })), 502, "upstream_error"),
        (
            Answer::json(413, &json!({ "error": { "message": "Maximum content size limit exceeded" } })),
            400,
            "invalid_request",
        ),
        (Answer::stream([delta]), 200, "upstream_truncated"),
    ];
    for (answer, status, code) in cases {
        gateway.host.upstream.always("POST", LISTEN, answer);
        let form = form(&[("model", "openai/gpt-4o-transcribe"), ("file", "sound")]);
        let answered = gateway.upload(ROUTE, &[], pieces(&form, 100));
        assert_eq!(answered.status, status, "{}", answered.text());
        assert!(answered.text().contains(code), "{}", answered.text());
        assert_eq!(answered.record.unwrap().error_type.as_deref(), Some(code));
        gateway.host.upstream.forget(LISTEN);
    }
}

#[test]
fn nothing_is_received_of_strangers() {
    let gateway = Gateway { key: "hg_nobody".to_owned(), ..Gateway::default() };
    let form = form(&[("model", "openai/whisper-1"), ("file", "sound")]);
    let answered = gateway.upload(ROUTE, &[], pieces(&form, 10));
    assert_eq!(answered.status, 401);
    assert_eq!(gateway.host.unread(), form.len());
}

#[test]
fn a_second_model_behind_the_file_does_not_get_past_the_keys_models() {
    let mut gateway = Gateway::default();
    gateway.key = gateway.new_key(&json!({ "name": "limited", "models": ["openai/whisper-1"] }));
    let sound = large();
    let forms = [
        form(&[("model", "openai/whisper-1"), ("file", &sound), ("model", "gpt-4o-transcribe")]),
        form(&[("model", "openai/whisper-1"), ("file", &sound), ("MODEL", "gpt-4o-transcribe")]),
        form(&[("model", "openai/whisper-1"), ("file", &(sound.clone() + "\n--XyZ\nname"))]),
    ];
    for form in forms {
        let length = form.len().to_string();
        let answered = gateway.upload(ROUTE, &[("content-length", &length)], pieces(&form, 65_536));
        assert_eq!(answered.status, 400, "{}", answered.text());
        assert_eq!(answered.record.unwrap().error_type.as_deref(), Some("invalid_request"));
    }
    assert!(gateway.host.upstream.sent().is_empty(), "no whole request went out");
    let form = form(&[("file", "sound"), ("model", "openai/gpt-4o-transcribe")]);
    assert_eq!(gateway.upload(ROUTE, &[], pieces(&form, 100)).status, 403);
}

#[test]
fn what_is_held_may_go_to_the_next_target_and_what_streams_only_to_the_first() {
    let gateway = Gateway::with(&[("GROQ_API_KEY", "sk-groq")]);
    let alias = json!({ "targets": ["sambanova/whisper", "openai/whisper-1", "groq/whisper-large-v3"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/ears", gateway.tenant_id), &alias);
    let (small, sound) = (form(&[("model", "ears"), ("file", "sound")]), large());
    let large = form(&[("model", "ears"), ("file", &sound)]);

    gateway.host.upstream.always("POST", LISTEN, Answer::json(500, &json!({})));
    gateway.host.upstream.expect("POST", GROQ, heard());
    let answered = gateway.upload(ROUTE, &[], pieces(&small, 100));
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(
        gateway.host.upstream.sent_to(GROQ).pop().unwrap().body,
        small.replace("ears", "whisper-large-v3")
    );
    assert_eq!(answered.record.unwrap().attempts.len(), 3);

    // SambaNova is not set up, so nothing was sent there.
    let answered = gateway.upload(ROUTE, &[], pieces(&large, 65_536));
    assert_eq!(answered.status, 502, "{}", answered.text());
    let attempts = answered.record.unwrap().attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [None, Some(500)]);
}

#[test]
fn an_answer_that_comes_early_ends_the_sending() {
    let gateway = Gateway::default();
    let form = form(&[("model", "openai/whisper-1"), ("file", &large())]);
    let refusal = json!({ "error": { "message": "Maximum content size limit (26214400) exceeded" } });
    gateway.host.upstream.expect("POST", LISTEN, Answer::json(413, &refusal).early(1 << 20));
    let answered =
        gateway.upload(ROUTE, &[("content-length", &form.len().to_string())], pieces(&form, 65_536));
    assert_eq!(answered.status, 400);
    assert!(answered.text().contains("Maximum content size limit"), "{}", answered.text());
    assert!(gateway.host.unread() > 1 << 20, "the rest is not asked for");
}

#[test]
fn a_caller_that_leaves_or_falls_silent_while_it_sends_is_on_record() {
    let gateway = Gateway::default();
    for (error, status, code, outcome) in [
        (BodyError::Broken, 499, "caller_hung_up", Outcome::Aborted),
        (BodyError::Silent, 408, "body_timeout", Outcome::ClientError),
    ] {
        for sent in [30, 200, 2_000_000] {
            let form = form(&[("model", "openai/whisper-1"), ("file", &large())]);
            let mut pieces = pieces(&form[..sent], 65_536);
            pieces.push(Err(error));
            let answered = gateway.upload(ROUTE, &[("content-length", &form.len().to_string())], pieces);
            assert_eq!(answered.status, status, "{}", answered.text());
            let record = answered.record.unwrap();
            assert_eq!((record.error_type.as_deref(), record.outcome), (Some(code), outcome));
        }
    }
    assert!(gateway.host.upstream.sent().is_empty());
}

#[test]
fn a_form_has_bounds_and_says_which() {
    let gateway = Gateway::with(&[("MAX_BODY_BYTES", "100000"), ("MAX_UPLOAD_BYTES", "2000000")]);
    let sound = large();
    let first = form(&[("model", "openai/whisper-1"), ("file", &sound)]);
    let last = form(&[("file", &sound), ("model", "openai/whisper-1")]);
    let none = form(&[("file", "sound")]);
    let length = first.len().to_string();
    let announced = [("content-length", length.as_str())];
    let cases = [
        (first.as_str(), true, 413, "MAX_UPLOAD_BYTES"),
        (&first, false, 413, "MAX_UPLOAD_BYTES"),
        (&last, false, 400, "`model` does not come within the first 100000 bytes"),
        (&none, false, 400, "`model` is required"),
        ("not a form", false, 400, "does not begin with the boundary"),
    ];
    for (form, is_announced, status, message) in cases {
        let headers = if is_announced { &announced[..] } else { &[] };
        let answered = gateway.upload(ROUTE, headers, pieces(form, 65_536));
        assert_eq!(answered.status, status, "{}", answered.text());
        assert!(answered.text().contains(message), "{}", answered.text());
    }
    let answered =
        gateway.request("POST", ROUTE, &[("authorization", &format!("Bearer {}", gateway.key))], "{}");
    assert_eq!(answered.status, 400);
    assert!(answered.text().contains("multipart/form-data"), "{}", answered.text());
    let answered = gateway.upload("/v1/chat/completions", &[], pieces(&none, 100));
    assert_eq!(answered.status, 415, "{}", answered.text());
}

#[test]
fn of_a_form_no_file_is_kept() {
    let gateway = Gateway::default();
    let mode = json!({ "payload_mode": "full" });
    gateway.admin("PATCH", &format!("tenants/{}", gateway.tenant_id), &mode);
    gateway.host.upstream.expect("POST", LISTEN, heard());
    let form = form(&[("model", "openai/whisper-1"), ("file", "sound")]);
    let payload = gateway.upload(ROUTE, &[], pieces(&form, 100)).record.unwrap().payload.unwrap();
    assert_eq!(payload.request, "");
    assert!(payload.response.contains("Hello."));
}
