//! What a deployment adds to a provider's row: an address, and what proves who asks. Which settings that takes
//! depends on the provider; the first that is missing is named.
//!
//! A key goes out with the request as it is. In its place stand, by [`Grant`]: an AWS access key, with which each
//! request is signed; a service account of Google's or an application of Entra's, which are given tokens. A token
//! is remembered by the isolate and, encrypted, by the key-value cache, and is renewed before it ends.

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use hypercare::time::rfc3339;
use llm::{
    ErrorClass, Provider, Target, UpstreamError,
    provider::{Api, Auth, Grant, is_claude},
    sigv4,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    Error, Host,
    call::setting_name,
    plan::Choice,
    ports::{Body, FetchError, Settings},
    secret::hex,
};

/// How one target is reached.
pub struct Access {
    base_url: String,
    key: Option<String>,
    /// What the address has behind the path.
    query: Option<String>,
    proof: Proof,
}

enum Proof {
    Aws {
        access_key: String,
        secret_key: String,
        session_token: Option<String>,
        region: String,
    },
    Bearer(String),
    /// The key, if there is one.
    Key,
}

/// A token of a provider's, and when it ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: String,
    expires_ms: i64,
}

/// What to speak with a target for a caller who speaks `callers`.
pub fn api_for(settings: &impl Settings, choice: &Choice<'_>, callers: Option<Api>) -> Api {
    let provider = choice.provider;
    match callers.map_or(provider.api, |callers| provider.api_for(callers, choice.model)) {
        // The older addresses have none of these.
        Api::Responses if provider.grant == Some(Grant::Entra) && is_dated(settings) => provider.api,
        api => api,
    }
}

/// Whether Azure is asked at its older addresses.
fn is_dated(settings: &impl Settings) -> bool {
    settings.setting("AZURE_API_VERSION").is_some()
}

/// Where the provider is, as far as the settings say.
pub fn base_url(settings: &impl Settings, provider: &Provider) -> String {
    let own = settings.setting(&setting_name(provider.name, "BASE_URL"));
    own.unwrap_or_else(|| provider.base_url.to_owned())
}

/// Names the first setting that is missing for a target to be called.
pub fn check(settings: &impl Settings, choice: &Choice<'_>) -> Result<(), Error> {
    let provider = choice.provider;
    let of = Of { host: settings, provider };
    let is_set = |suffix: &str| of.optional(suffix).is_some();
    let all = |suffixes: &[&str]| suffixes.iter().try_for_each(|suffix| of.required(suffix).map(drop));
    let either = |other: &str, suffixes: &[&str]| match suffixes.iter().any(|suffix| is_set(suffix)) {
        true => all(suffixes),
        false => Err(of.missing_either(other)),
    };
    if provider.api == Api::Demo {
        return Ok(());
    }
    // Named first: without it nothing else is of use.
    if provider.grant == Some(Grant::Entra) && base_url(settings, provider).is_empty() {
        return Err(of.missing("BASE_URL"));
    }
    match provider.grant {
        // A key is for Gemini: Claude is not to be had for one.
        Some(Grant::Google) if is_claude(choice.model) => all(&["SERVICE_ACCOUNT"])?,
        _ if is_set("API_KEY") => {}
        Some(Grant::Aws) => {
            let names = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"];
            either("BEDROCK_ACCESS_KEY_ID and BEDROCK_SECRET_ACCESS_KEY", &names)?;
        }
        Some(Grant::Entra) => {
            either("AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET", &ENTRA_SETTINGS)?;
        }
        Some(Grant::Google) => either("VERTEX_SERVICE_ACCOUNT", &["SERVICE_ACCOUNT"])?,
        None if provider.auth == Auth::Optional => {}
        None => all(&["API_KEY"])?,
    }
    match base_url(settings, provider).is_empty() {
        true => Err(of.missing("BASE_URL")),
        false => Ok(()),
    }
}

/// Reads the settings for a target; fetches a token where one is needed and none is at hand.
pub async fn access<H: Host>(host: &H, choice: &Choice<'_>) -> Result<Access, Error> {
    check(host, choice)?;
    let provider = choice.provider;
    let of = Of { host, provider };
    let key = of.optional("API_KEY");
    let own_url = of.optional("BASE_URL");
    let base_url = own_url.as_deref().unwrap_or(provider.base_url).trim_end_matches('/').to_owned();
    let plain = |base_url, key| Access { base_url, key, query: None, proof: Proof::Key };
    Ok(match provider.grant {
        Some(Grant::Aws) => {
            let region = of.optional("REGION").or_else(|| region_of(&base_url));
            let region = region.unwrap_or_else(|| AWS_REGION.to_owned());
            let base_url = match own_url {
                Some(_) => base_url,
                None => aws_url(&base_url, &region),
            };
            match key {
                Some(key) => plain(base_url, Some(key)),
                None => Access { proof: of.aws(region)?, ..plain(base_url, None) },
            }
        }
        Some(Grant::Entra) => {
            let proof = if key.is_none() { Proof::Bearer(of.entra().await?) } else { Proof::Key };
            let version = of.optional("API_VERSION");
            let base_url = match &version {
                Some(_) => {
                    let resource = base_url.trim_end_matches("/openai/v1").trim_end_matches("/openai");
                    match choice.model {
                        // Files and batches are no deployment's.
                        "" => format!("{resource}/openai"),
                        model => format!("{resource}/openai/deployments/{}", sigv4::encode(model)),
                    }
                }
                None => base_url,
            };
            let query = version.map(|version| format!("api-version={}", sigv4::encode(&version)));
            Access { base_url, key, query, proof }
        }
        Some(Grant::Google) => {
            let location = of.optional("LOCATION").unwrap_or_else(|| "global".to_owned());
            let project = of.optional("PROJECT");
            let key = key.filter(|_| !is_claude(choice.model));
            // A key that says by itself whose project it is of is good at the address of all regions, without a place.
            if key.is_some() && project.is_none() {
                return Ok(plain(format!("{base_url}/v1"), key));
            }
            let base_url = if own_url.is_some() { base_url } else { google_url(&base_url, &location) };
            if let (Some(key), Some(project)) = (&key, &project) {
                let base_url = format!("{base_url}/v1/projects/{project}/locations/{location}");
                return Ok(plain(base_url, Some(key.clone())));
            }
            let account = of.service_account()?;
            let project = project.unwrap_or_else(|| account.project_id.clone());
            let token = of.google(&account).await?;
            let base_url = format!("{base_url}/v1/projects/{project}/locations/{location}");
            Access { proof: Proof::Bearer(token), ..plain(base_url, None) }
        }
        None => plain(base_url, key),
    })
}

impl Access {
    /// The target, for a request to be made for it.
    pub fn target<'a>(&'a self, choice: &Choice<'a>) -> Target<'a> {
        Target {
            provider: choice.provider,
            model: choice.model,
            base_url: &self.base_url,
            credential: self.key.as_deref(),
        }
    }

    /// Adds to a finished request what is not a key: nothing of it may change any more. A signature is over all of
    /// the body, so nothing may follow it either: no provider that wants one takes forms or files.
    pub fn seal(&self, request: &mut Request<Bytes>, now_ms: i64) -> Result<(), Error> {
        if let Some(query) = &self.query {
            let uri = request.uri().to_string();
            let mark = if uri.contains('?') { '&' } else { '?' };
            let uri: Result<Uri, _> = format!("{uri}{mark}{query}").parse();
            *request.uri_mut() = uri.map_err(|_| Error::Misconfigured("an address is none".to_owned()))?;
        }
        let added = match &self.proof {
            Proof::Aws { access_key, secret_key, session_token, region } => {
                let amz_date: String = rfc3339(now_ms - now_ms.rem_euclid(1000));
                let amz_date = amz_date.replace(['-', ':'], "");
                let signer = sigv4::Signer {
                    access_key,
                    secret_key,
                    session_token: session_token.as_deref(),
                    region,
                    service: "bedrock",
                    amz_date: &amz_date,
                };
                let content_type = request.headers().get(header::CONTENT_TYPE);
                let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
                let parts = sigv4::Parts {
                    method: request.method().as_str(),
                    host: request.uri().authority().map_or("", |authority| authority.as_str()),
                    path: request.uri().path(),
                    query: request.uri().query().unwrap_or_default(),
                    headers: &[("content-type", content_type)],
                    body: request.body(),
                };
                sigv4::sign(&parts, &signer)
            }
            Proof::Bearer(token) => vec![("authorization", format!("Bearer {token}"))],
            Proof::Key => Vec::new(),
        };
        for (name, value) in added {
            let value = HeaderValue::from_str(&value);
            let mut value =
                value.map_err(|_| Error::Misconfigured("a credential is no header".to_owned()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Ok(())
    }
}

/// The settings of one provider.
struct Of<'a, H> {
    host: &'a H,
    provider: &'static Provider,
}

impl<S: Settings> Of<'_, S> {
    fn optional(&self, suffix: &str) -> Option<String> {
        self.host.setting(&setting_name(self.provider.name, suffix))
    }

    fn required(&self, suffix: &str) -> Result<String, Error> {
        self.optional(suffix).ok_or_else(|| self.missing(suffix))
    }

    fn missing(&self, suffix: &str) -> Error {
        self.missing_setting(setting_name(self.provider.name, suffix))
    }

    fn missing_setting(&self, setting: String) -> Error {
        Error::ProviderUnconfigured { provider: self.provider.name, setting }
    }

    /// Nothing at all is set: either of two will do.
    fn missing_either(&self, other: &str) -> Error {
        let name = |suffix| setting_name(self.provider.name, suffix);
        self.missing_setting(format!("{} (or {other})", name("API_KEY")))
    }

    fn aws(&self, region: String) -> Result<Proof, Error> {
        Ok(Proof::Aws {
            access_key: self.required("ACCESS_KEY_ID")?,
            secret_key: self.required("SECRET_ACCESS_KEY")?,
            session_token: self.optional("SESSION_TOKEN"),
            region,
        })
    }

    fn service_account(&self) -> Result<ServiceAccount, Error> {
        let text = self.required("SERVICE_ACCOUNT")?;
        // What is wrong with it may quote it.
        serde_json::from_str(&text).map_err(|_| {
            Error::Misconfigured(
                "VERTEX_SERVICE_ACCOUNT must be a service account's key file, as JSON".to_owned(),
            )
        })
    }
}

impl<H: Host> Of<'_, H> {
    async fn entra(&self) -> Result<String, Error> {
        let [tenant, client, secret] = ENTRA_SETTINGS.map(|name| self.required(name));
        let (tenant, client, secret) = (tenant?, client?, secret?);
        let authority = self.optional("AUTHORITY_HOST").unwrap_or_else(|| ENTRA.to_owned());
        let url = format!("{}/{}/oauth2/v2.0/token", authority.trim_end_matches('/'), sigv4::encode(&tenant));
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            sigv4::encode(&client),
            sigv4::encode(&secret),
            sigv4::encode(ENTRA_SCOPE),
        );
        let key = self.token_key(&[&url, &form]);
        if let Some(token) = self.fresh(&key).await {
            return Ok(token.value);
        }
        self.renewed(key, url, form).await
    }

    async fn google(&self, account: &ServiceAccount) -> Result<String, Error> {
        let key = self.token_key(&[&account.token_uri, &account.client_email, &account.private_key]);
        if let Some(token) = self.fresh(&key).await {
            return Ok(token.value);
        }
        let now = self.host.now_ms() / 1000;
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": "RS256", "typ": "JWT", "kid": account.private_key_id }));
        let claims =
            part(json!({ "iss": account.client_email, "scope": GOOGLE_SCOPE, "aud": account.token_uri,
            "iat": now, "exp": now + 3600 }));
        let signed = format!("{head}.{claims}");
        let pem: String = account.private_key.lines().filter(|line| !line.starts_with("-----")).collect();
        let unusable =
            || Error::Misconfigured("the private key in VERTEX_SERVICE_ACCOUNT cannot be used".to_owned());
        let pkcs8 = BASE64_STANDARD.decode(pem.trim()).map_err(|_| unusable())?;
        let signature = self.host.sign_rs256(&pkcs8, signed.as_bytes()).await.map_err(|error| {
            self.host.log(&format!("{}: {error}", self.provider.name));
            unusable()
        })?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        let form = format!("grant_type={JWT_GRANT}&assertion={signed}.{signature}");
        self.renewed(key, account.token_uri.clone(), form).await
    }

    /// What a token is remembered under: another credential has another.
    fn token_key(&self, parts: &[&str]) -> String {
        let hash = Sha256::digest(parts.join("\n").as_bytes());
        format!("token/1/{}/{}", self.provider.name, hex(&hash))
    }

    /// A token that is good for a while.
    async fn fresh(&self, key: &str) -> Option<Token> {
        let now_ms = self.host.now_ms();
        let known = match self.host.memory().token(key).filter(|token| token.lasts(now_ms, EARLY_MS)) {
            Some(token) => return Some(token),
            None => self.stored(key).await?,
        };
        known.lasts(now_ms, EARLY_MS).then(|| {
            self.host.memory().remember_token(key.to_owned(), known.clone());
            known
        })
    }

    async fn stored(&self, key: &str) -> Option<Token> {
        let config = self.host.config();
        let secrets = config.secrets.as_ref()?;
        let sealed = match self.host.get(key).await {
            Ok(sealed) => sealed?,
            Err(error) => {
                self.host.log(&format!("{}: token cache passed over: {error}", self.provider.name));
                return None;
            }
        };
        let text = secrets.open(std::str::from_utf8(&sealed).ok()?, key)?;
        let (expires_ms, value) = text.split_once(' ')?;
        Some(Token { value: value.to_owned(), expires_ms: expires_ms.parse().ok()? })
    }

    /// A new token, remembered. If there is none to be had, one that ends soon does as well.
    async fn renewed(&self, key: String, url: String, form: String) -> Result<String, Error> {
        let token = match self.request_token(url, form).await {
            Ok(token) => token,
            Err(Error::HungUp) => return Err(Error::HungUp),
            Err(error) => {
                let now_ms = self.host.now_ms();
                let known = match self.host.memory().token(&key) {
                    Some(known) => Some(known),
                    None => self.stored(&key).await,
                };
                return match known.filter(|known| known.lasts(now_ms, 0)) {
                    Some(known) => Ok(known.value),
                    None => Err(error),
                };
            }
        };
        self.host.memory().remember_token(key.clone(), token.clone());
        let config = self.host.config();
        let now_ms = self.host.now_ms();
        // What ends sooner is not worth keeping; the cache keeps nothing for less than a minute.
        if let Some(secrets) = config.secrets.as_ref().filter(|_| token.lasts(now_ms, EARLY_MS)) {
            let mut nonce = [0; 24];
            self.host.fill(&mut nonce);
            let sealed = secrets.seal(&format!("{} {}", token.expires_ms, token.value), &key, nonce);
            if let Err(error) = self.host.put(&key, Bytes::from(sealed), token.expires_ms).await {
                self.host.log(&format!("{}: token cache not filled: {error}", self.provider.name));
            }
        }
        Ok(token.value)
    }

    async fn request_token(&self, url: String, form: String) -> Result<Token, Error> {
        let refused = |class: ErrorClass| Error::Upstream {
            provider: self.provider.name,
            error: UpstreamError::new(class, "no token could be had for this provider"),
        };
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .map_err(|_| refused(ErrorClass::Auth))?;
        let now_ms = self.host.now_ms();
        let fetched = self.host.fetch(request, self.host.config().stream_limits).await;
        let fetched = fetched.map_err(|error| {
            let class = match error {
                FetchError::HungUp => return Error::HungUp,
                FetchError::Timeout => ErrorClass::Timeout,
                FetchError::TooLarge => ErrorClass::Garbled,
                FetchError::Unreachable(_) => ErrorClass::Network,
            };
            self.host.log(&format!("{}: no token: {class:?}", self.provider.name));
            refused(class)
        })?;
        let status = fetched.head.status();
        let body = match fetched.body {
            Body::Whole(body) => body,
            Body::Stream { first, .. } => first,
        };
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let value = said["access_token"].as_str().filter(|value| status.is_success() && !value.is_empty());
        let Some(value) = value else {
            // The name of the failure is one of a few words; what is beside it may quote the request.
            let name = said["error"].as_str().filter(|name| name.len() < 40).unwrap_or("no reason given");
            self.host.log(&format!("{}: no token: {} {name}", self.provider.name, status.as_u16()));
            let class = match status.as_u16() {
                200..300 => ErrorClass::Garbled,
                status @ (429 | 500..) => ErrorClass::of_status(status),
                _ => ErrorClass::Auth,
            };
            return Err(refused(class));
        };
        // Entra has given it as text at times.
        let seconds = &said["expires_in"];
        let seconds = seconds.as_i64().or_else(|| seconds.as_str()?.parse().ok()).unwrap_or(0);
        let expires_ms = now_ms + seconds.clamp(0, 86_400) * 1000;
        Ok(Token { value: value.to_owned(), expires_ms })
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(…)")
    }
}

impl Token {
    fn lasts(&self, now_ms: i64, margin_ms: i64) -> bool {
        now_ms < self.expires_ms - margin_ms
    }
}

/// What is read of a service account's key file.
#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    project_id: String,
    token_uri: String,
}

/// The region in an address of Bedrock's: behind the service's name, whatever is before it (an endpoint of a VPC's) and
/// behind (other partitions have other domains).
fn region_of(url: &str) -> Option<String> {
    let host = url.split("://").nth(1)?.split(['/', ':']).next()?.to_ascii_lowercase();
    let mut labels = host.split('.').skip_while(|label| !label.starts_with("bedrock-runtime"));
    let region = labels.nth(1)?;
    let number = region.rsplit_once('-')?.1;
    (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then(|| region.to_owned())
}

/// Where a region's models are. Two partitions have a domain of their own.
fn aws_url(base_url: &str, region: &str) -> String {
    let url = base_url.replace(AWS_REGION, region);
    match region.split('-').next() {
        Some("cn") => url + ".cn",
        Some("eusc") => url.replace(".amazonaws.com", ".amazonaws.eu"),
        _ => url,
    }
}

/// Where a location's models are. Two of them span several regions, under names of another kind.
fn google_url(base_url: &str, location: &str) -> String {
    match location {
        "global" => base_url.to_owned(),
        "eu" | "us" => format!("https://aiplatform.{location}.rep.googleapis.com"),
        region => base_url.replace("https://", &format!("https://{region}-")),
    }
}

/// The region in Bedrock's row.
const AWS_REGION: &str = "us-east-1";

const ENTRA: &str = "https://login.microsoftonline.com";
/// What an application of Entra's is known by.
const ENTRA_SETTINGS: [&str; 3] = ["TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"];

const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const JWT_GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";

/// How long before its end a token is renewed. A call that begins with it must still be let in, and clocks differ.
const EARLY_MS: i64 = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_found_in_every_form_of_address() {
        for (host, region) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", Some("us-east-1")),
            ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("bedrock-runtime.eu-west-1.api.aws", Some("eu-west-1")),
            ("bedrock-runtime.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("bedrock-runtime.eusc-de-east-1.amazonaws.eu", Some("eusc-de-east-1")),
            ("vpce-0abc-xyz.bedrock-runtime.us-west-2.vpce.amazonaws.com", Some("us-west-2")),
            ("vpce-0abc-xyz-us-west-2a.bedrock-runtime.us-west-2.vpce.amazonaws.com", Some("us-west-2")),
            ("vpce-0abc-xyz.bedrock-runtime-fips.us-west-2.vpce.amazonaws.com:443", Some("us-west-2")),
            ("Bedrock-Runtime.US-EAST-1.amazonaws.com", Some("us-east-1")),
            ("bedrock.proxy.example.com", None),
            ("bedrock-runtime.example.com", None),
            ("localhost:4010", None),
        ] {
            assert_eq!(region_of(&format!("https://{host}/x")).as_deref(), region, "{host}");
        }
    }

    #[test]
    fn a_region_has_its_partitions_domain() {
        let base_url = "https://bedrock-runtime.us-east-1.amazonaws.com";
        for (region, url) in [
            ("us-east-1", base_url),
            ("eu-west-3", "https://bedrock-runtime.eu-west-3.amazonaws.com"),
            ("us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://bedrock-runtime.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(aws_url(base_url, region), url);
        }
    }
}
