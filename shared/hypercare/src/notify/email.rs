//! Mail, through the HTTP API of who delivers it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Error, Letter, Wire, chat, form_encode,
    text::{Style, html, literal, utf16},
};
use crate::FieldError;
use crate::time::rfc3339;

/// Who delivers, by the setting `provider`: where it listens, and how it wants a mail.
struct Provider {
    name: &'static str,
    /// None: the address is one's own.
    url: Option<&'static str>,
    wire: fn(&Letter<'_>, &Mail) -> Wire,
}

const PROVIDERS: [Provider; 5] = [
    Provider { name: "json", url: None, wire: template },
    Provider { name: "mailgun", url: None, wire: mailgun },
    Provider { name: "postmark", url: Some("https://api.postmarkapp.com/email"), wire: postmark },
    Provider { name: "resend", url: Some("https://api.resend.com/emails"), wire: resend },
    Provider { name: "sendgrid", url: Some("https://api.sendgrid.com/v3/mail/send"), wire: sendgrid },
];

/// A mail, before it is put as any of them wants it.
struct Mail {
    from: String,
    to: Vec<String>,
    subject: String,
    text: String,
    html: String,
    /// What mails on one episode refer to, so that they stand together.
    thread: String,
}

/// The request that has the notice sent.
pub(super) fn request(letter: &Letter<'_>) -> Result<Wire, Error> {
    let provider = provider(letter.settings).ok_or(Error::Settings)?;
    Ok((provider.wire)(letter, &mail(letter)))
}

/// Where the provider of these settings listens.
pub(super) fn url_of(settings: &Map<String, Value>) -> Option<&'static str> {
    PROVIDERS.iter().find(|known| settings.get("provider").is_some_and(|name| name == known.name))?.url
}

/// What is wrong with the settings of a mail receiver.
pub(super) fn check(settings: &Map<String, Value>) -> Result<(), FieldError> {
    let wrong = |message| Err(FieldError::new("settings", message));
    let name = settings.get("provider").and_then(Value::as_str).unwrap_or_default();
    if !PROVIDERS.iter().any(|known| known.name == name) {
        return wrong("must name a `provider`: json, mailgun, postmark, resend or sendgrid");
    }
    let is_address = |value: &Value| value.as_str().is_some_and(|text| address(text).is_some());
    if !settings.get("from").is_some_and(is_address) {
        return wrong("must say whom mails are `from`: `ops@example.com` or `Name <ops@example.com>`");
    }
    let to = settings.get("to").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !(1..=MOST_RECIPIENTS).contains(&to.len()) || !to.iter().all(is_address) {
        return wrong("must list in `to` 1 to 20 addresses");
    }
    match settings.get("template") {
        None if name != "json" => Ok(()),
        Some(Value::Object(template)) if name == "json" && json!(template).to_string().len() <= 4_000 => {
            Ok(())
        }
        _ => wrong("must have a `template`, an object, with the provider `json` and with no other"),
    }
}

/// The parts of `Name <address>`, or of an address alone.
fn address(text: &str) -> Option<(&str, &str)> {
    let (name, address) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), address),
        None => ("", text),
    };
    let (local, domain) = address.rsplit_once('@')?;
    let is_plain = |text: &str| {
        !text.is_empty()
            && !text.contains(|c: char| c.is_control() || c.is_whitespace() || "<>,;:\"()@".contains(c))
    };
    let is_name = !name.contains(|c: char| c.is_control() || "<>,;:\"()@".contains(c));
    (text.len() <= 320 && is_plain(local) && is_plain(domain) && is_name).then_some((name, address))
}

fn provider(settings: &Value) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|known| settings["provider"] == known.name)
}

fn mail(letter: &Letter<'_>) -> Mail {
    let notice = letter.notice;
    let line = |(name, value): &(String, String)| match name.as_str() {
        "" => value.clone(),
        _ => format!("{name}: {value}"),
    };
    let row = |(name, value): &(String, String)| {
        format!("<tr><th align=\"left\">{name}</th><td dir=\"auto\">{value}</td></tr>")
    };
    let about = chat::about(notice).unwrap_or_default();
    let text: Vec<String> = [PLAIN.fit(&notice.summary, 4_000), String::new()]
        .into_iter()
        .chain(PLAIN.pairs(notice).iter().map(line))
        .chain([String::new(), PLAIN.fit(&about, 200)])
        .collect();
    let rows: String = HTML.pairs(notice).iter().map(row).collect();
    let html = format!(
        "<!DOCTYPE html><html><body><h2 style=\"color:#{:06x}\">{}</h2><p dir=\"auto\">{}</p><table>{rows}</table><p>{}</p></body></html>",
        chat::color(notice),
        HTML.fit(&chat::headed(notice, &notice.title), 500),
        HTML.fit(&notice.summary, 4_000),
        HTML.fit(&about, 200),
    );
    Mail {
        from: letter.setting("from").unwrap_or_default(),
        to: letter.settings["to"]
            .as_array()
            .map(|to| to.iter().filter_map(|to| to.as_str().map(str::to_owned)).collect())
            .unwrap_or_default(),
        subject: PLAIN.fit(&chat::headed(notice, &notice.summary), 200),
        text: text.join("\n"),
        html,
        thread: format!("<{}@hypergate>", letter.key()),
    }
}

fn resend(letter: &Letter<'_>, mail: &Mail) -> Wire {
    let body = json!({
        "from": mail.from, "to": mail.to, "subject": mail.subject, "text": mail.text, "html": mail.html,
        "headers": {"References": mail.thread},
    });
    let mut wire = bearer(letter, &body);
    // What is the same on another attempt is sent once. What goes together then may be more.
    let hash = Sha256::digest(&wire.body);
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    wire.headers.push(("idempotency-key", format!("{}_{hash}", letter.id)));
    wire
}

fn postmark(letter: &Letter<'_>, mail: &Mail) -> Wire {
    let body = json!({
        "From": mail.from, "To": mail.to.join(","), "Subject": mail.subject, "TextBody": mail.text, "HtmlBody": mail.html,
        "Headers": [{"Name": "References", "Value": mail.thread}],
    });
    let mut wire = Wire::json(letter.url, &body);
    wire.headers.push(("x-postmark-server-token", letter.secret.to_owned()));
    wire
}

fn sendgrid(letter: &Letter<'_>, mail: &Mail) -> Wire {
    let person = |text: &String| match address(text) {
        Some((name, address)) if !name.is_empty() => json!({"email": address, "name": name}),
        _ => json!({"email": text}),
    };
    let body = json!({
        "personalizations": [{"to": mail.to.iter().map(person).collect::<Vec<_>>()}],
        "from": person(&mail.from), "subject": mail.subject,
        "content": [{"type": "text/plain", "value": mail.text}, {"type": "text/html", "value": mail.html}],
        "headers": {"References": mail.thread},
    });
    bearer(letter, &body)
}

fn mailgun(letter: &Letter<'_>, mail: &Mail) -> Wire {
    let to = mail.to.join(",");
    let fields = [
        ("from", &mail.from),
        ("to", &to),
        ("subject", &mail.subject),
        ("text", &mail.text),
        ("html", &mail.html),
        ("h:References", &mail.thread),
    ];
    let fields = fields.map(|(name, value)| format!("{}={}", form_encode(name), form_encode(value)));
    let authorization = format!("Basic {}", STANDARD.encode(format!("api:{}", letter.secret)));
    Wire {
        url: letter.url.to_owned(),
        content_type: "application/x-www-form-urlencoded",
        headers: vec![("authorization", authorization)],
        body: fields.join("&").into_bytes(),
    }
}

/// A body of one's own: in its texts, `{{subject}}` and so on are filled in; `{{to}}` alone becomes a list.
fn template(letter: &Letter<'_>, mail: &Mail) -> Wire {
    let mut body = letter.settings["template"].clone();
    fill(&mut body, mail);
    bearer(letter, &body)
}

fn fill(value: &mut Value, mail: &Mail) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, mail)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, mail)),
        Value::String(text) if text == "{{to}}" => *value = json!(mail.to),
        Value::String(text) => {
            // In one pass, so that a mail's text that looks like a name is not filled in itself.
            let mut filled = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("{{") {
                let to = mail.to.join(", ");
                let known = [
                    ("from}}", &mail.from),
                    ("html}}", &mail.html),
                    ("subject}}", &mail.subject),
                    ("text}}", &mail.text),
                    ("to}}", &to),
                ];
                filled.push_str(before);
                match known.iter().find_map(|(name, value)| Some((after.strip_prefix(name)?, value))) {
                    Some((after, value)) => {
                        filled.push_str(value);
                        rest = after;
                    }
                    None => {
                        filled.push_str("{{");
                        rest = after;
                    }
                }
            }
            filled.push_str(rest);
            *text = filled;
        }
        _ => {}
    }
}

fn bearer(letter: &Letter<'_>, body: &Value) -> Wire {
    let mut wire = Wire::json(letter.url, body);
    wire.headers.push(("authorization", format!("Bearer {}", letter.secret)));
    wire
}

const MOST_RECIPIENTS: usize = 20;
const PLAIN: Style =
    Style { units: utf16, escape: literal, date: rfc3339, most: 60, name: 100, value: 1_000, room: 20_000 };
const HTML: Style = Style { escape: html, ..PLAIN };
