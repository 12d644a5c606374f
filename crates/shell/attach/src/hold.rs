//! Requests that the host has no space for: they wait until it has. An error would be a failed writeback, after which the
//! file system shuts down, or forgets what it could not write.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::locked::Aborter;

/// Between two attempts of one request.
const PACE: Duration = Duration::from_millis(100);

/// The requests of one device that wait for space.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    aborter: Aborter,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Since when each waits, the oldest first.
    since: Vec<Instant>,
    /// When the device is cut off if some still wait.
    deadline: Option<Instant>,
}

impl Hold {
    pub(crate) fn new(aborter: Aborter) -> Self {
        Self { aborter, waiting: Arc::default() }
    }

    /// Repeats `request` as long as it meets a full host. `meanwhile` is called when it does so first: the calling thread
    /// serves nobody else for some time.
    ///
    /// # Errors
    /// Those of the request; `ENOSPC` only if the device was cut off.
    pub(crate) fn until_space(
        &self,
        mut request: impl FnMut() -> io::Result<()>,
        meanwhile: impl FnOnce(),
    ) -> io::Result<()> {
        let first = request();
        if !is_full(&first) {
            return first;
        }
        let since = Instant::now();
        self.lock().since.push(since);
        tracing::warn!("the host has no space for the volume: writes wait");
        meanwhile();
        let done = loop {
            if self.is_over() {
                break first;
            }
            thread::sleep(PACE);
            let done = request();
            if !is_full(&done) {
                break done;
            }
        };
        let mut waiting = self.lock();
        if let Some(mine) = waiting.since.iter().position(|began| *began == since) {
            waiting.since.remove(mine);
        }
        done
    }

    /// For how long the oldest request has waited.
    pub(crate) fn longest(&self) -> Option<Duration> {
        self.lock().since.first().map(Instant::elapsed)
    }

    /// Cuts the device off if requests still wait after `patience`: it is being detached.
    pub(crate) fn end_after(&self, patience: Duration) {
        self.lock().deadline = Some(Instant::now() + patience);
    }

    fn is_over(&self) -> bool {
        if self.lock().deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.aborter.abort();
        }
        self.aborter.is_aborted()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_full(done: &io::Result<()>) -> bool {
    done.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOSPC))
}
