//! Hours of traffic with all that may happen in them, and what the receivers hear of it, to the word. Whatever the ticks
//! do and wherever the gateway is killed, they hear the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::{fs, path::PathBuf};

use tests::simulation::{Kills, Scenario, path, play};

#[test]
fn the_receivers_hear_what_is_written_down() {
    for name in ["scenario", "short"] {
        let played = play(&Scenario::read(name), Kills::None, &folder(name));
        let expected = path(&format!("{name}.txt"));
        if std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
            fs::write(&expected, &played.heard).unwrap();
        }
        assert_eq!(played.heard, fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

#[test]
fn killed_anywhere_they_hear_the_same() {
    let scenario = Scenario::read("short");
    let undisturbed = play(&scenario, Kills::None, &folder("undisturbed"));
    assert!(undisturbed.steps > 200, "{}", undisturbed.steps);
    for step in 0..undisturbed.steps {
        let played = play(&scenario, Kills::At(step), &folder("anywhere"));
        assert_eq!(played.heard, undisturbed.heard, "killed at step {step}");
        assert_eq!(played.rollups, undisturbed.rollups, "killed at step {step}");
    }
}

#[test]
fn killed_at_random_for_three_hours_they_hear_the_same() {
    let scenario = Scenario::read("scenario");
    let undisturbed = play(&scenario, Kills::None, &folder("calm"));
    assert_eq!(undisturbed.rollups, scenario.replayed());
    for seed in 1..=2 {
        let played = play(&scenario, Kills::Seeded(seed), &folder("random"));
        assert!(played.deaths > 10, "{} deaths", played.deaths);
        assert_eq!(played.heard, undisturbed.heard, "seed {seed}");
        assert_eq!(played.rollups, undisturbed.rollups, "seed {seed}");
    }
}

/// A folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hypergate-simulation-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}
