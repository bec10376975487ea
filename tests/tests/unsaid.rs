//! What of an answer another protocol has no place for is named, and a picture or sound is an error.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use llm::translate::{Translate, untellable};
use serde_json::{Value, json};
use tests::{ANTHROPIC, Answer, Gateway, OPENAI};
use wire::{HEAD, PROTOCOLS, Protocol, decode, peek, pumped};

fn protocol(name: &str) -> &'static Protocol {
    PROTOCOLS.iter().find(|protocol| protocol.name == name).unwrap()
}

fn claudes_answer() -> Value {
    json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "stop_reason": "end_turn",
        "content": [
            { "type": "server_tool_use", "id": "s1", "name": "code_execution", "input": {} },
            { "type": "code_execution_tool_result", "tool_use_id": "s1", "content": {} },
            { "type": "server_tool_use", "id": "s2", "name": "code_execution", "input": {} },
            { "type": "text", "text": "It is 4." },
        ],
        "usage": { "input_tokens": 3, "output_tokens": 2 } })
}

const NAMED: &str = "content.server_tool_use,content.code_execution_tool_result";

#[test]
fn a_whole_answer_names_in_a_header_what_it_leaves_out() {
    let gateway = Gateway::default();
    gateway.host.upstream.expect("POST", ANTHROPIC, Answer::json(200, &claudes_answer()));
    let answered = gateway.chat(
        &json!({ "model": "anthropic/claude-haiku-4-5", "messages": [{ "role": "user", "content": "2 + 2?" }] }),
    );
    assert_eq!(answered.json()["choices"][0]["message"]["content"], "It is 4.");
    assert_eq!(answered.headers["x-hypergate-dropped"], NAMED);
}

#[test]
fn a_stream_names_at_its_end_what_it_leaves_out() {
    let start = |index: usize, block: &Value| {
        format!(
            "event: content_block_start\ndata: {}\n\nevent: content_block_stop\ndata: {}\n\n",
            json!({ "type": "content_block_start", "index": index, "content_block": block }),
            json!({ "type": "content_block_stop", "index": index })
        )
    };
    let answer = claudes_answer();
    let blocks = answer["content"].as_array().unwrap().iter().enumerate();
    let stream = format!(
        "event: message_start\ndata: {}\n\n{}event: message_delta\ndata: {}\n\nevent: message_stop\ndata: {}\n\n",
        json!({ "type": "message_start", "message": { "id": "msg_1", "model": "claude", "usage": {} } }),
        blocks.map(|(index, block)| start(index, block)).collect::<String>(),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } }),
        json!({ "type": "message_stop" }),
    );
    for to in PROTOCOLS.iter() {
        let from = protocol("messages");
        let mut relay = Translate::new(from.dialect.decoder(), to.front.writer(&HEAD, &peek()), "call_1");
        let sent = pumped(&mut relay, [stream.as_bytes()]);
        let sent = String::from_utf8_lossy(&sent);
        assert_eq!(sent.matches(NAMED).count(), 1, "{}: {sent}", to.name);
    }
}

#[test]
fn a_picture_or_sound_is_an_error_where_it_would_be_lost_and_passed_on_where_not() {
    let picture = json!([{ "type": "image_url", "image_url": { "url": "data:image/png;base64,aaaa" } }]);
    let chat = |message: Value| json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] });
    let cases = [
        ("chat_completions", "message.images", chat(json!({ "content": "Here.", "images": picture }))),
        ("chat_completions", "message.audio", chat(json!({ "content": null, "audio": { "data": "aaaa" } }))),
        ("chat_completions", "message.content.image_url", chat(json!({ "content": picture }))),
        (
            "responses",
            "output.image_generation_call",
            json!({ "status": "completed", "output": [{ "type": "image_generation_call", "id": "i", "result": "aaaa" }] }),
        ),
        (
            "converse",
            "content.image",
            json!({ "output": { "message": { "role": "assistant", "content": [{ "image": { "format": "png" } }] } }, "stopReason": "end_turn" }),
        ),
    ];
    for (from, name, answer) in cases {
        let events = protocol(from).dialect.decode(answer.to_string().as_bytes()).unwrap();
        let (_, error) = untellable(&events).unwrap_or_else(|| panic!("{name}: {events:?}"));
        assert!(error.message.contains(&format!("`{name}`")), "{}", error.message);
        assert!(protocol(from).front.summary(answer.to_string().as_bytes()).is_ok(), "{name}");
    }

    // In a stream it is the last thing that comes.
    let chunk = json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "delta": { "content": "Here.", "images": picture }, "finish_reason": "stop" }] });
    let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
    let from = protocol("chat_completions");
    let to = protocol("messages");
    let mut relay = Translate::new(from.dialect.decoder(), to.front.writer(&HEAD, &peek()), "call_1");
    let sent = pumped(&mut relay, [stream.as_bytes()]);
    let told = decode(to.dialect, [&sent[..]]);
    assert!(
        matches!(told.last(), Some(llm::chat::Event::Error(error)) if error.message.contains("message.images"))
    );

    // Who speaks the provider's protocol gets all of it.
    let gateway = Gateway::default();
    let answer = chat(json!({ "role": "assistant", "content": "Here.", "images": picture }));
    gateway.host.upstream.expect("POST", OPENAI, Answer::json(200, &answer));
    let answered = gateway
        .chat(&json!({ "model": "openai/gpt-4.1", "messages": [{ "role": "user", "content": "Draw." }] }));
    assert_eq!(answered.json(), answer);
    assert!(!answered.headers.contains_key("x-hypergate-dropped"));
}
