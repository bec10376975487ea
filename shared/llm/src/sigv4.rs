//! Amazon's Signature Version 4, which proves who sends a request without sending the secret.
//!
//! A pure function: the time is handed in. Written for services other than S3, which takes a path as it
//! stands; all others encode it once more before it is signed.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The host, with its port where that is not the scheme's own.
    pub host: &'a str,
    /// The path as it is sent, percent-encoded.
    pub path: &'a str,
    /// The query as it is sent, without the question mark; may be empty.
    pub query: &'a str,
    /// Further headers to sign, such as `content-type`; not `host`, nor those that signing adds.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// Who signs, and for what.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The access key's id.
    pub access_key: &'a str,
    /// The secret that goes with it.
    pub secret_key: &'a str,
    /// Comes with a temporary key.
    pub session_token: Option<&'a str>,
    /// `us-east-1`.
    pub region: &'a str,
    /// `bedrock`.
    pub service: &'a str,
    /// When, in UTC: `20150830T123600Z`.
    pub amz_date: &'a str,
}

/// The headers to add to the request: `x-amz-date`, `x-amz-security-token` where there is a token, and
/// `authorization`.
pub fn sign(parts: &Parts<'_>, signer: &Signer<'_>) -> Vec<(&'static str, String)> {
    let mut added = vec![("x-amz-date", signer.amz_date.to_owned())];
    added.extend(signer.session_token.map(|token| ("x-amz-security-token", token.to_owned())));

    let (canonical, signed) = canonical(parts, &added);
    let day = signer.amz_date.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", signer.region, signer.service);
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let text = format!("{ALGORITHM}\n{}\n{scope}\n{digest}", signer.amz_date);

    let mut key = format!("AWS4{}", signer.secret_key).into_bytes();
    for step in [day, signer.region, signer.service, "aws4_request"] {
        key = mac(&key, step.as_bytes());
    }
    let signature = hex(&mac(&key, text.as_bytes()));
    let credential = format!("{}/{scope}", signer.access_key);
    let value = format!("{ALGORITHM} Credential={credential}, SignedHeaders={signed}, Signature={signature}");
    added.push(("authorization", value));
    added
}

/// The request in the form both sides agree on, and the names of the headers in it.
fn canonical(parts: &Parts<'_>, added: &[(&'static str, String)]) -> (String, String) {
    let given = parts.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value));
    let added = added.iter().map(|(name, value)| ((*name).to_owned(), value.as_str()));
    let host = ("host".to_owned(), parts.host);
    let mut headers: Vec<(String, &str)> = given.chain(added).chain([host]).collect();
    // Stable: values of one name stay in order.
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));

    let mut lines = String::new();
    let mut names = String::new();
    for same in headers.chunk_by(|(one, _), (other, _)| one == other) {
        let values: Vec<String> = same.iter().map(|(_, value)| one_space(value)).collect();
        let name = same.first().map_or("", |(name, _)| name);
        let _ = writeln!(lines, "{name}:{}", values.join(","));
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
    }
    let (method, path, query) = (parts.method, path(parts.path), query(parts.query));
    let hash = hex(&Sha256::digest(parts.body));
    (format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}"), names)
}

fn one_space(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without `.`, `..` and empty segments, and each segment encoded once more.
fn path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(encode(segment)),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// Sorted, each parameter with an equals sign. It is encoded already.
fn query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use super::*;

    /// The account of Amazon's published test suite.
    const SIGNER: Signer<'_> = Signer {
        access_key: "AKIDEXAMPLE",
        secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: None,
        region: "us-east-1",
        service: "service",
        amz_date: "20150830T123600Z",
    };
    const PARTS: Parts<'_> =
        Parts { method: "GET", host: "example.amazonaws.com", path: "/", query: "", headers: &[], body: b"" };
    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

    fn signature(parts: &Parts<'_>, signer: &Signer<'_>) -> String {
        let headers = sign(parts, signer);
        let (_, value) = headers.last().expect("authorization");
        value.rsplit('=').next().expect("a signature").to_owned()
    }

    #[test]
    fn the_published_requests_have_their_published_signatures() {
        let cases = [
            (PARTS, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                Parts { method: "POST", ..PARTS },
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                Parts { query: "Param2=value2&Param1=value1", ..PARTS },
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ];
        for (parts, expected) in cases {
            assert_eq!(signature(&parts, &SIGNER), expected, "{parts:?}");
        }
        assert_eq!(
            sign(&PARTS, &SIGNER),
            [
                ("x-amz-date", "20150830T123600Z".to_owned()),
                (
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders=host;x-amz-date, \
                     Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
                        .to_owned()
                ),
            ]
        );
    }

    /// Signatures by botocore 1.44.5.
    #[test]
    fn awkward_requests_have_the_signatures_of_amazons_own_library() {
        let bedrock = Signer { service: "bedrock", ..SIGNER };
        let host = "bedrock-runtime.us-east-1.amazonaws.com";
        let post = Parts { method: "POST", host, headers: JSON, ..PARTS };
        let cases = [
            (
                Parts {
                    path: "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse",
                    body: b"{}",
                    ..post
                },
                bedrock,
                "3c3feb49109a300cd424069f75c1cf8f7ac9d3a44ad872bf8dd1aa9f4a796327",
            ),
            (
                Parts {
                    path: "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F\
                           us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream",
                    body: br#"{"messages":[]}"#,
                    ..post
                },
                Signer { session_token: Some("AQoDYXdzEPT//////////wEXAMPLE"), ..bedrock },
                "cd72d1f6752ab9131d77c76fe536fa797c60c2a208617f18d158078861a30367",
            ),
            (
                Parts {
                    path: "/a//b/./c/../d%20e/~x",
                    query: "k=a%20b&k=A&empty=&flag",
                    method: "GET",
                    headers: &[],
                    ..post
                },
                bedrock,
                "0181ca6717f6cfc485fd85885ac4d71bab72f9a0784fe4981b3cd6a504985ef1",
            ),
        ];
        for (parts, signer, expected) in cases {
            assert_eq!(signature(&parts, &signer), expected, "{}", parts.path);
        }
    }

    #[test]
    fn a_token_is_sent_and_signed() {
        let signer = Signer { session_token: Some("token"), ..SIGNER };
        let headers = sign(&Parts { headers: JSON, ..PARTS }, &signer);
        assert_eq!(headers.get(1), Some(&("x-amz-security-token", "token".to_owned())));
        let signed = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,";
        assert!(headers.last().expect("authorization").1.contains(signed));
    }
}
