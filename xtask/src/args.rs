//! Command line words: flags and values by name, and a suggestion for what was meant.

use crate::Outcome;

/// The words after the command's name, taken out one by one.
pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn new(words: &[String]) -> Self {
        Self(words.to_vec())
    }

    /// Whether the flag was given.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// The value of `--name value` or `--name=value`; the first, when given more than once.
    pub(crate) fn value(&mut self, name: &str) -> Outcome<Option<String>> {
        let assigned = format!("{name}=");
        let Some(at) = self.0.iter().position(|word| word == name || word.starts_with(&assigned)) else {
            return Ok(None);
        };
        let word = self.0.remove(at);
        if let Some(value) = word.strip_prefix(&assigned) {
            return Ok(Some(value.to_owned()));
        }
        if at < self.0.len() && !self.0[at].starts_with("--") {
            return Ok(Some(self.0.remove(at)));
        }
        Err(format!("{name} wants a value."))
    }

    /// What is left, which may not be a flag.
    pub(crate) fn rest(self) -> Outcome<Vec<String>> {
        match self.0.iter().find(|word| word.starts_with('-')) {
            Some(flag) => Err(format!("There is no option `{flag}`; `--help` after the command lists them.")),
            None => Ok(self.0),
        }
    }
}

/// One of the words allowed, or an error that names them.
pub(crate) fn one_of<'a>(what: &str, word: &str, allowed: &[&'a str]) -> Outcome<&'a str> {
    allowed.iter().copied().find(|known| *known == word).ok_or_else(|| {
        format!(
            "There is no {what} `{word}`.{} Known: {}.",
            hint(word, allowed.iter().copied()),
            allowed.join(", ")
        )
    })
}

/// ` Did you mean …?`, when a known word is near; nothing otherwise.
pub(crate) fn hint<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    // A beginning is as good as the whole word.
    let edits = |to: &str| if to.starts_with(word) { 0 } else { distance(word, to) };
    let near = known.map(|candidate| (edits(candidate), candidate)).filter(|(edits, _)| *edits <= 2).min();
    near.map_or(String::new(), |(_, candidate)| format!(" Did you mean `{candidate}`?"))
}

/// How many letters to insert, drop or change to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn values_come_after_a_space_or_an_equals_sign() {
        for line in ["a --port 1 b", "a --port=1 b", "--port 1 a b", "a b --port=1"] {
            let mut args = args(line);
            assert_eq!(args.value("--port"), Ok(Some("1".to_owned())), "{line}");
            assert_eq!(args.rest(), Ok(vec!["a".to_owned(), "b".to_owned()]), "{line}");
        }
        assert!(args("--port").value("--port").is_err());
        assert!(args("--port --reset").value("--port").is_err());
        assert!(args("a --prot 1").rest().is_err());
    }

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let cases = [
            ("tset", " Did you mean `test`?"),
            ("bulid", " Did you mean `build`?"),
            ("set", " Did you mean `setup`?"),
            ("deploy", ""),
        ];
        for (word, expected) in cases {
            assert_eq!(hint(word, ["setup", "build", "dev", "test"].into_iter()), expected, "{word}");
        }
    }
}
