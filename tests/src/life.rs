//! A gateway that is killed. Its last step is the one it was killed after; nothing of it runs on, not even to say that
//! something failed.

use std::{
    cell::Cell,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Whether a gateway lives, and for how many steps. A step is something that the world outside can see: a transaction
/// begun or committed, a request sent or answered.
#[derive(Debug, Default)]
pub struct Life {
    steps: Cell<usize>,
    last: Cell<Option<usize>>,
}

impl Life {
    /// It is killed at the `n`th step from now.
    pub fn end_at(&self, n: usize) {
        self.last.set(Some(self.steps.get() + n));
    }

    /// Steps so far.
    pub fn steps(&self) -> usize {
        self.steps.get()
    }

    /// Whether it is dead.
    pub fn is_over(&self) -> bool {
        self.last.get().is_some_and(|last| self.steps.get() > last)
    }

    /// Another one begins.
    pub fn begin_anew(&self) {
        self.last.set(None);
    }

    /// Takes a step. Whether it is one more.
    pub fn goes_on(&self) -> bool {
        self.steps.set(self.steps.get() + 1);
        !self.is_over()
    }

    /// Comes back if it lives.
    pub async fn lived(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }
}

/// Runs a future to its end, or to the end of the life that it is part of.
pub fn mortal<T>(life: &Life, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return Some(value),
            Poll::Pending if life.is_over() => return None,
            Poll::Pending => {}
        }
    }
    panic!("a future waits for something that will not happen");
}
