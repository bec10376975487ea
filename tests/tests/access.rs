//! Who calls from where, what of it is refused, and who is refused for a while because of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use gateway::{
    journal,
    ports::Clock as _,
    record::{Outcome, Record},
    rules,
    tick::tick,
};
use hypercare::{
    rule::{default_pack, shipped},
    time::MINUTE_MS,
};
use serde_json::{Value, json};
use tests::{Gateway, Watch, block_on, database::Fault, host::NEW_YEAR_MS, watch::record};

#[test]
fn a_record_tells_networks_apart_and_holds_no_address() {
    let gateway = Gateway::default();
    gateway.host.set_country(Some("DE"));
    let call = |key: &str, address: &str| {
        let headers = [("x-test-address", address)];
        let answered = gateway.chat_with(key, &headers, r#"{"model":"demo/echo","messages":[]}"#);
        let record = answered.record.unwrap();
        (record.country.unwrap(), record.source, record.tried)
    };
    let (country, home, tried) = call(&gateway.key, "203.0.113.7");
    assert_eq!((country.as_str(), &tried), ("DE", &None));
    assert_eq!(call(&gateway.key, "203.0.113.99:4711").1, home);
    // What a proxy wrote behind it is nearer than what anybody wrote before.
    assert_eq!(call(&gateway.key, "198.51.100.1, 203.0.113.8").1, home);
    assert_ne!(call(&gateway.key, "198.51.100.1").1, home);
    assert_eq!(call(&gateway.key, "nowhere").1, None);
    let [first, again, other, none] =
        ["sk-one", "sk-one", "hg_two", ""].map(|key| call(key, "203.0.113.7").2);
    assert!(first.is_some() && first == again && first != other && none.is_some());
    let stored = gateway.host.db.dump("calls", "id");
    assert!(!stored.contains("203.0.113") && !stored.contains("198.51.100") && !stored.contains("sk-one"));
    let by_source = gateway.admin("GET", &format!("calls?source={}&country=DE", home.unwrap()), &Value::Null);
    assert_eq!(by_source.json()["data"].as_array().unwrap().len(), 7);
    assert_eq!(gateway.admin("GET", "calls?country=FR", &Value::Null).json()["data"], json!([]));
}

#[test]
fn a_proxy_before_the_gateway_may_say_whom_it_serves() {
    let gateway = Gateway::with(&[("CLIENT_ADDRESS_HEADER", "X-Forwarded-For")]);
    let source = |forwarded: &str| {
        let headers = [("x-test-address", "10.0.0.1"), ("x-forwarded-for", forwarded)];
        let body = r#"{"model":"demo/echo","messages":[]}"#;
        gateway.chat_with(&gateway.key, &headers, body).record.unwrap().source.unwrap()
    };
    assert_ne!(source("203.0.113.7"), source("198.51.100.7"));
    assert_eq!(source("203.0.113.7"), source("1.2.3.4, 203.0.113.7"));
}

#[test]
fn calls_are_counted_by_country_and_by_what_was_refused() {
    let gateway = Gateway::default();
    let narrow = gateway.new_key(&json!({ "name": "narrow", "models": ["openai/*"] }));
    for (country, key) in [(Some("DE"), &gateway.key), (Some("BR"), &narrow), (None, &gateway.key)] {
        gateway.host.set_country(country);
        gateway.chat_with(key, &[], r#"{"model":"demo/echo","messages":[]}"#);
    }
    gateway.host.advance(2 * MINUTE_MS);
    block_on(tick(&gateway.host, gateway.host.now_ms())).unwrap();
    let points = |query: &str, label: &str| {
        let data = gateway.admin("GET", &format!("metrics?{query}"), &Value::Null).json();
        let point = |point: &Value| {
            format!("{} {} {}", point[label].as_str().unwrap(), point["calls"], point["denied"])
        };
        data["data"].as_array().unwrap().iter().map(point).collect::<Vec<_>>()
    };
    assert_eq!(points("by=country", "country"), ["BR 1 1", "DE 1 0"]);
    assert_eq!(points("by=country,tenant&country=BR", "country"), ["BR 1 1"]);
    assert_eq!(points("by=route", "route"), ["/v1/chat/completions 3 1"]);
}

//  The calls of each minute that were refused, and from when to when an alert was open.
#[test]
fn bursts_and_sprays_of_refusals_are_told_by_network() {
    for (rule, network, minutes, expected) in [
        // A hundred in ten minutes are borne; looked at in the fourth minute of every five.
        ("denied-burst", "aa one", "100", ""),
        ("denied-burst", "aa one", "101", "aa 3-23"),
        ("denied-burst", "aa one", "20 20 20 20 20 20 20 20", "aa 8-23"),
        ("denied-burst", "aa one", "9 0 0 0 0 9 0 0 0 0 9", ""),
        ("denied-burst", "aa many", "60 60", "aa 3-23"),
        ("denied-spray", "aa one", "500", ""),
        ("denied-spray", "aa many", "20", ""),
        ("denied-spray", "aa many", "3 3 3 3 3 3 3", "aa 8-23"),
    ] {
        let mut watch = only(rule);
        let (source, targets) = network.split_once(' ').unwrap();
        let counts: Vec<i64> = minutes.split(' ').map(|count| count.parse().unwrap()).collect();
        for minute in 0..26 {
            let count = counts.get(minute).copied().unwrap_or_default();
            let refused = (0..count).map(|n| {
                let target = if targets == "one" { "k".to_owned() } else { format!("k{minute}/{n}") };
                refused(&watch, "", source, &target, n)
            });
            store(&watch, refused.collect());
            watch.tick();
        }
        assert_eq!(told(&watch, rule), expected, "{rule} {network} {minutes}");
    }
}

#[test]
fn what_a_provider_refused_and_who_is_blocked_is_no_burst() {
    let mut watch = only("denied-burst");
    let mut records: Vec<Record> = (0..400).map(|n| refused(&watch, "tn_a", "aa", "k", n)).collect();
    for record in &mut records[..200] {
        record.provider_name = "openai".to_owned();
    }
    for record in &mut records[200..] {
        record.error_type = Some("blocked".to_owned());
    }
    store(&watch, records);
    (0..5).for_each(|_| drop(watch.tick()));
    assert_eq!(told(&watch, "denied-burst"), "");
}

#[test]
fn the_share_that_was_refused_is_a_measure_of_each_route() {
    let mut watch = only("");
    let rule = json!({ "title": "t", "measure": "denied_share", "threshold": 0.2, "window_minutes": 1,
        "keep_firing_minutes": 0 });
    let id = block_on(rules::create(&*watch.host, rule.to_string().as_bytes())).unwrap().rule.id.to_string();
    // Of ten calls.
    for refusals in [0, 2, 3, 9, 2] {
        let good = (refusals..10).map(|n| called_from(&watch, "DE", n));
        let calls = good.chain((0..refusals).map(|n| refused(&watch, "tn_a", "aa", "k", n))).collect();
        store(&watch, calls);
        watch.tick();
    }
    assert_eq!(told(&watch, &id).trim(), "2-4");
}

#[test]
fn a_block_of_long_ago_is_forgotten() {
    let watch = Watch::new();
    for (id, days) in [("old", 401), ("young", 399)] {
        let sql = "INSERT INTO blocks (id, kind, tenant_id, subject, reason, created_ms, until_ms)
                   VALUES (?1, 'key', 'tn_a', 'key_1', 'r', ?2, ?2)";
        watch.host.db.sql(sql, &[json!(id), json!(NEW_YEAR_MS - days * 24 * 60 * MINUTE_MS)]);
    }
    let now_ms = NEW_YEAR_MS + 34 * MINUTE_MS;
    watch.host.set_now(now_ms);
    block_on(tick(&*watch.host, now_ms)).unwrap();
    assert_eq!(watch.host.db.sql("SELECT id FROM blocks", &[]), [json!({ "id": "young" })]);
}

#[test]
fn a_burst_says_of_what_and_whose_calls_it_is() {
    let mut watch = only("denied-burst");
    watch.webhook(None, HOOK);
    let of_a_key = |n| {
        let mut record = refused(&watch, "tn_a", "3f2a91c0b7de", "", n);
        (record.key_id, record.request_model) = ("key_7".to_owned(), "openai/gpt-5".to_owned());
        record.country = Some("NL".to_owned());
        record.status = 403;
        record
    };
    let known: Vec<Record> = (0..130).map(of_a_key).collect();
    store(&watch, known);
    let strangers = (0..110).map(|n| refused(&watch, "", "3f2a91c0b7de", if n == 0 { "a" } else { "b" }, n));
    store(&watch, strangers.collect());
    (0..5).for_each(|_| drop(watch.tick()));
    let text = watch.host.upstream.sent_to(HOOK)[0].json().to_string();
    for expected in [
        "Ann: calls refused with 401 or 403 130 > 100 from network 3f2a91c0b7de (10 min): \
         most often key_7 for openai/gpt-5 (130 times)",
        "callers without a key: calls refused with 401 or 403 110 > 100 from network 3f2a91c0b7de (10 min): \
         most often key b (109 times)",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let sql = "SELECT route, labels, notice FROM episodes ORDER BY tenant_id DESC LIMIT 1";
    let episode = &watch.host.db.sql(sql, &[])[0];
    let notice = episode["notice"].as_str().unwrap();
    for fact in [r#"["Calls","130 in 10 min"]"#, r#"["Different ones","1"]"#, r#"["Country","NL"]"#] {
        assert!(notice.contains(fact), "{fact}\n{notice}");
    }
    assert_eq!(episode["route"], json!(""));
    assert!(episode["labels"].as_str().unwrap().contains(r#""source":"3f2a91c0b7de""#));
}

#[test]
fn a_key_is_told_of_when_it_is_called_from_a_new_country() {
    //  how many days ago the key was first called from where, and what calls there are now
    for (rule, known, calls, expected) in [
        ("key-new-country", "30 DE, 20 FR", "1 DE 2 FR", ""),
        ("key-new-country", "30 DE, 20 FR", "1 DE 2 BR", "key_1 2-"),
        ("key-new-country", "6 DE", "1 BR", ""),
        ("key-new-country", "", "1 BR", ""),
        ("new_networks", "8 aa", "2 bb", "key_1 2-"),
        ("new_networks", "8 aa", "2 aa", ""),
        ("new_networks", "30 DE", "2 bb", ""),
    ] {
        let mut watch = only(rule);
        let rule_id = if rule == "new_networks" {
            let rule = json!({ "title": "t", "measure": "new_networks", "threshold": 0 }).to_string();
            block_on(rules::create(&*watch.host, rule.as_bytes())).unwrap().rule.id.to_string()
        } else {
            rule.to_owned()
        };
        for known in known.split(", ").filter(|known| !known.is_empty()) {
            let (days, name) = known.split_once(' ').unwrap();
            key_source(&watch, name, days.parse().unwrap(), 100);
        }
        let words: Vec<&str> = calls.split(' ').collect();
        for pair in words.chunks(2) {
            let calls = (0..pair[0].parse().unwrap()).map(|n| called_from(&watch, pair[1], n));
            store(&watch, calls.collect());
        }
        (0..9).for_each(|_| drop(watch.tick()));
        assert_eq!(told(&watch, &rule_id), expected, "{rule} {known}: {calls}");
    }
}

#[test]
fn a_new_country_is_named_beside_the_known_ones_and_is_known_a_day_later() {
    let mut watch = only("key-new-country");
    watch.webhook(None, HOOK);
    let sql = "INSERT INTO api_keys (hash, id, tenant_id, name, hint, created_ms)
               VALUES ('h', 'key_1', 'tn_a', 'laptop', 'abcd', 0)";
    watch.host.db.sql(sql, &[]);
    key_source(&watch, "DE", 30, 900);
    key_source(&watch, "FR", 20, 40);
    for minute in 0..9 {
        store(&watch, vec![called_from(&watch, "BR", minute), called_from(&watch, "KE", minute + 1)]);
        watch.tick();
    }
    let told_of = watch.host.upstream.sent_to(HOOK)[0].json();
    let summary =
        "Ann: calls from 2 new countries by key laptop (key_1) (4 calls): BR (2 calls), KE (2 calls)";
    assert_eq!(told_of["data"]["summary"], summary);
    let text = told_of.to_string();
    for fact in [
        r#"{"name":"Known before","value":"2"}"#,
        r#"{"name":"Known","value":"DE (900 calls), FR (40 calls)"}"#,
    ] {
        assert!(text.contains(fact), "{fact}\n{text}");
    }
    // Calls are counted once, however often the minutes are looked at.
    let sql = "SELECT sum(calls) AS n FROM key_sources WHERE source = 'BR'";
    assert_eq!(watch.host.db.sql(sql, &[]), [json!({ "n": 7 })]);
    // A day without a tick.
    let later_ms = NEW_YEAR_MS + 24 * 60 * MINUTE_MS + 14 * MINUTE_MS;
    for minute in 0..6 {
        let now_ms = later_ms + minute * MINUTE_MS + 35_000;
        watch.host.set_now(now_ms);
        block_on(tick(&*watch.host, now_ms)).unwrap();
    }
    assert_eq!(told(&watch, "key-new-country"), "key_1 2-1442");
}

#[test]
fn a_key_has_no_more_places_than_can_be_told_apart() {
    let mut watch = only("key-new-country");
    for minute in 0..2 {
        let calls = (0..120).map(|n| {
            let mut record = called_from(&watch, "DE", n);
            record.source = Some(format!("{minute}-{n}"));
            record
        });
        store(&watch, calls.collect());
        (0..5).for_each(|_| drop(watch.tick()));
    }
    let count = |kind: &str| {
        let sql = "SELECT count(*) AS n, sum(calls) AS calls FROM key_sources WHERE kind = ?1";
        watch.host.db.sql(sql, &[json!(kind)])[0].clone()
    };
    assert_eq!(count("network")["n"], 100);
    assert_eq!(count("country"), json!({ "n": 1, "calls": 240 }));
    // What has not been called from for three months is forgotten.
    let after_ms = NEW_YEAR_MS + 91 * 24 * 60 * MINUTE_MS + 2 * MINUTE_MS;
    watch.host.set_now(after_ms);
    block_on(tick(&*watch.host, after_ms)).unwrap();
    assert_eq!(count("network")["n"], 0);
}

#[test]
fn a_key_that_is_used_far_more_than_on_its_middle_day_is_told_of() {
    for (days, day, expected) in [
        (28, 500, ""),
        (28, 4_900, ""),
        (28, 5_100, "key_1 8-"),
        // Six days say nothing, and little is no jump.
        (6, 50_000, ""),
        (28, 900, ""),
    ] {
        let mut watch = only("key-volume");
        (0..days).for_each(|ago| breakdown(&watch, "day", 48 + ago * 24, if ago == 3 { 9_000 } else { 500 }));
        breakdown(&watch, "hour", 3, day / 2);
        breakdown(&watch, "hour", 20, day / 2);
        if day == 900 {
            watch.host.db.sql("UPDATE breakdowns SET calls = calls / 100 WHERE grain = 'day'", &[]);
        }
        (0..12).for_each(|_| drop(watch.tick()));
        assert_eq!(told(&watch, "key-volume"), expected, "{days} days, {day}");
    }
}

#[test]
fn a_database_that_grows_is_told_of_before_it_is_full() {
    let day = |ago: i64| NEW_YEAR_MS - ago * 24 * 60 * MINUTE_MS;
    for (limit, megabytes, expected) in [
        ("", "300 310 320 330 340 350", ""),
        ("", "400 410 420 430 440 450", "36-"),
        ("", "440 440 440 440 440 440", ""),
        // Beyond what the free plan takes, it is on the paid one.
        ("", "500 510 520 530 540 550", ""),
        ("600", "500 510 520 530 540 550", "36-"),
        ("400", "410", "36-"),
        ("600", "550 560 570", ""),
    ] {
        let mut watch = Watch::with(&[("DATABASE_LIMIT_MB", limit)]);
        keep_only(&watch, "database-full");
        watch.webhook(None, HOOK);
        let sizes: Vec<i64> = megabytes.split(' ').map(|mb| mb.parse().unwrap()).collect();
        for (size, ago) in sizes.iter().rev().zip(1..) {
            let sql = "INSERT INTO database_sizes (day_ms, bytes) VALUES (?1, ?2)";
            watch.host.db.sql(sql, &[json!(day(ago)), json!(size * 1_000_000)]);
        }
        (0..39).for_each(|minute| {
            if minute == 36 {
                // The day's own size, which the tests' database makes small, was noted at the 35th minute.
                let noted = watch.host.db.sql(
                    "DELETE FROM database_sizes WHERE day_ms = ?1 RETURNING bytes",
                    &[json!(NEW_YEAR_MS)],
                );
                assert!(noted[0]["bytes"].as_i64().unwrap() > 100_000, "{noted:?}");
            }
            watch.tick();
        });
        assert_eq!(told(&watch, "database-full").trim(), expected, "{limit}: {megabytes}");
        if megabytes.ends_with("450") {
            let told = watch.host.upstream.sent_to(HOOK)[0].json();
            let summary = "time until the database is full is 5 days, by 6 days: \
                           450.0 MB of 500.0 MB, 10.0 MB more a day, full on 2026-01-06";
            assert_eq!(told["data"]["summary"], summary);
        }
    }
}

#[test]
fn a_model_that_ends_is_named() {
    let mut watch = only("model-ends");
    watch.webhook(None, HOOK);
    watch.set_rule("model-ends", r#"{"threshold":60}"#);
    let mut call = record("tn_a", watch.minute_ms() - 180 * MINUTE_MS);
    (call.provider_name, call.target_model) = ("cerebras".to_owned(), "llama-3.3-70b".to_owned());
    store(&watch, vec![call]);
    (0..8).for_each(|_| drop(watch.tick()));
    let told = watch.host.upstream.sent_to(HOOK)[0].json();
    let summary = "Ann: time until a model in use is switched off on /v1/chat/completions is 46 days \
                   (1 calls within a day): cerebras/llama-3.3-70b on 2026-02-16";
    assert_eq!(told["data"]["summary"], summary);
    assert!(told.to_string().contains(r#"{"name":"Ends on","value":"2026-02-16"}"#));
}

#[test]
fn a_rule_may_block_the_key_it_fires_on_until_that_expires() {
    let gateway = Gateway::default();
    let key_id = intruder(&gateway, r#"{"block_minutes":60}"#);
    // Refused, in the words of whoever calls, and on record as the tenant's.
    let refused = chat(&gateway);
    assert_eq!(refused.status, 403);
    let error = &refused.json()["error"];
    let message = "This API key is blocked until 2026-01-01T01:03:35Z. Ask the gateway's operator.";
    assert_eq!((error["code"].as_str(), error["message"].as_str()), (Some("blocked"), Some(message)));
    let record = refused.record.unwrap();
    assert_eq!((record.tenant_id.as_str(), record.key_id.as_str()), (gateway.tenant_id.as_str(), &*key_id));
    assert_eq!((record.error_type.as_deref(), record.outcome), (Some("blocked"), Outcome::ClientError));
    for (path, header) in [
        ("/v1/messages", "x-api-key"),
        ("/v1beta/models/m:generateContent", "x-goog-api-key"),
        ("/v2/chat", "authorization"),
    ] {
        let key =
            if header == "authorization" { format!("Bearer {}", gateway.key) } else { gateway.key.clone() };
        let answered = gateway.request("POST", path, &[(header, &key)], "{}");
        assert!(
            answered.status == 403 && answered.text().contains("is blocked until"),
            "{}",
            answered.text()
        );
    }
    let models = gateway.request("GET", "/v1/models", &[("x-api-key", &gateway.key)], "");
    assert_eq!(models.status, 403);
    // Who, why, until when.
    let listed = gateway.admin("GET", "blocks?state=in_force", &Value::Null).json();
    let block = &listed["data"][0];
    assert_eq!(block["subject"], json!(key_id));
    assert_eq!(
        (&block["kind"], &block["rule_id"], &block["state"]),
        (&json!("key"), &json!("key-new-country"), &json!("in_force"))
    );
    assert!(block["reason"].as_str().unwrap().contains("calls from a new country by key laptop"), "{block}");
    assert!(kinds(&gateway, block).contains(&"blocked".to_owned()));
    // An hour later it is served again, and the episode goes on without another block.
    gateway.host.set_now(block["until_ms"].as_i64().unwrap() - 1);
    assert_eq!(chat(&gateway).status, 403);
    gateway.host.advance(1);
    assert_eq!(chat(&gateway).status, 200);
    block_on(tick(&gateway.host, gateway.host.now_ms())).unwrap();
    assert_eq!(gateway.admin("GET", "blocks?state=in_force", &Value::Null).json()["data"], json!([]));
    assert_eq!(gateway.admin("GET", "blocks", &Value::Null).json()["data"][0]["state"], "expired");
}

#[test]
fn nobody_is_blocked_unless_a_rule_says_so() {
    let gateway = Gateway::default();
    intruder(&gateway, "{}");
    let episodes = gateway.host.db.sql("SELECT count(*) AS n FROM episodes", &[]);
    assert_eq!(episodes, [json!({ "n": 1 })]);
    assert_eq!(chat(&gateway).status, 200);
    assert_eq!(gateway.admin("GET", "blocks", &Value::Null).json()["data"], json!([]));
}

#[test]
fn a_block_is_lifted_at_once_and_that_is_on_record() {
    let gateway = Gateway::default();
    intruder(&gateway, r#"{"block_minutes":60}"#);
    let block = gateway.admin("GET", "blocks", &Value::Null).json()["data"][0].clone();
    let id = block["id"].as_str().unwrap();
    let lifted = gateway.admin("DELETE", &format!("blocks/{id}?by=ann"), &Value::Null);
    assert_eq!((lifted.status.as_u16(), &lifted.json()["state"]), (200, &json!("lifted")));
    assert_eq!(lifted.json()["lifted_by"], "ann");
    assert_eq!(chat(&gateway).status, 200);
    assert!(kinds(&gateway, &block).contains(&"unblocked".to_owned()));
    assert_eq!(gateway.admin("DELETE", &format!("blocks/{id}"), &Value::Null).status, 404);
}

#[test]
fn a_tick_that_dies_anywhere_blocks_once() {
    for at in 0..16 {
        let gateway = Gateway::default();
        prepare(&gateway, r#"{"block_minutes":60}"#);
        for minute in 1..=6 {
            let now_ms = NEW_YEAR_MS + minute * MINUTE_MS + 35_000;
            gateway.host.set_now(now_ms);
            if minute == 3 {
                gateway.host.db.die_at_batch(at, Fault::AfterCommit);
            }
            // An error is what dies with it.
            let _ = block_on(tick(&gateway.host, now_ms));
            gateway.host.db.revive();
        }
        for (table, expected) in [("blocks", 1), ("episodes", 1)] {
            let rows = gateway.host.db.sql(&format!("SELECT count(*) AS n FROM {table}"), &[]);
            assert_eq!(rows, [json!({ "n": expected })], "{table}, dead at {at}");
        }
        let events = gateway.host.db.sql("SELECT detail FROM episode_events WHERE kind = 'blocked'", &[]);
        assert_eq!(events.len(), 1, "dead at {at}");
        // Where nobody had the cache read it anew, what it knew expires.
        gateway.host.advance(2 * MINUTE_MS);
        assert_eq!(chat(&gateway).status, 403, "dead at {at}");
    }
}

#[test]
fn keys_and_networks_are_blocked_by_hand() {
    let gateway = Gateway::default();
    let call = |address: &str| {
        let headers = [("x-test-address", address)];
        let body = r#"{"model":"demo/echo","messages":[{"role":"user","content":"Hi"}]}"#;
        gateway.chat_with(&gateway.key, &headers, body)
    };
    let block = |body: Value| gateway.admin("POST", "blocks", &body);
    assert_eq!(call("203.0.113.7").status, 200);
    let made = block(json!({ "address": "203.0.113.200", "minutes": 10, "by": "ann", "reason": "scans" }));
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(
        (&made["kind"], &made["tenant_id"], &made["actor"]),
        (&json!("source"), &Value::Null, &json!("ann"))
    );
    // What the cache knows of the key is as old as it may be.
    gateway.host.advance(2 * MINUTE_MS);
    let refused = call("203.0.113.7");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("Calls from this network are blocked until"), "{}", refused.text());
    assert_eq!(call("198.51.100.7").status, 200);
    gateway.host.advance(8 * MINUTE_MS);
    assert_eq!(call("203.0.113.7").status, 200);

    let source = made["subject"].as_str().unwrap();
    let of_another =
        json!({ "source": source, "tenant": "tn_other", "minutes": 10, "by": "ann", "reason": "r" });
    assert_eq!(block(of_another).status, 201);
    gateway.host.advance(2 * MINUTE_MS);
    assert_eq!(call("203.0.113.7").status, 200);

    let keys = gateway.admin("GET", &format!("tenants/{}/keys", gateway.tenant_id), &Value::Null).json();
    let key_id = &keys["data"][0]["id"];
    let made = block(json!({ "key": key_id, "minutes": 10, "by": "ann", "reason": "leaked" }));
    assert_eq!((made.status.as_u16(), &made.json()["tenant_id"]), (201, &json!(gateway.tenant_id)));
    assert_eq!(call("198.51.100.7").status, 403);

    for (body, expected) in [
        (json!({ "minutes": 1, "by": "a", "reason": "r" }), "400 key"),
        (json!({ "key": "k", "source": "s", "minutes": 1, "by": "a", "reason": "r" }), "400 key"),
        (json!({ "key": "k", "tenant": "t", "minutes": 1, "by": "a", "reason": "r" }), "400 tenant"),
        (json!({ "key": "key_none", "minutes": 1, "by": "a", "reason": "r" }), "404 -"),
        (json!({ "key": "k", "minutes": 10_081, "by": "a", "reason": "r" }), "400 minutes"),
        (json!({ "key": "k", "by": "a", "reason": "r" }), "400 minutes"),
        (json!({ "key": "k", "minutes": 1, "reason": "r" }), "400 by"),
        (json!({ "address": "here", "minutes": 1, "by": "a", "reason": "r" }), "400 address"),
    ] {
        let answered = block(body.clone());
        let param = answered.json()["error"]["param"].as_str().unwrap_or("-").to_owned();
        assert_eq!(format!("{} {param}", answered.status.as_u16()), expected, "{body}");
    }
    let listed = |query: &str| {
        let page = gateway.admin("GET", &format!("blocks?{query}"), &Value::Null).json();
        let next = page["next_cursor"].as_str().unwrap_or_default().to_owned();
        (page["data"].as_array().unwrap().len(), next)
    };
    assert_eq!(listed("").0, 3);
    assert_eq!(listed("tenant=tn_other").0, 1);
    let (first, next) = listed("limit=2");
    assert_eq!((first, listed(&format!("limit=2&cursor={next}")).0), (2, 1));
}

#[test]
fn a_block_costs_a_call_nothing() {
    let reads = |blocked: bool| {
        let gateway = Gateway::default();
        if blocked {
            let block = json!({ "address": "198.51.100.7", "minutes": 10, "by": "ann", "reason": "r" });
            gateway.admin("POST", "blocks", &block);
        }
        chat(&gateway);
        let before = gateway.host.db.statements();
        gateway.host.advance(31_000);
        chat(&gateway);
        // Two to store the record; who calls was in the cache.
        gateway.host.db.statements() - before
    };
    assert_eq!((reads(false), reads(true)), (2, 2));
}

#[test]
fn what_these_rules_look_at_is_a_statement_each_in_a_minute_of_its_own() {
    let statements = |enabled: bool| -> Vec<usize> {
        let mut watch = Watch::as_shipped();
        for rule in ["denied-burst", "denied-spray", "key-new-country", "key-volume", "database-full"] {
            watch.set_rule(rule, &json!({ "enabled": enabled }).to_string());
        }
        let one = |watch: &mut Watch| {
            watch.calls("tn_a", 's');
            let before = watch.host.db.statements();
            watch.tick();
            watch.host.db.statements() - before
        };
        (0..70).map(|_| one(&mut watch)).collect()
    };
    let (without, with) = (statements(false), statements(true));
    let more: Vec<usize> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    // Bursts and sprays share one in the fourth minute of five, countries have one in the third, keys in the ninth of an
    // hour, the size in the 37th of the day.
    for (minute, more) in more.iter().enumerate() {
        let is_keys = minute % 60 == 8;
        let is_size = minute == 36;
        let is_networks = matches!(minute % 5, 2 | 3);
        let expected = [is_keys, is_size, is_networks].into_iter().filter(|is| *is).count();
        assert_eq!(*more, expected, "minute {minute}");
    }
    assert!(with.iter().max() <= Some(&50), "{with:?}");
}

#[test]
fn a_preview_of_refusals_says_what_the_tick_told() {
    let mut watch = only("denied-burst");
    for minute in 0..45 {
        let count = if (5..12).contains(&minute) { 40 } else { 1 };
        let refusals = (0..count).map(|n| refused(&watch, "", "aa", "k", n)).collect();
        store(&watch, refusals);
        watch.tick();
    }
    let rule = shipped("denied-burst").unwrap();
    let preview =
        block_on(rules::preview(&*watch.host, &rule, NEW_YEAR_MS, NEW_YEAR_MS + 44 * MINUTE_MS)).unwrap();
    let minute = |ms: i64| (ms - NEW_YEAR_MS) / MINUTE_MS;
    let one = &preview.episodes[0];
    let said = format!("aa {}-{}", minute(one.fired_ms), minute(one.resolved_ms.unwrap()));
    assert_eq!((preview.episodes.len(), preview.looks, said), (1, 9, told(&watch, "denied-burst")));
    assert_eq!((one.value, one.route.as_deref()), (165.0, Some("aa")));
}

const HOOK: &str = "https://hooks.example/team";

/// A deployment with one shipped rule, or none.
fn only(rule: &str) -> Watch {
    let watch = Watch::new();
    keep_only(&watch, rule);
    watch
}

fn keep_only(watch: &Watch, kept: &str) {
    watch.host.db.speak_javascript();
    for rule in default_pack() {
        watch.set_rule(&rule.id, if rule.id == kept { "{}" } else { r#"{"enabled":false}"# });
    }
}

/// A call of this minute that was refused.
fn refused(watch: &Watch, tenant_id: &str, source: &str, tried: &str, n: i64) -> Record {
    let mut record = record(tenant_id, watch.minute_ms() + n * 50);
    record.id = format!("call_{tenant_id}_{source}_{}_{n}", watch.minute_ms());
    if tenant_id.is_empty() {
        record.key_id = String::new();
    }
    record.provider_name = String::new();
    record.status = 401;
    record.outcome = Outcome::ClientError;
    record.error_type = Some("invalid_api_key".to_owned());
    record.source = Some(source.to_owned());
    record.tried = Some(tried.to_owned());
    record
}

/// A good call of this minute with `key_1`, from a country or a network.
fn called_from(watch: &Watch, name: &str, n: i64) -> Record {
    let mut record = record("tn_a", watch.minute_ms() + n * 50);
    record.id = format!("call_{name}_{}_{n}", watch.minute_ms());
    let is_country = name.chars().all(char::is_uppercase);
    *(if is_country { &mut record.country } else { &mut record.source }) = Some(name.to_owned());
    record
}

fn store(watch: &Watch, records: Vec<Record>) {
    for records in records.chunks(100) {
        block_on(journal::write(&*watch.host, records)).unwrap();
    }
}

/// `key_1` was called from there, first so many days before the year began.
fn key_source(watch: &Watch, name: &str, days: i64, calls: i64) {
    let sql = "
        INSERT INTO key_sources (tenant_id, key_id, kind, source, first_ms, last_ms, calls)
        VALUES ('tn_a', 'key_1', ?1, ?2, ?3, ?3, ?4)";
    let kind = if name.chars().all(char::is_uppercase) { "country" } else { "network" };
    let first_ms = NEW_YEAR_MS - days * 24 * 60 * MINUTE_MS;
    watch.host.db.sql(sql, &[json!(kind), json!(name), json!(first_ms), json!(calls)]);
}

/// Calls with `key_1`, so many hours before the year began.
fn breakdown(watch: &Watch, grain: &str, hours_ago: i64, calls: i64) {
    let columns = watch.host.db.sql("SELECT name FROM pragma_table_info('breakdowns')", &[]);
    let columns: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    let value = |column: &&str| match *column {
        "grain" => format!("'{grain}'"),
        "bucket_ms" => (NEW_YEAR_MS - hours_ago * 60 * MINUTE_MS).to_string(),
        "dimension" => "'key_id'".to_owned(),
        "tenant_id" => "'tn_a'".to_owned(),
        "label" => "'key_1'".to_owned(),
        "calls" => calls.to_string(),
        histogram if histogram.ends_with("_histogram") => "'{}'".to_owned(),
        _ => "0".to_owned(),
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    watch
        .host
        .db
        .sql(&format!("INSERT INTO breakdowns ({}) VALUES ({})", columns.join(", "), values.join(", ")), &[]);
}

/// From which minute to which there were episodes of a rule, and about what: `aa 2-4`.
fn told(watch: &Watch, rule_id: &str) -> String {
    let sql = "
        SELECT coalesce(labels ->> 'key', labels ->> 'source', '') || ' ' || CAST((opened_ms - ?2) / 60000 AS INTEGER) || '-'
               || coalesce(CAST((resolved_ms - ?2) / 60000 AS INTEGER), '') AS told
        FROM episodes WHERE rule_id = ?1 ORDER BY opened_ms";
    let rows = watch.host.db.sql(sql, &[json!(rule_id), json!(NEW_YEAR_MS)]);
    rows.iter().map(|row| row["told"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// A gateway whose key was always called from one country, and from another just now. Returns the key's id once a tick
/// has looked at that.
fn intruder(gateway: &Gateway, settings: &str) -> String {
    let key_id = prepare(gateway, settings);
    for minute in 1..=5 {
        let now_ms = NEW_YEAR_MS + minute * MINUTE_MS + 35_000;
        gateway.host.set_now(now_ms);
        block_on(tick(&gateway.host, now_ms)).unwrap();
    }
    key_id
}

fn prepare(gateway: &Gateway, settings: &str) -> String {
    gateway.host.db.speak_javascript();
    let put = gateway.admin("PUT", "rules/key-new-country", &serde_json::from_str(settings).unwrap());
    assert_eq!(put.status, 200, "{}", put.text());
    gateway.host.set_country(Some("BR"));
    let key_id = chat(gateway).record.unwrap().key_id;
    let sql = "
        INSERT INTO key_sources (tenant_id, key_id, kind, source, first_ms, last_ms, calls)
        VALUES (?1, ?2, 'country', 'DE', ?3, ?3, 100)";
    let long_ago = NEW_YEAR_MS - 30 * 24 * 60 * MINUTE_MS;
    gateway.host.db.sql(sql, &[json!(gateway.tenant_id), json!(key_id), json!(long_ago)]);
    key_id
}

fn chat(gateway: &Gateway) -> tests::Answered {
    gateway.chat(&json!({ "model": "demo/echo", "messages": [{ "role": "user", "content": "Hi" }] }))
}

/// What the timeline of a block's episode says happened.
fn kinds(gateway: &Gateway, block: &Value) -> Vec<String> {
    let path = format!("episodes/{}", block["episode_id"].as_str().unwrap());
    let episode = gateway.admin("GET", &path, &Value::Null).json();
    let timeline = episode["timeline"].as_array().unwrap_or_else(|| panic!("{episode}"));
    timeline.iter().map(|moment| moment["kind"].as_str().unwrap().to_owned()).collect()
}
