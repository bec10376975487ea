//! What callers of models reach: the calls, the models they may ask for, the files and batches providers keep for them.

use gateway::{
    Error, Host,
    call::{self, Incoming, Reply},
    objects,
    store::objects::Kind,
};
use http::Method;
use llm::{
    dialect::{
        chat_completions::{ChatCompletions, Completions},
        cohere::Cohere,
        converse::Converse,
        generate_content::GenerateContent,
        messages::Messages,
        responses::Responses,
    },
    operation::{
        Chat, CountTokens, Embeddings, Images, Moderations, Operation, Rerank, Speech, forms,
        realtime::Realtime,
    },
};

use crate::{models, route::plain};

/// Answers a request; nothing where the path is another's.
pub(crate) async fn answer<H: Host>(
    incoming: &Incoming,
    host: &H,
) -> Option<Result<Reply<H::Stream>, Error>> {
    let path = plain(incoming.uri().path());
    if let Some((operation, route)) =
        operation(path).filter(|(operation, _)| incoming.method() == method(*operation))
    {
        return Some(Ok(call::call(host, incoming, operation, route).await));
    }
    if incoming.method() == Method::GET
        && let Some(answer) = models::answer(path, incoming, host).await
    {
        return Some(Ok(Reply::unrecorded(answer)));
    }
    let (kind, path) = kept(path)?;
    objects::answer(host, incoming, kind, path).await
}

/// Whose clients ask at such paths, rightly or not, and what their base URL is to be.
pub(crate) fn clients_of(path: &str) -> (&'static dyn Operation, &'static str) {
    const WHOLE: &str = "This client's base URL is the gateway's address, without a path. ";
    if path.starts_with("/admin/") || path.starts_with("/internal/") {
        (&Chat(&ChatCompletions), "")
    } else if path.contains("/v1beta") || path.ends_with("enerateContent") {
        (&Chat(&GenerateContent), WHOLE)
    } else if path.contains("/messages") {
        (&Chat(&Messages), WHOLE)
    } else if path.contains("/model/") || path.contains("/converse") {
        (&Chat(&Converse), WHOLE)
    } else if path.starts_with("/v2/") {
        (&Chat(&Cohere), WHOLE)
    } else {
        (&Chat(&ChatCompletions), "A client's base URL ends in `/v1`. ")
    }
}

/// A socket is opened with a GET; everything else is sent.
fn method(operation: &dyn Operation) -> Method {
    if operation.is_socket() { Method::GET } else { Method::POST }
}

/// What of what providers keep this path is about, and the rest of the path.
fn kept(path: &str) -> Option<(Kind, &str)> {
    let path = path.strip_prefix("/v1/")?;
    let (kind, rest) = match path.strip_prefix("files") {
        Some(rest) => (Kind::File, rest),
        None => (Kind::Batch, path.strip_prefix("batches")?),
    };
    (rest.is_empty() || rest.starts_with('/')).then_some((kind, rest))
}

/// What a caller at this path wants, and the path's template.
fn operation(path: &str) -> Option<(&'static dyn Operation, &'static str)> {
    match path {
        "/v1/chat/completions" => Some((&Chat(&ChatCompletions), "/v1/chat/completions")),
        "/v1/completions" => Some((&Chat(&Completions), "/v1/completions")),
        "/v1/embeddings" => Some((&Embeddings, "/v1/embeddings")),
        "/v1/images/generations" => Some((&Images, "/v1/images/generations")),
        "/v1/audio/speech" => Some((&Speech, "/v1/audio/speech")),
        "/v1/moderations" => Some((&Moderations, "/v1/moderations")),
        "/v1/rerank" => Some((&Rerank::Jina, "/v1/rerank")),
        "/v2/rerank" => Some((&Rerank::Cohere, "/v2/rerank")),
        "/v1/messages" => Some((&Chat(&Messages), "/v1/messages")),
        "/v1/messages/count_tokens" => Some((&CountTokens::Messages, "/v1/messages/count_tokens")),
        "/v1/responses" => Some((&Chat(&Responses), "/v1/responses")),
        "/v1/responses/input_tokens" => Some((&CountTokens::Responses, "/v1/responses/input_tokens")),
        "/v1/audio/transcriptions" => Some((&forms::TRANSCRIPTION, "/v1/audio/transcriptions")),
        "/v1/audio/translations" => Some((&forms::TRANSLATION, "/v1/audio/translations")),
        "/v1/images/edits" => Some((&forms::IMAGE_EDIT, "/v1/images/edits")),
        "/v1/images/variations" => Some((&forms::IMAGE_VARIATION, "/v1/images/variations")),
        "/v1/realtime" => Some((&Realtime, "/v1/realtime")),
        "/v2/chat" => Some((&Chat(&Cohere), "/v2/chat")),
        // A model's name may have slashes.
        _ if path.starts_with("/model/") => match path.rsplit_once('/')?.1 {
            "converse" => Some((&Chat(&Converse), "/model/{model}/converse")),
            "converse-stream" => Some((&Chat(&Converse), "/model/{model}/converse-stream")),
            "count-tokens" => Some((&CountTokens::Converse, "/model/{model}/count-tokens")),
            _ => None,
        },
        // Google's newer clients leave out the `beta`.
        _ => match path
            .strip_prefix("/v1beta/")
            .or(path.strip_prefix("/v1/"))?
            .strip_prefix("models/")?
            .rsplit_once(':')?
            .1
        {
            "countTokens" => Some((&CountTokens::GenerateContent, "/v1beta/models/{model}:countTokens")),
            "generateContent" => Some((&Chat(&GenerateContent), "/v1beta/models/{model}:generateContent")),
            "streamGenerateContent" => {
                Some((&Chat(&GenerateContent), "/v1beta/models/{model}:streamGenerateContent"))
            }
            _ => None,
        },
    }
}
