//! What a request must be bent into before a protocol can say it, and how its answer is bent back.
//!
//! - A tool's name that the target refuses is replaced by one it takes and nobody else has, always by the same one,
//!   and comes back as the caller's own.
//! - Where an answer cannot be bound to a JSON schema, or to be JSON at all, a tool with that schema, or one of any object, stands in for it: the model is made
//!   to call it, and what it calls it with is the answer's text. Text before the call is no part of it; where the
//!   model does not call it after all, its text is all there is.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

use serde_json::json;

use super::{Decoder, Dialect, Encoded};
use crate::{
    Error, Target, capability,
    chat::{Event, FinishReason, Part, Request, ResponseFormat, Tool, ToolChoice},
};

/// What names of tools a protocol takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolNames {
    /// How many characters at most.
    pub longest: usize,
    /// What may stand in them besides letters, digits and `_`.
    pub besides: &'static str,
    /// Whether a digit or one of those may come first.
    pub any_first: bool,
}

/// What OpenAI takes, and those who follow it.
pub(super) const OPENAI_NAMES: ToolNames = ToolNames { longest: 64, besides: "-", any_first: true };

impl ToolNames {
    fn take(self, name: &str) -> bool {
        let fits =
            |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || self.besides.contains(letter);
        let begins = |letter: char| self.any_first || letter.is_ascii_alphabetic() || letter == '_';
        (1..=self.longest).contains(&name.len()) && name.chars().all(fits) && name.starts_with(begins)
    }

    /// A name that is taken, of the same beginning. Two that begin alike are told apart by their ends.
    fn made_of(self, name: &str) -> String {
        let fits =
            |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || self.besides.contains(letter);
        let begins = |letter: char| self.any_first || letter.is_ascii_alphabetic() || letter == '_';
        // FNV-1a: the same name becomes the same one in every request.
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = name.bytes().fold(0x811c_9dc5, mix);
        let mut made: String = name.chars().map(|letter| if fits(letter) { letter } else { '_' }).collect();
        if !made.starts_with(begins) {
            made.insert(0, 't');
        }
        made.truncate(self.longest.saturating_sub(DIGEST));
        format!("{made}_{hash:08x}")
    }
}

/// What was changed, and is to be undone in the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bent {
    /// Names as they were sent, and as the caller has them.
    names: BTreeMap<String, String>,
    /// The tool whose arguments are the answer, by the name it was sent under.
    answers: Option<Answers>,
}

#[derive(Debug, Clone, PartialEq)]
struct Answers {
    tool: String,
    /// The index of its call, once it was called.
    call: Option<u32>,
    /// Text that is the answer only if the tool is never called.
    held: Vec<Event>,
}

/// The unified request as this target wants it, bent into what it can say.
pub fn encode(dialect: &dyn Dialect, request: &Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let mut bent = Bent::default();
    let mut request = Cow::Borrowed(request);
    let is_bound = match request.response_format {
        ResponseFormat::JsonObject => !dialect.lacks_json(),
        ResponseFormat::JsonSchema { .. } => {
            !dialect.lacks_schema(&request, target) && !capability::lacks_schema(target)
        }
        ResponseFormat::Text => true,
    };
    if !is_bound {
        bent.answer_by_tool(request.to_mut());
    }
    let names = dialect.tool_names(target);
    if spoken(&request).any(|name| !names.take(name)) {
        bent.rename(request.to_mut(), names);
    }
    let encoded = dialect.encode(&request, target)?;
    Ok(Encoded { bent, ..encoded })
}

/// All names of tools in the request.
fn spoken(request: &Request) -> impl Iterator<Item = &str> {
    let called = request.messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::ToolCall(call) => Some(call.name.as_str()),
        _ => None,
    });
    request.tools.iter().map(|tool| tool.name.as_str()).chain(called)
}

impl Bent {
    fn rename(&mut self, request: &mut Request, names: ToolNames) {
        // Names that stay, and those that were made.
        let answers = self.answers.as_ref().map(|answers| answers.tool.as_str());
        let mut taken: BTreeSet<String> =
            spoken(request).chain(answers).filter(|name| names.take(name)).map(str::to_owned).collect();
        let mut made = BTreeMap::<String, String>::new();
        let mut change = |name: &mut String| {
            if names.take(name) {
                return;
            }
            let sent = made.entry(name.clone()).or_insert_with(|| {
                let mut sent = names.made_of(name);
                while !taken.insert(sent.clone()) {
                    sent = names.made_of(&format!("{sent}_"));
                }
                sent
            });
            let own = std::mem::replace(name, sent.clone());
            self.names.entry(name.clone()).or_insert(own);
        };
        let called =
            request.messages.iter_mut().flat_map(|message| &mut message.parts).filter_map(
                |part| match part {
                    Part::ToolCall(call) => Some(&mut call.name),
                    _ => None,
                },
            );
        let mut all: Vec<&mut String> =
            request.tools.iter_mut().map(|tool| &mut tool.name).chain(called).collect();
        if let Some(ToolChoice::Function(name)) = &mut request.tool_choice {
            all.push(name);
        }
        all.into_iter().for_each(&mut change);
        if let Some(answers) = &mut self.answers {
            change(&mut answers.tool);
        }
    }

    /// Lets a tool take the response format's place.
    fn answer_by_tool(&mut self, request: &mut Request) {
        let (name, description, schema, strict) = match take(&mut request.response_format) {
            ResponseFormat::JsonSchema { name, description, schema, strict } => {
                (name, description, schema, strict)
            }
            ResponseFormat::JsonObject => {
                let told = "Its arguments are the JSON object that was asked for, with whatever fields it is to have.";
                (String::new(), Some(told.to_owned()), json!({ "type": "object" }), None)
            }
            ResponseFormat::Text => return,
        };
        let mut tool = if name.is_empty() { "answer".to_owned() } else { name };
        while request.tools.iter().any(|other| other.name == tool) {
            tool.push('_');
        }
        let may_call = !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None);
        if !may_call {
            request.tools.clear();
            // There is but one to be called, and one answer.
            request.parallel_tool_calls = None;
        }
        request.tool_choice = Some(match request.tool_choice.take() {
            Some(choice @ ToolChoice::Function(_)) if may_call => choice,
            _ if may_call => ToolChoice::Required,
            _ => ToolChoice::Function(tool.clone()),
        });
        let told = description.as_deref().unwrap_or_default();
        request.tools.push(Tool {
            name: tool.clone(),
            description: Some(format!("Gives the final answer. {told}").trim_end().to_owned()),
            parameters: Some(schema),
            strict,
            cache: None,
        });
        self.answers = Some(Answers { tool, call: None, held: Vec::new() });
    }

    /// Whether there is nothing to undo.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The answer's events, as the caller's request would have led to.
    pub fn undo(&mut self, events: &mut Vec<Event>) {
        for event in events.iter_mut() {
            if let Event::ToolCall { name, .. } = event
                && let Some(own) = self.names.get(name)
                && self.answers.as_ref().is_none_or(|answers| answers.tool != *name)
            {
                name.clone_from(own);
            }
        }
        if let Some(answers) = &mut self.answers {
            let all = take(events);
            all.into_iter().for_each(|event| answers.undo(event, events));
        }
    }

    /// Reads a streamed answer and undoes as it goes.
    pub fn decoder(self, inner: Box<dyn Decoder>) -> Box<dyn Decoder> {
        if self.is_nothing() { inner } else { Box::new(Undoing { inner, bent: self, fresh: Vec::new() }) }
    }
}

impl Answers {
    fn undo(&mut self, event: Event, events: &mut Vec<Event>) {
        match event {
            Event::ToolCall { index, name, .. } if name == self.tool && self.call.is_none() => {
                self.call = Some(index);
                self.held.clear();
            }
            Event::ToolArguments { index, text } if self.call == Some(index) => {
                events.push(Event::Text(text))
            }
            Event::ToolArguments { index, text } => {
                events.push(Event::ToolArguments { index: self.shifted(index), text });
            }
            Event::ToolCall { index, id, name, signature } => {
                events.append(&mut self.held);
                events.push(Event::ToolCall { index: self.shifted(index), id, name, signature });
            }
            // Nothing of the answer, once the answer is there.
            Event::Citation(_) | Event::Logprobs(_) | Event::Refusal(_) | Event::Text(_) => {
                if self.call.is_none() {
                    self.held.push(event);
                }
            }
            Event::Finish { reason: FinishReason::ToolCalls, native } if self.call.is_some() => {
                events.push(Event::Finish { reason: FinishReason::Stop, native });
            }
            Event::Finish { .. } | Event::Error(_) => {
                events.append(&mut self.held);
                events.push(event);
            }
            other => events.push(other),
        }
    }

    /// The index of another call, as if this one were not among them.
    fn shifted(&self, index: u32) -> u32 {
        if self.call.is_some_and(|call| call < index) { index - 1 } else { index }
    }
}

struct Undoing {
    inner: Box<dyn Decoder>,
    bent: Bent,
    fresh: Vec<Event>,
}

impl Decoder for Undoing {
    fn feed(&mut self, chunk: &[u8], events: &mut Vec<Event>) {
        self.inner.feed(chunk, &mut self.fresh);
        self.bent.undo(&mut self.fresh);
        events.append(&mut self.fresh);
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        self.inner.finish(&mut self.fresh);
        self.bent.undo(&mut self.fresh);
        events.append(&mut self.fresh);
    }
}

/// Characters of what tells made names apart, and of the line before it.
const DIGEST: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::ToolCall, provider};

    fn text(text: &str) -> Event {
        Event::Text(text.to_owned())
    }

    fn call(index: u32, name: &str) -> Event {
        Event::ToolCall { index, id: format!("c{index}"), name: name.to_owned(), signature: None }
    }

    fn arguments(index: u32, text: &str) -> Event {
        Event::ToolArguments { index, text: text.to_owned() }
    }

    fn finish(reason: FinishReason) -> Event {
        Event::Finish { reason, native: "x".to_owned() }
    }

    fn tool(name: &str) -> Tool {
        Tool { name: name.to_owned(), ..Tool::default() }
    }

    #[test]
    fn a_tool_of_any_object_stands_in_for_json_without_a_schema() {
        let request = Request {
            model: "m".to_owned(),
            messages: vec![crate::chat::Message {
                role: crate::chat::Role::User,
                parts: vec![Part::Text("Hi".to_owned())],
            }],
            response_format: ResponseFormat::JsonObject,
            ..Request::default()
        };
        for (name, model, stands_in) in [
            ("anthropic", "claude-sonnet-4-5", true),
            ("bedrock", "us.amazon.nova-pro-v1:0", true),
            ("openai", "gpt-5", false),
            ("gemini", "gemini-2.5-flash", false),
        ] {
            let provider = provider::find(name).expect("listed");
            let target = Target { provider, model, base_url: "http://x", credential: None };
            let encoded = encode(provider.api.dialect(), &request, &target).expect(name);
            assert_eq!(!encoded.bent.is_nothing(), stands_in, "{name}");
            let mut bent = encoded.bent;
            let mut events = vec![
                text("Let me see."),
                call(0, "answer"),
                arguments(0, r#"{"a":1}"#),
                finish(FinishReason::ToolCalls),
            ];
            bent.undo(&mut events);
            if stands_in {
                assert_eq!(events, [text(r#"{"a":1}"#), finish(FinishReason::Stop)], "{name}");
            }
        }
    }

    #[test]
    fn a_name_that_does_not_fit_becomes_one_that_does_and_no_two_the_same() {
        let gemini = ToolNames { longest: 64, besides: "-.", any_first: false };
        let long = "mcp__a_server_with_a_long_name__and_a_tool_with_a_name_that_is_longer_still";
        let names = ["a.b", "a:b", "a b", "", "9lives", "gr\u{fc}n", long, &format!("{long}s"), "-x"];
        for rule in [OPENAI_NAMES, gemini] {
            let made: Vec<String> = names.iter().map(|name| rule.made_of(name)).collect();
            for (at, name) in made.iter().enumerate() {
                assert!(rule.take(name), "{name}");
                assert!(!made[..at].contains(name), "{name}");
            }
        }
        assert!(gemini.take("a.b") && !gemini.take("9lives") && !OPENAI_NAMES.take("a.b"));
        assert_eq!(OPENAI_NAMES.made_of("a.b"), OPENAI_NAMES.made_of("a.b"));
    }

    #[test]
    fn two_names_that_would_become_one_stay_two() {
        // Of the same letters where they fit, and of the same hash.
        let mut seen = std::collections::HashMap::new();
        let odd = ['.', ':', '/', ' ', '+', '*', '!', '?', '=', '(', ')', ',', ';', '<', '>', '@'];
        let spelled = |number: usize| (0..6).map(|at| odd[(number >> (4 * at)) % 16]).collect::<String>();
        let mut twins = None;
        for number in 0..1 << 24 {
            let name = spelled(number);
            if let Some(twin) = seen.insert(OPENAI_NAMES.made_of(&name), name.clone()) {
                twins = Some([twin, name]);
                break;
            }
        }
        let [one, other] = twins.expect("there are more names than hashes");
        // And one that is called what another would become.
        let taken = OPENAI_NAMES.made_of("a.b");
        let own = [&one, &other, "a.b", &taken];
        let mut request =
            Request { tools: own.iter().map(|name| tool(name)).collect(), ..Request::default() };
        let mut bent = Bent::default();
        bent.rename(&mut request, OPENAI_NAMES);
        let sent: Vec<String> = request.tools.into_iter().map(|tool| tool.name).collect();
        assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), own.len(), "{sent:?}");
        assert!(sent.iter().all(|name| OPENAI_NAMES.take(name)), "{sent:?}");
        assert_eq!(sent[3], taken);
        let mut events: Vec<Event> = (0..).zip(&sent).map(|(index, name)| call(index, name)).collect();
        bent.undo(&mut events);
        let back: Vec<Event> = (0..).zip(own).map(|(index, name)| call(index, name)).collect();
        assert_eq!(events, back);
    }

    #[test]
    fn names_are_changed_everywhere_in_the_request_and_back_in_the_answer() {
        let past = ToolCall { id: "c".to_owned(), name: "old.tool".to_owned(), ..ToolCall::default() };
        let mut request = Request {
            messages: vec![crate::chat::Message {
                role: crate::chat::Role::Assistant,
                parts: vec![Part::ToolCall(past)],
            }],
            tools: vec![tool("a.b"), tool("fine")],
            tool_choice: Some(ToolChoice::Function("a.b".to_owned())),
            ..Request::default()
        };
        let mut bent = Bent::default();
        bent.rename(&mut request, OPENAI_NAMES);
        let sent = OPENAI_NAMES.made_of("a.b");
        assert_eq!(request.tools[0].name, sent);
        assert_eq!(request.tools[1].name, "fine");
        assert_eq!(request.tool_choice, Some(ToolChoice::Function(sent.clone())));
        assert!(spoken(&request).all(|name| OPENAI_NAMES.take(name)));
        let mut events = vec![call(0, &sent), call(1, "fine")];
        bent.undo(&mut events);
        assert_eq!(events, [call(0, "a.b"), call(1, "fine")]);
    }

    /// Bends a request for this form and these tools; undoes an answer event by event.
    fn answered(tools: &[&str], events: &[Event]) -> (Request, Vec<Event>) {
        let mut request = Request {
            tools: tools.iter().map(|name| tool(name)).collect(),
            response_format: ResponseFormat::JsonSchema {
                name: "form".to_owned(),
                description: None,
                schema: serde_json::json!({ "type": "object" }),
                strict: Some(true),
            },
            ..Request::default()
        };
        let mut bent = Bent::default();
        bent.answer_by_tool(&mut request);
        let undone = events.iter().flat_map(|event| {
            let mut fresh = vec![event.clone()];
            bent.undo(&mut fresh);
            fresh
        });
        let undone = undone.collect();
        (request, undone)
    }

    #[test]
    fn a_forced_tool_stands_in_for_a_schema_and_its_arguments_are_the_text() {
        let said = [
            text("Here it is:"),
            call(0, "form"),
            arguments(0, "{\"a\":"),
            arguments(0, "1}"),
            finish(FinishReason::ToolCalls),
        ];
        let (request, undone) = answered(&[], &said);
        assert_eq!(request.tool_choice, Some(ToolChoice::Function("form".to_owned())));
        assert_eq!(request.response_format, ResponseFormat::Text);
        assert_eq!(undone, [text("{\"a\":"), text("1}"), finish(FinishReason::Stop)]);
        // A refusal in words is all there is.
        let said = [text("I "), text("won't."), finish(FinishReason::Stop)];
        assert_eq!(answered(&[], &said).1, said);
    }

    #[test]
    fn beside_other_tools_the_model_may_call_or_answer() {
        let said =
            [text("Let me see."), call(0, "look"), arguments(0, "{}"), finish(FinishReason::ToolCalls)];
        let (request, undone) = answered(&["look", "form"], &said);
        assert_eq!(request.tool_choice, Some(ToolChoice::Required));
        assert_eq!(request.tools.last().map(|tool| tool.name.as_str()), Some("form_"));
        assert_eq!(undone, said);
        let said = [call(0, "form_"), arguments(0, "{}"), call(1, "look"), arguments(1, "{}")];
        let undone = answered(&["look", "form"], &said).1;
        let look =
            Event::ToolCall { index: 0, id: "c1".to_owned(), name: "look".to_owned(), signature: None };
        assert_eq!(undone, [text("{}"), look, arguments(0, "{}")]);
    }

    #[test]
    fn it_is_only_done_where_it_must_be() {
        let request = |tools: &[&str]| answered(tools, &[]).0.tools.len();
        assert_eq!((request(&[]), request(&["look"])), (1, 2));
        let cases = [
            ("anthropic/claude-3-5-haiku-20241022", true, true),
            ("anthropic/claude-opus-4-1", false, false),
            ("anthropic/claude-sonnet-4-5", false, false),
            ("bedrock/amazon.nova-pro-v1:0", true, true),
            ("bedrock/us.anthropic.claude-3-7-sonnet-20250219-v1:0", true, true),
            ("bedrock/mistral.mistral-large-2402-v1:0", true, true),
            ("bedrock/openai.gpt-oss-120b-1:0", false, false),
            ("cohere/command-a-03-2025", false, true),
            ("deepseek/deepseek-chat", true, true),
            ("gemini/gemini-2.5-flash", false, true),
            ("gemini/gemini-3-flash-preview", false, false),
            ("groq/llama-3.3-70b-versatile", true, true),
            ("groq/openai/gpt-oss-20b", false, true),
            ("openai/gpt-5", false, false),
            ("zhipu/glm-4.6", true, true),
        ];
        for (name, alone, beside_tools) in cases {
            let (provider, model) = provider::split(name).expect("a known provider");
            let target = Target { provider, model, base_url: "https://x.test", credential: None };
            let lacks = |tools: &[&str]| {
                let request =
                    Request { tools: tools.iter().map(|name| tool(name)).collect(), ..Request::default() };
                provider.api.dialect().lacks_schema(&request, &target)
            };
            assert_eq!((lacks(&[]), lacks(&["look"])), (alone, beside_tools), "{name}");
        }
    }
}
