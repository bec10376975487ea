//! The size of what is uploaded, and the limits it must keep.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Outcome;

/// How many bytes something may have, compressed, and why.
pub(crate) struct Limit {
    bytes: usize,
    reason: &'static str,
}

/// 1 MiB a module. The platforms' own limits are higher, but a cold start pays for each byte.
pub(crate) const MODULE: Limit = Limit {
    bytes: 1 << 20,
    reason: "A bigger module starts slower everywhere; look at what was added (`cargo tree -p hypergate-functions`).",
};

/// All of a Worker, as Cloudflare's free plan takes it: 3 MB.
pub(crate) const WORKER: Limit =
    Limit { bytes: 3_000_000, reason: "Cloudflare's free plan takes no larger Worker." };

/// Prints raw and compressed size of the files together; an error when they exceed the limit.
pub(crate) fn check(what: &str, files: &[&Path], limit: &Limit) -> Outcome {
    let (raw, compressed) = sizes(files)?;
    let allowed = limit.bytes;
    println!(
        "  {what}: {} KiB, {} KiB compressed (limit {} KiB)",
        raw >> 10,
        compressed >> 10,
        allowed >> 10
    );
    if compressed > allowed {
        return Err(format!(
            "{what} has {compressed} bytes compressed, more than {allowed}. {}",
            limit.reason
        ));
    }
    Ok(())
}

/// Bytes of the files together: raw, and compressed.
pub(crate) fn sizes(files: &[&Path]) -> Outcome<(usize, usize)> {
    let mut raw = 0;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for file in files {
        let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        raw += bytes.len();
        encoder.write_all(&bytes).map_err(|error| error.to_string())?;
    }
    Ok((raw, encoder.finish().map_err(|error| error.to_string())?.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_its_limit_is_an_error_that_says_why() {
        let this = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gzip.rs");
        let (raw, compressed) = sizes(&[&this, &this]).expect("this file can be read");
        assert!(compressed < raw);
        let check = |bytes| check("Both", &[&this, &this], &Limit { bytes, reason: "Nobody takes it." });
        assert_eq!(check(compressed), Ok(()));
        let told = check(compressed - 1).expect_err("it is one byte too much");
        assert_eq!(
            told,
            format!("Both has {compressed} bytes compressed, more than {}. Nobody takes it.", compressed - 1)
        );
    }
}
