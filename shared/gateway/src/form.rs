//! A caller's form on its way to a provider. It is received until it is known what is asked, or to its end if
//! that is near; of a larger one the rest goes through as it comes.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, header};
use llm::multipart::{Field, Scanner};

use crate::{
    Error, Host,
    call::{BodyError, Incoming},
    lines::Lines,
    ports::{Passage, Refused},
};

/// A form, as far as it was received.
pub struct Form {
    /// What has come.
    pub held: Bytes,
    /// The wanted fields that have come.
    pub fields: Vec<Field>,
    /// What the rest goes through; nothing where all of it has come. Such a request can be sent once only.
    pub rest: Option<Rc<RefCell<Rest>>>,
    /// Of all of it, where the caller says so.
    pub length: Option<usize>,
}

impl Form {
    /// The field with this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The form with the lines of its file rewritten, and what rewrites those yet to come.
    pub fn with_lines(self, content_type: &str, lines: Lines) -> Result<(Self, Rc<RefCell<Rest>>), Error> {
        let limit = self.rest.as_ref().map_or(self.held.len(), |rest| rest.borrow().limit);
        let scanner = Scanner::new(content_type, &[])?;
        let mut rewriting = Rest { scanner, lines: Some(lines), received: 0, limit, error: None };
        let mut held = Vec::with_capacity(self.held.len());
        for piece in self.held.chunks(PIECE_BYTES) {
            held.extend(rewriting.read(piece)?.unwrap_or_default());
        }
        let rewriting = Rc::new(RefCell::new(rewriting));
        let (rest, length) = match self.rest {
            Some(_) => (Some(rewriting.clone()), None),
            None => (None, Some(held.len())),
        };
        Ok((Self { held: held.into(), rest, length, ..self }, rewriting))
    }
}

/// The rest of a form: read on, so that nothing in it says otherwise than what was gone by.
pub struct Rest {
    scanner: Scanner,
    /// What the file's content goes through.
    lines: Option<Lines>,
    received: usize,
    limit: usize,
    error: Option<Error>,
}

impl Rest {
    /// Why it was not let through.
    pub fn take_error(&mut self) -> Error {
        self.error.take().unwrap_or(Error::BodyBroken)
    }

    /// The lines, once they have gone by.
    pub fn lines(&self) -> Option<&Lines> {
        self.lines.as_ref()
    }

    /// Reads on; what to send instead, where something is rewritten.
    fn read(&mut self, chunk: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.received += chunk.len();
        if self.received > self.limit {
            return Err(Error::UploadTooLarge { limit: self.limit });
        }
        let Some(lines) = &mut self.lines else {
            self.scanner.feed(chunk, &mut |_, _| Ok(()))?;
            return Ok(None);
        };
        let (mut out, mut failure) = (Vec::with_capacity(chunk.len()), None);
        let scanned = self.scanner.feed(chunk, &mut |part, bytes| {
            let rewritten = match part {
                Some("file") => lines.feed(bytes, &mut out),
                _ => lines.finish(&mut out).map(|()| out.extend_from_slice(bytes)),
            };
            rewritten.map_err(|error| {
                failure = Some(error);
                llm::Error::invalid("file", "a line is refused")
            })
        });
        match failure {
            Some(failure) => Err(failure),
            None => Ok(scanned.map(|()| Some(out))?),
        }
    }

    fn let_through<T>(&mut self, read: Result<T, Error>) -> Result<T, Refused> {
        read.map_err(|error| {
            self.error = Some(error);
            Refused
        })
    }
}

impl Passage for Rest {
    fn chunk(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        let read = self.read(bytes);
        self.let_through(read)
    }

    fn end(&mut self) -> Result<Vec<u8>, Refused> {
        let read = self.scanner.finish().map_err(Error::from);
        self.let_through(read).map(|()| Vec::new())
    }
}

/// Receives a form until the field `needed` is known, and to its end if it is small. Whoever calls was checked
/// before: nothing is received of strangers.
pub async fn receive<H: Host>(
    host: &H,
    incoming: &Incoming,
    wanted: &'static [&'static str],
    needed: &'static str,
) -> Result<Form, Error> {
    let config = host.config();
    let length = content_length(incoming.headers());
    let limit = config.max_upload_bytes;
    if length.is_some_and(|length| length > limit) {
        return Err(Error::UploadTooLarge { limit });
    }
    let content_type = incoming.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let scanner = Scanner::new(content_type.unwrap_or_default(), wanted)?;
    let mut rest = Rest { scanner, lines: None, received: 0, limit, error: None };
    let mut held = Vec::new();
    let small = HELD_BYTES.min(config.max_body_bytes);
    match incoming.body() {
        Ok(body) => {
            rest.read(body)?;
            held.extend_from_slice(body);
        }
        Err(BodyError::Unread) => loop {
            let expected = length.unwrap_or(held.len());
            if rest.scanner.field(needed).is_some() && expected > small {
                let fields = rest.scanner.fields().to_vec();
                let rest = Some(Rc::new(RefCell::new(rest)));
                return Ok(Form { held: held.into(), fields, rest, length });
            }
            let Some(chunk) = host.receive().await.map_err(unreceived)? else { break };
            rest.read(&chunk)?;
            held.extend_from_slice(&chunk);
            if held.len() > config.max_body_bytes && rest.scanner.field(needed).is_none() {
                let message = format!(
                    "`{needed}` does not come within the first {} bytes. Send it before the file.",
                    config.max_body_bytes
                );
                return Err(llm::Error::invalid(needed, message).into());
            }
        },
        Err(error) => return Err(unreceived(*error)),
    }
    rest.scanner.finish()?;
    let length = Some(held.len());
    Ok(Form { held: held.into(), fields: rest.scanner.fields().to_vec(), rest: None, length })
}

/// What becomes of a request whose body does not come. One that breaks off was left by its caller.
pub fn unreceived(error: BodyError) -> Error {
    match error {
        BodyError::Silent => Error::BodySilent,
        BodyError::Broken | BodyError::TooLarge | BodyError::Unread => Error::HungUp,
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A form that is here is read in pieces, for each is copied on the way.
const PIECE_BYTES: usize = 1 << 16;

/// A form up to this size is received to its end before anything is sent, so that it can be sent again.
const HELD_BYTES: usize = 1 << 20;
