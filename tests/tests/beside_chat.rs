//! What there is beside chat, through the routes: a case is a file in `fixtures/beside/`.
//!
//! A case says who asks what (`path`, `body`), what goes to the provider (`sent`, in order: `url`, `body`), what it
//! answers (`status`, `headers`, `body`), and what the caller then has: `answered`, or `refused` with a status, the
//! field to blame and words of the message. `dropped` is the header; `record` some columns.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use gateway::record::Outcome;
use serde_json::{Value, json};
use tests::{Answer, Answered, Gateway};

const KEYS: [(&str, &str); 12] = [
    ("BEDROCK_API_KEY", "bedrock-key"),
    ("COHERE_API_KEY", "cohere-key"),
    ("DEEPINFRA_API_KEY", "deepinfra-key"),
    ("DEEPSEEK_API_KEY", "deepseek-key"),
    ("GEMINI_API_KEY", "gemini-key"),
    ("GROQ_API_KEY", "groq-key"),
    ("JINA_API_KEY", "jina-key"),
    ("MISTRAL_API_KEY", "mistral-key"),
    ("TOGETHER_API_KEY", "together-key"),
    ("VOYAGE_API_KEY", "voyage-key"),
    ("WORKERS_AI_API_KEY", "workers-key"),
    ("WORKERS_AI_BASE_URL", "https://workers.ai/v1"),
];

fn gateway() -> Gateway {
    Gateway::with(&KEYS)
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> Answered {
    let bearer = format!("Bearer {}", gateway.key);
    gateway.request("POST", path, &[("authorization", &bearer)], body.to_string())
}

#[test]
fn every_case_goes_out_and_comes_back_as_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/beside");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 40, "{}", files.len());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let case: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&name, &case);
    }
}

fn check(name: &str, case: &Value) {
    let gateway = gateway();
    let sent = case["sent"].as_array().cloned().unwrap_or_default();
    for exchange in &sent {
        let status = exchange["status"].as_u64().unwrap_or(200);
        let mut answer = Answer::json(u16::try_from(status).unwrap(), &exchange["answer"]);
        for (header, value) in exchange["headers"].as_object().into_iter().flatten() {
            answer = answer.header(header.to_owned().leak(), value.as_str().unwrap());
        }
        gateway.host.upstream.expect("POST", exchange["url"].as_str().unwrap(), answer);
    }
    let answered = post(&gateway, case["path"].as_str().unwrap(), &case["body"]);
    gateway.host.upstream.assert_done();
    for (went, wanted) in gateway.host.upstream.sent().iter().zip(&sent) {
        assert_eq!(went.json(), wanted["body"], "{name}: {}", wanted["url"]);
    }
    if let Value::Array(refused) = &case["refused"] {
        let body = answered.json();
        let error = if body["error"].is_object() { &body["error"] } else { &body };
        assert_eq!(json!(answered.status.as_u16()), refused[0], "{name}: {body}");
        assert!(refused[1].is_null() || error["param"] == refused[1], "{name}: {body}");
        for words in &refused.as_slice()[2..] {
            assert!(error["message"].as_str().unwrap().contains(words.as_str().unwrap()), "{name}: {body}");
        }
    } else {
        let mut body = answered.json();
        assert_eq!(answered.status, 200, "{name}: {body}");
        for ours in ["id", "created"] {
            if case["answered"][ours] == "ours" {
                body[ours] = json!("ours");
            }
        }
        assert_eq!(body, case["answered"], "{name}");
        let dropped = answered.headers.get("x-hypergate-dropped").map(|names| names.to_str().unwrap());
        assert_eq!(json!(dropped), case["dropped"], "{name}");
    }
    let record = serde_json::to_value(answered.record.unwrap()).unwrap();
    for (column, value) in case["record"].as_object().into_iter().flatten() {
        assert_eq!(&record[column], value, "{name}: {column}");
    }
}

#[test]
fn what_no_target_offers_is_refused_with_those_that_do() {
    let gateway = gateway();
    for (path, model, body, wants) in [
        ("/v1/embeddings", "anthropic/claude-haiku-4-5", json!({ "input": "Hi" }), "`embeddings`"),
        ("/v1/rerank", "openai/gpt-5", json!({ "query": "?", "documents": ["a"] }), "cohere"),
        ("/v2/rerank", "openai/gpt-5", json!({ "query": "?", "documents": ["a"] }), "voyage"),
        ("/v1/moderations", "groq/guard", json!({ "input": "Hi" }), "openai"),
        ("/v1/images/generations", "anthropic/claude", json!({ "prompt": "A cat" }), "gemini"),
        ("/v1/audio/speech", "cohere/command", json!({ "input": "Hi", "voice": "ash" }), "groq"),
        ("/v1/chat/completions", "voyage/voyage-4", json!({ "messages": [] }), "anthropic"),
        ("/v1/embeddings", "demo/echo", json!({ "input": "Hi" }), "openai"),
    ] {
        let mut body = body;
        body["model"] = json!(model);
        let answered = post(&gateway, path, &body);
        assert_eq!(answered.status, 400, "{path}");
        let told = answered.text();
        assert!(told.contains("does not serve") && told.contains(wants), "{path}: {told}");
        assert!(answered.record.unwrap().attempts.is_empty());
    }
    assert!(gateway.host.upstream.sent().is_empty());
}

#[test]
fn a_target_that_cannot_is_left_out_of_the_plan() {
    let gateway = gateway();
    let targets = json!({ "targets": ["anthropic/claude-haiku-4-5", "openai/text-embedding-3-small"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/vectors", gateway.tenant_id), &targets);
    let url = "https://api.openai.com/v1/embeddings";
    let embedded = json!({ "object": "list", "data": [], "model": "text-embedding-3-small", "usage": { "prompt_tokens": 1, "total_tokens": 1 } });
    gateway.host.upstream.expect("POST", url, Answer::json(200, &embedded));
    let answered = post(&gateway, "/v1/embeddings", &json!({ "model": "vectors", "input": "Hi" }));
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(answered.record.unwrap().attempts.len(), 1);
}

#[test]
fn the_next_target_takes_an_embedding_in_its_own_protocol() {
    let gateway = gateway();
    let targets = json!({ "targets": ["openai/text-embedding-3-small", "cohere/embed-v4.0"] });
    gateway.admin("PUT", &format!("tenants/{}/aliases/vectors", gateway.tenant_id), &targets);
    let down = Answer::json(503, &json!({ "error": { "message": "Busy." } }));
    gateway.host.upstream.expect("POST", "https://api.openai.com/v1/embeddings", down);
    let answer = json!({ "id": "1", "embeddings": { "float": [[0.5]] }, "meta": { "billed_units": { "input_tokens": 2 } } });
    gateway.host.upstream.expect("POST", "https://api.cohere.com/v2/embed", Answer::json(200, &answer));
    let answered = post(&gateway, "/v1/embeddings", &json!({ "model": "vectors", "input": "Hi" }));
    assert_eq!(answered.json()["data"][0]["embedding"], json!([0.5]));
    assert_eq!(answered.headers["x-hypergate-attempts"], "2");
}

#[test]
fn whatever_a_provider_answers_the_caller_gets_a_clear_error() {
    let query = json!({ "query": "?", "documents": ["a"] });
    let asks = [
        ("/v1/embeddings", json!({ "input": "Hi", "encoding_format": "base64" })),
        ("/v1/rerank", query.clone()),
        ("/v2/rerank", query),
        ("/v1/moderations", json!({ "input": "Hi" })),
        ("/v1/images/generations", json!({ "prompt": "A cat" })),
        ("/v1/audio/speech", json!({ "input": "Hi", "voice": "Kore", "response_format": "wav" })),
        ("/v1/completions", json!({ "prompt": "Hi" })),
    ];
    let odd = json!([{ "embedding": 7, "values": "x", "index": 9, "relevance_score": "high", "float": [1] }]);
    let answers =
        ["", "<html>", "[]", "7", "{}", "null", r#"{"error":{"message":"Ouch."}}"#].map(str::to_owned);
    let odd_answers = ["data", "results", "embeddings", "candidates", "predictions", "choices"].map(|name| {
        json!({ name: odd, "model": 7, "usage": [], "meta": 7, "usageMetadata": "x" }).to_string()
    });
    for (path, ask) in &asks {
        for provider in ["bedrock", "cohere", "gemini", "jina", "mistral", "openai", "together", "voyage"] {
            for answer in answers.iter().chain(&odd_answers) {
                let gateway = gateway();
                let mut body = ask.clone();
                body["model"] = json!(format!("{provider}/m"));
                gateway.host.upstream.anything(Answer::whole(200, "application/json", answer.clone()));
                let answered = post(&gateway, path, &body);
                // Sound is not looked into, and what a list holds is not where it is forwarded.
                let told = answered.status.as_u16();
                assert!([200, 400, 502].contains(&told), "{path} {provider} {answer}: {told}");
                let record = answered.record.unwrap();
                assert_eq!(record.outcome == Outcome::Ok, told == 200, "{path} {provider} {answer}");
            }
        }
    }
}

// --- several requests for one call ---

const TITAN: &str =
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.titan-embed-text-v2%3A0/invoke";

fn titan(texts: usize) -> Value {
    let texts: Vec<String> = (0..texts).map(|text| format!("text {text}")).collect();
    json!({ "model": "bedrock/amazon.titan-embed-text-v2:0", "input": texts })
}

#[test]
fn the_answers_of_one_call_are_together_no_larger_than_one_may_be() {
    let gateway = gateway();
    let answer = |megabytes: usize| {
        Answer::json(
            200,
            &json!({ "embedding": [0.5], "inputTextTokenCount": 3, "pad": "x".repeat(megabytes << 20) }),
        )
    };
    // A lone target is tried twice.
    for size in [10, 10, 12, 10, 10, 12] {
        gateway.host.upstream.expect("POST", TITAN, answer(size));
    }
    let answered = post(&gateway, "/v1/embeddings", &titan(3));
    assert_eq!(answered.json()["error"]["code"], "upstream_garbled", "{}", answered.text());
    gateway.host.upstream.assert_done();
}

#[test]
fn titan_takes_one_text_a_request_and_the_answer_is_one_list_in_order() {
    let gateway = gateway();
    for text in 0..13 {
        let answer = json!({ "embedding": [text], "inputTextTokenCount": 3 });
        gateway.host.upstream.expect("POST", TITAN, Answer::json(200, &answer));
    }
    let answered = post(&gateway, "/v1/embeddings", &titan(13));
    gateway.host.upstream.assert_done();
    let asked: Vec<Value> =
        gateway.host.upstream.sent().iter().map(|sent| sent.json()["inputText"].clone()).collect();
    assert_eq!(json!(asked), titan(13)["input"]);
    let data = answered.json()["data"].clone();
    for (index, entry) in data.as_array().unwrap().iter().enumerate() {
        assert_eq!((&entry["index"], &entry["embedding"]), (&json!(index), &json!([index])));
    }
    let record = answered.record.unwrap();
    assert_eq!((record.input_tokens, record.attempts.len()), (Some(39), 1));
}

#[test]
fn one_part_that_fails_fails_the_call() {
    let gateway = gateway();
    let good = json!({ "embedding": [1], "inputTextTokenCount": 3 });
    let bad = json!({ "message": "The text is too odd." });
    gateway.host.upstream.expect("POST", TITAN, Answer::json(200, &good));
    gateway.host.upstream.expect("POST", TITAN, Answer::json(400, &bad));
    gateway.host.upstream.always("POST", TITAN, Answer::json(200, &good));
    let answered = post(&gateway, "/v1/embeddings", &titan(3));
    assert_eq!(answered.status, 400);
    assert!(answered.text().contains("too odd"), "{}", answered.text());
}

#[test]
fn more_texts_than_a_host_can_ask_for_are_refused_before_any_is_sent() {
    let gateway = gateway();
    let answered = post(&gateway, "/v1/embeddings", &titan(41));
    assert_eq!(answered.status, 400);
    assert!(answered.text().contains("at most 40 texts"), "{}", answered.text());
    assert!(gateway.host.upstream.sent().is_empty());
}

// --- base64 ---

#[test]
fn the_official_clients_base64_is_made_of_any_providers_numbers() {
    let gateway = gateway();
    let url =
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-001:batchEmbedContents";
    let answer = json!({ "embeddings": [{ "values": [0.5, -2, 1e-3] }] });
    gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
    let body = json!({ "model": "gemini/gemini-embedding-001", "input": "Hi", "encoding_format": "base64" });
    let answered = post(&gateway, "/v1/embeddings", &body);
    let packed = answered.json()["data"][0]["embedding"].as_str().unwrap().to_owned();
    let bytes = BASE64.decode(packed).unwrap();
    let numbers: Vec<f32> =
        bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(numbers, [0.5, -2.0, 1e-3]);
}

// --- sound ---

const SPEECH: &str = "https://api.openai.com/v1/audio/speech";

fn speech() -> Value {
    json!({ "model": "openai/tts-1", "input": "Grüße", "voice": "ash" })
}

#[test]
fn sound_is_passed_on_as_it_comes() {
    let gateway = gateway();
    let chunks = ["ID3", "\u{0}\u{1}", "end"];
    let answer = Answer::stream(chunks).header("content-type", "audio/mpeg");
    gateway.host.upstream.expect("POST", SPEECH, answer);
    let answered = post(&gateway, "/v1/audio/speech", &speech());
    assert_eq!(answered.chunks, chunks);
    assert_eq!(
        (&answered.headers["content-type"], answered.broken_off),
        (&"audio/mpeg".parse().unwrap(), false)
    );
    let record = answered.record.unwrap();
    assert_eq!((&*record.operation, record.outcome, record.stream), ("speech", Outcome::Ok, true));
    // Nobody counted tokens; five letters cost 15 dollars a million.
    assert_eq!((record.input_tokens, record.cost_microusd), (None, Some(75)));
    assert_eq!(gateway.host.upstream.sent()[0].json()["model"], "tts-1");
}

#[test]
fn sound_that_is_cut_is_broken_off_and_never_a_clean_end() {
    let gateway = gateway();
    let cut = Answer::stream(["ID3", "more"])
        .breaks(llm::UpstreamError::truncated())
        .header("content-type", "audio/mpeg");
    gateway.host.upstream.expect("POST", SPEECH, cut);
    let answered = post(&gateway, "/v1/audio/speech", &speech());
    assert!(answered.broken_off);
    assert_eq!(answered.chunks, ["ID3", "more"]);
    assert_eq!(answered.record.unwrap().error_type.as_deref(), Some("upstream_truncated"));
}

#[test]
fn sound_without_a_byte_is_no_answer() {
    let gateway = gateway();
    gateway.host.upstream.always("POST", SPEECH, Answer::stream([""]).header("content-type", "audio/mpeg"));
    let answered = post(&gateway, "/v1/audio/speech", &speech());
    assert_eq!(answered.status, 502, "{}", answered.text());
}

#[test]
fn sound_as_events_says_what_it_used() {
    let gateway = gateway();
    let events = [
        "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAA=\"}\n\n",
        "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":4,\"output_tokens\":30,\"total_tokens\":34}}\n\n",
    ];
    gateway.host.upstream.expect("POST", SPEECH, Answer::stream(events));
    let mut body = speech();
    body["stream_format"] = json!("sse");
    let answered = post(&gateway, "/v1/audio/speech", &body);
    assert_eq!(answered.chunks, events);
    let record = answered.record.unwrap();
    assert_eq!((record.input_tokens, record.output_tokens), (Some(4), Some(30)));
}

#[test]
fn geminis_samples_become_a_wav_file() {
    let gateway = gateway();
    let url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash-preview-tts:generateContent";
    let samples = [1_u8, 0, 2, 0];
    let data = json!({ "mimeType": "audio/L16;codec=pcm;rate=24000", "data": BASE64.encode(samples) });
    let answer = json!({ "candidates": [{ "content": { "parts": [{ "inlineData": data }] }, "finishReason": "STOP" }],
        "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 9,
            "candidatesTokensDetails": [{ "modality": "AUDIO", "tokenCount": 9 }] } });
    let mut body = json!({ "model": "gemini/gemini-2.5-flash-preview-tts", "input": "Hi", "voice": "Kore" });
    for (format, media_type, header) in [("wav", "audio/wav", 44), ("pcm", "audio/pcm", 0)] {
        gateway.host.upstream.expect("POST", url, Answer::json(200, &answer));
        body["response_format"] = json!(format);
        let answered = post(&gateway, "/v1/audio/speech", &body);
        let sound = answered.body();
        assert_eq!(answered.headers["content-type"], media_type);
        assert_eq!((sound.len(), &sound[header..]), (header + 4, &samples[..]));
        if format == "wav" {
            assert_eq!(
                (&sound[..4], &sound[8..16], &sound[24..28]),
                (&b"RIFF"[..], &b"WAVEfmt "[..], &24_000_u32.to_le_bytes()[..])
            );
            assert_eq!(u32::from_le_bytes(sound[4..8].try_into().unwrap()) as usize, sound.len() - 8);
        }
        assert_eq!(answered.record.unwrap().output_tokens, Some(9));
    }
    let wanted = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }], "generationConfig": {
        "responseModalities": ["AUDIO"],
        "speechConfig": { "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": "Kore" } } } } });
    assert_eq!(gateway.host.upstream.sent()[0].json(), wanted);
}

// --- pictures, bit by bit ---

const IMAGES: &str = "https://api.openai.com/v1/images/generations";

#[test]
fn pictures_as_events_are_passed_on_and_their_usage_read() {
    let gateway = gateway();
    let events = [
        "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAA=\",\"partial_image_index\":0}\n\n",
        "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AAA=\",\"usage\":{\"input_tokens\":9,\"output_tokens\":100,\"total_tokens\":109,\"input_tokens_details\":{\"image_tokens\":0,\"text_tokens\":9}}}\n\n",
    ];
    let body =
        json!({ "model": "openai/gpt-image-1", "prompt": "A cat", "stream": true, "partial_images": 1 });
    gateway.host.upstream.expect("POST", IMAGES, Answer::stream(events));
    let answered = post(&gateway, "/v1/images/generations", &body);
    assert_eq!(answered.chunks, events);
    let record = answered.record.unwrap();
    assert_eq!(
        (record.input_tokens, record.output_tokens, record.outcome),
        (Some(9), Some(100), Outcome::Ok)
    );

    gateway.host.upstream.expect("POST", IMAGES, Answer::stream([events[0]]));
    let answered = post(&gateway, "/v1/images/generations", &body);
    assert!(answered.text().contains("broke off before its end"), "{}", answered.text());
    assert_eq!(answered.record.unwrap().outcome, Outcome::Error);
}

// --- completions ---

const COMPLETIONS: &str = "https://api.openai.com/v1/completions";

#[test]
fn c1_usage_of_a_streamed_completion_is_asked_for_and_shown_only_if_wanted() {
    let gateway = gateway();
    let chunks = [
        "data: {\"id\":\"c\",\"object\":\"text_completion\",\"model\":\"i\",\"choices\":[{\"index\":0,\"text\":\"on\",\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
        "data: {\"id\":\"c\",\"object\":\"text_completion\",\"model\":\"i\",\"choices\":[{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":null}\n\n",
        "data: {\"id\":\"c\",\"object\":\"text_completion\",\"model\":\"i\",\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1,\"total_tokens\":5}}\n\n",
        "data: [DONE]\n\n",
    ];
    for wanted in [false, true] {
        let mut body = json!({ "model": "openai/gpt-3.5-turbo-instruct", "prompt": "Come ", "stream": true });
        if wanted {
            body["stream_options"] = json!({ "include_usage": true });
        }
        gateway.host.upstream.expect("POST", COMPLETIONS, Answer::stream(chunks));
        let answered = post(&gateway, "/v1/completions", &body);
        assert_eq!(answered.text().contains("prompt_tokens"), wanted, "{}", answered.text());
        let record = answered.record.unwrap();
        assert_eq!(
            (&*record.operation, record.input_tokens, record.output_tokens),
            ("text_completion", Some(4), Some(1))
        );
        assert_eq!(record.finish_reason.as_deref(), Some("length"));
    }
    let sent = gateway.host.upstream.sent();
    assert!(sent.iter().all(|sent| sent.json()["stream_options"]["include_usage"] == true));
}

#[test]
fn a_stream_of_two_prompts_is_whole_after_both() {
    let gateway = gateway();
    let chunk = |index: u8| {
        format!("data: {{\"choices\":[{{\"index\":{index},\"text\":\"x\",\"finish_reason\":\"stop\"}}]}}\n\n")
    };
    let body = json!({ "model": "openai/davinci-002", "prompt": ["a", "b"], "stream": true });
    for (chunks, outcome) in [(vec![chunk(0), chunk(1)], Outcome::Ok), (vec![chunk(0)], Outcome::Error)] {
        gateway.host.upstream.expect("POST", COMPLETIONS, Answer::stream(chunks));
        assert_eq!(post(&gateway, "/v1/completions", &body).record.unwrap().outcome, outcome);
    }
}

#[test]
fn a_model_that_only_chats_continues_a_prompt_streamed() {
    let gateway = gateway();
    let body = json!({ "model": "demo/echo", "prompt": "one two", "stream": true, "stream_options": { "include_usage": true } });
    let answered = post(&gateway, "/v1/completions", &body);
    let chunks: Vec<Value> = answered
        .text()
        .split_terminator("\n\n")
        .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok())
        .collect();
    let texts: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["text"]).collect();
    assert_eq!(texts, [&json!("one "), &json!("two"), &json!(""), &Value::Null]);
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[3]["usage"]["completion_tokens"], 2);
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion" && chunk["model"] == "demo/echo"));
    assert!(answered.text().ends_with("data: [DONE]\n\n"));
}
