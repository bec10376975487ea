use http::HeaderValue;
use serde_json::{Value, json};

use super::*;
use crate::{
    ErrorClass, Usage,
    chat::{
        CacheTtl, Citation, Effort, Extra, File, FinishReason, Media, Message, Part, Reasoning, Request,
        ResponseFormat, Role, Tool, ToolCall, ToolChoice, ToolResult,
    },
    eventstream,
    provider::{Auth, Hosting, Provider, StreamUsage},
    relay::{Ending, Passed},
};

static BEDROCK: Provider = Provider {
    name: "bedrock",
    telemetry_name: "aws.bedrock",
    base_url: "",
    auth: Auth::Bearer,
    grant: None,
    hosting: Hosting::Own,
    betas: Betas::None,
    api: Api::Converse,
    also: None,
    files_in_texts: false,
    stream_usage: StreamUsage::Unasked,
    offers: &[],
};

const CLAUDE: &str = "us.anthropic.claude-3-7-sonnet-20250219-v1:0";
const HEAD: Head<'_> = Head { id: "1", created: 0, model: "m" };

fn target(model: &str) -> Target<'_> {
    Target { provider: &BEDROCK, model, base_url: "https://bedrock.example", credential: Some("key") }
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn image() -> Part {
    Part::Image(Media::Data { media_type: "image/png".to_owned(), data: "aGk=".to_owned() }.into())
}

fn pdf(name: &str) -> Part {
    let media = Media::Data { media_type: "application/pdf".to_owned(), data: "aGk=".to_owned() };
    Part::File(File { cited: false, name: Some(name.to_owned()), media })
}

fn call(id: &str, arguments: &str) -> Part {
    let (id, arguments) = (id.to_owned(), arguments.to_owned());
    Part::ToolCall(ToolCall { id, name: "weather".to_owned(), arguments, signature: None })
}

fn result(id: &str, parts: Vec<Part>) -> Part {
    Part::ToolResult(ToolResult { call_id: id.to_owned(), parts, is_error: false })
}

fn failed(id: &str, parts: Vec<Part>) -> Part {
    Part::ToolResult(ToolResult { call_id: id.to_owned(), parts, is_error: true })
}

fn message(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts }
}

fn asking(parts: Vec<Part>) -> Request {
    Request { messages: vec![message(Role::User, parts)], ..Request::default() }
}

fn weather() -> Tool {
    Tool {
        cache: None,
        name: "weather".to_owned(),
        description: Some("Tells it.".to_owned()),
        parameters: Some(json!({ "type": "object", "properties": { "city": { "type": "string" } } })),
        strict: None,
    }
}

fn encoded(request: &Request, model: &str) -> (Value, Vec<String>) {
    let encoded = Converse.encode(request, &target(model)).expect("can be said");
    (serde_json::from_slice(encoded.request.body()).expect("JSON"), encoded.dropped)
}

fn thought(text: &str, signature: Option<&str>, redacted: Option<&str>) -> Part {
    Part::Reasoning(Reasoning {
        text: text.to_owned(),
        signature: signature.map(str::to_owned),
        redacted: redacted.map(str::to_owned),
    })
}

#[test]
fn a_rich_request_is_written() {
    let request = Request {
        messages: vec![
            message(Role::System, vec![text("Be brief."), Part::CachePoint(CacheTtl::Hour)]),
            message(
                Role::User,
                vec![text("Hi"), image(), pdf("a_b  c.pdf"), Part::CachePoint(CacheTtl::Short)],
            ),
            message(Role::User, vec![text(" "), pdf("a_b c.pdf")]),
            message(
                Role::Assistant,
                vec![
                    text("Let me see."),
                    call("c1", r#"{"city": "Rome"}"#),
                    call("an id/too long for it", ""),
                    thought("Hm.", Some("sig"), None),
                    thought("", None, Some("ZGF0YQ==")),
                    thought("Another's.", None, None),
                ],
            ),
            message(Role::Tool, vec![result("c1", vec![text("Sun"), image()])]),
            message(Role::User, vec![text("And?")]),
            message(Role::Tool, vec![result("an id/too long for it", vec![text("")])]),
            message(Role::Developer, vec![text("In French.")]),
        ],
        tools: vec![weather()],
        tool_choice: Some(ToolChoice::Auto),
        response_format: ResponseFormat::JsonSchema {
            name: "report".to_owned(),
            description: None,
            schema: json!({ "type": "object", "properties": {} }),
            strict: Some(true),
        },
        max_output_tokens: Some(9_000),
        stop: vec!["END".to_owned()],
        reasoning_budget: Some(2_000),
        seed: Some(7),
        temperature: Some(0.5),
        stream: true,
        ..Request::default()
    };
    let encoded = Converse.encode(&request, &target(CLAUDE)).expect("can be said");
    assert_eq!(
        encoded.request.uri(),
        "https://bedrock.example/model/us.anthropic.claude-3-7-sonnet-20250219-v1%3A0/converse-stream"
    );
    assert_eq!(encoded.request.headers()["authorization"], "Bearer key");
    assert_eq!(encoded.dropped, ["messages[3].reasoning_content", "temperature", "seed"]);
    let expected = concat!(
        r#"{"system":[{"text":"Be brief."},{"cachePoint":{"type":"default","ttl":"1h"}},{"text":"In French."}],"#,
        r#""messages":[{"role":"user","content":[{"text":"Hi"},{"image":{"format":"png","source":{"bytes":"aGk="}}},"#,
        r#"{"document":{"format":"pdf","name":"a-b c-pdf","source":{"bytes":"aGk="}}},"#,
        r#"{"cachePoint":{"type":"default"}},"#,
        r#"{"document":{"format":"pdf","name":"a-b c-pdf (2)","source":{"bytes":"aGk="}}}]},"#,
        r#"{"role":"assistant","content":["#,
        r#"{"reasoningContent":{"reasoningText":{"text":"Hm.","signature":"sig"}}},"#,
        r#"{"reasoningContent":{"redactedContent":"ZGF0YQ=="}},{"text":"Let me see."},"#,
        r#"{"toolUse":{"toolUseId":"c1","name":"weather","input":{"city": "Rome"}}},"#,
        r#"{"toolUse":{"toolUseId":"call_ID","name":"weather","input":{}}}]},"#,
        r#"{"role":"user","content":[{"toolResult":{"toolUseId":"c1","content":"#,
        r#"[{"text":"Sun"},{"image":{"format":"png","source":{"bytes":"aGk="}}}]}},"#,
        r#"{"toolResult":{"toolUseId":"call_ID","content":[{"text":"(no output)"}]}},{"text":"And?"}]}],"#,
        r#""inferenceConfig":{"maxTokens":9000,"stopSequences":["END"]},"#,
        r#""toolConfig":{"tools":[{"toolSpec":{"name":"weather","description":"Tells it.","inputSchema":"#,
        r#"{"json":{"type":"object","properties":{"city":{"type":"string"}}}}}}]},"#,
        r#""outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"#,
        r#""{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}","name":"report"}}}},"#,
        r#""additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":2000}},"#,
        r#""additionalModelResponseFieldPaths":["/stop_sequence"]}"#,
    );
    let body = String::from_utf8(encoded.request.body().to_vec()).expect("UTF-8");
    let id = body.split("call_").nth(1).and_then(|rest| rest.split('"').next()).expect("an id made legal");
    assert_eq!(id.len(), 32);
    assert_eq!(body.replace(id, "ID"), expected);
}

#[test]
fn what_a_choice_of_tools_becomes() {
    let history = |choice| Request {
        messages: vec![
            message(Role::User, vec![text("Hi")]),
            message(Role::Assistant, vec![call("c1", "{}")]),
            message(Role::Tool, vec![result("c1", vec![text("Sun")])]),
        ],
        tool_choice: choice,
        ..Request::default()
    };
    let with_tools = |mut request: Request| {
        request.tools = vec![weather()];
        request
    };
    let fresh = |choice| with_tools(Request { tool_choice: Some(choice), ..asking(vec![text("Hi")]) });
    let one_call = |choice| Request { parallel_tool_calls: Some(false), ..fresh(choice) };
    let function = || ToolChoice::Function("weather".to_owned());
    let forbidden = || with_tools(history(Some(ToolChoice::None)));
    let (told, gone) = (Some("Tells it."), Some("No longer available. Do not call it."));
    let newer = "anthropic.claude-sonnet-4-6";
    let own = |choice| Some(("additionalModelRequestFields", json!({ "tool_choice": choice })));
    let cases = [
        (CLAUDE, fresh(ToolChoice::Auto), told, None),
        (CLAUDE, fresh(ToolChoice::Required), told, Some(("toolChoice", json!({ "any": {} })))),
        (CLAUDE, fresh(function()), told, Some(("toolChoice", json!({ "tool": { "name": "weather" } })))),
        (CLAUDE, fresh(ToolChoice::None), None, None),
        (CLAUDE, history(None), None, None),
        (CLAUDE, forbidden(), None, None),
        (newer, fresh(ToolChoice::None), None, None),
        (newer, history(None), gone, own(json!({ "type": "none" }))),
        (newer, forbidden(), told, own(json!({ "type": "none" }))),
        (
            newer,
            one_call(ToolChoice::Auto),
            told,
            own(json!({ "type": "auto", "disable_parallel_tool_use": true })),
        ),
        (
            newer,
            one_call(function()),
            told,
            own(json!({ "type": "tool", "name": "weather", "disable_parallel_tool_use": true })),
        ),
    ];
    for (model, request, description, choice) in cases {
        let (body, dropped) = encoded(&request, model);
        let config = &body["toolConfig"];
        assert_eq!(config["tools"][0]["toolSpec"]["description"].as_str(), description, "{body}");
        let said = config.get("toolChoice").map(|choice| ("toolChoice", choice.clone()));
        let own = body.get("additionalModelRequestFields");
        let own = own.map(|own| ("additionalModelRequestFields", own.clone()));
        assert_eq!(said.or(own), choice, "{body}");
        assert_eq!(dropped, Vec::<String>::new());
    }
}

#[test]
fn calls_are_told_as_text_where_no_tool_may_be_there_to_be_called() {
    let failed = |parts| Part::ToolResult(ToolResult { call_id: "c2".to_owned(), parts, is_error: true });
    let request = Request {
        messages: vec![
            message(Role::User, vec![text("Hi")]),
            message(Role::Assistant, vec![text("Let me see."), call("c1", "{\"a\":1}"), call("c2", "")]),
            message(Role::Tool, vec![result("c1", vec![text("Sun"), image()])]),
            message(Role::Tool, vec![failed(vec![])]),
            message(Role::User, vec![text("And?")]),
        ],
        tools: vec![weather()],
        tool_choice: Some(ToolChoice::None),
        ..Request::default()
    };
    let (body, dropped) = encoded(&request, "amazon.nova-pro-v1:0");
    assert_eq!((body.get("toolConfig"), dropped), (None, vec![]));
    let texts = |turn: usize| -> Vec<&str> {
        let blocks = body["messages"][turn]["content"].as_array().expect("blocks");
        blocks.iter().map(|block| block["text"].as_str().unwrap_or("(image)")).collect()
    };
    assert_eq!(
        texts(1),
        ["Let me see.", "Call c1 of the tool weather: {\"a\":1}", "Call c2 of the tool weather: {}"]
    );
    assert_eq!(
        texts(2),
        [
            "Result of the call c1:",
            "Sun",
            "(image)",
            "Result of the call c2:",
            "The tool failed. ",
            "(no output)",
            "And?"
        ]
    );
}

#[test]
fn each_maker_gets_thought_and_sampling_in_its_own_words() {
    let opus = "global.anthropic.claude-opus-4-6-v1";
    let arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0";
    let with = |effort, budget, top_k, temperature| Request {
        reasoning_effort: effort,
        reasoning_budget: budget,
        top_k,
        temperature,
        ..asking(vec![text("Hi")])
    };
    let budget = |tokens: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": tokens } });
    let adaptive = json!({ "thinking": { "type": "adaptive", "display": "summarized" } });
    let cases = [
        (CLAUDE, with(Some(Effort::Low), None, Some(5), None), budget(1_024), &["top_k"][..]),
        (arn, with(Some(Effort::Low), None, None, None), budget(1_024), &[]),
        (CLAUDE, with(Some(Effort::High), Some(0), Some(5), Some(0.2)), json!({ "top_k": 5 }), &[]),
        (opus, with(Some(Effort::XHigh), None, None, Some(0.2)), adaptive.clone(), &["temperature"]),
        (opus, with(None, Some(5_000), None, Some(1.0)), adaptive, &[]),
        (
            "openai.gpt-oss-120b-1:0",
            with(Some(Effort::Minimal), None, None, None),
            json!({ "reasoning_effort": "low" }),
            &[],
        ),
        (
            "amazon.nova-pro-v1:0",
            with(None, None, Some(9), None),
            json!({ "inferenceConfig": { "topK": 9 } }),
            &[],
        ),
        (
            "meta.llama3-1-8b-instruct-v1:0",
            with(Some(Effort::Low), None, Some(9), Some(1.5)),
            Value::Null,
            &["reasoning_effort", "temperature", "top_k"],
        ),
    ];
    for (model, request, more, expected) in cases {
        let (body, dropped) = encoded(&request, model);
        assert_eq!(
            (&body["additionalModelRequestFields"], &*dropped),
            (&more, &*expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
            "{model} {body}"
        );
        let effort = body["outputConfig"]["effort"].as_str();
        let wished = if request.reasoning_effort.is_some() { "max" } else { "medium" };
        assert_eq!(effort, (model == opus).then_some(wished), "{body}");
        // A budget needs a bound above it.
        assert_eq!(body["inferenceConfig"]["maxTokens"].is_u64(), more["thinking"]["budget_tokens"].is_u64());
    }
}

#[test]
fn other_models_get_no_cache_points_and_documents_get_words_beside_them() {
    let request =
        asking(vec![Part::CachePoint(CacheTtl::Short), pdf("\u{e9}"), Part::CachePoint(CacheTtl::Short)]);
    let (body, _) = encoded(&request, "meta.llama3-1-8b-instruct-v1:0");
    let document = json!({ "document": { "format": "pdf", "name": "-", "source": { "bytes": "aGk=" } } });
    let words = json!({ "text": "See the document." });
    assert_eq!(body["messages"][0]["content"], json!([document, words]));
    let (body, _) = encoded(&request, "amazon.nova-pro-v1:0");
    assert_eq!(
        body["messages"][0]["content"],
        json!([document, { "cachePoint": { "type": "default" } }, words])
    );
}

#[test]
fn what_bedrock_cannot_do_is_refused_by_name() {
    let url = Part::Image(Media::Url("https://example.com/a.png".to_owned()).into());
    let tiff =
        Part::Image(Media::Data { media_type: "image/tiff".to_owned(), data: "aGk=".to_owned() }.into());
    let tool = Tool { name: "a.b".to_owned(), ..weather() };
    let extra = Extra { name: "n".to_owned(), value: json!(2), instead: Some("Ask twice.") };
    let hi = || asking(vec![text("Hi")]);
    let cases = [
        (asking(vec![url]), "messages[0].content"),
        (asking(vec![tiff]), "messages[0].content"),
        (Request { messages: vec![message(Role::Assistant, vec![image()])], ..hi() }, "messages[0].content"),
        (Request { tools: vec![tool], ..hi() }, "tools[0].function.name"),
        (Request { stop: vec![" ".to_owned()], ..hi() }, "stop"),
        (Request { extra: vec![extra], ..hi() }, "n"),
    ];
    for (request, expected) in cases {
        let Err(Error::Unsupported { param, .. }) = Converse.encode(&request, &target(CLAUDE)) else {
            panic!("{request:?} was accepted")
        };
        assert_eq!(param, expected);
    }
    let broken = Request { messages: vec![message(Role::Assistant, vec![call("c", "[1]")])], ..hi() };
    let error = Converse.encode(&broken, &target(CLAUDE)).expect_err("not an object");
    assert!(
        matches!(error, Error::Invalid { param: Some(param), .. } if param.ends_with("function.arguments"))
    );
}

/// All kinds of events in an order Bedrock may send them in.
fn rich() -> Vec<Event> {
    let owned = str::to_owned;
    vec![
        Event::Start { id: None, model: None },
        Event::Reasoning(owned("Let me ")),
        Event::Reasoning(owned("see.")),
        Event::ReasoningSignature(owned("c2ln")),
        Event::ReasoningRedacted(owned("ZGF0YQ==")),
        Event::Text(owned("Grüß")),
        Event::Text(owned(" dich.")),
        Event::ToolCall { index: 0, id: owned("t0"), name: owned("weather"), signature: None },
        Event::ToolArguments { index: 0, text: owned("{\"city\":") },
        Event::ToolArguments { index: 0, text: owned("\"Rome\"}") },
        Event::ToolCall { index: 1, id: owned("t1"), name: owned("now"), signature: None },
        Event::ToolArguments { index: 1, text: owned("{}") },
        Event::Usage(Usage {
            input_tokens: 100,
            cache_read_input_tokens: 60,
            cache_write_5m_input_tokens: 10,
            cache_write_1h_input_tokens: 20,
            output_tokens: 30,
            ..Usage::default()
        }),
        Event::Finish { reason: FinishReason::ToolCalls, native: owned("tool_use") },
    ]
}

const USAGE: &str = concat!(
    r#"{"inputTokens":10,"outputTokens":30,"totalTokens":130,"cacheReadInputTokens":60,"cacheWriteInputTokens":30,"#,
    r#""cacheDetails":[{"ttl":"1h","inputTokens":20},{"ttl":"5m","inputTokens":10}]}"#
);

/// As a whole answer has them: pieces in one.
fn joined(events: Vec<Event>) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    for event in events {
        match (joined.last_mut(), &event) {
            (Some(Event::Text(text)), Event::Text(more))
            | (Some(Event::Reasoning(text)), Event::Reasoning(more))
            | (Some(Event::ToolArguments { text, .. }), Event::ToolArguments { text: more, .. }) => {
                text.push_str(more);
            }
            _ => joined.push(event),
        }
    }
    joined
}

#[test]
fn a_whole_answer_is_written_and_read() {
    let body = Converse.whole(&HEAD, &rich()).expect("whole");
    let expected = [
        r#"{"output":{"message":{"role":"assistant","content":["#,
        r#"{"reasoningContent":{"reasoningText":{"text":"Let me see.","signature":"c2ln"}}},"#,
        r#"{"reasoningContent":{"redactedContent":"ZGF0YQ=="}},{"text":"Grüß dich."},"#,
        r#"{"toolUse":{"toolUseId":"t0","name":"weather","input":{"city":"Rome"}}},"#,
        r#"{"toolUse":{"toolUseId":"t1","name":"now","input":{}}}]}},"stopReason":"tool_use","usage":"#,
        USAGE,
        r#","metrics":{"latencyMs":0}}"#,
    ];
    assert_eq!(String::from_utf8_lossy(&body), expected.concat());
    assert_eq!(Converse.decode(&body), Ok(joined(rich())));
    let summary = Converse.summary(&body).expect("whole");
    assert_eq!(summary.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(summary.usage.map(|usage| usage.input_tokens), Some(100));
}

fn streamed(events: &[Event]) -> Vec<u8> {
    let mut writer = Converse.writer(&HEAD, &Peek::default());
    let mut out = Vec::new();
    for event in events {
        writer.events(std::slice::from_ref(event), &mut out);
    }
    assert_eq!(writer.is_finished(), events.iter().any(|event| matches!(event, Event::Finish { .. })));
    writer.done(&mut out);
    out
}

/// `type payload` of each message.
fn frames(bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    let mut splitter = Splitter::default();
    splitter.feed(bytes, |_, message| {
        assert_eq!(message.text(":content-type"), Some("application/json"));
        let kind = message.text(":event-type").or(message.text(":exception-type")).expect("a type");
        frames.push(format!("{kind} {}", String::from_utf8_lossy(message.payload)));
    });
    assert_eq!((splitter.held(), splitter.broken()), (&[][..], None));
    frames
}

fn decoded(pieces: &[&[u8]]) -> Vec<Event> {
    crate::dialect::decoded(&mut *Converse.decoder(), pieces)
}

#[test]
fn a_stream_is_written_and_read_wherever_it_is_cut() {
    let bytes = streamed(&rich());
    let delta = |block: u32, delta: &str| {
        format!(r#"contentBlockDelta {{"contentBlockIndex":{block},"delta":{delta}}}"#)
    };
    let stop = |block: u32| format!(r#"contentBlockStop {{"contentBlockIndex":{block}}}"#);
    let start = |block: u32, id: &str, name: &str| {
        format!(
            r#"contentBlockStart {{"contentBlockIndex":{block},"start":{{"toolUse":{{"toolUseId":"{id}","name":"{name}"}}}}}}"#
        )
    };
    let expected = [
        r#"messageStart {"role":"assistant"}"#.to_owned(),
        delta(0, r#"{"reasoningContent":{"text":"Let me "}}"#),
        delta(0, r#"{"reasoningContent":{"text":"see."}}"#),
        delta(0, r#"{"reasoningContent":{"signature":"c2ln"}}"#),
        stop(0),
        delta(1, r#"{"reasoningContent":{"redactedContent":"ZGF0YQ=="}}"#),
        stop(1),
        delta(2, r#"{"text":"Grüß"}"#),
        delta(2, r#"{"text":" dich."}"#),
        stop(2),
        start(3, "t0", "weather"),
        delta(3, r#"{"toolUse":{"input":"{\"city\":"}}"#),
        delta(3, r#"{"toolUse":{"input":"\"Rome\"}"}}"#),
        stop(3),
        start(4, "t1", "now"),
        delta(4, r#"{"toolUse":{"input":"{}"}}"#),
        stop(4),
        r#"messageStop {"stopReason":"tool_use"}"#.to_owned(),
        format!(r#"metadata {{"usage":{USAGE},"metrics":{{"latencyMs":0}}}}"#),
    ];
    assert_eq!(frames(&bytes), expected);
    for cut in 0..=bytes.len() {
        assert_eq!(decoded(&[&bytes[..cut], &bytes[cut..]]), rich(), "{cut}");
    }
    assert_eq!(decoded(&bytes.chunks(1).collect::<Vec<_>>()), rich());
}

#[test]
fn a_stream_without_its_end_is_an_error() {
    let bytes = streamed(&rich());
    let usage_at = bytes.len() - streamed_metadata_bytes(&bytes);
    for end in 0..bytes.len() {
        let events = decoded(&[&bytes[..end]]);
        let last = events.last().expect("an end");
        // Only the usage is missing: the answer itself is whole.
        if end == usage_at {
            assert!(matches!(last, Event::Finish { .. }), "{end}");
        } else {
            assert_eq!(last, &Event::Error(UpstreamError::truncated()), "{end}");
        }
    }
}

/// How many bytes the last message of a stream has.
fn streamed_metadata_bytes(bytes: &[u8]) -> usize {
    let mut last = 0;
    Splitter::default().feed(bytes, |raw, _| last = raw.len());
    last
}

#[test]
fn calls_that_come_interleaved_wait_for_each_other() {
    let owned = str::to_owned;
    let call =
        |index: u32, id: &str| Event::ToolCall { index, id: owned(id), name: owned("f"), signature: None };
    let arguments = |index: u32, text: &str| Event::ToolArguments { index, text: owned(text) };
    let bytes = streamed(&[
        call(0, "a"),
        call(1, "b"),
        arguments(1, "{\"x\":2}"),
        arguments(0, "{\"x\""),
        call(2, "c"),
        arguments(0, ":1}"),
        Event::Finish { reason: FinishReason::Stop, native: owned("stop") },
    ]);
    let events = decoded(&[&bytes]);
    let expected = [
        Event::Start { id: None, model: None },
        call(0, "a"),
        arguments(0, "{\"x\""),
        arguments(0, ":1}"),
        call(1, "b"),
        arguments(1, "{\"x\":2}"),
        call(2, "c"),
        arguments(2, "{}"),
        Event::Finish { reason: FinishReason::ToolCalls, native: owned("tool_use") },
    ];
    assert_eq!(events, expected);
}

fn event(kind: &str, payload: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    eventstream::write(&headers, payload.as_bytes(), &mut out);
    out
}

#[test]
fn bedrocks_own_ways_are_read() {
    let stream = [
        event("messageStart", r#"{"p":"abcd","role":"assistant"}"#),
        // A block of text may be opened, or not.
        event("contentBlockStart", r#"{"contentBlockIndex":0,"start":{}}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"},"p":"ab"}"#),
        event(
            "contentBlockDelta",
            r#"{"contentBlockIndex":0,"delta":{"citation":{"title":"T","sourceContent":[{"text":"q"}],"location":{"web":{"url":"https://e.com"}}}}}"#,
        ),
        event("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        // Pieces of encrypted thought, each with its own padding.
        event(
            "contentBlockDelta",
            r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"YQ=="}}}"#,
        ),
        event(
            "contentBlockDelta",
            r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"Yg=="}}}"#,
        ),
        event("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        // Run by Bedrock itself.
        event(
            "contentBlockStart",
            r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"s","name":"search","type":"server_tool_use"}}}"#,
        ),
        event("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{}"}}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":2}"#),
        // The index of the block is not that of the call.
        event(
            "contentBlockStart",
            r#"{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"t","name":"now"}}}"#,
        ),
        event("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"toolUse":{"input":""}}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":3}"#),
        event("someday", "x"),
        event("messageStop", r#"{"stopReason":"guardrail_intervened"}"#),
        event(
            "metadata",
            r#"{"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"metrics":{"latencyMs":5}}"#,
        ),
    ];
    let owned = str::to_owned;
    let expected = [
        Event::Start { id: None, model: None },
        Event::Text(owned("Hi")),
        Event::Citation(Citation {
            span: None,
            url: Some(owned("https://e.com")),
            title: Some(owned("T")),
            quote: Some(owned("q")),
        }),
        Event::ReasoningRedacted(owned("YWI=")),
        Event::Unsaid { name: owned("content.server_tool_use"), is_media: false },
        Event::ToolCall { index: 0, id: owned("t"), name: owned("now"), signature: None },
        Event::ToolArguments { index: 0, text: owned("{}") },
        Event::Usage(Usage { input_tokens: 1, output_tokens: 2, ..Usage::default() }),
        Event::Finish { reason: FinishReason::ContentFilter, native: owned("guardrail_intervened") },
    ];
    assert_eq!(decoded(&[&stream.concat()]), expected);
    let whole = Converse.whole(&HEAD, &expected).expect("whole");
    let mut said = expected.to_vec();
    said.retain(|event| !matches!(event, Event::Unsaid { .. }));
    assert_eq!(Converse.decode(&whole), Ok(said));
}

#[test]
fn a_failure_in_a_stream_is_the_last_thing_in_it() {
    let exception = |name: &str| {
        let mut out = Vec::new();
        let headers = [
            (":exception-type", name),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ];
        eventstream::write(&headers, br#"{"message":"No."}"#, &mut out);
        out
    };
    let mut unmodeled = Vec::new();
    let headers =
        [(":message-type", "error"), (":error-code", "InternalServerException"), (":error-message", "No.")];
    eventstream::write(&headers, b"", &mut unmodeled);
    let mut broken = event("contentBlockStop", "{}");
    *broken.last_mut().expect("a checksum") ^= 1;
    let cases = [
        (exception("throttlingException"), ErrorClass::Rate, "No."),
        (exception("serviceUnavailableException"), ErrorClass::Overloaded, "No."),
        (exception("modelStreamErrorException"), ErrorClass::Server, "No."),
        (exception("validationException"), ErrorClass::Invalid, "No."),
        (exception("brandNewException"), ErrorClass::Server, "No."),
        (unmodeled, ErrorClass::Server, "No."),
        (
            event("messageStop", r#"{"stopReason":"malformed_tool_use"}"#),
            ErrorClass::Server,
            "the model gave an answer that Bedrock could not read",
        ),
        (
            event("messageStop", "{"),
            ErrorClass::Garbled,
            "the provider's answer could not be read: an event in it is not what its name says",
        ),
        (
            broken,
            ErrorClass::Garbled,
            "the provider's answer could not be read: the checksum of an event does not match",
        ),
        (
            b"<html>502 Bad Gateway</html>".to_vec(),
            ErrorClass::Garbled,
            "the provider's answer could not be read: the checksum of an event does not match",
        ),
    ];
    let good = streamed(&rich());
    for (bad, class, message) in cases {
        let events = decoded(&[&event("messageStart", "{}"), &bad, &good]);
        let [Event::Start { .. }, Event::Error(error)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((error.class, &*error.message), (class, message));
    }
}

#[test]
fn failures_are_classified_by_header_or_body() {
    use ErrorClass::{
        Auth, ContextLength, Garbled, Invalid, NotFound, Overloaded, Quota, Rate, Server, Timeout,
    };
    let cases = [
        (
            400,
            Some("ValidationException:http://internal.amazon.com/coral/"),
            r#"{"message":"Malformed input."}"#,
            Invalid,
            "Malformed input.",
            Some("ValidationException"),
        ),
        (
            400,
            None,
            r#"{"__type":"com.amazon.coral#ValidationException","message":"Input is too long for requested model."}"#,
            ContextLength,
            "Input is too long for requested model.",
            Some("ValidationException"),
        ),
        (
            400,
            Some("ValidationException"),
            r#"{"message":"The provided model identifier is invalid."}"#,
            NotFound,
            "The provided model identifier is invalid.",
            Some("ValidationException"),
        ),
        (
            400,
            Some("ValidationException"),
            r#"{"message":"InternalServerException: try again"}"#,
            Server,
            "InternalServerException: try again",
            Some("ValidationException"),
        ),
        (
            400,
            Some("ServiceQuotaExceededException"),
            "{}",
            Quota,
            "the provider answered ServiceQuotaExceededException without a message",
            Some("ServiceQuotaExceededException"),
        ),
        (403, None, r#"{"Message":"Authentication failed"}"#, Auth, "Authentication failed", None),
        (
            403,
            Some("AccessDeniedException"),
            r#"{"Message":"No.","message":"No."}"#,
            Auth,
            "No.",
            Some("AccessDeniedException"),
        ),
        (
            404,
            Some("ResourceNotFoundException"),
            r#"{"message":"Gone."}"#,
            NotFound,
            "Gone.",
            Some("ResourceNotFoundException"),
        ),
        (
            408,
            Some("ModelTimeoutException"),
            r#"{"message":"Slow."}"#,
            Timeout,
            "Slow.",
            Some("ModelTimeoutException"),
        ),
        (
            424,
            Some("ModelErrorException"),
            r#"{"message":"Ouch."}"#,
            Server,
            "Ouch.",
            Some("ModelErrorException"),
        ),
        (
            429,
            Some("ModelNotReadyException"),
            r#"{"message":"Wait."}"#,
            Overloaded,
            "Wait.",
            Some("ModelNotReadyException"),
        ),
        (
            429,
            Some("ThrottlingException"),
            r#"{"message":"Too many requests."}"#,
            Rate,
            "Too many requests.",
            Some("ThrottlingException"),
        ),
        (
            429,
            Some("ThrottlingException"),
            r#"{"message":"Too many tokens per day."}"#,
            Quota,
            "Too many tokens per day.",
            Some("ThrottlingException"),
        ),
        (
            503,
            Some("ServiceUnavailableException"),
            r#"{"message":"Busy."}"#,
            Overloaded,
            "Busy.",
            Some("ServiceUnavailableException"),
        ),
        (502, None, "<html>", Server, "the provider answered 502 with a web page", None),
    ];
    for (status, name, body, class, message, code) in cases {
        let mut headers = HeaderMap::new();
        headers.extend(
            name.map(|name| {
                (http::HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(name))
            }),
        );
        let error = Dialect::error(&Converse, status, &headers, body.as_bytes());
        assert_eq!((error.class, &*error.message, error.code.as_deref()), (class, message, code), "{body}");
        assert_eq!(error.status, Some(status));
    }
    for body in ["", "[]", r#"{"message":"No."}"#] {
        assert_eq!(Converse.decode(body.as_bytes()).map_err(|error| error.class), Err(Garbled));
    }
}

#[test]
fn callers_are_told_of_failures_in_amazons_words() {
    let cases = [
        (400, "ValidationException", "validationException"),
        (401, "AccessDeniedException", "validationException"),
        (404, "ResourceNotFoundException", "validationException"),
        (429, "ThrottlingException", "throttlingException"),
        (502, "InternalServerException", "internalServerException"),
        (503, "ServiceUnavailableException", "serviceUnavailableException"),
        (504, "ModelTimeoutException", "internalServerException"),
    ];
    for (status, name, in_stream) in cases {
        let status = StatusCode::from_u16(status).expect("a status");
        let error = ErrorBody { message: "No.".into(), status, param: None, code: None, request_id: None };
        let body = Front::error(&Converse, status, &error);
        assert_eq!(String::from_utf8_lossy(&body), format!(r#"{{"message":"No.","__type":"{name}"}}"#));
        let mut out = Vec::new();
        let mut writer = Converse.writer(&HEAD, &Peek::default());
        writer.fail(&error, &mut out);
        writer.done(&mut out);
        writer.events(&rich(), &mut out);
        assert_eq!(frames(&out), [format!(r#"{in_stream} {{"message":"No."}}"#)]);
    }
    let failed = [Event::Text("a".to_owned()), Event::Error(UpstreamError::truncated())];
    assert_eq!(Converse.whole(&HEAD, &failed), Err(UpstreamError::truncated()));
    assert_eq!(Converse.whole(&HEAD, &failed[..1]), Err(UpstreamError::truncated()));
}

#[test]
fn the_path_says_the_model_and_whether_to_stream() {
    let cases = [
        ("/model/anthropic.claude-3%3A0/converse", Some(("anthropic.claude-3:0", false))),
        ("/model/bedrock%2Fa.b%c3%a4/converse-stream?x=/converse", Some(("bedrock/a.bä", true))),
        ("/model/bedrock/a.b:0/converse-stream", Some(("bedrock/a.b:0", true))),
        ("/bedrock/model/fast/converse", Some(("fast", false))),
        ("/model//converse", None),
        ("/model/a%2/converse", None),
        ("/model/a%+1/converse", None),
        ("/model/a%ff/converse", None),
        ("/model/a/invoke", None),
        ("/converse", None),
    ];
    for (path, expected) in cases {
        let peek = Converse.peek(path, b" {}");
        let seen = peek.as_ref().ok().map(|peek| (&*peek.model, peek.stream));
        assert_eq!(seen, expected, "{path}");
    }
    for body in ["", "[]", "{", "7", "{} x"] {
        assert!(Converse.peek("/model/a/converse", body.as_bytes()).is_err(), "{body}");
    }
    let peek = Converse.peek("/model/a/converse-stream", b"{}").expect("valid");
    assert_eq!(Converse.stream_type(&peek), "application/vnd.amazon.eventstream");
    let body = br#"{ "messages": [1.50] }"#;
    let request = Converse.forward(body, &peek, &HeaderMap::new(), &target("a:b/c")).expect("valid").request;
    assert_eq!(request.uri(), "https://bedrock.example/model/a%3Ab%2Fc/converse-stream");
    assert_eq!(&request.body()[..], body);
}

fn parsed(body: &Value) -> Result<Request, Error> {
    let peek = Peek { model: "fast".into(), stream: true, ..Peek::default() };
    Converse.parse(&peek, body.to_string().as_bytes())
}

#[test]
fn a_rich_request_is_read() {
    let body = json!({
        "system": [{ "text": "Be brief." }, { "cachePoint": { "type": "default", "ttl": "1h" } }],
        "messages": [
            { "role": "user", "content": [
                { "text": "Hi" },
                { "image": { "format": "png", "source": { "bytes": "aGk=" } } },
                { "document": { "format": "pdf", "name": "a", "source": { "bytes": "aGk=" } } },
                { "document": { "format": "txt", "name": "b", "source": { "text": "hi" } } },
                { "cachePoint": { "type": "default" } },
            ] },
            { "role": "assistant", "content": [
                { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "sig" } } },
                { "reasoningContent": { "redactedContent": "ZGF0YQ==" } },
                { "text": "Let me see." },
                { "toolUse": { "toolUseId": "c1", "name": "weather", "input": { "z": 1, "a": 2.5 } } },
                { "toolUse": { "toolUseId": "c2", "name": "weather", "input": {} } },
            ] },
            { "role": "user", "content": [
                { "toolResult": { "toolUseId": "c1", "content": [{ "text": "Sun" }], "status": "success" } },
                { "toolResult": { "toolUseId": "c2", "content": [{ "json": { "rain": true } }], "status": "error" } },
                { "cachePoint": { "type": "default" } },
                { "text": "And?" },
            ] },
            { "role": "assistant", "content": [
                { "citationsContent": { "content": [{ "text": "It rains." }] } },
            ] },
        ],
        "inferenceConfig": { "maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"] },
        "toolConfig": {
            "tools": [{ "toolSpec": { "name": "weather", "description": "Tells it.", "inputSchema": { "json":
                { "type": "object", "properties": { "city": { "type": "string" } } } } } }],
            "toolChoice": { "tool": { "name": "weather" } },
        },
        "outputConfig": { "effort": "max", "textFormat": { "type": "json_schema", "structure": { "jsonSchema":
            { "name": "report", "schema": "{\"type\":\"object\"}" } } } },
        "additionalModelRequestFields": { "top_k": 7, "thinking": { "type": "enabled", "budget_tokens": 2000 }, "x": 1 },
        "guardrailConfig": { "guardrailIdentifier": "g" },
        "requestMetadata": { "team": "a" },
        "someday": null,
    });
    let document = |name: &str, media_type: &str, data: &str| {
        let media = Media::Data { media_type: media_type.to_owned(), data: data.to_owned() };
        Part::File(File { cited: false, name: Some(name.to_owned()), media })
    };
    let extra = |name: &str, value: Value, instead| Extra { name: name.to_owned(), value, instead };
    let guardrails = "Bedrock's guardrails run at Bedrock only: leave it out, or choose a model of Bedrock.";
    let expected = Request {
        model: "fast".to_owned(),
        messages: vec![
            message(Role::System, vec![text("Be brief."), Part::CachePoint(CacheTtl::Hour)]),
            message(
                Role::User,
                vec![
                    text("Hi"),
                    image(),
                    document("a", "application/pdf", "aGk="),
                    document("b", "text/plain", "aGk="),
                    Part::CachePoint(CacheTtl::Short),
                ],
            ),
            message(
                Role::Assistant,
                vec![
                    thought("Hm.", Some("sig"), None),
                    thought("", None, Some("ZGF0YQ==")),
                    text("Let me see."),
                    call("c1", r#"{"z":1,"a":2.5}"#),
                    call("c2", "{}"),
                ],
            ),
            message(Role::Tool, vec![result("c1", vec![text("Sun")])]),
            message(
                Role::Tool,
                vec![failed("c2", vec![text(r#"{"rain":true}"#)]), Part::CachePoint(CacheTtl::Short)],
            ),
            message(Role::User, vec![text("And?")]),
            message(Role::Assistant, vec![text("It rains.")]),
        ],
        tools: vec![weather()],
        tool_choice: Some(ToolChoice::Function("weather".to_owned())),
        response_format: ResponseFormat::JsonSchema {
            name: "report".to_owned(),
            description: None,
            schema: json!({ "type": "object" }),
            strict: Some(true),
        },
        max_output_tokens: Some(50),
        temperature: Some(0.5),
        top_p: Some(0.9),
        stop: vec!["END".to_owned()],
        reasoning_effort: Some(Effort::XHigh),
        reasoning_budget: Some(2_000),
        top_k: Some(7),
        stream: true,
        include_usage: true,
        labels: vec![("team".to_owned(), "a".to_owned())],
        extra: vec![
            extra("guardrailConfig", json!({ "guardrailIdentifier": "g" }), Some(guardrails)),
            extra("additionalModelRequestFields.x", json!(1), None),
        ],
        ..Request::default()
    };
    assert_eq!(parsed(&body), Ok(expected));
}

#[test]
fn wrong_requests_are_told_by_their_field() {
    let with = |block: Value| json!({ "messages": [{ "role": "user", "content": [block] }] });
    let said = |block: Value| json!({ "messages": [{ "role": "assistant", "content": [block] }] });
    let and = |name: &str, value: Value| json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }], name: value });
    let block = "messages[0].content[0]";
    let cases = [
        (json!({}), "messages".to_owned()),
        (json!({ "messages": [] }), "messages".to_owned()),
        (json!({ "messages": [{ "role": "tool", "content": [] }] }), "messages[0].role".to_owned()),
        (json!({ "messages": [{ "role": "user", "content": "Hi" }] }), "messages[0].content".to_owned()),
        (json!({ "messages": [{ "role": "user", "content": [] }] }), "messages[0].content".to_owned()),
        (with(json!({})), block.to_owned()),
        (with(json!({ "text": "a", "image": {} })), block.to_owned()),
        (with(json!({ "text": 7 })), format!("{block}.text")),
        (
            with(json!({ "image": { "format": "bmp", "source": { "bytes": "aGk=" } } })),
            format!("{block}.image.format"),
        ),
        (
            with(json!({ "image": { "format": "png", "source": { "bytes": "a" } } })),
            format!("{block}.image.source.bytes"),
        ),
        (with(json!({ "image": { "format": "png" } })), format!("{block}.image.source")),
        (with(json!({ "document": { "format": "exe", "name": "a" } })), format!("{block}.document.format")),
        (with(json!({ "cachePoint": { "ttl": "2d" } })), format!("{block}.cachePoint.ttl")),
        (
            with(json!({ "toolResult": { "toolUseId": "x", "content": [] } })),
            format!("{block}.toolResult.toolUseId"),
        ),
        (
            said(json!({ "toolUse": { "toolUseId": "x", "name": "f", "input": "{}" } })),
            format!("{block}.toolUse.input"),
        ),
        (
            said(json!({ "reasoningContent": { "reasoningText": {} } })),
            format!("{block}.reasoningContent.reasoningText.text"),
        ),
        (and("system", json!("Be brief.")), "system".to_owned()),
        (and("inferenceConfig", json!({ "temperature": 1.5 })), "inferenceConfig.temperature".to_owned()),
        (
            and("inferenceConfig", json!({ "stopSequences": [""] })),
            "inferenceConfig.stopSequences[0]".to_owned(),
        ),
        (and("toolConfig", json!({})), "toolConfig.tools".to_owned()),
        (
            and("toolConfig", json!({ "tools": [{ "toolSpec": { "name": "f" } }] })),
            "toolConfig.tools[0].toolSpec.inputSchema".to_owned(),
        ),
        (
            and("toolConfig", json!({ "tools": [], "toolChoice": { "tool": { "name": "f" } } })),
            "toolConfig.toolChoice.tool.name".to_owned(),
        ),
        (
            and("toolConfig", json!({ "tools": [], "toolChoice": { "none": {} } })),
            "toolConfig.toolChoice".to_owned(),
        ),
        (and("outputConfig", json!({ "effort": "huge" })), "outputConfig.effort".to_owned()),
        (
            and("additionalModelRequestFields", json!({ "thinking": { "type": "enabled" } })),
            "additionalModelRequestFields.thinking.budget_tokens".to_owned(),
        ),
    ];
    for (body, expected) in cases {
        let Err(Error::Invalid { param, message }) = parsed(&body) else { panic!("{body} was accepted") };
        assert_eq!(param, Some(expected), "{body}: {message}");
    }
    let unsupported = [
        with(json!({ "video": {} })),
        with(json!({ "guardContent": { "text": { "text": "a" } } })),
        with(json!({ "image": { "format": "png", "source": { "s3Location": { "uri": "s3://a/b" } } } })),
        with(json!({ "toolUse": {} })),
        said(json!({ "image": {} })),
        and("toolConfig", json!({ "tools": [{ "systemTool": { "name": "f" } }] })),
    ];
    for body in unsupported {
        assert!(matches!(parsed(&body), Err(Error::Unsupported { .. })), "{body}");
    }
}

#[test]
fn a_stream_is_passed_on_message_by_message() {
    let bytes = streamed(&rich());
    for size in [1, 7, 100, bytes.len()] {
        let mut relay = Converse.forwarder(&Peek::default(), "req_1");
        let mut sent = Vec::new();
        for chunk in bytes.chunks(size) {
            let mut out = Vec::new();
            match relay.chunk(chunk, &mut out) {
                Passed::AsIs => sent.extend_from_slice(chunk),
                Passed::Instead => sent.append(&mut out),
            }
        }
        relay.end(Ending::Closed, &mut sent);
        assert_eq!(sent, bytes, "{size}");
        let summary = relay.summary();
        assert_eq!((summary.finish_reason.as_deref(), &summary.error), (Some("tool_calls"), &None));
        assert_eq!(summary.usage.map(|usage| usage.output_tokens), Some(30));
    }
}

#[test]
fn a_stream_that_breaks_is_ended_by_an_exception() {
    let bytes = streamed(&rich());
    let mut changed = bytes.clone();
    changed[300] ^= 1;
    for (bytes, class) in [(&bytes[..300], ErrorClass::Truncated), (&changed, ErrorClass::Garbled)] {
        let mut relay = Converse.forwarder(&Peek::default(), "req_1");
        let mut out = Vec::new();
        assert_eq!(relay.chunk(bytes, &mut out), Passed::Instead);
        relay.end(Ending::Closed, &mut out);
        let frames = frames(&out);
        assert!(frames.last().expect("an end").starts_with("internalServerException "), "{frames:?}");
        assert_eq!(relay.summary().error.as_ref().map(|error| error.class), Some(class));
    }
}

#[test]
fn a_failed_result_has_a_status_or_for_those_who_know_none_says_so() {
    let request = Request {
        messages: vec![
            message(Role::User, vec![text("Hi")]),
            message(Role::Assistant, vec![call("c1", "{}")]),
            message(Role::Tool, vec![failed("c1", vec![text("No.")])]),
        ],
        tools: vec![weather()],
        ..Request::default()
    };
    let result = |model: &str| encoded(&request, model).0["messages"][2]["content"][0]["toolResult"].clone();
    let told = json!([{ "text": "No." }]);
    assert_eq!(result(CLAUDE), json!({ "toolUseId": "c1", "content": told, "status": "error" }));
    let told = json!([{ "text": "The tool failed. " }, { "text": "No." }]);
    assert_eq!(result("meta.llama3-1-70b-instruct-v1:0"), json!({ "toolUseId": "c1", "content": told }));
}

#[test]
fn the_stop_text_that_matched_is_told_both_ways_and_the_tier_is_read() {
    let request = Request { stop: vec!["END".to_owned()], ..asking(vec![text("Hi")]) };
    let paths = |model: &str| encoded(&request, model).0["additionalModelResponseFieldPaths"].clone();
    assert_eq!(paths(CLAUDE), json!(["/stop_sequence"]));
    assert_eq!(paths("amazon.nova-pro-v1:0"), Value::Null);
    let answer = json!({ "output": { "message": { "role": "assistant", "content": [{ "text": "Hi" }] } },
        "stopReason": "stop_sequence", "additionalModelResponseFields": { "stop_sequence": "END" },
        "usage": { "inputTokens": 1, "outputTokens": 2, "totalTokens": 3 }, "serviceTier": { "type": "flex" } });
    let events = Converse.decode(answer.to_string().as_bytes()).expect("an answer");
    assert!(events.contains(&Event::StopText("END".to_owned())), "{events:?}");
    let usage = Usage {
        input_tokens: 1,
        output_tokens: 2,
        tier: crate::usage::ServiceTier::Flex,
        ..Usage::default()
    };
    assert!(events.contains(&Event::Usage(usage)), "{events:?}");
}

#[test]
fn thought_another_provider_signed_stays_out_of_what_is_passed_on_and_is_named() {
    let thought =
        |signed: &str| format!(r#"{{ "reasoningContent": {{"reasoningText": {{"text":"Hm"{signed}}}}}}}"#);
    let body = |blocks: &[&str]| {
        let blocks = blocks.join(" , ");
        format!(r#"{{"messages": [{{"role":"assistant", "content": [{blocks}]}}], "x": [1.50, 1e400]}}"#)
    };
    let forwarded = |body: &str, model: &str| {
        let peek = Front::peek(&Converse, "/model/m/converse", body.as_bytes()).expect("a request");
        let sent =
            Converse.forward(body.as_bytes(), &peek, &HeaderMap::new(), &target(model)).expect("a request");
        (String::from_utf8_lossy(sent.request.body()).into_owned(), sent.dropped.join(" "))
    };
    let (own, foreign) = (thought(r#","signature":"c2ln""#), thought(r#","signature":"google:call:x""#));
    let unsigned = thought("");
    let all = body(&[&own, &foreign, &unsigned]);
    let named = "messages[0].content[1] messages[0].content[2]";
    assert_eq!(forwarded(&all, CLAUDE), (body(&[&own]), named.to_owned()));
    let left = body(&[&own, &unsigned]);
    assert_eq!(forwarded(&all, "deepseek.r1-v1:0"), (left, "messages[0].content[1]".to_owned()));
}

#[test]
fn one_call_at_a_time_is_refused_where_the_model_cannot_be_told() {
    let wish = |tool_choice| Request {
        tools: vec![weather()],
        tool_choice,
        parallel_tool_calls: Some(false),
        ..asking(vec![text("Hi")])
    };
    let nova = "us.amazon.nova-pro-v1:0";
    let refused = Converse.encode(&wish(None), &target(nova));
    assert!(matches!(refused, Err(Error::Unsupported { param, .. }) if param == "parallel_tool_calls"));
    for choice in [ToolChoice::None, ToolChoice::Required, ToolChoice::Function("weather".to_owned())] {
        let told = Converse.encode(&wish(Some(choice)), &target(nova)).expect("none is called, or this one");
        assert!(told.dropped.contains(&"parallel_tool_calls".to_owned()), "{:?}", told.dropped);
    }
}
