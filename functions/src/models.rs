//! What models this key may ask for, in the words of the protocol the caller speaks.

use std::collections::BTreeSet;

use bytes::Bytes;
use gateway::{
    Error, Host,
    auth::{self, Caller},
    call::{self, Incoming, setting_name},
    credential,
    plan::{self, Choice},
};
use http::Response;
use llm::{
    capability::{self, Facts},
    demo,
    dialect::{chat_completions::ChatCompletions, generate_content::GenerateContent, messages::Messages},
    operation::{Chat, CountTokens},
    price,
    provider::{Api, Auth, Grant, PROVIDERS},
};
use serde_json::{Map, Value, json};

use crate::route::{json_response, list_of};

/// `GET /v1/models` and `GET /v1beta/models`, or one model of them; nothing if the path is another. A refusal is in the
/// caller's protocol as well.
pub(crate) async fn answer<H: Host>(path: &str, incoming: &Incoming, host: &H) -> Option<Response<Bytes>> {
    let (version, rest) = path.strip_prefix('/')?.split_once('/')?;
    let name = match rest.strip_prefix("models")? {
        "" => None,
        rest => Some(rest.strip_prefix('/')?),
    };
    let headers = incoming.headers();
    let shape = match version {
        "v1beta" => Shape::Gemini,
        // Google's newer clients leave out the `beta`.
        "v1" if headers.contains_key("x-goog-api-key") => Shape::Gemini,
        "v1" if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") => {
            Shape::Anthropic
        }
        "v1" => Shape::OpenAi,
        _ => return None,
    };
    let answered = match name {
        None => list(shape, incoming, host).await,
        Some(name) => find(shape, name, incoming, host).await,
    };
    Some(match answered {
        Ok(body) => json_response(200, &body),
        Err(error) => {
            if let Some(cause) = error.cause() {
                host.log(&format!("GET {path}: {cause}"));
            }
            match shape {
                Shape::Anthropic => call::error_in(&Chat(&Messages), &error, None),
                Shape::Gemini => call::error_in(&Chat(&GenerateContent), &error, None),
                Shape::OpenAi => call::error_in(&Chat(&ChatCompletions), &error, None),
            }
        }
    })
}

/// Whose list it is to look like.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Anthropic,
    Gemini,
    OpenAi,
}

/// The tenant's aliases, then the known models of every provider, as far as they are set up here and the key may use
/// them. A provider may serve models that are not listed.
async fn list<H: Host>(shape: Shape, incoming: &Incoming, host: &H) -> Result<Value, Error> {
    let now_ms = host.now_ms();
    let caller = auth::authenticate(host, incoming, now_ms).await?;
    let mut models = names(&caller, host);
    // Who speaks a protocol of chat sees what can chat.
    models.retain(|name| shape == Shape::OpenAi || facts(name, &caller).chats());
    let query = incoming.uri().query().unwrap_or_default();
    let shown = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| model(shape, name, &caller, now_ms)).collect()
    };
    Ok(match shape {
        Shape::OpenAi => list_of(shown(&models)),
        Shape::Anthropic => {
            let limit = size(query, "limit", 20)?;
            let place = |field: &'static str| -> Result<Option<usize>, Error> {
                let Some(id) = value(query, field) else { return Ok(None) };
                let at = models.iter().position(|name| *name == id);
                at.map(Some).ok_or_else(|| wrong(field, "must be the id of a listed model"))
            };
            let (page, has_more) = match (place("after_id")?, place("before_id")?) {
                (_, Some(before)) => {
                    let start = before.saturating_sub(limit);
                    (&models[start..before], start > 0)
                }
                (after, None) => {
                    let rest = &models[after.map_or(0, |after| after + 1)..];
                    (&rest[..limit.min(rest.len())], limit < rest.len())
                }
            };
            json!({
                "data": shown(page), "has_more": has_more, "first_id": page.first(), "last_id": page.last(),
            })
        }
        Shape::Gemini => {
            let limit = size(query, "pageSize", 50)?;
            let start = match value(query, "pageToken") {
                None => 0,
                Some(token) => {
                    let start = token.parse().ok().filter(|start| *start <= models.len());
                    start
                        .ok_or_else(|| wrong("pageToken", "must be the nextPageToken of an earlier answer"))?
                }
            };
            let end = models.len().min(start + limit);
            let mut answer = json!({ "models": shown(&models[start..end]) });
            if end < models.len() {
                answer["nextPageToken"] = end.to_string().into();
            }
            answer
        }
    })
}

/// One model, if the key may use it and a provider that has it is set up here.
async fn find<H: Host>(shape: Shape, name: &str, incoming: &Incoming, host: &H) -> Result<Value, Error> {
    let now_ms = host.now_ms();
    let caller = auth::authenticate(host, incoming, now_ms).await?;
    let name = decoded(name);
    let choices = plan::plan(&name, &caller)?;
    let mut missing = choices.iter().map(|choice| credential::check(host, choice));
    // The first one's says as much as any other's.
    let first = missing.next().unwrap_or(Ok(()));
    if !missing.any(|found| found.is_ok()) {
        first?;
    }
    Ok(model(shape, &name, &caller, now_ms))
}

fn names<H: Host>(caller: &Caller, host: &H) -> Vec<String> {
    let is_set_up = |choice: &Choice<'_>| credential::check(host, choice).is_ok();
    let is_served = |name: &&String| plan::targets(name, caller).iter().any(is_set_up);
    let mut names: Vec<String> = caller.aliases.keys().filter(is_served).cloned().collect();
    let mut served = BTreeSet::new();
    for provider in PROVIDERS {
        let named = |model: &str| format!("{}/{model}", provider.name);
        if provider.api == Api::Demo {
            served.extend(demo::MODELS.map(named));
            continue;
        }
        // Of a machine of one's own nobody knows what is on it, unless it is named.
        let is_its = |suffix: &str| host.setting(&setting_name(provider.name, suffix)).is_some();
        let is_named = provider.auth != Auth::Optional || is_its("API_KEY") || is_its("BASE_URL");
        // At Google's, what is set decides which of the models can be called.
        let may = |model: &str| is_set_up(&Choice { provider, model });
        let each = provider.grant == Some(Grant::Google);
        if is_named && (each || may("")) {
            let known = price::models(provider.name);
            let known = known.into_iter().chain(capability::models(provider.name).map(str::to_owned));
            served.extend(known.filter(|model| !each || may(model)).map(|model| named(&model)));
        }
    }
    names.extend(served);
    names.retain(|name| plan::plan(name, caller).is_ok());
    names
}

/// What is known of every target the name stands for.
fn facts(name: &str, caller: &Caller) -> Facts {
    let choices = plan::plan(name, caller).unwrap_or_default();
    let mut facts = choices.iter().map(|choice| capability::find(choice.provider.name, choice.model));
    let first = facts.next().unwrap_or_default();
    facts.fold(first, |common, other| common.common(&other))
}

/// Whether one of the targets the name stands for counts tokens.
fn counts(name: &str, caller: &Caller) -> bool {
    let choices = plan::plan(name, caller).unwrap_or_default();
    choices.iter().any(|choice| CountTokens::counts(choice.provider, choice.model))
}

fn model(shape: Shape, name: &str, caller: &Caller, now_ms: i64) -> Value {
    let facts = facts(name, caller);
    let mut fields = Map::new();
    let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    match shape {
        Shape::Anthropic => {
            set("type", "model".into());
            set("id", name.into());
            set("display_name", name.into());
            // Anthropic's word for a date that is not known.
            set("created_at", EPOCH.into());
            set("max_input_tokens", facts.context.into());
            set("max_tokens", facts.max_output.into());
            set("capabilities", Value::Null);
            set("line", Value::Null);
            set("deprecated_at", Value::Null);
            let lifecycle = if facts.retires_soon(now_ms).is_some() { "deprecated" } else { "active" };
            set("lifecycle", lifecycle.into());
            set("retires_at", facts.retires.map(|day| format!("{day}T00:00:00Z")).into());
        }
        Shape::Gemini => {
            set("name", format!("models/{name}").into());
            set("displayName", name.into());
            let methods: &[&str] = match (facts.chats(), counts(name, caller)) {
                (true, true) => &["generateContent", "countTokens"],
                (true, false) => &["generateContent"],
                (false, _) => &[],
            };
            set("supportedGenerationMethods", methods.into());
            if let Some(tokens) = facts.context {
                set("inputTokenLimit", tokens.into());
            }
            if let Some(tokens) = facts.max_output {
                set("outputTokenLimit", tokens.into());
            }
        }
        Shape::OpenAi => {
            let owner = name.split_once('/').map_or("hypergate", |(provider, _)| provider);
            set("id", name.into());
            set("object", "model".into());
            // No provider tells when a model was made, and the field is required.
            set("created", 0.into());
            set("owned_by", owner.into());
            let words = |known: &[(u8, &'static str)]| -> Vec<&'static str> {
                known
                    .iter()
                    .filter(|(letter, _)| facts.has(*letter) == Some(true))
                    .map(|(_, word)| *word)
                    .collect()
            };
            let more = [
                ("kind", facts.kind().map(Value::from)),
                ("context_window", facts.context.map(Value::from)),
                ("max_output_tokens", facts.max_output.map(Value::from)),
                ("retires", facts.retires.map(Value::from)),
                ("supports", facts.kind().map(|_| words(SUPPORTS).into())),
            ];
            for (field, value) in more {
                if let Some(value) = value {
                    set(field, value);
                }
            }
        }
    }
    Value::Object(fields)
}

/// A number of entries from 1 to 1,000, as both Anthropic and Google bound it.
fn size(query: &str, field: &'static str, default: usize) -> Result<usize, Error> {
    let Some(text) = value(query, field) else { return Ok(default) };
    let size = text.parse().ok().filter(|size| (1..=1000).contains(size));
    size.ok_or_else(|| wrong(field, "must be a number from 1 to 1000"))
}

fn wrong(field: &str, what: &str) -> Error {
    llm::Error::invalid(field, format!("`{field}` {what}.")).into()
}

fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| decoded(value)).next()
}

/// SDKs send the slash of `provider/model` escaped, and some the colon and the at sign of a model's name.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for (escaped, plain) in [("%2F", "/"), ("%2f", "/"), ("%3A", ":"), ("%3a", ":"), ("%40", "@")] {
        text = text.replace(escaped, plain);
    }
    text
}

const EPOCH: &str = "1970-01-01T00:00:00Z";

/// What a model is known to have, in the list's words.
const SUPPORTS: &[(u8, &str)] = &[
    (b't', "tools"),
    (b'j', "json_schema"),
    (b'r', "reasoning"),
    (b'v', "image_input"),
    (b'f', "file_input"),
    (b'a', "audio_input"),
    (b'm', "video_input"),
    (b's', "audio_output"),
    (b'p', "image_output"),
];
