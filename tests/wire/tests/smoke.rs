//! Every target, on what is recorded and on some thousand inputs that chance makes of it.

use wire::{hold::TARGETS, mutate};

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
