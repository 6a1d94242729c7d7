//! A place in the queue for something of which there is only so much: who comes first gets it first.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Coming = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// What one connection has of it, or waits for: that for the request that it serves next.
pub struct Ticket {
    permits: Arc<Semaphore>,
    state: State,
}

enum State {
    Nothing,
    Waiting(Coming),
    Held(OwnedSemaphorePermit),
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Nothing => "nothing",
            State::Waiting(_) => "waiting",
            State::Held(_) => "held",
        })
    }
}

impl Ticket {
    /// Nothing yet.
    pub fn new(permits: Arc<Semaphore>) -> Ticket {
        Ticket { permits, state: State::Nothing }
    }

    /// True if there is as much. If not, the connection waits for it from now on, and [`Ticket::poll`] tells when it is
    /// there; the next call must be for the same.
    pub fn has(&mut self, permits: u32) -> bool {
        if let State::Nothing = self.state {
            let all = Arc::clone(&self.permits);
            self.state = match Arc::clone(&all).try_acquire_many_owned(permits) {
                Ok(held) => State::Held(held),
                Err(_) => State::Waiting(Box::pin(async move { all.acquire_many_owned(permits).await.ok() })),
            };
        }
        matches!(self.state, State::Held(_))
    }

    /// Ready once what is waited for is there.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let State::Waiting(coming) = &mut self.state else { return Poll::Pending };
        match coming.as_mut().poll(context) {
            Poll::Ready(held) => {
                self.state = held.map_or(State::Nothing, State::Held);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// What is held, to be given back when it is dropped.
    pub fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        match std::mem::replace(&mut self.state, State::Nothing) {
            State::Held(held) => Some(held),
            State::Nothing | State::Waiting(_) => None,
        }
    }

    /// Gives back what is held, and leaves the queue.
    pub fn give_up(&mut self) {
        self.state = State::Nothing;
    }
}
