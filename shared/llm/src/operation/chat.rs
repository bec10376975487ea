//! Chat: every caller's protocol, with every provider's.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Answered, Ask, Delivery, Operation, Outgoing, Streamed, Whole, names};
use crate::{
    Error, Provider, Target, UpstreamError, capability,
    chat::{self, Event},
    demo,
    dialect::{LABELS, bend, messages::Invoke},
    front::{ErrorBody, Front, Head, Peek},
    provider::{self, Api, Betas, Hosting},
    translate::{self, Translate},
};

/// Chat by callers who speak what this front does. A provider that speaks it too gets the caller's own bytes;
/// any other gets the unified request through its dialect.
pub struct Chat(pub &'static dyn Front);

impl Operation for Chat {
    fn name(&self) -> &'static str {
        self.0.operation()
    }

    fn callers_api(&self) -> Option<Api> {
        Some(self.0.api())
    }

    fn is_offered(&self, provider: &Provider) -> bool {
        provider.api != Api::None
    }

    fn peek<'a>(&self, path: &'a str, _headers: &'a HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, Error> {
        self.0.peek(path, body)
    }

    fn request(&self, ask: &Ask<'_>, target: &Target<'_>) -> Result<Outgoing, Error> {
        let delivery = Delivery::of(ask.peek.stream);
        if self.is_forwarded(ask) {
            // A body that cannot be read here is the provider's to refuse.
            if capability::is_doubtful(target, ask.body)
                && let Ok(unified) = self.0.parse(ask.peek, ask.body)
            {
                capability::check(&unified, target, false)?;
            }
            let forwarded = self.0.forward(ask.body, ask.peek, ask.headers, target)?;
            return Ok(Outgoing::translated(forwarded, delivery));
        }
        let unified = self.0.parse(ask.peek, ask.body)?;
        capability::check(&unified, target, true)?;
        let (bounded, changed) = capability::bounded(&unified, target);
        let mut encoded = bend::encode(ask.api.dialect(), &bounded, target)?;
        name_labels(self.0, &unified, &mut encoded.dropped);
        encoded.dropped.extend(changed);
        encoded.dropped =
            encoded.dropped.into_iter().map(|name| names::own(self.0.api(), &unified, name)).collect();
        encoded.dropped.extend(Betas::None.sort(ask.headers).1);
        Ok(Outgoing::translated(encoded, delivery))
    }

    fn sorts_betas(&self) -> bool {
        true
    }

    fn answer(
        &self,
        ask: &Ask<'_>,
        _provider: &Provider,
        first: Whole,
        _more: Vec<Whole>,
    ) -> Result<Answered, UpstreamError> {
        if self.is_forwarded(ask) {
            let summary = self.0.summary(&first.body)?;
            return Ok(Answered::json(first.body, summary));
        }
        let mut events = ask.api.dialect().decode(&first.body)?;
        ask.bent.cloned().unwrap_or_default().undo(&mut events);
        if let Some((_, error)) = translate::untellable(&events) {
            return Err(error);
        }
        let unsaid = events.iter().filter_map(|event| match event {
            Event::Unsaid { name, .. } => Some(name.clone()),
            _ => None,
        });
        let dropped = unsaid.collect();
        let head = ask.head();
        let head = Head { model: served_model(&events).unwrap_or(head.model), ..head };
        let body = Bytes::from(self.0.whole(&head, &events)?);
        Ok(Answered { dropped, ..Answered::json(body, translate::summary(&events)) })
    }

    fn relay(&self, ask: &Ask<'_>, provider: &Provider, _headers: &HeaderMap) -> Streamed {
        let mut relay = if self.is_forwarded(ask) {
            self.0.forwarder(ask.peek, ask.id)
        } else {
            let decoder = ask.api.dialect().decoder();
            let decoder = ask.bent.cloned().unwrap_or_default().decoder(decoder);
            Box::new(Translate::new(decoder, self.0.writer(&ask.head(), ask.peek), ask.id))
        };
        if ask.api == Api::Messages && provider.hosting == Hosting::Bedrock {
            relay = Box::new(Invoke::new(relay));
        }
        Streamed { content_type: HeaderValue::from_static(self.0.stream_type(ask.peek)), relay }
    }

    fn error(&self, status: StatusCode, error: &ErrorBody<'_>) -> Vec<u8> {
        self.0.error(status, error)
    }

    fn headers(&self, status: StatusCode, request_id: &HeaderValue, headers: &mut HeaderMap) {
        self.0.headers(status, request_id, headers);
    }

    fn demo(&self, ask: &Ask<'_>, model: &str) -> Result<demo::Reply, Error> {
        let unified = self.0.parse(ask.peek, ask.body)?;
        // What always fails may be asked for anything.
        if model == demo::MODELS[0] {
            let provider = provider::find("demo").expect("a row of the table");
            capability::check(&unified, &Target { provider, model, base_url: "", credential: None }, false)?;
        }
        let mut reply = demo::answer(model, &unified, &ask.head())?;
        reply.dropped.extend(Betas::None.sort(ask.headers).1);
        Ok(reply)
    }
}

impl Chat {
    /// Whether both ends speak the same, so that bytes are passed on.
    fn is_forwarded(&self, ask: &Ask<'_>) -> bool {
        ask.api.speaks() == self.0.api()
    }
}

/// Names what a request is filed under as the caller did, where it is left out.
pub(super) fn name_labels(front: &dyn Front, request: &chat::Request, dropped: &mut [String]) {
    if !request.labels.is_empty()
        && let Some(name) = dropped.iter_mut().find(|name| *name == LABELS)
    {
        front.labels().clone_into(name);
    }
}

/// The model the provider says it used, for the answer.
fn served_model(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match event {
        Event::Start { model, .. } => model.as_deref(),
        _ => None,
    })
}
