//! From samples to numbers, and from numbers to tables.

use serde_json::{Value, json};

use super::Kind;
use super::load::Seen;
use super::mock::CHUNKS;
use super::targets::{BARE, GATEWAY, MOCK, Stored, TRANSLATED};

/// One target under one kind of load: a value a round.
#[derive(Default)]
pub(super) struct Series {
    pub(super) per_second: Vec<f64>,
    /// Milliseconds; of a stream, until its first chunk.
    pub(super) p50: Vec<f64>,
    pub(super) p99: Vec<f64>,
    /// Milliseconds from a chunk's sending to its arrival; only of streams.
    pub(super) chunk_p50: Vec<f64>,
    pub(super) chunk_p99: Vec<f64>,
    /// Processor time of the target, in microseconds a call; where the system tells.
    pub(super) cpu_us: Vec<f64>,
}

impl Series {
    pub(super) fn add(&mut self, mut seen: Seen, seconds: f64) {
        self.per_second.push(seen.latencies.len() as f64 / seconds);
        self.p50.push(percentile_ms(&mut seen.latencies, 0.50));
        self.p99.push(percentile_ms(&mut seen.latencies, 0.99));
        if !seen.delays.is_empty() {
            self.chunk_p50.push(percentile_ms(&mut seen.delays, 0.50));
            self.chunk_p99.push(percentile_ms(&mut seen.delays, 0.99));
        }
    }

    fn json(&self) -> Value {
        json!({
            "per_second": self.per_second,
            "p50_ms": self.p50,
            "p99_ms": self.p99,
            "chunk_p50_ms": self.chunk_p50,
            "chunk_p99_ms": self.chunk_p99,
            "cpu_us": self.cpu_us,
        })
    }
}

/// Everything that was measured.
pub(super) struct Report {
    pub(super) rounds: usize,
    pub(super) connections: usize,
    pub(super) names: Vec<&'static str>,
    /// A series for each name.
    pub(super) loads: Vec<(Kind, Vec<Series>)>,
    pub(super) records: Vec<Records>,
    pub(super) wasm: Vec<(String, String)>,
}

/// Calls made of a gateway, and what it has on record.
pub(super) struct Records {
    pub(super) name: &'static str,
    pub(super) made: u64,
    pub(super) failures: u64,
    pub(super) stored: Stored,
}

impl Report {
    /// The tables, in Markdown that reads well as text.
    pub(super) fn tables(&self) -> String {
        let mut parts: Vec<String> = self.loads.iter().map(|(kind, all)| self.table(*kind, all)).collect();
        parts.extend(self.translation());
        parts.retain(|part| !part.is_empty());
        for records in &self.records {
            let Records { name, made, failures, stored } = records;
            parts.push(format!(
                "Records of {name}: {made} calls made ({failures} failed), {} on record ({} of them ok), {} lost; \
                 it reports {} as lost.\n",
                stored.calls,
                stored.ok,
                made.saturating_sub(stored.calls),
                stored.reported_lost
            ));
        }
        if !self.wasm.is_empty() {
            let mut rows = vec![vec!["Wasm".to_owned(), String::new()]];
            rows.extend(self.wasm.iter().map(|(what, value)| vec![what.clone(), value.clone()]));
            parts.push(markdown(&rows));
        }
        parts.join("\n")
    }

    fn table(&self, kind: Kind, all: &[Series]) -> String {
        let of = |name| self.series(all, name);
        let (Some(mock), Some(bare)) = (of(MOCK), of(BARE)) else { return String::new() };
        let added = |value: &[f64], base: &[f64]| format!("{:+.2}", median(value) - median(base));
        let mut rows = vec![match kind {
            Kind::Plain => row(&[
                &format!("Whole answers, {} connections", self.connections),
                "calls/s",
                "p50 ms",
                "p99 ms",
                "CPU a call, µs",
                "calls/s to pass-through",
            ]),
            Kind::Single => row(&[
                "Whole answers, 1 connection",
                "p50 ms",
                "p99 ms",
                "added to the mock p50",
                "added to the mock p99",
                "added to pass-through p50",
            ]),
            Kind::Streamed => row(&[
                &format!("Streams, {} connections", self.connections),
                "first chunk p50 ms",
                "first chunk p99 ms",
                "added to pass-through p50",
                "delay of a chunk p50 ms",
                "delay of a chunk p99 ms",
                "CPU a call, µs",
            ]),
            // One table shows both.
            Kind::Long | Kind::LongStreamed => return String::new(),
        }];
        for (name, series) in self.names.iter().zip(all).filter(|(name, _)| kind.visits(name)) {
            let cpu = match &series.cpu_us[..] {
                [] => String::new(),
                values => format!("{:.0}", median(values)),
            };
            let (p50, p99) = (&series.p50[..], &series.p99[..]);
            rows.push(match kind {
                Kind::Plain => row(&[
                    name,
                    &format!("{:.0}", median(&series.per_second)),
                    &two(p50),
                    &two(p99),
                    &cpu,
                    &two(&ratios(&series.per_second, &bare.per_second)),
                ]),
                Kind::Single => row(&[
                    name,
                    &two(p50),
                    &two(p99),
                    &added(p50, &mock.p50),
                    &added(p99, &mock.p99),
                    &added(p50, &bare.p50),
                ]),
                Kind::Streamed => row(&[
                    name,
                    &two(p50),
                    &two(p99),
                    &added(p50, &bare.p50),
                    &two(&series.chunk_p50),
                    &two(&series.chunk_p99),
                    &cpu,
                ]),
                Kind::Long | Kind::LongStreamed => continue,
            });
        }
        let mut text = markdown(&rows);
        if let (Kind::Plain, Some(gateway)) = (kind, of(GATEWAY)) {
            let ratios = ratios(&gateway.per_second, &bare.per_second);
            let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            text += &format!(
                "\n{GATEWAY} to pass-through, round by round: {}; median {}.\n",
                each.join(", "),
                two(&ratios)
            );
        }
        text
    }

    fn series<'a>(&self, all: &'a [Series], name: &str) -> Option<&'a Series> {
        self.names.iter().position(|known| *known == name).map(|at| &all[at])
    }

    /// What translating costs beside forwarding, in processor time; of a stream, that of its chunks.
    fn translation(&self) -> Option<String> {
        let of = |kind| self.loads.iter().find(|(known, _)| *known == kind).map(|(_, all)| all);
        let (whole, streamed) = (of(Kind::Long)?, of(Kind::LongStreamed)?);
        let mut rows = vec![row(&[
            &format!("Calls of 4 kB, {} connections", self.connections),
            "calls/s",
            "CPU a call, µs",
            "CPU a stream, µs",
            "added to a call, µs",
            "added to a chunk, µs",
        ])];
        let cpu = |all, name| self.series(all, name).map(|series| median(&series.cpu_us));
        let (call, stream) = (cpu(whole, GATEWAY)?, cpu(streamed, GATEWAY)?);
        for (what, name) in
            [("Chat to Chat, forwarded", GATEWAY), ("Chat to Messages, translated", TRANSLATED)]
        {
            let (one, many) = (cpu(whole, name)?, cpu(streamed, name)?);
            rows.push(row(&[
                what,
                &format!("{:.0}", median(&self.series(whole, name)?.per_second)),
                &format!("{one:.0}"),
                &format!("{many:.0}"),
                &format!("{:+.0}", one - call),
                &format!("{:+.1}", (many - stream) / CHUNKS as f64),
            ]));
        }
        Some(markdown(&rows))
    }

    pub(super) fn json(&self) -> Value {
        let loads = self.loads.iter().map(|(kind, all)| {
            let targets = self.names.iter().zip(all);
            let targets = targets.map(|(name, series)| ((*name).to_owned(), series.json()));
            (kind.name().to_owned(), Value::Object(targets.collect()))
        });
        let records = self.records.iter().map(|records| {
            json!({
                "name": records.name,
                "made": records.made,
                "failed": records.failures,
                "stored": records.stored.calls,
                "ok": records.stored.ok,
                "reported_lost": records.stored.reported_lost,
            })
        });
        json!({
            "rounds": self.rounds,
            "connections": self.connections,
            "loads": Value::Object(loads.collect()),
            "records": records.collect::<Vec<_>>(),
            "wasm": self.wasm,
        })
    }
}

fn ratios(values: &[f64], base: &[f64]) -> Vec<f64> {
    values.iter().zip(base).map(|(value, base)| value / base).collect()
}

fn two(values: &[f64]) -> String {
    format!("{:.2}", median(values))
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// The smallest value that so many of the samples do not exceed.
fn percentile_ms(samples: &mut [u64], part: f64) -> f64 {
    if samples.is_empty() {
        return f64::NAN;
    }
    samples.sort_unstable();
    let rank = (samples.len() as f64 * part).ceil() as usize;
    samples[rank.clamp(1, samples.len()) - 1] as f64 / 1e3
}

/// A table whose columns line up. The first row is its head; numbers stand to the right.
fn markdown(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            text += &if column == 0 { format!("| {cell}{pad} ") } else { format!("| {pad}{cell} ") };
        }
        text += "|\n";
        if at == 0 {
            for (column, width) in widths.iter().enumerate() {
                text += &if column == 0 {
                    format!("|{}", "-".repeat(width + 2))
                } else {
                    format!("|{}:", "-".repeat(width + 1))
                };
            }
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_medians_are_in_the_middle() {
        let mut samples: Vec<u64> = (1..=200).rev().map(|n| n * 1_000).collect();
        assert_eq!(percentile_ms(&mut samples, 0.50), 100.0);
        assert_eq!(percentile_ms(&mut samples, 0.99), 198.0);
        assert_eq!(percentile_ms(&mut [7_000], 0.99), 7.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn tables_line_up() {
        let rows = [row(&["of", "ms"]), row(&["Hypergate", "10.25"])];
        assert_eq!(markdown(&rows), "| of        |    ms |\n|-----------|------:|\n| Hypergate | 10.25 |\n");
    }
}
