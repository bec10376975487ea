//! Large input that means harm: what comes of it, and that it costs no more than its length. What took time with the
//! square of it would not come to an end here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use llm::{
    ErrorClass,
    chat::{Event, FinishReason},
    dialect::bend,
    eventstream,
    front::{Framing, Peek},
    relay::{Passed, Relay},
    translate::Translate,
};
use serde_json::{Value, json};
use wire::{HEAD, PROTOCOLS, Protocol, decode, peek, pumped};

/// Server-sent events of these data.
fn sse(events: impl IntoIterator<Item = Value>) -> Vec<u8> {
    events.into_iter().flat_map(|event| format!("data: {event}\n\n").into_bytes()).collect()
}

/// Amazon's events of these names and payloads.
fn frames(events: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, payload) in events {
        let headers = [(":message-type", "event"), (":event-type", name)];
        eventstream::write(&headers, payload.to_string().as_bytes(), &mut bytes);
    }
    bytes
}

/// A chunk of Chat Completions.
fn chunk(delta: Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta }] })
}

fn end_of_chat() -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })
}

/// What a stream comes to at last.
fn last(protocol: &str, stream: &[u8]) -> (usize, Event) {
    let mut events = decode(Protocol::named(protocol).dialect, [stream]);
    let end = events.pop().unwrap();
    (events.len(), end)
}

fn garbled(event: &Event) -> &str {
    match event {
        Event::Error(error) if error.class == ErrorClass::Garbled => &error.message,
        other => panic!("{other:?}"),
    }
}

/// A stream from one protocol, as another's caller gets it.
fn translated(from: &str, to: &Protocol, stream: &[u8]) -> Vec<u8> {
    let writer = to.front.writer(&HEAD, &peek());
    let mut relay = Translate::new(Protocol::named(from).dialect.decoder(), writer, "call_1");
    pumped(&mut relay, [stream])
}

#[test]
fn more_calls_than_a_model_makes_are_no_answer() {
    let call = |index: u64| json!({ "index": index, "id": format!("c{index}"), "function": { "name": "f" } });
    let chat = sse((0..2_000).map(|at| chunk(json!({ "tool_calls": [call(at)] }))).chain([end_of_chat()]));
    let cohere = sse((0..2_000).map(|at| {
        json!({ "type": "tool-call-start", "index": at, "delta": { "message": { "tool_calls": call(at) } } })
    }));
    let part = json!({ "functionCall": { "name": "f" } });
    let gemini = sse([json!({ "candidates": [{ "content": { "parts": vec![part; 2_000] } }] })]);
    for (protocol, stream) in [("chat_completions", chat), ("cohere", cohere), ("generate_content", gemini)] {
        let (count, end) = last(protocol, &stream);
        assert!(garbled(&end).ends_with("it has more tool calls than a model makes"), "{protocol}");
        assert!(count <= 2_002, "{protocol}: {count}");
    }
}

#[test]
fn more_items_than_an_answer_has_are_none_in_whatever_order_they_come() {
    let responses = Protocol::named("responses");
    let output = vec![json!({ "type": "x" }); 200_000];
    let whole = json!({ "status": "completed", "output": output }).to_string();
    let error = responses.dialect.decode(whole.as_bytes()).unwrap_err();
    assert!(error.message.ends_with("it has more items than a model makes"), "{}", error.message);
    let delta = |at: u32| json!({ "type": "response.output_text.delta", "output_index": at, "delta": "a" });
    for stream in [sse((0..50_000).map(delta)), sse((0..50_000).rev().map(delta))] {
        let (count, end) = last("responses", &stream);
        assert_eq!((count, garbled(&end)), (10_000, error.message.as_str()));
    }
    // As many as are taken are all known.
    let calls = (0..10_000).rev().map(|at| {
        let call =
            json!({ "type": "function_call", "call_id": format!("c{at}"), "name": "f", "arguments": "{}" });
        json!({ "type": "response.output_item.done", "output_index": at, "item": call })
    });
    let end = json!({ "type": "response.completed", "response": { "status": "completed" } });
    let (count, end) = last("responses", &sse(calls.chain([end])));
    assert_eq!(count, 20_001);
    assert!(matches!(end, Event::Finish { reason: FinishReason::ToolCalls, .. }), "{end:?}");
}

#[test]
fn many_calls_and_turns_of_speech_reach_every_caller() {
    let block = |at: u64| {
        let call = json!({ "type": "tool_use", "id": format!("t{at}"), "name": "f", "input": {} });
        [
            json!({ "type": "content_block_start", "index": at, "content_block": call }),
            json!({ "type": "content_block_stop", "index": at }),
        ]
    };
    let stop = [
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" } }),
        json!({ "type": "message_stop" }),
    ];
    let calls = sse((0..900).flat_map(block).chain(stop));
    // Text and refusals in turn, each a part of its own.
    let turns = (0..10_000).map(|_| chunk(json!({ "content": "a", "refusal": "b" })));
    let turns = sse(turns.chain([end_of_chat()]));
    // Sources of a text that grows.
    let source = json!({ "type": "url_citation", "url_citation": { "url": "https://x" } });
    let cited = (0..10_000).map(|_| chunk(json!({ "content": "é", "annotations": [source.clone()] })));
    let cited = sse(cited.chain([end_of_chat()]));
    let is_call = |event: &Event| matches!(event, Event::ToolCall { .. });
    let is_text = |event: &Event| matches!(event, Event::Text(_));
    for to in &PROTOCOLS {
        let told = decode(to.dialect, [&translated("messages", to, &calls)[..]]);
        assert_eq!(told.iter().filter(|event| is_call(event)).count(), 900, "{}", to.name);
    }
    for (to, stream, expected) in [
        // Messages has no refusals, only words.
        ("messages", &turns, 20_000),
        ("responses", &turns, 10_000),
        ("messages", &cited, 10_000),
        ("responses", &cited, 10_000),
    ] {
        let to = Protocol::named(to);
        let told = decode(to.dialect, [&translated("chat_completions", to, stream)[..]]);
        assert_eq!(told.iter().filter(|event| is_text(event)).count(), expected, "{}", to.name);
        assert!(matches!(told.last(), Some(Event::Finish { .. })), "{}: {:?}", to.name, told.last());
    }
}

#[test]
fn calls_that_wait_for_each_other_are_whole_in_the_end() {
    let call = |index: u32, name: &str| {
        chunk(
            json!({ "tool_calls": [{ "index": index, "id": format!("c{index}"), "function": { "name": name } }] }),
        )
    };
    let piece = |index: u32, text: &str| {
        chunk(json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] }))
    };
    // The first is not whole until the others are, and everything else is said meanwhile.
    let long = "x".repeat(200_000);
    let mut events =
        vec![call(0, "first"), piece(0, &format!("{{\"a\":\"{long}")), call(1, "second"), piece(1, "[\"")];
    for _ in 0..4_000 {
        events.extend([
            piece(1, "y"),
            chunk(json!({ "content": "a" })),
            chunk(json!({ "reasoning_content": "b" })),
        ]);
    }
    events.extend([piece(1, "\"]"), piece(0, "\"}"), end_of_chat()]);
    let stream = sse(events);
    for to in ["messages", "responses", "chat_completions"] {
        let to = Protocol::named(to);
        let told = decode(to.dialect, [&translated("chat_completions", to, &stream)[..]]);
        let mut arguments = [String::new(), String::new()];
        for event in &told {
            if let Event::ToolArguments { index, text } = event {
                arguments[*index as usize].push_str(text);
            }
        }
        let lengths = arguments.map(|text| text.len());
        assert_eq!(lengths, [200_000 + 8, 4_000 + 4], "{}", to.name);
    }
}

#[test]
fn a_stream_without_an_end_to_its_event_is_given_up_and_stays_so() {
    let piece = vec![b'x'; 1 << 20];
    for protocol in &PROTOCOLS {
        let plain = peek();
        let mut relays: Vec<(&str, Box<dyn Relay>)> =
            vec![("passed on", protocol.front.forwarder(&plain, "call_1"))];
        if protocol.name == "generate_content" {
            let list = Peek { framing: Framing::List, ..peek() };
            relays.push(("as a list", protocol.front.forwarder(&list, "call_1")));
        }
        for to in &PROTOCOLS {
            let writer = to.front.writer(&HEAD, &plain);
            relays.push((to.name, Box::new(Translate::new(protocol.dialect.decoder(), writer, "call_1"))));
        }
        for (to, mut relay) in relays {
            let mut out = Vec::new();
            let fed = (0..20).take_while(|_| {
                assert_eq!(relay.chunk(&piece, &mut out), Passed::Instead);
                !relay.is_over()
            });
            let fed = fed.count();
            assert!(fed <= 17, "{} {to}: {fed} MiB were held", protocol.name);
            let error = relay.summary().error.clone().unwrap();
            assert_eq!(error.class, ErrorClass::Garbled, "{} {to}", protocol.name);
            assert!(!out.is_empty() && out.len() < 4_000, "{} {to}: {} bytes", protocol.name, out.len());
            // A small chunk would fit again; what it belongs to is lost.
            out.clear();
            for _ in 0..3 {
                assert_eq!(relay.chunk(b"data: {}\n\n", &mut out), Passed::Instead);
            }
            assert!(out.is_empty(), "{} {to}: {}", protocol.name, String::from_utf8_lossy(&out));
        }
    }
}

#[test]
fn an_answer_that_never_ends_is_given_up_before_it_fills_the_memory() {
    let text = "x".repeat(1 << 20);
    let first = chunk(json!({ "tool_calls": [{ "index": 0, "id": "c", "function": { "name": "f" } }] }));
    let more = chunk(json!({ "tool_calls": [{ "index": 0, "function": { "arguments": text } }] }));
    for (first, more, to) in [
        (chunk(json!({})), chunk(json!({ "content": text })), "responses"),
        (first, more, "generate_content"),
    ] {
        let (more, to) = (sse([more]), Protocol::named(to));
        let chat = Protocol::named("chat_completions");
        let mut relay = Translate::new(chat.dialect.decoder(), to.front.writer(&HEAD, &peek()), "call_1");
        let mut out = Vec::new();
        relay.chunk(&sse([first]), &mut out);
        let fed = (0..40).take_while(|_| {
            out.clear();
            relay.chunk(&more, &mut out);
            !relay.is_over()
        });
        assert_eq!(fed.count(), 31, "{}", to.name);
        let error = relay.summary().error.clone().unwrap();
        assert!(error.message.ends_with("it is larger than 32 MiB"), "{}", error.message);
    }
}

#[test]
fn sources_of_a_long_text_are_found_wherever_they_are() {
    let text = "é👋a".repeat(100_000);
    let support = |at: usize| {
        let bytes = (at * 7_919) % 100_000 * 7;
        json!({ "segment": { "startIndex": bytes, "endIndex": bytes + 6 }, "groundingChunkIndices": [0] })
    };
    let supports: Vec<Value> = (0..20_000).map(support).collect();
    let chunks: Vec<Value> =
        (0..20_000).map(|at| json!({ "web": { "uri": format!("https://{at}") } })).collect();
    let answer = json!({ "candidates": [{
        "content": { "parts": [{ "text": text }] },
        "groundingMetadata": { "groundingChunks": chunks, "groundingSupports": supports },
        "finishReason": "STOP",
    }]});
    let events = Protocol::named("generate_content").dialect.decode(answer.to_string().as_bytes()).unwrap();
    let mut found = 0;
    for event in &events {
        let Event::Citation(cited) = event else { continue };
        if let Some((start, end)) = cited.span {
            assert_eq!((start % 3, end - start), (0, 2), "an é and a hand");
            found += 1;
        }
    }
    // Those that nothing rests on are named as well.
    assert_eq!((found, events.len()), (20_000, 20_000 + 19_999 + 3));
}

#[test]
fn counts_that_cannot_be_are_no_overflow() {
    let most = u64::MAX;
    let gemini = json!({ "promptTokenCount": most, "toolUsePromptTokenCount": most, "candidatesTokenCount": most,
        "thoughtsTokenCount": most,
        "promptTokensDetails": [{ "modality": "AUDIO", "tokenCount": most }, { "modality": "AUDIO", "tokenCount": most }] });
    let parts = json!({ "parts": [{ "text": "a" }] });
    let gemini =
        json!({ "candidates": [{ "content": parts, "finishReason": "STOP" }], "usageMetadata": gemini });
    let messages = json!({ "content": [], "stop_reason": "end_turn", "usage": { "input_tokens": most,
        "cache_read_input_tokens": most, "cache_creation_input_tokens": most, "output_tokens": most } });
    let converse = json!({ "output": { "message": { "content": [] } }, "stopReason": "end_turn",
        "usage": { "inputTokens": most, "cacheReadInputTokens": most, "cacheWriteInputTokens": most, "outputTokens": most } });
    for (from, answer) in [("generate_content", gemini), ("messages", messages), ("converse", converse)] {
        let events = Protocol::named(from).dialect.decode(answer.to_string().as_bytes()).unwrap();
        let usage = events.iter().find_map(|event| match event {
            Event::Usage(usage) => Some(*usage),
            _ => None,
        });
        assert_eq!(
            usage.map(|usage| (usage.input_tokens, usage.output_tokens)),
            Some((most, most)),
            "{from}"
        );
        for to in &PROTOCOLS {
            assert!(to.front.whole(&HEAD, &events).is_ok(), "{from} to {}", to.name);
        }
    }
}

/// A request in this protocol, with this in place of its messages or behind them.
fn request(protocol: &Protocol, messages: &str, more: &str) -> String {
    let list = match protocol.name {
        "generate_content" => "contents",
        "responses" => "input",
        _ => "messages",
    };
    let first = match protocol.name {
        // Its address names the model, and its body must not.
        "generate_content" => "",
        "messages" => "\"model\":\"chat\",\"max_tokens\":9,",
        _ => "\"model\":\"chat\",",
    };
    format!("{{{first}\"{list}\":{messages}{more}}}")
}

#[test]
fn a_request_that_would_fill_the_memory_is_refused_with_a_sentence() {
    let many = |one: &str, count: usize| format!("[{}{one}]", format!("{one},").repeat(count - 1));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let messages = many(r#"{"role":"user","content":"a"}"#, 60_000);
    let tools = format!(",\"tools\":{}", many(r#"{"type":"function","function":{"name":"f"}}"#, 40_000));
    let schema =
        format!(",\"response_format\":{}{}", "{\"a\":".repeat(300), "0".to_owned() + &"}".repeat(300));
    for protocol in &PROTOCOLS {
        for (messages, more, says) in [
            (&*deep, "", "recursion limit"),
            (&many("0", 1_000_001), "", "more values than there is room for"),
            (&many("[]", 200_001), "", "more values than there is room for"),
            (&many("{}", 60_000), "", "more values than there is room for"),
            (&messages, "", "more values than there is room for"),
            (&many("0", 10_001), "", "must not hold more than 10000 entries, not 10001"),
            ("[]", &*tools, "more values than there is room for"),
            ("[]", &*schema, "recursion limit"),
        ] {
            let body = request(protocol, messages, more);
            let peeked = protocol.front.peek(protocol.path, body.as_bytes());
            let error = match &peeked {
                Ok(peek) => protocol.front.parse(peek, body.as_bytes()).unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(says) && error.len() < 400, "{}: {says}: {error:.400}", protocol.name);
        }
    }
}

#[test]
fn a_number_beyond_every_other_is_passed_on_and_refused_where_it_must_be_read() {
    const NUMBER: &str = "1234E5678901234567890";
    for protocol in &PROTOCOLS {
        let messages = match protocol.name {
            "converse" => r#"[{"role":"user","content":[{"text":"Hi."}]}]"#,
            "generate_content" => r#"[{"role":"user","parts":[{"text":"Hi."}]}]"#,
            _ => r#"[{"role":"user","content":"Hi."}]"#,
        };
        let body = request(protocol, messages, &format!(",\"of_tomorrow\":{NUMBER}"));
        let peek = protocol.front.peek(protocol.path, body.as_bytes()).unwrap();
        let sent = protocol
            .front
            .forward(body.as_bytes(), &peek, &http::HeaderMap::new(), &protocol.target())
            .unwrap();
        let sent = String::from_utf8_lossy(sent.request.body()).into_owned();
        assert!(sent.contains(NUMBER), "{}: {sent}", protocol.name);
        let error = protocol.front.parse(&peek, body.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("The body has a number that is too large to be translated at line 1"),
            "{error}"
        );
    }
}

#[test]
fn thousands_of_names_and_results_are_told_apart() {
    let calls = (0..9_000).map(|at| {
        let function = json!({ "name": format!("ns.tool {at}"), "arguments": "{}" });
        json!({ "role": "assistant", "tool_calls": [{ "id": format!("c{at}"), "type": "function", "function": function }] })
    });
    let said = json!({ "role": "user", "content": vec![json!({ "type": "text", "text": "a" }); 500] });
    let results =
        (0..900).map(|at| json!({ "role": "tool", "tool_call_id": format!("c{at}"), "content": "b" }));
    let messages: Vec<Value> = calls.chain([said]).chain(results).collect();
    let tool = json!({ "type": "function", "function": { "name": "ns.tool 8999" } });
    let body = json!({ "model": "chat", "messages": messages, "tools": [tool] }).to_string();
    let chat = Protocol::named("chat_completions");
    let peek = chat.front.peek(chat.path, body.as_bytes()).unwrap();
    let request = chat.front.parse(&peek, body.as_bytes()).unwrap();
    for to in &PROTOCOLS {
        let encoded = bend::encode(to.dialect, &request, &to.target()).unwrap();
        let sent: Value = serde_json::from_slice(encoded.request.body()).unwrap();
        if matches!(to.name, "converse" | "messages") {
            // Results open the turn, whatever was said before them.
            let blocks = sent["messages"].as_array().unwrap().last().unwrap()["content"].as_array().unwrap();
            let is_result =
                |block: &Value| block.get("toolResult").is_some() || block["type"] == "tool_result";
            assert_eq!(blocks.len(), 1_400, "{}", to.name);
            assert!(
                blocks[..900].iter().all(is_result) && !blocks[900..].iter().any(is_result),
                "{}",
                to.name
            );
        }
        let mut bent = encoded.bent;
        let text = sent.to_string();
        let at = text.find("tool_8999_").unwrap();
        let name = text[at - 3..at + 18].to_owned();
        let mut events = vec![Event::ToolCall { index: 0, id: "c".to_owned(), name, signature: None }];
        bent.undo(&mut events);
        let Some(Event::ToolCall { name, .. }) = events.pop() else { panic!("a call stays one") };
        assert_eq!(name, "ns.tool 8999", "{}", to.name);
    }
}

#[test]
fn a_wait_of_a_thousand_years_is_none() {
    for (wait, expected) in [
        ("30", Some(30_000)),
        ("1e300", None),
        ("31536001", None),
        ("-1", None),
        ("NaN", None),
        ("inf", None),
    ] {
        for protocol in &PROTOCOLS {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", wait.parse().unwrap());
            let error = protocol.dialect.error(429, &headers, b"");
            assert_eq!(error.retry_after_ms, expected, "{}: {wait}", protocol.name);
        }
    }
}

#[test]
fn frames_that_are_broken_are_not_kept() {
    let good = frames([("messageStart", json!({ "role": "assistant" }))]);
    let mut bad = good.clone();
    bad[30] ^= 1;
    let converse = Protocol::named("converse");
    let mut relay = converse.front.forwarder(&peek(), "call_1");
    let mut out = Vec::new();
    for piece in std::iter::once(&bad).chain(std::iter::repeat_n(&good, 1_000)) {
        relay.chunk(piece, &mut out);
    }
    assert!(out.len() < 200, "nothing that follows can be trusted: {} bytes", out.len());
}
