//! Errors that are the same one, and when one of them surges.

use super::{Observation, enough, nothing};
use crate::alert::fingerprint;
use crate::rule::Rule;
use crate::stats::surge::limit;

/// What makes two errors the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault<'a> {
    /// Where it was asked for.
    pub route: &'a str,
    /// Who failed.
    pub provider: &'a str,
    /// With which status.
    pub status: u16,
    /// Which error, in our words or the provider's.
    pub error_type: &'a str,
    /// What it said.
    pub message: &'a str,
}

impl Fault<'_> {
    /// Tells faults apart, whatever numbers, names and ids their messages mention.
    pub fn fingerprint(&self) -> String {
        let status = self.status.to_string();
        fingerprint(
            "fault",
            &[
                ("route", self.route),
                ("provider", self.provider),
                ("status", &status),
                ("error_type", self.error_type),
                ("message", &template(self.message)),
            ],
        )
    }
}

/// The message without what differs from call to call: numbers, ids, addresses, and what is quoted.
pub fn template(message: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut quote = None;
    for word in message.split_whitespace() {
        // A quotation of several words is one.
        if let Some(mark) = quote {
            if word.trim_end_matches(['.', ',', ';', ':', ')']).ends_with(mark) {
                quote = None;
            }
            continue;
        }
        let bare = word.trim_matches(['.', ',', ';', ':', '(', ')', '[', ']', '{', '}']);
        let mark = bare.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
        words.push(match mark {
            Some(mark) => {
                let is_whole = bare.len() > mark.len_utf8() && bare.ends_with(mark);
                quote = (!is_whole).then_some(mark);
                "<text>"
            }
            None if bare.contains("://") || bare.contains('@') => "<address>",
            None if bare.contains(|c: char| c.is_ascii_digit()) => {
                if bare.chars().all(|c| c.is_ascii_digit() || ".,%-+".contains(c)) {
                    "<number>"
                } else {
                    "<id>"
                }
            }
            None if bare.contains(['=', '_']) && bare.len() > LONG_WORD => "<id>",
            None if bare.len() > LONGEST_WORD => "<id>",
            None => bare,
        });
    }
    words.dedup_by(|a, b| a == b && a.starts_with('<'));
    words.join(" ").to_ascii_lowercase()
}

/// Whether an error has become a surge this hour. `counts` are the hours before it, from the first it is
/// known of on, at most a week of them. The value is the share of the hour's limit, which is the baseline.
pub fn surge(
    rule: &Rule,
    first_hour: i64,
    counts: &[f64],
    hour: i64,
    count: i64,
    firing: bool,
) -> Observation {
    match limit(first_hour, counts, hour) {
        Some(limit) => enough(rule, count as f64 / limit.max(1.0), count, Some(limit), firing),
        // Its first hour: there is nothing to compare it with.
        None => nothing(rule, count, firing),
    }
}

const LONG_WORD: usize = 16;
const LONGEST_WORD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::tests::{rule, timeline};
    use crate::rule::NoData;

    #[test]
    fn a_message_is_told_without_what_differs() {
        for (message, expected) in [
            (
                "Rate limit reached for gpt-5 in organization org-Ab12 on tokens per min",
                "rate limit reached for <id> in organization <id> on tokens per min",
            ),
            ("Please try again in 1.245s.", "please try again in <id>"),
            ("Requested 4000, limit 3000 (100%)", "requested <number> limit <number>"),
            ("The model `my own model` does not exist", "the model <text> does not exist"),
            ("Invalid value: 'x'. See https://example.com/docs?x=1.", "invalid value <text> see <address>"),
            ("user a@b.example is blocked", "user <address> is blocked"),
            ("unknown \"field", "unknown <text>"),
            ("", ""),
        ] {
            assert_eq!(template(message), expected, "{message}");
        }
    }

    #[test]
    fn the_same_fault_has_one_fingerprint_and_another_has_another() {
        let fault = Fault {
            route: "/v1/chat/completions",
            provider: "openai",
            status: 500,
            error_type: "server_error",
            message: "failed req_1a2b after 30 s",
        };
        let same = Fault { message: "failed req_9z8y after 12 s", ..fault };
        assert_eq!(fault.fingerprint(), same.fingerprint());
        for other in [
            Fault { route: "/v1/embeddings", ..fault },
            Fault { provider: "groq", ..fault },
            Fault { status: 503, ..fault },
            Fault { error_type: "overloaded", ..fault },
            Fault { message: "failed req_1a2b before 30 s", ..fault },
        ] {
            assert_ne!(fault.fingerprint(), other.fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn a_surge_is_more_than_the_week_before_allows() {
        let judged = Rule { threshold: 1.0, min_count: 5, ..rule() };
        let play = |counts: Vec<f64>, hours: &[i64]| {
            timeline(hours.iter().map(|count| {
                let (judged, counts, count) = (judged.clone(), counts.clone(), *count);
                move |firing| surge(&judged, 0, &counts, counts.len() as i64, count, firing)
            }))
        };
        // Twenty an hour: the limit is six times that.
        assert_eq!(play(vec![20.0; 168], &[20, 120, 121, 500, 20]), "..!!.");
        // Known for less than a week: ten times the worst hour.
        assert_eq!(play(vec![1.0, 3.0, 0.0], &[4, 30, 31]), "?.!");
        // Its first hour, and one in which there is nothing.
        assert_eq!(play(vec![], &[500]), "?");
        assert_eq!(play(vec![20.0; 168], &[0]), "?");
        let zero = Rule { no_data: NoData::Zero, ..judged.clone() };
        assert_eq!(timeline([move |firing| surge(&zero, 0, &[], 0, 500, firing)]), ".");
    }
}
