//! Where a Messages request goes: to Anthropic, or to a cloud that serves Claude.
//!
//! The clouds have the model in the address and the version in the body, and refuse the whole call for a field
//! or a beta they do not know. On Bedrock the betas are in the body too, and so is no wish for a stream, which
//! the address tells. All else stays as it is, byte for byte.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    Error, Target,
    dialect::{Encoded, post},
    peek,
    provider::Hosting,
    sigv4,
};

/// The request with this body, whose model is the target's.
pub(super) fn request(
    body: Vec<u8>,
    stream: bool,
    headers: &HeaderMap,
    target: &Target<'_>,
) -> Result<Encoded, Error> {
    let (base, model) = (target.base_url, || sigv4::encode(target.model));
    let (url, version) = match target.provider.hosting {
        Hosting::Own => return own(body, headers, target),
        Hosting::Bedrock => {
            let call = if stream { "invoke-with-response-stream" } else { "invoke" };
            (format!("{base}/model/{}/{call}", model()), BEDROCK_VERSION)
        }
        Hosting::Vertex => {
            let call = if stream { "streamRawPredict" } else { "rawPredict" };
            (format!("{base}/publishers/anthropic/models/{}:{call}", model()), VERTEX_VERSION)
        }
    };
    let is_bedrock = target.provider.hosting == Hosting::Bedrock;
    let (body, betas, unknown) = known(body, is_bedrock)?;
    let mut headers = headers.clone();
    for beta in betas {
        headers.append(BETA_HEADER, beta);
    }
    let (taken, mut dropped) = target.provider.betas.sort(&headers);
    dropped.extend(unknown);

    let mut version = format!(r#""anthropic_version":"{version}""#);
    if let Some((_, betas)) = taken.as_ref().filter(|_| is_bedrock) {
        version.push_str(r#","anthropic_beta":"#);
        version.push_str(&serde_json::to_string(betas).expect("words are JSON"));
    }
    let mut body = body;
    let [model] = peek::fields(&body, ["model"], 1)?;
    if let Some(model) = model {
        let at = peek::member(model, &body);
        body.splice(at, version.into_bytes());
    }
    let mut request = post(url, target, body)?;
    if let Some((name, betas)) = taken.filter(|_| !is_bedrock)
        && let Ok(betas) = HeaderValue::from_str(&betas.join(","))
    {
        request.headers_mut().insert(HeaderName::from_static(name), betas);
    }
    Ok(Encoded::new(request, dropped))
}

fn own(body: Vec<u8>, headers: &HeaderMap, target: &Target<'_>) -> Result<Encoded, Error> {
    let request = post(format!("{}/v1/messages", target.base_url), target, body)?;
    let mut encoded = Encoded::forwarded(request, headers, target);
    let version = headers.get(VERSION_HEADER).filter(|value| is_date(value.as_bytes())).cloned();
    let version = version.unwrap_or(HeaderValue::from_static(VERSION));
    encoded.request.headers_mut().insert(VERSION_HEADER, version);
    Ok(encoded)
}

fn is_date(text: &[u8]) -> bool {
    text.len() == 10 && text.iter().all(|letter| letter.is_ascii_digit() || *letter == b'-')
}

/// A body without what the clouds have no place for, the betas that stood in it, and the names of what they do
/// not know.
type Known = (Vec<u8>, Vec<HeaderValue>, Vec<String>);

fn known(mut body: Vec<u8>, is_bedrock: bool) -> Result<Known, Error> {
    // A caller's own word on the version is for another address.
    const NAMES: [&str; 3] = ["anthropic_beta", "anthropic_version", "stream"];
    let [betas, version, stream] = peek::fields(&body, NAMES, 0)?;
    let unknown = peek::fields(&body, UNKNOWN, 0)?;
    let unknown = UNKNOWN.into_iter().zip(unknown).filter(|(_, field)| field.is_some());
    let unknown: Vec<&str> = unknown.map(|(name, _)| name).collect();
    let placeless = NAMES.into_iter().zip([betas, version, stream.filter(|_| is_bedrock)]);
    let placeless: Vec<&str> = placeless.filter(|(_, field)| field.is_some()).map(|(name, _)| name).collect();
    let betas = betas.and_then(|betas| serde_json::from_str::<Vec<String>>(betas.get()).ok());
    let betas = betas.into_iter().flatten().filter_map(|beta| HeaderValue::from_str(&beta).ok()).collect();
    for name in unknown.iter().chain(&placeless) {
        let [field] = peek::fields(&body, [*name], 0)?;
        if let Some(at) = field.map(|field| peek::with_comma(peek::member(field, &body), &body)) {
            body.drain(at);
        }
    }
    Ok((body, betas, unknown.into_iter().map(str::to_owned).collect()))
}

pub(super) const VERSION: &str = "2023-06-01";
const BETA_HEADER: &str = "anthropic-beta";
const VERSION_HEADER: &str = "anthropic-version";
const BEDROCK_VERSION: &str = "bedrock-2023-05-31";
const VERTEX_VERSION: &str = "vertex-2023-10-16";

/// Fields for what only Anthropic itself runs: sandboxes, connections to other servers, tiers of service.
const UNKNOWN: [&str; 5] = ["container", "inference_geo", "mcp_servers", "service_tier", "speed"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dialect::messages::Messages, front::Front, provider};

    /// Where the caller's body goes, what it becomes, the betas beside it, and what is left out.
    fn sent(provider: &str, body: &str, betas: &str) -> [String; 4] {
        let target = Target {
            provider: provider::find(provider).expect("listed"),
            model: "claude-x@1:0",
            base_url: "https://e",
            credential: Some("k"),
        };
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-beta", HeaderValue::from_str(betas).expect("a header"));
        headers.insert(VERSION_HEADER, HeaderValue::from_static("2023-06-01"));
        let peek = Messages.peek("/v1/messages", body.as_bytes()).expect("valid");
        let encoded = Messages.forward(body.as_bytes(), &peek, &headers, &target).expect("a request");
        assert!(!encoded.request.headers().contains_key(VERSION_HEADER));
        let header = encoded.request.headers().get("anthropic-beta");
        [
            encoded.request.uri().to_string(),
            String::from_utf8_lossy(encoded.request.body()).into_owned(),
            header.map_or(String::new(), |value| value.to_str().expect("text").to_owned()),
            encoded.dropped.join(" "),
        ]
    }

    #[test]
    fn a_cloud_gets_the_callers_bytes_with_its_version_in_place_of_the_model() {
        let vertex = "https://e/publishers/anthropic/models/claude-x%401%3A0";
        let bedrock = "https://e/model/claude-x%401%3A0/invoke";
        let cases = [
            (
                "vertex",
                r#"{ "max_tokens": 9, "model" : "fast", "messages": [1.50] }"#,
                format!("{vertex}:rawPredict"),
                r#"{ "max_tokens": 9, "anthropic_version":"vertex-2023-10-16", "messages": [1.50] }"#,
            ),
            (
                "vertex",
                r#"{"mod\u0065l":"fast","messages":[],"stream": true}"#,
                format!("{vertex}:streamRawPredict"),
                r#"{"anthropic_version":"vertex-2023-10-16","messages":[],"stream": true}"#,
            ),
            (
                "bedrock",
                r#"{"messages":[], "stream" : true , "model":"fast"}"#,
                format!("{bedrock}-with-response-stream"),
                r#"{"messages":[],  "anthropic_version":"bedrock-2023-05-31"}"#,
            ),
            (
                "bedrock",
                r#"{"messages":[],"model":"fast", "stream": false }"#,
                bedrock.to_owned(),
                r#"{"messages":[],"anthropic_version":"bedrock-2023-05-31" }"#,
            ),
            (
                "bedrock",
                r#"{"stream":false,"model":"fast","messages":[],"anthropic_version":"vertex-2023-10-16"}"#,
                bedrock.to_owned(),
                r#"{"anthropic_version":"bedrock-2023-05-31","messages":[]}"#,
            ),
        ];
        for (provider, body, url, expected) in cases {
            assert_eq!(sent(provider, body, ""), [&url, expected, "", ""], "{provider} {body}");
        }
    }

    #[test]
    fn a_beta_or_field_a_cloud_does_not_take_is_left_out_and_named() {
        let body = r#"{"model":"fast","service_tier":"auto","messages":[],"mcp_servers":[{}],"anthropic_beta":["context-1m-2025-08-07","skills-2025-10-02"]}"#;
        let betas = "interleaved-thinking-2025-05-14,files-api-2025-04-14";
        let [_, sent_body, header, dropped] = sent("vertex", body, betas);
        assert_eq!(sent_body, r#"{"anthropic_version":"vertex-2023-10-16","messages":[]}"#);
        assert_eq!(header, "interleaved-thinking-2025-05-14,context-1m-2025-08-07");
        assert_eq!(
            dropped,
            "anthropic-beta:files-api-2025-04-14 anthropic-beta:skills-2025-10-02 mcp_servers service_tier"
        );
        let [_, sent_body, header, dropped] = sent("bedrock", body, betas);
        assert_eq!(
            sent_body,
            r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["context-1m-2025-08-07"],"messages":[]}"#
        );
        assert_eq!(header, "");
        assert_eq!(
            dropped,
            "anthropic-beta:interleaved-thinking-2025-05-14 anthropic-beta:files-api-2025-04-14 \
             anthropic-beta:skills-2025-10-02 mcp_servers service_tier"
        );
    }
}
