//! Secrets at rest. API keys and end users are stored as keyed hashes, which can be checked and not
//! read; what must be read again, such as a receiver's address, is encrypted.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit as _, Payload},
};
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::Sha256;

/// The keys derived from the deployment's one secret, each good for one purpose.
#[derive(Clone)]
pub struct Secrets {
    /// Holds the padded key already hashed in, so that a call pays for its own bytes only.
    api_key: Hmac<Sha256>,
    key_check: Hmac<Sha256>,
    end_user: Hmac<Sha256>,
    source: Hmac<Sha256>,
    seal: [u8; 32],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Derives the keys from the deployment's secret.
    pub fn derive(secret: &str) -> Self {
        let derive = |purpose: &str| -> [u8; 32] {
            let mut mac = keyed(secret.as_bytes());
            mac.update(purpose.as_bytes());
            mac.finalize().into_bytes().into()
        };
        Self {
            api_key: keyed(&derive("hypergate api key v1")),
            key_check: keyed(&derive("hypergate api key check v1")),
            end_user: keyed(&derive("hypergate end user v1")),
            source: keyed(&derive("hypergate source v1")),
            seal: derive("hypergate seal v1"),
        }
    }

    /// A new API key from random bytes. Its end is a check of the rest that only this deployment can make.
    pub fn new_key(&self, random: [u8; 32]) -> String {
        let random = BASE64.encode(random);
        format!("{KEY_PREFIX}{random}{}", self.check_of(&random))
    }

    /// Whether a key was made here, existing or not. What was not need not be looked up: made-up keys cost
    /// a hash and nothing else.
    pub fn made(&self, key: &str) -> bool {
        let parts = key.strip_prefix(KEY_PREFIX).and_then(|rest| rest.split_at_checked(RANDOM_CHARS));
        parts.is_some_and(|(random, check)| same(check, &self.check_of(random)))
    }

    fn check_of(&self, random: &str) -> String {
        let mut mac = self.key_check.clone();
        mac.update(random.as_bytes());
        BASE64.encode(&mac.finalize().into_bytes()[..8])
    }

    /// The hash an API key is stored under.
    pub fn key_hash(&self, key: &str) -> [u8; 32] {
        let mut mac = self.api_key.clone();
        mac.update(key.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// A tenant's end user, not recognisable but countable. The same name differs between tenants.
    pub fn end_user_hash(&self, tenant_id: &str, user: &str) -> String {
        let mut mac = self.end_user.clone();
        mac.update(tenant_id.as_bytes());
        mac.update(&[0]);
        mac.update(user.as_bytes());
        hex(&mac.finalize().into_bytes()[..16])
    }

    /// A caller's network, not recognisable but countable. Short, for people compare it by eye.
    pub fn source_hash(&self, network: &[u8]) -> String {
        let mut mac = self.source.clone();
        mac.update(network);
        hex(&mac.finalize().into_bytes()[..6])
    }

    /// Encrypts a text for the row `context`: moved to another row, it does not open.
    pub fn seal(&self, text: &str, context: &str, nonce: [u8; 24]) -> String {
        let payload = Payload { msg: text.as_bytes(), aad: context.as_bytes() };
        let sealed = XChaCha20Poly1305::new(&self.seal.into())
            .encrypt(&XNonce::from(nonce), payload)
            .expect("texts are far below the cipher's limit of 256 GiB");
        format!("v1.{}.{}", BASE64.encode(nonce), BASE64.encode(sealed))
    }

    /// Opens what [`Self::seal`] made; `None` if the secret, the row or the text is another.
    pub fn open(&self, sealed: &str, context: &str) -> Option<String> {
        let (nonce, sealed) = sealed.strip_prefix("v1.")?.split_once('.')?;
        let nonce: [u8; 24] = BASE64.decode(nonce).ok()?.try_into().ok()?;
        let sealed = BASE64.decode(sealed).ok()?;
        let payload = Payload { msg: &sealed, aad: context.as_bytes() };
        let text = XChaCha20Poly1305::new(&self.seal.into()).decrypt(&XNonce::from(nonce), payload).ok()?;
        String::from_utf8(text).ok()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Whether two secrets are the same, in a time that does not tell how much of them is.
pub fn same(left: &str, right: &str) -> bool {
    // Comparing MACs under a common key hides both length and content.
    let tag = |text: &str| {
        let mut mac = keyed(b"hypergate compare");
        mac.update(text.as_bytes());
        mac
    };
    tag(left).verify_slice(&tag(right).finalize().into_bytes()).is_ok()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Whether a text can be an API key at all. Anything else need not be hashed.
pub fn is_key_shaped(text: &str) -> bool {
    text.strip_prefix(KEY_PREFIX).is_some_and(|rest| {
        rest.len() == RANDOM_CHARS + CHECK_CHARS
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

/// Lets people and secret scanners see what it is.
const KEY_PREFIX: &str = "hg_";

/// 32 random bytes in base64.
const RANDOM_CHARS: usize = 43;

/// 8 bytes of check in base64.
const CHECK_CHARS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::derive("a deployment's secret, thirty-two")
    }

    #[test]
    fn a_sealed_text_opens_only_with_the_same_secret_in_the_same_row() {
        let sealed = secrets().seal("https://hooks.example/T1", "rcv_1/url", [7; 24]);
        assert!(!sealed.contains("hooks"));
        assert_eq!(secrets().open(&sealed, "rcv_1/url").as_deref(), Some("https://hooks.example/T1"));
        assert_eq!(secrets().open(&sealed, "rcv_2/url"), None);
        assert_eq!(Secrets::derive("another secret of thirty-two chars").open(&sealed, "rcv_1/url"), None);
        assert_eq!(secrets().open(&sealed[..sealed.len() - 2], "rcv_1/url"), None);
    }

    #[test]
    fn hashes_depend_on_the_secret_and_the_tenant() {
        let key = secrets().new_key([1; 32]);
        assert!(is_key_shaped(&key), "{key}");
        assert_eq!(secrets().key_hash(&key), secrets().key_hash(&key));
        assert_ne!(
            secrets().key_hash(&key),
            Secrets::derive("another secret of thirty-two chars").key_hash(&key)
        );
        assert_ne!(secrets().end_user_hash("tn_1", "ann"), secrets().end_user_hash("tn_2", "ann"));
    }

    #[test]
    fn a_key_shows_where_it_was_made() {
        let key = secrets().new_key([1; 32]);
        assert!(secrets().made(&key));
        assert!(!Secrets::derive("another secret of thirty-two chars").made(&key));
        assert!(!secrets().made(&key.replacen('A', "B", 1)));
        assert!(!secrets().made(&format!("hg_{}", "A".repeat(54))));
    }

    #[test]
    fn what_cannot_be_a_key_is_not_looked_up() {
        for text in [
            "",
            "hg_",
            "sk-1234",
            "hg_short",
            &format!("hg_{}", "!".repeat(54)),
            &format!("xx_{}", "a".repeat(54)),
        ] {
            assert!(!is_key_shaped(text), "{text}");
        }
    }

    #[test]
    fn compares_secrets_whole() {
        assert!(same("token", "token"));
        assert!(!same("token", "token2") && !same("token", "tokem") && !same("token", ""));
    }
}
