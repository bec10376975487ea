//! Wall clocks: what time it is somewhere, when the quiet hours end, when the next digest is due.

use crate::time::MINUTE_MS;

/// A place's clock: an offset, or the two of a place that changes its clocks, with when it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    standard_minutes: i64,
    summer: Option<Summer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    minutes: i64,
    starts: Turn,
    ends: Turn,
}

/// The nth Sunday of a month, 5 being the last one, at a minute of the clock that holds until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    month: i64,
    week: i64,
    minute: i64,
}

impl Zone {
    /// Reads `UTC`, an offset (`+05:30`), or the name of a place whose rules are known here.
    pub fn parse(text: &str) -> Option<Zone> {
        if let Some(offset) = offset(text) {
            return Some(Zone { standard_minutes: offset, summer: None });
        }
        let (_, standard_minutes, rule) =
            PLACES.iter().find(|(names, ..)| names.split(' ').any(|name| name == text))?;
        let hour_later = |starts, ends| Summer { minutes: standard_minutes + 60, starts, ends };
        let turn = |month, week, minute| Turn { month, week, minute };
        let summer = match rule {
            Rule::None => None,
            // All of Europe turns at the same moment, one o'clock UTC.
            Rule::Europe => {
                Some(hour_later(turn(3, 5, 60 + standard_minutes), turn(10, 5, 120 + standard_minutes)))
            }
            Rule::America => Some(hour_later(turn(3, 2, 120), turn(11, 1, 120))),
            Rule::Australia => Some(hour_later(turn(10, 1, 120), turn(4, 1, 180))),
            Rule::NewZealand => Some(hour_later(turn(9, 5, 120), turn(4, 1, 180))),
        };
        Some(Zone { standard_minutes: *standard_minutes, summer })
    }

    /// How far ahead of UTC the clocks are, in minutes.
    pub fn offset_minutes(&self, now_ms: i64) -> i64 {
        let Some(summer) = &self.summer else { return self.standard_minutes };
        let year = year_of(now_ms + self.standard_minutes * MINUTE_MS);
        let starts_ms = moment(year, summer.starts) - self.standard_minutes * MINUTE_MS;
        let ends_ms = moment(year, summer.ends) - summer.minutes * MINUTE_MS;
        let is_summer = if starts_ms < ends_ms {
            (starts_ms..ends_ms).contains(&now_ms)
        } else {
            !(ends_ms..starts_ms).contains(&now_ms)
        };
        if is_summer { summer.minutes } else { self.standard_minutes }
    }

    /// The minute of the day there.
    pub fn minute_of_day(&self, now_ms: i64) -> i64 {
        (now_ms.div_euclid(MINUTE_MS) + self.offset_minutes(now_ms)).rem_euclid(DAY_MINUTES)
    }

    /// The next time the clock there shows a multiple of this many minutes since midnight.
    pub fn next_boundary(&self, now_ms: i64, every_minutes: i64) -> i64 {
        let minute = self.minute_of_day(now_ms);
        // The last stretch of a day may be shorter: midnight is a boundary too.
        let wait = (every_minutes - minute % every_minutes).min(DAY_MINUTES - minute);
        self.corrected(now_ms, wait)
    }

    /// The end of the quiet hours, if they are on: from one minute of the day to another, over midnight or not.
    pub fn quiet_until(&self, now_ms: i64, from: i64, to: i64) -> Option<i64> {
        let minute = self.minute_of_day(now_ms);
        let is_on = if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to };
        is_on.then(|| self.corrected(now_ms, (to - minute).rem_euclid(DAY_MINUTES)))
    }

    /// When the day there began.
    pub fn day_start(&self, now_ms: i64) -> i64 {
        self.corrected(now_ms, -self.minute_of_day(now_ms))
    }

    /// This many minutes on, or back, by the clock on the wall.
    pub fn later(&self, now_ms: i64, minutes: i64) -> i64 {
        self.corrected(now_ms, minutes)
    }

    /// This many minutes on by the clock on the wall, which may be turned meanwhile.
    fn corrected(&self, now_ms: i64, minutes: i64) -> i64 {
        let then_ms = (now_ms.div_euclid(MINUTE_MS) + minutes) * MINUTE_MS;
        then_ms - (self.offset_minutes(then_ms) - self.offset_minutes(now_ms)) * MINUTE_MS
    }
}

/// `UTC`, `Z`, or `+02:00` in minutes.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "UTC" | "Z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, most: i64| {
        (text.len() == 2)
            .then(|| text.parse::<i64>().ok())
            .flatten()
            .filter(|number| (0..=most).contains(number))
    };
    Some(sign * (number(hours, 14)? * 60 + number(minutes, 59)?))
}

/// When a turn is, by the clock that holds until then, as if it were UTC.
fn moment(year: i64, turn: Turn) -> i64 {
    let first_day = days_to_month(year, turn.month);
    // 1970-01-01 was a Thursday.
    let first_sunday = first_day + (3 - first_day).rem_euclid(7);
    let mut day = first_sunday + (turn.week - 1) * 7;
    if day >= days_to_month(year + turn.month / 12, turn.month % 12 + 1) {
        day -= 7;
    }
    (day * DAY_MINUTES + turn.minute) * MINUTE_MS
}

fn year_of(ms: i64) -> i64 {
    crate::time::rfc3339(ms)[..4].parse().unwrap_or(1970)
}

/// Days from 1970 to the first of a month.
fn days_to_month(year: i64, month: i64) -> i64 {
    crate::time::parse_rfc3339(&format!("{year:04}-{month:02}-01T00:00:00Z"))
        .map_or(0, |ms| ms / (DAY_MINUTES * MINUTE_MS))
}

enum Rule {
    America,
    Australia,
    Europe,
    NewZealand,
    None,
}

const DAY_MINUTES: i64 = 24 * 60;

/// Places with the same clock, how far it is ahead of UTC in winter, and when it is turned.
const PLACES: &[(&str, i64, Rule)] = &[
    ("Pacific/Honolulu", -600, Rule::None),
    ("America/Anchorage", -540, Rule::America),
    ("America/Los_Angeles America/Vancouver America/Tijuana", -480, Rule::America),
    ("America/Phoenix", -420, Rule::None),
    ("America/Denver America/Edmonton", -420, Rule::America),
    ("America/Mexico_City America/Costa_Rica", -360, Rule::None),
    ("America/Chicago America/Winnipeg", -360, Rule::America),
    ("America/Bogota America/Lima America/Panama", -300, Rule::None),
    ("America/New_York America/Toronto America/Detroit", -300, Rule::America),
    ("America/Halifax", -240, Rule::America),
    ("America/St_Johns", -210, Rule::America),
    ("America/Sao_Paulo America/Argentina/Buenos_Aires America/Montevideo", -180, Rule::None),
    ("Atlantic/Azores", -60, Rule::Europe),
    ("Europe/London Europe/Dublin Europe/Lisbon", 0, Rule::Europe),
    ("Atlantic/Reykjavik Africa/Abidjan Africa/Accra", 0, Rule::None),
    (
        "Europe/Berlin Europe/Paris Europe/Madrid Europe/Rome Europe/Amsterdam Europe/Brussels Europe/Vienna \
         Europe/Zurich Europe/Copenhagen Europe/Oslo Europe/Stockholm Europe/Prague Europe/Warsaw Europe/Budapest \
         Europe/Belgrade Europe/Zagreb Europe/Ljubljana Europe/Bratislava Europe/Luxembourg",
        60,
        Rule::Europe,
    ),
    ("Africa/Lagos Africa/Tunis Africa/Algiers", 60, Rule::None),
    (
        "Europe/Athens Europe/Helsinki Europe/Kyiv Europe/Bucharest Europe/Sofia Europe/Riga Europe/Tallinn \
         Europe/Vilnius",
        120,
        Rule::Europe,
    ),
    ("Africa/Johannesburg", 120, Rule::None),
    ("Europe/Istanbul Europe/Moscow Africa/Nairobi Asia/Riyadh Asia/Baghdad", 180, Rule::None),
    ("Asia/Tehran", 210, Rule::None),
    ("Asia/Dubai", 240, Rule::None),
    ("Asia/Karachi Asia/Tashkent Asia/Almaty", 300, Rule::None),
    ("Asia/Kolkata Asia/Calcutta Asia/Colombo", 330, Rule::None),
    ("Asia/Kathmandu", 345, Rule::None),
    ("Asia/Dhaka", 360, Rule::None),
    ("Asia/Bangkok Asia/Jakarta Asia/Ho_Chi_Minh", 420, Rule::None),
    (
        "Asia/Shanghai Asia/Singapore Asia/Hong_Kong Asia/Taipei Asia/Manila Asia/Kuala_Lumpur Australia/Perth",
        480,
        Rule::None,
    ),
    ("Asia/Tokyo Asia/Seoul", 540, Rule::None),
    ("Australia/Darwin", 570, Rule::None),
    ("Australia/Adelaide", 570, Rule::Australia),
    ("Australia/Brisbane", 600, Rule::None),
    ("Australia/Sydney Australia/Melbourne Australia/Hobart Australia/Canberra", 600, Rule::Australia),
    ("Pacific/Auckland", 720, Rule::NewZealand),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{parse_rfc3339, rfc3339};

    #[test]
    fn clocks_are_turned_when_they_are() {
        for (zone, at, minutes) in [
            ("UTC", "2026-07-01T00:00:00Z", 0),
            ("+05:30", "2026-07-01T00:00:00Z", 330),
            ("-03:00", "2026-07-01T00:00:00Z", -180),
            ("Europe/Berlin", "2026-03-29T00:59:00Z", 60),
            ("Europe/Berlin", "2026-03-29T01:00:00Z", 120),
            ("Europe/Berlin", "2026-10-25T00:59:00Z", 120),
            ("Europe/Berlin", "2026-10-25T01:00:00Z", 60),
            ("Europe/London", "2026-03-29T01:00:00Z", 60),
            ("Europe/Athens", "2026-03-29T00:59:00Z", 120),
            ("Europe/Athens", "2026-03-29T01:00:00Z", 180),
            ("America/New_York", "2026-03-08T06:59:00Z", -300),
            ("America/New_York", "2026-03-08T07:00:00Z", -240),
            ("America/New_York", "2026-11-01T05:59:00Z", -240),
            ("America/New_York", "2026-11-01T06:00:00Z", -300),
            ("Australia/Sydney", "2026-01-01T00:00:00Z", 660),
            ("Australia/Sydney", "2026-04-04T15:59:00Z", 660),
            ("Australia/Sydney", "2026-04-04T16:00:00Z", 600),
            ("Australia/Sydney", "2026-10-03T15:59:00Z", 600),
            ("Australia/Sydney", "2026-10-03T16:00:00Z", 660),
            ("Pacific/Auckland", "2026-09-26T13:59:00Z", 720),
            ("Pacific/Auckland", "2026-09-26T14:00:00Z", 780),
            ("Asia/Tokyo", "2026-07-01T00:00:00Z", 540),
            ("Europe/Istanbul", "2026-07-01T00:00:00Z", 180),
        ] {
            let zone = Zone::parse(zone).unwrap_or_else(|| panic!("{zone}"));
            assert_eq!(zone.offset_minutes(parse_rfc3339(at).unwrap()), minutes, "{zone:?} {at}");
        }
    }

    #[test]
    fn what_names_no_clock_is_refused() {
        for text in
            ["", "Europe", "Berlin", "+2", "+2:00", "+15:00", "+01:60", "europe/berlin", "CET", "+é0:00"]
        {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_is_due_on_the_boundaries_of_the_clock_on_the_wall() {
        for (zone, now, every, due) in [
            ("UTC", "2026-01-01T10:07:30Z", 60, "2026-01-01T11:00:00Z"),
            ("UTC", "2026-01-01T11:00:00Z", 60, "2026-01-01T12:00:00Z"),
            ("+05:30", "2026-01-01T10:07:00Z", 60, "2026-01-01T10:30:00Z"),
            ("Europe/Berlin", "2026-01-01T10:07:00Z", 1440, "2026-01-01T23:00:00Z"),
            ("Europe/Berlin", "2026-01-01T10:07:00Z", 240, "2026-01-01T11:00:00Z"),
            // Seven hours do not divide a day.
            ("UTC", "2026-01-01T21:30:00Z", 420, "2026-01-02T00:00:00Z"),
            // The night in which the clocks are turned is an hour longer.
            ("Europe/Berlin", "2026-10-24T22:30:00Z", 720, "2026-10-25T11:00:00Z"),
        ] {
            let zone = Zone::parse(zone).unwrap();
            assert_eq!(rfc3339(zone.next_boundary(parse_rfc3339(now).unwrap(), every)), due, "{now} {every}");
        }
    }

    #[test]
    fn quiet_hours_end_by_the_clock_on_the_wall() {
        for (zone, now, from, to, until) in [
            ("UTC", "2026-01-01T21:59:00Z", 22, 7, None),
            ("UTC", "2026-01-01T22:00:00Z", 22, 7, Some("2026-01-02T07:00:00Z")),
            ("UTC", "2026-01-02T06:59:59Z", 22, 7, Some("2026-01-02T07:00:00Z")),
            ("UTC", "2026-01-02T07:00:00Z", 22, 7, None),
            ("UTC", "2026-01-02T13:00:00Z", 12, 14, Some("2026-01-02T14:00:00Z")),
            ("UTC", "2026-01-02T15:00:00Z", 12, 14, None),
            ("Europe/Berlin", "2026-01-01T21:00:00Z", 22, 7, Some("2026-01-02T06:00:00Z")),
            ("Europe/Berlin", "2026-03-28T22:00:00Z", 22, 7, Some("2026-03-29T05:00:00Z")),
            ("UTC", "2026-01-02T13:00:00Z", 8, 8, None),
        ] {
            let zone = Zone::parse(zone).unwrap();
            let found = zone.quiet_until(parse_rfc3339(now).unwrap(), from * 60, to * 60);
            assert_eq!(found.map(rfc3339).as_deref(), until, "{now} {from}-{to}");
        }
    }
}
