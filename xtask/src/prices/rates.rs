//! Rates as the table writes them: a letter for the kind, and USD per million of what is counted.

/// The rates of one segment, in micro-USD per million: at first, and beyond each of some numbers of input tokens.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    pub(super) rates: Vec<(char, Vec<u64>)>,
    starts: Vec<u64>,
}

impl Rates {
    /// Sets a kind's rate, and what it is beyond each start.
    pub(super) fn set(&mut self, letter: char, base: u64, beyond: &[(u64, u64)]) -> Result<(), String> {
        let starts: Vec<u64> = beyond.iter().map(|(start, _)| *start).collect();
        if !starts.is_empty() {
            if !self.starts.is_empty() && self.starts != starts {
                return Err("two kinds whose tiers start at different places".to_owned());
            }
            self.starts = starts;
        }
        let rates = std::iter::once(base).chain(beyond.iter().map(|(_, rate)| *rate)).collect();
        self.rates.push((letter, rates));
        Ok(())
    }

    pub(super) fn base(&self, letter: char) -> Option<u64> {
        self.rates.iter().find(|(known, _)| *known == letter).map(|(_, rates)| rates[0])
    }

    /// `i3/6 o15/22.5 r0.3/0.6 >200000`. Empty where nothing is priced but what depends on another price.
    pub(super) fn written(mut self) -> String {
        if self.rates.iter().all(|(letter, _)| "rwhcds".contains(*letter)) {
            return String::new();
        }
        self.rates.sort_by_key(|(letter, _)| ORDER.find(*letter));
        let is_flat = |rates: &[u64]| rates.iter().all(|rate| *rate == rates[0]);
        let mut words: Vec<String> = self
            .rates
            .iter()
            .map(|(letter, rates)| {
                let shown = if is_flat(rates) { &rates[..1] } else { rates };
                format!("{letter}{}", shown.iter().copied().map(usd).collect::<Vec<_>>().join("/"))
            })
            .collect();
        if self.rates.iter().any(|(_, rates)| !is_flat(rates)) {
            let starts: Vec<String> = self.starts.iter().map(u64::to_string).collect();
            words.push(format!(">{}", starts.join("/")));
        }
        words.join(" ")
    }
}

/// Micro-USD as USD.
pub(super) fn usd(micro: u64) -> String {
    let written = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    written.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The order they are written in: the frequent ones first.
const ORDER: &str = "iorwhtapvcdbgfmxnusekq";
