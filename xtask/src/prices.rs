//! Makes the price table of `llm` from two published ones: genai-prices, whose prices are dated and tiered and whose
//! rules say which ids a model answers to, and LiteLLM's, for the models the first does not know, for service tiers, and
//! for searches. The same input gives the same files, and a table that did not change keeps its date.

mod fetch;
mod genai;
mod litellm;
mod literal;
mod pack;
mod rates;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::{Outcome, args};
use table::Table;

/// Writes the files in `data/`, and prints what is in them and what was left out.
pub(crate) fn run(words: &[String]) -> Outcome {
    let mut args = args::Args::new(words);
    let genai = args.value("--genai")?;
    let litellm = args.value("--litellm")?;
    let date = args.value("--date")?.unwrap_or_else(today);
    if let Some(word) = args.rest()?.first() {
        return Err(format!("`{word}` is not understood; `cargo xtask prices --help` tells what is."));
    }

    let genai = genai.map_or_else(fetch::genai, fetch::given)?;
    let litellm = litellm.map_or_else(fetch::litellm, fetch::given)?;
    let mut table = Table::default();
    table.add_genai(&genai.data)?;
    table.add_litellm(&litellm.data, &date)?;
    let text = table.text();

    let directory = data_directory();
    if fs::read_to_string(directory.join("prices.txt")).is_ok_and(|committed| committed == text) {
        println!("the table did not change");
    } else {
        write(&directory.join("prices.txt"), text.as_bytes())?;
        write(&directory.join("prices.bin"), &pack::pack(&text)?)?;
        write(&directory.join("version.txt"), format!("{date}\n").as_bytes())?;
    }
    fetch::note_sources(&directory.join("NOTICE.md"), &genai, &litellm)?;
    table.report();
    Ok(())
}

fn list(value: &Value) -> Outcome<&Vec<Value>> {
    value.as_array().ok_or_else(|| "expected a list".to_owned())
}

fn text<'a>(value: &'a Value, name: &str) -> Outcome<&'a str> {
    value[name].as_str().ok_or_else(|| format!("no text in `{name}`"))
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn data_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("shared").join("llm/data")
}

/// Today's date in UTC. Howard Hinnant's `civil_from_days`.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_is_what_can_be_read() {
        let read = |name: &str| fs::read(data_directory().join(name)).expect(name);
        let text = String::from_utf8(read("prices.txt")).expect("text");
        assert!(read("prices.bin") == pack::pack(&text).expect("packable"), "pack data/prices.txt again");
    }
}
