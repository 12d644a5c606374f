//! Writing: requests are copied into batches, and batches become groups of the log.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    VolumeError,
    buffer::{FULL, Plain, Wanted},
    keys::Kind,
    layout::{BLOCK, Entry},
    log::Log,
    overlay::Overlay,
    segments::Segments,
    state::{Batch, State, Status},
    volume::Volume,
};

/// Discards in a batch after which another is begun, so that descriptors stay small.
const MOST_HOLES: usize = 1024;

impl<S: Segments> Volume<S> {
    /// Takes bytes over, as one atomic unit of up to [`Volume::atomic_write`]; offset and length are multiples of
    /// [`crate::SECTOR`]. They are durable after the next [`Volume::flush`].
    ///
    /// # Errors
    /// [`VolumeError::Stopped`], [`VolumeError::Locked`], [`VolumeError::Invalid`].
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        self.check_range(offset, bytes.len() as u64)?;
        if bytes.len() > self.atomic_write() {
            return Err(VolumeError::Invalid("the write is longer than an atomic unit"));
        }
        // Copied before the lock is taken: the copies are most of the work.
        let whole = |part: &[u8]| (part.len() == BLOCK).then(|| Plain::whole(part));
        let parts: Vec<_> =
            split(offset, bytes).map(|(index, at, part)| (index, at, part, whole(part))).collect();
        let mut state = self.state();
        state.check()?;
        self.limit_batch(&mut state);
        for (index, at, part, plain) in parts {
            match plain {
                Some(plain) => state.open.changes.set(index, plain),
                None => state.open.changes.point_or_insert_with(index, Plain::unknown).set(at, part),
            }
        }
        Ok(())
    }

    /// Makes a range read as zeros; offset and length are multiples of [`crate::SECTOR`].
    ///
    /// # Errors
    /// As [`Volume::write`].
    pub fn discard(&self, offset: u64, length: u64) -> Result<(), VolumeError> {
        self.check_range(offset, length)?;
        let block = BLOCK as u64;
        let end = offset + length;
        let (first, last) = (offset.div_ceil(block), end / block);
        let zeros = [0; BLOCK];
        if first > last {
            return self.write(offset, &zeros[..length as usize]);
        }
        let mut state = self.state();
        state.check()?;
        self.limit_batch(&mut state);
        state.open.changes.clear(first..last);
        let (head, tail) = ((first * block - offset) as usize, (end - last * block) as usize);
        if head > 0 {
            let plain = state.open.changes.point_or_insert_with(first - 1, Plain::unknown);
            plain.set(BLOCK - head, &zeros[..head]);
        }
        if tail > 0 {
            state.open.changes.point_or_insert_with(last, Plain::unknown).set(0, &zeros[..tail]);
        }
        Ok(())
    }

    /// Begins another batch when the open one is large enough.
    pub(crate) fn limit_batch(&self, state: &mut State) {
        if state.open.bytes() >= self.batch_size() || state.open.changes.holes().len() >= MOST_HOLES {
            state.close_batch();
        }
    }

    /// Makes everything durable that was written before. Many callers share the groups: whoever gets the log first
    /// commits for those that wait for it.
    ///
    /// # Errors
    /// [`VolumeError::Io`]: with a full host nothing is lost, and the next flush tries again; after a failed write
    /// the volume is stopped. [`VolumeError::Stopped`], [`VolumeError::Locked`], [`VolumeError::Damaged`] if the rest
    /// of a block that was written in part cannot be read.
    pub fn flush(&self) -> Result<(), VolumeError> {
        let target = {
            let state = self.state();
            state.check()?;
            state.last_serial()
        };
        self.commit_up_to(target)
    }

    /// Commits the oldest writes until no more than `bytes` are pending.
    ///
    /// # Errors
    /// As [`Volume::flush`].
    pub fn commit_down_to(&self, bytes: usize) -> Result<(), VolumeError> {
        while self.pending() > bytes {
            let mut log = self.log();
            if self.pending() > bytes && !self.commit(&mut log)? {
                break;
            }
        }
        Ok(())
    }

    fn commit_up_to(&self, serial: u64) -> Result<(), VolumeError> {
        loop {
            if self.state().durable >= serial {
                return Ok(());
            }
            let mut log = self.log();
            let durable = self.state().durable >= serial;
            if durable || !self.commit(&mut log)? {
                return self.state().check();
            }
        }
    }

    /// Commits everything that is pending.
    pub(crate) fn commit_rest(&self, log: &mut Log) -> Result<(), VolumeError> {
        while self.commit(log)? {}
        Ok(())
    }

    /// Commits one batch; false if there is none.
    fn commit(&self, log: &mut Log) -> Result<bool, VolumeError> {
        let batch = {
            let mut state = self.state();
            state.check()?;
            match state.begin_commit() {
                Some(batch) => batch,
                None => return Ok(false),
            }
        };
        let committed = self.commit_batch(log, batch);
        let mut state = self.state();
        match committed {
            Ok(_) if state.status == Status::Locked => Err(VolumeError::Locked),
            Ok(entries) => {
                state.end_commit(&entries, self.options.keep_committed);
                Ok(true)
            }
            Err(error) => {
                state.cancel_commit();
                Err(error)
            }
        }
    }

    fn commit_batch(&self, log: &mut Log, batch: Arc<Batch>) -> Result<Vec<Entry>, VolumeError> {
        let completed = self.complete(&batch)?;
        let whole = batch.changes.points().iter().map(|(index, plain)| {
            let completed = completed.points().get(index).unwrap_or(plain);
            (Kind::Data, 0, *index, completed.bytes())
        });
        let blocks: Vec<_> = whole.collect();
        let holes: Vec<_> = batch.changes.holes().collect();
        let sealed = self.seal_group(log, &blocks, holes, None)?;
        drop(blocks);
        drop(completed);
        drop(batch); // no plaintext is held while the disk works
        self.write_group(log, sealed)
    }

    /// The blocks of a batch that were written in part, with the rest of them read.
    fn complete(&self, batch: &Batch) -> Result<Overlay<Plain>, VolumeError> {
        let mut completed = Overlay::default();
        for (index, plain) in batch.changes.points() {
            if plain.known() == FULL {
                continue;
            }
            let mut bytes = Zeroizing::new([0; BLOCK]);
            let in_hole = batch.changes.hole_at(*index);
            self.despite_checkpoints(|| {
                let mut wanted = Wanted::new(0, &mut *bytes);
                wanted.fill(plain.known(), plain.bytes());
                if !in_hole {
                    let below = self.state().locate_committed(*index, &mut wanted);
                    if let Some((id, entry)) = self.resolve(*index, below)? {
                        self.fetch(&mut [(id, entry, wanted)])?;
                    }
                }
                Ok(())
            })?;
            completed.set(*index, Plain::whole(&*bytes));
        }
        Ok(completed)
    }
}

/// Cuts a range at the borders of blocks: index, offset in the block, bytes.
fn split(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut offset = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let at = (offset % BLOCK as u64) as usize;
        let (part, after) = rest.split_at(rest.len().min(BLOCK - at));
        let index = offset / BLOCK as u64;
        rest = after;
        offset += part.len() as u64;
        (!part.is_empty()).then_some((index, at, part))
    })
}
