//! Committing: batches become groups of the log, one durable write after another (decisions 0103, 0130).
//!
//! ```text
//! log lock   seal 7 ┐            ┌ seal 8 ┐
//! disk lock         └── write 7 ─┘────────└── write 8
//! ```
//!
//! Who commits takes the log, seals, takes the disk, lets go of the log, and writes: so a group is sealed while the one
//! before it is written. A short batch waits for the disk before it is sealed, for it takes in what comes meanwhile;
//! one that is long enough has nothing to gain by that.
//!
//! Of those who flush, one leads: it commits until all that was asked for is under way. The others sleep until their
//! batch is durable, on one of two signs in turn, so that a group wakes those who waited for it and no others.

use std::sync::{Arc, Condvar, MutexGuard, PoisonError};

use crate::{
    VolumeError,
    buffer::FULL,
    keys::Kind,
    log::{Disk, Log, OnDisk, SealedGroup},
    segments::Segments,
    state::{Batch, State, Status},
    volume::Volume,
};

impl<S: Segments> Volume<S> {
    /// Makes everything durable that was written before. Many callers share the groups.
    ///
    /// # Errors
    /// [`VolumeError::Io`]: with a full host nothing is lost, and the next flush tries again; after a failed write
    /// the volume is stopped. [`VolumeError::Stopped`], [`VolumeError::Locked`], [`VolumeError::Damaged`] if the rest
    /// of a block that was written in part cannot be read.
    pub fn flush(&self) -> Result<(), VolumeError> {
        let mut state = self.state();
        state.check()?;
        let target = state.last_serial();
        while state.durable < target {
            state.check()?;
            if state.led >= target || state.begun >= target {
                state.sleeping += 1;
                let woken = self.signs[sign_of(target)].wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                state.sleeping -= 1;
            } else {
                state.led = target;
                drop(state);
                let leading = Leading { volume: self, target };
                while self.commit(|state| state.begun < target)? {}
                drop(leading);
                state = self.state();
            }
        }
        Ok(())
    }

    /// Commits the oldest writes until no more than `bytes` are left of which no commit has begun. (If those counted that
    /// others commit, the rest would be committed in the smallest of groups, each with its flush of the disk.)
    ///
    /// # Errors
    /// As [`Volume::flush`].
    pub fn commit_down_to(&self, bytes: usize) -> Result<(), VolumeError> {
        while self.commit(|state| state.unbegun() > bytes)? {}
        Ok(())
    }

    /// Commits everything that is pending; nobody else can meanwhile.
    pub(crate) fn commit_rest<'a>(&'a self, log: &mut Log, disk: &mut OnDisk<'a>) -> Result<(), VolumeError> {
        while let Some((begun, batch)) = self.begin(log, disk, |_| true)? {
            let sealed = self.seal_batch(log, disk, batch)?;
            self.write_batch(disk.get_or_insert_with(|| self.disk()), begun, sealed)?;
        }
        Ok(())
    }

    /// Commits the oldest batch if it is wanted; false if there is none, or it is not.
    fn commit(&self, wanted: impl Fn(&State) -> bool) -> Result<bool, VolumeError> {
        if !wanted(&self.state()) {
            return Ok(false);
        }
        let log = self.log();
        let short = self.state().closed.is_empty();
        self.commit_holding(log, short.then(|| self.disk()), wanted)
    }

    fn commit_holding<'a>(
        &'a self,
        mut log: MutexGuard<'a, Log>,
        mut disk: OnDisk<'a>,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<bool, VolumeError> {
        let Some((begun, batch)) = self.begin(&mut log, &mut disk, wanted)? else { return Ok(false) };
        let sealed = self.seal_batch(&mut log, &mut disk, batch)?;
        let mut disk = self.turn(disk)?; // on an error the batch is put back before the log is let go
        drop(log);
        let forgotten = self.write_batch(&mut disk, begun, sealed)?;
        drop(disk);
        drop(forgotten); // wiping takes time that nobody waits for here
        Ok(true)
    }

    /// Takes the oldest batch to be committed, if it is wanted. The log is ready for it.
    fn begin<'a>(
        &'a self,
        log: &mut Log,
        disk: &mut OnDisk<'a>,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<Option<Started<'a, S>>, VolumeError> {
        loop {
            let mut state = self.state();
            state.check()?;
            if state.void {
                drop(state);
                self.ready(log, disk);
                continue;
            }
            let batch = if wanted(&state) { state.begin_commit() } else { None };
            return Ok(
                batch.map(|batch| (Begun { volume: self, serial: batch.serial, written: false }, batch))
            );
        }
    }

    fn seal_batch<'a>(
        &'a self,
        log: &mut Log,
        disk: &mut OnDisk<'a>,
        batch: Arc<Batch>,
    ) -> Result<SealedGroup, VolumeError> {
        let completed = self.complete(&batch)?;
        let whole = batch.changes.points().iter().map(|(index, plain)| {
            let completed = completed.points().get(index).unwrap_or(plain);
            (Kind::Data, FULL & !completed.known(), *index, completed.bytes())
        });
        let blocks: Vec<_> = whole.collect();
        let holes: Vec<_> = batch.changes.holes().collect();
        self.seal_group(log, disk, &blocks, holes, None)
    }

    /// Writes a sealed batch and enters it; returns the plaintext that is no longer kept.
    fn write_batch(
        &self,
        disk: &mut Disk,
        mut begun: Begun<'_, S>,
        sealed: SealedGroup,
    ) -> Result<Vec<Arc<Batch>>, VolumeError> {
        let mut state = self.write_group(disk, &sealed)?;
        if state.status == Status::Locked {
            drop(state);
            return Err(VolumeError::Locked);
        }
        let forgotten = state.end_commit(sealed.entries(), self.options.keep_committed);
        begun.written = true;
        let sign = (state.sleeping > 0).then(|| &self.signs[sign_of(state.durable)]);
        drop(state);
        if let Some(sign) = sign {
            sign.notify_all();
        }
        self.buffers.give(sealed.bytes);
        Ok(forgotten)
    }

    /// Wakes all that sleep, to look again.
    pub(crate) fn wake_all(&self) {
        self.signs.iter().for_each(Condvar::notify_all);
    }
}

/// A batch to be committed, and the duty to end that.
type Started<'a, S> = (Begun<'a, S>, Arc<Batch>);

const fn sign_of(serial: u64) -> usize {
    (serial % 2) as usize
}

/// One of those who flush has promised to commit up to `target`. If that fails, those who rely on it try themselves.
struct Leading<'a, S: Segments> {
    volume: &'a Volume<S>,
    target: u64,
}

impl<S: Segments> Drop for Leading<'_, S> {
    fn drop(&mut self) {
        let mut state = self.volume.state();
        if state.begun < self.target {
            state.led = state.begun;
            drop(state);
            self.volume.wake_all();
        }
    }
}

/// A batch between its beginning and its end. If it is not written it is put back, with those that were begun after it;
/// but after a failed write only the next open knows what the disk holds.
struct Begun<'a, S: Segments> {
    volume: &'a Volume<S>,
    serial: u64,
    written: bool,
}

impl<S: Segments> Drop for Begun<'_, S> {
    fn drop(&mut self) {
        if self.written {
            return;
        }
        if std::thread::panicking() {
            self.volume.stop();
        }
        let mut state = self.volume.state();
        if state.status == Status::Running {
            state.cancel_commits(self.serial);
        }
        drop(state);
        self.volume.wake_all();
    }
}
