//! A conversation in which two sides take turns, and what tools gave back opens the user's.

use std::collections::HashSet;

use serde::Serialize;

use crate::chat::Part;

/// What one side says before the other does, in blocks.
#[derive(Serialize)]
pub(crate) struct Turn<B> {
    pub(crate) role: &'static str,
    pub(crate) content: Vec<B>,
    /// The tool results that `content` is to open with.
    #[serde(skip)]
    results: Vec<B>,
    #[serde(skip)]
    pub(crate) has_results: bool,
}

impl<B> Turn<B> {
    fn new(role: &'static str, content: Vec<B>) -> Self {
        Self { role, content, results: Vec::new(), has_results: false }
    }

    /// All of it is said: puts what was called for before everything else.
    pub(crate) fn settle(&mut self) {
        self.has_results = !self.results.is_empty();
        self.results.append(&mut self.content);
        self.content = std::mem::take(&mut self.results);
    }
}

/// Adds to the turn of `role`, a new one where the other side spoke last.
pub(crate) fn say<B>(turns: &mut Vec<Turn<B>>, role: &'static str, blocks: Vec<B>) {
    match turns.last_mut() {
        // All that was said was empty.
        _ if blocks.is_empty() => {}
        Some(turn) if turn.role == role => turn.content.extend(blocks),
        _ => turns.push(Turn::new(role, blocks)),
    }
}

/// What tools gave back in the user's turn, which begins with it where the assistant spoke last.
pub(crate) fn results<B>(turns: &mut Vec<Turn<B>>) -> &mut Vec<B> {
    if turns.last().is_none_or(|turn| turn.role != "user") {
        turns.push(Turn::new("user", Vec::new()));
    }
    let turn = turns.last_mut().expect("a turn was added where there was none");
    &mut turn.results
}

/// The calls there were so far: a result must be that of one.
#[derive(Default)]
pub(crate) struct Calls(HashSet<String>);

impl Calls {
    /// Takes the next message's parts; the first result in it of a call that nobody made.
    pub(crate) fn stray<'a>(&mut self, parts: &'a [Part]) -> Option<&'a str> {
        parts.iter().find_map(|part| match part {
            Part::ToolCall(call) => {
                self.0.insert(call.id.clone());
                None
            }
            Part::ToolResult(result) => {
                Some(result.call_id.as_str()).filter(|call_id| !self.0.contains(*call_id))
            }
            _ => None,
        })
    }
}
