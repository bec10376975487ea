//! A unified request, as Converse wants it.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};
use sha2::{Digest as _, Sha256};

use super::{DOCUMENT_FORMATS, url};
use crate::{
    Error, Target,
    chat::{self, CacheTtl, Effort, Media, Message, Part, ResponseFormat, Role, TOOL_FAILED},
    dialect::{
        Encoded, Serves, arguments, drop_call_signatures, drop_extra, drop_hints, drop_service, is_claudes,
        labels_within,
        messages::{
            model::{self, Model, Off, Sampling, Thinking},
            schema,
        },
        post, refuse_one_call, turns,
    },
};

pub(super) fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let maker = Maker::of(target.model);
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    drop_call_signatures(request, &mut dropped);
    drop_hints(request, maker.caches(), true, &mut dropped);
    if request.logprobs.is_some() {
        let message =
            "Converse gives no probabilities of tokens. Leave `logprobs` out, or choose another provider.";
        return Err(Error::unsupported("logprobs", message));
    }
    let stop_sequences = stop_sequences(request, &maker)?;
    let mut conversation = conversation(request, &maker, &mut dropped)?;
    let mut tools = tools(request, &conversation, &mut dropped)?;
    conversation.limit_cache_points(&mut tools);
    let mut tool_choice = tool_choice(request, target, &maker, &tools)?;
    let text_format = text_format(request, &mut dropped)?;

    let forced = matches!(tool_choice, Some(ToolChoice::Any {} | ToolChoice::Tool { .. }));
    let thought = thought(request, &maker, forced, &conversation, &mut dropped);
    let sampling = sampling(request, &maker, thought.thinks, &mut dropped);
    let mut more = thought.more;
    if let Some(choice) = own_choice(request, &maker, &tools) {
        more.insert("tool_choice".to_owned(), choice);
        tool_choice = None;
    }
    if let Some(top_k) = sampling.top_k {
        maker.top_k(top_k, &mut more);
    }
    let inference = Inference {
        max_tokens: request.max_output_tokens.or(thought.max_tokens),
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        stop_sequences,
    };
    let output = Output { text_format, effort: thought.effort };
    let body = Body {
        system: conversation.system,
        messages: conversation.turns,
        inference_config: inference.some(),
        tool_config: (!tools.is_empty()).then_some(ToolConfig { tools, tool_choice }),
        output_config: (output.text_format.is_some() || output.effort.is_some()).then_some(output),
        additional_model_request_fields: more,
        // Claude says which of them it was.
        additional_model_response_field_paths: match maker.claude() {
            Some(_) if !request.stop.is_empty() => &["/stop_sequence"],
            _ => &[],
        },
        request_metadata: labels_within(request, MAX_LABELS, is_label),
        service_tier: request.service_tier.map(|tier| Tier { kind: tier.word("default") }),
    };
    let has = Serves { labels: body.request_metadata.is_some(), tier: true, ..Serves::default() };
    drop_service(request, has, &mut dropped);
    dropped.extend(unknown(request).map(str::to_owned));
    if !maker.has_own_choice() {
        refuse_one_call(request, &mut dropped)?;
    }
    let body = serde_json::to_vec(&body).expect("strings and numbers into memory cannot fail");
    Ok(Encoded::new(post(url(target, request.stream), target, body)?, dropped))
}

/// Whether a forced tool has to stand in for a schema.
pub(super) fn lacks_schema(target: &Target<'_>) -> bool {
    !Maker::of(target.model).has_schemas(target.model)
}

/// What Converse has no words for, and the answer means the same without.
fn unknown(request: &chat::Request) -> impl Iterator<Item = &'static str> {
    let is_set = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    let fields = [
        ("frequency_penalty", is_set(request.frequency_penalty)),
        ("presence_penalty", is_set(request.presence_penalty)),
        ("seed", request.seed.is_some()),
        ("user", request.end_user().is_some()),
    ];
    fields.into_iter().filter(|(_, set)| *set).map(|(name, _)| name)
}

/// Who made the model: what goes beside Converse's own fields is theirs to say.
enum Maker {
    Anthropic(Model),
    Mistral,
    Nova,
    /// The open models, `gpt-oss`.
    OpenAi,
    Other,
}

impl Maker {
    fn of(model: &str) -> Self {
        // An ARN has numbers before the name that are no version.
        let name = model.rsplit('/').next().unwrap_or(model);
        let is = |word: &str| name.contains(word);
        match () {
            () if is("anthropic.") || is("claude") => Self::Anthropic(Model::named(name)),
            () if is("mistral.") => Self::Mistral,
            () if is("amazon.nova") => Self::Nova,
            () if is("openai.") => Self::OpenAi,
            () => Self::Other,
        }
    }

    /// Whether an answer of this model can be bound to a schema.
    fn has_schemas(&self, model: &str) -> bool {
        match self {
            Self::Anthropic(model) => model.schemas,
            Self::Mistral => !["mistral-7b", "mistral-large-24", "mistral-small-24", "mixtral"]
                .iter()
                .any(|older| model.contains(older)),
            Self::Nova => false,
            Self::OpenAi | Self::Other => true,
        }
    }

    fn claude(&self) -> Option<&Model> {
        match self {
            Self::Anthropic(model) => Some(model),
            _ => None,
        }
    }

    /// The others refuse a request with cache points.
    fn caches(&self) -> bool {
        matches!(self, Self::Anthropic(_) | Self::Nova)
    }

    /// Whether the model can be told in its maker's words how to choose among tools.
    fn has_own_choice(&self) -> bool {
        self.claude().is_some_and(|model| model.own_choice)
    }

    fn has_top_k(&self) -> bool {
        matches!(self, Self::Anthropic(_) | Self::Mistral | Self::Nova)
    }

    fn top_k(&self, top_k: u64, more: &mut Map<String, Value>) {
        let (name, value) = match self {
            Self::Nova => ("inferenceConfig", json!({ "topK": top_k })),
            _ => ("top_k", Value::from(top_k)),
        };
        more.insert(name.to_owned(), value);
    }
}

fn stop_sequences<'a>(request: &'a chat::Request, maker: &Maker) -> Result<&'a [String], Error> {
    let is_blank = |text: &String| match maker {
        Maker::Anthropic(_) => text.trim().is_empty(),
        _ => text.is_empty(),
    };
    // Left out, the answer would run on past where the caller wants it to end.
    if request.stop.iter().any(is_blank) {
        let message = "This model cannot stop at nothing, and Claude not at white space alone. Use a stop sequence \
                       with a visible character.";
        return Err(Error::unsupported("stop", message));
    }
    Ok(&request.stop)
}

/// The system prompt and the turns.
#[derive(Default)]
struct Conversation<'a> {
    system: Vec<Block<'a>>,
    turns: Vec<Turn<'a>>,
    /// Names of documents, which must differ, and the number to try next for one that is taken.
    documents: HashMap<String, usize>,
    /// Names of the tools that were called.
    called: BTreeSet<Cow<'a, str>>,
    caches: bool,
    /// Whether calls and their results are told as text, so that no tool is there to be called.
    tells_calls: bool,
    /// Whether the model can be told that a tool failed; the others are told in words.
    knows_failures: bool,
}

fn conversation<'a>(
    request: &'a chat::Request,
    maker: &Maker,
    dropped: &mut Vec<String>,
) -> Result<Conversation<'a>, Error> {
    let mut conversation = Conversation {
        caches: maker.caches(),
        tells_calls: forbids(request) && !maker.has_own_choice(),
        knows_failures: matches!(maker, Maker::Anthropic(_) | Maker::Nova),
        ..Conversation::default()
    };
    for (at, message) in request.messages.iter().enumerate() {
        match message.role {
            Role::Assistant => conversation.assistant(at, message, dropped)?,
            Role::Developer | Role::System => conversation.system(at, message)?,
            Role::Tool => conversation.results(at, message)?,
            Role::User => conversation.user(at, message)?,
        }
    }
    if conversation.turns.is_empty() {
        let message = "Converse needs at least one message that is not a system message and not empty.";
        return Err(Error::invalid("messages", message));
    }
    for turn in &mut conversation.turns {
        turn.settle();
        let is_document = |block: &&Block<'_>| matches!(block, Block::Document(_));
        if turn.content.iter().filter(is_document).count() > MAX_DOCUMENTS {
            let message = format!("Bedrock takes at most {MAX_DOCUMENTS} documents a message.");
            return Err(Error::unsupported("messages", message));
        }
        let has = |kind: fn(&Block<'_>) -> bool| turn.content.iter().any(kind);
        // Refused otherwise.
        if has(|block| matches!(block, Block::Document(_))) && !has(|block| matches!(block, Block::Text(_))) {
            turn.content.push(Block::Text("See the document.".into()));
        }
    }
    Ok(conversation)
}

impl<'a> Conversation<'a> {
    fn system(&mut self, at: usize, message: &'a Message) -> Result<(), Error> {
        for part in &message.parts {
            match part {
                Part::CachePoint(ttl) => push_cache_point(&mut self.system, *ttl, self.caches),
                Part::File(_) | Part::Image(_) => return Err(misplaced(at, "a system message")),
                part => self.system.extend(said(part)),
            }
        }
        Ok(())
    }

    fn user(&mut self, at: usize, message: &'a Message) -> Result<(), Error> {
        let mut blocks = Vec::new();
        for part in &message.parts {
            match part {
                Part::CachePoint(ttl) => push_cache_point(&mut blocks, *ttl, self.caches),
                part => blocks.extend(self.shown(at, part)?),
            }
        }
        turns::say(&mut self.turns, "user", blocks);
        Ok(())
    }

    fn assistant(&mut self, at: usize, message: &'a Message, dropped: &mut Vec<String>) -> Result<(), Error> {
        let mut thoughts = Vec::new();
        let mut blocks = Vec::new();
        let mut calls = 0;
        for part in &message.parts {
            match part {
                Part::CachePoint(ttl) => push_cache_point(&mut blocks, *ttl, self.caches),
                Part::File(_) | Part::Image(_) => return Err(misplaced(at, "an assistant message")),
                Part::Reasoning(reasoning) => {
                    let before = thoughts.len();
                    thoughts.extend(thoughts_of(reasoning));
                    if thoughts.len() == before {
                        dropped.push(format!("messages[{at}].reasoning_content"));
                    }
                }
                Part::ToolCall(call) => {
                    let input = arguments::object(&call.arguments).ok_or_else(|| {
                        let param = format!("messages[{at}].tool_calls[{calls}].function.arguments");
                        let message =
                            format!("`{param}` must be the text of a JSON object, as the model gave it.");
                        Error::invalid(param, message)
                    })?;
                    calls += 1;
                    if self.tells_calls {
                        let told = format!("Call {} of the tool {}: {input}", call.id, call.name);
                        blocks.push(Block::Text(told.into()));
                        continue;
                    }
                    let name = past_name(&call.name);
                    self.called.insert(name.clone());
                    blocks.push(Block::ToolUse(ToolUse { tool_use_id: call_id(&call.id), name, input }));
                }
                part => blocks.extend(said(part)),
            }
        }
        // Thought comes first, whatever the order it was kept in.
        thoughts.append(&mut blocks);
        turns::say(&mut self.turns, "assistant", thoughts);
        Ok(())
    }

    /// Adds tool results to the user's turn, before what else is in it.
    fn results(&mut self, at: usize, message: &'a Message) -> Result<(), Error> {
        let mut blocks = Vec::new();
        for part in &message.parts {
            match part {
                Part::CachePoint(ttl) => push_cache_point(&mut blocks, *ttl, self.caches),
                Part::ToolResult(result) => {
                    let mut content = Vec::new();
                    let mut points = Vec::new();
                    if self.tells_calls {
                        content.push(Block::Text(format!("Result of the call {}:", result.call_id).into()));
                    }
                    if result.is_error && (self.tells_calls || !self.knows_failures) {
                        content.push(Block::Text(TOOL_FAILED.into()));
                    }
                    for part in &result.parts {
                        match part {
                            Part::CachePoint(ttl) => points.push(*ttl),
                            part => content.extend(self.shown(at, part)?),
                        }
                    }
                    if result.parts.is_empty() || content.is_empty() {
                        content.push(Block::Text("(no output)".into()));
                    }
                    if self.tells_calls {
                        blocks.append(&mut content);
                        points.into_iter().for_each(|ttl| push_cache_point(&mut blocks, ttl, self.caches));
                        continue;
                    }
                    let tool_use_id = call_id(&result.call_id);
                    let status = (result.is_error && self.knows_failures).then_some("error");
                    blocks.push(Block::ToolResult(ToolResult { tool_use_id, content, status }));
                    points.into_iter().for_each(|ttl| push_cache_point(&mut blocks, ttl, self.caches));
                }
                _ => {}
            }
        }
        if !blocks.is_empty() {
            turns::results(&mut self.turns).append(&mut blocks);
        }
        Ok(())
    }

    /// What a user or a tool may show.
    fn shown(&mut self, at: usize, part: &'a Part) -> Result<Option<Block<'a>>, Error> {
        match part {
            Part::File(file) => self.document(at, file).map(Some),
            Part::Image(image) => picture(at, &image.media).map(Some),
            part => Ok(said(part)),
        }
    }

    fn document(&mut self, at: usize, file: &'a chat::File) -> Result<Block<'a>, Error> {
        let (media_type, data) = bytes(at, &file.media, "document")?;
        let known = DOCUMENT_FORMATS.iter().find(|(_, known)| *known == media_type);
        let Some((format, _)) = known else {
            let message = format!(
                "`messages[{at}].content` has a document of the type `{media_type}`. Bedrock takes PDF, CSV, Word, \
                 Excel, HTML, text and Markdown."
            );
            return Err(Error::unsupported(format!("messages[{at}].content"), message));
        };
        if data.len() / 4 * 3 > MAX_DOCUMENT_BYTES {
            let message = format!(
                "`messages[{at}].content` has a document of more than the 4.5 MB that Bedrock takes."
            );
            return Err(Error::unsupported(format!("messages[{at}].content"), message));
        }
        let name = self.name(file.name.as_deref().unwrap_or_default());
        let citations = file.cited.then_some(Citations { enabled: true });
        Ok(Block::Document(Document { format, name, source: Source { bytes: data }, citations }))
    }

    /// A name in the letters that are allowed, and not taken yet.
    fn name(&mut self, wished: &str) -> String {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-()[]".contains(letter);
        let words = wished.split_whitespace().map(|word| word.replace(|letter| !fits(letter), "-"));
        let mut name: String = words.collect::<Vec<_>>().join(" ").chars().take(MAX_NAME_CHARS).collect();
        if name.trim().is_empty() {
            name = "Document".to_owned();
        }
        let mut unique = name.clone();
        while let Some(next) = self.documents.get_mut(&unique) {
            unique = format!("{} ({next})", name.trim_end());
            *next += 1;
        }
        self.documents.insert(unique.clone(), 2);
        unique
    }

    /// Of more cache points than Bedrock takes the last ones stay: they cover what comes before them, the tools
    /// first of all.
    fn limit_cache_points(&mut self, tools: &mut Vec<Tool<'_>>) {
        let in_tools = tools.iter().filter(|tool| matches!(tool, Tool::CachePoint(_))).count();
        let blocks = || self.system.iter().chain(self.turns.iter().flat_map(|turn| &turn.content));
        let in_blocks = blocks().filter(|block| matches!(block, Block::CachePoint(_))).count();
        let mut surplus = (in_tools + in_blocks).saturating_sub(MAX_CACHE_POINTS);
        let mut stays = |is_point: bool| {
            let goes = is_point && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        };
        tools.retain(|tool| stays(matches!(tool, Tool::CachePoint(_))));
        self.system.retain(|block| stays(matches!(block, Block::CachePoint(_))));
        for turn in &mut self.turns {
            turn.content.retain(|block| stays(matches!(block, Block::CachePoint(_))));
        }
    }

    /// Whether there are calls or results, for which Converse demands tools.
    fn has_calls(&self) -> bool {
        !self.called.is_empty() || self.turns.iter().any(|turn| turn.has_results)
    }

    /// Whether a tool loop goes on whose call came without its thought. Models that think to a budget
    /// refuse to think on.
    fn lost_its_thought(&self) -> bool {
        let [.., call, results] = self.turns.as_slice() else { return false };
        results.has_results && !matches!(call.content.first(), Some(Block::ReasoningContent(_)))
    }
}

fn misplaced(at: usize, place: &str) -> Error {
    let message = format!(
        "`messages[{at}].content` has an image or a document in {place}. Bedrock takes them from the user only."
    );
    Error::unsupported(format!("messages[{at}].content"), message)
}

/// A cache point marks what stands before it, so it cannot come first.
fn push_cache_point(blocks: &mut Vec<Block<'_>>, ttl: CacheTtl, caches: bool) {
    if caches && blocks.last().is_some_and(|block| !matches!(block, Block::CachePoint(_))) {
        blocks.push(Block::CachePoint(cache_point(ttl)));
    }
}

fn cache_point(ttl: CacheTtl) -> CachePoint {
    CachePoint { kind: "default", ttl: (ttl == CacheTtl::Hour).then_some("1h") }
}

/// What anyone may say. Text without a visible character is refused by the API, and says nothing.
fn said(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Refusal(text) | Part::Text(text) => (!text.trim().is_empty()).then(|| Block::Text(text.into())),
        _ => None,
    }
}

/// Only what carries Claude's own signature or is encrypted can be shown to it again.
fn thoughts_of(reasoning: &chat::Reasoning) -> impl Iterator<Item = Block<'_>> {
    let own = reasoning.signature.as_deref().filter(|signature| is_claudes(signature));
    let signed = own.map(|signature| Thought::ReasoningText { text: &reasoning.text, signature });
    let redacted = reasoning.redacted.as_deref().filter(|data| STANDARD.decode(data).is_ok());
    let redacted = redacted.map(Thought::RedactedContent);
    signed.into_iter().chain(redacted).map(Block::ReasoningContent)
}

fn picture(at: usize, image: &Media) -> Result<Block<'_>, Error> {
    let (media_type, data) = bytes(at, image, "image")?;
    let format = media_type.strip_prefix("image/").filter(|format| IMAGE_FORMATS.contains(format));
    let Some(format) = format else {
        let message = format!(
            "`messages[{at}].content` has an image of the type `{media_type}`. Bedrock takes PNG, JPEG, GIF and WebP."
        );
        return Err(Error::unsupported(format!("messages[{at}].content"), message));
    };
    Ok(Block::Image(Picture { format, source: Source { bytes: data } }))
}

fn bytes<'a>(at: usize, media: &'a Media, what: &str) -> Result<(&'a str, &'a str), Error> {
    match media {
        Media::Data { media_type, data } => Ok((media_type, data)),
        Media::Url(_) => {
            let message = format!(
                "`messages[{at}].content` has an {what} by address, which Bedrock does not fetch. Send the {what} \
                 itself, in base64."
            );
            Err(Error::unsupported(
                format!("messages[{at}].content"),
                message.replace("an document", "a document"),
            ))
        }
    }
}

/// A call's id in the letters the API takes. Another provider's may be longer or use others: those are
/// replaced by a digest, so that two ids stay two and a call and its result stay together.
fn call_id(id: &str) -> Cow<'_, str> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
    if (1..=MAX_ID_CHARS).contains(&id.len()) && id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    let digest = Sha256::digest(id.as_bytes());
    Cow::Owned(digest.iter().take(16).fold("call_".to_owned(), |id, byte| format!("{id}{byte:02x}")))
}

fn is_tool_name(name: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    (1..=MAX_ID_CHARS).contains(&name.len()) && name.chars().all(fits)
}

/// The name of a tool in an earlier call, which nobody asks for again.
fn past_name(name: &str) -> Cow<'_, str> {
    if is_tool_name(name) {
        return Cow::Borrowed(name);
    }
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let name: String =
        name.chars().map(|letter| if fits(letter) { letter } else { '_' }).take(MAX_ID_CHARS).collect();
    Cow::Owned(if name.is_empty() { "_".to_owned() } else { name })
}

/// Whether no tool may be called, because none is given or the caller says so.
fn forbids(request: &chat::Request) -> bool {
    request.tools.is_empty() || request.tool_choice == Some(chat::ToolChoice::None)
}

/// The tools. Where none are given but some were called, those of the past stand in, because the history is refused
/// without them.
fn tools<'a>(
    request: &'a chat::Request,
    conversation: &Conversation<'a>,
    dropped: &mut Vec<String>,
) -> Result<Vec<Tool<'a>>, Error> {
    if forbids(request) && (conversation.tells_calls || !conversation.has_calls()) {
        return Ok(Vec::new());
    }
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        if !is_tool_name(&tool.name) {
            let param = format!("tools[{at}].function.name");
            let message = format!(
                "`{param}` must have at most {MAX_ID_CHARS} characters, of a-z, A-Z, 0-9, _ and - only, for this model."
            );
            return Err(Error::unsupported(param, message));
        }
        let strict = tool.strict == Some(true);
        let mut json = schema::input_schema(tool.parameters.as_ref());
        if strict {
            let field = format!("tools[{at}].function.parameters");
            json = Cow::Owned(schema::narrowed(json.into_owned(), &field, dropped));
        }
        let description = tool.description.as_deref().filter(|text| !text.is_empty());
        let name = Cow::Borrowed(tool.name.as_str());
        tools.push(Tool::ToolSpec { name, description, input_schema: InputSchema { json }, strict });
        if let Some(ttl) = tool.cache.filter(|_| conversation.caches) {
            tools.push(Tool::CachePoint(cache_point(ttl)));
        }
    }
    if tools.is_empty() && conversation.has_calls() {
        let none = conversation.called.is_empty().then_some(Cow::Borrowed("none"));
        tools.extend(conversation.called.iter().cloned().chain(none).map(|name| Tool::ToolSpec {
            name,
            description: Some("No longer available. Do not call it."),
            input_schema: InputSchema { json: schema::input_schema(None) },
            strict: false,
        }));
    }
    Ok(tools)
}

/// What of the choice only Anthropic has words for: no call at all, and one call at a time.
fn own_choice(request: &chat::Request, maker: &Maker, tools: &[Tool<'_>]) -> Option<Value> {
    if tools.is_empty() || !maker.has_own_choice() {
        return None;
    }
    let mut choice = match &request.tool_choice {
        _ if forbids(request) => return Some(json!({ "type": "none" })),
        _ if request.parallel_tool_calls != Some(false) => return None,
        Some(chat::ToolChoice::Function(name)) => json!({ "type": "tool", "name": name }),
        Some(chat::ToolChoice::Required) => json!({ "type": "any" }),
        None | Some(chat::ToolChoice::Auto | chat::ToolChoice::None) => json!({ "type": "auto" }),
    };
    choice["disable_parallel_tool_use"] = json!(true);
    Some(choice)
}

/// Whether Bedrock files a request under it.
fn is_label(name: &str, value: &str) -> bool {
    let fits = |letter: char| {
        letter.is_ascii_alphanumeric() || letter.is_ascii_whitespace() || ":_@$#=/+,-.".contains(letter)
    };
    let is_label = |text: &str| text.len() <= 256 && text.chars().all(fits);
    !name.is_empty() && is_label(name) && is_label(value)
}

fn tool_choice<'a>(
    request: &'a chat::Request,
    target: &Target<'_>,
    maker: &Maker,
    tools: &[Tool<'_>],
) -> Result<Option<ToolChoice<'a>>, Error> {
    match &request.tool_choice {
        None | Some(chat::ToolChoice::Auto | chat::ToolChoice::None) => Ok(None),
        Some(_) if tools.is_empty() => Ok(None),
        Some(_) if maker.claude().is_some_and(|model| !model.forced_tools) => {
            Err(model::cannot_force_tools(target.model))
        }
        Some(chat::ToolChoice::Required) => Ok(Some(ToolChoice::Any {})),
        Some(chat::ToolChoice::Function(name)) => Ok(Some(ToolChoice::Tool { name })),
    }
}

fn text_format<'a>(
    request: &'a chat::Request,
    dropped: &mut Vec<String>,
) -> Result<Option<TextFormat<'a>>, Error> {
    match &request.response_format {
        ResponseFormat::JsonSchema { name, description, schema, .. } => {
            let schema = schema::narrowed(schema.clone(), "response_format.json_schema.schema", dropped);
            let json_schema =
                JsonSchema { schema: schema.to_string(), name, description: description.as_deref() };
            Ok(Some(TextFormat { kind: "json_schema", structure: Structure { json_schema } }))
        }
        // A tool stands in for JSON without a schema.
        ResponseFormat::JsonObject | ResponseFormat::Text => Ok(None),
    }
}

/// What a wish for thought becomes.
#[derive(Default)]
struct Thoughts {
    /// For `additionalModelRequestFields`.
    more: Map<String, Value>,
    effort: Option<&'static str>,
    /// Where the caller sets no bound but a budget of thought needs one.
    max_tokens: Option<u64>,
    thinks: bool,
}

fn thought(
    request: &chat::Request,
    maker: &Maker,
    forced: bool,
    conversation: &Conversation<'_>,
    dropped: &mut Vec<String>,
) -> Thoughts {
    let thoughts = match (maker, request.effort()) {
        (Maker::Anthropic(model), _) => {
            let lost = model.thinking == Thinking::Budget && conversation.lost_its_thought();
            claude(request, model, forced, lost)
        }
        (_, None) => Some(Thoughts::default()),
        (Maker::OpenAi, Some(effort)) => {
            // They think always; their scale has three steps.
            let effort = match effort {
                Effort::None | Effort::Minimal | Effort::Low => "low",
                Effort::Medium => "medium",
                Effort::High | Effort::XHigh => "high",
            };
            let more = Map::from_iter([("reasoning_effort".to_owned(), effort.into())]);
            Some(Thoughts { more, ..Thoughts::default() })
        }
        (_, Some(_)) => None,
    };
    thoughts.unwrap_or_else(|| {
        let name = if request.reasoning_budget.is_some() { "reasoning_budget" } else { "reasoning_effort" };
        dropped.push(name.to_owned());
        // A model that thinks unasked must be stopped before it can be forced to call a tool.
        maker.claude().filter(|model| forced && model.off == Off::Disabled).map(off).unwrap_or_default()
    })
}

/// `None` where the wish cannot be met.
fn claude(request: &chat::Request, model: &Model, forced: bool, lost: bool) -> Option<Thoughts> {
    let effort = match request.effort() {
        None if forced && model.off == Off::Disabled => return Some(off(model)),
        None => return Some(Thoughts::default()),
        Some(Effort::None) => return Some(off(model)),
        Some(_) if forced || lost => return None,
        Some(effort) => effort,
    };
    if model.thinking == Thinking::Budget {
        let bound = request.max_output_tokens.unwrap_or(model.max_tokens);
        // The answer needs room too.
        let budget = request.budget().unwrap_or_default().max(LEAST_BUDGET).min(bound / 4 * 3);
        let more = thinking(json!({ "type": "enabled", "budget_tokens": budget }));
        let thoughts = Thoughts { more, max_tokens: Some(bound), thinks: true, effort: None };
        return (budget >= LEAST_BUDGET).then_some(thoughts);
    }
    let effort = match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => model.highest_effort,
    };
    // The text of thought is left out by newer models where it is not asked for.
    let display = if request.thoughts == Some(false) { "omitted" } else { "summarized" };
    let more = thinking(json!({ "type": "adaptive", "display": display }));
    Some(Thoughts { more, effort: Some(effort), max_tokens: None, thinks: true })
}

fn off(model: &Model) -> Thoughts {
    match model.off {
        Off::BetweenTools => {
            Thoughts { more: thinking(json!({ "type": "between_tools" })), ..Thoughts::default() }
        }
        Off::Default => Thoughts::default(),
        Off::Disabled => Thoughts { more: thinking(json!({ "type": "disabled" })), ..Thoughts::default() },
        Off::Never => Thoughts { effort: Some("low"), ..Thoughts::default() },
    }
}

fn thinking(value: Value) -> Map<String, Value> {
    Map::from_iter([("thinking".to_owned(), value)])
}

/// Sampling, as far as the model has it. Converse's scale of temperature ends at 1.
fn sampling(request: &chat::Request, maker: &Maker, thinks: bool, dropped: &mut Vec<String>) -> Sampling {
    if let Some(model) = maker.claude() {
        return model.sampling(request, thinks, dropped);
    }
    let mut keep = |name: &str, allowed: bool| {
        if !allowed {
            dropped.push(name.to_owned());
        }
        allowed
    };
    let temperature =
        request.temperature.map(|value| if keep("temperature", value <= 1.0) { value } else { 1.0 });
    let top_k = request.top_k.filter(|_| keep("top_k", maker.has_top_k()));
    Sampling { temperature, top_p: request.top_p, top_k }
}

// --- wire ---

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference_config: Option<Inference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Output<'a>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    additional_model_request_fields: Map<String, Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    additional_model_response_field_paths: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    request_metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Tier>,
}

/// At which tier a request is to be served, or was.
#[derive(Serialize)]
pub(super) struct Tier {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inference<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
}

impl Inference<'_> {
    /// Itself, unless it says nothing.
    fn some(self) -> Option<Self> {
        let says = self.max_tokens.is_some()
            || self.temperature.is_some()
            || self.top_p.is_some()
            || !self.stop_sequences.is_empty();
        says.then_some(self)
    }
}

type Turn<'a> = turns::Turn<Block<'a>>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Block<'a> {
    CachePoint(CachePoint),
    Document(Document<'a>),
    Image(Picture<'a>),
    ReasoningContent(Thought<'a>),
    Text(Cow<'a, str>),
    ToolResult(ToolResult<'a>),
    ToolUse(ToolUse<'a>),
}

#[derive(Serialize)]
struct CachePoint {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    name: String,
    source: Source<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    citations: Option<Citations>,
}

#[derive(Serialize)]
struct Citations {
    enabled: bool,
}

#[derive(Serialize)]
struct Picture<'a> {
    format: &'a str,
    source: Source<'a>,
}

#[derive(Serialize)]
struct Source<'a> {
    bytes: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Thought<'a> {
    ReasoningText { text: &'a str, signature: &'a str },
    RedactedContent(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: Cow<'a, str>,
    name: Cow<'a, str>,
    input: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    tool_use_id: Cow<'a, str>,
    content: Vec<Block<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Tool<'a> {
    CachePoint(CachePoint),
    ToolSpec {
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        input_schema: InputSchema<'a>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        strict: bool,
    },
}

#[derive(Serialize)]
struct InputSchema<'a> {
    json: Cow<'a, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ToolChoice<'a> {
    Any {},
    Tool { name: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text_format: Option<TextFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
}

#[derive(Serialize)]
struct TextFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    structure: Structure<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Structure<'a> {
    json_schema: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    /// As text, not as an object.
    schema: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

const IMAGE_FORMATS: [&str; 4] = ["gif", "jpeg", "png", "webp"];

/// Of 200, the rest for a number that makes it unique.
const MAX_NAME_CHARS: usize = 190;
/// For the ids of calls and the names of tools.
const MAX_ID_CHARS: usize = 64;
/// How many cache points one request may have.
const MAX_CACHE_POINTS: usize = 4;

/// A message.
const MAX_DOCUMENTS: usize = 5;

/// 4.5 MB, in whichever way they are counted.
const MAX_DOCUMENT_BYTES: usize = 4_718_592;
const MAX_LABELS: usize = 16;
/// The smallest thinking budget there is.
const LEAST_BUDGET: u64 = 1_024;
