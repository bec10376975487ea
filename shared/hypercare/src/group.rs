//! Several alerts in one notice.

use sha2::{Digest, Sha256};

use crate::notice::{Kind, Notice};
use crate::rule::Severity;
use crate::silence::Labels;

/// What alerts must agree in to share a notice: the values of these labels.
pub fn key(labels: &Labels, group_by: &[String]) -> Vec<String> {
    group_by.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect()
}

/// A group's name: of the same episodes for the same receiver always the same.
pub fn id(receiver_id: &str, episode_ids: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(&receiver_id).chain(episode_ids) {
        hash.update(part);
        hash.update([0]);
    }
    let hash: String = hash.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("grp_{hash}")
}

/// One notice for several, the first of which gives it its heading. Those that are over when it is told are at
/// the end and say so.
pub fn joined(group_id: &str, notices: &[Notice], is_digest: bool) -> Option<Notice> {
    let first = notices.first()?;
    let over = notices.iter().filter(|notice| notice.kind != Kind::Firing).count();
    let open = notices.len() - over;
    let counts = match (open, over) {
        (_, 0) => format!("{open} alerts"),
        (0, _) => format!("{over} alerts, all of them over"),
        _ => format!("{} alerts, {over} of them over", notices.len()),
    };
    let is_page = notices.iter().any(|notice| notice.severity == Severity::Page);
    Some(Notice {
        kind: if open > 0 { Kind::Firing } else { Kind::Combined },
        severity: if is_page { Severity::Page } else { Severity::Ticket },
        title: if is_digest { "Digest".to_owned() } else { first.title.clone() },
        summary: format!("{counts}: {}", first.summary),
        started_ms: notices.iter().map(|notice| notice.started_ms).min().unwrap_or(first.started_ms),
        ended_ms: if open > 0 { None } else { notices.iter().filter_map(|notice| notice.ended_ms).max() },
        ..listed(group_id, notices, first)
    })
}

/// One notice for several that are over, told to those who were told of them in one.
pub fn ended(group_id: &str, notices: &[Notice]) -> Option<Notice> {
    let first = notices.first()?;
    let ended_ms = notices.iter().filter_map(|notice| notice.ended_ms).max();
    Some(Notice {
        kind: Kind::Resolved,
        summary: format!("all {} alerts are over: {}", notices.len(), first.summary),
        started_ms: notices.iter().map(|notice| notice.started_ms).min().unwrap_or(first.started_ms),
        ended_ms,
        occurred_ms: ended_ms.unwrap_or(first.occurred_ms),
        ..listed(group_id, notices, first)
    })
}

/// The labels all have, and the other alerts as facts.
fn listed(group_id: &str, notices: &[Notice], first: &Notice) -> Notice {
    let is_common = |label: &&(String, String)| notices.iter().all(|notice| notice.labels.contains(label));
    let rules: Vec<&str> = notices.iter().map(|notice| notice.rule_id.as_str()).collect();
    let mut facts: Vec<(String, String)> = notices
        .iter()
        .take(MOST_LISTED)
        .map(|notice| (notice.title.clone(), notice.summary.clone()))
        .collect();
    if notices.len() > MOST_LISTED {
        facts.push(("And".to_owned(), format!("{} more", notices.len() - MOST_LISTED)));
    }
    Notice {
        episode_id: group_id.to_owned(),
        rule_id: if rules.iter().all(|rule| *rule == first.rule_id) {
            first.rule_id.clone()
        } else {
            String::new()
        },
        labels: first.labels.iter().filter(is_common).cloned().collect(),
        facts,
        ..first.clone()
    }
}

const MOST_LISTED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lists_its_alerts_and_keeps_what_they_share() {
        let notices = [alert(1, "tn_a", Severity::Ticket), alert(2, "tn_b", Severity::Page)];
        let joined = joined("grp_1", &notices, false).unwrap();
        assert_eq!(
            (joined.episode_id.as_str(), joined.kind, joined.severity),
            ("grp_1", Kind::Firing, Severity::Page)
        );
        assert_eq!(joined.summary, "2 alerts: alert 1");
        assert_eq!(joined.facts, pairs(&[("High", "alert 1"), ("High", "alert 2")]));
        assert_eq!(joined.labels, pairs(&[("route", "/v1")]));
        assert_eq!((joined.started_ms, joined.ended_ms, joined.rule_id.as_str()), (1, None, "error-share"));
    }

    #[test]
    fn what_is_over_is_said_to_be() {
        let over = |number| Notice {
            kind: Kind::Combined,
            ended_ms: Some(10 + number),
            ..alert(number, "tn_a", Severity::Page)
        };
        let mixed = joined("grp_1", &[alert(1, "tn_a", Severity::Page), over(2)], true).unwrap();
        assert_eq!((mixed.kind, mixed.title.as_str()), (Kind::Firing, "Digest"));
        assert_eq!(mixed.summary, "2 alerts, 1 of them over: alert 1");
        let all = joined("grp_1", &[over(1), over(2)], false).unwrap();
        assert_eq!((all.kind, all.ended_ms), (Kind::Combined, Some(12)));
        assert_eq!(all.summary, "2 alerts, all of them over: alert 1");
        let ended = ended("grp_1", &[over(1), over(2)]).unwrap();
        assert_eq!((ended.kind, ended.ended_ms, ended.occurred_ms), (Kind::Resolved, Some(12), 12));
        assert_eq!(ended.summary, "all 2 alerts are over: alert 1");
    }

    #[test]
    fn a_storm_is_a_notice_of_bearable_length() {
        let storm: Vec<Notice> = (0..500).map(|number| alert(number, "tn_a", Severity::Page)).collect();
        let joined = joined("grp_1", &storm, false).unwrap();
        assert_eq!(joined.facts.len(), 11);
        assert_eq!(joined.facts[10], ("And".to_owned(), "490 more".to_owned()));
    }

    #[test]
    fn a_group_is_named_for_its_receiver_and_episodes() {
        let names =
            [id("rcv_1", &["a", "b"]), id("rcv_2", &["a", "b"]), id("rcv_1", &["ab"]), id("rcv_1", &["a"])];
        assert_eq!(id("rcv_1", &["a", "b"]), names[0]);
        assert_eq!(std::collections::BTreeSet::from(names).len(), 4);
    }

    #[test]
    fn labels_that_are_not_there_agree() {
        let labels: Labels = pairs(&[("rule", "a"), ("route", "/v1")]).into_iter().collect();
        let by =
            |names: &[&str]| key(&labels, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(by(&["rule", "provider"]), ["a", ""]);
        assert!(by(&[]).is_empty());
    }

    fn alert(number: i64, tenant_id: &str, severity: Severity) -> Notice {
        let mut notice = Notice::test("", number);
        notice.kind = Kind::Firing;
        notice.episode_id = format!("ep_{number}");
        notice.rule_id = "error-share".to_owned();
        notice.severity = severity;
        notice.title = "High".to_owned();
        notice.summary = format!("alert {number}");
        notice.labels = pairs(&[("tenant_id", tenant_id), ("route", "/v1")]);
        notice
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}
