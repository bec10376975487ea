//! What each kind of rule makes of the same story, in each mode of what a look without data means, as text to read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::fmt::Write as _;

use hypercare::{
    alert::{Change, State, step},
    detect::{
        Level, Minute, Observation,
        ahead::{age, withdrawn},
        change::changed,
        errors::surge,
        history::{Point, anomaly, burn_rate, drift, shift, slow_trend},
        load::{Segment, load_knee, segment, worse_segments},
        observe, observe_quantile, series,
    },
    histogram::{self, Histogram},
    measure::Column,
    rule::{NoData, Rule},
    time::MINUTE_MS,
};

/// `s` all is well, `b` it is bad, `_` no calls at all, `x` the rule cannot look.
const STORY: &str = "ss bbbb ssss ___ bb ______ ss bb xxxx sss";

const LEGEND: &str = "\
story  s all is well  b it is bad  _ no calls  x the rule cannot look
seen   . healthy  ! breached  w a warning  ? no data  x broken
stands - nothing  p pending  F fired  W worse  f firing  r recovering  n without data  R resolved  e the rule is broken
Each rule fires after two looks and resolves after two that are healthy.
";

#[test]
fn each_kind_of_rule_in_each_mode_of_no_data() {
    let mut text = format!("{LEGEND}\nstory              {}\n", STORY.replace(' ', ""));
    for (kind, definition, see) in kinds() {
        writeln!(text, "\n{kind}").unwrap();
        for (word, no_data) in [
            ("zero", NoData::Zero),
            ("last", NoData::Last),
            ("show", NoData::Show),
            ("notify", NoData::Notify(3)),
        ] {
            let rule = Rule::parse("ru_1", definition.as_bytes()).unwrap();
            let rule = Rule { for_minutes: 1, keep_firing_minutes: 1, no_data, ..rule };
            let (seen, stands) = play(&rule, see);
            writeln!(text, "  {word:6} seen      {seen}\n         stands    {stands}").unwrap();
        }
    }
    insta::assert_snapshot!("timelines", text);
}

#[test]
fn an_alert_that_changes_sides_too_often_is_held_open() {
    let rule = Rule::parse("ru_1", br#"{"title":"t","measure":"error_share","threshold":0.5}"#).unwrap();
    let rule = Rule { window_minutes: 1, keep_firing_minutes: 0, ..rule };
    let story = "bsbsbsbsbsbsssssssss";
    let stands = stands(&rule, story, errors);
    insta::assert_snapshot!("flapping", format!("{LEGEND}\nstory  {story}\nstands {stands}\n"));
}

type See = fn(&Rule, char, bool) -> Observation;

/// Each kind of rule, one of its kind, and what it sees in a minute, an hour or a day of the story.
fn kinds() -> Vec<(&'static str, &'static str, See)> {
    vec![
        ("threshold on a ratio", r#"{"title":"t","measure":"error_share","threshold":0.5}"#, errors),
        (
            "threshold on a series",
            r#"{"title":"t","measure":"cost_microusd","threshold":1000}"#,
            |rule, letter, firing| {
                let mut minute = calls(letter, 10);
                minute.add(Column::parse("cost_microusd").unwrap(), if letter == 'b' { 5_000 } else { 500 });
                observe(rule, &[if letter == '_' { Minute::default() } else { minute }], firing)
            },
        ),
        (
            "threshold on a percentile",
            r#"{"title":"t","measure":"p95(wait)","threshold":500}"#,
            |rule, letter, firing| observe_quantile(rule, &durations(letter), firing),
        ),
        (
            "threshold with a warning and a resolve threshold",
            r#"{"title":"t","measure":"error_share","threshold":0.95,"warning_threshold":0.5,"resolve_threshold":0.1}"#,
            errors,
        ),
        (
            "overhead above target",
            r#"{"title":"t","measure":"mean_overhead","threshold":50,"scope":"system"}"#,
            |rule, letter, firing| {
                let mut minute = calls(letter, 10);
                minute.add(Column::OVERHEAD_SUM_MS, if letter == 'b' { 900 } else { minute.calls });
                observe(rule, &[minute], firing)
            },
        ),
        (
            "burn rate",
            r#"{"title":"t","measure":"error_share","method":{"kind":"burn_rate","objective":0.99},"threshold":1}"#,
            |rule, letter, firing| {
                let window = |minutes: i64| match letter {
                    'b' => (20 * minutes, 100 * minutes),
                    's' => (0, 100 * minutes),
                    _ => (0, 0),
                };
                burn_rate(rule, 0.99, window, firing)
            },
        ),
        (
            "drop",
            r#"{"title":"t","measure":"calls","method":"drop","threshold":0.5}"#,
            |rule, letter, firing| {
                // Without calls in the hour before there is nothing to expect.
                let before = if letter == '_' { 0 } else { 10 };
                let now = if letter == 'b' { 1 } else { before };
                let rows = (0..65).map(|at| {
                    (
                        at * MINUTE_MS,
                        Minute { calls: if at < 60 { before } else { now }, ..Minute::default() },
                    )
                });
                observe(rule, &series(rows, 64 * MINUTE_MS, 65), firing)
            },
        ),
        (
            "absence",
            r#"{"title":"t","measure":"silence","threshold":0.5,"window_minutes":5}"#,
            |rule, letter, firing| {
                // Bad is a silence after calls; without calls before there is nothing to miss.
                let before = i64::from(letter != '_');
                let now = i64::from(letter == 's');
                let rows = (0..65).map(|at| {
                    (
                        at * MINUTE_MS,
                        Minute { calls: if at < 60 { before } else { now }, ..Minute::default() },
                    )
                });
                observe(rule, &series(rows, 64 * MINUTE_MS, 65), firing)
            },
        ),
        (
            "anomaly",
            r#"{"title":"t","measure":"mean_wait","method":"anomaly","threshold":5}"#,
            |rule, letter, firing| {
                anomaly(rule, &[Some(100.0), Some(102.0)].repeat(336), point(letter, 101.0, 400.0), firing)
            },
        ),
        (
            "shift",
            r#"{"title":"t","measure":"mean_wait","method":"shift","threshold":5}"#,
            |rule, letter, firing| {
                let before: Vec<Option<f64>> =
                    (0..168).map(|hour| Some(100.0 + f64::from(hour % 20))).collect();
                shift(rule, &before, &[point(letter, 109.0, 130.0); 24], firing)
            },
        ),
        (
            "trend",
            r#"{"title":"t","measure":"mean_wait","method":{"kind":"trend","limit":500},"threshold":7}"#,
            |rule, letter, firing| {
                let slope = if letter == 'b' { 10.0 } else { 0.0 };
                let days = if letter == '_' { 0 } else { 20 };
                let points: Vec<_> = (0..days)
                    .map(|day| (f64::from(day), 290.0 + slope * f64::from(day) + f64::from(day % 2)))
                    .collect();
                slow_trend(rule, 500.0, &points, i64::from(days), firing)
            },
        ),
        (
            "drift",
            r#"{"title":"t","measure":"p50(wait)","method":"drift","threshold":0.25}"#,
            |rule, letter, firing| drift(rule, &durations('s'), &durations(letter), firing),
        ),
        (
            "segment scan",
            r#"{"title":"t","measure":"error_share","method":"segments","threshold":0.05}"#,
            |rule, letter, firing| {
                let of = |name: &str, bad| Segment {
                    name: name.to_owned(),
                    bad,
                    calls: if letter == '_' { 0 } else { 200 },
                };
                let segments = [of("key=a", 2), of("key=b", if letter == 'b' { 60 } else { 2 })];
                let all =
                    segments.iter().fold((0, 0), |(bad, calls), one| (bad + one.bad, calls + one.calls));
                segment(rule, &worse_segments(rule, &segments, all), segments.last(), all, firing)
            },
        ),
        (
            "load knee",
            r#"{"title":"t","measure":"mean_wait","method":"knee","threshold":1}"#,
            |rule, letter, firing| {
                let points: Vec<(f64, f64)> = (1..=30)
                    .map(|at| f64::from(at) * 10.0)
                    .map(|load| (load, 200.0 + 0.1 * load + (load - 200.0).max(0.0) * 5.0))
                    .collect();
                let load = if letter == 'b' { 250 } else { 100 };
                match letter {
                    '_' => load_knee(rule, &[], 0.0, 0, firing),
                    _ => load_knee(rule, &points, load as f64, load, firing),
                }
            },
        ),
        (
            "error surge by fingerprint",
            r#"{"title":"t","measure":"fault_calls","method":"surge","threshold":1}"#,
            |rule, letter, firing| {
                let count = if letter == 'b' { 60 } else { 5 };
                match letter {
                    '_' => surge(rule, 0, &[], 0, 0, firing),
                    _ => surge(rule, 0, &[4.0; 168], 168, count, firing),
                }
            },
        ),
        // Nothing new is not a lack of data.
        (
            "a provider's change",
            r#"{"title":"t","measure":"news","threshold":0,"min_count":3}"#,
            |rule, letter, firing| match letter {
                'b' => changed(rule, 5, firing),
                's' => changed(rule, 0, firing),
                _ => changed(rule, 1, false),
            },
        ),
        (
            "a model that ends",
            r#"{"title":"t","measure":"model_days_left","threshold":30}"#,
            |rule, letter, firing| match letter {
                '_' => withdrawn(rule, None, 0, 0, firing),
                letter => withdrawn(rule, (letter == 'b').then_some(10 * DAY_MS), 0, 50, firing),
            },
        ),
        // It has a date whether anybody calls or not.
        (
            "a price table that is old",
            r#"{"title":"t","measure":"price_table_age","threshold":90}"#,
            |rule, letter, firing| age(rule, 0, if letter == 'b' { 100 } else { 10 } * DAY_MS, firing),
        ),
        // None lost is a zero, whether anybody calls or not.
        ("records lost", r#"{"title":"t","measure":"lost","threshold":0}"#, |rule, letter, firing| {
            observe(rule, &[Minute { lost: i64::from(letter == 'b'), ..calls(letter, 10) }], firing)
        }),
    ]
}

fn errors(rule: &Rule, letter: char, firing: bool) -> Observation {
    observe(rule, &[Minute { errors: if letter == 'b' { 9 } else { 0 }, ..calls(letter, 10) }], firing)
}

fn calls(letter: char, calls: i64) -> Minute {
    Minute { calls: if letter == '_' { 0 } else { calls }, ..Minute::default() }
}

fn point(letter: char, well: f64, bad: f64) -> Point {
    match letter {
        '_' => Point::default(),
        'b' => Point { value: Some(bad), count: 100 },
        _ => Point { value: Some(well), count: 100 },
    }
}

fn durations(letter: char) -> Histogram {
    let mut durations = Histogram::default();
    let ms = if letter == 'b' { 900 } else { 100 };
    for at in 0..if letter == '_' { 0 } else { 50 } {
        durations.add(histogram::bucket(ms + at * 5), 1);
    }
    durations
}

/// What is seen, and where the alert stands.
fn play(rule: &Rule, see: See) -> (String, String) {
    let letters = || STORY.chars().filter(|letter| *letter != ' ');
    let mut seen = String::new();
    let mut state = State::default();
    for (letter, minute) in letters().zip(0..) {
        let observation = look(rule, letter, state.is_firing(), see);
        seen.push(match &observation {
            Observation::Breached { level: Level::Warning, .. } => 'w',
            Observation::Breached { .. } => '!',
            Observation::Healthy { .. } => '.',
            Observation::NoData { .. } => '?',
            Observation::Broken { .. } => 'x',
        });
        state = step(rule, state, observation, minute * MINUTE_MS).0;
    }
    (seen, stands(rule, &letters().collect::<String>(), see))
}

fn look(rule: &Rule, letter: char, firing: bool, see: See) -> Observation {
    if letter == 'x' {
        return Observation::Broken { message: "the rule cannot look".to_owned() };
    }
    see(rule, letter, firing)
}

fn stands(rule: &Rule, story: &str, see: See) -> String {
    let mut state = State::default();
    let stand = |(letter, minute): (char, i64)| {
        let observation = look(rule, letter, state.is_firing(), see);
        let (next, change) = step(rule, state.clone(), observation, minute * MINUTE_MS);
        state = next;
        match change {
            Some(Change::Fired(..)) => 'F',
            Some(Change::Worsened(..)) => 'W',
            Some(Change::Resolved(_)) => 'R',
            None if state.is_broken() => 'e',
            None => match state.word() {
                "pending" => 'p',
                "firing" => 'f',
                "recovering" => 'r',
                "no_data" => 'n',
                _ => '-',
            },
        }
    };
    story.chars().zip(0..).map(stand).collect()
}

const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
