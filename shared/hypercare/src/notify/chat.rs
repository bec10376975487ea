//! Chats: a message for people. Each function says what its service takes, in the unit it counts.

use serde_json::{Value, json};

use super::{
    Error, Letter, Wire, form_encode,
    text::{Style, calls_nobody, html, json_bytes, literal, utf16},
};
use crate::notice::{Kind, Notice};
use crate::rule::Severity;
use crate::time::rfc3339;

/// Slack: an incoming webhook, Block Kit, and what takes the same messages.
///
/// The published limit of a single field is far above what a message takes in sum, so everything together
/// stays below the 8,000 characters it takes without doubt.
pub(super) fn slack(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    // Shown where blocks are not: in notifications, and to those who have it read out.
    let text = SLACK.fit(&headed(notice, &notice.summary), 2_000);
    let title = SLACK.fit(&headed(notice, &notice.title), 150);
    let mrkdwn = |text: String| json!({"type": "mrkdwn", "text": text, "verbatim": true});
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}),
        json!({"type": "section", "text": mrkdwn(SLACK.fit(&notice.summary, 2_000))}),
    ];
    // Fields stand in two columns, ten at most; more of them are lines.
    let wordy = notice.facts.len() + 2 > SLACK.most;
    let line = |(name, value): (String, String), between: &str| match name.as_str() {
        "" => value,
        _ => format!("*{name}*{between}{value}"),
    };
    if wordy {
        let lines: Vec<String> = SLACK_LINES.pairs(notice).into_iter().map(|pair| line(pair, " ")).collect();
        blocks.push(json!({"type": "section", "text": mrkdwn(lines.join("\n"))}));
    } else {
        let fields: Vec<Value> =
            SLACK.pairs(notice).into_iter().map(|pair| mrkdwn(line(pair, "\n"))).collect();
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Some(about) = about(notice) {
        blocks.push(json!({"type": "context", "elements": [mrkdwn(SLACK.fit(&about, 200))]}));
    }
    let attachment = json!({"color": format!("#{:06x}", color(notice)), "blocks": blocks});
    Ok(Wire::json(letter.url, &json!({"text": text, "attachments": [attachment]})))
}

/// Microsoft Teams: a workflow that posts what a webhook gets, an Adaptive Card.
///
/// What somebody else wrote stands in text runs, in which Markdown means nothing.
pub(super) fn teams(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    let run = |text: String| json!({"type": "TextRun", "text": text});
    let mut title = run(TEAMS.fit(&headed(notice, &notice.title), 200));
    title["weight"] = json!("Bolder");
    title["size"] = json!("Medium");
    title["color"] = json!(match color(notice) {
        RED => "Attention",
        AMBER => "Warning",
        GREEN => "Good",
        _ => "Default",
    });
    let block = |inlines: Vec<Value>| json!({"type": "RichTextBlock", "inlines": inlines});
    let mut body = vec![block(vec![title]), block(vec![run(TEAMS.fit(&notice.summary, 1_500))])];
    body.extend(TEAMS.pairs(notice).into_iter().map(|(name, value)| {
        if name.is_empty() {
            return block(vec![run(value)]);
        }
        let mut name = run(format!("{name}: "));
        name["weight"] = json!("Bolder");
        block(vec![name, run(value)])
    }));
    if let Some(about) = about(notice) {
        let mut about = run(TEAMS.fit(&about, 200));
        about["isSubtle"] = json!(true);
        body.push(block(vec![about]));
    }
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "fallbackText": TEAMS.fit(&headed(notice, &notice.summary), 500),
        "msteams": {"width": "full"},
        "body": body,
    });
    let attachment = json!({"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card});
    Ok(Wire::json(letter.url, &json!({"type": "message", "attachments": [attachment]})))
}

/// Discord: a webhook, one embed. It answers only once the message is kept.
pub(super) fn discord(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    let fields = DISCORD.pairs(notice).into_iter().map(|(name, value)| {
        let name = if name.is_empty() { "…".to_owned() } else { name };
        json!({"name": name, "value": value, "inline": value.len() <= 40})
    });
    let mut embed = json!({
        "title": DISCORD.fit(&headed(notice, &notice.title), 256),
        "description": DISCORD.fit(&notice.summary, 1_500),
        "color": color(notice),
        "timestamp": rfc3339(notice.occurred_ms),
        "fields": fields.collect::<Vec<_>>(),
    });
    if let Some(about) = about(notice) {
        // Shown as it is.
        embed["footer"] = json!({"text": Style { escape: literal, ..DISCORD }.fit(&about, 200)});
    }
    let thread = letter.setting("thread_id").map(|id| format!("&thread_id={}", form_encode(&id)));
    let url = with_query(letter.url, &format!("wait=true{}", thread.unwrap_or_default()));
    Ok(Wire::json(&url, &json!({"embeds": [embed], "allowed_mentions": {"parse": []}})))
}

/// Google Chat: a webhook, one card. Notices of an episode share a thread.
pub(super) fn google_chat(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    let mut widgets = vec![json!({"textParagraph": {"text": GOOGLE.fit(&notice.summary, 4_000)}})];
    widgets.extend(GOOGLE.pairs(notice).into_iter().map(|(name, value)| {
        let mut shown = json!({"text": value, "wrapText": true});
        if !name.is_empty() {
            shown["topLabel"] = json!(name);
        }
        json!({"decoratedText": shown})
    }));
    let as_it_is = Style { escape: literal, ..GOOGLE };
    let mut header = json!({"title": as_it_is.fit(&headed(notice, &notice.title), 200)});
    if let Some(about) = about(notice) {
        header["subtitle"] = json!(as_it_is.fit(&about, 200));
    }
    let key = letter.key();
    let card = json!({"header": header, "sections": [{"widgets": widgets}]});
    let message = json!({
        "fallbackText": as_it_is.fit(&headed(notice, &notice.summary), 1_000),
        "thread": {"threadKey": key},
        "cardsV2": [{"cardId": key, "card": card}],
    });
    let url = with_query(letter.url, "messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD");
    let mut wire = Wire::json(&url, &message);
    wire.content_type = "application/json; charset=UTF-8";
    Ok(wire)
}

/// Telegram: a bot's message. The limit is for the text without its marks, and is kept with them.
pub(super) fn telegram(letter: &Letter<'_>) -> Result<Wire, Error> {
    let notice = letter.notice;
    let mut lines = vec![
        format!("<b>{}</b>", TELEGRAM.fit(&headed(notice, &notice.title), 256)),
        TELEGRAM.fit(&notice.summary, 1_000),
        String::new(),
    ];
    lines.extend(TELEGRAM.pairs(notice).into_iter().map(|(name, value)| match name.as_str() {
        "" => value,
        _ => format!("<b>{name}</b> {value}"),
    }));
    if let Some(about) = about(notice) {
        lines.push(format!("<i>{}</i>", TELEGRAM.fit(&about, 200)));
    }
    let mut message = json!({
        "chat_id": letter.settings["chat_id"],
        "parse_mode": "HTML",
        "text": lines.join("\n"),
        "link_preview_options": {"is_disabled": true},
        // Only what should wake somebody makes a sound.
        "disable_notification": color(notice) != RED,
    });
    if letter.settings["message_thread_id"].is_number() {
        message["message_thread_id"] = letter.settings["message_thread_id"].clone();
    }
    let url = format!("{}/bot{}/sendMessage", letter.base(), letter.secret);
    Ok(Wire::json(&url, &message))
}

/// `[FIRING page] …`
pub(super) fn headed(notice: &Notice, text: &str) -> String {
    format!("[{}] {text}", notice.heading())
}

/// The rule and the episode, for who wants to look further. A test has none.
pub(super) fn about(notice: &Notice) -> Option<String> {
    (!notice.episode_id.is_empty()).then(|| format!("{} · {}", notice.rule_id, notice.episode_id))
}

/// Of what is told, in the red, green and blue of a screen.
pub(super) fn color(notice: &Notice) -> u32 {
    match (notice.kind, notice.severity) {
        (Kind::Combined | Kind::Resolved, _) => GREEN,
        (Kind::Firing, Severity::Page) => RED,
        (Kind::Firing | Kind::Health, _) => AMBER,
        (Kind::Acknowledged | Kind::Change | Kind::Report | Kind::Test, _) => GREY,
    }
}

fn with_query(url: &str, query: &str) -> String {
    let url = url.split('#').next().unwrap_or(url);
    format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' })
}

fn slack_escape(c: char) -> Option<&'static str> {
    if c == '"' { None } else { html(c) }
}

/// A time that each reader sees in their own zone.
fn slack_date(ms: i64) -> String {
    format!("<!date^{}^{{date_short_pretty}} {{time}}|{}>", ms.div_euclid(1000), rfc3339(ms))
}

/// The same, for Discord.
fn discord_date(ms: i64) -> String {
    format!("<t:{}:f>", ms.div_euclid(1000))
}

/// Markdown, mentions, emoji of others, times. A backslash before a sign is not shown.
fn discord_escape(c: char) -> Option<&'static str> {
    let at = MARKDOWN.find(c)?;
    Some(&MARKDOWN_ESCAPED[2 * at..2 * at + 2])
}

/// In a text run only this means something: a date to be put in.
fn teams_escape(c: char) -> Option<&'static str> {
    if c == '{' { Some("{\u{200b}") } else { calls_nobody(c) }
}

const MARKDOWN: &str = r"\*_~|>#-[]()`<@";
const MARKDOWN_ESCAPED: &str = r"\\\*\_\~\|\>\#\-\[\]\(\)\`\<\@";

const AMBER: u32 = 0xfd_7e14;
const GREEN: u32 = 0x19_8754;
const GREY: u32 = 0x6c_757d;
const RED: u32 = 0xdc_3545;

const SLACK: Style = Style {
    units: utf16,
    escape: slack_escape,
    date: slack_date,
    most: 10,
    name: 60,
    value: 220,
    room: 3_000,
};
const SLACK_LINES: Style = Style { most: 40, room: 2_500, ..SLACK };
const TEAMS: Style = Style {
    units: json_bytes,
    escape: teams_escape,
    date: rfc3339,
    most: 32,
    name: 60,
    value: 400,
    room: 6_000,
};
const DISCORD: Style = Style {
    units: utf16,
    escape: discord_escape,
    date: discord_date,
    most: 25,
    name: 100,
    value: 400,
    room: 3_500,
};
const GOOGLE: Style =
    Style { units: json_bytes, escape: html, date: rfc3339, most: 50, name: 100, value: 600, room: 8_000 };
const TELEGRAM: Style =
    Style { units: utf16, escape: html, date: rfc3339, most: 40, name: 60, value: 400, room: 2_000 };
