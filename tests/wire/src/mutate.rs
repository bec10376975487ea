//! Inputs for the targets of [`crate::hold`]: what is recorded, and what chance makes of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{PROTOCOLS, hold, recorded, recorded::Kind};

/// What a target starts from.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = kept(target).into_iter().map(|(_, bytes)| bytes).collect();
    let all = recorded();
    if let Some(name) = target.strip_prefix("request_") {
        for (path, bytes) in requests() {
            let of = path.parent().unwrap().file_name().unwrap();
            let is_callers = of == "callers" && path.file_stem().unwrap() == name;
            if is_callers || (of == "requests" && name == "chat_completions") {
                seeds.push(bytes);
            }
        }
        // And what others' requests are in this protocol.
        let to = crate::Protocol::named(name);
        for (_, body) in
            requests().into_iter().filter(|(path, _)| path.parent().unwrap().ends_with("requests"))
        {
            let [chat, ..] = &PROTOCOLS;
            let request = chat.front.peek(chat.path, &body).and_then(|peek| chat.front.parse(&peek, &body));
            let encoded = request.and_then(|request| to.dialect.encode(&request, &to.target()));
            seeds.extend(encoded.map(|encoded| encoded.request.into_body().to_vec()));
        }
    } else if target == "multipart" {
        seeds.extend(FORMS.iter().map(|form| form.as_bytes().to_vec()));
    } else if let Some(of) =
        ["converse", "invoke"].into_iter().find(|of| target == format!("answer_{of}_frames"))
    {
        let frames = all.iter().filter(|one| one.protocol.name == of && one.kind == Kind::Stream);
        seeds.extend(frames.map(|one| lines(&fs::read_to_string(&one.path).unwrap())));
    } else if let Some(of) = target.strip_prefix("beside_") {
        seeds.extend(beside(of));
    } else if target == "batch" {
        // A line names its model within its body.
        seeds.extend(requests().into_iter().filter_map(|(_, body)| {
            let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
            let line = serde_json::json!({ "custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body });
            Some(line.to_string().into_bytes())
        }));
        seeds.extend(BATCHES.iter().map(|batch| batch.as_bytes().to_vec()));
    } else if target == "count_tokens" {
        seeds.extend(requests().into_iter().map(|(_, body)| body));
        seeds.extend(COUNTS.iter().map(|count| count.as_bytes().to_vec()));
    } else if target == "events" {
        seeds.extend(EVENTS.iter().map(|stream| stream.as_bytes().to_vec()));
    } else if target == "realtime" {
        seeds.extend(MESSAGES.iter().map(|message| message.as_bytes().to_vec()));
    } else {
        let wanted = |one: &recorded::Recorded| match target.strip_prefix("answer_") {
            Some(name) => one.protocol.name == name,
            None => {
                one.kind == Kind::Stream
                    && recorded::has_frames(one.protocol.name) == (target == "eventstream")
            }
        };
        seeds.extend(all.into_iter().filter(wanted).map(|one| one.body));
    }
    seeds
}

/// Inputs that once were too much for a target, by name.
pub fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    files(&fixtures().join("hostile").join(target))
}

/// Runs a target on what it starts from and then on `count` changed inputs, the same for the same `seed`.
pub fn run(target: &str, seed: u64, count: usize) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target}");
    for bytes in &seeds {
        look(target, bytes);
    }
    let mut chance = Chance(seed | 1);
    for _ in 0..count {
        let mut bytes = chance.pick(&seeds).clone();
        for _ in 0..=chance.below(4) {
            chance.change(&mut bytes, &seeds);
        }
        bytes.truncate(16 << 10);
        look(target, &bytes);
    }
}

/// Looks, and says at what if that goes wrong.
fn look(target: &str, bytes: &[u8]) {
    struct Told<'a>(&'a str, &'a [u8]);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{} fails on {:?}", self.0, String::from_utf8_lossy(self.1));
            }
        }
    }
    let told = Told(target, bytes);
    hold::run(told.0, told.1);
}

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or(usize::MAX) % end.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(40)).min(bytes.len());
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => bytes.truncate(at),
            4 => {
                let other = self.pick(seeds);
                let from = self.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            5 => self.value(bytes, at),
            _ => drop(bytes.splice(at..at, self.pick(WORDS).bytes())),
        }
    }

    /// Another value in place of the next one in the JSON.
    fn value(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let Some(colon) = bytes[at..].iter().position(|byte| *byte == b':') else { return };
        let start = at + colon + 1;
        let length = bytes[start..].iter().position(|byte| b",}]".contains(byte));
        let end = length.map_or(bytes.len(), |length| start + length);
        bytes.splice(start..end, self.pick(VALUES).bytes());
    }
}

/// The lines [`hold`] makes frames of, out of a fixture's.
fn lines(fixture: &str) -> Vec<u8> {
    let mut lines = String::new();
    for line in fixture.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["chunk"].is_object() {
            lines += &format!("chunk {}\n", line["chunk"]);
        }
        match (line["event"].as_str(), line["exception"].as_str()) {
            (Some(name), _) => lines += &format!("{name} {}\n", line["payload"]),
            (_, Some(name)) => lines += &format!("!{name} {}\n", line["payload"]),
            _ => {}
        }
    }
    lines.into_bytes()
}

/// What is asked and answered beside chat, in the cases of one kind.
fn beside(kind: &str) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for (path, case) in files(&fixtures().join("beside")) {
        if !path.file_name().unwrap().to_str().unwrap().starts_with(kind) {
            continue;
        }
        let case: serde_json::Value = serde_json::from_slice(&case).unwrap();
        bodies.push(case["body"].clone());
        for exchange in case["sent"].as_array().into_iter().flatten() {
            bodies.extend([exchange["body"].clone(), exchange["answer"].clone()]);
        }
    }
    bodies.into_iter().map(|body| body.to_string().into_bytes()).collect()
}

fn requests() -> Vec<(PathBuf, Vec<u8>)> {
    [files(&fixtures().join("callers")), files(&fixtures().join("requests"))].concat()
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fixtures")
}

const BATCHES: &[&str] = &[
    r#"{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{"a":"b"}}"#,
    r#"{"id":"batch_1","object":"batch","status":"completed","output_file_id":"file-2","error_file_id":null,"usage":{"input_tokens":3,"output_tokens":4},"request_counts":{"total":2,"completed":2,"failed":0}}"#,
    r#"{"custom_id":"a","method":"POST","url":"/v1/responses","body":{"model":"openai/gpt-5","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]},{"type":"reasoning","id":"rs_1"}],"tools":[{"type":"image_generation","model":"gpt-image-1"}]}}"#,
];

const COUNTS: &[&str] = &[
    r#"{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"Hi"}]}]}}}"#,
    r#"{"input":{"invokeModel":{"body":"e30="}}}"#,
    r#"{"generateContentRequest":{"model":"models/x","contents":[{"parts":[{"text":"Hi"}]}]}}"#,
    r#"{"model":"chat","messages":[{"role":"user","content":"Hi"}]}"#,
    r#"{"input_tokens":5}"#,
    r#"{"inputTokens":5}"#,
    r#"{"totalTokens":5}"#,
];

const EVENTS: &[&str] = &[
    "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA==\"}\n\n\
     event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA==\",\"usage\":{\"input_tokens\":2,\"output_tokens\":3}}\n\n",
    "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\r\n\r\ndata: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":\"duration\",\"seconds\":3}}\r\n\r\n",
    "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AA==\"}\n\n: still there\n\ndata: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"total_tokens\":3}}",
    "data: {\"error\":{\"message\":\"Ouch.\",\"code\":\"x\"}}\n\ndata: [DONE]\n\n",
];

const MESSAGES: &[&str] = &[
    r#"{"type":"session.created","session":{"model":"gpt-realtime","modalities":["audio"]}}"#,
    r#"{"type":"response.done","response":{"id":"resp_1","usage":{"total_tokens":30,"input_tokens":20,"output_tokens":10,"input_token_details":{"text_tokens":5,"audio_tokens":15,"cached_tokens":8}}}}"#,
    r#"{"type":"conversation.item.input_audio_transcription.completed","usage":{"type":"tokens","input_tokens":4,"output_tokens":2}}"#,
    r#"{"event_id":"e1","type":"session.update","session":{"audio":{"input":{"transcription":{"model":"openai/whisper-1"}}},"tools":[{"type":"mcp","server_url":"https://x"}]}}"#,
    r#"{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_image","file_id":"file-1"}]}}"#,
];

/// As browsers, undici and httpx write it, and the shortest there is.
const FORMS: &[&str] = &[
    "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\
     \r\n--XyY-\r\n-binary\0\r\n\r\n--XyZ\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper-1\r\n\
     --XyZ\r\nContent-Disposition: form-data; name=stream\r\n\r\n\r\n--XyZ--\r\n",
    "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--XyZ--",
];

const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"é👋\"",
    "[]",
    "[[]]",
    "[null]",
    "{}",
    "{\"\":0}",
    "\"data:,\"",
    "\"https://x\"",
    "\"stop\"",
    "\"assistant\"",
    "\"user\"",
    "\"system\"",
    "\"tool\"",
];

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "{", "}", "[", "]", "\"", "\\", ",", ":", "\n", "\n\n", "\r", "\r\n\r\n", "data: ", "event: error\n", ": x\n\n", "[DONE]",
    "\u{feff}", "\0", "null,", "[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":", "é", "👋", "\"error\":{},", "\"error\":null,",
    "\"type\":\"text\",", "\"type\":\"error\",", "\"index\":4294967295,", "\"id\":\"\",", "\"model\":\"x\",", "\"stream\":true,",
    "\"stream\":1,", "\"\\u006dodel\":\"x\",", "\"messages\":[],", "\"content\":null,", "\"content\":[],", "\"name\":\"\",",
    "\"finish_reason\":\"stop\",", "\"usage\":{},", "\"usage\":null,", "\"tool_calls\":[{}],", "\"arguments\":\"\",", "\"role\":\"tool\",",
];
