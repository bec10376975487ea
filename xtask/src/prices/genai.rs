//! Reading genai-prices.

use serde_json::Value;

use super::{list, rates::Rates, text};

/// A model's prices in the table's notation; the segments keep their order, the last that applies holds.
pub(super) fn prices(id: &str, prices: &Value) -> Result<String, String> {
    let Value::Array(segments) = prices else { return segment(id, prices) };
    let mut written = Vec::new();
    for part in segments {
        let rates = segment(id, &part["prices"])?;
        let constraint = &part["constraint"];
        written.push(match constraint["type"].as_str() {
            None => rates,
            Some("start_date") => format!("@{} {rates}", text(constraint, "start_date")?),
            Some("time_of_date") => format!(
                "~{}-{} {rates}",
                clock(text(constraint, "start_time")?)?,
                clock(text(constraint, "end_time")?)?
            ),
            Some(other) => return Err(format!("unknown constraint {other}")),
        });
    }
    if written.iter().all(|segment| !segment.bytes().any(|byte| byte.is_ascii_lowercase())) {
        return Ok(String::new());
    }
    Ok(written.join(";"))
}

fn segment(id: &str, prices: &Value) -> Result<String, String> {
    let prices = prices.as_object().ok_or("prices are not an object")?;
    if prices.is_empty() && id.ends_with(":free") {
        return Ok("i0 o0".to_owned());
    }
    let mut rates = Rates::default();
    for (name, price) in prices {
        if UNCOUNTED.contains(&name.as_str()) {
            continue;
        }
        let Some(&(_, letter, scale)) = RATES.iter().find(|(known, ..)| known == name) else {
            return Err(format!("unknown price {name}"));
        };
        let micro = |price: &Value| (price.as_f64().unwrap_or_default() * scale).round() as u64;
        if price.is_number() {
            rates.set(letter, micro(price), &[])?;
            continue;
        }
        let mut beyond = Vec::new();
        for tier in list(&price["tiers"])? {
            beyond.push((tier["start"].as_u64().ok_or("a tier without a start")?, micro(&tier["price"])));
        }
        rates.set(letter, micro(&price["base"]), &beyond)?;
    }
    Ok(rates.written())
}

/// `16:30:00Z` is `16:30`.
fn clock(time: &str) -> Result<&str, String> {
    time.strip_suffix(":00Z").ok_or_else(|| format!("a time that is not a whole UTC minute: {time}"))
}

/// Their names, our letters, and what makes micro-USD per million of them.
const RATES: &[(&str, char, f64)] = &[
    ("audio_hours", 'm', PER_HOUR),
    ("cache_audio_read_mtok", 'c', PER_MILLION),
    ("cache_image_read_mtok", 'd', PER_MILLION),
    ("cache_read_mtok", 'r', PER_MILLION),
    ("cache_write_1h_mtok", 'h', PER_MILLION),
    ("cache_write_mtok", 'w', PER_MILLION),
    ("input_audio_mtok", 'a', PER_MILLION),
    ("input_image_mtok", 'p', PER_MILLION),
    ("input_mtok", 'i', PER_MILLION),
    ("input_video_mtok", 'v', PER_MILLION),
    ("output_audio_mtok", 'b', PER_MILLION),
    ("output_image_mtok", 'g', PER_MILLION),
    ("output_mtok", 'o', PER_MILLION),
    ("output_reasoning_mtok", 't', PER_MILLION),
    ("output_video_mtok", 'f', PER_MILLION),
    ("requests_kcount", 'q', PER_THOUSAND),
    ("storage_searches_kcount", 'k', PER_THOUSAND),
    ("web_searches_kcount", 's', PER_THOUSAND),
];

/// Prices of what a usage record does not count; the length of heard sound is what `audio_hours` prices too.
const UNCOUNTED: &[&str] = &[
    "input_annotated_document_kpages",
    "input_audio_hours",
    "input_document_kpages",
    "input_text_messages_kcount",
    "output_citation_mtok",
];

const PER_HOUR: f64 = 1e12 / 3600.0;
const PER_MILLION: f64 = 1e6;
const PER_THOUSAND: f64 = 1e9;
