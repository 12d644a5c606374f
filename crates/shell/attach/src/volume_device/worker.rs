//! The threads that write ahead of a flush; one of them takes the checkpoints and cleans as well.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use volume::{Volume, VolumeError};

use crate::{memory::mark_io_thread, segment_files::SegmentFiles};

/// Bytes that the cleaner moves at once while others write: the disk is busy with no more when a flush comes.
const CLEAN_STEP: usize = 256 << 10;
/// The same while nobody writes.
const IDLE_STEP: usize = 1 << 20;
/// The thread looks for something to do so often, asked or not.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of log from which an idle volume takes a checkpoint, so that what is dead shows;
const MUCH_LOG: u64 = 8 << 20;
/// the same where the host has no space.
const LITTLE_LOG: u64 = 256 << 10;
/// Rest after a failure; twice as long after each further one, up to so many doublings.
const BACK_OFF: Duration = Duration::from_millis(100);
const MOST_DOUBLINGS: u32 = 6;

/// What the thread was asked for.
#[derive(Debug, Default)]
struct Asked {
    work: bool,
    /// Space is short: take a checkpoint and clean, although neither is due.
    reclaim: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Signal {
    asked: Mutex<Asked>,
    changed: Condvar,
}

/// Owns a thread; ends it at the latest when it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// A worker that writes ahead. Two of them keep the disk busy: one seals while the other writes.
    pub fn writing_ahead(volume: Arc<Volume<SegmentFiles>>, write_behind: usize) -> io::Result<Self> {
        Self::start("write ahead", move |_| volume.commit_down_to(write_behind / 2))
    }

    /// The worker that writes ahead, takes checkpoints and cleans.
    pub fn upkeep(volume: Arc<Volume<SegmentFiles>>, write_behind: usize) -> io::Result<Self> {
        let mut groups = 0;
        Self::start("volume", move |signal| {
            Work { volume: &volume, write_behind, signal, groups: &mut groups }.run()
        })
    }

    fn start(
        name: &str,
        mut work: impl FnMut(&Signal) -> Result<(), VolumeError> + Send + 'static,
    ) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let heard = signal.clone();
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            // What this thread writes gives memory back. The threads that serve the device warn if the kernel refuses.
            let _ = mark_io_thread();
            let mut failures = 0;
            while heard.wait() {
                let Err(error) = work(&heard) else {
                    failures = 0;
                    continue;
                };
                if failures == 0 && !matches!(error, VolumeError::Locked) {
                    // Who waits for a flush meets the same error and reports it.
                    tracing::warn!(%error, "could not write ahead");
                }
                heard.rest(BACK_OFF * 2_u32.pow(failures));
                failures = (failures + 1).min(MOST_DOUBLINGS);
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

    /// The host is short of space: give back what is dead.
    pub fn reclaim(&self) {
        let mut asked = self.signal.lock();
        (asked.work, asked.reclaim) = (true, true);
        self.signal.changed.notify_one();
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

    /// Waits for work, a tick at most; false when it is time to stop.
    fn wait(&self) -> bool {
        let asked = self.lock();
        let waited = self.changed.wait_timeout_while(asked, TICK, |asked| !asked.work && !asked.stop);
        let mut asked = waited.unwrap_or_else(PoisonError::into_inner).0;
        asked.work = false;
        !asked.stop
    }

    fn take_reclaim(&self) -> bool {
        std::mem::take(&mut self.lock().reclaim)
    }

    /// Rests for a while; false when it is time to stop.
    fn rest(&self, time: Duration) -> bool {
        let rested = self.changed.wait_timeout_while(self.lock(), time, |asked| !asked.stop);
        !rested.unwrap_or_else(PoisonError::into_inner).0.stop
    }
}

/// What the thread does: writes ahead, takes checkpoints, keeps the reserve, and cleans in small steps for as long as too
/// much space is dead.
struct Work<'a> {
    volume: &'a Volume<SegmentFiles>,
    write_behind: usize,
    signal: &'a Signal,
    /// Groups that had been written when it looked last.
    groups: &'a mut u64,
}

impl Work<'_> {
    fn run(&mut self) -> Result<(), VolumeError> {
        let (volume, signal) = (self.volume, self.signal);
        loop {
            // Without space for the reserve, the host is full, or nearly so.
            let low = !volume.segments().fill_reserve();
            if !low && volume.pending() > self.write_behind {
                volume.commit_down_to(self.write_behind / 2)?;
            }
            let groups = volume.segments().writes();
            let idle = groups == *self.groups;
            *self.groups = groups;
            let reclaim = signal.take_reclaim();
            let stale = volume.usages().log_bytes >= if low || reclaim { LITTLE_LOG } else { MUCH_LOG };
            if volume.checkpoint_is_due() || ((idle || reclaim) && stale) {
                volume.checkpoint()?;
            }
            let began = Instant::now();
            let step = if idle { IDLE_STEP } else { CLEAN_STEP };
            let more = if low || reclaim { volume.clean_all_step(step)? } else { volume.clean_step(step)? };
            *self.groups = volume.segments().writes();
            if !more {
                return Ok(());
            }
            // The more is dead, the less of the time the disk is free for others.
            let least = if idle || volume.is_renewing() { 50 } else { 10 };
            let share = if low { 100 } else { u32::from(volume.clean_urgency()).max(least) };
            if !signal.rest((began.elapsed() * (100 - share) / share).min(TICK)) {
                return Ok(());
            }
        }
    }
}
