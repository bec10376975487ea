//! Silences: which alerts nobody is to be told of, and when.

use std::collections::BTreeMap;

use crate::FieldError;

/// What an alert is about, by name: `rule`, `severity`, `tenant_id`, `route` and so on.
pub type Labels = BTreeMap<String, String>;

/// One condition on a label: `route=/v1/chat*`, `severity!=page`. A star stands for any text, and a label that
/// is not there is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    label: String,
    is_equal: bool,
    value: String,
}

impl Matcher {
    /// Reads a condition.
    pub fn parse(text: &str) -> Option<Matcher> {
        let (label, value) = text.split_once('=')?;
        let (label, is_equal) = match label.strip_suffix('!') {
            Some(label) => (label, false),
            None => (label, true),
        };
        let label = label.trim();
        let is_name = !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
        is_name.then(|| Matcher { label: label.to_owned(), is_equal, value: value.trim().to_owned() })
    }

    /// Whether the condition holds.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.label).map_or("", String::as_str);
        is_like(&self.value, value) == self.is_equal
    }
}

/// Reads conditions, at least one: nobody silences everything without saying so.
pub fn parse_matchers(texts: &[String]) -> Result<Vec<Matcher>, FieldError> {
    let wrong = || FieldError::new("matchers", "must be a list of `label=value` or `label!=value`");
    if texts.is_empty() {
        return Err(wrong());
    }
    texts.iter().map(|text| Matcher::parse(text).ok_or_else(wrong)).collect()
}

/// A silence, or a maintenance window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// `sil_…`
    pub id: String,
    /// All of them must hold.
    pub matchers: Vec<Matcher>,
    /// From here.
    pub starts_ms: i64,
    /// To here, exclusively.
    pub ends_ms: i64,
    /// It comes back after this long.
    pub every_ms: Option<i64>,
}

impl Silence {
    /// Whether it is on.
    pub fn is_on(&self, now_ms: i64) -> bool {
        let since_ms = now_ms - self.starts_ms;
        let since_ms = self.every_ms.map_or(since_ms, |every_ms| since_ms.min(since_ms.rem_euclid(every_ms)));
        (0..self.ends_ms - self.starts_ms).contains(&since_ms)
    }

    /// Whether it is about this alert.
    pub fn covers(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }
}

/// Whether a text is as a pattern has it, with stars for any text.
pub fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, like) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("ab*bc", "abc", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("**", "x", true),
            ("/v1/*", "/v2/chat", false),
        ] {
            assert_eq!(is_like(pattern, text), like, "{pattern} {text}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let labels: Labels =
            [("rule", "error-share"), ("tenant_id", "tn_a"), ("route", "/v1/chat/completions")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        for (matchers, covers) in [
            ("rule=error-share", true),
            ("rule=error-*, route=/v1/*", true),
            ("rule=error-share, tenant_id=tn_b", false),
            ("tenant_id!=tn_b", true),
            ("tenant_id != tn_a", false),
            ("provider=", true),
            ("provider!=openai", true),
            ("provider=*", true),
            ("provider=openai", false),
        ] {
            let texts: Vec<String> = matchers.split(", ").map(str::to_owned).collect();
            let matchers = parse_matchers(&texts).unwrap();
            let silence = Silence { id: String::new(), matchers, starts_ms: 0, ends_ms: 1, every_ms: None };
            assert_eq!(silence.covers(&labels), covers, "{texts:?}");
        }
    }

    #[test]
    fn a_condition_that_is_none_is_refused() {
        for texts in [&[][..], &["rule"], &["=x"], &["a b=c"], &["rule=a", "!=b"]] {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(parse_matchers(&texts).unwrap_err().field, "matchers", "{texts:?}");
        }
    }

    #[test]
    fn a_silence_is_on_from_its_start_to_its_end() {
        let on = |every_ms: Option<i64>| {
            let silence = Silence { id: String::new(), matchers: vec![], starts_ms: 3, ends_ms: 5, every_ms };
            (0..16).map(|now_ms| if silence.is_on(now_ms) { 's' } else { '-' }).collect::<String>()
        };
        assert_eq!(on(None), "---ss-----------");
        assert_eq!(on(Some(7)), "---ss-----ss----");
    }
}
