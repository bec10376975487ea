//! Episodes as people look after them: what is known of one, what somebody does about it, and those that others
//! report.

use hypercare::{
    alert::episode_id,
    change::{Change, Numbers, WINDOW_MS},
    inbound::Inbound,
    notice::{Kind, Notice},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    Error, Host,
    attend::{Found, compare},
    ports::Database,
    store::{
        alerts::{self, Action, Episode, EpisodeFilter, NoticeStatus, Received},
        attention::Event,
        changes,
    },
};

/// All that is known of an episode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// The episode.
    #[serde(flatten)]
    pub episode: Episode,
    /// What was changed shortly before, the nearest first. That is all that is said of it.
    pub associated: Vec<Associated>,
    /// What was seen, decided, sent and done, in order.
    pub timeline: Vec<Moment>,
}

/// A change, and what the calls were like before and after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Associated {
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// Half an hour before it; none without calls on both sides.
    pub before: Option<Numbers>,
    /// From then until the episode opened.
    pub after: Option<Numbers>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// `seen`, `fired`, `resolved`, `decided`, `sent`, `not_sent`, or what was done.
    pub kind: String,
    /// Who did it; none: the gateway.
    pub actor: Option<String>,
    /// One sentence.
    pub detail: String,
}

/// All that is known of an episode.
pub async fn view(db: &impl Database, id: &str) -> Result<View, Error> {
    let filter = EpisodeFilter { id: Some(id.to_owned()), limit: 1, ..EpisodeFilter::default() };
    let episode = alerts::episodes(db, &filter).await?.into_iter().next();
    let episode = episode.ok_or_else(|| Error::NotFound(format!("episode {id}")))?;
    let (events, notice, end_notice) = alerts::timeline(db, id).await?;
    let opened_ms = episode.opened_ms;
    let (tenant_id, route) = (episode.tenant_id.as_deref(), episode.route.as_deref());
    let changes = changes::between(db, opened_ms - WINDOW_MS, opened_ms, 100).await?;
    let found = Found::of(&changes, id, tenant_id.unwrap_or_default(), route.unwrap_or_default(), opened_ms);
    let compared = compare(db, std::slice::from_ref(&found)).await?;
    let associated = found
        .changes
        .iter()
        .map(|(change, _)| {
            let (before, after) = found.sides(change, &compared).unzip();
            Associated { change: change.clone(), before, after }
        })
        .collect();
    let timeline = timeline(&episode, events, notice.as_deref(), end_notice.as_deref());
    Ok(View { episode, associated, timeline })
}

/// Does something about an episode, in somebody's name.
pub async fn act<H: Host>(
    host: &H,
    id: &str,
    action: &Action,
    actor: String,
    detail: String,
) -> Result<View, Error> {
    let now_ms = host.now_ms();
    let kind = match action {
        Action::Acknowledge => "acknowledged",
        Action::Note => "note",
        Action::Resolve => "closed",
        Action::Snooze(_) => "snoozed",
        Action::Unacknowledge => "unacknowledged",
    };
    let event = Event {
        id: host.memory().new_id("evt_", now_ms, host),
        episode_id: id.to_owned(),
        at_ms: now_ms,
        kind: kind.to_owned(),
        actor: Some(actor),
        detail,
    };
    if !alerts::act(host, action, &event).await? {
        return Err(Error::NotFound(format!("episode {id} that this can be done about")));
    }
    view(host, id).await
}

/// Takes in what others report.
pub async fn receive(
    db: &impl Database,
    reported: &[Inbound],
    resolve_minutes: i64,
    now_ms: i64,
) -> Result<(), Error> {
    let received: Vec<Received> = reported.iter().map(|one| received(one, resolve_minutes, now_ms)).collect();
    if received.is_empty() {
        return Ok(());
    }
    Ok(alerts::receive(db, &received, now_ms).await?)
}

fn received(reported: &Inbound, resolve_minutes: i64, now_ms: i64) -> Received {
    let opened_ms = reported.starts_ms.or(reported.ended_ms).unwrap_or(now_ms);
    let id = episode_id(&reported.fingerprint, opened_ms);
    let firing = reported.firing(&id, opened_ms);
    let told = reported.resolved(&id, opened_ms, reported.ended_ms.unwrap_or(opened_ms));
    let mut end = json!(told);
    end["combined"] = json!(Notice { kind: Kind::Combined, ..told });
    let label = |name: &str| reported.labels.get(name).cloned().unwrap_or_default();
    Received {
        id,
        fingerprint: reported.fingerprint.clone(),
        rule_id: reported.rule_id.clone(),
        tenant_id: label("tenant_id"),
        route: label("route"),
        severity: reported.severity.word().to_owned(),
        summary: firing.summary.clone(),
        labels: json!(reported.labels).to_string(),
        source: reported.source.clone(),
        opened_ms,
        ended_ms: reported.ended_ms,
        expires_ms: reported.expires_ms(now_ms, resolve_minutes),
        notice: json!(firing).to_string(),
        end_notice: end.to_string(),
    }
}

/// Everything in order: what was seen, what was decided and sent, what somebody did.
fn timeline(
    episode: &Episode,
    events: Vec<Event>,
    notice: Option<&str>,
    end_notice: Option<&str>,
) -> Vec<Moment> {
    let read = |text: Option<&str>| text.and_then(|text| serde_json::from_str::<Notice>(text).ok());
    let moment =
        |at_ms, kind: &str, detail: String| Moment { at_ms, kind: kind.to_owned(), actor: None, detail };
    let mut moments = Vec::new();
    let notice = read(notice);
    if let Some(notice) = &notice
        && notice.started_ms < episode.opened_ms
    {
        moments.push(moment(notice.started_ms, "seen", "the first minute of it".to_owned()));
    }
    moments.push(moment(episode.opened_ms, "fired", episode.summary.clone()));
    for Event { at_ms, kind, actor, detail, .. } in events {
        moments.push(Moment { at_ms, kind, actor, detail });
    }
    for NoticeStatus { receiver_id, kind, status, attempts, last_result, created_ms, delivered_ms, .. } in
        &episode.notices
    {
        moments.push(moment(*created_ms, "decided", format!("to tell {receiver_id} ({kind})")));
        let result = last_result.as_deref().unwrap_or("no answer yet");
        match (delivered_ms, status.as_str()) {
            (Some(at_ms), _) => {
                moments.push(moment(
                    *at_ms,
                    "sent",
                    format!("{kind} to {receiver_id}: {result}, attempt {attempts}"),
                ));
            }
            (None, "pending") if *attempts == 0 => {}
            (None, _) => {
                let words = format!("{kind} to {receiver_id}: {status} after {attempts} attempts: {result}");
                moments.push(moment(*created_ms, "not_sent", words));
            }
        }
    }
    if let Some(resolved_ms) = episode.resolved_ms {
        let words = read(end_notice).map_or_else(|| "it is over".to_owned(), |notice| notice.summary);
        moments.push(moment(resolved_ms, "resolved", words));
    }
    moments.sort_by_key(|moment| moment.at_ms);
    moments
}
