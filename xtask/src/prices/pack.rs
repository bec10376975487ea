//! The table as the gateway searches it; `llm::price` says what lies where, and its tests that both are the same.

use std::collections::BTreeMap;

use super::table::is_pattern;

/// Packs the lines of `prices.txt`.
pub(super) fn pack(text: &str) -> Result<Vec<u8>, String> {
    let mut prices = Prices::default();
    prices.reference("");
    let mut providers: BTreeMap<&str, Provider> = BTreeMap::new();
    for line in text.lines() {
        let mut columns = line.splitn(3, ' ');
        let (name, id) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
        let reference = prices.reference(columns.next().unwrap_or_default());
        let provider = providers.entry(name).or_default();
        if is_pattern(id) {
            provider.patterns.extend(id.bytes().chain([b'\n']).chain(reference.to_le_bytes()));
        } else {
            provider.add(id)?;
            provider.references.push(reference);
        }
    }

    let mut parts: [Vec<u8>; 6] = Default::default();
    let [directory, ids, low, high, patterns, starts] = &mut parts;
    for (name, provider) in &providers {
        directory.push(length(name.len())?);
        directory.extend(name.bytes());
        for offset in [ids.len(), low.len(), patterns.len()] {
            directory.extend(short(offset)?);
        }
        ids.extend(&provider.ids);
        for [a, b] in provider.references.iter().map(|reference| reference.to_le_bytes()) {
            low.push(a);
            high.push(b);
        }
        patterns.extend(&provider.patterns);
    }
    // An end for the last.
    directory.push(0);
    for offset in [ids.len(), low.len(), patterns.len()] {
        directory.extend(short(offset)?);
    }
    let mut lines = Vec::new();
    for (at, line) in prices.lines.iter().enumerate() {
        if at % STRIDE == 0 {
            starts.extend(short(lines.len())?);
        }
        lines.extend(line.bytes().chain([b'\n']));
    }

    let mut packed = Vec::new();
    for part in &parts {
        packed.extend(short(part.len())?);
    }
    Ok([packed].into_iter().chain(parts).chain([lines]).flatten().collect())
}

/// Each different prices once, in the order they are met, which is the order that compresses best.
#[derive(Default)]
struct Prices<'a> {
    lines: Vec<&'a str>,
    known: BTreeMap<&'a str, u16>,
}

impl<'a> Prices<'a> {
    fn reference(&mut self, line: &'a str) -> u16 {
        *self.known.entry(line).or_insert_with(|| {
            self.lines.push(line);
            u16::try_from(self.lines.len() - 1).expect("a table has not so many prices")
        })
    }
}

#[derive(Default)]
struct Provider<'a> {
    ids: Vec<u8>,
    references: Vec<u16>,
    patterns: Vec<u8>,
    last: &'a str,
}

impl<'a> Provider<'a> {
    /// What an id has in common with the one before it, marked by the highest bit, and the rest.
    fn add(&mut self, id: &'a str) -> Result<(), String> {
        let common = id.bytes().zip(self.last.bytes()).take_while(|(a, b)| a == b).count();
        let head = u8::try_from(common).ok().filter(|common| *common < HEAD);
        self.ids.push(HEAD | head.ok_or_else(|| format!("{id} is too much like the one before"))?);
        self.ids.extend(&id.as_bytes()[common..]);
        self.last = id;
        Ok(())
    }
}

fn length(length: usize) -> Result<u8, String> {
    u8::try_from(length).map_err(|_| format!("a name of {length} bytes"))
}

fn short(offset: usize) -> Result<[u8; 2], String> {
    u16::try_from(offset).map(u16::to_le_bytes).map_err(|_| "the table has outgrown its offsets".to_owned())
}

/// On the first byte of a name, which no letter has.
const HEAD: u8 = 0x80;

/// Every so many lines of prices there is an offset.
const STRIDE: usize = 16;
