//! What somebody changed before an alert fired. That one came before the other is all that is said: a change is
//! associated with an alert, and may have nothing to do with it.

use serde::{Deserialize, Serialize};

use crate::time::MINUTE_MS;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `chg_…`
    pub id: String,
    /// When it took effect, unix milliseconds.
    pub at_ms: i64,
    /// One of [`KINDS`].
    pub kind: String,
    /// A few words.
    pub title: String,
    /// Whose calls it concerns; empty: everybody's.
    pub tenant_id: String,
    /// Which provider's; empty: any.
    pub provider: String,
    /// Which model's; empty: any.
    pub model: String,
    /// Who made it.
    pub actor: Option<String>,
    /// Where there is more to read.
    pub url: Option<String>,
}

/// What a change can be.
pub const KINDS: [&str; 6] = ["campaign", "configuration", "flag", "other", "provider", "release"];

/// The calls of a series over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Calls.
    pub calls: i64,
    /// Those that failed.
    pub errors: i64,
    /// Those whose wait is known.
    pub wait_count: i64,
    /// The sum of these waits.
    pub wait_sum_ms: i64,
}

/// The changes an alert is associated with: those that came within [`WINDOW_MS`] before it and concern the same
/// calls, the nearest first.
pub fn associated<'a>(changes: &'a [Change], tenant_id: &str, opened_ms: i64) -> Vec<&'a Change> {
    let concerns = |change: &&Change| {
        let is_near = (opened_ms - WINDOW_MS..=opened_ms).contains(&change.at_ms);
        is_near && (change.tenant_id.is_empty() || tenant_id.is_empty() || change.tenant_id == tenant_id)
    };
    let mut found: Vec<&Change> = changes.iter().filter(concerns).collect();
    found.sort_by(|one, other| (-one.at_ms, &one.id).cmp(&(-other.at_ms, &other.id)));
    found.truncate(MOST);
    found
}

/// How long before, and what it was like before and after.
pub fn words(change: &Change, opened_ms: i64, sides: Option<(Numbers, Numbers)>) -> String {
    let minutes = (opened_ms - change.at_ms) / MINUTE_MS;
    let when = if minutes > 0 { format!("{minutes} min before") } else { "just before".to_owned() };
    let mut text = format!("{} ({}), {when}", change.title, change.kind);
    if let Some((before, after)) = sides {
        let mut parts = Vec::new();
        if let Some((before, after)) = share(before).zip(share(after)) {
            parts.push(format!("5xx share {before} before, {after} after"));
        }
        if let Some((before, after)) = wait(before).zip(wait(after)) {
            parts.push(format!("mean wait {before} before, {after} after"));
        }
        if !parts.is_empty() {
            text += &format!("; {} ({} and {} calls)", parts.join("; "), before.calls, after.calls);
        }
    }
    text
}

fn share(numbers: Numbers) -> Option<String> {
    let share = numbers.errors as f64 / numbers.calls as f64 * 100.0;
    (numbers.calls > 0).then(|| format!("{} %", (share * 10.0).round() / 10.0))
}

fn wait(numbers: Numbers) -> Option<String> {
    (numbers.wait_count > 0).then(|| format!("{} ms", numbers.wait_sum_ms / numbers.wait_count))
}

/// How long before an alert a change may have come.
pub const WINDOW_MS: i64 = 60 * MINUTE_MS;
const MOST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_associated_with_what_came_shortly_before() {
        let opened_ms = 100 * MINUTE_MS;
        let changes = [
            change("chg_old", 39, ""),
            change("chg_edge", 40, ""),
            change("chg_mine", 90, "tn_a"),
            change("chg_other", 95, "tn_b"),
            change("chg_now", 100, ""),
            change("chg_after", 101, ""),
        ];
        let found = |tenant_id| {
            associated(&changes, tenant_id, opened_ms)
                .into_iter()
                .map(|change| change.id.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("tn_a"), ["chg_now", "chg_mine", "chg_edge"]);
        assert_eq!(found("tn_c"), ["chg_now", "chg_edge"]);
        // The gateway as a whole is concerned by all, of which the nearest are named.
        assert_eq!(found(""), ["chg_now", "chg_other", "chg_mine"]);
    }

    #[test]
    fn it_is_said_what_was_before_and_what_after() {
        let change = change("chg_1", 90, "");
        let numbers = |calls, errors, wait_ms| Numbers {
            calls,
            errors,
            wait_count: calls,
            wait_sum_ms: calls * wait_ms,
        };
        for (sides, expected) in [
            (None, "gpt-5 to 10 % (flag), 4 min before"),
            (
                Some((numbers(400, 1, 200), numbers(80, 4, 640))),
                "gpt-5 to 10 % (flag), 4 min before; 5xx share 0.3 % before, 5 % after; \
                 mean wait 200 ms before, 640 ms after (400 and 80 calls)",
            ),
            // Nothing to compare with.
            (Some((Numbers::default(), numbers(80, 4, 640))), "gpt-5 to 10 % (flag), 4 min before"),
        ] {
            assert_eq!(words(&change, 94 * MINUTE_MS, sides), expected);
        }
        assert_eq!(words(&change, 90 * MINUTE_MS + 1, None), "gpt-5 to 10 % (flag), just before");
    }

    fn change(id: &str, minute: i64, tenant_id: &str) -> Change {
        let text = str::to_owned;
        Change {
            id: text(id),
            at_ms: minute * MINUTE_MS,
            kind: text("flag"),
            title: text("gpt-5 to 10 %"),
            tenant_id: text(tenant_id),
            provider: String::new(),
            model: String::new(),
            actor: None,
            url: None,
        }
    }
}
