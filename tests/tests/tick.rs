//! A tick does the work of a minute once, whoever calls it, however often, and whatever fails under it.

use std::collections::{BTreeMap, BTreeSet};

use gateway::{
    attend, deliver,
    ports::Clock as _,
    store::schedule::last_tick_ms,
    tick::{Did, Report, tick},
    watch,
};
use tests::{Answer, Fault, MemoryHost, Watch, block_on, host::NEW_YEAR_MS};

#[test]
fn a_tick_counts_looks_tells_and_reports() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let report = watch.minute("tn_a", 'e');
    let expected = Report {
        minute_ms: watch.minute_ms(),
        did: Did::Work,
        rolled_up: 1,
        rolled_up_too_late: 0,
        evaluated_minutes: 1,
        skipped_minutes: 0,
        fired: 1,
        resolved: 0,
        delivered: 1,
        undelivered: 0,
        sent_out: 0,
        deleted: 0,
        chores: report.chores.clone(),
        failed_steps: vec![],
    };
    assert_eq!(report, expected);
    assert_eq!(watch.heard(HOOK), ["firing"]);
    assert_eq!(block_on(last_tick_ms(&*watch.host)).unwrap(), Some(watch.minute_ms()));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["did"], &json["fired"]), (&"work".into(), &1.into()));
}

#[test]
fn the_second_tick_of_a_minute_does_nothing() {
    let mut watch = Watch::new();
    watch.minute("tn_a", 's');
    let now_ms = watch.minute_ms() + 40_000;
    let before = watch.host.db.dump("rollups", "1, 2");
    let report = block_on(tick(&*watch.host, now_ms)).unwrap();
    assert_eq!(report.did, Did::Nothing);
    assert_eq!(watch.host.db.dump("rollups", "1, 2"), before);
}

#[test]
fn ticks_that_overlap_tell_once() {
    // The calls are all there before, as a tick that comes a minute early would not wait for them.
    let undisturbed = |watch: &mut Watch| {
        watch.webhook(None, HOOK);
        watch.calls_ahead("tn_a", MINUTES);
        let before = watch.host.db.batches();
        for _ in MINUTES.chars() {
            watch.tick();
        }
        assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
        watch.host.db.batches() - before
    };
    for n in 0..undisturbed(&mut Watch::new()) {
        let mut watch = Watch::new();
        // While one tick works, the clock strikes again, and the next minute's tick runs from end to end.
        let host = watch.host.clone();
        watch.host.db.before_batch(n + 2, move || {
            let next_ms = host.now_ms() + 60_000;
            host.set_now(next_ms);
            block_on(tick(&*host, next_ms)).unwrap();
        });
        undisturbed(&mut watch);
        assert_eq!(watch.host.upstream.sent_to(HOOK).len(), 2, "before batch {n}");
    }
}

#[test]
fn evaluations_and_deliveries_that_overlap_count_once() {
    // Not even the claim of the minute is needed: two at once, at every point of each other.
    for n in 0..4 {
        let mut watch = Watch::new();
        watch.webhook(None, HOOK);
        watch.calls("tn_a", 'e');
        watch.pass();
        let (host, now_ms) = (watch.host.clone(), watch.minute_ms() + 35_000);
        let dirty = block_on(gateway::store::rollups::dirty_minutes(&*host)).unwrap();
        block_on(gateway::store::rollups::count(&*host, &dirty, now_ms)).unwrap();
        let other = host.clone();
        host.db.before_batch(n, move || {
            block_on(watch::evaluate(&*other, now_ms, COUNTED)).unwrap();
        });
        let fired = block_on(watch::evaluate(&*host, now_ms, COUNTED)).unwrap().fired;
        assert_eq!(fired, 0, "before batch {n}");

        let other = host.clone();
        host.db.before_batch(n, move || {
            block_on(attend::attend(&*other, now_ms)).unwrap();
        });
        block_on(attend::attend(&*host, now_ms)).unwrap();
        assert_eq!(watch.outbox(), ["firing pending 0 -"], "before batch {n}");

        let other = host.clone();
        host.db.before_batch(n, move || {
            block_on(deliver::deliver_due(&*other, 50)).unwrap();
        });
        block_on(deliver::deliver_due(&*host, 50)).unwrap();
        assert_eq!(watch.host.upstream.sent_to(HOOK).len(), 1, "before batch {n}");
    }
}

#[test]
fn an_evaluation_that_was_overtaken_changes_nothing() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("s");
    watch.calls_ahead("tn_a", "esssssss");
    watch.pass();
    let (host, now_ms) = (watch.host.clone(), watch.minute_ms() + 35_000);
    let later_ms = now_ms + 7 * 60_000;
    let dirty = block_on(gateway::store::rollups::dirty_minutes(&*host)).unwrap();
    block_on(gateway::store::rollups::count(&*host, &dirty, later_ms)).unwrap();
    // Before it writes that the alert fires, another one has seen that it is over.
    let other = host.clone();
    host.db.before_batch(3, move || {
        let seen = block_on(watch::evaluate(&*other, later_ms, COUNTED)).unwrap();
        assert_eq!((seen.fired, seen.resolved), (1, 1));
    });
    let tables = || ["alerts", "evaluations", "episodes", "outbox"].map(|table| host.db.dump(table, "1"));
    assert_eq!(block_on(watch::evaluate(&*host, now_ms, COUNTED)).unwrap(), watch::Evaluation::default());
    let after = tables();
    assert!(after[0].contains(r#""state":"ok""#), "no alert is open: {}", after[0]);
    assert_eq!(block_on(watch::evaluate(&*host, later_ms, COUNTED)).unwrap(), watch::Evaluation::default());
    assert_eq!(tables(), after);
}

#[test]
fn a_tick_that_dies_anywhere_leaves_its_work_to_the_next() {
    let batches = scenario();
    assert!(batches > 50, "{batches}");
    for fault in [Fault::BeforeBegin, Fault::AfterCommit] {
        for n in 0..batches {
            let mut watch = Watch::new();
            watch.webhook(None, HOOK);
            watch.host.db.die_at_batch(n, fault);
            for letter in MINUTES.chars() {
                watch.mortal_minute("tn_a", letter);
            }
            watch.play("3s");
            assert_eq!(watch.heard(HOOK), ["firing", "resolved"], "{fault:?}, batch {n}");
        }
    }
}

#[test]
fn what_is_told_together_is_told_to_the_last_one_wherever_a_tick_dies() {
    let chat = "https://chat.example/x";
    let notices = || {
        let mut watch = Watch::new();
        watch.host.upstream.always("POST", chat, Answer::text(200, "ok"));
        watch.receiver(None, hypercare::notify::ReceiverKind::Slack, chat);
        watch.webhook(None, HOOK);
        // Nobody wants them grouped before.
        let habits = "INSERT INTO receiver_habits SELECT id, '[\"tenant_id\"]', NULL, NULL, NULL, 'UTC', 0 FROM receivers";
        watch.host.db.sql(habits, &[]);
        watch.play("s");
        // Six alerts at once: together to the chat, one by one to the machine.
        for n in 0..6 {
            let tenant = format!("tn_{n}");
            watch.host.db.sql(
                "INSERT INTO tenants (id, name, created_ms) VALUES (?1, ?1, 0)",
                &[tenant.as_str().into()],
            );
            watch.calls(&tenant, 'e');
        }
        watch
    };
    let mut undisturbed = notices();
    let before = undisturbed.host.db.batches();
    undisturbed.mortal_minute("tn_a", 's');
    let batches = undisturbed.host.db.batches() - before;
    for fault in [Fault::BeforeBegin, Fault::AfterCommit] {
        for n in 0..batches {
            let mut watch = notices();
            watch.host.db.die_at_batch(n, fault);
            watch.mortal_minute("tn_a", 's');
            for _ in 0..4 {
                watch.mortal_minute("tn_a", 's');
            }
            assert_eq!(watch.heard(HOOK), ["firing"; 6], "{fault:?}, batch {n}");
            assert_eq!(
                watch.outbox().iter().filter(|row| row.starts_with("firing delivered")).count(),
                12,
                "{fault:?}, batch {n}"
            );
            let chats = watch.host.upstream.sent_to(chat).len();
            assert!((1..=2).contains(&chats), "{fault:?}, batch {n}: {chats}");
        }
    }
}

#[test]
fn a_step_that_fails_does_not_stop_the_others() {
    // The batches of a tick: claim, dirty, count, standing, watched, tenants, write, pending, circumstances, changes,
    // parts, write, claim, …
    for (n, step) in [
        (1, "rollups"),
        (2, "rollups"),
        (3, "evaluation"),
        (6, "evaluation"),
        (7, "attention"),
        (8, "attention"),
        (9, "attention"),
        (10, "attention"),
        (11, "attention"),
        (12, "deliveries"),
    ] {
        let mut watch = Watch::new();
        watch.webhook(None, HOOK);
        watch.play("s");
        let finished_ms = watch.minute_ms();
        watch.calls("tn_a", 'e');
        watch.host.db.fail_batch(n, Fault::BeforeBegin);
        let report = watch.tick();
        assert_eq!(report.failed_steps, [step], "batch {n}");
        // What cannot be counted is not judged either; records lost are counted elsewhere.
        assert_eq!(report.fired, usize::from(n > 6), "batch {n}");
        assert!(watch.host.logs()[0].contains(&format!("{step} failed: database: a planned failure")));
        // A tick with a step that failed is not finished.
        assert_eq!(block_on(last_tick_ms(&*watch.host)).unwrap(), Some(finished_ms));
        let report = watch.minute("tn_a", 's');
        assert_eq!(report.failed_steps, [""; 0], "batch {n}");
        assert_eq!(watch.heard(HOOK), ["firing"], "batch {n}");
    }
}

#[test]
fn an_unclaimed_minute_is_an_error() {
    let watch = Watch::new();
    watch.host.db.fail_batch(0, Fault::BeforeBegin);
    assert!(block_on(tick(&*watch.host, watch.minute_ms())).is_err());
}

#[test]
fn a_minute_is_looked_at_once_its_calls_had_half_a_minute_to_arrive() {
    for (after_ms, fired) in [(0, 0), (29_999, 0), (30_000, 1)] {
        let mut watch = Watch::new();
        watch.play("s");
        watch.calls("tn_a", 'e');
        let now_ms = watch.minute_ms() + 60_000 + after_ms;
        assert_eq!(block_on(tick(&*watch.host, now_ms)).unwrap().fired, fired, "{after_ms}");
    }
}

#[test]
fn missed_minutes_are_looked_at_later_in_order() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("s");
    // Nobody ticks for ten minutes, in which an alert fires and resolves.
    for letter in "eessssssss".chars() {
        watch.calls("tn_a", letter);
        watch.pass();
    }
    let report = watch.tick();
    assert_eq!((report.evaluated_minutes, report.skipped_minutes), (11, 0));
    assert_eq!((report.fired, report.resolved), (1, 1));
    assert_eq!(watch.heard(HOOK), ["combined"]);
}

#[test]
fn rules_that_look_back_wait_until_the_hours_are_counted() {
    let mut watch = Watch::as_shipped();
    watch.play("2s");
    let stands = |rule: &str| {
        let rows = watch.host.db.sql("SELECT minute_ms FROM evaluations WHERE rule_id = ?1", &[rule.into()]);
        rows[0]["minute_ms"].as_i64().map(|minute_ms| (minute_ms - NEW_YEAR_MS) / 60_000)
    };
    let later_ms = watch.host.now_ms() + 60_000;
    for (hours, expected) in [(false, [Some(2), Some(1)]), (true, [Some(2), Some(2)])] {
        block_on(watch::evaluate(&*watch.host, later_ms, watch::Counted { minutes: true, hours })).unwrap();
        assert_eq!(["error-share", "model-ends"].map(stands), expected);
    }
}

#[test]
fn what_was_missed_for_too_long_is_skipped_and_said_so() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.play("s");
    for letter in "eeeeessssssssssssssss".chars() {
        watch.calls("tn_a", letter);
        watch.pass();
    }
    let report = watch.tick();
    assert_eq!((report.evaluated_minutes, report.skipped_minutes), (15, 7));
    assert!(watch.heard(HOOK).is_empty());
    assert!(watch.host.logs()[0].contains("7 minutes were missed"), "{:?}", watch.host.logs());
}

#[test]
fn a_busy_tick_stays_within_the_platforms_limits() {
    let mut watch = Watch::new();
    for n in 0..30 {
        watch.webhook(None, &format!("{HOOK}/{n}"));
    }
    watch.play("s");
    let before = watch.host.db.statements();
    let report = watch.play("e");
    assert_eq!((report[0].delivered, report[0].fired), (18, 1));
    let statements = watch.host.db.statements() - before - 3;
    assert!(statements <= 50, "{statements} statements");
    // The rest follows.
    assert_eq!(watch.play("s")[0].delivered, 12);
}

#[test]
fn a_database_that_speaks_javascript_makes_no_difference() {
    let mut seen = Vec::new();
    for javascript in [false, true] {
        let mut watch = Watch::new();
        if javascript {
            watch.host.db.speak_javascript();
        }
        watch.webhook(None, HOOK);
        watch.play("61s 10_ 11s");
        watch.play("l 12s 12e");
        let found = ["rollups", "evaluations", "alerts", "episodes", "outbox"];
        seen.push(found.map(|table| watch.host.db.dump(table, "1, 2")));
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().all(|rows| !rows.is_empty()), "{seen:?}");
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_else() {
    let mut watch = Watch::new();
    let hanging = "https://hanging.example/hook";
    watch.webhook(None, hanging);
    watch.webhook(None, HOOK);
    watch.host.upstream.expect("POST", hanging, Answer::text(200, "").after(60_000));
    watch.play("e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    assert_eq!(watch.outbox().iter().filter(|row| row.as_str() == "firing pending 1 timed out").count(), 1);
}

/// Some of what is done in turns.
const CHORES: [&str; 8] = [
    "expiry",
    "hours",
    "retention-0",
    "retention-1",
    "retention-2",
    "retention-3",
    "retention-4",
    "retention-calls",
];
const COUNTED: watch::Counted = watch::Counted { minutes: true, hours: true };
/// A minute of errors, then well until the alert resolves.
const MINUTES: &str = "sesssssss";
const HOOK: &str = "https://hooks.example/team";

/// Plays it all undisturbed; returns how many batches that took.
fn scenario() -> usize {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    let before = watch.host.db.batches();
    for letter in MINUTES.chars() {
        watch.minute("tn_a", letter);
    }
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
    watch.host.db.batches() - before
}

#[test]
fn a_clock_that_was_far_ahead_does_not_stop_the_watch() {
    let host = MemoryHost::new();
    host.set_now(NEW_YEAR_MS + 86_400_000);
    assert_eq!(block_on(tick(&host, host.now_ms())).unwrap().did, Did::Work);
    host.set_now(NEW_YEAR_MS);
    assert_eq!(block_on(tick(&host, host.now_ms())).unwrap().did, Did::Work);
    assert_eq!(block_on(tick(&host, host.now_ms())).unwrap().did, Did::Nothing);
}

#[test]
fn a_tick_that_did_all_its_work_gives_a_sign_of_life() {
    let url = "https://hc.example/secret";
    let host = MemoryHost::with(&[("HEARTBEAT_URL", url)]);
    host.upstream.always("GET", url, Answer::text(200, "OK"));
    let ticked = |minute: i64| {
        let now_ms = NEW_YEAR_MS + minute * 60_000;
        host.set_now(now_ms.max(host.now_ms()));
        block_on(tick(&host, now_ms)).unwrap()
    };
    ticked(0);
    assert_eq!(host.upstream.sent_to(url).len(), 1);
    // Not the second of a minute, nor one that failed.
    assert_eq!(ticked(0).did, Did::Nothing);
    host.db.fail_batch(1, Fault::BeforeBegin);
    assert_eq!(ticked(1).failed_steps, ["rollups"]);
    assert_eq!(host.upstream.sent_to(url).len(), 1);
    // If nobody hears it, the tick was good all the same.
    host.upstream.expect("GET", url, Answer::text(500, ""));
    assert_eq!(ticked(2).failed_steps, [""; 0]);
    host.upstream.expect("GET", url, Answer::text(200, "").after(60_000));
    assert_eq!(ticked(3).failed_steps, [""; 0]);
    let logs = host.logs();
    let told: Vec<&String> = logs.iter().filter(|line| line.starts_with("heartbeat")).collect();
    assert_eq!(told, ["heartbeat: HTTP 500", "heartbeat: no answer"]);
}

#[test]
fn chores_are_done_when_they_are_due_and_a_missed_one_later() {
    let mut watch = Watch::new();
    // A new deployment does them all, in its first two minutes.
    let first: BTreeSet<_> = watch.play("2s").into_iter().flat_map(|report| report.chores).collect();
    assert!(CHORES.iter().all(|chore| first.contains(chore)), "{first:?}");
    let counted = |watch: &mut Watch, minutes: &str| {
        let reports = watch.play(minutes);
        reports
            .iter()
            .filter(|report| report.chores.contains(&"hours"))
            .map(|report| report.minute_ms)
            .collect()
    };
    let at = |minute: i64| NEW_YEAR_MS + minute * 60_000;
    let hours: Vec<i64> = counted(&mut watch, "70s");
    assert_eq!(hours, [at(5), at(65)]);
    // Nobody ticks when it is time.
    while watch.minute_ms() < at(130) {
        watch.pass();
    }
    let hours: Vec<i64> = counted(&mut watch, "3s");
    assert_eq!(hours, [at(131)]);
}

#[test]
fn a_chore_that_fails_is_due_again_behind_the_others() {
    let mut watch = Watch::new();
    watch.play("6s");
    let broken = "
        CREATE TRIGGER broken BEFORE DELETE ON calls WHEN old.id = 'old' BEGIN SELECT raise(ABORT, 'it is broken'); END";
    watch.host.db.sql(broken, &[]);
    watch.host.db.sql("INSERT INTO calls SELECT * FROM calls WHERE false", &[]);
    let copied = "
        UPDATE calls SET id = 'old', started_ms = 0 WHERE id = (SELECT id FROM calls ORDER BY id LIMIT 1)";
    watch.host.db.sql(copied, &[]);
    for _ in 0..2 {
        let report = watch.play("s").remove(0);
        assert_eq!(report.failed_steps, ["retention-calls"]);
        let others = report.chores.iter().filter(|chore| chore.starts_with("retention"));
        assert_eq!(others.count(), 1, "{report:?}");
    }
    watch.host.db.sql("DROP TRIGGER broken", &[]);
    let report = watch.play("s").remove(0);
    assert_eq!((report.failed_steps.len(), report.deleted), (0, 1));
}

#[test]
fn no_chore_starves_when_every_minute_is_busy() {
    let mut watch = Watch::new();
    for n in 0..40 {
        watch.webhook(None, &format!("{HOOK}/{n}"));
    }
    // Each alert has its own notice for everybody, and most of them fail.
    watch.host.db.sql(
        "INSERT INTO receiver_habits SELECT id, '[\"tenant_id\"]', NULL, NULL, NULL, 'UTC', 0 FROM receivers",
        &[],
    );
    for n in 0..40 {
        watch.host.upstream.always("POST", &format!("{HOOK}/{n}"), Answer::text(503, ""));
    }
    watch.play("2s");
    let mut since = BTreeMap::new();
    let mut least = usize::MAX;
    for minute in 0..80 {
        for n in 0..8 {
            watch.calls(&format!("tn_{}", (minute / 2 + n) % 20), if minute % 2 == 0 { 'e' } else { 's' });
        }
        let before = watch.host.db.statements();
        let report = watch.tick();
        let statements = watch.host.db.statements() - before;
        assert!(statements <= 50, "minute {minute}: {statements} statements");
        assert_eq!(report.failed_steps, [""; 0]);
        least = least.min(report.undelivered + report.delivered);
        for chore in report.chores {
            since.insert(chore, minute);
        }
    }
    for chore in CHORES {
        let minute = since.get(chore).copied().unwrap_or_default();
        let every = if ["faults", "hours", "size"].contains(&chore) { 60 } else { 5 };
        assert!(80 - minute <= every + 20, "{chore} was done last in minute {minute}");
    }
}
