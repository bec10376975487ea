//! Between an alert and those who are told: silences, snoozes, acknowledgements, groups, escalations, changes,
//! alerts of others, digests and quiet hours.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::BTreeSet;

use functions::{Incoming, handle};
use gateway::{journal, ports::Clock as _, tick::tick};
use http::Request;
use hypercare::notify::ReceiverKind;
use serde_json::{Value, json};
use tests::{Answer, Fault, Watch, block_on, host::NEW_YEAR_MS, watch::record};

//  calls: s all is well  e errors  w slow  _ none

#[test]
fn a_silenced_alert_is_told_of_when_the_silence_is_over_and_it_is_not() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let silence = json!({ "matchers": ["rule=error-*", "tenant_id=tn_a"], "minutes": 4, "by": "ann", "reason": "known" });
    let silence = ask(&watch, "POST", "silences", silence);
    watch.play("2e");
    assert!(watch.heard(HOOK).is_empty());
    let listed = &ask(&watch, "GET", "alerts", Value::Null)["data"][0];
    assert_eq!(
        (&listed["state"], &listed["muted"]),
        (&json!("firing"), &json!(format!("silenced by {}", text(&silence["id"]))))
    );
    // It says nothing of others.
    watch.calls("tn_b", 'e');
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing", "firing"]);
    watch.play("12s");
    assert_eq!(watch.heard(HOOK).len(), 4);
    let kinds = timeline(&watch, &episode(&watch, "tn_a"));
    let expected = ["fired", "muted", "unmuted", "decided", "sent", "resolved", "decided", "sent"];
    assert_eq!(kinds, expected);
}

#[test]
fn an_alert_that_came_and_went_in_silence_is_never_told_of() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let maintenance = json!({ "kind": "maintenance", "matchers": ["rule=*"], "minutes": 30, "by": "ann", "reason": "new database" });
    ask(&watch, "POST", "silences", maintenance);
    watch.play("e 40s");
    assert!(watch.outbox().is_empty());
    assert_eq!(ask(&watch, "GET", "alerts", Value::Null)["data"][0]["state"], "resolved");
}

#[test]
fn whoever_was_told_of_the_beginning_is_told_of_the_end_silence_or_not() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("e");
    ask(
        &watch,
        "POST",
        "silences",
        json!({ "matchers": ["rule=*"], "minutes": 600, "by": "ann", "reason": "noise" }),
    );
    watch.play("6s");
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
}

#[test]
fn a_silence_can_be_ended_early_and_maintenance_comes_back() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let silence = ask(
        &watch,
        "POST",
        "silences",
        json!({ "matchers": ["rule=*"], "minutes": 600, "by": "ann", "reason": "noise" }),
    );
    let id = text(&silence["id"]).to_owned();
    watch.play("e");
    assert_eq!(ask(&watch, "DELETE", &format!("silences/{id}"), Value::Null)["ended"], true);
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    assert_eq!(ask(&watch, "GET", "silences", Value::Null)["data"][0]["state"], "over");
    assert_eq!(status(&watch, "DELETE", &format!("silences/{id}"), Value::Null), 404);
    // Each day for five minutes, and the last such time was a minute ago.
    let now_ms = watch.minute_ms();
    let daily = json!({ "kind": "maintenance", "matchers": ["rule=*"], "every": "day", "minutes": 5, "by": "ann", "reason": "backup",
                        "starts_at": now_ms - 86_400_000 - 60_000 });
    ask(&watch, "POST", "silences", daily);
    watch.calls("tn_b", 'e');
    watch.play("s");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    watch.calls("tn_b", 'e');
    watch.play("3s");
    assert_eq!(watch.heard(HOOK), ["firing"; 2]);
}

#[test]
fn a_snoozed_alert_is_quiet_and_comes_back() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("e");
    let path = format!("episodes/{}/snooze", episode(&watch, "tn_a"));
    assert_eq!(ask(&watch, "POST", &path, json!({ "by": "ann", "minutes": 3 }))["state"], "firing");
    watch.play("2e");
    assert_eq!(ask(&watch, "GET", "alerts", Value::Null)["data"][0]["muted"], "snoozed");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    watch.play("3e");
    assert_eq!(watch.heard(HOOK), ["firing", "firing"]);
    watch.play("8s");
    assert_eq!(watch.heard(HOOK), ["firing", "firing", "resolved"]);
    let told = watch.host.upstream.sent_to(HOOK);
    assert_eq!(told[0].json()["data"]["episode_id"], told[1].json()["data"]["episode_id"]);
    let kinds = timeline(&watch, &episode(&watch, "tn_a"));
    assert!(
        ["snoozed", "muted", "unmuted", "reminded"].iter().all(|kind| kinds.contains(&(*kind).to_owned())),
        "{kinds:?}"
    );
}

#[test]
fn alerts_that_fire_together_are_one_notice_and_end_as_one() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.webhook(Some("tn_b"), OTHER);
    watch.calls("tn_b", 'e');
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    let told = watch.host.upstream.sent_to(HOOK)[0].json();
    assert!(text(&told["data"]["summary"]).starts_with("2 alerts: "), "{told}");
    // Another receiver hears of its own, as ever.
    assert!(text(&watch.host.upstream.sent_to(OTHER)[0].json()["data"]["summary"]).starts_with("Bob: "));
    // One of them is over before the other.
    for (ann, bob) in "sssssssss".chars().zip("eeessssss".chars()) {
        assert_eq!(watch.heard(HOOK), ["firing"]);
        watch.calls("tn_b", bob);
        watch.minute("tn_a", ann);
    }
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
    assert_eq!(watch.heard(OTHER), ["firing", "resolved"]);
    watch.play("e 7s");
    // What fired again after it was over is news.
    assert_eq!(watch.heard(HOOK), ["firing", "resolved", "firing", "resolved"]);
    let ends: Vec<_> = watch
        .host
        .upstream
        .sent_to(HOOK)
        .iter()
        .map(|sent| text(&sent.json()["data"]["summary"]).to_owned())
        .collect();
    assert!(ends.iter().any(|summary| summary.starts_with("all 2 alerts are over")), "{ends:?}");
    let listed = ask(&watch, "GET", "alerts", Value::Null);
    assert!(
        listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|episode| !episode["notices"].as_array().unwrap().is_empty())
    );
}

#[test]
fn different_rules_are_different_notices_unless_the_receiver_wants_all_in_one() {
    for (habits, expected) in [
        (Value::Null, 2),
        (json!({ "group_by": ["rule", "route"] }), 2),
        (json!({ "group_by": [] }), 1),
        (json!({ "group_by": ["tenant_id"] }), 1),
    ] {
        let mut watch = Watch::new();
        let receiver = watch.webhook(None, HOOK);
        if !habits.is_null() {
            ask(&watch, "PUT", &format!("receivers/{receiver}/habits"), habits.clone());
        }
        let at_ms = watch.minute_ms();
        watch.calls("tn_a", 'e');
        let slow = record("tn_a", at_ms + 30_000);
        let slow = gateway::record::Record { wait_ms: Some(9_000), ..slow };
        block_on(journal::write(&*watch.host, &[slow])).unwrap();
        watch.tick();
        assert_eq!(watch.heard(HOOK).len(), expected, "{habits}");
    }
}

#[test]
fn a_storm_is_a_notice_a_receiver() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let alerts: Vec<Value> = (0..500)
        .map(|number| json!({ "name": "disk", "labels": { "host": format!("h{number}") } }))
        .collect();
    report(&watch, "", json!({ "alerts": alerts }));
    let before = watch.host.db.statements();
    watch.play("s");
    let statements = watch.host.db.statements() - before - 3;
    assert!(statements <= 50, "{statements} statements");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    assert!(
        text(&watch.host.upstream.sent_to(HOOK)[0].json()["data"]["summary"]).starts_with("500 alerts: ")
    );
}

#[test]
fn escalation_goes_on_until_somebody_acknowledges() {
    let [first, second, third] =
        ["https://first.example/", "https://second.example/", "https://third.example/"];
    for (acknowledged, expected) in [(None, [2, 2, 2]), (Some(3), [1, 0, 0]), (Some(6), [1, 1, 0])] {
        let mut watch = Watch::new();
        let ids = [first, second, third].map(|url| watch.webhook(None, url));
        watch.webhook(None, HOOK);
        let step = |minutes: i64, id: &String| json!({ "wait_minutes": minutes, "receivers": [id] });
        let matrix = json!({ "name": "on call", "rule": "error-share", "repeats": 1, "repeat_after_minutes": 10,
                             "steps": [step(0, &ids[0]), step(5, &ids[1]), step(5, &ids[2])] });
        let made = ask(&watch, "POST", "escalations", matrix);
        assert_eq!(ask(&watch, "GET", "escalations", Value::Null)["data"][0], made);
        for minute in 0..40 {
            watch.play("e");
            if Some(minute) == acknowledged {
                let path = format!("episodes/{}/acknowledge", episode(&watch, "tn_a"));
                let shown = ask(&watch, "POST", &path, json!({ "by": "ann" }));
                assert_eq!(shown["acknowledged_by"], "ann");
            }
        }
        let heard = |wanted: &str| {
            [first, second, third]
                .map(|url| watch.heard(url).iter().filter(|kind| kind.as_str() == wanted).count())
        };
        assert_eq!(heard("firing"), expected, "{acknowledged:?}");
        // Who is in no row hears as ever, and everybody who was told hears who looks after it, and the end.
        let told = expected.map(|count| usize::from(count > 0 && acknowledged.is_some()));
        assert_eq!(heard("acknowledged"), told, "{acknowledged:?}");
        assert_eq!(watch.heard(HOOK)[0], "firing");
        watch.play("7s");
        let ends = [first, second, third]
            .map(|url| watch.heard(url).iter().filter(|kind| *kind == "resolved").count());
        assert_eq!(ends, expected.map(|count| usize::from(count > 0)), "{acknowledged:?}");
    }
}

#[test]
fn another_severitys_row_is_not_this_ones() {
    let mut watch = Watch::new();
    let pager = watch.webhook(None, HOOK);
    let matrix = json!({ "name": "pages", "severity": "page", "steps": [{ "wait_minutes": 0, "receivers": [pager] }] });
    let made = ask(&watch, "POST", "escalations", matrix);
    // Errors are a ticket, slowness is a page.
    watch.play("2e");
    assert!(watch.heard(HOOK).is_empty());
    watch.play("w");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    ask(&watch, "DELETE", &format!("escalations/{}", text(&made["id"])), Value::Null);
    watch.calls("tn_b", 'e');
    watch.play("w");
    assert_eq!(watch.heard(HOOK), ["firing"; 2]);
}

#[test]
fn a_providers_outage_stands_for_what_depends_on_it() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    // Every call here is answered by the provider `demo`.
    let outage = json!({ "name": "outage", "source": "statuspage", "provider": "demo", "severity": "critical", "summary": "Major outage" });
    report(&watch, "", outage.clone());
    watch.play("2e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    assert_eq!(watch.host.upstream.sent_to(HOOK)[0].json()["data"]["summary"], "Major outage");
    let shown = ask(&watch, "GET", &format!("episodes/{}", episode(&watch, "tn_a")), Value::Null);
    assert!(text(&shown["muted"]).starts_with("inhibited by ep_"), "{shown}");
    // In the list, what stands for it comes first.
    assert_eq!(ask(&watch, "GET", "alerts", Value::Null)["data"][0]["source"], "statuspage");
    let mut over = outage;
    over["status"] = json!("resolved");
    report(&watch, "", over);
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing", "resolved", "firing"]);
    // An outage of another provider is none of its business.
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    report(&watch, "", json!({ "name": "outage", "provider": "openai", "severity": "critical" }));
    watch.play("e");
    assert_eq!(watch.heard(HOOK).len(), 2);
}

#[test]
fn alerts_of_an_alertmanager_join_the_list_once() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let body = |status: &str, ends: &str| {
        json!({ "version": "4", "status": status, "receiver": "hypergate", "alerts": [{
            "status": status, "labels": { "alertname": "HighLoad", "severity": "critical", "instance": "a" },
            "annotations": { "summary": "Load is 12" }, "startsAt": "2025-12-31T23:59:00Z", "endsAt": ends }] })
    };
    for _ in 0..3 {
        assert_eq!(report(&watch, "/alertmanager", body("firing", "0001-01-01T00:00:00Z"))["received"], 1);
        watch.play("s");
    }
    assert_eq!(watch.heard(HOOK), ["firing"]);
    let list = ask(&watch, "GET", "alerts", Value::Null);
    let [listed] = &list["data"].as_array().unwrap()[..] else { panic!("one alert: {list}") };
    assert_eq!(
        (&listed["rule_id"], &listed["severity"], &listed["source"]),
        (&json!("alertmanager/HighLoad"), &json!("page"), &json!("alertmanager"))
    );
    for _ in 0..2 {
        report(&watch, "/alertmanager", body("resolved", "2026-01-01T00:01:00Z"));
        watch.play("s");
    }
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
    // One that is over before anybody heard of it is told in one; one nobody knew of is not told.
    report(&watch, "", json!({ "name": "blip" }));
    report(&watch, "", json!({ "name": "blip", "status": "resolved" }));
    report(&watch, "", json!({ "name": "never", "status": "resolved" }));
    watch.play("s");
    assert_eq!(watch.heard(HOOK), ["firing", "resolved", "combined"]);
    // And somebody can end one by hand.
    report(&watch, "", json!({ "name": "stuck" }));
    watch.play("s");
    let id = text(&ask(&watch, "GET", "alerts", Value::Null)["data"][0]["id"]).to_owned();
    assert_eq!(
        ask(&watch, "POST", &format!("episodes/{id}/resolve"), json!({ "by": "ann", "text": "gone" }))["state"],
        "resolved"
    );
    watch.play("s");
    assert_eq!(watch.heard(HOOK)[3..], ["firing", "resolved"]);
}

#[test]
fn alerts_of_others_are_grouped_silenced_and_escalated_like_the_gateways_own() {
    let mut watch = Watch::new();
    let first = watch.webhook(None, "https://first.example/");
    watch.webhook(None, HOOK);
    let steps = json!([{ "wait_minutes": 3, "receivers": [first] }]);
    ask(&watch, "POST", "escalations", json!({ "name": "disks", "rule": "external/disk", "steps": steps }));
    let silence = json!({ "matchers": ["rule=external/disk", "host=c"], "minutes": 90, "by": "ann", "reason": "known" });
    ask(&watch, "POST", "silences", silence);
    let alerts = ["a", "b", "c"].map(|host| json!({ "name": "disk", "labels": { "host": host } }));
    report(&watch, "", json!({ "alerts": alerts }));
    watch.play("s");
    // The first waits for its step of the matrix; who is in no row hears of both that are not silenced, in one.
    assert_eq!([watch.heard("https://first.example/").len(), watch.heard(HOOK).len()], [0, 1]);
    let told = watch.host.upstream.sent_to(HOOK)[0].json();
    assert!(text(&told["data"]["summary"]).starts_with("2 alerts: "), "{told}");
    watch.play("4s");
    assert!(!watch.heard("https://first.example/").is_empty());
    assert_eq!(watch.heard(HOOK), ["firing"]);
}

#[test]
fn an_alert_of_others_that_nobody_repeats_ends() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let said = |watch: &Watch, body: Value| report(watch, "?resolve_minutes=5", body);
    said(&watch, json!({ "name": "repeated" }));
    said(&watch, json!({ "name": "once", "severity": "page" }));
    let ends = NEW_YEAR_MS + 7 * 60_000;
    said(&watch, json!({ "name": "dated", "ends_at": ends }));
    for _ in 0..4 {
        watch.play("s");
        said(&watch, json!({ "name": "repeated" }));
    }
    assert_eq!(watch.heard(HOOK), ["firing"; 3]);
    let open = |watch: &Watch| {
        let list = ask(watch, "GET", "alerts?state=firing", Value::Null);
        let names = list["data"].as_array().unwrap().iter().map(|alert| text(&alert["rule_id"]).to_owned());
        names.collect::<BTreeSet<_>>()
    };
    watch.play("2s");
    assert_eq!(open(&watch), BTreeSet::from(["external/dated".to_owned(), "external/repeated".to_owned()]));
    watch.play("2s");
    assert_eq!(open(&watch), BTreeSet::from(["external/repeated".to_owned()]));
    // It ended when its time was over, and is told of once.
    let told: Vec<Value> = watch.host.upstream.sent_to(HOOK).iter().map(|sent| sent.json()).collect();
    let mut over =
        told.iter().filter(|told| told["data"]["summary"] == "over: once (nobody has repeated it)");
    let (over, again) = (over.next().unwrap(), over.next());
    assert!(again.is_none());
    let id = text(&over["data"]["episode_id"]).to_owned();
    assert_eq!(
        ask(&watch, "GET", &format!("episodes/{id}"), Value::Null)["resolved_ms"],
        NEW_YEAR_MS + 5 * 60_000
    );
    assert!(timeline(&watch, &id).contains(&"expired".to_owned()));
    watch.play("4s");
    assert!(open(&watch).is_empty());
    assert_eq!(watch.heard(HOOK).len(), 6);
    // It comes back as another one.
    said(&watch, json!({ "name": "once" }));
    watch.play("s");
    assert_eq!(watch.heard(HOOK).len(), 7);
    assert_eq!(
        request(&watch, "POST", "/internal/alerts?resolve_minutes=0", "alerts-token", json!({ "name": "a" }))
            .0,
        400
    );
}

#[test]
fn an_alertmanagers_alert_outlives_a_repetition_that_got_lost() {
    let mut watch = Watch::new();
    let alert =
        json!({ "version": "4", "alerts": [{ "status": "firing", "labels": { "alertname": "HighLoad" } }] });
    report(&watch, "/alertmanager", alert);
    let open = |watch: &Watch| {
        ask(watch, "GET", "alerts?state=firing", Value::Null)["data"].as_array().unwrap().len()
    };
    let pass = |watch: &mut Watch, hours: i64| {
        for _ in 0..hours * 60 - 1 {
            watch.pass();
        }
        watch.play("s");
    };
    pass(&mut watch, 11);
    assert_eq!(open(&watch), 1);
    pass(&mut watch, 1);
    watch.play("5s");
    assert_eq!(open(&watch), 0);
}

#[test]
fn those_who_were_told_hear_once_that_somebody_looks_after_it() {
    let pager = "https://events.pagerduty.com/v2/enqueue";
    let chat = "https://chat.example/x";
    let untold = "https://am.example/";
    let mut watch = Watch::new();
    for url in [pager, chat, untold] {
        watch.host.upstream.always("POST", url, Answer::text(202, "ok"));
    }
    watch.receiver(None, ReceiverKind::Pagerduty, "https://events.pagerduty.com");
    watch.receiver(None, ReceiverKind::Slack, chat);
    watch.receiver(None, ReceiverKind::Alertmanager, untold);
    watch.webhook(Some("tn_b"), HOOK);
    watch.play("e");
    let id = episode(&watch, "tn_a");
    let act = |watch: &Watch, action: &str| {
        ask(watch, "POST", &format!("episodes/{id}/{action}"), json!({ "by": "<ann>" }));
    };
    let actions = |watch: &Watch| {
        let sent = watch.host.upstream.sent_to(pager);
        sent.iter().map(|sent| text(&sent.json()["event_action"]).to_owned()).collect::<Vec<_>>()
    };
    // Who thinks better of it within the minute has not said a thing.
    act(&watch, "acknowledge");
    act(&watch, "unacknowledge");
    watch.play("e");
    assert_eq!(actions(&watch), ["trigger"]);
    for _ in 0..2 {
        act(&watch, "acknowledge");
        watch.play("e");
    }
    act(&watch, "unacknowledge");
    act(&watch, "acknowledge");
    watch.play("e");
    assert_eq!(actions(&watch), ["trigger", "acknowledge"]);
    assert_eq!(watch.host.upstream.sent_to(pager)[1].json()["dedup_key"], json!(id));
    let chat = watch.host.upstream.sent_to(chat);
    assert_eq!(chat.len(), 2);
    let line = chat[1].json()["text"].to_string();
    assert!(line.starts_with("\"[ACKNOWLEDGED] &lt;ann&gt; looks after it: Ann: 5xx share"), "{line}");
    // To whom it means nothing, nothing is sent.
    assert_eq!(watch.host.upstream.sent_to(untold).len(), 1);
    assert!(watch.heard(HOOK).is_empty());
    watch.play("9s");
    assert_eq!(actions(&watch), ["trigger", "acknowledge", "resolve"]);
}

#[test]
fn a_pager_that_is_down_hears_of_the_acknowledgement_after_the_alert_and_never_after_its_end() {
    for (minutes, expected) in [("30e", &["firing", "acknowledged"][..]), ("12s", &["combined"])] {
        let mut watch = Watch::new();
        watch.webhook(None, HOOK);
        watch.host.upstream.forget(HOOK);
        watch.host.upstream.always("POST", HOOK, Answer::text(503, ""));
        watch.play("e");
        let id = episode(&watch, "tn_a");
        ask(&watch, "POST", &format!("episodes/{id}/acknowledge"), json!({ "by": "ann" }));
        watch.play(if minutes == "30e" { "2e" } else { "9s" });
        assert!(watch.heard(HOOK).is_empty());
        watch.host.upstream.forget(HOOK);
        watch.host.upstream.always("POST", HOOK, Answer::text(200, ""));
        watch.play(minutes);
        assert_eq!(watch.heard(HOOK), expected);
    }
}

#[test]
fn a_group_is_acknowledged_when_somebody_looks_after_all_of_it() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.calls("tn_b", 'e');
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    for (tenant, told) in [("tn_a", 1), ("tn_b", 2)] {
        let id = episode(&watch, tenant);
        ask(&watch, "POST", &format!("episodes/{id}/acknowledge"), json!({ "by": "ann" }));
        watch.calls("tn_b", 'e');
        watch.play("e");
        assert_eq!(watch.heard(HOOK).len(), told, "{tenant}");
    }
    let sent = watch.host.upstream.sent_to(HOOK);
    assert_eq!(sent[1].json()["data"]["kind"], "acknowledged");
    assert_eq!(sent[1].json()["data"]["episode_id"], sent[0].json()["data"]["episode_id"]);
}

#[test]
fn settings_that_change_are_changes_and_what_is_no_setting_is_not() {
    let watch = Watch::new();
    let receiver = watch.webhook(None, HOOK);
    let key = ask(&watch, "POST", "tenants/tn_a/keys", json!({ "name": "app" }));
    let at = format!("receivers/{receiver}");
    for (method, path, body, expected) in [
        ("PUT", "tenants/tn_a/aliases/fast", json!({ "targets": ["demo/echo"] }), "aliases/fast was set"),
        ("DELETE", "tenants/tn_a/aliases/fast", Value::Null, "aliases/fast was removed"),
        (
            "PUT",
            "prices/demo/echo",
            json!({ "microusd_per_million": { "input_tokens": 1, "output_tokens": 1 } }),
            "prices/demo/echo was set",
        ),
        ("PUT", "rules/error-share", json!({ "enabled": false }), "rules/error-share was set"),
        ("PATCH", &at, json!({ "name": "ops" }), &format!("{at} was changed")),
        ("PUT", &format!("{at}/habits"), json!({}), &format!("{at}/habits was set")),
        ("POST", &format!("{at}/test"), Value::Null, ""),
        ("DELETE", &at, Value::Null, &format!("{at} was removed")),
        ("DELETE", &format!("keys/{}", text(&key["id"])), Value::Null, "an API key was removed"),
        ("POST", "tenants/tn_a/keys", json!({ "name": "web" }), "an API key was added"),
        ("PATCH", "tenants/tn_a", json!({ "payload_mode": "none" }), "tenant was changed"),
        (
            "POST",
            "silences",
            json!({ "matchers": ["rule=x"], "minutes": 4, "by": "ann", "reason": "known" }),
            "",
        ),
        // What is refused changes nothing.
        ("PUT", "rules/nothing", json!({ "enabled": false }), ""),
    ] {
        let noted = || watch.host.db.sql("SELECT title, kind, tenant_id FROM changes ORDER BY rowid", &[]);
        let before = noted().len();
        ask(&watch, method, path, body);
        let after = noted();
        assert_eq!(after.len() - before, usize::from(!expected.is_empty()), "{method} {path}");
        if let Some(change) = after.last().filter(|_| !expected.is_empty()) {
            let tenant = if path.starts_with("tenants/") { "tn_a" } else { "" };
            assert_eq!(
                *change,
                json!({ "title": expected, "kind": "configuration", "tenant_id": tenant }),
                "{path}"
            );
        }
    }
}

#[test]
fn a_release_that_has_calls_for_the_first_time_is_a_change_once() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("3s");
    let releases = |watch: &Watch| {
        let changes = ask(watch, "GET", "changes", Value::Null);
        let titles =
            changes["data"].as_array().unwrap().iter().map(|change| text(&change["title"]).to_owned());
        titles.collect::<Vec<_>>()
    };
    // There was nothing before the first one.
    assert!(releases(&watch).is_empty());
    let served_by = |watch: &Watch, release: &str| {
        let mut record = record("tn_a", watch.minute_ms() + 30_000);
        record.release = release.to_owned();
        block_on(journal::write(&*watch.host, &[record])).unwrap();
    };
    for release in ["2.0", "test", "2.0"] {
        served_by(&watch, release);
        watch.play("s");
    }
    assert_eq!(releases(&watch), ["release 2.0 of the gateway"]);
    // An alert soon after is associated with it.
    watch.play("e");
    let facts = watch.host.upstream.sent_to(HOOK)[0].json()["data"]["facts"].to_string();
    assert!(facts.contains("release 2.0 of the gateway (release), 3 min before"), "{facts}");
}

#[test]
fn an_alert_names_what_was_changed_before_it_with_the_numbers_before_and_after() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("10s");
    // Both of the configuration here, which is noted by itself, and of something elsewhere.
    assert_eq!(status(&watch, "PUT", "tenants/tn_a/aliases/fast", json!({ "targets": ["demo/echo"] })), 200);
    ask(
        &watch,
        "POST",
        "changes",
        json!({ "kind": "release", "title": "web 1.2", "by": "ci", "url": "https://ci.example/7" }),
    );
    ask(&watch, "POST", "changes", json!({ "kind": "flag", "title": "of Bob", "tenant_id": "tn_b" }));
    watch.play("s e");
    let facts = watch.host.upstream.sent_to(HOOK)[0].json()["data"]["facts"].to_string();
    assert!(
        facts.contains("aliases/fast was set (configuration), just before; 5xx share 0 % before, 25 % after"),
        "{facts}"
    );
    assert!(facts.contains("web 1.2 (release)") && !facts.contains("of Bob"), "{facts}");
    let shown = ask(&watch, "GET", &format!("episodes/{}", episode(&watch, "tn_a")), Value::Null);
    let associated = shown["associated"].as_array().unwrap();
    assert_eq!(associated.len(), 2);
    assert_eq!(
        (&associated[0]["before"]["calls"], &associated[0]["after"]["errors"]),
        (&json!(20), &json!(1))
    );
    let changes = ask(&watch, "GET", "changes", Value::Null);
    assert_eq!(changes["data"].as_array().unwrap().len(), 3);
}

#[test]
fn tickets_wait_for_the_digest_and_for_the_morning_and_pages_do_not() {
    // It is midnight in UTC, New Year.
    for (habits, due_minute) in [
        (json!({ "digest_minutes": 15 }), 15),
        (json!({ "quiet_from": "23:00", "quiet_to": "00:20" }), 20),
        (json!({ "quiet_from": "01:00", "quiet_to": "01:25", "zone": "Europe/Berlin" }), 25),
        (json!({ "digest_minutes": 15, "quiet_from": "23:00", "quiet_to": "00:20" }), 20),
    ] {
        let mut watch = Watch::new();
        let receiver = watch.webhook(None, HOOK);
        ask(&watch, "PUT", &format!("receivers/{receiver}/habits"), habits.clone());
        watch.calls("tn_b", 'e');
        watch.play("e");
        watch.play("e");
        // One of them is over by then.
        for _ in 2..due_minute - 1 {
            watch.calls("tn_b", 's');
            watch.play("e");
        }
        assert!(watch.heard(HOOK).is_empty(), "{habits}");
        watch.calls("tn_b", 's');
        watch.play("e");
        assert_eq!(watch.heard(HOOK), ["firing"], "{habits}");
        let told = watch.host.upstream.sent_to(HOOK)[0].json();
        assert!(text(&told["data"]["summary"]).starts_with("2 alerts, 1 of them over"), "{told}");
        watch.calls("tn_b", 'w');
        watch.play("e");
        assert_eq!(watch.heard(HOOK), ["firing"; 2], "{habits}");
        watch.play("16s");
        assert_eq!(watch.heard(HOOK).iter().filter(|kind| *kind == "resolved").count(), 2, "{habits}");
    }
}

#[test]
fn a_tick_that_dies_anywhere_tells_a_group_once() {
    let play = |die: Option<(usize, Fault)>| {
        let mut watch = Watch::new();
        watch.webhook(None, HOOK);
        let before = watch.host.db.batches();
        if let Some((n, fault)) = die {
            watch.host.db.die_at_batch(n, fault);
        }
        for letter in "sesssssss".chars() {
            watch.calls("tn_b", letter);
            watch.mortal_minute("tn_a", letter);
        }
        let batches = watch.host.db.batches() - before;
        watch.host.db.revive();
        watch.play("3s");
        assert_eq!(watch.heard(HOOK), ["firing", "resolved"], "{die:?}");
        let sent = watch.host.upstream.sent_to(HOOK);
        assert!(text(&sent[0].json()["data"]["summary"]).starts_with("2 alerts"), "{die:?}");
        batches
    };
    let batches = play(None);
    for fault in [Fault::BeforeBegin, Fault::AfterCommit] {
        for n in (0..batches).step_by(2) {
            play(Some((n, fault)));
        }
    }
}

#[test]
fn a_warning_that_becomes_worse_is_said_to_be() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.set_rule(
        "slow-response",
        r#"{"min_count":1,"window_minutes":1,"for_minutes":0,"threshold":800,"warning_threshold":500}"#,
    );
    let slow = |watch: &mut Watch, wait_ms: i64| {
        let record = record("tn_a", watch.minute_ms());
        let record = gateway::record::Record { wait_ms: Some(wait_ms), ..record };
        block_on(journal::write(&*watch.host, &[record])).unwrap();
        watch.tick();
    };
    slow(&mut watch, 600);
    let severity = |watch: &Watch| ask(watch, "GET", "alerts", Value::Null)["data"][0]["severity"].clone();
    assert_eq!(severity(&watch), "ticket");
    slow(&mut watch, 900);
    assert_eq!(severity(&watch), "page");
    slow(&mut watch, 950);
    let told: Vec<String> = watch
        .host
        .upstream
        .sent_to(HOOK)
        .iter()
        .map(|sent| text(&sent.json()["data"]["summary"]).to_owned())
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("600 ms > 500 ms") && told[1].contains("900 ms > 800 ms"), "{told:?}");
    watch.play("7s");
    assert_eq!(watch.heard(HOOK), ["firing", "firing", "resolved"]);
}

#[test]
fn a_rule_that_cannot_look_for_three_minutes_is_an_alert_of_its_own() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("e");
    watch.host.db.sql("UPDATE alerts SET memory = 'mangled'", &[]);
    watch.play("2e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing", "firing"]);
    let told = watch.host.upstream.sent_to(HOOK)[1].json();
    assert_eq!(
        (&told["data"]["title"], &told["data"]["severity"]),
        (&json!("A rule cannot be evaluated"), &json!("ticket"))
    );
    watch.host.db.sql("DELETE FROM alerts WHERE memory = 'mangled'", &[]);
    watch.play("2s");
    assert_eq!(watch.heard(HOOK), ["firing", "firing", "resolved"]);
    let summary = watch.host.upstream.sent_to(HOOK)[2].json()["data"]["summary"].clone();
    assert_eq!(summary, "the rule error-share can be evaluated again");
}

#[test]
fn what_flaps_is_told_once_and_held_open() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.set_rule(
        "error-share",
        r#"{"min_count":1,"window_minutes":1,"for_minutes":0,"keep_firing_minutes":0}"#,
    );
    watch.play("e s e s e s e s e s e s");
    assert_eq!(watch.heard(HOOK), ["firing", "resolved", "firing", "resolved", "firing"]);
    let listed = &ask(&watch, "GET", "alerts?state=firing", Value::Null)["data"][0];
    assert_eq!(listed["flapping"], true);
    assert!(text(&listed["summary"]).contains("held open until it is calm"), "{listed}");
    watch.play("70s");
    assert_eq!(watch.heard(HOOK)[5..], ["resolved"]);
}

#[test]
fn notes_are_kept_with_the_episode_and_what_is_over_can_only_be_noted_on() {
    let mut watch = Watch::new();
    watch.play("e");
    let id = episode(&watch, "tn_a");
    let act = |action: &str, body: Value| status(&watch, "POST", &format!("episodes/{id}/{action}"), body);
    assert_eq!(act("note", json!({ "by": "ann", "text": "The pool was exhausted." })), 200);
    assert_eq!(act("note", json!({ "by": "ann" })), 400);
    assert_eq!(act("acknowledge", json!({})), 400);
    assert_eq!(act("acknowledge", json!({ "by": "ann" })), 200);
    assert_eq!(act("unacknowledge", json!({ "by": "ann" })), 200);
    assert_eq!(act("resolve", json!({ "by": "ann" })), 404);
    assert_eq!(act("dance", json!({ "by": "ann" })), 400);
    let shown = ask(&watch, "GET", &format!("episodes/{id}"), Value::Null);
    let noted = shown["timeline"].as_array().unwrap().iter().find(|moment| moment["kind"] == "note").unwrap();
    assert_eq!((&noted["actor"], &noted["detail"]), (&json!("ann"), &json!("The pool was exhausted.")));
    assert_eq!(shown["acknowledged_ms"], Value::Null);
    watch.play("7s");
    let act = |action: &str| {
        status(&watch, "POST", &format!("episodes/{id}/{action}"), json!({ "by": "ann", "text": "x", }))
    };
    assert_eq!((act("note"), act("acknowledge")), (200, 404));
    assert_eq!(status(&watch, "GET", "episodes/ep_none", Value::Null), 404);
}

#[test]
fn ticks_that_overlap_tell_a_group_once() {
    for n in 0..24 {
        let mut watch = Watch::new();
        watch.webhook(None, HOOK);
        for tenant in ["tn_a", "tn_b"] {
            watch.calls_ahead(tenant, "sesssssssss");
        }
        watch.tick();
        // While one tick works, the next minute's runs from end to end.
        let host = watch.host.clone();
        watch.host.db.before_batch(n, move || {
            let next_ms = host.now_ms() + 60_000;
            host.set_now(next_ms);
            block_on(tick(&*host, next_ms)).unwrap();
        });
        for _ in 0..10 {
            watch.tick();
        }
        assert_eq!(watch.heard(HOOK), ["firing", "resolved"], "before batch {n}");
        assert_eq!(watch.host.upstream.sent_to(HOOK).len(), 2, "before batch {n}");
    }
}

#[test]
fn input_that_makes_no_sense_is_refused_by_field() {
    let watch = Watch::new();
    for (method, path, body, param) in [
        ("POST", "silences", json!({ "by": "a", "reason": "b", "minutes": 5 }), "matchers"),
        (
            "POST",
            "silences",
            json!({ "matchers": ["x"], "by": "a", "reason": "b", "minutes": 5 }),
            "matchers",
        ),
        ("POST", "silences", json!({ "matchers": ["x=y"], "by": "a", "reason": "b" }), "ends_at"),
        ("POST", "silences", json!({ "matchers": ["x=y"], "by": "a", "minutes": 5 }), "reason"),
        ("POST", "silences", json!({ "matchers": ["x=y"], "minutes": 5, "reason": "b" }), "by"),
        (
            "POST",
            "silences",
            json!({ "matchers": ["x=y"], "minutes": 5, "reason": "b", "by": "a", "every": "day" }),
            "every",
        ),
        ("POST", "escalations", json!({ "name": "a" }), "steps"),
        (
            "POST",
            "escalations",
            json!({ "name": "a", "steps": [{ "wait_minutes": 0, "receivers": ["rcv_none"] }] }),
            "steps",
        ),
        ("POST", "escalations", json!({ "name": "a", "steps": [7] }), "steps"),
        ("POST", "escalations", json!({ "name": "a", "severity": "loud", "steps": [] }), "severity"),
        ("PUT", "receivers/rcv_1/habits", json!({ "zone": "Mars" }), "zone"),
        ("PUT", "receivers/rcv_1/habits", json!({ "quiet_from": "25:00" }), "quiet_from"),
        ("PUT", "receivers/rcv_1/habits", json!({ "quiet_from": "22:00" }), "quiet_to"),
        ("PUT", "receivers/rcv_1/habits", json!({ "digest_minutes": 1 }), "digest_minutes"),
        ("POST", "changes", json!({ "title": "x" }), "kind"),
        ("POST", "changes", json!({ "kind": "flag" }), "title"),
        ("POST", "changes", json!({ "kind": "flag", "title": "x", "url": "http://x" }), "url"),
        ("POST", "changes", json!({ "kind": "flag", "title": "x", "at": "2036-01-01T00:00:00Z" }), "at"),
    ] {
        let refused = ask(&watch, method, path, body.clone());
        assert_eq!(refused["error"]["param"], param, "{path} {body}: {refused}");
    }
    assert_eq!(status(&watch, "PUT", "receivers/rcv_1/habits", json!({})), 404);
    for token in ["admin-token", "tick-token", "wrong"] {
        assert_eq!(request(&watch, "POST", "/internal/alerts", token, json!({ "name": "x" })).0, 401);
    }
}

const HOOK: &str = "https://hooks.example/team";
const OTHER: &str = "https://hooks.example/bob";

/// The newest episode of a tenant.
fn episode(watch: &Watch, tenant_id: &str) -> String {
    let listed = ask(watch, "GET", &format!("alerts?tenant={tenant_id}"), Value::Null);
    text(&listed["data"][0]["id"]).to_owned()
}

/// What happened to an episode, in words.
fn timeline(watch: &Watch, id: &str) -> Vec<String> {
    let shown = ask(watch, "GET", &format!("episodes/{id}"), Value::Null);
    shown["timeline"].as_array().unwrap().iter().map(|moment| text(&moment["kind"]).to_owned()).collect()
}

fn report(watch: &Watch, path: &str, body: Value) -> Value {
    let (status, answer) = request(watch, "POST", &format!("/internal/alerts{path}"), "alerts-token", body);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn ask(watch: &Watch, method: &str, path: &str, body: Value) -> Value {
    request(watch, method, &format!("/admin/v1/{path}"), "admin-token", body).1
}

fn status(watch: &Watch, method: &str, path: &str, body: Value) -> u16 {
    request(watch, method, &format!("/admin/v1/{path}"), "admin-token", body).0
}

fn request(watch: &Watch, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut incoming: Incoming = Request::new(Ok(body.into()));
    *incoming.method_mut() = method.parse().unwrap();
    *incoming.uri_mut() = path.parse().unwrap();
    incoming.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let answered = block_on(async { watch.host.finish(handle(&incoming, &*watch.host).await).await });
    (answered.status.as_u16(), answered.json())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
