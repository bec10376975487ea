//! A few fields of a body, read without building the rest of it.

use std::{borrow::Cow, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::Error;

/// The fields of these names, as they stand in the body. The first `read` of them are what the gateway goes
/// by: some servers do not mind the case of a name, and what we read and what they read must be the same.
pub(crate) fn fields<'a, const N: usize>(
    body: &'a [u8],
    names: [&'static str; N],
    read: usize,
) -> Result<[Option<&'a RawValue>; N], Error> {
    let mut found = [None; N];
    find(body, &names, read, &mut found)?;
    Ok(found)
}

fn find<'a>(
    body: &'a [u8],
    names: &[&'static str],
    read: usize,
    found: &mut [Option<&'a RawValue>],
) -> Result<(), Error> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::Invalid { message: "The body must be a JSON object.".to_owned(), param: None });
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Names { names, read, found }.deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(malformed)
}

/// Where a value stands in the body it was read from.
pub(crate) fn place(value: &RawValue, body: &[u8]) -> Range<usize> {
    let start = value.get().as_ptr() as usize - body.as_ptr() as usize;
    start..start + value.get().len()
}

/// Where a field stands, its name included.
pub(crate) fn member(value: &RawValue, body: &[u8]) -> Range<usize> {
    let at = place(value, body);
    let before = body.get(..at.start).unwrap_or_default();
    // Back over the colon and the quote that ends the name, to the one that begins it.
    let end = before.iter().rposition(|letter| *letter == b'"').unwrap_or_default();
    let start = before.get(..end).unwrap_or_default().iter().rposition(|letter| *letter == b'"');
    start.unwrap_or_default()..at.end
}

/// A field with one of the commas beside it, if there is any.
pub(crate) fn with_comma(at: Range<usize>, body: &[u8]) -> Range<usize> {
    let (before, after) = (&body[..at.start], &body[at.end..]);
    let next = after.iter().position(|letter| !letter.is_ascii_whitespace());
    if let Some(next) = next.filter(|next| after.get(*next) == Some(&b',')) {
        return at.start..at.end + next + 1;
    }
    let last = before.iter().rposition(|letter| !letter.is_ascii_whitespace());
    match last.filter(|last| before.get(*last) == Some(&b',')) {
        Some(comma) => comma..at.end,
        None => at,
    }
}

/// The values of a list, as they stand in it; `None` where it is no list.
pub(crate) fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// What of a list must go for some of its values to be gone, with as many commas. `items` are places in order.
pub(crate) fn gone(items: &[Range<usize>], is_gone: &[bool]) -> Vec<Range<usize>> {
    let last_kept = is_gone.iter().rposition(|is_gone| !is_gone);
    // Behind the last that stays nothing stays, the comma before it included.
    let tail = match last_kept {
        Some(kept) => items[kept].end..items[items.len() - 1].end,
        None => items.first().map_or(0..0, |first| first.start..items[items.len() - 1].end),
    };
    let before = items.windows(2).zip(is_gone).take(last_kept.unwrap_or_default());
    let mut cuts: Vec<Range<usize>> =
        before.filter(|(_, is_gone)| **is_gone).map(|(pair, _)| pair[0].start..pair[1].start).collect();
    cuts.push(tail);
    cuts
}

/// A body without these pieces, each of which ends before the next begins.
pub(crate) fn without(body: &[u8], mut cuts: Vec<Range<usize>>) -> Vec<u8> {
    cuts.sort_by_key(|at| at.start);
    let mut left = Vec::with_capacity(body.len());
    let mut copied = 0;
    for at in cuts {
        left.extend_from_slice(&body[copied..at.start]);
        copied = at.end;
    }
    left.extend_from_slice(&body[copied..]);
    left
}

/// A body without some of it, and where that stood.
pub(crate) type Cut = (Vec<u8>, Vec<String>);

/// A body of `messages` without the blocks of `content` that are like this, and where they stood. A message of which
/// nothing is left goes too. `None` where there are none, or where it cannot be told.
pub(crate) fn without_blocks(body: &[u8], is_like: &dyn Fn(&RawValue) -> bool) -> Option<Cut> {
    let [messages] = fields(body, ["messages"], 0).ok()?;
    let messages = list(messages?)?;
    let (mut cuts, mut names) = (Vec::new(), Vec::new());
    let mut is_empty = vec![false; messages.len()];
    for (at, message) in messages.iter().enumerate().filter(|(_, message)| message.get().starts_with('{')) {
        let Ok([Some(content)]) = fields(message.get().as_bytes(), ["content"], 0) else { continue };
        let Some(blocks) = list(content) else { continue };
        let is_gone: Vec<bool> = blocks.iter().map(|block| is_like(block)).collect();
        let lost = is_gone.iter().enumerate().filter(|(_, is_gone)| **is_gone);
        let before = names.len();
        names.extend(lost.map(|(block, _)| format!("messages[{at}].content[{block}]")));
        if names.len() - before == blocks.len() {
            is_empty[at] = !blocks.is_empty();
        } else if names.len() > before {
            let places: Vec<Range<usize>> = blocks.iter().map(|block| place(block, body)).collect();
            cuts.extend(gone(&places, &is_gone));
        }
    }
    let places: Vec<Range<usize>> = messages.iter().map(|message| place(message, body)).collect();
    if is_empty.contains(&true) {
        cuts.extend(gone(&places, &is_empty));
    }
    (!names.is_empty()).then(|| (without(body, cuts), names))
}

/// The required model, and where it stands.
pub(crate) fn model<'a>(
    value: Option<&'a RawValue>,
    body: &[u8],
) -> Result<(Cow<'a, str>, Range<usize>), Error> {
    let Some(model) = value.filter(|model| model.get() != "null") else {
        return Err(Error::invalid("model", "`model` is required: `provider/model` or an alias."));
    };
    Ok((text(model, "model")?, place(model, body)))
}

/// Whether the answer is to be streamed.
pub(crate) fn stream(value: Option<&RawValue>) -> Result<bool, Error> {
    match value.map(RawValue::get) {
        Some("true") => Ok(true),
        None | Some("false" | "null") => Ok(false),
        Some(_) => Err(Error::invalid("stream", "`stream` must be true or false.")),
    }
}

/// A string.
pub(crate) fn text<'a>(value: &'a RawValue, field: &str) -> Result<Cow<'a, str>, Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'a>>(value.get())
        .map(|text| text.0)
        .map_err(|_| Error::invalid(field, format!("`{field}` must be a string.")))
}

/// Whether a field says more than that it is off.
pub(crate) fn is_set(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| !matches!(value.get(), "null" | "false"))
}

/// Whether some server may take this name for the one that is plainly `plain`: Google's take two spellings of each,
/// others do not mind capitals. `plain` is in small letters, without underscores.
pub(crate) fn folds(name: &str, plain: &str) -> bool {
    name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).eq(plain.bytes())
}

/// A part of an address without its percent-encoding; `None` where that is broken.
pub(crate) fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A body that cannot be read.
pub(crate) fn malformed(error: serde_json::Error) -> Error {
    let message = error.to_string();
    match message.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => Error::invalid(field, format!("`{field}` occurs twice, or in another spelling.")),
        None => Error::Invalid { message: format!("The body is not valid JSON: {message}."), param: None },
    }
}

/// Not by the number of names: one piece of code reads any.
struct Names<'a, 'de> {
    names: &'a [&'static str],
    read: usize,
    found: &'a mut [Option<&'de RawValue>],
}

impl<'de> DeserializeSeed<'de> for Names<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let Self { names, read, found } = self;
        while let Some(Key(key)) = map.next_key()? {
            let Some(at) = names.iter().position(|name| *name == key) else {
                let mut read = names.iter().take(read);
                if let Some(known) = read.find(|known| known.eq_ignore_ascii_case(&key)) {
                    return Err(A::Error::duplicate_field(known));
                }
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if found[at].replace(map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(names[at]));
            }
        }
        Ok(())
    }
}
