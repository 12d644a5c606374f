//! Where the cleaner writes: segments of its own, beside the log. What it moves is cold, and stays apart from what is
//! written now; and nobody who flushes waits for it.
//!
//! A group that is written aside looks like one of the log, but is none: its sequence number is 0, no group follows it,
//! and no replay enters it. Only the tree of a later checkpoint refers to its blocks. Until then, and after a crash
//! before it, they are nothing, and the segments that they were copied from are still there (decision 0122).
//!
//! INVARIANT: a segment holds groups of the log or groups aside, never both. Counters come from those of the epoch.

use crate::{
    VolumeError,
    group::{self, GroupHead},
    layout::{BLOCK, Entry, Place, TAG},
    log::Block,
    segments::Segments,
    volume::Volume,
};

/// The segment that is being written aside.
#[derive(Debug)]
pub(crate) struct Tail {
    pub segment: u32,
    offset: u32,
    pub epoch: u32,
}

impl<S: Segments> Volume<S> {
    /// Seals blocks and writes them aside; they are durable on return. A failure loses space at most: what may have
    /// been written is not referred to, and neither its place nor its counters are used again.
    pub(crate) fn write_aside(
        &self,
        tail: &mut Option<Tail>,
        blocks: &[Block<'_>],
    ) -> Result<Vec<Entry>, VolumeError> {
        let descriptor = group::descriptor_length(blocks.len(), 0, 0);
        let length = descriptor + blocks.len() * BLOCK;
        let (epoch, counter, sequence) = self.spend_counters(blocks.len() as u64 + 1)?;
        let fits = |tail: &Tail| {
            tail.epoch == epoch && u64::from(tail.offset) + length as u64 <= u64::from(self.segment_size)
        };
        let Tail { segment, offset, .. } = match tail.take() {
            Some(open) if fits(&open) => open,
            full => {
                self.end_aside(full);
                let segment = self.make_segment_aside()?;
                Tail { segment, offset: 0, epoch }
            }
        };
        let head = GroupHead {
            epoch,
            counter: counter + blocks.len() as u32,
            sequence: 0,
            descriptor: descriptor as u32,
            blocks: blocks.len() as u32,
        };
        // When it was copied: a salvage that has no checkpoint left can tell which copy is newer.
        let mut since = [0; TAG];
        since[..8].copy_from_slice(&sequence.to_le_bytes());
        let mut bytes = self.buffers.take();
        let space = bytes.resize_for_transfers(length, &self.segments);
        let place = Place { segment, offset };
        let (_, entries) =
            self.vault.with(|ring| group::seal_blocks(ring, &head, place, since, blocks, space))?;
        let written = self.segments.write(segment, offset, space);
        self.buffers.give(bytes);
        written.map_err(|e| VolumeError::io(format!("write segment {segment}"), e))?;
        *tail = Some(Tail { segment, offset: offset + length as u32, epoch });
        Ok(entries)
    }

    /// How many blocks one group aside may have so that it fills the segment that is being written, or the next one.
    pub(crate) fn room_aside(&self, tail: Option<&Tail>) -> usize {
        let size = self.segment_size as usize;
        let most = |room: usize| {
            let blocks = room / BLOCK;
            (0..=blocks).rev().find(|blocks| group::descriptor_length(*blocks, 0, 0) + blocks * BLOCK <= room)
        };
        let left = tail.and_then(|tail| most(size - tail.offset as usize)).filter(|blocks| *blocks > 0);
        left.or_else(|| most(size)).unwrap_or(1)
    }

    /// Writes nothing more into the segment aside.
    pub(crate) fn end_aside(&self, tail: Option<Tail>) {
        if let Some(Tail { segment, offset, .. }) = tail {
            // Only space is lost if this fails.
            let _ = self.segments.finish(segment, offset);
        }
    }

    fn make_segment_aside(&self) -> Result<u32, VolumeError> {
        let segment = {
            let log = self.log();
            let mut state = self.state();
            let last = state.segments.last().copied().max(Some(log.position.place.segment));
            let segment = last.map_or(1, |last| last + 1);
            state.segments.insert(segment);
            segment
        };
        // Nobody else waits for this.
        self.segments.create_from_reserve(segment, self.segment_size).map_err(|e| {
            self.state().segments.remove(&segment);
            VolumeError::io(format!("make segment {segment}"), e)
        })?;
        Ok(segment)
    }
}
