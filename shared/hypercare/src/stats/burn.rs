//! How fast an error budget burns. At a rate of one it lasts exactly its period.

use crate::rule::Severity;

/// Two windows that must both burn: the long one shows that it matters, the short one that it goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Minutes.
    pub long_minutes: i64,
    /// Minutes.
    pub short_minutes: i64,
    /// The rate above which both burn too fast.
    pub rate: f64,
    /// Whom that concerns.
    pub severity: Severity,
}

/// The pairs for a budget of seven days, the fastest first.
pub const SEVEN_DAYS: [Pair; 4] = [
    pair(60, 5, 0.08, Severity::Page),
    pair(360, 30, 0.125, Severity::Page),
    pair(1_440, 120, 0.2, Severity::Ticket),
    pair(4_320, 360, 0.42, Severity::Ticket),
];

/// The rate at which a window spends this share of the budget of `period_minutes`.
pub const fn rate_of(budget_share: f64, period_minutes: i64, window_minutes: i64) -> f64 {
    budget_share * period_minutes as f64 / window_minutes as f64
}

/// How fast the budget burns that `objective` leaves, a share of all calls that are to be good.
pub fn rate(bad: i64, calls: i64, objective: f64) -> Option<f64> {
    (calls > 0 && objective < 1.0).then(|| bad as f64 / calls as f64 / (1.0 - objective))
}

const fn pair(long_minutes: i64, short_minutes: i64, budget_share: f64, severity: Severity) -> Pair {
    let rate = rate_of(budget_share, SEVEN_DAYS_MINUTES, long_minutes);
    Pair { long_minutes, short_minutes, rate, severity }
}

const SEVEN_DAYS_MINUTES: i64 = 10_080;
