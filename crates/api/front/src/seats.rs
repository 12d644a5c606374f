//! Places for connections. When all are taken, whoever has been silent for longest gives his up: a flood of connections
//! that ask nothing, or ask slowly, does not keep others out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The places there are.
pub(crate) struct Seats {
    room: Arc<Semaphore>,
    silent: Mutex<Silent>,
}

/// Connections that have not sent a whole request, in the order in which they fell silent.
#[derive(Default)]
struct Silent {
    last: u64,
    by_ticket: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place, until it is dropped.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    leave: Arc<Notify>,
    /// `None` while a request is being answered.
    ticket: Mutex<Option<u64>>,
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { room: Arc::new(Semaphore::new(places)), silent: Mutex::default() })
    }

    /// A place for a connection that has just been accepted; if need be, that of the one that was silent for longest.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Arc<Seat>> {
        let permit = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let oldest = self.silent().by_ticket.pop_first();
                if let Some((_, leave)) = oldest {
                    leave.notify_one();
                }
                Arc::clone(&self.room).acquire_owned().await.ok()?
            }
        };
        let seat = Seat {
            seats: Arc::clone(self),
            leave: Arc::new(Notify::new()),
            ticket: Mutex::new(None),
            _permit: permit,
        };
        seat.falls_silent();
        Some(Arc::new(seat))
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A whole request has come: the place is safe until it is answered.
    pub(crate) fn asks(&self) {
        if let Some(ticket) = self.ticket.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.seats.silent().by_ticket.remove(&ticket);
        }
    }

    /// The request was answered.
    pub(crate) fn falls_silent(&self) {
        let mut held = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            let mut silent = self.seats.silent();
            silent.last += 1;
            let ticket = silent.last;
            silent.by_ticket.insert(ticket, Arc::clone(&self.leave));
            *held = Some(ticket);
        }
    }

    /// Ends when somebody else needs the place.
    pub(crate) async fn is_needed(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.asks();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    /// What a future has already.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_was_silent_for_longest_gives_his_place_up_and_who_asks_keeps_his() {
        let seats = Seats::new(3);
        let take = || now(seats.take()).flatten();
        let (first, second, third) = (take().unwrap(), take().unwrap(), take().unwrap());
        // The first has asked, and been answered: it has been silent for the shortest time. The second is being answered.
        first.asks();
        first.falls_silent();
        second.asks();
        assert!(take().is_none(), "no place is free yet");
        assert!(now(third.is_needed()).is_some(), "the third was silent for longest");
        assert!(now(first.is_needed()).is_none() && now(second.is_needed()).is_none());
        drop(third);
        let fourth = take().unwrap();
        assert!(take().is_none());
        assert!(now(first.is_needed()).is_some(), "then the first");
        assert!(take().is_none());
        assert!(now(fourth.is_needed()).is_some(), "then the fourth");
        assert!(take().is_none());
        assert!(now(second.is_needed()).is_none(), "never the one that is being answered");
    }
}
