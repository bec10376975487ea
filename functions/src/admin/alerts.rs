//! Alerts and those who look after them: episodes, silences, escalations, habits, changes.

use bytes::Bytes;
use gateway::{
    Error, Host,
    call::Incoming,
    episode,
    store::{
        alerts::{self, Action, EpisodeFilter},
        attention::StoredPolicy,
        changes,
        escalations::{self, Habits},
        silences::{self, Silence},
    },
};
use http::Response;
use hypercare::{
    change::{Change, KINDS},
    escalation::{Policy, Step},
    hours::Zone,
    rule::Severity,
    silence::parse_matchers,
    time::{DAY_MS, MINUTE_MS},
};
use serde_json::{Value, json, to_value};

use super::fields::{Fields, Query, wrong};
use super::watch::{cursor, limit, page};
use crate::route::{body, json_response, list_of};

type Answer = Result<Response<Bytes>, Error>;

pub(super) async fn list_alerts<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut query = Query::parse(incoming.uri().query());
    let open = match query.text("state").as_deref() {
        None => false,
        Some("firing") => true,
        Some(_) => return Err(wrong("state", "`state` must be `firing`, or absent for all.")),
    };
    let filter = EpisodeFilter {
        id: None,
        tenant_id: query.text("tenant"),
        open,
        after: cursor(&mut query)?,
        limit: limit(&mut query)?,
    };
    query.finish()?;
    let episodes = alerts::episodes(host, &filter).await?;
    let next = episodes.last().map(|last| (last.place, last.id.clone()));
    Ok(json_response(200, &page(episodes, filter.limit, next)))
}

pub(super) async fn find_episode<H: Host>(id: &str, host: &H) -> Answer {
    Ok(json_response(200, &episode::view(host, id).await?))
}

pub(super) async fn act_on_episode<H: Host>(id: &str, action: &str, incoming: &Incoming, host: &H) -> Answer {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let actor = fields.name("by")?;
    let text = fields.text("text", 2_000)?.unwrap_or_default();
    let action = match action {
        "acknowledge" => Action::Acknowledge,
        "note" if text.trim().is_empty() => return Err(wrong("text", "`text` is required.")),
        "note" => Action::Note,
        "resolve" => Action::Resolve,
        "snooze" => {
            let minutes = fields.integer("minutes", 0..=10_080)?;
            let minutes = minutes.ok_or_else(|| wrong("minutes", "`minutes` is required: 0 to 10080."))?;
            Action::Snooze(host.now_ms() + minutes * MINUTE_MS)
        }
        "unacknowledge" => Action::Unacknowledge,
        _ => {
            let actions = "`acknowledge`, `note`, `resolve`, `snooze`, `unacknowledge`";
            return Err(wrong("action", format!("The action must be one of {actions}.")));
        }
    };
    fields.finish()?;
    Ok(json_response(200, &episode::act(host, id, &action, actor, text).await?))
}

pub(super) async fn list_silences<H: Host>(host: &H) -> Answer {
    let now_ms = host.now_ms();
    let shown: Vec<Value> =
        silences::all(host).await?.iter().map(|silence| shown_silence(silence, now_ms)).collect();
    Ok(json_response(200, &list_of(shown)))
}

pub(super) async fn create_silence<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let now_ms = host.now_ms();
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let kind = fields.text("kind", 20)?.unwrap_or_else(|| "silence".to_owned());
    if !matches!(kind.as_str(), "maintenance" | "silence") {
        return Err(wrong("kind", "`kind` must be `silence` or `maintenance`."));
    }
    let matchers = fields.texts("matchers")?.unwrap_or_default();
    parse_matchers(&matchers)?;
    let starts_ms = fields.time("starts_at")?.unwrap_or(now_ms);
    let ends_ms = fields.time("ends_at")?;
    let minutes = fields.integer("minutes", 1..=525_600)?;
    let ends_ms = ends_ms.or(minutes.map(|minutes| starts_ms + minutes * MINUTE_MS));
    let ends_ms = ends_ms
        .filter(|ends_ms| *ends_ms > starts_ms)
        .ok_or_else(|| wrong("ends_at", "`ends_at`, or `minutes`, is required: an end after the start."))?;
    let every_ms = match fields.text("every", 10)?.as_deref() {
        None => None,
        Some("day") => Some(DAY_MS),
        Some("week") => Some(7 * DAY_MS),
        Some(_) => return Err(wrong("every", "`every` must be `day`, `week`, or absent.")),
    };
    if every_ms.is_some_and(|every_ms| kind != "maintenance" || ends_ms - starts_ms >= every_ms) {
        let message = "`every` is for maintenance that is shorter than what it comes back after.";
        return Err(wrong("every", message));
    }
    let author = fields.name("by")?;
    let reason = fields.name("reason")?;
    fields.finish()?;
    let id = host.memory().new_id("sil_", now_ms, host);
    let matchers = json!(matchers).to_string();
    let silence = Silence {
        id,
        kind,
        matchers,
        starts_ms,
        ends_ms,
        every_ms,
        author,
        reason,
        created_ms: now_ms,
        ended_ms: None,
    };
    silences::create(host, &silence).await?;
    Ok(json_response(201, &shown_silence(&silence, now_ms)))
}

pub(super) async fn end_silence<H: Host>(id: &str, host: &H) -> Answer {
    if !silences::end(host, id, host.now_ms()).await? {
        return Err(Error::NotFound(format!("silence {id} that is not over")));
    }
    Ok(json_response(200, &json!({ "id": id, "ended": true })))
}

fn shown_silence(silence: &Silence, now_ms: i64) -> Value {
    let mut shown = to_value(silence).expect("a silence is JSON");
    shown["matchers"] = serde_json::from_str(&silence.matchers).unwrap_or_default();
    let is_over = silence.ended_ms.is_some() || (silence.every_ms.is_none() && silence.ends_ms <= now_ms);
    let state = match is_over {
        true => "over",
        false if silence.starts_ms > now_ms => "ahead",
        false => "on",
    };
    shown["state"] = json!(state);
    shown
}

pub(super) async fn list_escalations<H: Host>(host: &H) -> Answer {
    let shown: Vec<Value> = escalations::all(host).await?.iter().map(shown_policy).collect();
    Ok(json_response(200, &list_of(shown)))
}

pub(super) async fn create_escalation<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let now_ms = host.now_ms();
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let name = fields.name("name")?;
    let rule = fields.text("rule", 200)?;
    let severity = match fields.text("severity", 10)?.as_deref() {
        None => None,
        Some("page") => Some(Severity::Page),
        Some("ticket") => Some(Severity::Ticket),
        Some(_) => return Err(wrong("severity", "`severity` must be `page`, `ticket`, or absent.")),
    };
    let steps = fields.list("steps")?.unwrap_or_default();
    let steps: Option<Vec<Step>> = steps.into_iter().map(|step| serde_json::from_value(step).ok()).collect();
    let steps = steps
        .ok_or_else(|| wrong("steps", "`steps` must be a list of {\"wait_minutes\":5,\"receivers\":[…]}."))?;
    let repeats = fields.integer("repeats", 0..=5)?.unwrap_or(0);
    let repeat_after_minutes = fields.integer("repeat_after_minutes", 5..=1_440)?.unwrap_or(30);
    fields.finish()?;
    let id = host.memory().new_id("esc_", now_ms, host);
    let policy = Policy { id, rule, severity, steps, repeats, repeat_after_minutes };
    policy.check()?;
    let stored = StoredPolicy {
        id: policy.id.clone(),
        name,
        rule: policy.rule.clone(),
        severity: policy.severity.map(|severity| severity.word().to_owned()),
        steps: json!(policy.steps).to_string(),
        repeats,
        repeat_after_minutes,
        created_ms: now_ms,
    };
    let named: Vec<String> = policy.steps.into_iter().flat_map(|step| step.receivers).collect();
    if !escalations::create(host, &stored, &named).await? {
        return Err(wrong("steps", "`steps` names a receiver that does not exist."));
    }
    Ok(json_response(201, &shown_policy(&stored)))
}

pub(super) async fn delete_escalation<H: Host>(id: &str, host: &H) -> Answer {
    if !escalations::delete(host, id).await? {
        return Err(Error::NotFound(format!("escalation {id}")));
    }
    Ok(json_response(200, &json!({ "id": id, "deleted": true })))
}

fn shown_policy(stored: &StoredPolicy) -> Value {
    json!({
        "id": stored.id,
        "name": stored.name,
        "rule": stored.rule,
        "severity": stored.severity,
        "steps": serde_json::from_str::<Value>(&stored.steps).unwrap_or_default(),
        "repeats": stored.repeats,
        "repeat_after_minutes": stored.repeat_after_minutes,
        "created_ms": stored.created_ms,
    })
}

pub(super) async fn put_habits<H: Host>(id: &str, incoming: &Incoming, host: &H) -> Answer {
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let group_by = fields.list("group_by")?.map(|names| {
        let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
        names.filter(|names| names.len() <= 10)
    });
    let group_by = match group_by {
        None => vec!["rule".to_owned()],
        Some(Some(names)) => names,
        Some(None) => return Err(wrong("group_by", "`group_by` must be a list of at most 10 labels.")),
    };
    let digest_minutes = fields.integer("digest_minutes", 5..=1_440)?;
    let mut clock = |field: &str| match fields.text(field, 5)? {
        None => Ok(None),
        Some(text) => clock_minute(&text)
            .map(Some)
            .ok_or_else(|| wrong(field, format!("`{field}` must be a time of day: `22:00`."))),
    };
    let (quiet_from, quiet_to) = (clock("quiet_from")?, clock("quiet_to")?);
    if quiet_from.is_some() != quiet_to.is_some() {
        return Err(wrong("quiet_to", "`quiet_from` and `quiet_to` go together."));
    }
    let zone = fields.text("zone", 50)?.unwrap_or_else(|| "UTC".to_owned());
    if Zone::parse(&zone).is_none() {
        let message = "`zone` must be `UTC`, an offset like `+05:30`, or a place like `Europe/Berlin`.";
        return Err(wrong("zone", message));
    }
    fields.finish()?;
    let habits = Habits { group_by, digest_minutes, quiet_from, quiet_to, zone };
    if !escalations::put_habits(host, id, &habits, host.now_ms()).await? {
        return Err(Error::NotFound(format!("receiver {id}")));
    }
    Ok(json_response(200, &habits))
}

/// `22:00` as minutes since midnight.
fn clock_minute(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: i64| {
        text.parse::<i64>().ok().filter(|number| text.len() == 2 && (0..=most).contains(number))
    };
    Some(number(hours, 23)? * 60 + number(minutes, 59)?)
}

pub(super) async fn list_changes<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let mut query = Query::parse(incoming.uri().query());
    let to_ms = query.time("to")?.unwrap_or_else(|| host.now_ms());
    let from_ms = query.time("from")?.unwrap_or(to_ms - DAY_MS);
    let limit = limit(&mut query)?;
    query.finish()?;
    Ok(json_response(200, &list_of(changes::between(host, from_ms, to_ms, limit).await?)))
}

pub(super) async fn create_change<H: Host>(incoming: &Incoming, host: &H) -> Answer {
    let now_ms = host.now_ms();
    let mut fields = Fields::parse(body(incoming, host)?)?;
    let kind = fields.text("kind", 20)?.unwrap_or_default();
    if !KINDS.contains(&kind.as_str()) {
        return Err(wrong("kind", format!("`kind` must be one of `{}`.", KINDS.join("`, `"))));
    }
    let title = fields.name("title")?;
    let at_ms = fields.time("at")?.unwrap_or(now_ms);
    if at_ms > now_ms + MINUTE_MS {
        return Err(wrong("at", "`at` must not be in the future."));
    }
    let mut text = |field: &str| Ok::<_, Error>(fields.text(field, 200)?.unwrap_or_default());
    let (tenant_id, provider, model) = (text("tenant_id")?, text("provider")?, text("model")?);
    let actor = fields.text("by", 100)?;
    let url = fields.text("url", 500)?;
    if url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
        return Err(wrong("url", "`url` must begin with `https://`."));
    }
    fields.finish()?;
    let id = host.memory().new_id("chg_", now_ms, host);
    let change = Change { id, at_ms, kind, title, tenant_id, provider, model, actor, url };
    changes::create(host, &change).await?;
    Ok(json_response(201, &change))
}

/// Notes a change of the gateway's own configuration, if this was one. That it could not be noted does not make
/// the change undone.
pub(super) async fn note_change<H: Host>(method: &str, parts: &[&str], host: &H) {
    let (what, tenant) = match parts {
        // These are no settings.
        ["baselines" | "changes" | "episodes" | "silences", ..]
        | ["rules", "preview"]
        | ["receivers", _, "deliveries" | "test", ..]
        | ["receivers", _, "reports", _, "send"] => return,
        ["tenants", tenant, "keys"] => ("an API key".to_owned(), *tenant),
        ["tenants", tenant, rest @ ..] if !rest.is_empty() => (rest.join("/"), *tenant),
        ["tenants", tenant] => ("tenant".to_owned(), *tenant),
        ["keys", _] => ("an API key".to_owned(), ""),
        ["blocks", _] => ("a block".to_owned(), ""),
        // One of them.
        [list] => (format!("one of the {list}"), ""),
        _ => (parts.join("/"), ""),
    };
    let how = match method {
        "POST" => "was added",
        "PUT" => "was set",
        "PATCH" => "was changed",
        "DELETE" => "was removed",
        _ => return,
    };
    let now_ms = host.now_ms();
    let change = Change {
        id: host.memory().new_id("chg_", now_ms, host),
        at_ms: now_ms,
        kind: "configuration".to_owned(),
        title: format!("{what} {how}"),
        tenant_id: tenant.to_owned(),
        provider: String::new(),
        model: String::new(),
        actor: None,
        url: None,
    };
    if let Err(error) = changes::create(host, &change).await {
        host.log(&format!("{}: not noted as a change: {error}", change.title));
    }
}
