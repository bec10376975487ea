//! The lines of a batch's file, on their way to the provider. Each asks for a model as every caller does; what
//! the key may not use does not go through, and the rest gets the provider's own names.

use std::{collections::BTreeSet, rc::Rc};

use llm::{Provider, kept};

use crate::{Error, auth::Caller, plan};

/// Rewrites lines, cut anywhere.
pub struct Lines {
    caller: Rc<Caller>,
    provider: &'static Provider,
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
    number: usize,
    longest: usize,
    models: BTreeSet<String>,
}

impl Lines {
    /// Lines of this caller's for this provider, none longer than `longest`.
    pub fn new(caller: Rc<Caller>, provider: &'static Provider, longest: usize) -> Self {
        Self { caller, provider, held: Vec::new(), number: 0, longest, models: BTreeSet::new() }
    }

    /// The models asked for so far, as the caller named them, and those named beside them, as a JSON list.
    pub fn models(&self) -> String {
        serde_json::to_string(&self.models).expect("names are JSON")
    }

    /// Takes a piece; appends the lines that are now whole.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.held.extend_from_slice(piece);
            if self.held.len() > self.longest {
                let message = format!("Line {} is longer than {} bytes.", self.number + 1, self.longest);
                return Err(llm::Error::invalid("file", message).into());
            }
            if piece.ends_with(b"\n") {
                self.finish(out)?;
            }
        }
        Ok(())
    }

    /// Appends the line at hand, whose end has come.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.number += 1;
        let line = std::mem::take(&mut self.held);
        if line.trim_ascii().is_empty() {
            out.extend_from_slice(&line);
            return Ok(());
        }
        let kept::Line { model, model_at: at, others } = kept::line(&line, self.number)?;
        let choices = plan::plan(&model, &self.caller)?;
        let Some(choice) = choices.iter().find(|choice| choice.provider.name == self.provider.name) else {
            let (number, provider) = (self.number, self.provider.name);
            let message = format!(
                "Line {number}: `{model}` is none of `{provider}`, which gets this file. `{}` names another provider.",
                super::objects::PROVIDER
            );
            return Err(llm::Error::invalid("file", message).into());
        };
        plan::check_named(&others, choice, &self.caller)?;
        out.extend_from_slice(&line[..at.start]);
        serde_json::to_writer(&mut *out, choice.model).expect("a name is JSON");
        out.extend_from_slice(&line[at.end..]);
        // Another key may make the batch, which must be allowed all of them.
        let others = others.iter().filter(|other| *other != choice.model);
        self.models.extend(others.map(|other| format!("{}/{other}", self.provider.name)));
        self.models.insert(model.into_owned());
        if self.models.len() > MAX_MODELS {
            let message = format!("A batch may ask for {MAX_MODELS} models at most.");
            return Err(llm::Error::invalid("file", message).into());
        }
        Ok(())
    }
}

const MAX_MODELS: usize = 100;
