//! The sources: given as files, or taken from the registries.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Outcome;

/// A source's data, and where it is from.
pub(super) struct Source {
    pub(super) data: Value,
}

/// A file on this machine.
pub(super) fn given(path: String) -> Outcome<Source> {
    let bytes = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(Source { data: serde_json::from_slice(&bytes).map_err(|error| format!("{path}: {error}"))? })
}
pub(super) fn genai() -> Outcome<Source> {
    Err(String::new())
}
pub(super) fn litellm() -> Outcome<Source> {
    Err(String::new())
}
pub(super) fn note_sources(_: &Path, _: &Source, _: &Source) -> Outcome {
    Ok(())
}
