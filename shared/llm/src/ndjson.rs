//! JSON a line at a time, incrementally: bytes cut anywhere in, whole lines out.

use memchr::memchr;

/// Cuts a byte stream into lines.
#[derive(Debug, Default)]
pub struct Splitter {
    held: Vec<u8>,
}

impl Splitter {
    /// Takes a chunk and gives each line that is now whole, without its end. What is left over is kept.
    pub fn feed(&mut self, mut chunk: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (first, rest) = (&chunk[..end], &chunk[end + 1..]);
            if self.held.is_empty() {
                line(first.trim_ascii());
            } else {
                self.held.extend_from_slice(first);
                line(self.held.trim_ascii());
                self.held.clear();
            }
            chunk = rest;
        }
        self.held.extend_from_slice(chunk);
    }

    /// A line whose end has not come; the last one may have none.
    pub fn held(&self) -> &[u8] {
        self.held.trim_ascii()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_gives_the_same_lines() {
        let text = "{\"a\":\"é\"}\r\n\n{\"b\":2}\n{\"c\":3}".as_bytes();
        for cut in 0..=text.len() {
            let mut splitter = Splitter::default();
            let mut lines = Vec::new();
            for piece in [&text[..cut], &text[cut..]] {
                splitter.feed(piece, |line| lines.push(String::from_utf8_lossy(line).into_owned()));
            }
            assert_eq!(
                (lines.join("|").as_str(), splitter.held()),
                ("{\"a\":\"é\"}||{\"b\":2}", &b"{\"c\":3}"[..])
            );
        }
    }
}
