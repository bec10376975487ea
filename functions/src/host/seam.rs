//! What a host does for itself that needs no host: how headers come together, and how statements do.

use gateway::ports::Statement;
use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

/// Headers, each once: those that came in several lines are joined, as Workers has them. One that cannot be read is
/// left out.
pub(super) fn headers(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in entries {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value));
        let (Ok(name), Ok(value)) = parsed else { continue };
        match headers.entry(name) {
            Entry::Occupied(mut before) => {
                let joined = [before.get().as_bytes(), b", ", value.as_bytes()].concat();
                if let Ok(joined) = HeaderValue::from_bytes(&joined) {
                    before.insert(joined);
                }
            }
            Entry::Vacant(place) => drop(place.insert(value)),
        }
    }
    headers
}

/// Whether an answer of this media type comes bit by bit.
pub(super) fn is_stream(media_type: &[u8]) -> bool {
    const STREAMS: [&[u8]; 3] =
        [b"text/event-stream", b"application/vnd.amazon.eventstream", b"application/x-ndjson"];
    let begins = |stream: &&[u8]| {
        media_type.get(..stream.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(stream))
    };
    STREAMS.iter().any(begins)
}

/// Runs the statements with what runs one, so that all of them take effect or none. The second error is that they
/// could not be undone.
pub(super) fn batch<R, E>(
    statements: &[Statement],
    mut run: impl FnMut(&Statement) -> Result<R, E>,
) -> Result<Vec<R>, (E, Option<E>)> {
    let command = |sql| Statement::new(sql, []);
    if let [statement] = statements {
        return run(statement).map(|rows| vec![rows]).map_err(|error| (error, None));
    }
    run(&command("BEGIN IMMEDIATE")).map_err(|error| (error, None))?;
    let all: Result<Vec<R>, E> = statements.iter().map(&mut run).collect();
    // A transaction that could not be committed is still open: whatever came next would be part of it.
    all.and_then(|rows| run(&command("COMMIT")).map(|_| rows))
        .map_err(|error| (error, run(&command("ROLLBACK")).err()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_in_several_lines_is_one() {
        let lines =
            [("Anthropic-Beta", "a"), ("x", "\u{e9}"), ("anthropic-beta", "b,c"), ("a b", "d"), ("y", "\n")];
        let headers = headers(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        assert_eq!(headers.get_all("anthropic-beta").iter().collect::<Vec<_>>(), ["a, b,c"]);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn a_media_type_is_known_in_any_spelling() {
        for (media_type, expected) in [
            ("text/event-stream; charset=utf-8", true),
            ("Text/Event-Stream", true),
            ("application/x-ndjson", true),
            ("application/json", false),
            ("text/event", false),
            ("", false),
        ] {
            assert_eq!(is_stream(media_type.as_bytes()), expected, "{media_type}");
        }
    }

    #[test]
    fn whatever_fails_nothing_is_left_open() {
        for (failing, expected) in [
            ("", "BEGIN IMMEDIATE, a, b, COMMIT = ok"),
            ("BEGIN IMMEDIATE", "BEGIN IMMEDIATE = BEGIN IMMEDIATE"),
            ("a", "BEGIN IMMEDIATE, a, ROLLBACK = a"),
            ("b", "BEGIN IMMEDIATE, a, b, ROLLBACK = b"),
            ("COMMIT", "BEGIN IMMEDIATE, a, b, COMMIT, ROLLBACK = COMMIT"),
            ("a ROLLBACK", "BEGIN IMMEDIATE, a, ROLLBACK = a ROLLBACK"),
        ] {
            let mut ran = Vec::new();
            let statements = ["a", "b"].map(|sql| Statement::new(sql, []));
            let result = batch(&statements, |statement| {
                let sql = statement.sql.clone();
                ran.push(sql.clone());
                if failing.contains(&*sql) { Err(sql) } else { Ok(()) }
            });
            let end = match result {
                Ok(_) => "ok".to_owned(),
                Err((error, None)) => error,
                Err((error, Some(undone))) => format!("{error} {undone}"),
            };
            assert_eq!(format!("{} = {end}", ran.join(", ")), expected, "{failing}");
        }
        let alone = batch(&[Statement::new("a", [])], |statement| Ok::<_, ()>(statement.sql.clone()));
        assert_eq!(alone, Ok(vec!["a".to_owned()]));
    }
}
