//! Text within the limits of who shows it: counted as they count it, escaped as they want it.

use crate::notice::{ISOLATE, ISOLATE_END, Notice, plain_char};

/// How a receiver takes text.
pub(super) struct Style {
    /// Length as the receiver counts it. Where that is not known, as who would count most.
    pub units: fn(&str) -> usize,
    /// What stands for a character that would mean something.
    pub escape: fn(char) -> Option<&'static str>,
    /// How a time is written.
    pub date: fn(i64) -> String,
    /// How many names with values, times included.
    pub most: usize,
    /// How long a name may be.
    pub name: usize,
    /// How long a value may be.
    pub value: usize,
    /// How much all names and values may come to.
    pub room: usize,
}

impl Style {
    /// The text in at most `limit` units, escapes included. It is cut between characters.
    pub(super) fn fit(&self, text: &str, limit: usize) -> String {
        let end_of_isolate = (self.units)(ISOLATE_END.encode_utf8(&mut [0; 4]));
        let (mut fitted, mut length, mut isolated) = (String::new(), 0, false);
        let mut rest = text.chars().filter_map(plain_char).peekable();
        while let Some(c) = rest.next() {
            let isolated_then = match c {
                ISOLATE if isolated => continue,
                ISOLATE_END if !isolated => continue,
                ISOLATE => true,
                ISOLATE_END => false,
                _ => isolated,
            };
            let mut buffer = [0; 4];
            let unit = (self.escape)(c).unwrap_or_else(|| c.encode_utf8(&mut buffer));
            let after = if rest.peek().is_some() { (self.units)(MORE) } else { 0 }
                + if isolated_then { end_of_isolate } else { 0 };
            let unit_length = (self.units)(unit);
            if length + unit_length + after > limit {
                if isolated {
                    fitted.push(ISOLATE_END);
                }
                fitted.push_str(MORE);
                return fitted;
            }
            fitted.push_str(unit);
            length += unit_length;
            isolated = isolated_then;
        }
        if isolated {
            fitted.push(ISOLATE_END);
        }
        fitted
    }

    /// What a notice has to say in names and values, and since when. What there is no room for is counted
    /// in a last value without a name.
    pub(super) fn pairs(&self, notice: &Notice) -> Vec<(String, String)> {
        let times = [("Since", Some(notice.started_ms)), ("Until", notice.ended_ms)];
        let times = times.into_iter().filter_map(|(name, ms)| Some((name.to_owned(), (self.date)(ms?))));
        let times: Vec<_> = times.collect();
        let length: usize = times.iter().map(|pair| self.length(pair)).sum();
        let mut pairs = self.facts(notice, self.most - times.len(), self.room - length);
        pairs.extend(times);
        pairs
    }

    /// The same without the times, in so many places and so much room.
    pub(super) fn facts(&self, notice: &Notice, most: usize, room: usize) -> Vec<(String, String)> {
        let mut left = room - ROOM_FOR_MORE;
        let mut pairs = Vec::new();
        for (name, value) in &notice.facts {
            let pair = (self.fit(name, self.name), self.fit(value, self.value));
            let is_last = pairs.len() + 1 == notice.facts.len();
            if pairs.len() == most - usize::from(!is_last) || self.length(&pair) > left {
                break;
            }
            left -= self.length(&pair);
            pairs.push(pair);
        }
        let more = notice.facts.len() - pairs.len();
        if more > 0 {
            pairs.push((String::new(), format!("… (+{more} more)")));
        }
        pairs
    }

    fn length(&self, (name, value): &(String, String)) -> usize {
        (self.units)(name) + (self.units)(value)
    }
}

/// UTF-16 code units.
pub(super) fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Bytes of the text in JSON, where the whole message is limited.
pub(super) fn json_bytes(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// Nothing means anything.
pub(super) fn literal(_: char) -> Option<&'static str> {
    None
}

/// HTML's own characters, and what would call somebody.
pub(super) fn html(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        c => calls_nobody(c),
    }
}

/// A space without width, or @channel might call the channel.
pub(super) fn calls_nobody(c: char) -> Option<&'static str> {
    (c == '@').then_some("@\u{200b}")
}

const MORE: &str = "…";
const ROOM_FOR_MORE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::plain;

    #[test]
    fn text_of_others_cannot_call_or_link() {
        for (text, escaped) in [
            ("a & b", "a &amp; b"),
            ("<!channel> <@U1>", "&lt;!channel&gt; &lt;@\u{200b}U1&gt;"),
            ("@here @channel", "@\u{200b}here @\u{200b}channel"),
            ("a\nb\u{0}\u{1b}[1m\u{202e}", "a b[1m"),
            ("&amp;", "&amp;amp;"),
        ] {
            assert_eq!(HTML.fit(text, 100), escaped);
        }
    }

    #[test]
    fn a_cut_never_parts_an_escape_or_a_character() {
        assert_eq!(HTML.fit("abc", 3), "abc");
        assert_eq!(HTML.fit("abcd", 3), "ab…");
        assert_eq!(HTML.fit("a<", 5), "a&lt;");
        assert_eq!(HTML.fit("a<", 4), "a…");
        assert_eq!(HTML.fit("a<b", 5), "a…");
        assert_eq!(HTML.fit("éé\u{0}", 2), "éé");
        // Two units in UTF-16, four bytes in UTF-8.
        assert_eq!(HTML.fit("a😀b", 3), "a…");
        assert_eq!(BYTES.fit("a😀b", 5), "a…");
        for style in [HTML, BYTES] {
            for limit in 3..80 {
                let cut = style.fit("a<b>&c@d é€😀 <!here> שלום", limit);
                assert!((style.units)(&cut) <= limit, "{limit}: {cut}");
            }
        }
    }

    #[test]
    fn what_turns_the_direction_of_writing_ends_where_it_began() {
        let text = format!("{}: 5xx share 3 %", plain("שלום עולם"));
        for limit in 3..60 {
            let cut = HTML.fit(&text, limit);
            let count = |c: char| cut.chars().filter(|found| *found == c).count();
            assert_eq!(count(ISOLATE), count(ISOLATE_END), "{limit}: {cut:?}");
            assert!(utf16(&cut) <= limit.max(3), "{limit}: {cut:?}");
        }
        assert_eq!(HTML.fit("a\u{2069}b\u{2068}c\u{2068}d", 20), "ab\u{2068}cd\u{2069}");
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let facts = |count: usize| (0..count).map(|n| (format!("n{n}"), "v".repeat(20))).collect();
        let pairs =
            |count: usize, style: Style| style.pairs(&Notice { facts: facts(count), ..Notice::test("x", 0) });
        // The last place is for the time.
        let five = Style { most: 5, ..HTML };
        assert_eq!(pairs(4, five).len(), 5);
        let (six, five) = (pairs(6, Style { most: 5, ..HTML }), pairs(5, Style { most: 5, ..HTML }));
        assert_eq!((six.len(), six[3].1.as_str()), (5, "… (+3 more)"));
        assert_eq!((five.len(), five[3].1.as_str()), (5, "… (+2 more)"));
        let narrow = pairs(6, Style { room: 100, ..HTML });
        assert_eq!(
            narrow.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["n0", "n1", "", "Since"]
        );
        assert_eq!(narrow[2].1, "… (+4 more)");
    }

    const HTML: Style = Style {
        units: utf16,
        escape: html,
        date: crate::time::rfc3339,
        most: 50,
        name: 20,
        value: 20,
        room: 1_000,
    };
    const BYTES: Style = Style { units: json_bytes, ..HTML };
}
