//! Notices on their way: tried until they arrive, or until it is sure that they will not, without a word
//! of where they go.

use gateway::{
    Error,
    deliver::{self, TestResult},
    ports::{Clock as _, FetchError},
    receiver::{self, New},
};
use hypercare::notify::{ReceiverKind, webhook::Secret};
use tests::{Answer, MemoryHost, Watch, block_on};

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
            block_on(deliver::deliver_due(&*host)).unwrap();
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
    assert!(matches!(block_on(deliver::test(&*watch.host, &list[0].id, 0)).unwrap_err(), Error::NotFound(_)));
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
        let notice = hypercare::notice::Notice::test("team", host.now_ms());
        let secret = Secret::parse(&shown).unwrap();
        let expected = hypercare::notify::webhook::request(
            &notice,
            HOOK,
            &secret,
            sent.header("webhook-id"),
            host.now_ms(),
        )
        .unwrap();
        assert_eq!(sent.headers, *expected.headers());
        assert_eq!(sent.body, *expected.body());
    }
}

#[test]
fn what_cannot_be_a_receiver_is_refused_by_field() {
    let watch = Watch::new();
    let good = webhook_at(HOOK);
    for (new, message) in [
        (New { name: "  ".to_owned(), ..good.clone() }, "name must have 1 to 100 characters"),
        (New { url: "http://hooks.example".to_owned(), ..good.clone() }, "url must start with https://"),
        (New { url: "https://127.0.0.1/x".to_owned(), ..good.clone() }, "url must be a public address"),
        (
            New { secret: Some("guess".to_owned()), ..good.clone() },
            "secret must be whsec_ and the base64 of 24 to 64 bytes",
        ),
        (
            New { kind: ReceiverKind::Slack, secret: Some("x".to_owned()), ..good.clone() },
            "secret does not apply to a receiver of kind slack",
        ),
        (
            New { tenant_id: Some("tn_none".to_owned()), ..good.clone() },
            "tenant_id must be the id of a tenant",
        ),
    ] {
        let error = block_on(receiver::create(&*watch.host, &new, 0)).unwrap_err();
        assert_eq!((error.param(), error.to_string().as_str()), (message.split(' ').next(), message));
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
    New { tenant_id: None, name: "team".to_owned(), kind: WEBHOOK, url: url.to_owned(), secret: None }
}
