//! Reports come by the clock of those who get them, once each, and say what is known.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use functions::{Incoming, handle};
use gateway::{
    journal,
    ports::Clock as _,
    record::Outcome,
    report::{STATEMENTS, send_due},
    tick::tick,
};
use http::Request;
use hypercare::notify::ReceiverKind;
use serde_json::{Value, json};
use tests::{Answer, Fault, Watch, block_on, host::NEW_YEAR_MS, watch::record};

#[test]
fn a_daily_report_comes_at_its_hour_and_tells_of_the_day_before() {
    let mut watch = busy();
    let receiver = watch.webhook(None, HOOK);
    let set = ask(&watch, "PUT", &format!("receivers/{receiver}/reports/daily"), json!({ "hour": 7 }));
    let due_ms = NEW_YEAR_MS + DAY_MS + 7 * HOUR_MS + 10 * MINUTE_MS;
    assert_eq!(set["next_ms"], due_ms, "{set}");
    go_to(&mut watch, due_ms - 2 * MINUTE_MS);
    assert!(watch.heard(HOOK).is_empty());
    go_on(&mut watch, 3);
    let sent = watch.host.upstream.sent_to(HOOK);
    let [sent] = &sent[..] else { panic!("{} sent", sent.len()) };
    let body = sent.json();
    assert_eq!(body["type"], "report.created");
    assert_eq!(body["data"]["title"], "Daily report, 2026-01-01");
    assert_eq!(
        body["data"]["summary"],
        "360 calls, 10 % errors, p95 299 ms, $0.0012 without 33.3 % of the calls, whose cost is not known; no alert is open"
    );
    let facts = facts(&body["data"]);
    assert!(facts.contains(&"Calls: 360 ▁▁▁▁▁▁▁▁█▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁".to_owned()), "{facts:?}");
    assert!(facts.contains(&"Errors: 10 % (36) ········█···············".to_owned()), "{facts:?}");
    assert!(facts.contains(&"Moved: demo/echo: 0 → 360 calls".to_owned()), "{facts:?}");
    // Not again, whatever the tick does.
    go_on(&mut watch, 120);
    assert_eq!(watch.heard(HOOK).len(), 1);
    go_to(&mut watch, due_ms + DAY_MS + 2 * MINUTE_MS);
    assert_eq!(watch.heard(HOOK).len(), 2);
    let sent = watch.host.upstream.sent_to(HOOK);
    assert_eq!(sent[1].json()["data"]["summary"], "no calls in this day; no alert is open");
}

#[test]
fn each_receiver_has_its_own_clock_and_hears_of_its_own_calls() {
    let mut watch = busy();
    let [ann, all, early] = ["https://ann.example/", "https://all.example/", "https://early.example/"];
    let of_ann = watch.webhook(Some("tn_a"), ann);
    let of_all = watch.webhook(None, all);
    let of_early = watch.webhook(None, early);
    for (receiver, body) in [
        (&of_ann, json!({ "hour": 8, "zone": "UTC" })),
        (&of_all, json!({ "hour": 9, "zone": "+01:00" })),
        (&of_early, json!({ "hour": 8, "zone": "+02:00", "tenant_id": "tn_b" })),
    ] {
        assert_eq!(status(&watch, "PUT", &format!("receivers/{receiver}/reports/daily"), body), 200);
    }
    go_to(&mut watch, NEW_YEAR_MS + DAY_MS + 6 * HOUR_MS + 12 * MINUTE_MS);
    assert_eq!([ann, all, early].map(|url| watch.heard(url).len()), [0, 0, 1]);
    go_to(&mut watch, NEW_YEAR_MS + DAY_MS + 8 * HOUR_MS + 13 * MINUTE_MS);
    let titles = [ann, all, early].map(|url| {
        watch.host.upstream.sent_to(url)[0].json()["data"]["summary"].as_str().unwrap()[..12].to_owned()
    });
    assert_eq!(titles, ["Ann: 240 cal", "360 calls, 1", "Bob: 120 cal"]);
}

#[test]
fn a_weekly_report_shows_its_days() {
    let mut watch = busy();
    let receiver = watch.webhook(None, HOOK);
    let path = format!("receivers/{receiver}/reports/weekly");
    let set = ask(&watch, "PUT", &path, json!({ "hour": 8, "weekday": "friday" }));
    // The New Year was a Thursday; the next Friday is tomorrow.
    let due_ms = NEW_YEAR_MS + DAY_MS + 8 * HOUR_MS + 10 * MINUTE_MS;
    assert_eq!((&set["next_ms"], &set["weekday"]), (&json!(due_ms), &json!("friday")));
    go_to(&mut watch, due_ms + 2 * MINUTE_MS);
    let body = watch.host.upstream.sent_to(HOOK)[0].json();
    assert_eq!(body["data"]["title"], "Weekly report, 2025-12-26 to 2026-01-01");
    let facts = facts(&body["data"]);
    assert!(facts.contains(&"Calls: 360 ▁▁▁▁▁▁█".to_owned()), "{facts:?}");
}

#[test]
fn a_report_comes_once_wherever_a_tick_dies_and_when_two_overlap() {
    let prepared = || {
        let mut watch = busy();
        for n in 0..3 {
            let receiver = watch.webhook(None, &format!("{HOOK}/{n}"));
            ask(&watch, "PUT", &format!("receivers/{receiver}/reports/daily"), json!({ "hour": 7 }));
        }
        go_to(&mut watch, NEW_YEAR_MS + DAY_MS + 7 * HOUR_MS + 9 * MINUTE_MS);
        watch
    };
    let told = |watch: &Watch| (0..3).map(|n| watch.heard(&format!("{HOOK}/{n}")).len()).collect::<Vec<_>>();
    let mut undisturbed = prepared();
    let before = undisturbed.host.db.batches();
    undisturbed.mortal_minute("tn_a", '_');
    undisturbed.mortal_minute("tn_a", '_');
    assert_eq!(told(&undisturbed), [1, 1, 1]);
    let batches = undisturbed.host.db.batches() - before;
    for n in (0..batches).step_by(2) {
        for fault in [Some(Fault::BeforeBegin), Some(Fault::AfterCommit), None] {
            let mut watch = prepared();
            match fault {
                Some(fault) => watch.host.db.die_at_batch(n, fault),
                None => {
                    let host = watch.host.clone();
                    watch.host.db.before_batch(n, move || {
                        let next_ms = host.now_ms() + MINUTE_MS;
                        host.set_now(next_ms);
                        block_on(tick(&*host, next_ms)).unwrap();
                    });
                }
            }
            for _ in 0..6 {
                watch.mortal_minute("tn_a", '_');
            }
            assert_eq!(told(&watch), [1, 1, 1], "{fault:?}, batch {n}");
        }
    }
}

#[test]
fn a_gateway_that_was_down_tells_of_the_newest_day_and_of_no_other() {
    let mut watch = busy();
    let receiver = watch.webhook(None, HOOK);
    ask(&watch, "PUT", &format!("receivers/{receiver}/reports/daily"), json!({ "hour": 7 }));
    while watch.minute_ms() < NEW_YEAR_MS + 4 * DAY_MS {
        watch.pass();
    }
    go_on(&mut watch, 4);
    let titles: Vec<Value> =
        watch.host.upstream.sent_to(HOOK).iter().map(|sent| sent.json()["data"]["title"].clone()).collect();
    assert_eq!(titles, ["Daily report, 2026-01-04"]);
}

#[test]
fn many_who_get_the_same_get_it_from_few_statements() {
    let mut watch = busy();
    for n in 0..40 {
        let receiver = watch.webhook(None, &format!("{HOOK}/{n}"));
        ask(&watch, "PUT", &format!("receivers/{receiver}/reports/daily"), json!({ "hour": 7 }));
    }
    let due_ms = NEW_YEAR_MS + DAY_MS + 7 * HOUR_MS + 10 * MINUTE_MS;
    go_to(&mut watch, due_ms - 5 * MINUTE_MS);
    let before = watch.host.db.statements();
    assert_eq!(block_on(send_due(&*watch.host, due_ms)).unwrap(), 40);
    assert_eq!(watch.host.db.statements() - before, STATEMENTS);
    assert_eq!(block_on(send_due(&*watch.host, due_ms)).unwrap(), 0);
}

#[test]
fn a_report_waits_for_its_hours_to_be_counted_but_not_for_ever() {
    let mut watch = busy();
    let receiver = watch.webhook(None, HOOK);
    ask(&watch, "PUT", &format!("receivers/{receiver}/reports/daily"), json!({ "hour": 7 }));
    let due_ms = NEW_YEAR_MS + DAY_MS + 7 * HOUR_MS + 10 * MINUTE_MS;
    go_to(&mut watch, due_ms - 5 * MINUTE_MS);
    watch
        .host
        .db
        .sql("INSERT INTO dirty_buckets (grain, bucket_ms) VALUES ('hour', ?1)", &[json!(NEW_YEAR_MS)]);
    for (after_ms, told) in [(0, 0), (HOUR_MS, 0), (2 * HOUR_MS, 1)] {
        assert_eq!(block_on(send_due(&*watch.host, due_ms + after_ms)).unwrap(), told, "{after_ms}");
    }
}

#[test]
fn a_report_can_be_looked_at_and_sent_by_hand() {
    let mut watch = busy();
    let chat = "https://chat.example/x";
    watch.host.upstream.always("POST", chat, Answer::text(200, "ok"));
    let receiver = watch.receiver(Some("tn_a"), ReceiverKind::Slack, chat);
    go_to(&mut watch, NEW_YEAR_MS + DAY_MS + 3 * MINUTE_MS);
    let shown = ask(&watch, "GET", "reports/daily?tenant=tn_b", Value::Null);
    assert_eq!((&shown["now"]["calls"], &shown["now"]["without_cost"]), (&json!(120), &json!(40)));
    assert_eq!(shown["title"], "Bob: Daily report, 2026-01-01");
    let shown = ask(&watch, "GET", "reports/weekly", Value::Null);
    assert_eq!((&shown["now"]["calls"], &shown["before"]["calls"]), (&json!(360), &json!(0)));
    // To whom no report is set, too: in UTC.
    let sent = ask(&watch, "POST", &format!("receivers/{receiver}/reports/daily/send"), Value::Null);
    assert_eq!(sent["status"], "delivered", "{sent}");
    let text = watch.host.upstream.sent_to(chat)[0].json()["text"].to_string();
    assert!(text.starts_with("\"[REPORT] Ann: 240 calls, 10 % errors"), "{text}");
}

#[test]
fn a_report_is_set_shown_and_removed_and_goes_with_its_receiver() {
    let watch = busy();
    let receiver = watch.webhook(Some("tn_a"), HOOK);
    let path = |cadence: &str| format!("receivers/{receiver}/reports/{cadence}");
    for (cadence, body, expected) in [
        ("daily", json!({}), 200),
        ("weekly", json!({ "zone": "Europe/Berlin", "hour": 0, "weekday": "sunday" }), 200),
        ("weekly", json!({ "tenant_id": "tn_a" }), 200),
        // What would tell one of another's calls.
        ("weekly", json!({ "tenant_id": "tn_b" }), 404),
        ("weekly", json!({ "weekday": "someday" }), 400),
        ("daily", json!({ "weekday": "monday" }), 400),
        ("daily", json!({ "hour": 24 }), 400),
        ("daily", json!({ "zone": "Mars/Olympus" }), 400),
        ("daily", json!({ "minute": 5 }), 400),
        ("hourly", json!({}), 404),
    ] {
        assert_eq!(status(&watch, "PUT", &path(cadence), body.clone()), expected, "{cadence} {body}");
    }
    let listed = || ask(&watch, "GET", &format!("receivers/{receiver}/reports"), Value::Null);
    assert_eq!(listed()["data"].as_array().unwrap().len(), 2);
    assert_eq!(status(&watch, "DELETE", &path("weekly"), Value::Null), 200);
    assert_eq!(status(&watch, "DELETE", &path("weekly"), Value::Null), 404);
    assert_eq!(listed()["data"][0]["cadence"], "daily");
    assert_eq!(status(&watch, "DELETE", &format!("receivers/{receiver}"), Value::Null), 200);
    assert!(watch.host.db.sql("SELECT 1 FROM reports", &[]).is_empty());
    for (method, path, body) in [
        ("GET", "receivers/rcv_x/reports", Value::Null),
        ("PUT", "receivers/rcv_x/reports/daily", json!({})),
        ("POST", "receivers/rcv_x/reports/daily/send", Value::Null),
        ("GET", "reports/daily?tenant=tn_x", Value::Null),
    ] {
        assert_eq!(status(&watch, method, path, body), 404, "{method} {path}");
    }
}

/// The noon of a day with calls in one of its hours, of Ann and of Bob: one in ten failed, and of one in three the cost is not
/// known.
fn busy() -> Watch {
    let mut watch = Watch::new();
    for rule in ["error-share", "no-calls"] {
        watch.set_rule(rule, r#"{"enabled":false}"#);
    }
    let call = |n: i64| {
        let tenant = if n % 3 == 0 { "tn_b" } else { "tn_a" };
        let mut record = record(tenant, NEW_YEAR_MS + 8 * HOUR_MS + n * 10_000);
        record.id = format!("call_{n}");
        record.wait_ms = Some(300);
        if n % 10 == 0 {
            record.outcome = Outcome::Error;
        }
        if n % 9 < 3 {
            record.cost_microusd = None;
        }
        record
    };
    let records: Vec<_> = (0..360).map(call).collect();
    for batch in records.chunks(100) {
        block_on(journal::write(&*watch.host, batch)).unwrap();
    }
    go_to(&mut watch, NEW_YEAR_MS + 12 * HOUR_MS);
    watch
}

/// A tick every two hours and in the last minutes, until then.
fn go_to(watch: &mut Watch, ms: i64) {
    while watch.minute_ms() < ms {
        let left = (ms - watch.minute_ms()) / MINUTE_MS;
        for _ in 1..left.clamp(1, if left > 4 { 120.min(left - 3) } else { 1 }) {
            watch.pass();
        }
        watch.tick();
    }
}

fn go_on(watch: &mut Watch, minutes: usize) {
    for _ in 0..minutes {
        watch.tick();
    }
}

fn facts(data: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let facts = data["facts"].as_array().unwrap();
    facts.iter().map(|fact| format!("{}: {}", text(&fact["name"]), text(&fact["value"]))).collect()
}

fn ask(watch: &Watch, method: &str, path: &str, body: Value) -> Value {
    request(watch, method, path, body).1
}

fn status(watch: &Watch, method: &str, path: &str, body: Value) -> u16 {
    request(watch, method, path, body).0
}

fn request(watch: &Watch, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut incoming: Incoming = Request::new(Ok(body.into()));
    *incoming.method_mut() = method.parse().unwrap();
    *incoming.uri_mut() = format!("/admin/v1/{path}").parse().unwrap();
    incoming.headers_mut().insert("authorization", "Bearer admin-token".parse().unwrap());
    let answered = block_on(async { watch.host.finish(handle(&incoming, &*watch.host).await).await });
    (answered.status.as_u16(), answered.json())
}

const HOOK: &str = "https://hooks.example/team";
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
