//! A copy of a volume under another key: every live block is opened and sealed again, a piece at a time. Nothing of the
//! target is linked to the source, and no plaintext is kept but for the piece under way.

use std::ops::ControlFlow;

use zeroize::Zeroizing;

use crate::{VolumeError, layout::BLOCK, reader::Reader, segments::Segments, volume::Volume};

/// Unwritten bytes from which they are committed.
const PENDING: usize = 8 << 20;

/// Copies all blocks that hold data from `source` to `target`, which is new, at least as large, and closed at the end.
/// `observe` is told how many bytes are copied, and of how many; [`ControlFlow::Break`] ends it.
///
/// # Errors
/// [`VolumeError::Damaged`] if anything of the source cannot be read, [`VolumeError::Stopped`] if the observer ends it,
/// and those of the target's writes.
pub fn copy_resealed<S: Segments, T: Segments>(
    source: &Reader<S>,
    target: &Volume<T>,
    observe: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), VolumeError> {
    let block = BLOCK as u64;
    let mut total = 0;
    for range in source.live_ranges(0) {
        let range = range?;
        total += (range.end - range.start) * block;
    }
    let piece = (target.atomic_write() / BLOCK) as u64;
    let mut bytes = Zeroizing::new(vec![0; piece as usize * BLOCK]);
    let mut done = 0;
    for range in source.live_ranges(0) {
        let mut range = range?;
        while !range.is_empty() {
            let blocks = piece.min(range.end - range.start);
            let bytes = &mut bytes[..blocks as usize * BLOCK];
            source.read(range.start * block, bytes)?;
            target.write(range.start * block, bytes)?;
            range.start += blocks;
            done += blocks * block;
            if target.pending() >= PENDING {
                target.commit_down_to(0)?;
            }
            if target.checkpoint_is_due() {
                target.checkpoint()?;
            }
            if observe(done, total).is_break() {
                return Err(VolumeError::Stopped);
            }
        }
    }
    target.close()
}
