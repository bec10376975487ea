//! Signatures compared with those of botocore, Amazon's own library; `tests/oracles/sigv4.py` asks it.

use llm::sigv4::{Parts, Signer, encode, sign};
use serde_json::Value;

#[test]
fn awkward_requests_are_signed_as_botocore_signs_them() {
    let oracle: Value = serde_json::from_str(include_str!("sigv4_oracle.json")).expect("JSON");
    let cases = oracle["cases"].as_array().expect("cases");
    assert!(cases.len() > 50, "{}", cases.len());
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap_or_default();
        let (host, path) = text("url").trim_start_matches("https://").split_once('/').expect("a path");
        let parts = Parts {
            method: "POST",
            host,
            path: &format!("/{path}"),
            query: "",
            headers: &[("content-type", "application/json")],
            body: text("body").as_bytes(),
        };
        let signer = Signer {
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token: case["token"].as_str(),
            region: text("region"),
            service: "bedrock",
            amz_date: "20260101T000007Z",
        };
        let signed = sign(&parts, &signer);
        let (_, authorization) = signed.last().expect("authorization");
        assert_eq!(authorization, text("authorization"), "{}", text("url"));
    }
}

#[test]
fn a_model_is_one_segment_of_the_path() {
    assert_eq!(
        encode("arn:aws:bedrock::1:inference-profile/us.a-v1:0"),
        "arn%3Aaws%3Abedrock%3A%3A1%3Ainference-profile%2Fus.a-v1%3A0"
    );
}
