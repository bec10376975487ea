//! Who is told after whom, as long as nobody acknowledges.

use serde::{Deserialize, Serialize};

use crate::FieldError;
use crate::rule::Severity;
use crate::silence::is_like;
use crate::time::MINUTE_MS;

/// One row of the matrix: for these alerts, these steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `esc_…`
    pub id: String,
    /// The rule, with stars for any text; none: every rule.
    pub rule: Option<String>,
    /// The severity; none: either.
    pub severity: Option<Severity>,
    /// In order.
    pub steps: Vec<Step>,
    /// How often all of it is repeated.
    pub repeats: i64,
    /// How long after the last step it begins anew.
    pub repeat_after_minutes: i64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How long after the step before, or after the alert.
    pub wait_minutes: i64,
    /// Who is told.
    pub receivers: Vec<String>,
}

impl Policy {
    /// Whether every number is within its limits.
    pub fn check(&self) -> Result<(), FieldError> {
        let wrong = |field, message: &str| Err(FieldError::new(field, message));
        if !(1..=MOST_STEPS).contains(&self.steps.len()) {
            return wrong("steps", "must have 1 to 10 steps");
        }
        if self.steps.iter().any(|step| !(0..=1440).contains(&step.wait_minutes)) {
            return wrong("steps", "must wait from 0 to 1440 minutes");
        }
        if self.steps.iter().any(|step| !(1..=20).contains(&step.receivers.len())) {
            return wrong("steps", "must each name 1 to 20 receivers");
        }
        if !(0..=5).contains(&self.repeats) {
            return wrong("repeats", "must be from 0 to 5");
        }
        if !(5..=1440).contains(&self.repeat_after_minutes) {
            return wrong("repeat_after_minutes", "must be from 5 to 1440");
        }
        Ok(())
    }

    /// Which steps are due, `done` of them being done already. Steps of all rounds are counted through.
    pub fn due(&self, since_ms: i64, done: i64, now_ms: i64) -> Vec<Due<'_>> {
        let count = self.steps.len() as i64;
        let once: i64 = self.steps.iter().map(|step| step.wait_minutes).sum();
        let mut due = Vec::new();
        for number in done..count * (self.repeats + 1) {
            let (round, index) = (number / count, (number % count) as usize);
            let waited: i64 = self.steps[..=index].iter().map(|step| step.wait_minutes).sum();
            let minutes = round * (once + self.repeat_after_minutes) + waited;
            if since_ms + minutes * MINUTE_MS > now_ms {
                break;
            }
            due.push(Due { number, round, step: &self.steps[index] });
        }
        due
    }
}

/// A step whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<'a> {
    /// Counted through all rounds, from 0.
    pub number: i64,
    /// 0 the first time.
    pub round: i64,
    /// The step.
    pub step: &'a Step,
}

/// The row for an alert: the one that says most about it, of equals the first.
pub fn policy_for<'a>(policies: &'a [Policy], rule_id: &str, severity: Severity) -> Option<&'a Policy> {
    let fits = |policy: &&Policy| {
        policy.rule.as_ref().is_none_or(|rule| is_like(rule, rule_id))
            && policy.severity.is_none_or(|wanted| wanted == severity)
    };
    let says = |policy: &&Policy| (policy.rule.is_none(), policy.severity.is_none());
    policies.iter().filter(fits).min_by_key(says)
}

const MOST_STEPS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_until_there_are_no_more() {
        //  a the first step, b the second, c the third, a digit a minute
        for (waits, repeats, expected) in [
            (&[0, 5, 3][..], 0, "a....b..c..................."),
            (&[2, 2], 0, "..a.b......................."),
            (&[0, 0], 1, "(ab)....(ab)......................"),
            (&[0, 3], 2, "a..b....a..b....a..b........"),
        ] {
            let policy = policy(waits, repeats);
            let mut done = 0;
            let mut shown = String::new();
            for minute in 0..28 {
                let due = policy.due(0, done, minute * MINUTE_MS);
                done += due.len() as i64;
                let letters: String =
                    due.iter().map(|due| due.step.receivers[0].clone()).collect::<Vec<_>>().concat();
                match letters.len() {
                    0 => shown.push('.'),
                    1 => shown += &letters,
                    _ => shown += &format!("({letters})"),
                }
            }
            assert_eq!(shown, expected, "{waits:?} {repeats}");
        }
    }

    #[test]
    fn steps_that_were_missed_are_taken_together() {
        let policy = policy(&[0, 5, 3], 1);
        let numbers = |done, minute: i64| {
            policy.due(0, done, minute * MINUTE_MS).iter().map(|due| due.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0, 8), [0, 1, 2]);
        assert_eq!(numbers(3, 12), [0; 0]);
        assert_eq!(numbers(1, 100), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_row_that_says_most_counts() {
        let row = |rule: Option<&str>, severity| Policy {
            rule: rule.map(str::to_owned),
            severity,
            ..policy(&[0], 0)
        };
        let rows = [
            row(None, None),
            row(None, Some(Severity::Page)),
            row(Some("error-*"), None),
            row(Some("error-*"), Some(Severity::Page)),
        ];
        let found = |rule, severity| {
            policy_for(&rows, rule, severity).and_then(|found| rows.iter().position(|row| row == found))
        };
        assert_eq!(found("error-share", Severity::Page), Some(3));
        assert_eq!(found("error-share", Severity::Ticket), Some(2));
        assert_eq!(found("no-calls", Severity::Page), Some(1));
        assert_eq!(found("no-calls", Severity::Ticket), Some(0));
        assert_eq!(policy_for(&rows[1..2], "no-calls", Severity::Ticket), None);
    }

    #[test]
    fn numbers_have_limits() {
        let good = policy(&[0, 5], 0);
        assert_eq!(good.check(), Ok(()));
        for (bad, field) in [
            (Policy { steps: vec![], ..good.clone() }, "steps"),
            (policy(&[1441], 0), "steps"),
            (Policy { steps: vec![Step { wait_minutes: 0, receivers: vec![] }], ..good.clone() }, "steps"),
            (policy(&[0], 6), "repeats"),
            (Policy { repeat_after_minutes: 4, ..good.clone() }, "repeat_after_minutes"),
        ] {
            assert_eq!(bad.check().unwrap_err().field, field);
        }
    }

    fn policy(waits: &[i64], repeats: i64) -> Policy {
        let step = |(wait_minutes, name): (&i64, char)| Step {
            wait_minutes: *wait_minutes,
            receivers: vec![name.to_string()],
        };
        let steps = waits.iter().zip('a'..).map(step).collect();
        let id = "esc_1".to_owned();
        Policy { id, rule: None, severity: None, steps, repeats, repeat_after_minutes: 5 }
    }
}
