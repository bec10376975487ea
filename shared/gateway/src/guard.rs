//! What a caller says on a socket, looked at before it goes on: a session can be given other models than the one it was
//! opened with, and the key must be allowed those too.

use std::rc::Rc;

use llm::{Provider, front::ErrorBody, operation::realtime};

use crate::{
    Error,
    auth::Caller,
    plan::{self, Choice},
};

/// Lets through what the caller may say.
#[derive(Debug)]
pub struct Guard {
    caller: Rc<Caller>,
    provider: &'static Provider,
    /// What the session was opened with.
    model: String,
    call_id: String,
    refusals: u32,
}

impl Guard {
    pub(crate) fn new(caller: Rc<Caller>, choice: &Choice<'_>, call_id: &str) -> Self {
        let (provider, model) = (choice.provider, choice.model.to_owned());
        Self { caller, provider, model, call_id: call_id.to_owned(), refusals: 0 }
    }

    /// What to send on instead of a message; nothing: it goes as it is. An error is the answer to a message that does
    /// not go on.
    pub fn check(&mut self, message: &[u8]) -> Result<Option<String>, String> {
        let mut failure = None;
        let checked = realtime::check(message, &mut |name| {
            self.named(name).map_err(|error| {
                failure = Some(error);
                llm::Error::invalid("model", "this model is refused")
            })
        });
        checked.map_err(|error| {
            let error = failure.unwrap_or(Error::Request(error));
            let body = ErrorBody {
                message: error.to_string().into(),
                status: error.status(),
                param: error.param(),
                code: Some(error.code()),
                request_id: Some(&self.call_id),
            };
            self.refusals += 1;
            realtime::refusal(&body, &format!("event_{}_{}", self.call_id, self.refusals), message)
        })
    }

    /// The provider's name for a model, where the caller's is another: callers name models here as everywhere, or, as
    /// the provider's own clients do, by the provider's names.
    fn named(&self, name: &str) -> Result<Option<String>, Error> {
        let opened_with = Choice { provider: self.provider, model: &self.model };
        match plan::plan(name, &self.caller) {
            Ok(choices) => {
                let here = choices.iter().find(|choice| choice.provider.name == self.provider.name);
                let why = || {
                    let provider = self.provider.name;
                    let message = format!("`{name}` is none of `{provider}`, which serves this session.");
                    Error::from(llm::Error::unsupported("model", message))
                };
                here.map(|choice| Some(choice.model.to_owned())).ok_or_else(why)
            }
            Err(Error::ModelUnknown(_)) => {
                plan::check_named(&[name.to_owned()], &opened_with, &self.caller).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }
}
