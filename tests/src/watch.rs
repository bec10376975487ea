//! A deployment under watch: calls minute by minute, a tick after each, and receivers that listen.

use std::{collections::BTreeSet, rc::Rc};

use gateway::{
    journal,
    ports::Clock as _,
    receiver::{self, New},
    record::{Draft, Opening, Outcome, Record},
    store,
    tick::{Report, tick},
    watch,
};
use hypercare::{notify::ReceiverKind, rule::Override, time::MINUTE_MS};
use serde_json::json;

use crate::{Answer, MemoryHost, Sent, block_on, host::NEW_YEAR_MS};

/// A deployment whose time passes minute by minute.
pub struct Watch {
    /// Where it runs.
    pub host: Rc<MemoryHost>,
    /// How many calls there are in a minute with calls.
    pub calls_a_minute: i64,
    minute_ms: i64,
}

/// The route of every call here.
pub const ROUTE: &str = "/v1/chat/completions";

impl Watch {
    /// A deployment with the tenants `tn_a`, called Ann, and `tn_b`, called Bob, and rules that see what
    /// they are for at once: within the minute, from the first call on.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// The same with these settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let watch =
            Self { host: Rc::new(MemoryHost::with(settings)), calls_a_minute: 2, minute_ms: NEW_YEAR_MS };
        for (id, name) in [("tn_a", "Ann"), ("tn_b", "Bob")] {
            let sql = "INSERT INTO tenants (id, name, created_ms) VALUES (?1, ?2, 0)";
            watch.host.db.sql(sql, &[json!(id), json!(name)]);
        }
        for rule in ["error-share", "slow-response"] {
            watch.set_rule(rule, r#"{"min_count":1,"window_minutes":1,"for_minutes":0}"#);
        }
        // Errors that last an hour would be told twice.
        watch.set_rule("error-budget", r#"{"enabled":false}"#);
        watch
    }

    /// A deployment whose rules are as shipped, and with calls enough for them.
    pub fn as_shipped() -> Self {
        let watch = Self { calls_a_minute: 20, ..Self::new() };
        watch.host.db.sql("DELETE FROM rule_overrides", &[]);
        watch
    }

    /// Changes a rule.
    pub fn set_rule(&self, rule_id: &str, settings: &str) {
        let settings = Override::parse(settings.as_bytes()).unwrap();
        block_on(watch::put_override(&*self.host, rule_id, &settings, self.host_now())).unwrap();
    }

    /// Adds a webhook receiver and returns its id. It accepts everything, unless a test scripts otherwise.
    pub fn webhook(&self, tenant_id: Option<&str>, url: &str) -> String {
        self.host.upstream.always("POST", url, Answer::text(200, ""));
        self.receiver(tenant_id, ReceiverKind::Webhook, url)
    }

    /// Adds a receiver and returns its id.
    pub fn receiver(&self, tenant_id: Option<&str>, kind: ReceiverKind, url: &str) -> String {
        let new = New { tenant_id: tenant_id.map(str::to_owned), ..receiver_at(kind, url) };
        block_on(receiver::create(&*self.host, &new, self.host_now())).unwrap().receiver.id
    }

    /// The calls of `tn_a`, a letter a minute, and a tick after each. A number repeats what follows it.
    ///
    /// `s` all is well, `e` one of them is an error, `w` slow, `l` a record is lost, `_` no calls.
    pub fn play(&mut self, minutes: &str) -> Vec<Report> {
        unfold(minutes).chars().map(|letter| self.minute("tn_a", letter)).collect()
    }

    /// One minute of a tenant's calls, and the tick that looks at it.
    pub fn minute(&mut self, tenant_id: &str, letter: char) -> Report {
        self.calls(tenant_id, letter);
        self.tick()
    }

    /// One minute of a tenant's calls. The minute goes on.
    pub fn calls(&self, tenant_id: &str, letter: char) {
        self.calls_ahead(tenant_id, &letter.to_string());
    }

    /// The calls of this minute and those after it.
    pub fn calls_ahead(&self, tenant_id: &str, letters: &str) {
        let mut records = Vec::new();
        for (letter, minute) in letters.chars().zip(0..) {
            let at_ms = self.minute_ms + minute * MINUTE_MS;
            if letter == 'l' {
                let id = format!("loss_{at_ms}");
                block_on(store::calls::report_loss(&*self.host, &id, at_ms, 1, "a test")).unwrap();
            }
            let count = if matches!(letter, 'l' | '_') { 0 } else { self.calls_a_minute };
            records.extend((0..count).map(|number| {
                let mut record = record(tenant_id, at_ms + number * 1_000);
                match letter {
                    'e' if number == 0 => record.outcome = Outcome::Error,
                    'w' => record.wait_ms = Some(900),
                    _ => {}
                }
                record
            }));
        }
        // The journal tries again as well.
        if block_on(journal::write(&*self.host, &records)).is_err() {
            self.host.db.revive();
            block_on(journal::write(&*self.host, &records)).unwrap();
        }
    }

    /// Ends the minute and ticks once its calls had time to arrive.
    pub fn tick(&mut self) -> Report {
        self.pass();
        block_on(tick(&*self.host, self.host_now())).unwrap()
    }

    /// One minute of calls, and a tick that may die in the middle, with the whole gateway.
    pub fn mortal_minute(&mut self, tenant_id: &str, letter: char) {
        self.calls(tenant_id, letter);
        self.pass();
        // An error is what dies with it.
        let _ = block_on(tick(&*self.host, self.host_now()));
        self.host.db.revive();
    }

    /// Ends the minute without a tick.
    pub fn pass(&mut self) {
        self.minute_ms += MINUTE_MS;
        // An answer of a receiver that took long may have set the clock ahead.
        self.host.set_now((self.minute_ms + 35_000).max(self.host_now()));
    }

    /// The minute that goes on.
    pub fn minute_ms(&self) -> i64 {
        self.minute_ms
    }

    /// What a webhook receiver accepted, in order; the same notice twice counts once.
    pub fn heard(&self, url: &str) -> Vec<String> {
        let mut ids = BTreeSet::new();
        let accepted = self.host.upstream.sent_to(url).into_iter().filter(|sent| sent.status == Some(200));
        accepted
            .filter(|sent| ids.insert(sent.header("webhook-id").to_owned()))
            .map(|sent| kind(&sent))
            .collect()
    }

    /// The outbox: kind, status, attempts and newest result of each notice.
    pub fn outbox(&self) -> Vec<String> {
        let sql = "SELECT kind, status, attempts, coalesce(last_result, '-') AS result FROM outbox ORDER BY created_ms, id";
        let rows = self.host.db.sql(sql, &[]);
        let text = |row: &serde_json::Value, column: &str| row[column].to_string().replace('"', "");
        let line = |row: &serde_json::Value| {
            ["kind", "status", "attempts", "result"].map(|column| text(row, column)).join(" ")
        };
        rows.iter().map(line).collect()
    }

    fn host_now(&self) -> i64 {
        self.host.now_ms()
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// A receiver to be made, with what its kind asks for.
pub fn receiver_at(kind: ReceiverKind, url: &str) -> New {
    let (secret, settings) = match kind {
        ReceiverKind::Email => (
            Some("key"),
            json!({"provider": "resend", "from": "Gateway <gateway@example.com>", "to": ["ops@example.com"]}),
        ),
        ReceiverKind::IncidentIo | ReceiverKind::Opsgenie => (Some("key"), json!({})),
        ReceiverKind::Pagerduty => (Some("0123456789abcdef0123456789ABCDEF"), json!({})),
        ReceiverKind::Telegram => (Some("123:abc"), json!({"chat_id": -100_123})),
        _ => (None, json!({})),
    };
    New {
        tenant_id: None,
        name: "team".to_owned(),
        kind,
        url: Some(url.to_owned()),
        secret: secret.map(str::to_owned),
        settings: settings.as_object().cloned().unwrap(),
        per_minute: None,
    }
}

/// `alert.firing` and so on of a webhook; `combined` where it is one.
pub fn kind(sent: &Sent) -> String {
    sent.json()["data"]["kind"].as_str().unwrap().to_owned()
}

/// A good streamed call of a tenant, with an id of its own for each moment.
pub fn record(tenant_id: &str, started_ms: i64) -> Record {
    let opening = Opening {
        operation: "chat",
        id: format!("call_{tenant_id}_{started_ms}"),
        route: ROUTE,
        trace_id: "0".repeat(32),
        parent_span_id: None,
        started_ms,
        region: None,
        release: "test",
    };
    let mut draft = Draft::begin(opening);
    draft.caller(tenant_id, "key_1");
    draft.request("demo/echo", true, None);
    let mut record = draft.finish_stream(started_ms + 800, llm::relay::Summary::default());
    record.provider_name = "demo".to_owned();
    record.target_model = "echo".to_owned();
    record.time_to_first_chunk_ms = Some(200);
    record.wait_ms = Some(200);
    record.overhead_ms = 3;
    record.input_tokens = Some(10);
    record.output_tokens = Some(20);
    record.cost_microusd = Some(5);
    record
}

/// The same of five models, forty keys, and some regions, prompts and tags, by its number in a minute.
pub fn varied(tenant_id: &str, started_ms: i64, n: i64) -> Record {
    let mut record = record(tenant_id, started_ms);
    record.target_model = format!("model-{}", n % 5);
    record.key_id = format!("key_{}", n % 40);
    record.region = Some(format!("r{}", n % 10));
    record.prompt_version = Some(format!("v{}", n % 4));
    record.tags = Some([("feature".to_owned(), format!("f{}", n % 6))].into());
    record.duration_ms = 300 + (n * 7_919) % 5_000;
    record.wait_ms = Some(100 + (n * 7_919) % 300);
    record.time_to_first_chunk_ms = record.wait_ms;
    record.upstream_ms = Some(90 + (n * 7_919) % 300);
    record
}

/// `3s e` is `ssse`.
fn unfold(text: &str) -> String {
    let part = |part: &str| {
        let letter = part.trim_start_matches(|c: char| c.is_ascii_digit());
        letter.repeat(part[..part.len() - letter.len()].parse().unwrap_or(1))
    };
    text.split(' ').map(part).collect()
}
