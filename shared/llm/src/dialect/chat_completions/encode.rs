//! A unified request, as a provider of Chat Completions wants it.
//!
//! - Results of tools come one to a message and right behind the calls. They are text: a picture or a
//!   document in one is shown in a user's message behind them.
//! - Text in several parts is sent as one, since not every compatible server reads lists.
//! - What only some providers take is in [`super::quirks`].

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{
    DETAIL_PREFIX, call_id,
    quirks::{self, CallIds, Files, Marks, Quirks, Replay, Schemas, Shows, Thinking},
};
use crate::{
    Error, Target,
    chat::{self, CacheTtl, Detail, Effort, Media, Part, ResponseFormat, Role, TOOL_FAILED, ToolChoice},
    dialect::{
        Encoded, Serves, drop_call_signatures, drop_extra, drop_hints, drop_service, is_claudes,
        labels_within, plain_text, post, refuse_one_call, responses::encode::Breakpoint,
    },
    provider::StreamUsage,
};

pub(super) fn encode(request: &chat::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let quirks = Quirks::of(target);
    let mut dropped = Vec::new();
    drop_extra(&request.extra, &mut dropped)?;
    drop_call_signatures(request, &mut dropped);
    drop_hints(
        request,
        quirks.cache_marks != Marks::No && request.tools.iter().all(|tool| tool.cache.is_none()),
        false,
        &mut dropped,
    );
    let mut fields = Fields(Vec::new());
    fields.add("model", target.model);
    fields.add("messages", messages(request, &quirks, &mut dropped)?);
    tools(request, &quirks, &mut fields, &mut dropped)?;
    fields.add_some("response_format", response_format(&request.response_format));
    fields.add_some(quirks.max_tokens, request.max_output_tokens.or(quirks.default_max_tokens));
    sampling(request, &quirks, &mut fields, &mut dropped);
    service(request, &quirks, &mut fields, &mut dropped);
    stop(request, &quirks, &mut fields)?;
    logprobs(request, &quirks, &mut fields)?;
    thinking(request, &quirks, &mut fields, &mut dropped);
    if request.stream {
        fields.add("stream", true);
        if target.provider.stream_usage == StreamUsage::Asked {
            fields.add("stream_options", json!({ "include_usage": true }));
        }
    }
    let body = serde_json::to_vec(&fields).expect("strings and numbers into memory cannot fail");
    let request = post(format!("{}/chat/completions", target.base_url), target, body)?;
    Ok(Encoded::new(request, dropped))
}

/// Whether the answer cannot be bound to a schema.
pub(super) fn lacks_schema(request: &chat::Request, target: &Target<'_>) -> bool {
    match Quirks::of(target).schemas {
        Schemas::Alone => request.stream || !request.tools.is_empty(),
        Schemas::No => true,
        Schemas::Yes => false,
    }
}

fn tools<'a>(
    request: &'a chat::Request,
    quirks: &Quirks,
    fields: &mut Fields<'a>,
    dropped: &mut Vec<String>,
) -> Result<(), Error> {
    // Without tools, the words about them are refused.
    if request.tools.is_empty() {
        return Ok(());
    }
    if !quirks.tools {
        let message =
            "This provider's models call no tools. Leave them out, or choose a model of another provider.";
        return Err(Error::unsupported("tools", message));
    }
    let mut tool = |(at, tool): (usize, &'a chat::Tool)| {
        let strict = tool.strict.filter(|strict| *strict);
        if strict.is_some() && !quirks.strict_tools {
            dropped.push(format!("tools[{at}].function.strict"));
        }
        let function = ToolFunction {
            name: &tool.name,
            description: tool.description.as_deref(),
            // Some servers require it.
            parameters: tool
                .parameters
                .as_ref()
                .map_or_else(|| Cow::Owned(json!({ "type": "object", "properties": {} })), Cow::Borrowed),
            strict: strict.filter(|_| quirks.strict_tools),
        };
        Tool { kind: "function", function }
    };
    fields.add("tools", request.tools.iter().enumerate().map(&mut tool).collect::<Vec<_>>());
    if request.tool_choice == Some(ToolChoice::Required) && !quirks.requires {
        let message = "This provider's models cannot be made to call some tool. Leave the choice to the model, name the \
            tool, or choose another model.";
        return Err(Error::unsupported("tool_choice", message));
    }
    let choice = request.tool_choice.as_ref().map(|choice| match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::Function(name) => json!({ "type": "function", "function": { "name": name } }),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!(quirks.required),
    });
    fields.add_some("tool_choice", choice);
    // True is what everybody does unasked, and some models refuse the field.
    match request.parallel_tool_calls {
        Some(false) if quirks.one_call => fields.add("parallel_tool_calls", false),
        _ => refuse_one_call(request, dropped)?,
    }
    Ok(())
}

fn response_format(format: &ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::JsonObject => Some(json!({ "type": "json_object" })),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            let mut inner = json!({ "name": schema_name(name), "schema": schema });
            if let Some(text) = description {
                inner["description"] = json!(text);
            }
            if let Some(strict) = strict {
                inner["strict"] = json!(strict);
            }
            Some(json!({ "type": "json_schema", "json_schema": inner }))
        }
        ResponseFormat::Text => None,
    }
}

/// A name in the letters OpenAI takes.
fn schema_name(name: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let name: String = name.chars().take(64).map(|letter| if fits(letter) { letter } else { '_' }).collect();
    if name.is_empty() { "answer".to_owned() } else { name }
}

/// A value that is the default everywhere need not be sent, nor be reported where it cannot be.
fn sampling<'a>(
    request: &'a chat::Request,
    quirks: &Quirks,
    fields: &mut Fields<'a>,
    dropped: &mut Vec<String>,
) {
    // OpenAI's newer models take them where they do not think.
    let idle = request.effort() == Some(Effort::None) && accepts(quirks, Effort::None);
    let unless = |value: Option<f64>, default: f64| value.filter(|value| *value != default);
    let mut add = |name: &'static str, value: Option<f64>, allowed: bool| match value {
        Some(value) if allowed => fields.add(name, value),
        Some(_) => dropped.push(name.to_owned()),
        None => {}
    };
    let sampling = quirks.sampling || idle;
    let temperature = if sampling { request.temperature } else { unless(request.temperature, 1.0) };
    add("temperature", temperature, sampling);
    add("top_p", unless(request.top_p, 1.0), sampling);
    add("frequency_penalty", unless(request.frequency_penalty, 0.0), quirks.penalties);
    add("presence_penalty", unless(request.presence_penalty, 0.0), quirks.penalties);
    match (request.top_k, quirks.top_k) {
        (Some(top_k), true) => fields.add("top_k", top_k),
        (Some(_), false) => dropped.push("top_k".to_owned()),
        (None, _) => {}
    }
    match (request.seed, quirks.seed) {
        (Some(seed), Some(name)) => fields.add(name, seed),
        (Some(_), None) => dropped.push("seed".to_owned()),
        (None, _) => {}
    }
}

/// Who asks, at which price, and what the request is filed under.
fn service<'a>(
    request: &'a chat::Request,
    quirks: &Quirks,
    fields: &mut Fields<'a>,
    dropped: &mut Vec<String>,
) {
    let user = if quirks.safety { request.user.as_deref() } else { request.end_user() };
    match user {
        Some(user) if quirks.user => fields.add("user", user),
        Some(_) => dropped.push("user".to_owned()),
        None => {}
    }
    fields.add_some("safety_identifier", request.safety_identifier.as_deref().filter(|_| quirks.safety));
    let known = |tier| quirks.tiers.iter().find(|(known, _)| *known == tier);
    let tier = request.service_tier.and_then(known);
    fields.add_some("service_tier", tier.map(|(_, name)| *name));
    let labels = labels_within(request, 16, |_, _| true).filter(|_| quirks.labels);
    let (has_labels, openais) = (labels.is_some(), quirks.openais);
    fields.add_some("metadata", labels);
    for (name, value) in request.openais.iter().filter(|(name, _)| openais.contains(name)) {
        fields.add(name, value.clone());
    }
    let has =
        Serves { details: true, labels: has_labels, openais, safety: quirks.safety, tier: tier.is_some() };
    drop_service(request, has, dropped);
}

fn stop<'a>(request: &'a chat::Request, quirks: &Quirks, fields: &mut Fields<'a>) -> Result<(), Error> {
    // Left out, the answer would run on past where the caller wants it to end.
    if request.stop.len() > quirks.max_stops {
        let message = match quirks.max_stops {
            0 => "This model cannot be told where to stop. Leave `stop` out, or choose another model."
                .to_owned(),
            most => format!("This provider stops at no more than {most} texts. Send fewer."),
        };
        return Err(Error::unsupported("stop", message));
    }
    if !request.stop.is_empty() {
        fields.add("stop", request.stop.as_slice());
    }
    Ok(())
}

fn logprobs<'a>(request: &'a chat::Request, quirks: &Quirks, fields: &mut Fields<'a>) -> Result<(), Error> {
    let Some(others) = request.logprobs else { return Ok(()) };
    if !quirks.logprobs {
        let message =
            "This model gives no probabilities of tokens. Leave `logprobs` out, or choose another model.";
        return Err(Error::unsupported("logprobs", message));
    }
    fields.add("logprobs", true);
    fields.add_some("top_logprobs", Some(others).filter(|others| *others > 0));
    Ok(())
}

fn accepts(quirks: &Quirks, effort: Effort) -> bool {
    matches!(quirks.thinking, Thinking::Efforts(efforts) if efforts.contains(&effort))
}

fn thinking<'a>(
    request: &'a chat::Request,
    quirks: &Quirks,
    fields: &mut Fields<'a>,
    dropped: &mut Vec<String>,
) {
    if quirks.thinking == Thinking::Split {
        fields.add("reasoning_split", true);
    }
    if quirks.thinking == Thinking::OnOrOff {
        fields.add("reasoning_format", if request.thoughts == Some(false) { "hidden" } else { "parsed" });
    } else if request.thoughts == Some(false) && quirks.thinking != Thinking::OpenRouter {
        match quirks.shows {
            Shows::Always => dropped.push("include_reasoning".to_owned()),
            Shows::IfIncluded => fields.add("include_reasoning", false),
            Shows::Never => {}
        }
    }
    let exclude = (request.thoughts == Some(false)).then_some(true);
    // DeepSeek's models cannot be made to call a tool while they think.
    let idle = quirks.thinking == Thinking::DeepSeek && request.forces_a_tool() && !request.tools.is_empty();
    let Some(effort) = request.effort() else {
        match quirks.thinking {
            Thinking::DeepSeek if idle => fields.add("thinking", json!({ "type": "disabled" })),
            Thinking::OpenRouter if exclude.is_some() => fields.add("reasoning", json!({ "exclude": true })),
            _ => {}
        }
        return;
    };
    let off = effort == Effort::None;
    match (&quirks.thinking, request.reasoning_budget) {
        (Thinking::No | Thinking::Split, _) if off => {}
        (Thinking::No | Thinking::Split, _) => dropped.push("reasoning_effort".to_owned()),
        (Thinking::DeepSeek, _) => {
            let kind = if off || idle { "disabled" } else { "enabled" };
            fields.add("thinking", json!({ "type": kind }));
            let word = match effort {
                Effort::None => return,
                _ if idle => return dropped.push("reasoning_effort".to_owned()),
                Effort::Minimal | Effort::Low => "low",
                Effort::Medium | Effort::High => "high",
                Effort::XHigh => "max",
            };
            fields.add("reasoning_effort", word);
        }
        (Thinking::Efforts(efforts), _) => match quirks::nearest(effort, efforts) {
            Some(effort) => fields.add("reasoning_effort", effort.as_str()),
            None => dropped.push("reasoning_effort".to_owned()),
        },
        (Thinking::OpenRouter, budget) => {
            let mut reasoning = match budget.filter(|budget| *budget > 0) {
                Some(budget) => json!({ "max_tokens": budget }),
                None => json!({ "effort": effort.as_str() }),
            };
            if let Some(exclude) = exclude {
                reasoning["exclude"] = json!(exclude);
            }
            fields.add("reasoning", reasoning);
        }
        (Thinking::OnOff, _) => {
            fields.add("thinking", json!({ "type": if off { "disabled" } else { "enabled" } }));
        }
        (Thinking::OnOrOff, _) => fields.add("reasoning_effort", if off { "none" } else { "default" }),
    }
}

fn messages<'a>(
    request: &'a chat::Request,
    quirks: &Quirks,
    dropped: &mut Vec<String>,
) -> Result<Vec<Message<'a>>, Error> {
    let is_system = |message: &chat::Message| matches!(message.role, Role::Developer | Role::System);
    let mut order: Vec<(usize, &chat::Message)> = request.messages.iter().enumerate().collect();
    if quirks.system_first {
        // A stable sort: instructions keep their order, and so does the conversation.
        order.sort_by_key(|(_, message)| !is_system(message));
    }
    let mut conversation = Conversation { quirks, dropped, messages: Vec::new(), shown: Vec::new() };
    for (at, message) in order {
        match message.role {
            Role::Assistant => conversation.assistant(at, message)?,
            Role::Developer => conversation.says(quirks.developer, at, message)?,
            Role::System => conversation.says("system", at, message)?,
            Role::Tool | Role::User => {
                conversation.results(at, message)?;
                conversation.says("user", at, message)?;
            }
        }
    }
    conversation.show();
    if let Some(last) = conversation.messages.last_mut() {
        last.prefix = quirks.prefix && last.role == "assistant" && last.tool_calls.is_empty();
    }
    Ok(conversation.messages)
}

struct Conversation<'a, 'b> {
    quirks: &'b Quirks,
    dropped: &'b mut Vec<String>,
    messages: Vec<Message<'a>>,
    /// Pictures and documents out of tool results, until the last of the results is written.
    shown: Vec<ContentPart<'a>>,
}

impl<'a> Conversation<'a, '_> {
    fn push(&mut self, message: Message<'a>) {
        let calls = |message: &Message<'_>| !message.tool_calls.is_empty() || message.tool_call_id.is_some();
        match self.messages.last_mut() {
            Some(last)
                if self.quirks.alternates
                    && last.role == message.role
                    && last.role != "system"
                    && !calls(last)
                    && !calls(&message) =>
            {
                last.content = match (last.content.take(), message.content) {
                    (Some(first), Some(second)) => Some(first.and(second)),
                    (first, second) => first.or(second),
                };
            }
            _ => self.messages.push(message),
        }
    }

    /// What anyone says but the model.
    fn says(&mut self, role: &'static str, at: usize, message: &'a chat::Message) -> Result<(), Error> {
        let mut parts = Vec::new();
        for (index, part) in message.parts.iter().enumerate() {
            match part {
                Part::CachePoint(ttl) => self.mark(parts.last_mut(), *ttl),
                Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) => {}
                Part::Image(_) | Part::File(_) if role != "user" => {
                    return Err(misplaced(&format!("messages[{at}].content[{index}]")));
                }
                part => parts.extend(self.part(part, &format!("messages[{at}].content[{index}]"))?),
            }
        }
        if !parts.is_empty() {
            self.show();
            self.push(Message { content: Some(Content::of(parts)), ..Message::new(role) });
        }
        Ok(())
    }

    fn assistant(&mut self, at: usize, message: &'a chat::Message) -> Result<(), Error> {
        let mut said = String::new();
        let mut thoughts = Vec::new();
        let mut calls = Vec::new();
        for (index, part) in message.parts.iter().enumerate() {
            match part {
                Part::File(_) | Part::Image(_) => {
                    return Err(misplaced(&format!("messages[{at}].content[{index}]")));
                }
                Part::Reasoning(reasoning) => thoughts.push(reasoning),
                Part::Refusal(text) | Part::Text(text) => said.push_str(text),
                Part::ToolCall(call) => calls.push(self.call(call)),
                Part::CachePoint(_) | Part::ToolResult(_) => {}
            }
        }
        let mut message = Message::new("assistant");
        self.replay(at, &thoughts, !calls.is_empty(), &mut message);
        let thinks = message.reasoning.is_some()
            || message.thinking.is_some()
            || !message.reasoning_details.is_empty();
        if said.is_empty() && calls.is_empty() && !thinks && message.reasoning_content.is_none() {
            return Ok(());
        }
        message.content = (!said.is_empty() || calls.is_empty()).then_some(Content::Text(Cow::Owned(said)));
        if let Some(thought) = message.thinking.take() {
            let mut parts = message.content.take().map(Content::parts).unwrap_or_default();
            parts.insert(0, ContentPart::thought(thought));
            message.content = Some(Content::Parts(parts));
        }
        message.tool_calls = calls;
        self.show();
        self.push(message);
        Ok(())
    }

    fn call(&self, call: &'a chat::ToolCall) -> Call<'a> {
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        let function = CallFunction { name: &call.name, arguments };
        Call { id: self.call_id(&call.id), kind: "function", function }
    }

    /// The call's id, or where it does not fit, always the same other one.
    fn call_id(&self, id: &'a str) -> Cow<'a, str> {
        let fits = match self.quirks.call_ids {
            CallIds::Any => true,
            CallIds::UpTo40 => id.len() <= 40,
            CallIds::Nine => id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        };
        match self.quirks.call_ids {
            _ if fits => Cow::Borrowed(id),
            CallIds::Nine => Cow::Owned(call_id::made([id])),
            CallIds::Any | CallIds::UpTo40 => Cow::Owned(format!("call_{}", call_id::made([id]))),
        }
    }

    /// Earlier thought, as far as the provider takes it back.
    fn replay(
        &mut self,
        at: usize,
        thoughts: &[&'a chat::Reasoning],
        calls: bool,
        message: &mut Message<'a>,
    ) {
        let text = || thoughts.iter().map(|thought| thought.text.as_str()).collect::<String>();
        match self.quirks.replay {
            Replay::ContentBesideCalls { none } if calls => {
                message.reasoning_content =
                    Some(text()).filter(|text| !text.is_empty()).or(Some(none.to_owned()));
            }
            Replay::Content | Replay::ContentBesideCalls { .. } => {
                message.reasoning_content = Some(text()).filter(|text| !text.is_empty());
            }
            Replay::Texts => {
                let text = text();
                if !text.is_empty() {
                    message.reasoning_details = vec![json!({
                        "type": "reasoning.text", "id": "reasoning-text-1", "format": "MiniMax-response-v1",
                        "index": 0, "text": text
                    })];
                }
            }
            Replay::Reasoning => message.reasoning = Some(text()).filter(|text| !text.is_empty()),
            Replay::Details { claude } => {
                message.reasoning_details =
                    thoughts.iter().flat_map(|thought| details(thought, claude)).collect();
                if message.reasoning_details.is_empty() && !claude {
                    message.reasoning = Some(text()).filter(|text| !text.is_empty());
                }
                for (index, detail) in message.reasoning_details.iter_mut().enumerate() {
                    detail["index"] = json!(index);
                }
            }
            Replay::Parts => {
                let text = text();
                message.thinking = (!text.is_empty()).then_some(text);
            }
            Replay::No => {}
        }
        let kept = match self.quirks.replay {
            Replay::Details { .. } if !message.reasoning_details.is_empty() => true,
            Replay::Details { claude: true } => false,
            Replay::No => false,
            _ => thoughts.iter().all(|thought| !thought.text.is_empty()),
        };
        if !kept && !thoughts.is_empty() {
            self.dropped.push(format!("messages[{at}].reasoning_content"));
        }
    }

    fn results(&mut self, at: usize, message: &'a chat::Message) -> Result<(), Error> {
        for (index, part) in message.parts.iter().enumerate() {
            let Part::ToolResult(result) = part else { continue };
            let field = format!("messages[{at}].content[{index}]");
            let (mut said, mut shown) = (Vec::new(), Vec::new());
            if result.is_error {
                said.push(ContentPart::text(TOOL_FAILED));
            }
            for part in &result.parts {
                match part {
                    Part::CachePoint(ttl) => self.mark(said.last_mut(), *ttl),
                    part => match self.part(part, &field)? {
                        Some(part @ ContentPart::Text { .. }) => said.push(part),
                        Some(part) => shown.push(part),
                        None => {}
                    },
                }
            }
            if !shown.is_empty() {
                if said.len() == usize::from(result.is_error) {
                    said.push(ContentPart::text("The result is in the user's next message."));
                }
                self.shown.push(ContentPart::text(format!("The result of the call {}:", result.call_id)));
                self.shown.append(&mut shown);
            }
            let content = if said.is_empty() { Content::Text(Cow::Borrowed("")) } else { Content::of(said) };
            self.push(Message {
                content: Some(content),
                tool_call_id: Some(self.call_id(&result.call_id)),
                ..Message::new("tool")
            });
        }
        Ok(())
    }

    /// Shows what was in tool results. Nothing may stand between results of the same answer.
    fn show(&mut self) {
        if !self.shown.is_empty() {
            let content = Some(Content::Parts(std::mem::take(&mut self.shown)));
            self.push(Message { content, ..Message::new("user") });
        }
    }

    fn mark(&self, part: Option<&mut ContentPart<'a>>, ttl: CacheTtl) {
        let Some(ContentPart::Text { cache_control, prompt_cache_breakpoint, .. }) = part else { return };
        match self.quirks.cache_marks {
            Marks::Anthropics => {
                let ttl = (ttl == CacheTtl::Hour).then_some("1h");
                *cache_control = Some(CacheControl { kind: "ephemeral", ttl });
            }
            Marks::No => {}
            Marks::OpenAis => *prompt_cache_breakpoint = Some(Breakpoint::of(ttl)),
        }
    }

    fn part(&self, part: &'a Part, field: &str) -> Result<Option<ContentPart<'a>>, Error> {
        Ok(match part {
            Part::File(file) => Some(self.file(file, field)?),
            Part::Image(image) => {
                let url = image.media.url();
                let detail = image.detail.map(Detail::as_str);
                Some(ContentPart::ImageUrl { image_url: ImageUrl { url, detail } })
            }
            Part::Refusal(text) | Part::Text(text) => Some(ContentPart::text(text.as_str())),
            Part::CachePoint(_) | Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) => None,
        })
    }

    /// A document. One that is text goes as text.
    fn file(&self, file: &'a chat::File, field: &str) -> Result<ContentPart<'a>, Error> {
        if let Some(text) = plain_text(file, field)? {
            return Ok(ContentPart::text(text));
        }
        let name = file.name.as_deref();
        let file_data = match (&file.media, self.quirks.files) {
            (Media::Data { media_type, data }, Files::ByContent | Files::ByContentOrAddress) => {
                Cow::Owned(format!("data:{media_type};base64,{data}"))
            }
            (Media::Url(url), Files::ByContentOrAddress) => Cow::Borrowed(url.as_str()),
            (Media::Url(_), Files::ByContent) => {
                let message = format!(
                    "`{field}` is a document by address, which this provider does not fetch. Send its content."
                );
                return Err(Error::unsupported(field, message));
            }
            (_, Files::No) => {
                let message = format!(
                    "`{field}` is a document, which this provider does not read. Send its text, or choose a \
                     model of another provider."
                );
                return Err(Error::unsupported(field, message));
            }
        };
        // The name is required.
        Ok(ContentPart::File { file: File { filename: name.unwrap_or("document.pdf"), file_data } })
    }
}

fn misplaced(field: &str) -> Error {
    let message =
        format!("`{field}` is an image or a document, which only the user can send here. Move it there.");
    Error::unsupported(field, message)
}

/// Blocks of thought as OpenRouter takes them back: Claude's, and those of others that came from it. A signature
/// of another provider's would be refused, and so would none.
fn details(thought: &chat::Reasoning, claude: bool) -> Vec<Value> {
    let signature = thought.signature.as_deref().unwrap_or_default();
    let mut details = Vec::new();
    if let Some(fields) = signature.strip_prefix(DETAIL_PREFIX) {
        let Ok(Value::Object(fields)) = serde_json::from_str(fields) else { return details };
        let format = fields.get("format").and_then(Value::as_str).unwrap_or_default();
        if !thought.text.is_empty() && !fields.contains_key("signature") {
            let (kind, name) = match format.contains("responses") {
                true => ("reasoning.summary", "summary"),
                false => ("reasoning.text", "text"),
            };
            details.push(json!({ "type": kind, name: thought.text, "format": format }));
        }
        let kind = if fields.contains_key("data") { "reasoning.encrypted" } else { "reasoning.text" };
        let mut detail = json!({ "type": kind });
        if kind == "reasoning.text" {
            detail["text"] = json!(thought.text);
        }
        for (name, value) in fields {
            detail[name] = value;
        }
        details.push(detail);
    } else if claude && !signature.is_empty() && is_claudes(signature) {
        details.push(json!({
            "type": "reasoning.text", "text": thought.text, "signature": signature, "format": CLAUDE
        }));
    }
    if let Some(data) = thought.redacted.as_ref().filter(|_| claude) {
        details.push(json!({ "type": "reasoning.encrypted", "data": data, "format": CLAUDE }));
    }
    details
}

const CLAUDE: &str = "anthropic-claude-v1";

// --- wire ---

/// The body's fields, in order.
struct Fields<'a>(Vec<(&'static str, Field<'a>)>);

impl<'a> Fields<'a> {
    fn add(&mut self, name: &'static str, value: impl Into<Field<'a>>) {
        self.0.push((name, value.into()));
    }

    fn add_some(&mut self, name: &'static str, value: Option<impl Into<Field<'a>>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Flag(bool),
    Fraction(f64),
    Integer(i64),
    Json(Value),
    Messages(Vec<Message<'a>>),
    Number(u64),
    Text(&'a str),
    Texts(&'a [String]),
    Tools(Vec<Tool<'a>>),
}

macro_rules! fields {
    ($($kind:ty => $field:ident),* $(,)?) => {
        $(impl<'a> From<$kind> for Field<'a> {
            fn from(value: $kind) -> Self {
                Self::$field(value)
            }
        })*
    };
}

fields! {
    &'a [String] => Texts,
    &'a str => Text,
    Value => Json,
    Vec<Message<'a>> => Messages,
    Vec<Tool<'a>> => Tools,
    bool => Flag,
    f64 => Fraction,
    i64 => Integer,
    u64 => Number,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    /// Null beside tool calls.
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Value>,
    /// Becomes the first part of the content.
    #[serde(skip)]
    thinking: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    prefix: bool,
}

impl Message<'_> {
    fn new(role: &'static str) -> Self {
        Self {
            role,
            content: None,
            reasoning_content: None,
            reasoning: None,
            reasoning_details: Vec::new(),
            thinking: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            prefix: false,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Parts(Vec<ContentPart<'a>>),
    Text(Cow<'a, str>),
}

impl<'a> Content<'a> {
    /// One text where nothing needs a list.
    fn of(mut parts: Vec<ContentPart<'a>>) -> Self {
        let plain = |part: &ContentPart<'_>| {
            matches!(part, ContentPart::Text { cache_control: None, prompt_cache_breakpoint: None, .. })
        };
        if !parts.iter().all(plain) {
            return Self::Parts(parts);
        }
        let mut texts = parts.drain(..).filter_map(|part| match part {
            ContentPart::Text { text, .. } => Some(text),
            _ => None,
        });
        let first = texts.next().unwrap_or_default();
        Self::Text(texts.fold(first, |all, text| Cow::Owned(format!("{all}\n\n{text}"))))
    }

    fn and(self, other: Self) -> Self {
        let mut parts = self.parts();
        parts.append(&mut other.parts());
        Self::of(parts)
    }

    fn parts(self) -> Vec<ContentPart<'a>> {
        match self {
            Self::Parts(parts) => parts,
            Self::Text(text) => vec![ContentPart::text(text)],
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    File {
        file: File<'a>,
    },
    ImageUrl {
        image_url: ImageUrl<'a>,
    },
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prompt_cache_breakpoint: Option<Breakpoint>,
    },
    /// Mistral's.
    Thinking {
        thinking: Value,
        closed: bool,
    },
}

impl<'a> ContentPart<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into(), cache_control: None, prompt_cache_breakpoint: None }
    }

    fn thought(text: String) -> Self {
        Self::Thinking { thinking: json!([{ "type": "text", "text": text }]), closed: true }
    }
}

#[derive(Serialize)]
struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

#[derive(Serialize)]
struct File<'a> {
    filename: &'a str,
    file_data: Cow<'a, str>,
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CallFunction<'a>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: ToolFunction<'a>,
}

#[derive(Serialize)]
struct ToolFunction<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{Message, Reasoning, Request, ToolCall, ToolResult},
        provider,
    };

    fn encoded(request: &Request, model: &str) -> Result<Encoded, Error> {
        let (provider, model) = provider::split(model).expect("a known provider");
        encode(
            request,
            &Target { provider, model, base_url: "https://x.test/v1", credential: Some("test-key") },
        )
    }

    /// The body, without the model, and what was dropped.
    fn body(request: &Request, model: &str) -> (String, Vec<String>) {
        let encoded = encoded(request, model).unwrap_or_else(|error| panic!("{model}: {error}"));
        let text = String::from_utf8(encoded.request.into_body().to_vec()).expect("UTF-8");
        let (_, rest) = text.split_once(',').expect("more than a model");
        (format!("{{{rest}"), encoded.dropped)
    }

    fn complaint(request: &Request, model: &str) -> (String, String) {
        match encoded(request, model) {
            Err(Error::Unsupported { param, message } | Error::Invalid { param: Some(param), message }) => {
                (param, message)
            }
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn message(role: Role, parts: Vec<Part>) -> Message {
        Message { role, parts }
    }

    fn asks(parts: Vec<Part>) -> Request {
        Request { messages: vec![message(Role::User, parts)], ..Request::default() }
    }

    fn picture() -> Part {
        Part::Image(Media::Data { media_type: "image/png".to_owned(), data: "aaaa".to_owned() }.into())
    }

    fn document(media_type: &str, data: &str) -> Part {
        let media = Media::Data { media_type: media_type.to_owned(), data: data.to_owned() };
        Part::File(chat::File { cited: false, name: Some("a.pdf".to_owned()), media })
    }

    fn call(id: &str, arguments: &str) -> Part {
        let (id, name, arguments) = (id.to_owned(), "add".to_owned(), arguments.to_owned());
        Part::ToolCall(ToolCall { id, name, arguments, signature: None })
    }

    fn result(id: &str, parts: Vec<Part>) -> Message {
        message(
            Role::Tool,
            vec![Part::ToolResult(ToolResult { call_id: id.to_owned(), parts, is_error: false })],
        )
    }

    fn thought(text: &str, signature: Option<&str>, redacted: Option<&str>) -> Part {
        let (signature, redacted) = (signature.map(str::to_owned), redacted.map(str::to_owned));
        Part::Reasoning(Reasoning { text: text.to_owned(), signature, redacted })
    }

    fn rich() -> Request {
        let tool = |name: &str, parameters| chat::Tool {
            cache: None,
            name: name.to_owned(),
            description: Some("Adds.".to_owned()),
            parameters,
            strict: Some(true),
        };
        Request {
            messages: vec![
                message(
                    Role::System,
                    vec![text("Be brief."), Part::CachePoint(CacheTtl::Hour), text("Be kind.")],
                ),
                message(Role::Developer, vec![text("No jokes.")]),
                message(
                    Role::User,
                    vec![
                        text("What is this?"),
                        picture(),
                        Part::Image(Media::Url("https://x/y.png".to_owned()).into()),
                    ],
                ),
                message(
                    Role::Assistant,
                    vec![thought("Hm", None, None), text("Let me"), call("c1", ""), call("c2", "{\"a\":1}")],
                ),
                result("c1", vec![text("3"), picture()]),
                result("c2", vec![text("4")]),
            ],
            tools: vec![tool("add", Some(json!({ "type": "object" }))), tool("now", None)],
            tool_choice: Some(ToolChoice::Function("add".to_owned())),
            parallel_tool_calls: Some(false),
            response_format: ResponseFormat::JsonSchema {
                name: "the answer".to_owned(),
                description: Some("d".to_owned()),
                schema: json!({ "type": "object", "b": 1, "a": 2 }),
                strict: Some(true),
            },
            max_output_tokens: Some(100),
            temperature: Some(0.5),
            top_p: Some(0.9),
            frequency_penalty: Some(0.1),
            presence_penalty: Some(0.0),
            seed: Some(7),
            stop: vec!["END".to_owned()],
            top_k: Some(5),
            stream: true,
            user: Some("u1".to_owned()),
            ..Request::default()
        }
    }

    #[test]
    fn a_rich_request_is_said_in_openais_words() {
        let encoded = encoded(&rich(), "openai/gpt-4.1").expect("sayable");
        assert_eq!(encoded.request.uri(), "https://x.test/v1/chat/completions");
        assert_eq!(encoded.request.headers()["authorization"], "Bearer test-key");
        assert_eq!(encoded.dropped, ["cache_control", "messages[3].reasoning_content", "top_k"]);
        let expected = concat!(
            r#"{"model":"gpt-4.1","messages":[{"role":"system","content":"Be brief.\n\nBe kind."},"#,
            r#"{"role":"developer","content":"No jokes."},"#,
            r#"{"role":"user","content":[{"type":"text","text":"What is this?"},"#,
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aaaa"}},"#,
            r#"{"type":"image_url","image_url":{"url":"https://x/y.png"}}]},"#,
            r#"{"role":"assistant","content":"Let me","tool_calls":["#,
            r#"{"id":"c1","type":"function","function":{"name":"add","arguments":"{}"}},"#,
            r#"{"id":"c2","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]},"#,
            r#"{"role":"tool","content":"3","tool_call_id":"c1"},{"role":"tool","content":"4","tool_call_id":"c2"},"#,
            r#"{"role":"user","content":[{"type":"text","text":"The result of the call c1:"},"#,
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aaaa"}}]}],"#,
            r#""tools":[{"type":"function","function":{"name":"add","description":"Adds.","parameters":{"type":"object"},"strict":true}},"#,
            r#"{"type":"function","function":{"name":"now","description":"Adds.","parameters":{"type":"object","properties":{}},"strict":true}}],"#,
            r#""tool_choice":{"type":"function","function":{"name":"add"}},"parallel_tool_calls":false,"#,
            r#""response_format":{"type":"json_schema","json_schema":{"name":"the_answer","schema":{"type":"object","b":1,"a":2},"description":"d","strict":true}},"#,
            r#""max_completion_tokens":100,"temperature":0.5,"top_p":0.9,"frequency_penalty":0.1,"seed":7,"user":"u1","#,
            r#""stop":["END"],"stream":true,"stream_options":{"include_usage":true}}"#,
        );
        assert_eq!(String::from_utf8_lossy(encoded.request.body()), expected);
    }

    #[test]
    fn each_provider_gets_only_what_it_takes() {
        let request = Request {
            max_output_tokens: Some(9),
            seed: Some(7),
            top_k: Some(5),
            presence_penalty: Some(1.0),
            temperature: Some(1.0),
            user: Some("u".to_owned()),
            stream: true,
            ..asks(vec![text("Hi")])
        };
        let all = r#""presence_penalty":1.0,"top_k":5,"seed":7,"user":"u","#;
        let usage = r#","stream_options":{"include_usage":true}"#;
        #[rustfmt::skip]
        let cases: [(&str, &str, &str, &str, &[&str]); 16] = [
            ("vllm/m", "max_tokens", all, usage, &[]),
            ("openrouter/m", "max_tokens", all, usage, &[]),
            ("mistral/m", "max_tokens", r#""presence_penalty":1.0,"top_k":5,"random_seed":7,"#, "", &["user"]),
            ("cerebras/m", "max_tokens", r#""seed":7,"user":"u","#, usage, &["presence_penalty", "top_k"]),
            ("groq/m", "max_tokens", r#""seed":7,"user":"u","#, usage, &["presence_penalty", "top_k"]),
            ("minimax/m", "max_tokens", r#""seed":7,"reasoning_split":true,"#, usage, &["presence_penalty", "top_k", "user"]),
            ("moonshot/kimi-k2.6", "max_tokens", r#""seed":7,"#, usage, &["presence_penalty", "top_k", "user"]),
            ("moonshot/moonshot-v1-8k", "max_tokens", r#""presence_penalty":1.0,"seed":7,"#, usage, &["top_k", "user"]),
            ("sambanova/m", "max_tokens", r#""top_k":5,"#, usage, &["presence_penalty", "seed", "user"]),
            ("zhipu/m", "max_tokens", "", usage, &["presence_penalty", "top_k", "seed", "user"]),
            ("xai/grok-3", "max_tokens", r#""presence_penalty":1.0,"seed":7,"user":"u","#, usage, &["top_k"]),
            ("perplexity/sonar", "max_tokens", r#""presence_penalty":1.0,"#, "", &["top_k", "seed", "user"]),
            ("deepseek/m", "max_tokens", r#""presence_penalty":1.0,"#, usage, &["top_k", "seed", "user"]),
            ("xai/m", "max_tokens", r#""seed":7,"user":"u","#, usage, &["presence_penalty", "top_k"]),
            ("openai/gpt-4o", "max_completion_tokens", r#""presence_penalty":1.0,"seed":7,"user":"u","#, usage, &["top_k"]),
            ("openai/gpt-5", "max_completion_tokens", r#""seed":7,"user":"u","#, usage, &["presence_penalty", "top_k"]),
        ];
        for (model, max_tokens, fields, end, lost) in cases {
            let (body, dropped) = body(&request, model);
            // Where there is no other, the default need not be said.
            let has_one = !["openai/gpt-5", "moonshot/kimi-k2.6"].contains(&model);
            let temperature = if has_one { r#""temperature":1.0,"# } else { "" };
            let expected = format!(
                r#"{{"messages":[{{"role":"user","content":"Hi"}}],"{max_tokens}":9,{temperature}{fields}"stream":true{end}}}"#
            );
            assert_eq!(
                (body, dropped),
                (expected, lost.iter().map(|&name| name.to_owned()).collect()),
                "{model}"
            );
        }
    }

    #[test]
    fn how_much_to_think_is_said_in_each_providers_way() {
        use Effort::{High, Low, Minimal, None as Off, XHigh};
        #[rustfmt::skip]
        let cases = [
            ("openai/gpt-5", Some(Minimal), None, r#""reasoning_effort":"minimal""#, false),
            ("openai/gpt-5.2", Some(XHigh), None, r#""reasoning_effort":"xhigh""#, false),
            ("openai/gpt-5", Some(Off), None, "", true),
            ("openai/o3", None, Some(10_000), r#""reasoning_effort":"medium""#, false),
            ("openai/gpt-4.1", Some(High), None, "", true),
            ("openai/gpt-4.1", Some(Off), None, "", false),
            ("deepseek/m", None, Some(0), r#""thinking":{"type":"disabled"}"#, false),
            ("deepseek/m", Some(XHigh), None, r#""thinking":{"type":"enabled"},"reasoning_effort":"max""#, false),
            ("openrouter/m", Some(Low), Some(2_000), r#""reasoning":{"max_tokens":2000}"#, false),
            ("openrouter/m", Some(Low), None, r#""reasoning":{"effort":"low"}"#, false),
            ("openrouter/m", None, Some(0), r#""reasoning":{"effort":"none"}"#, false),
            ("groq/qwen/qwen3-32b", Some(Low), None, r#""reasoning_format":"parsed","reasoning_effort":"default""#, false),
            ("groq/qwen/qwen3-32b", None, None, r#""reasoning_format":"parsed""#, false),
            ("groq/openai/gpt-oss-20b", Some(XHigh), None, r#""reasoning_effort":"high""#, false),
            ("mistral/m", Some(High), None, "", true),
            ("minimax/m", Some(High), None, r#""reasoning_split":true"#, true),
            ("moonshot/kimi-k2.6", Some(Off), None, r#""thinking":{"type":"disabled"}"#, false),
            ("moonshot/kimi-k2.7-code", Some(Low), None, "", true),
            ("moonshot/kimi-k3", Some(XHigh), None, r#""reasoning_effort":"high""#, false),
            ("moonshot/moonshot-v1-8k", Some(Low), None, "", true),
            ("vllm/m", Some(Off), None, "", true),
        ];
        for (model, reasoning_effort, reasoning_budget, fields, lost) in cases {
            let request = Request { reasoning_effort, reasoning_budget, ..asks(vec![text("Hi")]) };
            let (body, dropped) = body(&request, model);
            let comma = if fields.is_empty() { "" } else { "," };
            let expected = format!(r#"{{"messages":[{{"role":"user","content":"Hi"}}]{comma}{fields}}}"#);
            assert_eq!(
                (body, dropped),
                (expected, vec!["reasoning_effort".to_owned(); usize::from(lost)]),
                "{model}"
            );
        }
    }

    #[test]
    fn thought_is_hidden_in_each_providers_way_or_that_it_is_not_is_said() {
        let request = Request { thoughts: Some(false), ..asks(vec![text("Hi")]) };
        #[rustfmt::skip]
        let cases: [(&str, &str, &[&str]); 6] = [
            ("openai/gpt-5", "", &[]),
            ("groq/openai/gpt-oss-20b", r#","include_reasoning":false"#, &[]),
            ("groq/qwen/qwen3-32b", r#","reasoning_format":"hidden""#, &[]),
            ("openrouter/m", r#","reasoning":{"exclude":true}"#, &[]),
            ("deepseek/m", "", &["include_reasoning"]),
            ("vllm/m", "", &["include_reasoning"]),
        ];
        for (model, fields, lost) in cases {
            let expected = format!(r#"{{"messages":[{{"role":"user","content":"Hi"}}]{fields}}}"#);
            let lost = lost.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(body(&request, model), (expected, lost), "{model}");
        }
    }

    #[test]
    fn a_newer_model_takes_a_temperature_only_where_it_does_not_think() {
        let request =
            |reasoning_effort| Request { temperature: Some(0.2), reasoning_effort, ..asks(vec![text("Hi")]) };
        assert!(body(&request(Some(Effort::None)), "openai/gpt-5.2").0.contains(r#""temperature":0.2"#));
        assert_eq!(body(&request(None), "openai/gpt-5.2").1, ["temperature"]);
    }

    #[test]
    fn minimax_is_asked_for_its_thought_apart_and_gets_it_back_as_it_came() {
        let parts = vec![thought("a", Some("s"), None), thought("b", None, None), text("Hi")];
        let request = Request { messages: vec![message(Role::Assistant, parts)], ..Request::default() };
        let expected = concat!(
            r#""reasoning_details":[{"type":"reasoning.text","id":"reasoning-text-1","format":"MiniMax-response-v1","#,
            r#""index":0,"text":"ab"}]}],"reasoning_split":true}"#
        );
        let (body, dropped) = body(&request, "minimax/m");
        assert!(body.ends_with(expected), "{body}");
        assert_eq!(dropped, Vec::<String>::new());
    }

    #[test]
    fn thought_goes_back_to_those_who_take_it() {
        let parts = vec![
            thought("a", Some("s"), None),
            thought("", None, Some("xyz")),
            thought("b", Some("google:t"), None),
            text("Hi"),
        ];
        let request = Request { messages: vec![message(Role::Assistant, parts)], ..Request::default() };
        let note = "messages[0].reasoning_content";
        let details = concat!(
            r#","reasoning_details":[{"type":"reasoning.text","text":"a","signature":"s","format":"anthropic-claude-v1","index":0},"#,
            r#"{"type":"reasoning.encrypted","data":"xyz","format":"anthropic-claude-v1","index":1}]"#
        );
        #[rustfmt::skip]
        let cases: [(&str, &str, &[&str]); 6] = [
            ("deepseek/m", r#","reasoning_content":"ab""#, &[note]),
            ("fireworks/m", r#","reasoning_content":"ab""#, &[note]),
            ("vllm/m", r#","reasoning":"ab""#, &[note]),
            ("openrouter/openai/gpt-5", r#","reasoning":"ab""#, &[note]),
            ("openrouter/anthropic/claude-opus-4", details, &[]),
            ("openai/gpt-5", "", &[note]),
        ];
        for (model, fields, lost) in cases {
            let (body, dropped) = body(&request, model);
            let expected = format!(r#"{{"messages":[{{"role":"assistant","content":"Hi"{fields}}}]}}"#);
            assert_eq!(
                (body.as_str(), dropped),
                (expected.as_str(), lost.iter().map(|&name| name.to_owned()).collect()),
                "{model}"
            );
        }
    }

    #[test]
    fn what_a_provider_cannot_be_told_of_calls_is_refused_or_named() {
        let tools = vec![chat::Tool { name: "add".to_owned(), ..chat::Tool::default() }];
        let one = Request { tools, parallel_tool_calls: Some(false), ..asks(vec![text("Hi")]) };
        for model in ["moonshot/m", "openai/gpt-4.1"] {
            let (body, dropped) = body(&one, model);
            assert!(dropped.is_empty() && body.contains(r#""parallel_tool_calls":false"#), "{model}");
        }
        assert_eq!(complaint(&one, "zhipu/m").0, "parallel_tool_calls");
        let none = Request { tool_choice: Some(ToolChoice::None), ..one.clone() };
        assert_eq!(body(&none, "zhipu/m").1, ["parallel_tool_calls"]);
        let some = Request { tool_choice: Some(ToolChoice::Required), ..one };
        assert_eq!(complaint(&some, "moonshot/kimi-k2.6").0, "tool_choice");
        assert!(body(&some, "openai/gpt-4.1").0.contains(r#""tool_choice":"required""#));
        let stops = Request { stop: vec!["a".to_owned(), "b".to_owned()], ..asks(vec![text("Hi")]) };
        assert_eq!(complaint(&stops, "zhipu/m").0, "stop");
        assert!(body(&stops, "cerebras/m").0.contains(r#""stop":["a","b"]"#));
    }

    #[test]
    fn moonshot_gets_a_blank_beside_a_call_where_there_was_no_thought() {
        let messages = vec![message(Role::Assistant, vec![call("c1", "{}")]), result("c1", vec![])];
        let request = Request { messages, ..Request::default() };
        for (model, told) in [("moonshot/kimi-k2.6", true), ("moonshot/moonshot-v1-8k", false)] {
            assert_eq!(body(&request, model).0.contains(r#""reasoning_content":" ""#), told, "{model}");
        }
    }

    #[test]
    fn deepseek_gets_thought_beside_every_call_even_if_there_was_none() {
        let messages = vec![message(Role::Assistant, vec![call("c1", "{}")]), result("c1", vec![])];
        let (body, dropped) = body(&Request { messages, ..Request::default() }, "deepseek/m");
        assert_eq!(
            body,
            concat!(
                r#"{"messages":[{"role":"assistant","content":null,"reasoning_content":"","tool_calls":["#,
                r#"{"id":"c1","type":"function","function":{"name":"add","arguments":"{}"}}]},"#,
                r#"{"role":"tool","content":"","tool_call_id":"c1"}]}"#
            )
        );
        assert_eq!(dropped, Vec::<String>::new());
    }

    #[test]
    fn an_id_that_does_not_fit_is_changed_the_same_way_in_call_and_result() {
        let long = "functions.add:0-".repeat(3);
        let cases = [
            ("openai/m", "short", true),
            ("openai/m", &long, false),
            ("vllm/m", &long, true),
            ("mistral/m", "abcDEF123", true),
            ("mistral/m", "call_1", false),
        ];
        for (model, id, kept) in cases {
            let messages = vec![message(Role::Assistant, vec![call(id, "{}")]), result(id, vec![text("1")])];
            let (body, _) = body(&Request { messages, ..Request::default() }, model);
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let sent = body["messages"][0]["tool_calls"][0]["id"].as_str().expect("an id");
            assert_eq!(body["messages"][1]["tool_call_id"], sent);
            assert_eq!(sent == id, kept, "{model} {id}: {sent}");
            assert!(sent.len() == 9 || !model.starts_with("mistral"), "{sent}");
            assert!(sent.len() <= 40 || !model.starts_with("openai"), "{sent}");
        }
    }

    #[test]
    fn who_wants_order_gets_order() {
        let messages = vec![
            message(Role::User, vec![text("a")]),
            message(Role::Developer, vec![text("s")]),
            message(Role::User, vec![text("b"), picture()]),
            message(Role::Assistant, vec![text("c")]),
            message(Role::Assistant, vec![text("d")]),
        ];
        let request = Request { messages, ..Request::default() };
        assert_eq!(
            body(&request, "perplexity/sonar").0,
            concat!(
                r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"},"#,
                r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aaaa"}}]},{"role":"assistant","content":"c\n\nd"}]}"#
            )
        );
        let roles = |model| {
            let body: Value = serde_json::from_str(&body(&request, model).0).expect("JSON");
            let roles = body["messages"].as_array().expect("a list").iter();
            roles.map(|message| message["role"].as_str().expect("a role").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(roles("mistral/m"), ["system", "user", "user", "assistant", "assistant"]);
        assert_eq!(roles("groq/m"), ["user", "system", "user", "assistant", "assistant"]);
    }

    #[test]
    fn the_prompt_cache_is_marked_where_there_are_marks() {
        let request = asks(vec![
            text("a"),
            Part::CachePoint(CacheTtl::Hour),
            text("b"),
            Part::CachePoint(CacheTtl::Short),
        ]);
        assert_eq!(
            body(&request, "openrouter/m").0,
            concat!(
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}},"#,
                r#"{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]}]}"#
            )
        );
        assert_eq!(body(&request, "groq/m").0, r#"{"messages":[{"role":"user","content":"a\n\nb"}]}"#);
    }

    #[test]
    fn a_document_is_sent_as_a_file_or_as_its_text() {
        let pdf = asks(vec![document("application/pdf", "aaaa")]);
        let file = r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,aaaa"}}]}]}"#;
        assert_eq!(body(&pdf, "openai/gpt-5").0, file);
        assert_eq!(body(&pdf, "openrouter/m").0, file);
        let plain = asks(vec![document("text/plain", "SGk=")]);
        assert_eq!(body(&plain, "groq/m").0, r#"{"messages":[{"role":"user","content":"a.pdf:\n\nHi"}]}"#);

        let (field, message) = complaint(&pdf, "groq/m");
        assert_eq!(field, "messages[0].content[0]");
        assert_eq!(
            message,
            "`messages[0].content[0]` is a document, which this provider does not read. Send its text, or choose a model of another provider."
        );
        let address = asks(vec![Part::File(chat::File {
            cited: false,
            name: None,
            media: Media::Url("https://x/y.pdf".to_owned()),
        })]);
        assert_eq!(complaint(&address, "openai/m").0, "messages[0].content[0]");
        assert!(body(&address, "openrouter/m").0.contains(r#""file_data":"https://x/y.pdf""#));
        assert_eq!(
            complaint(&asks(vec![document("text/plain", "/w==")]), "openai/m").0,
            "messages[0].content[0]"
        );
    }

    #[test]
    fn what_cannot_be_said_is_refused_by_its_field() {
        let stop = Request { stop: vec!["x".to_owned(); 5], ..asks(vec![text("Hi")]) };
        assert_eq!(complaint(&stop, "openai/m").0, "stop");
        assert!(body(&stop, "vllm/m").0.contains(r#""stop":["x","x","x","x","x"]"#));
        for role in [Role::Assistant, Role::System] {
            let request =
                Request { messages: vec![message(role, vec![text("a"), picture()])], ..Request::default() };
            assert_eq!(complaint(&request, "openai/m").0, "messages[0].content[1]");
        }
        let extra = chat::Extra { name: "n".to_owned(), value: json!(2), instead: Some("Ask twice.") };
        assert_eq!(complaint(&Request { extra: vec![extra], ..asks(vec![text("Hi")]) }, "openai/m").0, "n");
    }

    #[test]
    fn a_picture_alone_in_a_result_is_shown_before_anything_else_is_said() {
        let messages = vec![
            message(Role::Assistant, vec![call("c1", "{}")]),
            message(
                Role::User,
                vec![
                    text("And?"),
                    Part::ToolResult(ToolResult {
                        call_id: "c1".to_owned(),
                        parts: vec![picture()],
                        is_error: false,
                    }),
                ],
            ),
        ];
        let (body, _) = body(&Request { messages, ..Request::default() }, "openai/m");
        let (_, rest) = body.split_once(r#"{"role":"tool""#).expect("a result");
        assert_eq!(
            rest,
            concat!(
                r#","content":"The result is in the user's next message.","tool_call_id":"c1"},"#,
                r#"{"role":"user","content":[{"type":"text","text":"The result of the call c1:"},"#,
                r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aaaa"}}]},{"role":"user","content":"And?"}]}"#
            )
        );
    }

    #[test]
    fn without_tools_nothing_is_said_of_them() {
        let request = Request {
            tool_choice: Some(ToolChoice::None),
            parallel_tool_calls: Some(false),
            ..asks(vec![text("Hi")])
        };
        assert_eq!(body(&request, "openai/m").0, r#"{"messages":[{"role":"user","content":"Hi"}]}"#);
        let tool = chat::Tool {
            cache: None,
            name: "f".to_owned(),
            description: None,
            parameters: None,
            strict: Some(true),
        };
        let request = Request { tools: vec![tool], tool_choice: Some(ToolChoice::Required), ..request };
        assert!(body(&request, "mistral/m").0.contains(r#""tool_choice":"any""#));
        assert_eq!(body(&request, "xai/m").1, ["tools[0].function.strict"]);
    }
}
