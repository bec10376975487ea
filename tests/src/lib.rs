//! A host made of memory: SQLite in memory, a clock that stands until it is set, an upstream that plays
//! a script and fails the test on a call nobody scripted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

pub mod database;
pub mod gateway;
pub mod host;
pub mod life;
pub mod notices;
pub mod simulation;
pub mod watch;

pub use database::{Fault, MemoryDatabase};
pub use gateway::{ANTHROPIC, Gateway, OPENAI};
pub use host::{Answer, Answered, MemoryHost, Sent};
pub use life::{Life, mortal};
pub use watch::Watch;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Runs a future to its end. Nothing here ever waits for the world, so a future that does not come to
/// its end within some polls never will. May be nested.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("a future waits for something that will not happen");
}
