//! Notices on their way: tried until they arrive, or until it is sure that they will not, without a word
//! of where they go.

use gateway::{
    Error,
    deliver::{self, TestResult},
    ports::{Clock as _, FetchError},
    receiver::{self, Change, New},
    store::outbox::{self, DeliveryFilter},
};
use hypercare::notice::{Kind, Notice};
use hypercare::notify::{Address, ReceiverKind, webhook::Secret};
use serde_json::json;
use tests::{Answer, MemoryHost, Watch, block_on, watch::receiver_at};

#[test]
fn a_receiver_that_fails_at_first_hears_everything_once() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    for _ in 0..2 {
        watch.host.upstream.expect("POST", HOOK, Answer::text(500, "boom"));
    }
    watch.calls_ahead("tn_a", "eeeeeeeeeeeessssssss");
    for _ in 0..20 {
        watch.tick();
    }
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
    assert_eq!(watch.outbox(), ["firing delivered 3 HTTP 200", "resolved delivered 1 HTTP 200"]);
    let sent = watch.host.upstream.sent_to(HOOK);
    // The id is the same on every attempt; the second comes after seconds, that is with the next tick,
    // the third after five minutes.
    assert_eq!(sent[0].header("webhook-id"), sent[2].header("webhook-id"));
    assert_ne!(sent[0].header("webhook-id"), sent[3].header("webhook-id"));
    let minutes: Vec<i64> = sent.iter().map(|attempt| (attempt.at_ms - sent[0].at_ms) / 60_000).collect();
    assert_eq!(minutes[..3], [0, 1, 7]);
}

#[test]
fn a_receiver_that_is_down_for_an_hour_hears_of_it_then() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::unreachable());
    watch.play("60e");
    assert!(watch.heard(HOOK).is_empty());
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(200, ""));
    // It is still firing, so that is what is told.
    watch.play("150e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
    watch.play("6s");
    assert_eq!(watch.heard(HOOK), ["firing", "resolved"]);
}

#[test]
fn the_ladder_ends() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(503, ""));
    watch.play("e");
    for _ in 0..12 {
        watch.host.db.sql("UPDATE outbox SET next_ms = 0 WHERE status = 'pending'", &[]);
        watch.play("e");
    }
    assert_eq!(watch.outbox(), ["firing dead 10 HTTP 503"]);
    // Who was not told that it fired is not told that it is over.
    watch.play("6s");
    assert_eq!(watch.outbox().len(), 1);
}

#[test]
fn an_answer_decides_what_becomes_of_a_notice() {
    for (kind, answer, row) in [
        (WEBHOOK, Answer::text(204, ""), "firing delivered 1 HTTP 204"),
        (WEBHOOK, Answer::stream(["data: hello\n\n"]), "firing delivered 1 HTTP 200"),
        (WEBHOOK, Answer::text(302, ""), "firing dead 1 HTTP 302"),
        (WEBHOOK, Answer::text(404, ""), "firing dead 1 HTTP 404"),
        (WEBHOOK, Answer::text(429, ""), "firing pending 1 HTTP 429"),
        (WEBHOOK, Answer::text(500, ""), "firing pending 1 HTTP 500"),
        (WEBHOOK, Answer::text(200, "").after(20_000), "firing pending 1 timed out"),
        (WEBHOOK, Answer::unreachable(), "firing pending 1 no connection"),
        (WEBHOOK, Answer::text(200, &"x".repeat(70_000)), "firing dead 1 the answer is too large"),
        (ReceiverKind::Slack, Answer::text(200, "ok"), "firing delivered 1 HTTP 200"),
        (ReceiverKind::Slack, Answer::text(200, "no_text"), "firing dead 1 HTTP 200, but not accepted"),
    ] {
        let mut watch = Watch::new();
        watch.receiver(None, kind, HOOK);
        watch.host.upstream.expect("POST", HOOK, answer);
        watch.play("e");
        assert_eq!(watch.outbox(), [row]);
    }
}

#[test]
fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.host.upstream.expect("POST", HOOK, Answer::text(429, "").header("retry-after", "600"));
    watch.play("9e");
    assert_eq!(watch.host.upstream.sent_to(HOOK).len(), 1);
    watch.play("3e");
    assert_eq!(watch.heard(HOOK), ["firing"]);
}

#[test]
fn an_attempt_that_ends_after_the_next_began_counts_only_if_it_delivered() {
    for (late, rows) in [
        // The second attempt failed meanwhile; that the first delivered is good news all the same.
        (Answer::text(200, ""), "firing delivered 2 HTTP 200"),
        // The second attempt failed meanwhile, and says what is next.
        (Answer::text(400, ""), "firing pending 2 HTTP 503"),
    ] {
        let mut watch = Watch::new();
        watch.webhook(None, HOOK);
        let host = watch.host.clone();
        let late = late.meanwhile(move || {
            host.advance(3 * 60_000);
            block_on(deliver::deliver_due(&*host, 50)).unwrap();
        });
        watch.host.upstream.expect("POST", HOOK, late);
        watch.host.upstream.expect("POST", HOOK, Answer::text(503, ""));
        watch.play("e");
        assert_eq!(watch.host.upstream.sent_to(HOOK).len(), 2);
        assert_eq!(watch.outbox(), [rows]);
    }
}

#[test]
fn a_receiver_that_says_it_is_gone_hears_no_more() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.webhook(Some("tn_a"), OTHER);
    watch.host.upstream.expect("POST", HOOK, Answer::text(410, ""));
    // Two notices on their way when it says so: one goes with it.
    watch.calls("tn_b", 'e');
    watch.play("e l");
    let list = block_on(receiver::list(&*watch.host)).unwrap();
    assert_eq!([list[0].disabled_ms.is_some(), list[1].disabled_ms.is_some()], [true, false]);
    watch.play("12s e");
    assert!(watch.host.upstream.sent_to(HOOK).len() <= 2);
    assert_eq!(watch.heard(OTHER), ["firing", "resolved", "firing"]);
    let off = block_on(deliver::test(&*watch.host, &list[0].id, 0)).unwrap_err();
    assert!(matches!(off, Error::Conflict(_)) && off.to_string().contains(r#"{"enabled": true}"#), "{off}");
}

#[test]
fn a_deleted_receiver_hears_no_more() {
    let mut watch = Watch::new();
    let id = watch.webhook(None, HOOK);
    watch.host.upstream.expect("POST", HOOK, Answer::text(503, ""));
    watch.play("e");
    assert!(block_on(receiver::delete(&*watch.host, &id)).unwrap());
    assert!(!block_on(receiver::delete(&*watch.host, &id)).unwrap());
    assert_eq!(watch.outbox(), ["firing dead 1 the receiver was deleted"]);
    watch.play("6s e");
    assert_eq!(watch.host.upstream.sent_to(HOOK).len(), 1);
    assert!(block_on(receiver::list(&*watch.host)).unwrap().is_empty());
}

#[test]
fn a_test_is_delivered_at_once_and_once() {
    let watch = Watch::new();
    let id = watch.webhook(None, HOOK);
    let test = || block_on(deliver::test(&*watch.host, &id, watch.host.now_ms())).unwrap();
    let TestResult { id: notice_id, status, result } = test();
    assert_eq!((status, result.as_str()), ("delivered", "HTTP 200"));
    let sent = &watch.host.upstream.sent()[0];
    assert_eq!(sent.json()["type"], "receiver.test");
    assert_eq!(sent.header("webhook-id"), notice_id);

    watch.host.advance(1_000);
    watch.host.upstream.expect("POST", HOOK, Answer::error(FetchError::Timeout));
    let again = test();
    assert_eq!((again.status, again.result.as_str()), ("dead", "timed out"));
    assert_ne!(again.id, notice_id);
    assert_eq!(watch.outbox(), ["test delivered 1 HTTP 200", "test dead 1 timed out"]);
    let unknown = block_on(deliver::test(&*watch.host, "rcv_none", 0)).unwrap_err();
    assert!(matches!(unknown, Error::NotFound(_)));
}

#[test]
fn a_webhook_is_signed_with_the_secret_its_owner_was_shown() {
    let host = MemoryHost::new();
    let own = Secret::from_random([7; 32]).expose();
    for secret in [None, Some(own.clone())] {
        let new = New { secret: secret.clone(), ..webhook_at(HOOK) };
        let created = block_on(receiver::create(&host, &new, 0)).unwrap();
        let shown = created.secret.unwrap();
        assert!(secret.is_none_or(|own| own == shown));
        host.upstream.expect("POST", HOOK, Answer::text(200, ""));
        block_on(deliver::test(&host, &created.receiver.id, host.now_ms())).unwrap();
        let sent = host.upstream.sent();
        let sent = sent.last().unwrap();
        // The very request the owner of this secret would make for this notice, id and time.
        let notice = Notice::test("team", host.now_ms());
        let address = Address { url: HOOK.to_owned(), secret: Some(shown), settings: json!({}) };
        let id = sent.header("webhook-id");
        let expected =
            hypercare::notify::request(WEBHOOK, &address, "team", &[notice], id, host.now_ms()).unwrap();
        assert_eq!(sent.headers, *expected.headers());
        assert_eq!(sent.body, *expected.body());
    }
}

#[test]
fn many_notices_are_told_together_to_people_and_singly_to_machines() {
    let mut watch = Watch::new();
    let (chat, pager) = ("https://chat.example/x", "https://pager.example");
    watch.host.upstream.always("POST", chat, Answer::text(200, "ok"));
    watch.host.upstream.always("POST", "https://pager.example/v2/enqueue", Answer::text(202, "{}"));
    watch.receiver(None, ReceiverKind::Slack, chat);
    watch.receiver(None, ReceiverKind::Pagerduty, pager);
    storm(&mut watch, 500);
    let heading = |sent: &tests::Sent| sent.json()["text"].as_str().unwrap().to_owned();
    let mut events: Vec<String> = Vec::new();
    for minute in 0..40 {
        watch.tick();
        let upstream = &watch.host.upstream;
        // Neither is asked more often than it bears.
        let in_minute = |sent: &&tests::Sent| sent.at_ms > watch.host.now_ms() - 60_000;
        let chats = upstream.sent_to(chat).iter().filter(in_minute).count();
        let pages = upstream.sent_to("https://pager.example/v2/enqueue").iter().filter(in_minute).count();
        assert!(chats <= 20 && pages <= 60, "minute {minute}: {chats} {pages}");
        if pages == 0 {
            break;
        }
    }
    let said: Vec<String> = watch.host.upstream.sent_to(chat).iter().map(heading).collect();
    assert_eq!(said, ["[FIRING ticket] 50 fired"; 10]);
    for sent in watch.host.upstream.sent_to("https://pager.example/v2/enqueue") {
        assert_eq!(sent.json()["event_action"], "trigger");
        events.push(sent.json()["dedup_key"].to_string());
    }
    events.sort();
    events.dedup();
    assert_eq!(events.len(), 500);
    let rows = watch.host.db.sql("SELECT status, count(*) AS n FROM outbox GROUP BY status", &[]);
    assert_eq!(rows, [json!({"status": "delivered", "n": 1000})]);
    let requests = watch.host.db.sql("SELECT count(*) AS n FROM attempts WHERE place = 0", &[]);
    assert_eq!(requests, [json!({"n": 510})]);
}

#[test]
fn a_receiver_that_is_down_is_asked_once_a_tick_and_holds_up_nobody() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    watch.webhook(None, OTHER);
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(503, ""));
    storm(&mut watch, 40);
    watch.tick();
    // The first six went before it was known.
    let asked = || watch.host.upstream.sent_to(HOOK).len();
    let first = asked();
    assert!(first <= 6, "{first}");
    for more in 1..=5 {
        watch.tick();
        assert_eq!(watch.host.upstream.sent_to(HOOK).len(), first + more);
    }
    assert_eq!(watch.heard(OTHER).len(), 40);
    // Once it is up, it hears the rest.
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(200, ""));
    for _ in 0..200 {
        watch.tick();
    }
    assert_eq!(watch.heard(HOOK).len(), 40);
}

#[test]
fn a_receiver_hears_no_more_a_minute_than_it_is_set_to() {
    let mut watch = Watch::new();
    let id = watch.webhook(None, HOOK);
    let change = Change { per_minute: Some(2), ..Change::default() };
    block_on(receiver::update(&*watch.host, &id, change, 0)).unwrap();
    storm(&mut watch, 9);
    for total in [2, 4, 6, 8, 9, 9] {
        watch.tick();
        assert_eq!(watch.heard(HOOK).len(), total);
    }
}

#[test]
fn all_that_waits_for_a_receiver_waits_as_long_as_it_asks() {
    let mut watch = Watch::new();
    watch.webhook(None, HOOK);
    storm(&mut watch, 8);
    for _ in 0..6 {
        watch.host.upstream.expect("POST", HOOK, Answer::text(429, "").header("retry-after", "600"));
    }
    watch.tick();
    for _ in 0..9 {
        watch.tick();
        assert_eq!(watch.host.upstream.sent_to(HOOK).len(), 6);
    }
    for _ in 0..5 {
        watch.tick();
    }
    assert_eq!(watch.heard(HOOK).len(), 8);
}

#[test]
fn five_failures_in_a_row_switch_a_receiver_off_and_others_hear_of_it() {
    let mut watch = Watch::new();
    let id = watch.webhook(None, HOOK);
    watch.webhook(Some("tn_b"), "https://bob.example/");
    watch.webhook(None, OTHER);
    watch.host.upstream.forget(HOOK);
    // Far enough apart to be alerts of their own. Between failures something arrives: that is not in a row.
    watch.host.upstream.always("POST", HOOK, Answer::text(404, ""));
    watch.play("2e 36s 2e 36s");
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(200, ""));
    watch.play("2e 36s");
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(404, ""));
    let host = watch.host.clone();
    let found = || {
        let list = block_on(receiver::list(&*host)).unwrap();
        list.into_iter().find(|receiver| receiver.id == id).unwrap()
    };
    for failures in 1..=5 {
        assert_eq!((found().failures, found().disabled_ms), (failures - 1, None));
        watch.play("2e 36s");
    }
    watch.play("s");
    assert_eq!(found().disabled_reason.as_deref(), Some("5 deliveries in a row failed: HTTP 404"));
    let health = |url: &str| watch.heard(url).into_iter().filter(|kind| kind == "health").count();
    assert_eq!([HOOK, OTHER, "https://bob.example/"].map(health), [0, 1, 0]);
    let sent = watch.host.upstream.sent_to(OTHER);
    let told = sent.iter().find(|sent| sent.json()["type"] == "watch.health").unwrap();
    assert_eq!(
        told.json()["data"]["summary"],
        "the receiver team was switched off and hears no more: 5 deliveries in a row failed: HTTP 404"
    );
    // By hand it is put right, and hears again.
    let change = Change { enabled: Some(true), ..Change::default() };
    let again = block_on(receiver::update(&*watch.host, &id, change, 0)).unwrap();
    assert_eq!((again.failures, again.disabled_ms, again.disabled_reason), (0, None, None));
    watch.host.upstream.forget(HOOK);
    watch.host.upstream.always("POST", HOOK, Answer::text(200, ""));
    let before = watch.heard(HOOK).len();
    watch.play("2e");
    assert_eq!(watch.heard(HOOK).len(), before + 1);
}

#[test]
fn what_is_dead_can_be_sent_again_by_hand_and_every_attempt_is_on_record() {
    let mut watch = Watch::new();
    let receiver = watch.webhook(None, HOOK);
    watch.host.upstream.expect("POST", HOOK, Answer::text(503, ""));
    watch.host.upstream.expect("POST", HOOK, Answer::text(404, "").after(1_500));
    watch.play("3e");
    let host = watch.host.clone();
    let list = |status: Option<&str>| {
        let filter = DeliveryFilter {
            receiver_id: receiver.clone(),
            status: status.map(str::to_owned),
            after: None,
            limit: 10,
        };
        block_on(outbox::deliveries(&*host, &filter)).unwrap()
    };
    let [dead] = &list(Some("dead"))[..] else { panic!("one is dead") };
    let id = dead["id"].as_str().unwrap().to_owned();
    let log = |delivery: &serde_json::Value| {
        let attempts = delivery["log"].as_array().unwrap().clone();
        let line = |attempt: &serde_json::Value| {
            format!("{} {} {}", attempt["number"], attempt["status"], attempt["duration_ms"])
        };
        attempts.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(log(dead), ["1 503 0", "2 404 1500"]);
    assert!(dead["summary"].as_str().unwrap().contains("5xx share 50 %"), "{dead}");

    // It fails again for now: the ladder begins anew.
    watch.host.upstream.expect("POST", HOOK, Answer::unreachable());
    let now_ms = watch.host.now_ms();
    let result = block_on(deliver::redeliver(&*watch.host, &receiver, &id, now_ms)).unwrap();
    assert_eq!((result.status, result.result.as_str()), ("pending", "no connection"));
    let pending = &list(Some("pending"))[0];
    let wait_ms = pending["next_ms"].as_i64().unwrap() - now_ms;
    assert!((5_000..6_000).contains(&wait_ms), "{wait_ms}");
    // What is on its way is not sent twice.
    let twice = block_on(deliver::redeliver(&*watch.host, &receiver, &id, now_ms)).unwrap_err();
    assert!(matches!(twice, Error::NotFound(_)));
    watch.play("e");
    assert_eq!(log(&list(Some("delivered"))[0]), ["1 503 0", "2 404 1500", "3 null 0", "4 200 0"]);
    // What was delivered can be sent once more, under the same id.
    let result = block_on(deliver::redeliver(&*watch.host, &receiver, &id, now_ms)).unwrap();
    assert_eq!((result.status, result.id), ("delivered", id));
    let ids: Vec<String> =
        watch.host.upstream.sent_to(HOOK).iter().map(|sent| sent.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| *id == ids[0]));
    for (receiver, id) in [("rcv_none", ids[0].as_str()), (receiver.as_str(), "nothing")] {
        assert!(block_on(deliver::redeliver(&*watch.host, receiver, id, 0)).is_err());
    }
}

#[test]
fn a_chat_that_moved_is_followed() {
    let watch = Watch::new();
    let url = "https://telegram.example/bot123:abc/sendMessage";
    watch.host.upstream.always("POST", url, Answer::text(200, r#"{"ok":true}"#));
    let moved = r#"{"ok":false,"error_code":400,"parameters":{"migrate_to_chat_id":-1002}}"#;
    watch.host.upstream.expect("POST", url, Answer::text(400, moved));
    let id = watch.receiver(None, ReceiverKind::Telegram, "https://telegram.example");
    let mut watch = watch;
    watch.play("2e");
    let chats: Vec<i64> = watch
        .host
        .upstream
        .sent_to(url)
        .iter()
        .map(|sent| sent.json()["chat_id"].as_i64().unwrap())
        .collect();
    assert_eq!(chats, [-100_123, -1002]);
    assert_eq!(watch.outbox(), ["firing delivered 2 HTTP 200"]);
    let list = block_on(receiver::list(&*watch.host)).unwrap();
    assert_eq!((list[0].id.as_str(), &list[0].settings), (id.as_str(), &json!({"chat_id": -1002})));
}

#[test]
fn every_kind_hears_of_firing_and_of_resolving_once_while_attempts_fail() {
    for kind in ReceiverKind::all() {
        let mut watch = Watch::new();
        let url = "https://any.example/x";
        let (paths, answer): (&[&str], &str) = match kind {
            ReceiverKind::Discord => (&["?wait=true"], ""),
            ReceiverKind::GoogleChat => (&["?messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"], ""),
            ReceiverKind::Opsgenie => (&["/v2/alerts", "/v2/alerts/{}/close?identifierType=alias"], "{}"),
            ReceiverKind::Pagerduty => (&["/v2/enqueue"], "{}"),
            ReceiverKind::Slack => (&[""], "ok"),
            ReceiverKind::Telegram => (&["/bot123:abc/sendMessage"], r#"{"ok":true}"#),
            _ => (&[""], ""),
        };
        watch.receiver(None, kind, url);
        watch.play("s");
        watch.calls("tn_a", 'e');
        watch.pass();
        // The second tick's paths name the episode, which there is after the first.
        let episode = || watch.host.db.sql("SELECT id FROM episodes", &[]);
        let expect = |path: &str, answer: Answer| {
            let id = episode().first().map(|row| row["id"].as_str().unwrap().to_owned()).unwrap_or_default();
            watch.host.upstream.expect("POST", &format!("{url}{}", path.replace("{}", &id)), answer);
        };
        expect(paths[0], Answer::text(500, ""));
        expect(paths[0], Answer::unreachable());
        expect(paths[0], Answer::text(200, answer));
        let host = watch.host.clone();
        block_on(gateway::tick::tick(&*host, host.now_ms())).unwrap();
        expect(paths[paths.len() - 1], Answer::text(503, ""));
        expect(paths[paths.len() - 1], Answer::text(202, answer));
        watch.play("2e 20s");
        let told: Vec<i64> =
            watch.host.upstream.sent().iter().map(|sent| i64::from(sent.status.unwrap_or(0))).collect();
        assert_eq!(told, [500, 0, 200, 503, 202], "{kind:?}");
        assert_eq!(
            watch.outbox(),
            ["firing delivered 3 HTTP 200", "resolved delivered 2 HTTP 202"],
            "{kind:?}"
        );
    }
}

#[test]
fn an_address_can_be_changed_and_is_checked_as_when_it_was_made() {
    let watch = Watch::new();
    let id = watch.webhook(None, HOOK);
    let update = |change: Change| block_on(receiver::update(&*watch.host, &id, change, 5));
    let url = |url: &str| Change { url: Some(url.to_owned()), ..Change::default() };
    assert_eq!(update(url("https://127.0.0.1/x")).unwrap_err().param(), Some("url"));
    assert_eq!(
        update(Change { name: Some(" ".to_owned()), ..Change::default() }).unwrap_err().param(),
        Some("name")
    );
    let changed = update(Change { name: Some("crew".to_owned()), ..url(OTHER) }).unwrap();
    assert_eq!((changed.name.as_str(), changed.host.as_deref()), ("crew", Some("other.example")));
    watch.host.upstream.expect("POST", OTHER, Answer::text(200, ""));
    assert_eq!(block_on(deliver::test(&*watch.host, &id, 0)).unwrap().status, "delivered");
    let off = update(Change { enabled: Some(false), ..Change::default() }).unwrap();
    assert!(!off.enabled);
    assert_eq!((off.disabled_ms, off.disabled_reason.as_deref()), (Some(5), Some("by hand")));
    let unknown = block_on(receiver::update(&*watch.host, "rcv_none", Change::default(), 0)).unwrap_err();
    assert!(matches!(unknown, Error::NotFound(_)));
}

#[test]
fn a_name_that_leads_inside_is_refused_where_a_resolver_says_so() {
    let dns = "https://dns.example/query";
    let answers = |a: &[&str], aaaa: &[&str]| {
        [("A", 1, a), ("AAAA", 28, aaaa)].map(|(word, number, addresses)| {
            let data = addresses
                .iter()
                .map(|address| json!({"name": "hooks.example", "type": number, "data": address}));
            let alias = json!({"name": "hooks.example", "type": 5, "data": "other.example."});
            let list: Vec<_> = [alias].into_iter().chain(data).collect();
            (
                format!("{dns}?name=hooks.example&type={word}"),
                json!({"Status": 0, "Answer": list}).to_string(),
            )
        })
    };
    let expect = |host: &MemoryHost, a: &[&str], aaaa: &[&str]| {
        for (url, answer) in answers(a, aaaa) {
            host.upstream.expect("GET", &url, Answer::text(200, &answer));
        }
    };
    let host = MemoryHost::with(&[("RECEIVER_DNS", dns)]);
    let create =
        || block_on(receiver::create(&host, &webhook_at(HOOK), 0)).map(|created| created.receiver.id);
    for (a, aaaa) in [
        (&["127.0.0.1"][..], &[][..]),
        (&["1.1.1.1", "10.0.0.1"], &[]),
        (&["169.254.169.254"], &[]),
        (&["1.1.1.1"], &["::1"]),
        (&["1.1.1.1"], &["64:ff9b::a00:1"]),
        (&["1.1.1.1"], &["2002:a00:1::"]),
        (&["1.1.1.1"], &["::ffff:10.0.0.1"]),
    ] {
        expect(&host, a, aaaa);
        let error = create().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`url` must stand for public addresses, or be a host that the setting ALLOW_LOCAL_RECEIVERS names.",
            "{a:?} {aaaa:?}"
        );
    }
    for url in answers(&[], &[]).map(|(url, _)| url) {
        host.upstream.expect("GET", &url, Answer::text(500, "{}"));
    }
    assert_eq!(create().unwrap_err().to_string(), "`url` has a host name that cannot be looked up now.");
    expect(&host, &["1.1.1.1"], &["2606:4700:4700::1111"]);
    let id = create().unwrap();
    // What it stands for may be different each time.
    for (a, status, result) in
        [("1.1.1.1", "delivered", "HTTP 200"), ("10.0.0.1", "dead", "the address's name leads inside")]
    {
        expect(&host, &[a], &[]);
        if status == "delivered" {
            host.upstream.expect("POST", HOOK, Answer::text(200, ""));
        }
        let test = block_on(deliver::test(&host, &id, host.now_ms())).unwrap();
        assert_eq!((test.status, test.result.as_str()), (status, result));
        host.advance(1_000);
    }
    // An address is no name, and a listed host is asked of nobody.
    let listed =
        MemoryHost::with(&[("RECEIVER_DNS", dns), ("ALLOW_LOCAL_RECEIVERS", "beside.internal:9093")]);
    for url in ["https://1.1.1.1/x", "http://beside.internal:9093/x"] {
        assert!(block_on(receiver::create(&listed, &webhook_at(url), 0)).is_ok(), "{url}");
    }
}

#[test]
fn what_means_nothing_to_a_receiver_is_not_sent_there() {
    let watch = Watch::new();
    watch.receiver(None, ReceiverKind::IncidentIo, HOOK);
    let notice = json!(Notice { kind: Kind::Acknowledged, ..Notice::test("", 0) }).to_string();
    let sql = "
        INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
        SELECT 'a', 'ep_1', id, 'acknowledged', ?1, 'pending', 0, 0 FROM receivers";
    watch.host.db.sql(sql, &[json!(notice)]);
    block_on(deliver::deliver_due(&*watch.host, 50)).unwrap();
    assert_eq!(watch.outbox(), ["acknowledged delivered 1 nothing to a receiver of this kind"]);
    assert!(watch.host.upstream.sent().is_empty());
    assert!(watch.host.db.sql("SELECT * FROM attempts", &[]).is_empty());
}

/// As many alerts fire at once, each a tenant's; the next tick tells of them.
fn storm(watch: &mut Watch, alerts: usize) {
    for n in 0..alerts {
        let notice = Notice {
            episode_id: format!("ep_{n}"),
            kind: Kind::Firing,
            summary: format!("tenant {n}: 5xx share 50 %"),
            ..Notice::test("", n as i64)
        };
        let sql = "
            INSERT INTO outbox (id, episode_id, receiver_id, kind, notice, status, next_ms, created_ms)
            SELECT ?1 || '_' || id, ?1, id, 'firing', ?2, 'pending', ?3, ?3 FROM receivers";
        let notice = json!(notice).to_string();
        watch.host.db.sql(sql, &[json!(format!("ep_{n}")), json!(notice), json!(watch.minute_ms())]);
    }
}

#[test]
fn what_cannot_be_a_receiver_is_refused_by_field() {
    let watch = Watch::new();
    let good = webhook_at(HOOK);
    for (new, message) in [
        (New { name: "  ".to_owned(), ..good.clone() }, "`name` must have 1 to 100 characters."),
        (
            New { url: Some("http://hooks.example".to_owned()), ..good.clone() },
            "`url` must start with https://.",
        ),
        (
            New { url: Some("https://127.0.0.1/x".to_owned()), ..good.clone() },
            "`url` must be a public address, or a host that the setting ALLOW_LOCAL_RECEIVERS names.",
        ),
        // As it stands in documentation.
        (
            New { url: Some("https://hooks.slack.com/services/…".to_owned()), ..good.clone() },
            "`url` must be the whole URL, without dots in place of a part.",
        ),
        (
            New { url: Some("https://hooks.slack.com/services/...".to_owned()), ..good.clone() },
            "`url` must be the whole URL, without dots in place of a part.",
        ),
        (
            New { url: Some("https://bücher.example/x".to_owned()), ..good.clone() },
            "`url` must be in ASCII: write other letters as %C3%A4, and those of a host name as xn--.",
        ),
        (
            New { secret: Some("guess".to_owned()), ..good.clone() },
            "`secret` must be whsec_ and the base64 of 24 to 64 bytes.",
        ),
        (
            New { kind: ReceiverKind::Slack, secret: Some("x".to_owned()), ..good.clone() },
            "`secret` does not apply to a receiver of kind slack.",
        ),
        (
            New { tenant_id: Some("tn_none".to_owned()), ..good.clone() },
            "`tenant_id` must be the id of a tenant.",
        ),
    ] {
        let error = block_on(receiver::create(&*watch.host, &new, 0)).unwrap_err();
        assert_eq!((error.param(), error.to_string().as_str()), (message.split('`').nth(1), message));
    }
    let unconfigured = MemoryHost::with(&[("HYPERGATE_SECRET", "")]);
    let error = block_on(receiver::create(&unconfigured, &good, 0)).unwrap_err();
    assert!(matches!(error, Error::Unconfigured("HYPERGATE_SECRET")));
    // For development, a receiver may be on this machine.
    let local = MemoryHost::with(&[("ALLOW_LOCAL_RECEIVERS", "true")]);
    assert!(block_on(receiver::create(&local, &webhook_at("http://127.0.0.1:8080/x"), 0)).is_ok());
}

#[test]
fn an_address_that_is_no_longer_allowed_gets_nothing() {
    let mut watch = Watch::new();
    let id = watch.webhook(None, HOOK);
    // Moved under another row's name, a sealed address does not open; that of a local one is not asked.
    let secrets = gateway::config::Config::read(|name| {
        tests::host::SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    });
    let secrets = secrets.unwrap().secrets.unwrap();
    let sealed = secrets.seal("http://169.254.169.254/", &format!("receiver/{id}/url"), [1; 24]);
    watch.host.db.sql("UPDATE receivers SET sealed_url = ?1", &[sealed.into()]);
    watch.play("e");
    assert_eq!(watch.outbox(), ["firing dead 1 the address is not allowed"]);
    let attempts = watch.host.db.sql("SELECT status, result FROM attempts", &[]);
    assert_eq!(attempts, [json!({"status": null, "result": "the address is not allowed"})]);
    let moved = secrets.seal(HOOK, "receiver/rcv_other/url", [2; 24]);
    watch.host.db.sql("UPDATE receivers SET sealed_url = ?1", &[moved.into()]);
    watch.play("6s e");
    assert_eq!(
        watch.outbox()[1],
        "firing pending 1 the receiver's address cannot be opened with this HYPERGATE_SECRET"
    );
    assert!(watch.host.upstream.sent().is_empty());
}

#[test]
fn addresses_and_secrets_are_nowhere_but_in_the_request() {
    let mut watch = Watch::new();
    let url = "https://hooks.example/services/T0/B0/swordfish";
    watch.receiver(None, ReceiverKind::Slack, url);
    watch.host.upstream.always(
        "POST",
        url,
        Answer::text(500, "cannot post to https://hooks.example/services/T0/B0/swordfish"),
    );
    let created = block_on(receiver::create(&*watch.host, &webhook_at(OTHER), 0)).unwrap();
    watch.host.upstream.always("POST", OTHER, Answer::unreachable());
    watch.play("3e 8s");
    block_on(deliver::test(&*watch.host, &created.receiver.id, 0)).unwrap();

    let listed = serde_json::to_string(&block_on(receiver::list(&*watch.host)).unwrap()).unwrap();
    assert!(listed.contains(r#""host":"hooks.example""#), "{listed}");
    let tables = ["receivers", "outbox", "episodes", "alerts"].map(|table| watch.host.db.dump(table, "1"));
    let logs = watch.host.logs();
    assert!(logs.len() > 3, "{logs:?}");
    let all = format!("{listed}\n{}\n{}", logs.join("\n"), tables.join("\n"));
    for secret in ["swordfish", "services", "secret host", &created.secret.unwrap()] {
        assert!(!all.contains(secret), "{secret} is in\n{all}");
    }
}

#[test]
fn an_address_sealed_with_another_secret_is_not_shown_and_not_asked() {
    let host = MemoryHost::new();
    let id = block_on(receiver::create(&host, &webhook_at(HOOK), 0)).unwrap().receiver.id;
    let changed = MemoryHost::with(&[("HYPERGATE_SECRET", "another secret of thirty-two characters")]);
    let row = &host.db.sql("SELECT * FROM receivers", &[])[0];
    let sql = "INSERT INTO receivers (id, name, kind, sealed_url, sealed_secret, created_ms) VALUES (?1, 'x', 'webhook', ?2, ?3, 0)";
    changed.db.sql(sql, &[row["id"].clone(), row["sealed_url"].clone(), row["sealed_secret"].clone()]);
    assert_eq!(block_on(receiver::list(&changed)).unwrap()[0].host, None);
    let result = block_on(deliver::test(&changed, &id, 0)).unwrap();
    assert!(result.result.contains("HYPERGATE_SECRET"), "{result:?}");
}

const HOOK: &str = "https://hooks.example/team";
const OTHER: &str = "https://other.example/";
const WEBHOOK: ReceiverKind = ReceiverKind::Webhook;

fn webhook_at(url: &str) -> New {
    receiver_at(WEBHOOK, url)
}
