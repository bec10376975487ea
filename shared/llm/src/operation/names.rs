//! Fields that are left out, in the words of who sent them. Dialects name them as Chat Completions does.

use crate::{
    chat::{Message, Request, Role},
    provider::Api,
};

/// The name as callers of this protocol have it. What they said in fields of their own is called so already.
pub(super) fn own(api: Api, request: &Request, name: String) -> String {
    let Some(words) = WORDS.iter().find(|words| words.api == api) else { return name };
    if let Some((message, rest)) = name.strip_prefix("messages[").and_then(|rest| rest.split_once("].")) {
        let thought = if rest.ends_with(".extra_content") {
            words.signature
        } else if rest == "reasoning_content" {
            words.thought
        } else {
            return name;
        };
        let at =
            message.parse().ok().filter(|_| api != Api::Responses).map(|at| place(&request.messages, at));
        return format!("{}[{}].{thought}", words.messages, at.map_or(String::new(), |at| at.to_string()));
    }
    if let Some((tool, "function.strict")) =
        name.strip_prefix("tools[").and_then(|rest| rest.split_once("]."))
    {
        return words.strict.replace('#', tool);
    }
    let (field, rest) = name.split_at(name.find(':').unwrap_or(name.len()));
    let own = words.fields.iter().find(|(ours, _)| *ours == field);
    own.map(|(_, own)| format!("{own}{rest}")).unwrap_or(name)
}

/// Which of the caller's messages became this one: instructions stand elsewhere, and what tools gave back came in one
/// message with what the user said then.
fn place(messages: &[Message], at: usize) -> usize {
    let lead = messages.iter().take_while(|message| message.role == Role::System).count();
    let said = messages.get(lead..=at).unwrap_or_default();
    let joined =
        |pair: &&[Message]| pair[0].role == Role::Tool && matches!(pair[1].role, Role::Tool | Role::User);
    said.len().saturating_sub(1) - said.windows(2).filter(joined).count()
}

struct Words {
    api: Api,
    messages: &'static str,
    /// Thought in a message.
    thought: &'static str,
    /// The signature of a call in it.
    signature: &'static str,
    /// That arguments must follow the schema of tool `#`.
    strict: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

const WORDS: [Words; 4] = [
    Words {
        api: Api::Converse,
        messages: "messages",
        thought: "content[].reasoningContent",
        signature: "content[].reasoningContent",
        strict: "toolConfig.tools[#].toolSpec.strict",
        fields: &[
            ("cache_control", "cachePoint"),
            ("max_tokens", "inferenceConfig.maxTokens"),
            ("service_tier", "serviceTier"),
            ("temperature", "inferenceConfig.temperature"),
            ("top_p", "inferenceConfig.topP"),
        ],
    },
    Words {
        api: Api::GenerateContent,
        messages: "contents",
        thought: "parts[].thought",
        signature: "parts[].thoughtSignature",
        strict: "tools[#].functionDeclarations",
        fields: &[
            ("frequency_penalty", "generationConfig.frequencyPenalty"),
            ("image_url.detail", "mediaResolution"),
            ("include_reasoning", "generationConfig.thinkingConfig.includeThoughts"),
            ("max_tokens", "generationConfig.maxOutputTokens"),
            ("presence_penalty", "generationConfig.presencePenalty"),
            ("reasoning_effort", "generationConfig.thinkingConfig"),
            ("seed", "generationConfig.seed"),
            ("service_tier", "serviceTier"),
            ("temperature", "generationConfig.temperature"),
            ("top_k", "generationConfig.topK"),
            ("top_p", "generationConfig.topP"),
        ],
    },
    Words {
        api: Api::Messages,
        messages: "messages",
        thought: "content[].thinking",
        signature: "content[].signature",
        strict: "tools[#].strict",
        fields: &[
            ("include_reasoning", "thinking.display"),
            ("parallel_tool_calls", "tool_choice.disable_parallel_tool_use"),
            ("reasoning_effort", "thinking"),
            ("user", "metadata.user_id"),
        ],
    },
    Words {
        api: Api::Responses,
        messages: "input",
        thought: "encrypted_content",
        signature: "encrypted_content",
        strict: "tools[#].strict",
        fields: &[
            ("image_url.detail", "input_image.detail"),
            ("include_reasoning", "reasoning.summary"),
            ("max_tokens", "max_output_tokens"),
            ("reasoning_effort", "reasoning.effort"),
            ("response_format.json_schema.description", "text.format.description"),
            ("verbosity", "text.verbosity"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_named_as_its_caller_calls_it_and_counted_as_it_counts() {
        use Role::{Assistant, System, Tool, User};
        let roles = [System, User, Assistant, Tool, Tool, User, Assistant];
        let messages = roles.map(|role| Message { role, parts: Vec::new() }).to_vec();
        let request = Request { messages, ..Request::default() };
        let signature = "messages[6].tool_calls[0].extra_content";
        for (api, name, expected) in [
            (Api::ChatCompletions, signature, signature),
            (Api::GenerateContent, signature, "contents[3].parts[].thoughtSignature"),
            (Api::GenerateContent, "messages[2].reasoning_content", "contents[1].parts[].thought"),
            (Api::GenerateContent, "max_tokens: beyond 9", "generationConfig.maxOutputTokens: beyond 9"),
            (Api::GenerateContent, "safetySettings", "safetySettings"),
            (Api::Converse, "messages[6].reasoning_content", "messages[3].content[].reasoningContent"),
            (Api::Converse, "tools[1].function.strict", "toolConfig.tools[1].toolSpec.strict"),
            (Api::Messages, "messages[0].content[1].x", "messages[0].content[1].x"),
            (Api::Messages, "user", "metadata.user_id"),
            (Api::Responses, "messages[2].reasoning_content", "input[].encrypted_content"),
            (Api::Responses, "reasoning_effort", "reasoning.effort"),
        ] {
            assert_eq!(own(api, &request, name.to_owned()), expected);
        }
    }
}
