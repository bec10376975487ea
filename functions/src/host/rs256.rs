//! RSA signatures where the runtime has none: SHA-256, the padding of PKCS #1 v1.5, a key in PKCS #8.
//!
//! Small, for it is only there to be given a token once an hour. The power is taken in a time that does not
//! depend on the key, and a signature that does not verify is never given away: one made by a faulty machine
//! would tell the key.

use crypto_bigint::{
    BoxedUint, Odd,
    modular::{BoxedMontyForm, BoxedMontyParams},
};
use sha2::{Digest as _, Sha256};

/// Signs; `None` where the key is no RSA key.
pub(crate) fn sign(pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let Key { modulus, public, private } = key(pkcs8)?;
    let bytes = modulus.len();
    let bits = u32::try_from(bytes).ok()? * 8;
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).ok();
    let params = BoxedMontyParams::new(Odd::new(number(modulus)?).into_option()?);
    let power = |base: BoxedUint, exponent: &[u8]| {
        Some(BoxedMontyForm::new(base, &params).pow(&number(exponent)?).retrieve())
    };
    let padded = number(&padded(message, bytes)?)?;
    let signature = power(padded.clone(), private)?;
    if power(signature.clone(), public)? != padded {
        return None;
    }
    let signature = signature.to_be_bytes();
    Some(signature[signature.len().checked_sub(bytes)?..].to_vec())
}

/// `00 01 ff … ff 00`, then the hash and what it is.
fn padded(message: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let filling = bytes.checked_sub(3 + DIGEST_INFO.len() + 32)?;
    // PKCS #1 asks for eight at least.
    if filling < 8 {
        return None;
    }
    let mut padded = vec![0, 1];
    padded.resize(2 + filling, 0xff);
    padded.push(0);
    padded.extend_from_slice(&DIGEST_INFO);
    padded.extend_from_slice(&Sha256::digest(message));
    Some(padded)
}

struct Key<'a> {
    modulus: &'a [u8],
    public: &'a [u8],
    private: &'a [u8],
}

fn key(pkcs8: &[u8]) -> Option<Key<'_>> {
    let (mut info, _) = value(pkcs8, SEQUENCE)?;
    (_, info) = value(info, INTEGER)?;
    let (algorithm, rest) = value(info, SEQUENCE)?;
    if !algorithm.starts_with(&RSA) {
        return None;
    }
    let (key, _) = value(rest, OCTETS)?;
    let (key, _) = value(key, SEQUENCE)?;
    let (_, rest) = value(key, INTEGER)?;
    let (modulus, rest) = value(rest, INTEGER)?;
    let (public, rest) = value(rest, INTEGER)?;
    let (private, _) = value(rest, INTEGER)?;
    Some(Key { modulus: unsigned(modulus), public: unsigned(public), private: unsigned(private) })
}

/// A number without the zero that says that it is not negative.
fn unsigned(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

/// The content of the value `der` begins with, which has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |all, digit| all << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    if *found != tag {
        return None;
    }
    rest.split_at_checked(length)
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The name of `rsaEncryption`.
const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// What says that a hash is of SHA-256.
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    fn pkcs8() -> Vec<u8> {
        let account = include_str!("../../../tests/fixtures/keys/service_account.json");
        let account: serde_json::Value = serde_json::from_str(account).expect("JSON");
        let pem = account["private_key"].as_str().expect("a key");
        let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        BASE64_STANDARD.decode(lines).expect("base64")
    }

    /// Made by `openssl dgst -sha256 -sign`.
    const SIGNED: [(&str, &str); 2] = [
        (
            "",
            "YGE4YWmZOOPie6zDq53s+wPDsow7KBvAOY2FEgKvoMWZQKa6uFjfL+zzv+/kVHgISSLs4LI9dkOCNY0hK2pduq8N6eRrMDAhEM5so095oBHukt7ET3QEibx6dOprXXzQdeApnX+Cp+loL0TSGBGnffTGDdKwm0YwK4AJFcJo0Wbm3ZZDomGEd93rbkKkTC1DnF4sL3HHqmEy9IXmdUEpSdIaExe70ImGichRzSJHyAH58gjCGd/Gsjs31UJ44xiXl6amOhNAeg7oqYvY4so7Npl58pCoYfW8AvbfO+1v3UILex4jSowzrJhZk488S3HEZFh4C7FQXIWOvH5gN3/JPQ==",
        ),
        (
            "eyJhbGciOiJSUzI1NiJ9.e30",
            "MFnJo6jUWITaOZYgcWq+i1dnjWUSpS93u/oBU9zf0ogW4Qxoii64D2ITRfBk13hGn/fh+YW5OoxXl5EbJlAEe/GnHR5c1QRnaCZP2+e5An3BTTP6Q2iQ8gjMMjd362OGVShGWa6ZpK3FP3zNKFl8neTSMf5koqFyJn6ltj+paNrMhVdo42/UG6v0zmSTWLawV0H4XDlsVMfojlYpKSDKtwMEQJycEodcxXqsJXRmBROuoWIQbHrPWi+W6wNK7UHMQNQtAgjFzOg3k89pACNgbUMcfsZ1v9TYZNxcyA2zPsFjfgbAh2VyoDTkannlah0axVp0SyMOGHzMIbiRxfjwcg==",
        ),
    ];

    #[test]
    fn signatures_are_those_of_openssl() {
        for (message, expected) in SIGNED {
            let signature = sign(&pkcs8(), message.as_bytes()).expect("an RSA key");
            assert_eq!(BASE64_STANDARD.encode(signature), expected, "{message}");
        }
    }

    #[test]
    fn what_is_no_key_signs_nothing() {
        let key = pkcs8();
        for cut in 0..600 {
            assert_eq!(sign(&key[..cut], b"a"), None, "{cut}");
        }
        assert_eq!(sign(b"-----BEGIN PRIVATE KEY-----", b"a"), None);
        // A key whose parts do not belong together.
        let mut other = pkcs8();
        other[60] ^= 4;
        assert_eq!(sign(&other, b"a"), None);
    }
}
