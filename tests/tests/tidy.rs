//! What must stay true of the tree.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use gateway::store::migrations::{self, MIGRATIONS};
use tests::{MemoryHost, block_on};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below a folder with one of these endings, with its text.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | "node_modules") {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

#[test]
fn shared_knows_no_host_and_no_http_client() {
    for (path, text) in files("shared", &[".rs", "Cargo.toml"]) {
        for name in ["worker::", "spin_sdk", "web_sys", "js_sys", "tokio", "reqwest", "hyper::"] {
            assert!(!text.contains(name), "{path} names {name}");
        }
    }
}

#[test]
fn hosts_are_named_under_their_folder_only() {
    for (path, text) in files("functions/src", &[".rs"]) {
        if !path.starts_with("functions/src/host/") {
            for name in ["worker::", "spin_sdk", "web_sys", "wasm_bindgen"] {
                assert!(!text.contains(name), "{path} names {name}");
            }
        }
    }
}

#[test]
fn only_the_gateway_awaits() {
    for folder in ["shared/llm/src", "shared/hypercare/src"] {
        for (path, text) in files(folder, &[".rs"]) {
            assert!(!text.contains(".await") && !text.contains("async fn"), "{path} awaits");
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let layers: [(&str, &[&str]); 4] = [
        ("shared/llm", &[]),
        ("shared/hypercare", &[]),
        ("shared/gateway", &["hypercare", "llm"]),
        ("functions", &["gateway", "hypercare", "llm"]),
    ];
    for (folder, below) in layers {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let named: Vec<&str> = ["functions", "gateway", "hypercare", "llm"]
            .into_iter()
            .filter(|name| {
                manifest.lines().any(|line| {
                    line.starts_with(&format!("{name}.")) || line.starts_with(&format!("{name} "))
                })
            })
            .collect();
        assert_eq!(named, below, "{folder}");
        assert!(!manifest.contains("path = \"../"), "{folder} goes around the workspace's table");
    }
}

#[test]
fn time_enters_at_the_door() {
    let mut texts = files("shared", &[".rs"]);
    texts.extend(files("functions/src", &[".rs"]));
    // What is tested may be timed.
    let is_held = |path: &str| path.contains("/src/") && !path.starts_with("functions/src/host/");
    for (path, text) in texts.iter().filter(|(path, _)| is_held(path)) {
        for clock in ["SystemTime", "Instant", "Date::now", "UNIX_EPOCH"] {
            assert!(!text.contains(clock), "{path} reads a clock: {clock}");
        }
    }
}

/// The fields of structures that can be printed for debugging, as `structure.field`.
fn printable(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let (mut is_printable, mut structure) = (false, None);
    for line in text.lines().map(str::trim) {
        let bare = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub(super) ")).unwrap_or(line);
        let bare = bare.strip_prefix("pub ").unwrap_or(bare);
        if line.starts_with("#[derive(") {
            is_printable = line.contains("Debug");
        } else if let Some(named) = bare.strip_prefix("struct ") {
            let name = named.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
            structure = (is_printable && line.ends_with('{')).then(|| name.to_owned());
            is_printable = false;
        } else if line.starts_with('}') {
            structure = None;
        } else if let (Some(name), Some((field, _))) = (&structure, bare.split_once(": "))
            && !field.contains([' ', '/', '#'])
        {
            fields.push(format!("{name}.{field}"));
        }
    }
    fields
}

#[test]
fn what_is_secret_is_not_printed() {
    let sample = "#[derive(Clone, Debug)]\npub struct Open {\n    pub api_key: String,\n}\n#[derive(Clone)]\nstruct Closed {\n    \
                  api_key: String,\n}\n";
    assert_eq!(printable(sample), ["Open.api_key"]);

    let secret = ["_token", "secret", "credential", "password", "private_key", "api_key", "access_key"];
    // Whether one is needed; and one that is encrypted where it stands.
    let known = ["Row.secret", "Stored.sealed_secret"];
    let mut count = 0;
    let mut texts = files("shared", &[".rs"]);
    texts.extend(files("functions/src", &[".rs"]));
    for (path, text) in &texts {
        for field in printable(text) {
            count += 1;
            let is_secret = secret.iter().any(|ending| field.ends_with(ending));
            assert!(!is_secret || known.contains(&field.as_str()), "{path}: {field} could end up in a log");
        }
        for line in text.lines().filter(|line| line.contains(".log(")) {
            for name in ["{key}", "{token}", "{secret}"] {
                assert!(!line.contains(name), "{path} logs {name}");
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn every_setting_in_the_readme_can_be_given_on_spin_or_says_why_not() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let manifest = fs::read_to_string(root().join("spin.toml")).unwrap();
    let (_, section) = readme.split_once("\n## Settings\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 12, "{rows:?}");
    for row in rows {
        let name = row.split('`').nth(1).unwrap().to_ascii_lowercase();
        let is_variable = manifest.contains(&format!("\n{name} = {{ "));
        let is_given = manifest.contains(&format!("\n{name} = \"{{{{ {name} }}}}\""));
        assert_eq!([is_variable, is_given], [!row.contains("Workers only"); 2], "{name}");
    }
}

#[test]
fn every_migration_is_listed_and_a_second_run_changes_nothing() {
    let mut names: Vec<String> =
        files("shared/gateway/migrations", &[".sql"]).into_iter().map(|(path, _)| path).collect();
    names.sort();
    let listed: Vec<String> =
        MIGRATIONS.iter().map(|(name, _)| format!("shared/gateway/migrations/{name}.sql")).collect();
    assert_eq!(names, listed);

    let host = MemoryHost::new();
    let empty = tests::MemoryDatabase::empty();
    assert_eq!(block_on(migrations::apply(&empty, 1)).unwrap(), MIGRATIONS.len());
    assert_eq!(block_on(migrations::apply(&empty, 2)).unwrap(), 0);
    // What a deploy step makes and what the gateway makes by itself are the same tables.
    let own = |rows: Vec<serde_json::Value>| {
        let is_ours = |row: &serde_json::Value| !row["name"].as_str().unwrap().contains("migrations");
        rows.into_iter().filter(is_ours).collect::<Vec<_>>()
    };
    let sql = "SELECT name, type FROM sqlite_schema ORDER BY name";
    assert_eq!(own(empty.sql(sql, &[])), host.db.sql(sql, &[]));
}

#[test]
fn every_setting_of_a_provider_can_be_given_on_spin() {
    let manifest = fs::read_to_string(root().join("spin.toml")).unwrap();
    for provider in llm::provider::PROVIDERS.iter().filter(|provider| provider.name != "demo") {
        for suffix in ["API_KEY", "BASE_URL"] {
            let name = gateway::call::setting_name(provider.name, suffix).to_ascii_lowercase();
            assert!(
                manifest.contains(&format!("\n{name} = {{ default")),
                "{name} is no variable in spin.toml"
            );
            assert!(
                manifest.contains(&format!("\n{name} = \"{{{{ {name} }}}}\"")),
                "{name} is not given to the component"
            );
        }
        let host = provider.base_url.split('/').take(3).collect::<Vec<_>>().join("/");
        let is_local = host.starts_with("http://localhost");
        assert!(
            is_local || host.is_empty() || manifest.contains(&format!("\"{host}\"")),
            "{host} may not be called on Spin"
        );
    }
}

#[test]
fn every_setting_of_an_outlet_is_the_ticks_on_spin_and_in_the_readme() {
    let manifest = fs::read_to_string(root().join("spin.toml")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, tick) = manifest.split_once("[component.tick.variables]").unwrap();
    let (tick, _) = tick.split_once("\n\n").unwrap();
    let source = fs::read_to_string(root().join("shared/gateway/src/outlet.rs")).unwrap();
    let (source, _) = source.split_once("#[cfg(test)]").unwrap();
    let names = source.split('"').filter(|word| {
        let is_name = word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        is_name && (word.starts_with("OTEL_") || word.starts_with("RECORDS_"))
    });
    let mut found = 0;
    for name in names {
        let small = name.to_ascii_lowercase();
        assert!(manifest.contains(&format!("\n{small} = {{ default")), "{small} is no variable in spin.toml");
        assert!(
            tick.contains(&format!("\n{small} = \"{{{{ {small} }}}}\"")),
            "{small} is not given to the tick"
        );
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
        found += 1;
    }
    assert!(found >= 10, "{found}");
}

#[test]
fn the_openapi_document_lists_the_routes_there_are() {
    let text = fs::read_to_string(root().join("openapi.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut listed: Vec<(String, String)> = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(
                operation["summary"].is_string() && operation["responses"].is_object(),
                "{method} {path}"
            );
            listed.push((method.to_uppercase(), path.clone()));
        }
    }
    let mut routes: Vec<(String, String)> =
        functions::ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    listed.sort();
    routes.sort();
    assert_eq!(listed, routes);
}

#[test]
fn the_provider_that_is_shown_was_added_like_that() {
    let page = fs::read_to_string(root().join("docs/providers.md")).unwrap();
    let diff = page.split("```").find_map(|block| block.strip_prefix("diff\n")).unwrap();
    let (mut text, mut added) = (String::new(), 0);
    for line in diff.lines() {
        if let Some(path) = line.strip_prefix("+++ b/") {
            text = fs::read_to_string(root().join(path)).unwrap();
        } else if let Some(new) = line.strip_prefix('+') {
            assert!(text.lines().any(|line| line == new), "{new}");
            added += 1;
        }
    }
    assert!(added > 6, "{added}");
}

/// What stands in documents as `provider/model`, or in what a caller is told.
fn models_named(text: &str) -> Vec<(&str, &str)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_./:".contains(letter);
    let words = text.split(|letter: char| !is_part(letter));
    let named = words.filter_map(|word| word.trim_end_matches(['.', ':']).split_once('/'));
    named.filter(|(provider, _)| llm::provider::find(provider).is_some()).collect()
}

#[test]
fn no_model_that_is_named_as_an_example_is_about_to_end() {
    let mut texts = files("docs", &[".md"]);
    let alone = ["README.md", "openapi.json", "shared/gateway/src/error.rs", "xtask/src/dev.rs"];
    texts.extend(alone.map(|path| (path.to_owned(), fs::read_to_string(root().join(path)).unwrap())));
    let mut count = 0;
    for (path, text) in &texts {
        for (provider, model) in models_named(text) {
            count += 1;
            let retires = llm::capability::find(provider, model).retires;
            assert!(retires.is_none(), "{path} names {provider}/{model}, which ends on {retires:?}");
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_readme_tells_how_many_models_have_a_list_price() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = fs::read_to_string(root().join("shared/llm/data/prices.txt")).unwrap();
    let mut providers: Vec<&str> = table.lines().filter_map(|line| line.split(' ').next()).collect();
    providers.dedup();
    let count: usize = providers.iter().map(|provider| llm::price::models(provider).len()).sum();
    let told = format!("the list prices of {},{}00 models", count / 1_000, count / 100 % 10);
    assert!(readme.contains(&told), "{count}: {told}");
}

#[test]
fn the_readme_tells_the_numbers_of_every_shipped_rule() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for rule in hypercare::rule::default_pack() {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{}` |", rule.id)));
        let cells: Vec<&str> =
            row.unwrap_or_else(|| panic!("{}", rule.id)).split('|').map(str::trim).collect();
        let number = |number: i64, counts: bool| if counts { number.to_string() } else { "–".to_owned() };
        let view = serde_json::to_value(&rule).unwrap();
        let expected = [
            number(rule.min_count, rule.min_count > 1),
            // Others look as far back as their method says.
            number(rule.window_minutes, cells[4] != "–"),
        ];
        assert_eq!(cells[3..5], expected, "{}: {view}", rule.id);
        let severity = if view["severity"] == "page" { "page" } else { "ticket" };
        assert_eq!(cells[5], severity, "{}", rule.id);
    }
}

#[test]
fn the_changelog_tells_of_every_migration() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let schema = changelog.split("### Schema").nth(1).unwrap().split("###").next().unwrap();
    for (name, _) in MIGRATIONS {
        assert!(schema.contains(&name[..4]), "{name}");
    }
}

#[test]
fn both_hosts_send_each_route_to_the_same_module() {
    let door = fs::read_to_string(root().join("functions/src/host/entry.js")).unwrap();
    let (_, list) = door.split_once("const WATCH = [").unwrap();
    let watch: Vec<&str> =
        list.split_once(']').unwrap().0.split(',').map(|item| item.trim().trim_matches('\'')).collect();
    assert!(watch.iter().all(|prefix| prefix.starts_with('/')), "{watch:?}");

    let manifest = fs::read_to_string(root().join("spin.toml")).unwrap();
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.map(|value| value.trim_end_matches('"').to_owned())
    };
    let triggers: Vec<(String, String)> = manifest
        .split("[[trigger.http]]")
        .skip(1)
        .map(|text| (value(text, "route").unwrap(), value(text, "component").unwrap()))
        .collect();
    for (_, path) in functions::ROUTES {
        let leads = |route: &str| match route.strip_suffix("...") {
            Some(prefix) => path.starts_with(prefix),
            None => path == &route,
        };
        let (_, component) =
            triggers.iter().find(|(route, _)| leads(route)).unwrap_or_else(|| panic!("{path}"));
        let (_, section) = manifest.split_once(&format!("[component.{component}]")).unwrap();
        let source = value(section, "source").unwrap();
        let profile = if watch.iter().any(|prefix| path.starts_with(prefix)) { "watch" } else { "release" };
        let wanted = format!("target/wasm32-wasip2/{profile}/functions.wasm");
        assert_eq!(source, wanted, "{path}");
    }
}

#[test]
fn what_the_watch_does_is_there_and_tested() {
    let page = fs::read_to_string(root().join("docs/watch.md")).unwrap();
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(root().join("openapi.json")).unwrap()).unwrap();
    let sources: Vec<(String, String)> =
        ["functions", "shared", "tests"].iter().flat_map(|folder| files(folder, &[".rs"])).collect();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let pack = hypercare::rule::default_pack();
    let (mut rows, mut rules) = (BTreeSet::new(), BTreeSet::new());
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, what, place, tests] = &cells[..] else { panic!("not four cells: {line}") };
        assert!(rows.insert(*name) && !what.is_empty(), "{name}");
        for word in quoted(place) {
            if let Some((method, path)) = word.split_once(' ') {
                let is_there = document["paths"][path][method.to_lowercase()].is_object();
                assert!(is_there, "{name}: {word} is not in openapi.json");
            }
        }
        for rule in place.split("rule `").skip(1).filter_map(|rest| rest.split('`').next()) {
            assert!(pack.iter().any(|shipped| shipped.id == rule), "{name}: {rule} is not shipped");
            rules.insert(rule.to_owned());
        }
        let tests = quoted(tests);
        assert!(!tests.is_empty(), "{name} has no test");
        for test in tests {
            let is_there = |(_, text): &(String, String)| text.contains(&format!("fn {test}() {{"));
            assert!(sources.iter().any(is_there), "{name}: there is no test {test}");
        }
    }
    for rule in pack {
        assert!(rules.contains(&*rule.id), "docs/watch.md has no row with the rule {}", rule.id);
    }
}
