//! The size of what is uploaded, and the limit it must keep.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Outcome;

/// Prints raw and compressed size of the files together; an error when they exceed the limit.
pub(crate) fn check(what: &str, files: &[&Path]) -> Outcome {
    let (raw, compressed) = sizes(files)?;
    println!(
        "  {what}: {} KiB, {} KiB compressed (limit {} KiB)",
        raw >> 10,
        compressed >> 10,
        LIMIT_BYTES >> 10
    );
    if compressed > LIMIT_BYTES {
        return Err(format!(
            "The {what} build is {compressed} bytes compressed, more than {LIMIT_BYTES}. A bigger module starts \
             slower everywhere; look at what was added (`cargo tree -p hypergate-functions`)."
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

/// 1 MiB. The platforms' own limits are higher, but a cold start pays for each byte.
const LIMIT_BYTES: usize = 1 << 20;
