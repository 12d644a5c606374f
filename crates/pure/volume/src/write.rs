//! Writing: requests are copied into batches.

use crate::{
    VolumeError,
    buffer::{FULL, Plain, Wanted, Wiped},
    layout::BLOCK,
    overlay::Overlay,
    segments::Segments,
    state::{Batch, State},
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

    /// The blocks of a batch that were written in part, with the rest of them read. What is lost of the rest stays lost,
    /// and a read of it an error; the part that was written is kept, and so is everything else of the batch.
    pub(crate) fn complete(&self, batch: &Batch) -> Result<Overlay<Plain>, VolumeError> {
        let mut completed = Overlay::default();
        for (index, plain) in batch.changes.points() {
            if plain.known() == FULL {
                continue;
            }
            let mut bytes = Wiped([0; BLOCK]);
            let in_hole = batch.changes.hole_at(*index);
            let mut known = FULL;
            let read = self.despite_checkpoints(|| {
                let mut wanted = Wanted::new(0, &mut *bytes);
                wanted.fill(plain.known(), plain.bytes());
                if in_hole {
                    return Ok(());
                }
                let below = self.state().locate_before(batch.serial, *index, &mut wanted);
                known = FULL & !wanted.missing;
                let Some((id, entry)) = self.resolve(*index, below)? else { return Ok(()) };
                let mut rest = [(id, entry, wanted)];
                let fetched = self.fetch(&mut rest);
                known = FULL & !rest[0].2.missing;
                fetched
            });
            match read {
                Ok(()) => completed.set(*index, Plain::whole(&*bytes)),
                Err(error) if error.is_loss() => completed.set(*index, Plain::partly(&*bytes, known)),
                Err(error) => return Err(error),
            }
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
