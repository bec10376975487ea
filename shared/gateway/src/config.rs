//! The deployment's settings, read once.

use hypercare::notify::Allowed;
use llm::kept;

use crate::{outlet::Outlets, ports::Limits, secret::Secrets};

/// What a deployment can set. Provider keys are looked up when a call needs them, so that a provider
/// nobody uses costs nothing.
pub struct Config {
    /// What is derived from `HYPERGATE_SECRET`; without it no key can be checked and none made.
    pub secrets: Option<Secrets>,
    /// `ADMIN_TOKEN`: opens `/admin/v1` and `/metrics`.
    pub admin_token: Option<String>,
    /// `ALERTS_TOKEN`: opens `POST /internal/alerts` to those who report alerts of their own.
    pub alerts_token: Option<String>,
    /// `TICK_TOKEN`: opens `POST /internal/tick`.
    pub tick_token: Option<String>,
    /// `MAX_BODY_BYTES`: larger requests are refused before they are read.
    pub max_body_bytes: usize,
    /// `MAX_UPLOAD_BYTES`: the same for forms with files, which are not held.
    pub max_upload_bytes: usize,
    /// `FIRST_BYTE_TIMEOUT_MS`, `IDLE_TIMEOUT_MS`: bounds of a streamed answer.
    pub stream_limits: Limits,
    /// `ANSWER_TIMEOUT_MS`: bound of a whole answer, which is silent until it is finished.
    pub answer_limits: Limits,
    /// `SESSION_IDLE_MS`: a socket on which neither side says anything for longer is closed.
    pub session_idle_ms: i64,
    /// `SESSION_MS`: so is one that is open for longer.
    pub session_ms: i64,
    /// `MAX_RETRY_WAIT_MS`: a provider that asks for a longer wait is not tried again by this call.
    pub max_retry_wait_ms: i64,
    /// `CLIENT_ADDRESS_HEADER`: where a proxy before the gateway says, last in it, whom it had a request from.
    pub client_address_header: Option<String>,
    /// `DATABASE_LIMIT_MB`: how large the database may become.
    pub database_limit_mb: Option<i64>,
    /// `HEARTBEAT_URL`: asked for after each tick that did all its work.
    pub heartbeat_url: Option<String>,
    /// `CLOUD_FILES`: what callers may have read with the gateway's own identity in a cloud.
    pub cloud_files: Vec<String>,
    /// `RELEASE`: the name of what is deployed, for records.
    pub release: String,
    /// `ALLOW_LOCAL_RECEIVERS`: alert receivers may be on this machine (`true`), or are these hosts. For development,
    /// and for what stands beside the gateway.
    pub allowed_receivers: Allowed,
    /// `RECEIVER_DNS`: a resolver that answers in JSON over https, asked what a receiver's name stands for.
    pub receiver_dns: Option<String>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, `RECORDS_URL` and what belongs to them: where records go besides the database.
    pub outlets: Outlets,
}

impl Config {
    /// Reads the settings through `lookup`. A number that is none, or a secret too short to be one, is
    /// an error for the operator.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, default: i64, range: std::ops::RangeInclusive<i64>| match lookup(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().ok().filter(|value| range.contains(value)).ok_or_else(|| {
                format!("{name} must be a whole number from {} to {}", range.start(), range.end())
            }),
        };
        let secrets = match lookup("HYPERGATE_SECRET") {
            None => None,
            Some(secret) if secret.len() < MIN_SECRET_CHARS => {
                return Err(format!("HYPERGATE_SECRET must have at least {MIN_SECRET_CHARS} characters"));
            }
            Some(secret) => Some(Secrets::derive(&secret)),
        };
        let receiver_dns = lookup("RECEIVER_DNS");
        if receiver_dns.as_ref().is_some_and(|url| !url.starts_with("https://") || url.contains(['?', '#'])) {
            return Err("RECEIVER_DNS must be an https URL without a query".to_owned());
        }
        let release = lookup("RELEASE").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
        let places = lookup("CLOUD_FILES").unwrap_or_default();
        let places = places.split(',').map(str::trim).filter(|place| !place.is_empty()).map(str::to_owned);
        let cloud_files: Vec<String> = places.collect();
        if let Some(place) = cloud_files.iter().find(|place| !kept::is_place(place)) {
            return Err(format!(
                "CLOUD_FILES must hold places like gs://bucket/path/, s3://bucket/path/ or projects/…, parted by commas, not `{place}`"
            ));
        }
        let idle_ms = number("IDLE_TIMEOUT_MS", 30_000, 100..=600_000)?;
        let first_byte_ms = number("FIRST_BYTE_TIMEOUT_MS", 30_000, 100..=600_000)?;
        let answer_ms = number("ANSWER_TIMEOUT_MS", 300_000, 100..=3_600_000)?;
        Ok(Self {
            secrets,
            admin_token: lookup("ADMIN_TOKEN"),
            alerts_token: lookup("ALERTS_TOKEN"),
            tick_token: lookup("TICK_TOKEN"),
            max_body_bytes: number("MAX_BODY_BYTES", 32 << 20, 1_024..=100 << 20)? as usize,
            max_upload_bytes: number("MAX_UPLOAD_BYTES", 512 << 20, 1_024..=2 << 30)? as usize,
            stream_limits: Limits { first_byte_ms, idle_ms, max_bytes: MAX_ANSWER_BYTES, any_stream: false },
            answer_limits: Limits {
                first_byte_ms: answer_ms,
                idle_ms,
                max_bytes: MAX_ANSWER_BYTES,
                any_stream: false,
            },
            session_idle_ms: number("SESSION_IDLE_MS", 300_000, 100..=3_600_000)?,
            session_ms: number("SESSION_MS", 3_600_000, 100..=86_400_000)?,
            max_retry_wait_ms: number("MAX_RETRY_WAIT_MS", 2_000, 0..=60_000)?,
            client_address_header: lookup("CLIENT_ADDRESS_HEADER").map(|name| name.to_ascii_lowercase()),
            database_limit_mb: lookup("DATABASE_LIMIT_MB")
                .map(|_| number("DATABASE_LIMIT_MB", 0, 1..=100_000_000))
                .transpose()?,
            heartbeat_url: lookup("HEARTBEAT_URL"),
            outlets: Outlets::read(&lookup, &release)?,
            cloud_files,
            release,
            receiver_dns,
            allowed_receivers: Allowed::parse(&lookup("ALLOW_LOCAL_RECEIVERS").unwrap_or_default()),
        })
    }
}

/// Short secrets can be guessed offline from a stolen database.
const MIN_SECRET_CHARS: usize = 32;

/// An isolate has 128 MB; answers with images may have some tens.
const MAX_ANSWER_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(settings: &[(&str, &str)]) -> Result<Config, String> {
        let owned: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::read(move |name| {
            owned.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn has_defaults_for_all_but_secrets() {
        let config = with(&[]).expect("defaults");
        assert!(config.secrets.is_none() && config.admin_token.is_none() && config.tick_token.is_none());
        assert_eq!(config.max_body_bytes, 33_554_432);
        assert_eq!(config.stream_limits.first_byte_ms, 30_000);
        assert_eq!(config.answer_limits.first_byte_ms, 300_000);
        assert_eq!(config.allowed_receivers, Allowed::Nothing);
        assert!(config.cloud_files.is_empty());
        let config = with(&[("CLOUD_FILES", "gs://a/b/, s3://c,")]).expect("places");
        assert_eq!(config.cloud_files, ["gs://a/b/", "s3://c"]);
    }

    #[test]
    fn says_which_setting_is_wrong() {
        for (name, value) in [
            ("MAX_BODY_BYTES", "lots"),
            ("MAX_BODY_BYTES", "-1"),
            ("IDLE_TIMEOUT_MS", "0"),
            ("ANSWER_TIMEOUT_MS", "1e9"),
            ("MAX_RETRY_WAIT_MS", "3600000"),
            ("DATABASE_LIMIT_MB", "0"),
            ("HYPERGATE_SECRET", "short"),
            ("RECEIVER_DNS", "http://dns.example/"),
            ("CLOUD_FILES", "gs://a/, *"),
        ] {
            let message = with(&[(name, value)]).err().expect(value);
            assert!(message.contains(name), "{message}");
        }
    }
}
