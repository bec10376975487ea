//! Every target, on what is recorded and on some thousand inputs that chance makes of it.

use wire::{hold::TARGETS, mutate};

/// To compile them takes a C++ compiler and a build of their own, which `cargo xtask fuzz` makes; that there is one for
/// each target can be seen without.
#[test]
fn every_target_can_be_fuzzed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder").join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    for (target, _) in TARGETS {
        let binary = std::fs::read_to_string(folder.join(format!("fuzz_targets/{target}.rs")));
        assert!(
            binary.is_ok_and(|code| code.contains(&format!("wire::hold::run(\"{target}\", data)"))),
            "{target}"
        );
        assert!(
            manifest.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")),
            "{target}"
        );
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}

#[test]
fn no_bytes_are_too_much_for_any_reader() {
    // Another seed finds other things: HYPERGATE_SEED=7 cargo test -p hypergate-wire-tests
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let (seed, count) = (setting("HYPERGATE_SEED").unwrap_or(42), setting("HYPERGATE_COUNT").unwrap_or(400));
    let only = std::env::var("HYPERGATE_TARGET").unwrap_or_default();
    for (target, _) in TARGETS.iter().filter(|(target, _)| target.contains(&only)) {
        mutate::run(target, seed, usize::try_from(count).unwrap_or(usize::MAX));
    }
}
