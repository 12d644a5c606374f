//! The thread that writes ahead of a flush, takes the checkpoints and cleans.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use volume::{Volume, VolumeError};

use crate::{memory::mark_io_thread, segment_files::SegmentFiles};

/// Bytes that the cleaner moves at once: a flush waits no longer than for one group of so many.
const CLEAN_STEP: usize = 1 << 20;

/// What the thread was asked for.
#[derive(Debug, Default)]
struct Asked {
    work: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Signal {
    asked: Mutex<Asked>,
    changed: Condvar,
}

/// Owns the thread; ends it at the latest when it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    pub fn start(volume: Arc<Volume<SegmentFiles>>, write_behind: usize) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let heard = signal.clone();
        let thread = thread::Builder::new().name("volume".into()).spawn(move || {
            // What this thread writes gives memory back. The threads that serve the device warn if the kernel refuses.
            let _ = mark_io_thread();
            while heard.wait() {
                if let Err(error) = work(&volume, write_behind, &heard) {
                    // The next flush meets the same error and reports it to who waits for it.
                    tracing::warn!(%error, "could not write ahead");
                }
            }
        })?;
        Ok(Self { signal, thread: Mutex::new(Some(thread)) })
    }

    /// There may be something to do.
    pub fn wake(&self) {
        let mut asked = self.signal.lock();
        if !asked.work {
            asked.work = true;
            self.signal.changed.notify_one();
        }
    }

    /// Ends the thread, and waits for it.
    pub fn stop(&self) {
        self.signal.lock().stop = true;
        self.signal.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the worker of the volume panicked");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; false when it is time to stop.
    fn wait(&self) -> bool {
        let asked = self.lock();
        let waited = self.changed.wait_while(asked, |asked| !asked.work && !asked.stop);
        let mut asked = waited.unwrap_or_else(PoisonError::into_inner);
        asked.work = false;
        !asked.stop
    }

    /// Rests for a while; false when it is time to stop.
    fn rest(&self, time: Duration) -> bool {
        let rested = self.changed.wait_timeout_while(self.lock(), time, |asked| !asked.stop);
        !rested.unwrap_or_else(PoisonError::into_inner).0.stop
    }
}

/// Writes ahead and takes checkpoints; after one, cleans in small steps as long as too much space is dead.
fn work(volume: &Volume<SegmentFiles>, write_behind: usize, signal: &Signal) -> Result<(), VolumeError> {
    let mut cleaning = false;
    loop {
        if volume.pending() > write_behind {
            volume.commit_down_to(write_behind / 2)?;
        }
        if volume.checkpoint_is_due() {
            volume.checkpoint()?;
            cleaning = true;
        }
        let began = Instant::now();
        if !cleaning || !volume.clean_step(CLEAN_STEP)? {
            return Ok(());
        }
        // The disk and the log are free for others half of the time.
        if !signal.rest(began.elapsed()) {
            return Ok(());
        }
    }
}
