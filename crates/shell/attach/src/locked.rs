//! Cutting a volume off: the way to lock it at once, also while its I/O hangs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::fuse::break_connection;

/// Cuts a volume off, from any thread, also while [`crate::Mounted::unmount`] waits in another.
#[derive(Clone, Debug)]
pub struct Aborter(Arc<Mutex<Line>>);

/// The connection between kernel and device.
#[derive(Debug)]
struct Line {
    device: PathBuf,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Up,
    /// Broken on purpose.
    Cut,
    /// Ended in order; the path may carry another device by now.
    Down,
}

impl Aborter {
    pub(crate) fn new(device: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(Line { device, state: State::Up })))
    }

    /// Breaks the connection: every read and write of the file system fails from now on, those that wait
    /// included. Does not wait for the device, the file system or anybody who uses it. Safe to repeat.
    pub fn abort(&self) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.state == State::Up {
            line.state = State::Cut;
            if let Err(error) = break_connection(&line.device) {
                tracing::error!(device = %line.device.display(), %error, "the device could not be cut off");
            }
        }
    }

    /// Whether the volume was cut off.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).state == State::Cut
    }

    /// Where the device file is, or was.
    pub(crate) fn device(&self) -> PathBuf {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).device.clone()
    }

    /// The connection has ended in order: there is nothing to break any more.
    pub(crate) fn disarm(&self) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.state == State::Up {
            line.state = State::Down;
        }
    }
}
