//! What does not belong in a Wasm file that is shipped: names of functions, paths of this machine.

use std::ffi::OsString;
use std::path::Path;
use std::{env, fs};

use crate::{Outcome, process, tools};

/// Flags for the compiler, as `CARGO_ENCODED_RUSTFLAGS`: those of the user, and where sources seem to lie. A panic
/// names its place in the source, so that without these no two machines make the same bytes.
pub(crate) fn flags(more: &[&str]) -> Outcome<OsString> {
    let rustc = |argument: &str| {
        let printed = process::output(tools::command("rustc").args(["--print", argument]));
        printed
            .map(|printed| printed.trim().to_owned())
            .ok_or_else(|| format!("`rustc --print {argument}` fails."))
    };
    let mut flags: Vec<OsString> = match (env::var("CARGO_ENCODED_RUSTFLAGS"), env::var("RUSTFLAGS")) {
        (Ok(given), _) => given.split('\x1f').filter(|flag| !flag.is_empty()).map(OsString::from).collect(),
        (_, Ok(given)) => given.split_whitespace().map(OsString::from).collect(),
        _ => Vec::new(),
    };
    let remap = |from: &Path, to: &str| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flag
    };
    // The last that fits holds: the narrower come later.
    flags.push(remap(tools::root(), ""));
    flags.push(remap(&Path::new(&rustc("sysroot")?).join("lib/rustlib/src/rust"), "rust"));
    for registry in registries() {
        flags.push(remap(&registry, ""));
    }
    flags.extend(more.iter().map(OsString::from));
    Ok(flags.join(&OsString::from("\x1f")))
}

/// The folders in which cargo unpacks packages.
fn registries() -> Vec<std::path::PathBuf> {
    let home = env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let folders = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let mut folders: Vec<_> = folders.into_iter().flatten().flatten().map(|folder| folder.path()).collect();
    folders.sort();
    folders
}

/// Rewrites a module without the custom sections that no runtime reads.
pub(crate) fn strip(path: &Path) -> Outcome {
    let describe = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let module = fs::read(path).map_err(|error| describe(&error))?;
    let stripped = stripped(&module).ok_or_else(|| describe(&"it is not a Wasm module"))?;
    fs::write(path, stripped).map_err(|error| describe(&error))
}

fn stripped(module: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = module.split_at_checked(8)?;
    let mut kept = head.to_vec();
    while let [id, after @ ..] = rest {
        let (length, content) = number(after)?;
        let (content, next) = content.split_at_checked(length)?;
        if *id != CUSTOM || !UNREAD.contains(&name(content)?) {
            kept.extend_from_slice(&rest[..rest.len() - next.len()]);
        }
        rest = next;
    }
    Some(kept)
}

fn name(section: &[u8]) -> Option<&[u8]> {
    let (length, rest) = number(section)?;
    rest.get(..length)
}

/// An unsigned number of at most 32 bits in LEB128, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

const CUSTOM: u8 = 0;
const UNREAD: [&[u8]; 2] = [b"name", b"producers"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_left_out_and_the_rest_is_as_it_was() {
        let of = |sections: &[&[u8]]| [b"\0asm\x01\0\0\0".as_slice(), &sections.concat()].concat();
        let (name, code, other) =
            (&b"\x00\x06\x04nameX"[..], &b"\x0a\x82\x00\x01\x00"[..], &b"\x00\x03\x02ab"[..]);
        assert_eq!(stripped(&of(&[name, code, other])), Some(of(&[code, other])));
        assert_eq!(stripped(&of(&[])), Some(of(&[])));
        assert_eq!(stripped(&of(&[&code[..4]])), None);
        assert_eq!(stripped(b"\0asm"), None);
    }
}
