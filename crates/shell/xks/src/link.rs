//! The line to one proxy: how many requests are under way, and when the proxy last said anything definite.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use ids::Timestamp;
use tokio::sync::Semaphore;

/// One for each key store, for as long as the server runs.
#[derive(Debug)]
pub struct Link {
    pub(crate) room: Semaphore,
    /// Milliseconds since 1970.
    answered: AtomicI64,
}

impl Link {
    /// A line that is new at an instant; nothing is held against it before.
    pub fn new(most_requests: usize, now: Timestamp) -> Self {
        Self { room: Semaphore::new(most_requests), answered: AtomicI64::new(now.as_millis()) }
    }

    /// The proxy has said yes or no.
    pub(crate) fn answered(&self, now: Timestamp) {
        self.answered.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// Whether the proxy has said nothing definite for a span.
    pub fn silent_for(&self, span: Duration, now: Timestamp) -> bool {
        Timestamp::from_millis(self.answered.load(Ordering::Relaxed)).plus(span) <= now
    }
}
