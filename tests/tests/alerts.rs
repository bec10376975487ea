//! Alerts from calls to episodes: who hears what, once each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use gateway::{
    Error,
    ports::{Clock as _, FetchError},
    store::alerts::{Episode, EpisodeFilter, episodes},
    tick::Report,
    watch::{put_override, rules},
};
use hypercare::rule::{Override, default_pack};
use tests::{Answer, Watch, block_on, watch::kind};

//  calls: s all is well  e errors  w slow  l a record is lost  _ none
//  told:  - nothing      F fired   R resolved

#[test]
fn each_shipped_rule_fires_and_resolves_for_what_it_is_for() {
    for (calls, rule, timeline, severity) in [
        // One error in a window is one per cent, which is not more: the second minute begins the breach.
        ("5s 7e 10s", "error-share", "-----------F--------R-".to_owned(), "ticket"),
        // Two slow minutes in a window are not enough for a mean of half a second: the third begins it.
        ("5s 12w 11s", "slow-response", "-----------------F------R---".to_owned(), "page"),
        ("60s 10_ 11s", "no-calls", "-".repeat(69) + "F----------R", "page"),
        ("2s l 12s", "records-lost", "--F---------R--".to_owned(), "page"),
    ] {
        let mut watch = Watch::as_shipped();
        let hook = watch.webhook(None, HOOK);
        let told = timeline_of(&watch.play(calls));
        assert_eq!(told, timeline, "{rule}: {calls}");
        assert_eq!(watch.heard(HOOK), ["firing", "resolved"], "{rule}");
        let [episode] = &all_episodes(&watch)[..] else { panic!("{rule}: one episode") };
        assert_eq!(
            (episode.rule_id.as_str(), episode.severity.as_str(), episode.state),
            (rule, severity, "resolved")
        );
        let notices: Vec<_> = episode
            .notices
            .iter()
            .map(|notice| (notice.receiver_id.as_str(), notice.kind.as_str(), notice.status.as_str()))
            .collect();
        assert_eq!(
            notices,
            [(hook.as_str(), "firing", "delivered"), (&hook, "resolved", "delivered")],
            "{rule}"
        );
    }
}

#[test]
fn a_notice_says_whose_calls_and_what_was_measured() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("e 6s");
    let sent = watch.host.upstream.sent_to(HOOK);
    let [fired, resolved] = [0, 1].map(|at| sent[at].json());
    assert_eq!(fired["type"], "alert.firing");
    assert_eq!(
        fired["data"]["summary"],
        "Ann: 5xx share 50 % > 1 % on /v1/chat/completions (1 min, 2 calls)"
    );
    assert_eq!(fired["data"]["labels"]["tenant_id"], "tn_a");
    assert_eq!(resolved["type"], "alert.resolved");
    assert_eq!(resolved["data"]["episode_id"], fired["data"]["episode_id"]);
    assert_eq!(all_episodes(&watch)[0].summary, fired["data"]["summary"].as_str().unwrap());
}

#[test]
fn a_tenants_receiver_hears_of_that_tenant_only() {
    let [of_ann, of_bob, of_all] = ["https://ann.example/", "https://bob.example/", "https://all.example/"];
    let mut watch = Watch::new();
    watch.webhook(Some("tn_a"), of_ann);
    watch.webhook(Some("tn_b"), of_bob);
    watch.webhook(None, of_all);
    // Ann's calls fail, Bob's do not.
    watch.calls("tn_b", 's');
    watch.play("e");
    assert_eq!(
        [of_ann, of_bob, of_all].map(|url| watch.heard(url)),
        [vec!["firing"], vec![], vec!["firing"]]
    );
    // Now Bob's do, too.
    watch.calls("tn_b", 'e');
    watch.play("e");
    assert_eq!([of_ann, of_bob, of_all].map(|url| watch.heard(url).len()), [1, 1, 2]);
    let told: Vec<_> = watch
        .host
        .upstream
        .sent_to(of_bob)
        .iter()
        .map(|sent| sent.json()["data"]["labels"]["tenant_id"].clone())
        .collect();
    assert_eq!(told, ["tn_b"]);
    // Records that are lost are nobody's in particular.
    watch.play("l");
    assert_eq!([of_ann, of_bob, of_all].map(|url| watch.heard(url).len()), [1, 1, 3]);
}

#[test]
fn open_episodes_are_listed_before_others_and_new_before_old_by_tenant_and_page() {
    let mut watch = Watch::new();
    watch.calls("tn_b", 'e');
    watch.play("s");
    watch.play("e 6s");
    watch.play("e");
    let list = |filter: EpisodeFilter| {
        let found = block_on(episodes(&*watch.host, &filter)).unwrap();
        found.into_iter().map(|episode| (episode.tenant_id.unwrap(), episode.state)).collect::<Vec<_>>()
    };
    let [ann, bob] = ["tn_a", "tn_b"].map(str::to_owned);
    let all = EpisodeFilter { limit: 10, ..EpisodeFilter::default() };
    let newest = [(ann.clone(), "firing"), (bob.clone(), "firing"), (ann.clone(), "resolved")];
    assert_eq!(list(all.clone()), newest);
    assert_eq!(list(EpisodeFilter { open: true, ..all.clone() }), newest[..2]);
    assert_eq!(list(EpisodeFilter { tenant_id: Some(bob), ..all.clone() }), newest[1..2]);
    assert_eq!(list(EpisodeFilter { limit: 1, ..all.clone() }), newest[..1]);
    let first = &all_episodes(&watch)[0];
    assert_eq!(list(EpisodeFilter { after: Some((first.place, first.id.clone())), ..all }), newest[1..]);
}

#[test]
fn a_series_without_calls_goes_on_until_its_alert_ends() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    assert_eq!(timeline_of(&watch.play("e 12_")), "F---------R--");
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
    // Its changes of sides are remembered for an hour.
    let states = |watch: &Watch| watch.host.db.sql("SELECT state FROM alerts", &[]);
    assert_eq!(states(&watch), [serde_json::json!({ "state": "no_data" })]);
    watch.play("60_");
    assert!(states(&watch).is_empty());
}

#[test]
fn nobody_misses_calls_without_a_key_or_of_a_tenant_that_was_shut_out() {
    let mut watch = Watch::as_shipped();
    for _ in 0..60 {
        watch.calls("", 's');
        watch.calls("tn_b", 's');
        watch.tick();
    }
    watch.host.db.sql("UPDATE tenants SET disabled_ms = 1 WHERE id = 'tn_b'", &[]);
    assert_eq!(timeline_of(&watch.play("20_")), "-".repeat(20));
}

#[test]
fn errors_of_callers_without_a_key_are_told_to_those_who_hear_of_all() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.webhook(Some("tn_a"), "https://ann.example/");
    watch.minute("", 'e');
    let [sent] = &watch.host.upstream.sent()[..] else { panic!("one notice") };
    assert_eq!(sent.url, HOOK);
    assert!(sent.json()["data"]["summary"].as_str().unwrap().starts_with("callers without a key: 5xx share"));
}

#[test]
fn a_rule_that_is_switched_off_ends_its_alerts_and_says_so() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("e");
    watch.set_rule("error-share", r#"{"enabled":false}"#);
    assert_eq!(timeline_of(&watch.play("3e")), "R--");
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
    let told = watch.host.upstream.sent_to(HOOK)[1].json();
    let summary =
        "Ann: the rule error-share was switched off while its alert on /v1/chat/completions was open";
    assert_eq!(told["data"]["summary"], summary);
    assert_eq!(all_episodes(&watch)[0].state, "resolved");
    // Switched on again, it looks at what comes, not at what was.
    watch.set_rule("error-share", r#"{"min_count":1,"window_minutes":1,"for_minutes":0}"#);
    assert_eq!(timeline_of(&watch.play("s e")), "-F");
}

#[test]
fn rules_are_shown_as_they_hold() {
    let watch = Watch::as_shipped();
    let shown = || block_on(rules(&*watch.host)).unwrap();
    assert_eq!(shown().into_iter().map(|view| view.rule).collect::<Vec<_>>(), default_pack());
    let put = |rule: &str, json: &str| {
        let settings = Override::parse(json.as_bytes()).unwrap();
        block_on(put_override(&*watch.host, rule, &settings, 7))
    };
    let view = put("error-share", r#"{"threshold":0.05,"min_count":10}"#).unwrap();
    assert_eq!(shown()[0], view);
    assert_eq!((view.rule.threshold, view.rule.min_count, view.updated_ms), (0.05, 10, Some(7)));
    // What is put replaces what was.
    assert_eq!(put("error-share", r#"{"min_count":20}"#).unwrap().rule.threshold, 0.01);
    let json = serde_json::to_value(&shown()[0]).unwrap();
    assert_eq!((&json["id"], &json["overrides"]["min_count"]), (&"error-share".into(), &20.into()));

    let error = put("error-share", r#"{"threshold":2}"#).unwrap_err();
    assert_eq!(
        (error.param(), error.to_string().as_str()),
        (Some("threshold"), "`threshold` must be from 0 to 1.")
    );
    assert!(matches!(put("none", "{}").unwrap_err(), Error::NotFound(_)));
    assert_eq!(shown()[0].rule.min_count, 20);
}

#[test]
fn a_stored_override_this_release_does_not_understand_is_left_out() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let sql =
        "INSERT OR REPLACE INTO rule_overrides (rule_id, settings, updated_ms) VALUES ('error-share', ?1, 0)";
    for settings in ["{\"cleverness\":3}", "{\"threshold\":9}", "no JSON"] {
        watch.host.db.sql(sql, &[settings.into()]);
        assert_eq!(block_on(rules(&*watch.host)).unwrap()[0].rule, default_pack()[0], "{settings}");
    }
    watch.play("s");
}

#[test]
fn a_state_that_cannot_be_read_stops_neither_the_rule_nor_others() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("e");
    watch.host.db.sql("UPDATE alerts SET memory = 'mangled'", &[]);
    watch.calls("tn_b", 'e');
    let report = watch.play("e");
    assert_eq!((report[0].fired, report[0].failed_steps.len()), (1, 0));
    assert!(watch.host.logs().iter().any(|line| line.contains("cannot be read")), "{:?}", watch.host.logs());
    assert_eq!(watch.host.db.sql("SELECT * FROM alerts WHERE memory = 'mangled'", &[]).len(), 1);
}

#[test]
fn an_alert_that_ends_before_anybody_could_be_told_is_told_in_one() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(503, ""));
    watch.play("e 6s");
    assert_eq!(watch.outbox(), ["firing superseded 2 HTTP 503", "combined pending 1 HTTP 503"]);
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(200, ""));
    watch.play("2s");
    assert_eq!(watch.heard(HOOK), ["combined"]);
    let sent = watch.host.upstream.sent_to(HOOK);
    let told = sent.last().unwrap().json();
    assert!(
        told["data"]["summary"]
            .as_str()
            .unwrap()
            .ends_with("That it fired could not be delivered at the time"),
        "{told}"
    );
}

#[test]
fn the_end_waits_for_the_beginning_that_is_on_its_way() {
    // The notice of firing hangs for so long that the alert resolves meanwhile, with ticks of its own.
    for (answer, told) in [
        (Answer::text(200, ""), vec!["firing", "resolved"]),
        (Answer::text(503, ""), vec!["combined"]),
        (Answer::error(FetchError::Timeout), vec!["combined"]),
        (Answer::text(400, ""), vec![]),
    ] {
        let mut watch = Watch::new();
        watch.webhook(None, HOOK);
        watch.calls_ahead("tn_a", "esssssss");
        watch.host.upstream.expect("POST", HOOK, Answer::text(503, ""));
        watch.tick();
        hold(&watch, i64::MAX);
        for _ in 0..4 {
            watch.tick();
        }
        hold(&watch, 0);
        // While the second attempt is under way, the next minute's tick finds that the alert is over.
        let host = watch.host.clone();
        let answer = answer.meanwhile(move || {
            host.advance(60_000);
            let report = block_on(gateway::tick::tick(&*host, host.now_ms())).unwrap();
            assert_eq!((report.resolved, report.delivered, report.undelivered), (1, 0, 0));
        });
        watch.host.upstream.expect("POST", HOOK, answer);
        watch.tick();
        assert_eq!(watch.outbox().len(), 2);
        for _ in 0..3 {
            watch.tick();
        }
        assert_eq!(watch.heard(HOOK), told, "{:?}", watch.outbox());
        let attempts: Vec<_> = watch.host.upstream.sent_to(HOOK).iter().map(kind).collect();
        let last = told.last().copied().filter(|last| *last != "firing");
        assert_eq!(attempts, ["firing", "firing"].into_iter().chain(last).collect::<Vec<_>>());
    }
}

/// Puts the next attempts of what is pending to a time.
fn hold(watch: &Watch, until_ms: i64) {
    watch.host.db.sql("UPDATE outbox SET next_ms = ?1 WHERE status = 'pending'", &[until_ms.into()]);
}

#[test]
fn the_end_of_what_died_on_its_way_is_told_all_the_same() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.calls("tn_a", 'e');
    // The gateway goes down after it has sent and before it has noted so: claim, …, send, settle.
    watch.host.db.die_at_batch(13, tests::Fault::BeforeBegin);
    watch.mortal_minute("tn_b", '_');
    assert_eq!(watch.outbox(), ["firing pending 1 -"]);
    assert_eq!(watch.heard(HOOK), ["firing"]);
    // It stays down until the alert is over.
    watch.calls_ahead("tn_a", "ssssss");
    for _ in 0..6 {
        watch.pass();
    }
    watch.tick();
    assert_eq!(watch.heard(HOOK), ["firing", "combined"]);
}

const HOOK: &str = "https://hooks.example/team";

fn all_episodes(watch: &Watch) -> Vec<Episode> {
    block_on(episodes(&*watch.host, &EpisodeFilter { limit: 100, ..EpisodeFilter::default() })).unwrap()
}

fn timeline_of(reports: &[Report]) -> String {
    let letter = |report: &Report| match (report.fired, report.resolved) {
        (0, 0) => '-',
        (1, 0) => 'F',
        (0, 1) => 'R',
        other => panic!("{other:?}"),
    };
    reports.iter().map(letter).collect()
}
