//! What each provider says when it refuses or fails, and what kind of failure that is: its documents' own examples, or
//! what its API was seen to answer.

use http::{HeaderMap, HeaderValue};
use llm::{ErrorClass, chat::Event, provider};

use ErrorClass::{Auth, Content, ContextLength, Invalid, NotFound, Overloaded, Quota, Rate, Server, Timeout};

#[test]
fn every_providers_refusals_are_told_apart() {
    let mut shown = Vec::new();
    for (name, refusals) in REFUSALS {
        let dialect = provider::find(name).expect("listed").api.dialect();
        for (status, body, class) in *refusals {
            let error = dialect.error(*status, &HeaderMap::new(), body.as_bytes());
            assert_eq!((error.class, error.status), (*class, Some(*status)), "{name} {status}: {body}");
            assert!(!error.message.is_empty(), "{name} {status}: {body}");
        }
        shown.push(*name);
    }
    assert!(shown.len() > 25 && shown.windows(2).all(|pair| pair[0] < pair[1]), "{shown:?}");
}

/// Amazon tells the kind of a failure in a header.
#[test]
fn bedrocks_refusals_are_told_apart_by_their_names() {
    let bedrock = provider::find("bedrock").expect("listed");
    for (status, name, message, class) in BEDROCK {
        let value = HeaderValue::from_static(name);
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-amzn-errortype"), value)]);
        let body = format!(r#"{{"message":"{message}"}}"#);
        // In either protocol that it speaks.
        for api in [bedrock.api, provider::Api::Messages] {
            let error = api.dialect().error(*status, &headers, body.as_bytes());
            assert_eq!((error.class, &*error.message), (*class, *message), "{name} {api:?}");
        }
    }
}

/// After a 200 there is no status left to go by.
#[test]
fn a_failure_inside_a_stream_is_of_the_same_kinds() {
    for (name, stream, class) in IN_STREAMS {
        let mut decoder = provider::find(name).expect("listed").api.dialect().decoder();
        let mut events = Vec::new();
        decoder.feed(stream.as_bytes(), &mut events);
        decoder.finish(&mut events);
        let Some(Event::Error(error)) = events.last() else { panic!("{name}: {events:?}") };
        assert_eq!((error.class, error.status), (*class, None), "{name}: {stream}");
    }
}

type Refusals = &'static [(u16, &'static str, ErrorClass)];

#[rustfmt::skip]
const REFUSALS: &[(&str, Refusals)] = &[
    ("anthropic", &[
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#, ContextLength),
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#, Quota),
        (401, r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#, Auth),
        (404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}"#, NotFound),
        (413, r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum allowed number of bytes."}}"#, ContextLength),
        (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 50 requests per minute."}}"#, Rate),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
    ]),
    ("azure", &[
        (400, r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true,"severity":"high"}}}}}"#, Content),
        (401, r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription."}}"#, Auth),
        (401, r#"{"error":{"code":"PermissionDenied","message":"The principal lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST /openai/deployments/{deployment-id}/chat/completions` operation."}}"#, Auth),
        (403, r#"{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}"#, Auth),
        (404, r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#, NotFound),
        (408, r#"{"error":{"code":"Timeout","message":"The operation was timeout."}}"#, Timeout),
        (429, r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds."}}"#, Rate),
        (500, r#"{"error":{"code":"InternalServerError","message":"Backend returned unexpected response."}}"#, Server),
    ]),
    ("cerebras", &[
        (400, r#"{"message":"Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}"#, ContextLength),
        (401, r#"{"message":"Wrong API Key","type":"invalid_request_error","param":"api_key","code":"wrong_api_key"}"#, Auth),
        (404, r#"{"message":"Model x does not exist or you do not have access to it.","type":"not_found_error","param":"model","code":"model_not_found"}"#, NotFound),
        (429, r#"{"message":"Requests per minute limit exceeded - too many requests sent.","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}"#, Rate),
        (429, r#"{"message":"Tokens per day limit exceeded - too many tokens processed.","type":"too_many_tokens_error","param":"quota","code":"token_quota_exceeded"}"#, Quota),
        (429, r#"{"message":"We're experiencing high traffic right now! Please try again soon.","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}"#, Overloaded),
    ]),
    ("cohere", &[
        (400, r#"{"id":"1","message":"too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292. Try using a shorter prompt."}"#, ContextLength),
        (401, r#"{"id":"1","message":"invalid api token"}"#, Auth),
        (402, r#"{"id":"1","message":"Please add or update your payment method at https://dashboard.cohere.com/billing?tab=payment to continue"}"#, Quota),
        (404, r#"{"id":"1","message":"model 'x' not found, make sure the correct model ID was used and that you have access to the model."}"#, NotFound),
        (422, r#"{"id":"1","message":"invalid request: message must be at least 1 token long"}"#, Invalid),
        (429, r#"{"id":"1","message":"You are using a Trial key, which is limited to 10 API calls / minute."}"#, Rate),
        (429, r#"{"id":"1","message":"You are using a Trial key, which is limited to 1000 API calls / month."}"#, Quota),
        (498, r#"{"data":"string"}"#, Auth),
    ]),
    ("dashscope", &[
        (400, r#"{"error":{"code":"data_inspection_failed","message":"Input data may contain inappropriate content.","param":null,"type":"data_inspection_failed"},"id":"1","request_id":"1"}"#, Content),
        (400, r#"{"error":{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing.","param":null,"type":"Arrearage"}}"#, Quota),
        (400, r#"{"error":{"code":"invalid_parameter_error","message":"<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]","param":null,"type":"invalid_request_error"}}"#, ContextLength),
        (401, r#"{"error":{"message":"Incorrect API key provided. ","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#, Auth),
        (403, r#"{"error":{"code":"AllocationQuota.FreeTierOnly","message":"The free tier of the model has been exhausted. If you wish to continue access the model on a paid basis, please disable the \"use free tier only\" mode.","param":null,"type":"AllocationQuota.FreeTierOnly"}}"#, Quota),
        (404, r#"{"error":{"message":"The model `x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#, NotFound),
        (429, r#"{"error":{"code":"limit_requests","message":"You exceeded your current requests list.","param":null,"type":"limit_requests"}}"#, Rate),
    ]),
    ("deepinfra", &[
        (401, r#"{"detail":{"error":"User not authenticated"}}"#, Auth),
        (402, r#"{"detail":{"error":"inference prohibited, please enter a payment method at https://deepinfra.com/dash/billing"}}"#, Quota),
        (404, r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#, NotFound),
        (429, r#"{"detail":{"error":"Model busy, retry later"}}"#, Overloaded),
    ]),
    ("deepseek", &[
        (400, r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#, Content),
        (400, r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#, NotFound),
        (400, r#"{"error":{"message":"This model's maximum context length is 131072 tokens. However, you requested 140000 tokens.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#, ContextLength),
        (401, r#"{"error":{"message":"Authentication Fails, Your api key: ****1234 is invalid","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#, Auth),
        (402, r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#, Quota),
        (422, r#"{"error":{"message":"Invalid parameters","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#, Invalid),
        (429, r#"{"error":{"message":"Rate limit reached","type":"rate_limit_error","param":null,"code":null}}"#, Rate),
        (503, "Service is too busy", Overloaded),
    ]),
    ("fireworks", &[
        (400, r#"{"error":{"object":"error","type":"invalid_request_error","message":"The prompt is too long: 140000, model maximum context length: 131071"}}"#, ContextLength),
        (401, r#"{"error":{"object":"error","type":"invalid_request_error","code":"UNAUTHORIZED","message":"The API key you provided is invalid."}}"#, Auth),
        (404, r#"{"error":{"object":"error","type":"invalid_request_error","code":"NOT_FOUND","message":"Model not found, inaccessible, and/or not deployed"}}"#, NotFound),
        (412, r#"{"error":{"object":"error","type":"invalid_request_error","code":"PRECONDITION_FAILED","message":"Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}}"#, Quota),
    ]),
    ("gemini", &[
        (400, r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#, Auth),
        (400, r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#, ContextLength),
        (403, r#"{"error":{"code":403,"message":"This API method requires billing to be enabled.","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"BILLING_DISABLED"}]}}"#, Quota),
        (429, r#"{"error":{"code":429,"message":"Your project has exceeded its monthly spending cap. Please go to AI Studio at https://ai.studio/spend to manage your project spend cap.","status":"RESOURCE_EXHAUSTED"}}"#, Quota),
        (429, r#"{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}"#, Rate),
        (499, r#"{"error":{"code":499,"message":"The operation was cancelled.","status":"CANCELLED"}}"#, Server),
        (503, r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#, Overloaded),
        (504, r#"{"error":{"code":504,"message":"Deadline expired before operation could complete.","status":"DEADLINE_EXCEEDED"}}"#, Timeout),
    ]),
    ("github", &[
        (400, r#"{"error":{"code":"unknown_model","message":"Unknown model: x","details":"Unknown model: x"}}"#, NotFound),
        (401, r#"{"error":{"code":"unauthorized","message":"Bad credentials","details":"Bad credentials"}}"#, Auth),
        (413, r#"{"error":{"code":"tokens_limit_reached","message":"Request body too large for gpt-4o model. Max size: 8000 tokens.","details":"Request body too large for gpt-4o model. Max size: 8000 tokens."}}"#, ContextLength),
        (429, r#"{"error":{"code":"RateLimitReached","message":"Rate limit of 15 per 60s exceeded for UserByModelByMinute. Please wait 12 seconds before retrying.","details":"Rate limit of 15 per 60s exceeded for UserByModelByMinute."}}"#, Rate),
        (429, r#"{"error":{"code":"RateLimitReached","message":"Rate limit of 150 per 86400s exceeded for UserByModelByDay. Please wait 4000 seconds before retrying.","details":""}}"#, Quota),
    ]),
    ("groq", &[
        (400, r#"{"error":{"message":"Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=f>"}}"#, Server),
        (400, r#"{"error":{"message":"Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.","type":"invalid_request_error","code":"json_validate_failed","failed_generation":""}}"#, Server),
        (400, r#"{"error":{"message":"Organization has been restricted. Please reach out to support if you believe this was in error.","type":"invalid_request_error","code":"organization_restricted"}}"#, Auth),
        (400, r#"{"error":{"message":"API access is blocked: the spend limit was reached.","type":"invalid_request_error","code":"blocked_api_access"}}"#, Quota),
        (400, r#"{"error":{"message":"The model `x` has been decommissioned and is no longer supported.","type":"invalid_request_error","code":"model_decommissioned"}}"#, NotFound),
        (401, r#"{"error":{"message":"Invalid API Key","type":"invalid_request_error","code":"invalid_api_key"}}"#, Auth),
        (413, r#"{"error":{"message":"Request too large for model `x` in organization `org_1` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#, Rate),
        (429, r#"{"error":{"message":"Rate limit reached for model `x` in organization `org_1` service tier `on_demand` on tokens per minute (TPM): Limit 12000, Used 11000, Requested 2000. Please try again in 5s.","type":"tokens","code":"rate_limit_exceeded"}}"#, Rate),
        (498, r#"{"error":{"message":"Flex tier capacity exceeded","type":"capacity_exceeded"}}"#, Overloaded),
        (498, "", Overloaded),
        (503, r#"{"error":{"message":"x is currently over capacity. Please try again and back off exponentially.","type":"internal_server_error"}}"#, Overloaded),
    ]),
    ("huggingface", &[
        (400, r#"{"error":{"message":"The requested model 'x' does not exist","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#, NotFound),
        (401, r#"{"error":"Invalid username or password."}"#, Auth),
        (402, r#"{"error":"You have exceeded your monthly included credits for Inference Providers. Subscribe to PRO to get 20x more monthly included credits."}"#, Quota),
        (403, r#"{"error":"This authentication method does not have sufficient permissions to call Inference Providers on behalf of user x"}"#, Auth),
    ]),
    ("jina", &[
        (401, r#"{"detail":"[AuthenticationError] Invalid API key, please get a new one from https://jina.ai."}"#, Auth),
        (402, r#"{"detail":"Insufficient account balance."}"#, Quota),
        (422, r#"{"detail":"[ValidationError] model Input should be 'jina-embeddings-v3'"}"#, Invalid),
    ]),
    ("llama-cpp", &[
        (400, r#"{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":4096}}"#, ContextLength),
        (401, r#"{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}"#, Auth),
        (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, Overloaded),
    ]),
    ("lm-studio", &[
        (400, r#"{"error":"Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}"#, ContextLength),
        (404, r#"{"error":{"message":"Failed to load model \"x\". Error: Model not found","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#, NotFound),
    ]),
    ("minimax", &[
        (400, r#"{"type":"error","error":{"type":"bad_request_error","message":"invalid params, context window exceeds limit (2013)","http_code":"400"},"request_id":"1"}"#, ContextLength),
        (400, r#"{"type":"error","error":{"type":"bad_request_error","message":"invalid params, unknown model 'x' (2013)","http_code":"400"},"request_id":"1"}"#, NotFound),
        (401, r#"{"type":"error","error":{"type":"authorized_error","message":"invalid api key (2049)","http_code":"401"},"request_id":"1"}"#, Auth),
        (422, r#"{"type":"error","error":{"type":"unprocessable_entity_error","message":"input new_sensitive (1026)","http_code":"422"},"request_id":"1"}"#, Content),
        (429, r#"{"type":"error","error":{"type":"insufficient_balance_error","message":"insufficient balance (1008)","http_code":"429"},"request_id":"1"}"#, Quota),
    ]),
    ("mistral", &[
        (400, r#"{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}"#, NotFound),
        (400, r#"{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_prompt","param":null,"code":"3051"}"#, ContextLength),
        (401, r#"{"detail":"Unauthorized"}"#, Auth),
        (401, r#"{"message":"Unauthorized","request_id":"1"}"#, Auth),
        (422, r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error","param":null,"code":null}"#, Invalid),
        (429, r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}"#, Rate),
        (429, r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#, Rate),
        (503, r#"{"object":"error","message":"Service unavailable.","type":"internal_server_error","param":null,"code":"3700"}"#, Overloaded),
    ]),
    ("moonshot", &[
        (400, r#"{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192","type":"invalid_request_error"}}"#, ContextLength),
        (400, r#"{"error":{"message":"The request was rejected because it was considered high risk","type":"content_filter"}}"#, Content),
        (400, r#"{"error":{"message":"invalid temperature: only 1 is allowed for this model","type":"invalid_request_error"}}"#, Invalid),
        (401, r#"{"error":{"message":"Invalid Authentication","type":"invalid_authentication_error"}}"#, Auth),
        (404, r#"{"error":{"message":"Not found the model x or Permission denied","type":"resource_not_found_error"}}"#, NotFound),
        (429, r#"{"error":{"message":"Your account x is not active, current state: suspended, please check your plan and billing details","type":"exceeded_current_quota_error"}}"#, Quota),
        (429, r#"{"error":{"message":"Your account x request reached max organization RPM: 3, please try again after 1 seconds","type":"rate_limit_reached_error"}}"#, Rate),
        (429, r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"engine_overloaded_error"}}"#, Overloaded),
    ]),
    ("nvidia", &[
        (401, r#"{"status":401,"title":"Unauthorized","detail":"Authentication failed"}"#, Auth),
        (402, r#"{"status":402,"title":"Payment Required","detail":"Account 'x': Cloud credits expired - Please contact NVIDIA representatives"}"#, Quota),
        (404, r#"{"status":404,"title":"Not Found","detail":"Function 'x': Not found for account 'y'"}"#, NotFound),
        (429, r#"{"status":429,"title":"Too Many Requests"}"#, Rate),
    ]),
    ("ollama", &[
        (400, r#"{"error":"\"llama2\" does not support tools"}"#, Invalid),
        (404, r#"{"error":"model \"x\" not found, try pulling it first"}"#, NotFound),
        (500, r#"{"error":"llama runner process has terminated: signal: killed"}"#, Server),
        (503, r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#, Overloaded),
    ]),
    ("openai", &[
        (400, r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#, ContextLength),
        (400, r#"{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt.","type":"invalid_request_error","param":null,"code":"invalid_prompt"}}"#, Content),
        (400, r#"{"error":{"message":"Your request was rejected as a result of our safety system.","type":"image_generation_user_error","param":null,"code":"moderation_blocked"}}"#, Content),
        (400, r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#, Quota),
        (401, r#"{"error":{"message":"Incorrect API key provided: sk-1***4.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#, Auth),
        (403, r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#, Auth),
        (403, r#"{"error":{"message":"Project `proj_1` does not have access to model `x`","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#, NotFound),
        (429, r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#, Quota),
        (429, r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 28000, Requested 4000. Please try again in 4s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#, Rate),
        (500, r#"{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}"#, Server),
        (503, r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"server_error","param":null,"code":null}}"#, Overloaded),
    ]),
    ("openrouter", &[
        (400, r#"{"error":{"message":"a/b is not a valid model ID","code":400},"user_id":"user_1"}"#, NotFound),
        (400, r#"{"error":{"message":"This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens.","code":400}}"#, ContextLength),
        (401, r#"{"error":{"message":"No auth credentials found","code":401}}"#, Auth),
        (402, r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 4096 tokens, but can only afford 100.","code":402}}"#, Quota),
        (403, r#"{"error":{"message":"Input was flagged","code":403,"metadata":{"reasons":["violence"],"flagged_input":"x","provider_name":"OpenAI","model_slug":"a/b"}}}"#, Content),
        (404, r#"{"error":{"message":"No endpoints found for a/b.","code":404}}"#, NotFound),
        (408, r#"{"error":{"message":"Request timed out","code":408}}"#, Timeout),
        (429, r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429}}"#, Quota),
        (429, r#"{"error":{"message":"Rate limit exceeded: free-models-per-min.","code":429}}"#, Rate),
        (429, r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"a/b is temporarily rate-limited upstream.","provider_name":"X"}}}"#, Rate),
        (502, r#"{"error":{"message":"Provider returned error","code":502,"metadata":{"provider_name":"X"}}}"#, Server),
        (503, r#"{"error":{"message":"There is no available model provider that meets your routing requirements","code":503}}"#, Overloaded),
    ]),
    ("perplexity", &[
        (400, r#"{"error":{"message":"Invalid model 'x'. Permitted models can be found in the documentation at https://docs.perplexity.ai.","type":"invalid_model","code":400}}"#, NotFound),
        (400, r#"{"error":{"message":"After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s).","type":"invalid_message","code":400}}"#, Invalid),
        (401, r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":401}}"#, Quota),
        (401, "<html>\n<head><title>401 Authorization Required</title></head>\n</html>", Auth),
        (429, r#"{"error":{"message":"Request rate limit exceeded, please try again later.","type":"request_rate_limit_exceeded","code":429}}"#, Rate),
    ]),
    ("sambanova", &[
        (400, r#"{"error":{"code":null,"message":"This model's maximum context length is 16384 tokens. However, you requested 20000 tokens.","param":null,"type":"invalid_request_error"}}"#, ContextLength),
        (401, r#"{"error":{"code":null,"message":"Invalid API key","param":null,"type":"authentication_error"}}"#, Auth),
        (404, r#"{"error":{"code":"model_not_found","message":"Model not found","param":null,"type":"invalid_request_error"}}"#, NotFound),
        (429, r#"{"error":{"code":null,"message":"Rate limit exceeded","param":null,"type":"rate_limit_exceeded"}}"#, Rate),
    ]),
    ("together", &[
        (400, r#"{"error":{"message":"Unable to access non-serverless model x. Please visit https://api.together.ai/models/x to create and start a new dedicated endpoint for the model.","type":"invalid_request_error","param":null,"code":"model_not_available"}}"#, NotFound),
        (401, r#"{"error":{"message":"Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#, Auth),
        (402, r#"{"error":{"message":"Credit limit exceeded, please navigate to https://api.together.ai/settings/billing to adjust your credit balance or spending limit.","type":"credit_limit","param":null,"code":null}}"#, Quota),
        (422, r#"{"error":{"message":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`","type":"invalid_request_error","param":"max_tokens","code":null}}"#, ContextLength),
        (429, r#"{"error":{"message":"You have been rate limited. Your rate limit is 60 queries per minute.","type":"rate_limit","param":null,"code":"rate_limit"}}"#, Rate),
        (503, r#"{"error":{"message":"The server is overloaded or not ready yet.","type":"service_unavailable","param":null,"code":null}}"#, Overloaded),
    ]),
    ("vertex", &[
        (403, r#"{"error":{"code":403,"message":"Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash' (or it may not exist).","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"IAM_PERMISSION_DENIED"}]}}"#, Auth),
        (404, r#"[{"error":{"code":404,"message":"Publisher Model `projects/p/locations/us-central1/publishers/google/models/x` was not found or your project does not have access to it.","status":"NOT_FOUND"}}]"#, NotFound),
        (429, r#"{"error":{"code":429,"message":"Resource exhausted. Please try again later.","status":"RESOURCE_EXHAUSTED"}}"#, Rate),
    ]),
    ("vllm", &[
        (400, r#"{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages, Please reduce the length of the messages.","type":"BadRequestError","param":null,"code":400}}"#, ContextLength),
        (401, r#"{"error":"Unauthorized"}"#, Auth),
        (404, r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#, NotFound),
        (500, r#"{"error":{"message":"EngineCore encountered an issue.","type":"InternalServerError","param":null,"code":500}}"#, Server),
    ]),
    ("voyage", &[
        (400, r#"{"detail":"Request to model 'voyage-3' failed. The max allowed tokens per submitted batch is 120000. Your batch has 130000 tokens after truncation."}"#, Invalid),
        (401, r#"{"detail":"Provided API key is invalid."}"#, Auth),
        (429, r#"{"detail":"You have not yet added your payment method in the billing page and will have reduced rate limits of 3 RPM and 10K TPM."}"#, Rate),
    ]),
    ("workers-ai", &[
        (400, r#"{"success":false,"errors":[{"code":5007,"message":"AiError: No such model @cf/x or task"}],"messages":[],"result":{}}"#, NotFound),
        (400, r#"{"success":false,"errors":[{"code":5021,"message":"AiError: The estimated number of input and maximum output tokens (9000) exceeded this model context window limit (8192)."}],"messages":[],"result":{}}"#, ContextLength),
        (401, r#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"messages":[],"result":null}"#, Auth),
        (429, r#"{"success":false,"errors":[{"code":3036,"message":"AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade to Cloudflare's Workers Paid plan if you would like to continue usage."}],"messages":[],"result":{}}"#, Quota),
        (429, r#"{"success":false,"errors":[{"code":3040,"message":"AiError: AiError: Capacity temporarily exceeded, please try again."}],"messages":[],"result":{}}"#, Overloaded),
    ]),
    ("xai", &[
        (400, r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***yz. You can obtain an API key from https://console.x.ai."}"#, Auth),
        (400, r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens."}"#, ContextLength),
        (403, r#"{"code":"The caller does not have permission to execute the specified operation","error":"Your newly created team doesn't have any credits yet. You can purchase those on https://console.x.ai."}"#, Quota),
        (403, r#"{"code":"The caller does not have permission to execute the specified operation","error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}"#, Content),
        (404, r#"{"code":"Some requested entity was not found","error":"The model x does not exist or your team does not have access to it."}"#, NotFound),
        (429, r#"{"code":"Some resource has been exhausted","error":"Your team has either used all available credits or reached its monthly spending limit."}"#, Quota),
        (429, r#"{"code":"Some resource has been exhausted","error":"Too many requests for team. Your team's rate limit is 60 requests per minute."}"#, Rate),
    ]),
    ("zhipu", &[
        (400, r#"{"error":{"code":"1211","message":"Unknown Model, please check the model code."}}"#, NotFound),
        (400, r#"{"error":{"code":"1261","message":"Prompt exceeds max length"}}"#, ContextLength),
        (400, r#"{"contentFilter":[{"level":1,"role":"user"}],"error":{"code":"1301","message":"System detected potentially unsafe or sensitive content in input or generation."}}"#, Content),
        (401, r#"{"error":{"code":"1002","message":"Authorization Token invalid"}}"#, Auth),
        (429, r#"{"error":{"code":"1113","message":"Insufficient balance or no resource package. Please recharge."}}"#, Quota),
        (429, r#"{"error":{"code":"1302","message":"High concurrency usage of this API, please reduce concurrency or contact customer service to increase limits"}}"#, Rate),
        (429, r#"{"error":{"code":"1305","message":"The service may be temporarily overloaded, please try again later"}}"#, Overloaded),
    ]),
];

#[rustfmt::skip]
const IN_STREAMS: &[(&str, &str, ErrorClass)] = &[
    ("anthropic", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", Overloaded),
    ("anthropic", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal server error\"}}\n\n", Server),
    ("azure", "data: {\"error\":{\"message\":\"The response was filtered.\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400}}\n\n", Content),
    ("cohere", "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"Something broke.\"}}\n\n", Server),
    ("deepseek", "data: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"insufficient_system_resource\"}]}\n\ndata: [DONE]\n\n", Overloaded),
    ("gemini", "data: {\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}\n\n", Overloaded),
    ("groq", "event: error\ndata: {\"error\":{\"message\":\"Failed to call a function.\",\"type\":\"invalid_request_error\",\"code\":\"tool_use_failed\",\"failed_generation\":\"\"}}\n\n", Server),
    ("ollama", "{\"error\":\"an error was encountered while running the model\"}\n", Server),
    ("openai", "data: {\"error\":{\"message\":\"The server had an error processing your request.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n", Server),
    ("openai", "data: {\"error\":{\"message\":\"Rate limit reached.\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\n", Rate),
    ("openrouter", ": OPENROUTER PROCESSING\n\ndata: {\"id\":\"1\",\"error\":{\"code\":502,\"message\":\"Provider disconnected\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n", Server),
    ("openrouter", "data: {\"id\":\"1\",\"error\":{\"code\":429,\"message\":\"Rate limit exceeded\"},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n", Rate),
    ("vllm", "data: {\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}\n\n", ContextLength),
    ("zhipu", "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"network_error\"}]}\n\ndata: [DONE]\n\n", Server),
];

#[rustfmt::skip]
const BEDROCK: &[(u16, &str, &str, ErrorClass)] = &[
    (400, "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/", "Input is too long for requested model.", ContextLength),
    (400, "ValidationException", "The provided model identifier is invalid.", NotFound),
    (400, "ValidationException", "Malformed input request: #: required key [messages] not found, please reformat your input and try again.", Invalid),
    (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", Auth),
    (403, "UnrecognizedClientException", "The security token included in the request is invalid.", Auth),
    (403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided.", Auth),
    (404, "ResourceNotFoundException", "This model version has reached the end of its life.", NotFound),
    (408, "ModelTimeoutException", "Model has timed out in processing the request.", Timeout),
    (424, "ModelErrorException", "The system encountered an unexpected error during processing.", Server),
    (429, "ThrottlingException", "Too many requests, please wait before trying again.", Rate),
    (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", Quota),
    (429, "ModelNotReadyException", "The model is not ready for inference.", Overloaded),
    (500, "InternalServerException", "The system encountered an unexpected error during processing.", Server),
    (503, "ServiceUnavailableException", "Bedrock is unable to process your request.", Overloaded),
];
