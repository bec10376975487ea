//! The traps of translating between providers, each with the test that shows it is known.
//!
//! [`TRAPS`] is the list to check for completeness: what is missing from it is not tested. A test of it is a function
//! anywhere in the sources, or a case among the fixtures, with its folder where others have a case of this name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{collections::BTreeSet, fs, path::Path};

use llm::{
    ErrorClass, Target, Usage,
    chat::{Event, FinishReason, Message, Part, Request, Role, Tool, ToolChoice},
    dialect::{
        Dialect, chat_completions::ChatCompletions, cohere::Cohere, converse::Converse,
        generate_content::GenerateContent, messages::Messages, responses::Responses,
    },
    eventstream,
    front::{Front, Head, Peek},
    provider,
    relay::{Ending, Relay, Summary},
    translate::Translate,
};
use serde_json::{Value, json};

/// What goes wrong where, and the test that it does not here.
const TRAPS: &[(&str, &str)] = &[
    // Ends.
    ("every provider has its own words for an end", "each_providers_word_for_an_end_is_known_and_kept"),
    ("Gemini says STOP beside calls", "each_providers_word_for_an_end_is_known_and_kept"),
    ("xAI says nothing, or an empty word, beside calls", "each_providers_word_for_an_end_is_known_and_kept"),
    ("Together and Fireworks say eos", "each_providers_word_for_an_end_is_known_and_kept"),
    ("Zhipu says network_error and sensitive", "each_providers_word_for_an_end_is_known_and_kept"),
    ("Cohere's ERROR is no end", "each_providers_word_for_an_end_is_known_and_kept"),
    ("a malformed call looks like success", "malformed-function-call"),
    // Streams.
    ("usage comes in a last chunk without choices", "c1_usage_of_a_stream_is_read_wherever_it_comes"),
    ("usage comes in a chunk with choices", "c1_usage_in_a_chunk_that_has_choices_is_counted_and_passed_on"),
    ("usage must be asked for", "c1_usage_is_asked_for_wherever_it_does_not_come_by_itself"),
    (
        "a chunk of usage alone is shown only to who asked",
        "c1_usage_is_always_asked_for_and_its_own_chunk_shown_only_to_callers_who_asked",
    ),
    ("Groq has it in x_groq", "c1_usage_of_a_stream_is_read_wherever_it_comes"),
    ("Moonshot has it in a choice", "c1_usage_of_a_stream_is_read_wherever_it_comes"),
    ("and again where it was asked for", "usage-in-a-choice-and-after"),
    ("Azure begins with chunks without choices", "what_surrounds_an_answer_is_passed_over"),
    ("chunks are padded with obfuscation", "what_surrounds_an_answer_is_passed_over"),
    ("comments keep a connection alive", "what_surrounds_an_answer_is_passed_over"),
    ("events may have no blank line between them", "what_surrounds_an_answer_is_passed_over"),
    (
        "a failure before the first word can still go elsewhere",
        "c5_an_error_in_the_first_chunk_falls_back_because_nothing_went_out_yet",
    ),
    ("a filter's error comes inside a 200", "a_failure_in_a_good_answer_is_a_failure"),
    ("OpenRouter fails in mid-stream with a chunk", "a_failure_in_a_good_answer_is_a_failure"),
    ("Claude fails in mid-stream with an event", "error-overloaded-midway"),
    ("Bedrock fails in mid-stream with a frame", "a_failure_in_a_stream_is_the_last_thing_in_it"),
    ("Claude counts input first and output last", "usage-grows"),
    ("Responses has no [DONE]", "the_end_and_its_reason_are_told"),
    ("item ids and indexes must agree", "a_stream_says_each_step_and_ends_with_the_whole"),
    ("Gemini without alt=sse is one list", "a_stream_as_events_and_as_a_list"),
    ("lines end in CRLF", "lines-end-in-crlf"),
    ("Amazon's frames have checksums", "any_changed_byte_is_noticed_and_nothing_follows"),
    ("a block's index is not its call's", "converse/parallel-tool-use"),
    ("Cohere's billed units are not its tokens", "usage_is_what_is_charged_or_else_what_was_read"),
    ("a chunk ends anywhere, in a character too", "every_cut_of_a_stream_gives_the_same_events"),
    ("a stream that is cut looks finished", "a_stream_that_is_cut_is_an_error_in_every_protocol"),
    ("calls all have index 0, or none", "calls_are_told_apart_however_they_are_counted"),
    ("arguments may be empty", "requests/empty-arguments"),
    ("one event without an end fills the memory", "an_event_without_an_end_is_given_up"),
    ("Ollama has lines, objects as arguments, and no ids", "a_request_is_said_in_ollamas_words"),
    ("and its lines may be cut anywhere", "every_cut_of_a_stream_gives_the_same_events"),
    // OpenAI.
    ("developer or system", "a_rich_request_is_said_in_openais_words"),
    ("max_completion_tokens, and no sampling where a model thinks", "each_provider_gets_only_what_it_takes"),
    (
        "cached tokens are inside the prompt's",
        "c2_cached_tokens_are_in_the_input_once_whoever_counts_and_whoever_is_told",
    ),
    ("reasoning tokens are inside the completion's", "every_place_and_name_is_read"),
    ("a call is known by call_id, not id", "a_whole_answer_gives_the_events_of_its_stream"),
    (
        "encrypted reasoning must go back unchanged",
        "a_tool_loop_with_thought_goes_on_for_every_caller_with_every_provider",
    ),
    ("previous_response_id needs a memory", "what_needs_a_memory_or_a_built_in_tool_is_refused"),
    ("built-in tools are the provider's own", "what_needs_a_memory_or_a_built_in_tool_is_refused"),
    // Claude.
    ("max_tokens is required", "requests/text"),
    ("turns alternate", "merged-turns"),
    ("results come first in their turn", "tool-result-after-text"),
    ("parallel calls are switched off by the inverse word", "one-tool-call-at-a-time"),
    ("thinking excludes forced tools", "reasoning-and-forced-tool"),
    ("a budget is below max_tokens", "reasoning-budget-below-max-tokens"),
    ("white space is no stop sequence", "stop-blank"),
    ("text must not be empty", "empty-text"),
    ("input leaves out what a cache had a part in", "messages/usage-with-cache"),
    ("an hour's cache costs more than five minutes'", "messages/usage-with-cache"),
    ("thought is signed and must go back first and unchanged", "reasoning-replay"),
    ("redacted thought goes back too", "redacted-thinking"),
    ("529 is overloaded", "error-529"),
    ("newer models think adaptively", "a_models_ways_are_read_off_its_name"),
    ("versions and betas are headers", "of_the_headers_only_versions_and_betas_go_along"),
    (
        "an account or a project could be chosen by a header",
        "of_a_callers_headers_a_provider_sees_what_is_on_its_list",
    ),
    (
        "a beta that a cloud does not know fails the call",
        "callers_of_messages_reach_claude_on_bedrock_with_their_own_bytes",
    ),
    ("a beta that no provider knows is no failure", "a_beta_nobody_there_knows_is_named_and_no_failure"),
    // Gemini.
    ("roles are user and model, one turn each", "merged-turns"),
    ("a result needs the function's name", "gemini-thought-signatures"),
    ("schemas of its own are not JSON Schema", "types_become_json_schema"),
    ("five stop texts at most", "gemini_takes_five_stop_texts_and_no_sixth"),
    ("a budget up to 2.5, a level from 3 on", "effort_becomes_what_the_model_understands"),
    ("thought signatures must come back with their parts", "gemini-thought-signatures"),
    ("a conversation begun elsewhere has none", "gemini-foreign-history"),
    ("thoughts are outside the candidates' tokens", "thoughts"),
    ("tools' own prompt is outside the prompt's tokens", "tool-use-tokens"),
    ("calls may have no ids, or the same twice", "tool-call-same-id-twice"),
    ("a blocked prompt is a 200 without candidates", "prompt-blocked"),
    (
        "and is passed on to who speaks Gemini",
        "a_blocked_prompt_is_passed_on_to_who_speaks_gemini_and_on_record_as_filtered",
    ),
    ("the wait is in the body", "generate_content/error-429"),
    ("a schema and tools exclude each other before 3", "it_is_only_done_where_it_must_be"),
    // Vertex.
    (
        "a token is asked for, and lasts an hour",
        "a_service_account_is_given_one_token_for_many_calls_and_a_new_one_in_time",
    ),
    (
        "a location has an address of its own",
        "claude_and_gemini_on_vertex_are_each_asked_in_their_own_protocol",
    ),
    (
        "Claude's version is in the body, and its model is not",
        "claude_and_gemini_on_vertex_are_each_asked_in_their_own_protocol",
    ),
    (
        "a key is good for Gemini, at one address",
        "a_key_of_vertexs_is_for_gemini_and_says_its_project_itself",
    ),
    // Azure.
    ("the deployment is in the path, the version in the query", "azures_older_addresses_name_the_deployment"),
    ("a deployment's name is not its model's", "azure_costs_what_the_model_behind_the_deployment_costs"),
    (
        "a filtered prompt is a 400 with more inside",
        "azures_content_filter_and_its_wait_in_milliseconds_are_understood",
    ),
    ("the wait is in milliseconds", "azures_content_filter_and_its_wait_in_milliseconds_are_understood"),
    // Bedrock.
    (
        "a model's ARN is encoded twice to be signed",
        "awkward_requests_have_the_signatures_of_amazons_own_library",
    ),
    ("tools are required where some were called", "what_a_choice_of_tools_becomes"),
    ("there is no none among tool choices", "what_a_choice_of_tools_becomes"),
    (
        "names of tools are short and of few letters",
        "a_tools_name_that_the_provider_refuses_comes_back_as_the_callers",
    ),
    ("documents have names of their own and text beside them", "a_rich_request_is_written"),
    ("blank text is refused", "a_rich_request_is_written"),
    (
        "cache points stand between blocks",
        "other_models_get_no_cache_points_and_documents_get_words_beside_them",
    ),
    ("thought is in additional fields", "each_maker_gets_thought_and_sampling_in_its_own_words"),
    ("the kind of a failure is in a header", "answers_have_the_headers_the_protocols_own_clients_look_for"),
    ("a 400 may wrap the provider's own failure", "failures_are_classified_by_header_or_body"),
    ("a stream's exception has no status", "a_failure_in_a_stream_is_the_last_thing_in_it"),
    (
        "Titan takes one text, and counts in a header",
        "titan_takes_one_text_a_request_and_the_answer_is_one_list_in_order",
    ),
    ("five documents a message at most, of 4.5 MB each", "bedrock_takes_five_documents_and_none_too_large"),
    ("a model that took too long is a 408 or a 424", "a_model_that_took_too_long_is_a_timeout"),
    ("some models know no schema", "a_schema_is_kept_by_a_forced_tool_where_the_provider_has_nothing_else"),
    // Mistral.
    (
        "required is any, seed is random_seed, and unknown fields are refused",
        "mistral_gets_no_field_it_does_not_know",
    ),
    ("a wish for usage is a 422", "a_wish_for_usage_does_not_go_where_it_is_refused"),
    (
        "ids are nine letters and digits",
        "ids_of_calls_stay_apart_and_tied_to_their_results_in_the_letters_each_provider_takes",
    ),
    ("only a tool's message may have a name", "mistrals_messages_have_no_names_and_a_begun_answer_is_marked"),
    (
        "an answer that was begun must say `prefix`",
        "mistrals_messages_have_no_names_and_a_begun_answer_is_marked",
    ),
    ("thought is a part of the content", "thought_is_found_in_every_place_and_never_doubled"),
    ("instructions come first", "who_wants_order_gets_order"),
    // Cohere.
    ("p, k, stop_sequences, strict_tools", "a_rich_request_keeps_all_it_can"),
    ("only REQUIRED and NONE", "what_cohere_says_otherwise_is_translated_or_reported"),
    ("bounds of sampling are narrower", "what_cohere_says_otherwise_is_translated_or_reported"),
    // Those who speak Chat Completions.
    (
        "DeepSeek wants its thought beside every call",
        "deepseek_gets_thought_beside_every_call_even_if_there_was_none",
    ),
    ("DeepSeek's thinking forces no tool", "deepseek_does_not_think_where_a_tool_is_forced"),
    ("DeepSeek counts cache hits by another name", "every_place_and_name_is_read"),
    ("402 is no credit", "a_402_is_a_quota_in_every_protocol"),
    ("a wrong key, a filter, no money: all may be a 400", "every_providers_refusals_are_told_apart"),
    ("Kimi has one temperature", "each_provider_gets_only_what_it_takes"),
    (
        "Moonshot wants a word of thought beside every call",
        "moonshot_gets_a_blank_beside_a_call_where_there_was_no_thought",
    ),
    (
        "Moonshot's models cannot be made to call",
        "what_a_provider_cannot_be_told_of_calls_is_refused_or_named",
    ),
    ("xAI counts reasoning apart", "every_place_and_name_is_read"),
    ("xAI's thinking models refuse stop", "some_refuse_what_others_take"),
    (
        "and penalties, and none of them knows `strict`",
        "xai_gets_no_penalty_where_it_thinks_and_never_strict",
    ),
    ("xAI, OpenRouter and Perplexity tell what it cost", "every_place_and_name_is_read"),
    (
        "OpenRouter's reasoning_details must come back",
        "a_tool_loop_with_thought_goes_on_for_every_caller_with_every_provider",
    ),
    (
        "OpenRouter's cache marks stand in the parts, four at most",
        "the_prompt_cache_is_marked_where_there_are_marks",
    ),
    ("Together's callers put a schema beside `json_object`", "a_schema_beside_json_object_is_not_lost"),
    ("Fireworks takes a model's whole name", "fireworks_is_asked_for_a_model_by_its_whole_name"),
    ("Perplexity alternates strictly", "who_wants_order_gets_order"),
    ("Perplexity has no tools", "some_refuse_what_others_take"),
    ("Perplexity's sources are a list of its own", "a_refusal_and_sources_are_told"),
    ("vLLM says reasoning or reasoning_content", "thought_is_found_in_every_place_and_never_doubled"),
    ("Workers AI ends after 256 tokens unasked", "some_refuse_what_others_take"),
    ("older models at Groq know no schema", "it_is_only_done_where_it_must_be"),
    ("newer ones know it only without tools and streams", "it_is_only_done_where_it_must_be"),
    ("an effort has other steps everywhere", "how_much_to_think_is_said_in_each_providers_way"),
    // Across.
    (
        "the same protocol is passed on byte for byte",
        "the_callers_own_bytes_go_to_a_provider_that_speaks_the_same",
    ),
    (
        "what is dropped has a name, what matters is refused",
        "a_generated_request_reads_the_same_again_or_says_what_it_lost",
    ),
    ("several answers at once have no place in a stream of events", "n-two"),
    ("ids are unique, legal and come back", "ids_of_calls_come_back_as_the_provider_gave_them"),
    ("errors are told in the caller's shape", "a_refusal_reads_as_one_in_every_protocol"),
    ("a wait is never cut short", "c9_retry_after_and_rate_limit_headers_come_through_and_are_not_ignored"),
    ("a hang-up still has a record", "c4_a_hang_up_is_recorded_with_what_was_received"),
];

/// What needs nothing here, and why.
const NOT_HERE: &[(&str, &str)] = &[
    (
        "OpenRouter's HTTP-Referer and X-Title",
        "They only rank applications. Of a caller's headers none goes on that would tell a third party who it is.",
    ),
    (
        "Workers AI's envelope of result, success and errors",
        "It is that of `/ai/run`; here its address is the one that speaks Chat Completions, `/ai/v1`.",
    ),
];

#[test]
fn what_needs_nothing_here_is_so() {
    assert!(NOT_HERE.iter().all(|(_, reason)| reason.ends_with('.')));
    let attributed = [("http-referer", "https://a.test"), ("x-title", "A")]
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    let headers: http::HeaderMap = attributed.into_iter().collect();
    for model in ["openrouter/m", "workers-ai/@cf/m"] {
        let (provider, model) = provider::split(model).unwrap();
        let target = Target { provider, model, base_url: provider.base_url, credential: None };
        let body = br#"{"model":"x","messages":[]}"#;
        let peek = ChatCompletions.peek("", body).unwrap();
        let sent = ChatCompletions.forward(body, &peek, &headers, &target).unwrap().request;
        assert!(
            ["http-referer", "x-title"].iter().all(|name| !sent.headers().contains_key(*name)),
            "{sent:?}"
        );
        assert!(!sent.uri().path().contains("/run"), "{sent:?}");
    }
}

#[test]
fn gemini_takes_five_stop_texts_and_no_sixth() {
    let stops =
        |count: usize| Request { stop: (0..count).map(|at| format!("END{at}")).collect(), ..asking() };
    let five = sent(&stops(5), "gemini/gemini-2.5-flash").unwrap();
    assert_eq!(five["generationConfig"]["stopSequences"].as_array().unwrap().len(), 5);
    let six = sent(&stops(6), "gemini/gemini-2.5-flash").unwrap_err();
    assert!(matches!(&six, llm::Error::Unsupported { param, .. } if param == "stop"), "{six}");
}

#[test]
fn bedrock_takes_five_documents_and_none_too_large() {
    let asks = |count: usize, bytes: usize| {
        let media = llm::chat::Media::Data {
            media_type: "application/pdf".to_owned(),
            data: "A".repeat(bytes / 3 * 4),
        };
        let file = llm::chat::File { name: None, cited: false, media };
        Request {
            messages: vec![Message { role: Role::User, parts: vec![Part::File(file); count] }],
            ..Request::default()
        }
    };
    for (count, bytes, taken) in [(5, 3, true), (6, 3, false), (1, 4_500_000, true), (1, 4_800_000, false)] {
        match sent(&asks(count, bytes), "bedrock/anthropic.claude-sonnet-4-6") {
            Ok(_) => assert!(taken, "{count} of {bytes}"),
            Err(llm::Error::Unsupported { param, .. }) => {
                assert!(!taken && param.starts_with("messages"), "{count} of {bytes}")
            }
            Err(other) => panic!("{count} of {bytes}: {other}"),
        }
    }
}

#[test]
fn a_model_that_took_too_long_is_a_timeout() {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-amzn-errortype", http::HeaderValue::from_static("ModelTimeoutException"));
    let error =
        dialect("converse").error(408, &headers, br#"{"message":"The request took too long to process."}"#);
    assert_eq!(error.class, ErrorClass::Timeout);
    let error = dialect("converse").error(408, &http::HeaderMap::new(), b"");
    assert_eq!(error.class, ErrorClass::Timeout);
}

#[test]
fn mistrals_messages_have_no_names_and_a_begun_answer_is_marked() {
    let body = br#"{"model":"x","max_tokens":9,"messages":[{"role":"user","content":"Two and two?"},{"role":"assistant","content":"Four, as"}]}"#;
    let peek = Messages.peek("/v1/messages", body).unwrap();
    let request = Messages.parse(&peek, body).unwrap();
    let begun = sent(&request, "mistral/mistral-large-latest").unwrap();
    assert_eq!(begun["messages"][1], json!({ "role": "assistant", "content": "Four, as", "prefix": true }));
    let named = br#"{"model":"x","messages":[{"role":"user","name":"ann","content":"Hi"},{"role":"assistant","name":"bob","content":"Hi"},{"role":"user","content":"Well?"}]}"#;
    let peek = ChatCompletions.peek("", named).unwrap();
    let request = ChatCompletions.parse(&peek, named).unwrap();
    for model in ["mistral/mistral-large-latest", "groq/m"] {
        let sent = sent(&request, model).unwrap();
        for message in sent["messages"].as_array().unwrap() {
            assert!(message.get("prefix").is_none(), "{model}: {message}");
            assert!(message.get("name").is_none(), "{model}: {message}");
        }
    }
}

#[test]
fn xai_gets_no_penalty_where_it_thinks_and_never_strict() {
    let tool = Tool { name: "f".to_owned(), strict: Some(true), ..Tool::default() };
    let request =
        Request { tools: vec![tool], frequency_penalty: Some(0.5), presence_penalty: Some(0.5), ..asking() };
    for (model, penalised) in [("xai/grok-4", false), ("xai/grok-3", true)] {
        let sent = sent(&request, model).unwrap();
        assert_eq!(sent.get("frequency_penalty").is_some(), penalised, "{model}");
        assert_eq!(sent.get("presence_penalty").is_some(), penalised, "{model}");
        assert!(sent["tools"][0]["function"].get("strict").is_none(), "{model}");
    }
}

#[test]
fn a_schema_beside_json_object_is_not_lost() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
    let body = json!({ "model": "x", "messages": [{ "role": "user", "content": "Hi" }],
        "response_format": { "type": "json_object", "schema": schema } })
    .to_string();
    let peek = ChatCompletions.peek("", body.as_bytes()).unwrap();
    let request = ChatCompletions.parse(&peek, body.as_bytes()).unwrap();
    let together = sent(&request, "together/m").unwrap();
    assert_eq!(together["response_format"]["json_schema"]["schema"], schema);
    let claude = sent(&request, "anthropic/claude-sonnet-4-6").unwrap();
    assert_eq!(claude["output_config"]["format"]["schema"]["properties"], schema["properties"]);
}

#[test]
fn fireworks_is_asked_for_a_model_by_its_whole_name() {
    let sent = sent(&asking(), "fireworks/accounts/fireworks/models/kimi-k2").unwrap();
    assert_eq!(sent["model"], "accounts/fireworks/models/kimi-k2");
}

#[test]
fn every_trap_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = String::new();
    let mut cases = Vec::new();
    for folder in ["shared", "tests/tests", "tests/fixtures"] {
        read(&root.join(folder), &mut sources, &mut cases);
    }
    for (trap, test) in TRAPS {
        let is_function = sources.contains(&format!("fn {test}()"));
        // One that is run, and that says what must be.
        if is_function {
            let (before, rest) = sources.split_once(&format!("fn {test}()")).unwrap();
            let attributes = before.rsplit("\n\n").next().unwrap();
            assert!(attributes.contains("#[test]"), "{trap}: `{test}` is not run");
            let body = rest.split("#[test]").next().unwrap();
            assert!(body.contains("assert") || body.contains("check("), "{trap}: `{test}` asserts nothing");
        }
        let named = cases.iter().filter(|case| case.ends_with(&format!("/{test}")));
        let folders: BTreeSet<_> = named.map(|case| &case[..case.len() - test.len()]).collect();
        assert_eq!(folders.len(), usize::from(!is_function), "{trap}: which test is `{test}`? {folders:?}");
    }
}

fn read(folder: &Path, sources: &mut String, cases: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => read(&path, sources, cases),
            Some("rs") => sources.push_str(&fs::read_to_string(&path).unwrap()),
            Some("json" | "stream") => cases.push(path.with_extension("").to_str().unwrap().to_owned()),
            _ => {}
        }
    }
}

/// An answer with this end in a protocol, and with a call before it if one is wished for.
fn ended(protocol: &str, native: &str, called: bool) -> String {
    let mut answer = match protocol {
        "chat" => {
            let call =
                json!([{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } }]);
            let mut message = json!({ "role": "assistant", "content": "Hi" });
            if called {
                message["tool_calls"] = call;
            }
            json!({ "choices": [{ "index": 0, "message": message, "finish_reason": native }] })
        }
        "cohere" => {
            json!({ "message": { "content": [{ "type": "text", "text": "Hi" }] }, "finish_reason": native })
        }
        "converse" => {
            json!({ "output": { "message": { "content": [{ "text": "Hi" }] } }, "stopReason": native })
        }
        "gemini" => {
            let mut parts = vec![json!({ "text": "Hi" })];
            parts.extend(called.then(|| json!({ "functionCall": { "name": "f", "args": {} } })));
            json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": native }] })
        }
        _ => json!({ "content": [{ "type": "text", "text": "Hi" }], "stop_reason": native }),
    };
    answer["id"] = json!("a1");
    answer.to_string()
}

#[test]
fn each_providers_word_for_an_end_is_known_and_kept() {
    use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
    #[rustfmt::skip]
    let ends: &[(&str, &str, bool, FinishReason)] = &[
        ("chat", "stop", false, Stop), ("chat", "eos", false, Stop), ("chat", "eos_token", false, Stop),
        ("chat", "length", false, Length), ("chat", "model_length", false, Length),
        ("chat", "tool_calls", true, ToolCalls), ("chat", "function_call", true, ToolCalls), ("chat", "stop", true, ToolCalls),
        ("chat", "", true, ToolCalls), ("chat", "content_filter", false, ContentFilter), ("chat", "sensitive", false, ContentFilter),
        ("messages", "end_turn", false, Stop), ("messages", "stop_sequence", false, Stop), ("messages", "max_tokens", false, Length),
        ("messages", "pause_turn", false, Length), ("messages", "compaction", false, Length),
        ("messages", "model_context_window_exceeded", false, Length), ("messages", "tool_use", false, ToolCalls),
        ("messages", "refusal", false, ContentFilter),
        ("cohere", "COMPLETE", false, Stop), ("cohere", "STOP_SEQUENCE", false, Stop), ("cohere", "MAX_TOKENS", false, Length),
        ("cohere", "TOOL_CALL", false, ToolCalls), ("cohere", "ERROR_TOXIC", false, ContentFilter),
        ("gemini", "STOP", false, Stop), ("gemini", "STOP", true, ToolCalls), ("gemini", "MAX_TOKENS", false, Length),
        ("gemini", "CONTINUATION", false, Length), ("gemini", "SAFETY", false, ContentFilter), ("gemini", "RECITATION", false, ContentFilter),
        ("gemini", "LANGUAGE", false, ContentFilter), ("gemini", "OTHER", false, ContentFilter), ("gemini", "BLOCKLIST", false, ContentFilter),
        ("gemini", "PROHIBITED_CONTENT", false, ContentFilter), ("gemini", "SPII", false, ContentFilter),
        ("gemini", "IMAGE_SAFETY", false, ContentFilter), ("gemini", "ESCALATION", false, ContentFilter),
        ("converse", "end_turn", false, Stop), ("converse", "stop_sequence", false, Stop), ("converse", "max_tokens", false, Length),
        ("converse", "model_context_window_exceeded", false, Length), ("converse", "tool_use", false, ToolCalls),
        ("converse", "guardrail_intervened", false, ContentFilter), ("converse", "content_filtered", false, ContentFilter),
    ];
    for &(protocol, native, called, reason) in ends {
        let events = dialect(protocol).decode(ended(protocol, native, called).as_bytes()).unwrap();
        let end = Event::Finish { reason, native: native.to_owned() };
        assert_eq!(events.last(), Some(&end), "{protocol} {native}");
    }
    // A failure is no end, whatever it is called.
    let failures = [
        ("chat", "network_error", ErrorClass::Server),
        ("chat", "insufficient_system_resource", ErrorClass::Overloaded),
        ("cohere", "ERROR", ErrorClass::Server),
        ("cohere", "TIMEOUT", ErrorClass::Timeout),
        ("converse", "malformed_tool_use", ErrorClass::Server),
        ("gemini", "MALFORMED_FUNCTION_CALL", ErrorClass::Server),
        ("gemini", "UNEXPECTED_TOOL_CALL", ErrorClass::Server),
        ("gemini", "TOO_MANY_TOOL_CALLS", ErrorClass::Server),
        ("gemini", "MISSING_THOUGHT_SIGNATURE", ErrorClass::Invalid),
    ];
    for (protocol, native, class) in failures {
        let error = dialect(protocol).decode(ended(protocol, native, false).as_bytes()).unwrap_err();
        assert_eq!((error.class, error.code.as_deref()), (class, Some(native)), "{protocol}");
    }
}

fn dialect(protocol: &str) -> &'static dyn Dialect {
    match protocol {
        "chat" => &ChatCompletions,
        "cohere" => &Cohere,
        "converse" => &Converse,
        "gemini" => &GenerateContent,
        "messages" => &Messages,
        _ => &Responses,
    }
}

fn front(protocol: &str) -> &'static dyn Front {
    match protocol {
        "chat" => &ChatCompletions,
        "cohere" => &Cohere,
        "converse" => &Converse,
        "gemini" => &GenerateContent,
        "messages" => &Messages,
        _ => &Responses,
    }
}

/// Every protocol's count of the same tokens, in a whole answer and in a stream: 1,200 in, of which 1,000 were read from a
/// cache and, where it is said, 150 written to one; 50 out.
fn counted() -> Vec<(&'static str, Value, Vec<u8>, Usage)> {
    let usage =
        Usage { input_tokens: 1_200, cache_read_input_tokens: 1_000, output_tokens: 50, ..Usage::default() };
    let written = Usage { cache_write_5m_input_tokens: 150, ..usage };
    let sse = |events: &[Value]| -> Vec<u8> {
        events.iter().flat_map(|event| format!("data: {event}\n\n").into_bytes()).collect()
    };
    let chat = json!({ "prompt_tokens": 1200, "completion_tokens": 50, "total_tokens": 1250,
        "prompt_tokens_details": { "cached_tokens": 1000 } });
    let chunk = |more: Value| {
        let mut chunk = json!({ "id": "a1", "object": "chat.completion.chunk", "model": "m" });
        chunk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        chunk
    };
    let text =
        || chunk(json!({ "choices": [{ "index": 0, "delta": { "content": "Hi" }, "finish_reason": null }] }));
    let end = || json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
    let whole_chat = json!({ "id": "a1", "model": "m", "usage": chat,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hi" }, "finish_reason": "stop" }] });
    let deepseek = json!({ "prompt_tokens": 1200, "completion_tokens": 50, "prompt_cache_hit_tokens": 1000, "prompt_cache_miss_tokens": 200 });
    let claude = json!({ "input_tokens": 50, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 150, "output_tokens": 50 });
    let gemini = |text: &str, end: Option<&str>| {
        json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": text }] }, "finishReason": end }],
            "usageMetadata": { "promptTokenCount": 1200, "cachedContentTokenCount": 1000, "candidatesTokenCount": 50 } })
    };
    let bedrock = json!({ "inputTokens": 50, "outputTokens": 50, "totalTokens": 1250, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 150 });
    let mut frames = Vec::new();
    for (kind, payload) in [
        ("messageStart", json!({ "role": "assistant" })),
        ("contentBlockDelta", json!({ "contentBlockIndex": 0, "delta": { "text": "Hi" } })),
        ("contentBlockStop", json!({ "contentBlockIndex": 0 })),
        ("messageStop", json!({ "stopReason": "end_turn" })),
        ("metadata", json!({ "usage": bedrock, "metrics": { "latencyMs": 1 } })),
    ] {
        let headers =
            [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
        eventstream::write(&headers, payload.to_string().as_bytes(), &mut frames);
    }
    let cohere =
        json!({ "billed_units": { "input_tokens": 1200, "output_tokens": 50 }, "cached_tokens": 1000 });
    let response = json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "m",
        "output": [{ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": "Hi", "annotations": [] }] }],
        "usage": { "input_tokens": 1200, "input_tokens_details": { "cached_tokens": 1000, "cache_write_tokens": 150 },
            "output_tokens": 50, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 1250 } });
    let done = b"data: [DONE]\n\n";
    let with_done = |events: &[Value]| [sse(events), done.to_vec()].concat();
    vec![
        (
            "chat",
            whole_chat.clone(),
            with_done(&[
                text(),
                chunk(json!({ "choices": end() })),
                chunk(json!({ "choices": [], "usage": chat })),
            ]),
            usage,
        ),
        (
            "chat",
            whole_chat.clone(),
            with_done(&[text(), chunk(json!({ "choices": end(), "usage": chat }))]),
            usage,
        ),
        (
            "chat",
            whole_chat.clone(),
            with_done(&[text(), chunk(json!({ "choices": end(), "x_groq": { "id": "r", "usage": chat } }))]),
            usage,
        ),
        (
            "chat",
            whole_chat.clone(),
            with_done(&[text(), chunk(json!({ "choices": end(), "usage": deepseek }))]),
            usage,
        ),
        (
            "chat",
            whole_chat.clone(),
            with_done(&[
                text(),
                chunk(
                    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop", "usage": chat }] }),
                ),
            ]),
            usage,
        ),
        (
            "cohere",
            json!({ "id": "a1", "message": { "content": [{ "type": "text", "text": "Hi" }] }, "finish_reason": "COMPLETE", "usage": cohere }),
            sse(&[
                json!({ "type": "message-start", "id": "a1", "delta": { "message": { "role": "assistant" } } }),
                json!({ "type": "content-delta", "index": 0, "delta": { "message": { "content": { "text": "Hi" } } } }),
                json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE", "usage": cohere } }),
            ]),
            usage,
        ),
        (
            "converse",
            json!({ "output": { "message": { "role": "assistant", "content": [{ "text": "Hi" }] } }, "stopReason": "end_turn", "usage": bedrock }),
            frames,
            written,
        ),
        ("gemini", gemini("Hi", Some("STOP")), sse(&[gemini("H", None), gemini("i", Some("STOP"))]), usage),
        (
            "messages",
            json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "usage": claude,
                "content": [{ "type": "text", "text": "Hi" }] }),
            sse(&[
                json!({ "type": "message_start", "message": { "id": "msg_1", "model": "m", "usage": { "input_tokens": 50, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 150, "output_tokens": 1 } } }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hi" } }),
                json!({ "type": "content_block_stop", "index": 0 }),
                json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 50 } }),
                json!({ "type": "message_stop" }),
            ]),
            written,
        ),
        (
            "responses",
            response.clone(),
            sse(&[
                json!({ "type": "response.created", "response": { "id": "resp_1", "model": "m", "output": [] } }),
                json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi" }),
                json!({ "type": "response.completed", "response": response }),
            ]),
            written,
        ),
    ]
}

fn pumped(relay: &mut dyn Relay, stream: &[u8]) -> (Vec<u8>, Summary) {
    let mut sent = Vec::new();
    for chunk in stream.chunks(11) {
        let mut out = Vec::new();
        match relay.chunk(chunk, &mut out) {
            llm::relay::Passed::AsIs => sent.extend_from_slice(chunk),
            llm::relay::Passed::Instead => sent.extend(out),
        }
    }
    relay.end(Ending::Closed, &mut sent);
    (sent, relay.summary().clone())
}

fn peek(include_usage: bool) -> Peek<'static> {
    Peek { model: "chat".into(), stream: true, include_usage, choices: 1, ..Peek::default() }
}

const HEAD: Head<'static> = Head { id: "call_1", created: 1_750_000_000, model: "chat" };
const PROTOCOLS: [&str; 6] = ["chat", "cohere", "converse", "gemini", "messages", "responses"];

#[test]
fn c1_usage_of_a_stream_is_read_wherever_it_comes() {
    for (protocol, _, stream, usage) in counted() {
        // Passed on to who speaks the same, and translated for who does not; asked for by the caller or not.
        for include_usage in [true, false] {
            let (_, summary) =
                pumped(&mut *front(protocol).forwarder(&peek(include_usage), "call_1"), &stream);
            assert_eq!((summary.usage, summary.error), (Some(usage), None), "{protocol} forwarded");
            for to in PROTOCOLS {
                let writer = front(to).writer(&HEAD, &peek(include_usage));
                let mut relay = Translate::new(dialect(protocol).decoder(), writer, "call_1");
                let (_, summary) = pumped(&mut relay, &stream);
                assert_eq!((summary.usage, summary.error), (Some(usage), None), "{protocol} to {to}");
            }
        }
    }
}

#[test]
fn c1_usage_is_asked_for_wherever_it_does_not_come_by_itself() {
    let request = Request { stream: true, ..asking() };
    let mut asked = 0;
    let chats =
        |provider: &&provider::Provider| ![provider::Api::Demo, provider::Api::None].contains(&provider.api);
    for provider in provider::PROVIDERS.iter().filter(chats) {
        let target = Target { provider, model: "m", base_url: "https://x.test", credential: None };
        let api = provider.api_for(provider::Api::ChatCompletions, "m");
        let encoded = api.dialect().encode(&request, &target).unwrap();
        let body: Value = serde_json::from_slice(encoded.request.body()).unwrap();
        // Perplexity counts in every chunk; Mistral answers 422 to the wish; and the other protocols know none.
        let is_chat = api == provider::Api::ChatCompletions;
        let asks = is_chat && !["mistral", "perplexity"].contains(&provider.name);
        let wish = body.pointer("/stream_options/include_usage") == Some(&json!(true));
        assert_eq!(wish, asks, "{}", provider.name);
        // And so where the caller's own bytes go on, whatever they say of it.
        if is_chat {
            for options in ["", r#","stream_options":{"include_usage":false}"#] {
                let body = format!(r#"{{"model":"x","messages":[],"stream":true{options}}}"#);
                let peek = ChatCompletions.peek("", body.as_bytes()).unwrap();
                let sent = ChatCompletions
                    .forward(body.as_bytes(), &peek, &http::HeaderMap::new(), &target)
                    .unwrap();
                let sent: Value = serde_json::from_slice(sent.request.body()).unwrap();
                let wish = sent.pointer("/stream_options/include_usage") == Some(&json!(true));
                assert_eq!(wish, asks, "{} {options}", provider.name);
                assert!(provider.name != "mistral" || sent.get("stream_options").is_none(), "{options}");
            }
        }
        asked += 1;
    }
    assert!(asked > 30);
}

#[test]
fn c2_cached_tokens_are_in_the_input_once_whoever_counts_and_whoever_is_told() {
    for (protocol, whole, stream, usage) in counted() {
        let events = dialect(protocol).decode(whole.to_string().as_bytes()).unwrap();
        assert_eq!(
            front(protocol).summary(whole.to_string().as_bytes()).unwrap().usage,
            Some(usage),
            "{protocol}"
        );
        for to in PROTOCOLS {
            // What is not told apart there is still counted, and once.
            let told = match to {
                "cohere" | "gemini" => Usage { cache_write_5m_input_tokens: 0, ..usage },
                _ => usage,
            };
            let answer = front(to).whole(&HEAD, &events).unwrap();
            let again = llm::translate::summary(&dialect(to).decode(&answer).unwrap());
            assert_eq!(again.usage, Some(told), "{protocol} to {to}, whole");
            let writer = front(to).writer(&HEAD, &peek(true));
            let mut relay = Translate::new(dialect(protocol).decoder(), writer, "call_1");
            let (sent, _) = pumped(&mut relay, &stream);
            let mut decoder = dialect(to).decoder();
            let mut events = Vec::new();
            decoder.feed(&sent, &mut events);
            decoder.finish(&mut events);
            assert_eq!(llm::translate::summary(&events).usage, Some(told), "{protocol} to {to}, streamed");
        }
    }
}

#[test]
fn what_surrounds_an_answer_is_passed_over() {
    let text = r#"{"id":"a1","model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"obfuscation":"x7f"}"#;
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let streams = [
        format!(": OPENROUTER PROCESSING\n\ndata: {text}\n\n: keep-alive\n\ndata: {end}\n\ndata: [DONE]\n\n"),
        format!(
            "data: {{\"choices\":[],\"prompt_filter_results\":[{{\"prompt_index\":0}}]}}\n\ndata: {text}\n\ndata: {end}\n\ndata: [DONE]\n\n"
        ),
        format!("data: {text}\r\n\r\ndata: {end}\r\n\r\ndata: [DONE]\r\n\r\n"),
        format!("data: {text}\ndata: {end}\ndata: [DONE]\n\n"),
        format!("data: {text}\rdata: {end}\r\rdata: [DONE]"),
    ];
    for stream in streams {
        let mut decoder = ChatCompletions.decoder();
        let mut events = Vec::new();
        decoder.feed(stream.as_bytes(), &mut events);
        decoder.finish(&mut events);
        let summary = llm::translate::summary(&events);
        assert_eq!((summary.finish_reason.as_deref(), summary.error), (Some("stop"), None), "{stream}");
        assert!(events.contains(&Event::Text("Hi".to_owned())), "{stream}");
        let (sent, summary) =
            pumped(&mut *ChatCompletions.forwarder(&peek(true), "call_1"), stream.as_bytes());
        assert_eq!((summary.finish_reason.as_deref(), summary.error), (Some("stop"), None), "{stream}");
        assert!(String::from_utf8_lossy(&sent).contains(text), "{stream}");
    }
}

fn asking() -> Request {
    let parts = vec![Part::Text("Hi".to_owned())];
    Request { messages: vec![Message { role: Role::User, parts }], ..Request::default() }
}

/// Everything that can be asked for.
fn asking_all() -> Request {
    Request {
        tools: vec![Tool { name: "f".to_owned(), ..Tool::default() }],
        tool_choice: Some(ToolChoice::Required),
        parallel_tool_calls: Some(false),
        max_output_tokens: Some(9),
        temperature: Some(0.5),
        top_p: Some(0.5),
        frequency_penalty: Some(0.5),
        presence_penalty: Some(0.5),
        seed: Some(7),
        stop: vec!["END".to_owned()],
        reasoning_effort: Some(llm::chat::Effort::High),
        thoughts: Some(false),
        top_k: Some(5),
        stream: true,
        user: Some("u".to_owned()),
        ..asking()
    }
}

/// The body for `provider/model`.
fn sent(request: &Request, model: &str) -> Result<Value, llm::Error> {
    let (provider, model) = provider::split(model).unwrap();
    let target = Target { provider, model, base_url: "https://x.test", credential: None };
    let encoded = provider.api.dialect().encode(request, &target)?;
    Ok(serde_json::from_slice(encoded.request.body()).unwrap())
}

#[test]
fn mistral_gets_no_field_it_does_not_know() {
    const KNOWN: [&str; 16] = [
        "frequency_penalty",
        "logprobs",
        "max_tokens",
        "messages",
        "model",
        "parallel_tool_calls",
        "presence_penalty",
        "random_seed",
        "reasoning_effort",
        "response_format",
        "stop",
        "stream",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
    ];
    let body = sent(&asking_all(), "mistral/mistral-small-latest").unwrap();
    for name in body.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&name.as_str()) || name == "top_p", "{name}");
    }
    assert_eq!((&body["tool_choice"], &body["random_seed"]), (&json!("any"), &json!(7)));
    assert_eq!(body["reasoning_effort"], "high");
}

#[test]
fn deepseek_does_not_think_where_a_tool_is_forced() {
    let body = sent(&asking_all(), "deepseek/deepseek-chat").unwrap();
    assert_eq!((&body["thinking"]["type"], &body["tool_choice"]), (&json!("disabled"), &json!("required")));
    let free = Request { tool_choice: None, ..asking_all() };
    assert_eq!(sent(&free, "deepseek/deepseek-chat").unwrap()["thinking"]["type"], "enabled");
}

#[test]
fn some_refuse_what_others_take() {
    let stop = Request { stop: vec!["END".to_owned()], ..asking() };
    let tools = Request { tools: vec![Tool { name: "f".to_owned(), ..Tool::default() }], ..asking() };
    let refused = |request: &Request, model: &str| match sent(request, model) {
        Err(llm::Error::Unsupported { param, .. }) => Some(param),
        other => panic!("{model}: {other:?}"),
    };
    assert_eq!(refused(&stop, "xai/grok-4").as_deref(), Some("stop"));
    assert_eq!(sent(&stop, "xai/grok-3").unwrap()["stop"], json!(["END"]));
    assert_eq!(refused(&tools, "perplexity/sonar").as_deref(), Some("tools"));
    assert_eq!(sent(&asking(), "workers-ai/@cf/meta/llama-3.1-8b-instruct").unwrap()["max_tokens"], 2_048);
    let short = Request { max_output_tokens: Some(9), ..asking() };
    assert_eq!(sent(&short, "workers-ai/@cf/meta/llama-3.1-8b-instruct").unwrap()["max_tokens"], 9);
}

/// A stream is read as it passes, and what is not yet a whole event is held.
#[test]
fn an_event_without_an_end_is_given_up() {
    const CHUNK: usize = 1 << 20;
    let chunk = vec![b'a'; CHUNK];
    // A frame says how long it is; this one lies.
    let lie = [&(1_u32 << 30).to_be_bytes()[..], &[0; 4]].concat();
    for protocol in PROTOCOLS {
        let begin: &[u8] = if protocol == "converse" { &lie } else { b"data: {\"a\":\"" };
        let relays: [Box<dyn Relay>; 2] = [
            front(protocol).forwarder(&peek(true), "call_1"),
            Box::new(Translate::new(
                dialect(protocol).decoder(),
                front("chat").writer(&HEAD, &peek(true)),
                "call_1",
            )),
        ];
        for mut relay in relays {
            let mut passed = 0;
            for piece in std::iter::once(begin).chain(std::iter::repeat_n(&chunk[..], 20)) {
                let mut out = Vec::new();
                relay.chunk(piece, &mut out);
                passed += out.len();
            }
            let class = relay.summary().error.as_ref().map(|error| error.class);
            assert_eq!(class, Some(ErrorClass::Garbled), "{protocol}");
            assert!(passed < CHUNK, "{protocol}: {passed}");
        }
    }
}

#[test]
fn a_402_is_a_quota_in_every_protocol() {
    for protocol in PROTOCOLS {
        let error = dialect(protocol).error(
            402,
            &http::HeaderMap::new(),
            br#"{"error":{"message":"Insufficient Balance"}}"#,
        );
        assert_eq!(error.class, ErrorClass::Quota, "{protocol}");
    }
}
