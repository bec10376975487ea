//! Writes what each target starts from into a folder: `seeds <folder>`.

#![expect(clippy::unwrap_used, reason = "a tool of the tests fails by panicking")]

use std::{fs, path::PathBuf};

use wire::{hold::TARGETS, mutate};

fn main() {
    let root = PathBuf::from(std::env::args_os().nth(1).unwrap());
    for (target, _) in TARGETS {
        let folder = root.join(target);
        fs::create_dir_all(&folder).unwrap();
        for (at, seed) in mutate::seeds(target).into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{at}")), seed).unwrap();
        }
    }
}
