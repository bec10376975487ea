//! Hours of a deployment: what happens minute by minute is a file, and so is what its receivers are to hear of it.
//! The same two files are played on the real runtimes (`tests/hosts/simulation.mjs`).

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use functions::{Incoming, handle};
use gateway::{journal, record::Record, store::rollups, tick::tick};
use http::{Method, Request, Uri};
use hypercare::time::{MINUTE_MS, parse_rfc3339};
use serde_json::{Value, json};

use crate::{Answer, Gateway, MemoryDatabase, MemoryHost, Sent, block_on, mortal};

/// What happens.
#[derive(Clone)]
pub struct Scenario {
    json: Rc<Value>,
    start_ms: i64,
    /// How many minutes are played.
    pub minutes: i64,
    /// Each minute's calls, as they were recorded. What comes before the first minute is history.
    calls: Rc<BTreeMap<i64, Vec<Record>>>,
}

impl Scenario {
    /// Reads `tests/simulation/<name>.json`, and makes its calls.
    pub fn read(name: &str) -> Self {
        let json: Value =
            serde_json::from_str(&fs::read_to_string(path(&format!("{name}.json"))).unwrap()).unwrap();
        let start_ms = parse_rfc3339(json["start"].as_str().unwrap()).unwrap();
        let minutes = json["minutes"].as_i64().unwrap();
        let mut scenario = Self { json: Rc::new(json), start_ms, minutes, calls: Rc::default() };
        scenario.calls = Rc::new(scenario.call());
        scenario
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.json[name].as_array().unwrap().iter()
    }

    /// What a tenant's calls of a minute are like: the last entry that says so.
    fn traffic(&self, tenant: &str, minute: i64) -> Option<&Value> {
        let is_now = |entry: &&Value| {
            let (from, to) = (entry["from"].as_i64().unwrap(), entry["to"].as_i64().unwrap());
            entry["tenant"] == tenant && (from..to).contains(&minute)
        };
        self.list("traffic").filter(is_now).last()
    }

    fn at(&self, minute: i64) -> i64 {
        self.start_ms + minute * MINUTE_MS
    }

    fn minute_of(&self, at_ms: i64) -> i64 {
        (at_ms - self.start_ms).div_euclid(MINUTE_MS)
    }

    /// The minutes that have calls, in order.
    fn busy(&self) -> BTreeSet<i64> {
        let minutes = |entry: &Value| entry["from"].as_i64().unwrap()..entry["to"].as_i64().unwrap();
        self.list("traffic").flat_map(minutes).collect()
    }

    /// Makes every call there is, of a gateway with providers that do as the scenario says.
    fn call(&self) -> BTreeMap<i64, Vec<Record>> {
        let gateway = self.gateway(MemoryDatabase::new());
        let tenants: Vec<(&str, String)> = self
            .list("tenants")
            .map(|name| {
                let name = name.as_str().unwrap();
                let id = self.ids(&gateway)[name].clone();
                let made =
                    gateway.admin("POST", &format!("tenants/{id}/keys"), &json!({ "name": "key" })).json();
                (name, made["key"].as_str().unwrap().to_owned())
            })
            .collect();
        let mut calls = BTreeMap::new();
        for minute in self.busy() {
            let mut records = Vec::new();
            for (tenant, key) in &tenants {
                let Some(entry) = self.traffic(tenant, minute) else { continue };
                let number = |name: &str| entry[name].as_i64().unwrap_or_default();
                let least_ms = number("took_ms") + number("grows_ms") * (minute - number("from"));
                let whole = entry["whole"] == true;
                // As on the real runtimes: one after the other, each when the one before has its answer.
                gateway.host.set_now(self.at(minute) + 1_000);
                for call in 0..number("calls") {
                    let took_ms = least_ms + number("spread_ms") * call;
                    let answer = if call < number("errors") {
                        Answer::json(503, &json!({ "error": { "message": "down" } }))
                            .header("retry-after", "30")
                    } else if call < number("errors") + number("limited") {
                        Answer::json(429, &json!({ "error": { "message": "slowly" } }))
                            .header("retry-after", "30")
                    } else if whole {
                        let choice = json!({ "index": 0, "message": { "role": "assistant", "content": "Hi" }, "finish_reason": "stop" });
                        Answer::json(200, &json!({ "choices": [choice] })).after(took_ms)
                    } else {
                        Answer::stream([STREAM]).after(took_ms)
                    };
                    let url = if entry["model"].as_str().unwrap().starts_with("openai/") {
                        crate::OPENAI
                    } else {
                        GROQ
                    };
                    gateway.host.upstream.expect("POST", url, answer);
                    let body = json!({ "model": entry["model"], "stream": !whole, "messages": [{ "role": "user", "content": "Hi" }] });
                    let mut record = made(&gateway, key, &body);
                    // Ids are made anew with each deployment.
                    record.key_id = (*tenant).to_owned();
                    records.push(record);
                }
            }
            calls.insert(minute, records);
        }
        calls
    }

    /// The rollups of what was recorded, counted by a gateway that knows nothing else.
    pub fn replayed(&self) -> String {
        let gateway = self.gateway(MemoryDatabase::new());
        let ids = self.ids(&gateway);
        for records in self.calls.values() {
            block_on(journal::write(&gateway.host, &owned(records, &ids))).unwrap();
        }
        self.counted(&gateway)
    }

    /// Counts what is still to be counted. Returns the rollups.
    fn counted(&self, gateway: &Gateway) -> String {
        let now_ms = self.at(self.minutes) + 60 * MINUTE_MS;
        loop {
            let dirty = block_on(rollups::dirty_minutes(&gateway.host)).unwrap();
            if dirty.is_empty() {
                break;
            }
            block_on(rollups::count(&gateway.host, &dirty, now_ms)).unwrap();
        }
        while block_on(rollups::count_coarse(&gateway.host, now_ms)).unwrap() > 0 {}
        // Minutes of days ago are kept only where they were counted at the time.
        let old = json!(self.start_ms);
        ["rollups", "breakdowns"]
            .map(|table| {
                gateway.host.db.sql(
                    &format!("DELETE FROM {table} WHERE grain = 'minute' AND bucket_ms < ?1"),
                    std::slice::from_ref(&old),
                );
                gateway.host.db.dump(table, "1, 2, 3, 4, 5, 6, 7")
            })
            .concat()
    }

    fn gateway(&self, db: MemoryDatabase) -> Gateway {
        let settings =
            [("OPENAI_API_KEY", "sk-openai"), ("GROQ_API_KEY", "sk-groq"), ("ALLOW_LOCAL_RECEIVERS", "true")];
        let host = MemoryHost::on(db, &settings);
        host.set_now(self.at(*self.busy().first().unwrap()));
        let gateway = Gateway { host, tenant_id: String::new(), key: String::new() };
        for name in self.list("tenants") {
            gateway.admin("POST", "tenants", &json!({ "name": name }));
        }
        gateway
    }

    /// The ids of tenants and receivers by their names.
    fn ids(&self, gateway: &Gateway) -> BTreeMap<String, String> {
        let list = |path: &str| gateway.admin("GET", path, &Value::Null).json()["data"].clone();
        let found = ["tenants", "receivers"].map(list);
        let pair =
            |row: &Value| (row["name"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().to_owned());
        found.iter().flat_map(|rows| rows.as_array().unwrap()).map(pair).collect()
    }

    /// Whether a receiver fails in this minute.
    fn fails(&self, receiver: &str, minute: i64) -> bool {
        let found = self.list("receivers").find(|one| one["name"] == receiver).unwrap();
        within(&found["fails"], minute)
    }
}

/// Records as those of the tenants with these ids.
fn owned(records: &[Record], ids: &BTreeMap<String, String>) -> Vec<Record> {
    let own = |record: &Record| Record { tenant_id: ids[&record.key_id].clone(), ..record.clone() };
    records.iter().map(own).collect()
}

/// The record of a call.
fn made(gateway: &Gateway, key: &str, body: &Value) -> Record {
    let mut incoming: Incoming = Request::new(Ok(body.to_string().into()));
    *incoming.method_mut() = Method::POST;
    *incoming.uri_mut() = Uri::from_static("/v1/chat/completions");
    incoming.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let answered = block_on(async { gateway.host.finish(handle(&incoming, &gateway.host).await).await });
    answered.record.unwrap()
}

/// Whether a minute is in one of these ranges.
fn within(ranges: &Value, minute: i64) -> bool {
    let ranges = ranges.as_array().into_iter().flatten();
    ranges.into_iter().any(|range| (range[0].as_i64().unwrap()..range[1].as_i64().unwrap()).contains(&minute))
}

/// How a run is disturbed.
#[derive(Debug, Clone, Copy)]
pub enum Kills {
    /// Not at all.
    None,
    /// Once, at this step of the minutes that are played.
    At(usize),
    /// At random: in every fourth minute or so, somewhere.
    Seeded(u64),
}

/// What came of a run.
pub struct Played {
    /// What the receivers heard, a line a notice.
    pub heard: String,
    /// Steps taken while it was played.
    pub steps: usize,
    /// How often the gateway was killed.
    pub deaths: usize,
    /// The rollups, to the byte.
    pub rollups: String,
}

/// Plays a scenario on a database in a file.
pub fn play(scenario: &Scenario, kills: Kills, folder: &Path) -> Played {
    let (file, empty) = (folder.join("gateway.sqlite"), folder.join("empty.sqlite"));
    if !empty.exists() {
        drop(MemoryDatabase::file(&empty));
    }
    fs::copy(&empty, &file).unwrap();
    let mut run = Run {
        scenario: scenario.clone(),
        gateway: Some(scenario.gateway(MemoryDatabase::file(&file))),
        file,
        steps: 0,
        deaths: 0,
        kills,
        ids: BTreeMap::new(),
        random: Random(match kills {
            Kills::Seeded(seed) => seed,
            _ => 0,
        }),
    };
    let heard = run.set_up();
    let before = run.gateway().host.db.life.steps();
    run.play();
    let (deaths, steps) = (run.deaths, run.steps + run.gateway().host.db.life.steps() - before);
    let mut gateway = run.gateway.take().unwrap();
    gateway.host.db.life.begin_anew();
    let counted = scenario.counted(&gateway);
    // The file is let go of.
    gateway.host = gateway.host.reborn(MemoryDatabase::new());
    fs::remove_file(&run.file).unwrap();
    Played { heard: heard.borrow().clone().into_iter().collect(), steps, deaths, rollups: counted }
}

struct Run {
    scenario: Scenario,
    gateway: Option<Gateway>,
    file: PathBuf,
    /// Of those who are dead.
    steps: usize,
    deaths: usize,
    kills: Kills,
    random: Random,
    /// Of tenants and receivers, by their names.
    ids: BTreeMap<String, String>,
}

impl Run {
    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Receivers, rules and escalations. Returns what is heard from then on.
    fn set_up(&mut self) -> Rc<RefCell<BTreeSet<String>>> {
        let scenario = self.scenario.clone();
        for receiver in scenario.list("receivers") {
            let name = receiver["name"].as_str().unwrap();
            let mut new =
                json!({ "name": name, "kind": "webhook", "url": format!("http://127.0.0.1:9/{name}") });
            if let Some(tenant) = receiver["tenant"].as_str() {
                new["tenant_id"] = json!(scenario.ids(self.gateway())[tenant]);
            }
            self.gateway().admin("POST", "receivers", &new);
        }
        self.ids = scenario.ids(self.gateway());
        for asked in scenario.list("setup").chain(scenario.list("escalations")) {
            self.ask(asked[0].as_str().unwrap(), asked[1].as_str().unwrap(), &asked[2]);
        }
        let heard: Rc<RefCell<BTreeSet<String>>> = Rc::default();
        let (lines, ids) = (heard.clone(), RefCell::new(BTreeMap::new()));
        self.gateway().host.upstream.listen(move |sent| {
            let name = sent.url.rsplit('/').next().unwrap().to_owned();
            if scenario.fails(&name, scenario.minute_of(sent.at_ms)) {
                return Answer::text(500, "");
            }
            let line = line(&name, sent);
            // The same notice again says the same again; nothing is told under two ids.
            let before = ids.borrow_mut().insert(sent.header("webhook-id").to_owned(), line.clone());
            assert!(before.as_ref().is_none_or(|before| *before == line), "{before:?} and then {line}");
            assert!(lines.borrow_mut().insert(line.clone()) || before.is_some(), "told twice: {line}");
            Answer::text(200, "")
        });
        heard
    }

    fn ask(&self, method: &str, path: &str, body: &Value) {
        let mut text = body.to_string();
        for (name, id) in &self.ids {
            text = text.replace(&format!("{{{name}}}"), id);
        }
        let answer = self.gateway().admin(method, path, &serde_json::from_str(&text).unwrap());
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
    }

    fn play(&mut self) {
        let scenario = self.scenario.clone();
        if let Kills::At(step) = self.kills {
            self.gateway().host.db.life.end_at(step);
        }
        let history: Vec<i64> = scenario.busy().into_iter().filter(|minute| *minute < 0).collect();
        for minute in history {
            self.store(minute);
            self.tick(minute);
        }
        let mut is_done = -1;
        for minute in 0..scenario.minutes {
            self.gateway().host.set_now(scenario.at(minute) + 30_000);
            for action in scenario.list("actions").filter(|action| action[0] == minute) {
                let (method, path) = (action[1].as_str().unwrap(), action[2].as_str().unwrap());
                self.ask(method, path, &action[3]);
            }
            for action in scenario.list("acknowledged").filter(|action| action["minute"] == minute) {
                self.acknowledge(action);
            }
            if let Kills::Seeded(_) = self.kills
                && self.random.below(4) == 0
            {
                let steps = self.random.below(40);
                self.gateway().host.db.life.end_at(steps);
            }
            if is_done < minute {
                self.store(minute);
            }
            let lists = |name: &str| {
                scenario.json["ticks"][name].as_array().unwrap().iter().any(|one| *one == minute)
            };
            if within(&scenario.json["ticks"]["skipped"], minute) || is_done == minute {
                continue;
            }
            if lists("overlapping") {
                // The tick of the next minute comes before this one is through.
                self.store(minute + 1);
                is_done = minute + 1;
                self.overlapping(minute);
            } else {
                self.tick(minute);
                if lists("twice") {
                    self.tick(minute);
                }
            }
            if let Kills::Seeded(_) = self.kills {
                self.gateway().host.db.life.begin_anew();
            }
        }
    }

    fn acknowledge(&self, action: &Value) {
        let alerts = self.gateway().admin("GET", "alerts?state=firing", &Value::Null).json();
        let tenant = &self.ids[action["tenant"].as_str().unwrap()];
        let is_meant =
            |alert: &&Value| alert["rule_id"] == action["rule"] && alert["tenant_id"] == tenant.as_str();
        let found = alerts["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(is_meant)
            .unwrap_or_else(|| panic!("no {action}: {alerts}"));
        let path = format!("episodes/{}/acknowledge", found["id"].as_str().unwrap());
        let answer = self.gateway().admin("POST", &path, &json!({ "by": action["by"] }));
        assert!(answer.status.is_success(), "{}", answer.text());
    }

    /// Stores the calls of a minute. A queue delivers until they are stored.
    fn store(&mut self, minute: i64) {
        let Some(records) = self.scenario.calls.get(&minute).cloned() else { return };
        let records = owned(&records, &self.ids);
        for batch in records.chunks(100) {
            while self
                .live(async |host| journal::write(host, batch).await)
                .is_none_or(|stored| stored.is_err())
            {}
        }
    }

    /// The tick that looks at a minute.
    fn tick(&mut self, minute: i64) {
        let now_ms = self.scenario.at(minute + 1) + 35_000;
        self.gateway().host.set_now(now_ms);
        if let Some(report) = self.live(async |host| tick(host, now_ms).await) {
            assert_eq!(report.unwrap().failed_steps, [""; 0]);
        }
    }

    fn overlapping(&mut self, minute: i64) {
        // Somewhere in the middle.
        let batch = 1 + self.random.below(8);
        let (now_ms, next_ms) =
            (self.scenario.at(minute + 1) + 35_000, self.scenario.at(minute + 2) + 35_000);
        let host = Rc::new(self.gateway.take().unwrap());
        let other = host.clone();
        let is_begun = Rc::new(Cell::new(false));
        let begun = is_begun.clone();
        host.host.set_now(now_ms);
        host.host.db.before_batch(batch, move || {
            begun.set(true);
            other.host.set_now(next_ms);
            mortal(&other.host.db.life, tick(&other.host, next_ms));
        });
        mortal(&host.host.db.life, tick(&host.host, now_ms));
        host.host.db.forget_planned();
        self.gateway = Rc::into_inner(host);
        self.bury();
        if !is_begun.get() {
            self.tick(minute + 1);
        }
    }

    /// Lets the gateway do something; none if it was killed under it. Then another one is there.
    fn live<T>(&mut self, act: impl AsyncFnOnce(&MemoryHost) -> T) -> Option<T> {
        let host = &self.gateway().host;
        let done = mortal(&host.db.life, act(host));
        self.bury();
        done
    }

    fn bury(&mut self) {
        if !self.gateway().host.db.life.is_over() {
            return;
        }
        self.deaths += 1;
        let Gateway { host, tenant_id, key } = self.gateway.take().unwrap();
        self.steps += host.db.life.steps();
        // Its connection goes first.
        let host = host.reborn(MemoryDatabase::empty());
        let host = host.reborn(MemoryDatabase::file(&self.file));
        self.gateway = Some(Gateway { host, tenant_id, key });
    }
}

/// What was heard, as a line.
fn line(name: &str, sent: &Sent) -> String {
    let event = sent.json();
    let data = &event["data"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Who comes first in a group is a matter of ids.
    let summary = text(&data["summary"]);
    let summary = summary
        .find("alerts")
        .filter(|_| data["labels"]["tenant_id"].is_null())
        .map_or(&*summary, |at| &summary[..at + 6]);
    let facts = data["facts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fact| format!("{}: {}", text(&fact["name"]), text(&fact["value"])));
    // A key has another name in each deployment.
    let mut facts: Vec<String> = facts.filter(|fact| !fact.starts_with("Associated with: key=")).collect();
    facts.sort_unstable();
    let facts = facts.join("; ");
    format!(
        "{name} {} {} {} {}, since {}: {} | {facts}\n",
        clock(&text(&event["timestamp"])),
        text(&data["kind"]),
        text(&data["severity"]),
        text(&data["title"]),
        clock(&text(&data["started_at"])),
        summary,
    )
}

/// The hour and the minute.
fn clock(time: &str) -> &str {
    time.get(11..16).unwrap_or("--:--")
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// A file beside the scenarios.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("simulation").join(name)
}

const GROQ: &str = "https://api.groq.com/openai/v1/chat/completions";
const STREAM: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}}\n\ndata: [DONE]\n\n";
