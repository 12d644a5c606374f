//! The cleaner: copies what is still live out of segments that are mostly dead, so that the next checkpoint can remove
//! them (decision 0105). Blocks go through the ordinary commits, nodes are rewritten by the checkpoint; the format
//! knows nothing of it.
//!
//! INVARIANT: only segments before the position of the last checkpoint are cleaned. No replay needs them, nothing is
//! written to them, and what is live in them is reached through the tree alone.

use std::{collections::VecDeque, sync::PoisonError};

use zeroize::Zeroizing;

use crate::{
    VolumeError,
    buffer::{AlignedBuffer, Plain, Wanted},
    group::{self, Group, GroupHead},
    keys::{Kind, RecordId},
    layout::{ALIGN, BLOCK, Entry, Place},
    read::read_exact,
    segments::Segments,
    tree::parent,
    volume::Volume,
};

/// Segments that may be dead, on top of three tenths of the live data, before cleaning begins.
const SLACK: u64 = 2;
/// Records that a step looks at, at most: most of those of a segment may be dead.
const MOST_RECORDS: usize = 1024;

/// A segment being cleaned, and its records that were not looked at yet.
pub(crate) struct Victim {
    segment: u32,
    records: VecDeque<(RecordId, Entry)>,
}

impl<S: Segments> Volume<S> {
    /// Moves up to `budget` bytes of live blocks out of a segment, if too much space is dead; says whether there may be
    /// more to do. Segments are given back by a checkpoint, which is taken here when enough of them are empty.
    ///
    /// # Errors
    /// As [`Volume::flush`]. A segment that cannot be read is no error: it is left as it is and counted in
    /// [`crate::Usages::stuck_segments`].
    pub fn clean_step(&self, budget: usize) -> Result<bool, VolumeError> {
        let mut current = self.cleaning.lock().unwrap_or_else(PoisonError::into_inner);
        // The tree's root stays the same meanwhile.
        let _no_checkpoint = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().check()?;
        let usable = |victim: &Victim| self.state().usage.contains_key(&victim.segment);
        let mut victim = match current.take().filter(usable) {
            Some(victim) => victim,
            None => {
                let Some(segment) = self.choose_victim() else {
                    let emptied = !self.state().emptied.is_empty();
                    if emptied {
                        self.checkpoint_alone()?;
                    }
                    return Ok(emptied);
                };
                match self.survey(segment) {
                    Ok(records) => Victim { segment, records },
                    Err(error) => return self.give_up(segment, error),
                }
            }
        };
        if let Err(error) = self.move_some(&mut victim, budget) {
            return self.give_up(victim.segment, error);
        }
        let Victim { segment, ref records } = victim;
        let done = records.is_empty();
        *current = Some(victim);
        self.flush()?;
        if done {
            *current = None;
            self.state().emptied.insert(segment);
        }
        Ok(true)
    }

    /// The segment whose cleaning is worth most: age × free / (1 + live fraction). `None` while little space is dead.
    fn choose_victim(&self) -> Option<u32> {
        let size = u64::from(self.segment_size);
        let mut old: Vec<(u32, u64)> = {
            let state = self.state();
            let live = |segment: &u32| state.usage.get(segment).map_or(0, |usage| u64::from(usage.live));
            let old = state.segments.range(..state.replay_from);
            let movable = |segment: &&u32| !state.emptied.contains(segment) && !state.stuck.contains(segment);
            old.filter(movable).map(|segment| (*segment, live(segment) * BLOCK as u64)).collect()
        };
        let is_due = |old: &[(u32, u64)]| {
            let live: u64 = old.iter().map(|(_, live)| live).sum();
            old.len() as u64 * size > live * 13 / 10 + SLACK * size
        };
        if !is_due(&old) {
            return None;
        }
        // What a snapshot or a clone holds as well would free nothing.
        old.retain(|(segment, _)| !self.segments.is_shared(*segment));
        if !is_due(&old) {
            return None;
        }
        let next = old.last().map_or(0, |(last, _)| *last) + 1;
        let worth = |(segment, live): &(u32, u64)| {
            u64::from(next - segment) * size.saturating_sub(*live) / (1 + live * 1024 / size)
        };
        // One without live records goes away by itself, and a nearly full one is not worth its copy.
        let worthy = old.iter().filter(|(_, live)| *live > 0 && live * 5 <= size * 4);
        worthy.max_by_key(|victim| worth(victim)).map(|(segment, _)| *segment)
    }

    /// Lists the records of a segment, from the descriptors of its groups. What lies behind a descriptor that does not
    /// open is not found: a segment that still has live records after the next checkpoint counts as stuck.
    fn survey(&self, segment: u32) -> Result<VecDeque<(RecordId, Entry)>, VolumeError> {
        let mut records = VecDeque::new();
        let mut offset = 0;
        let mut buffer = AlignedBuffer::new(ALIGN);
        while offset < self.segment_size {
            let front = buffer.resize(ALIGN);
            let read = self.segments.read(segment, offset, front);
            if read.map_err(|e| VolumeError::io(format!("read segment {segment}"), e))? < ALIGN {
                break;
            }
            let Some(head) = GroupHead::parse(front, offset, self.segment_size) else { break };
            let place = Place { segment, offset };
            let descriptor = buffer.resize(head.descriptor as usize);
            read_exact(&self.segments, segment, offset, descriptor)?;
            let opened = self.vault.with(|ring| group::open(ring, &head, place, descriptor))?;
            let Ok((tag, Ok(body))) = opened else { break };
            records.extend(Group { head, place, tag, body }.entries());
            offset += head.length() as u32;
        }
        Ok(records)
    }

    /// Looks at the next records of a victim: live blocks are written again, live nodes marked to be.
    fn move_some(&self, victim: &mut Victim, budget: usize) -> Result<(), VolumeError> {
        let most = (budget / BLOCK).max(1);
        let mut live = Vec::new();
        for _ in 0..MOST_RECORDS {
            if live.len() >= most {
                break;
            }
            let Some((id, entry)) = victim.records.pop_front() else { break };
            if self.tree_entry(&id)? != Some(entry) {
                continue;
            }
            match id.kind {
                Kind::Data => live.push((id, entry)),
                Kind::Node => {
                    // One that does not open would spoil the checkpoint.
                    let root = self.state().root;
                    self.find_node(root, id.level, id.index)?;
                    self.state().moving.insert((id.level, id.index));
                }
            }
        }
        let mut bytes = Zeroizing::new(vec![0; live.len() * BLOCK]);
        let parts = live.iter().zip(bytes.chunks_exact_mut(BLOCK));
        let mut fetches: Vec<_> =
            parts.map(|((id, entry), out)| (*id, *entry, Wanted::new(0, out))).collect();
        self.fetch(&mut fetches)?;
        drop(fetches);
        let plains: Vec<_> = bytes.chunks_exact(BLOCK).map(Plain::whole).collect();
        let mut state = self.state();
        state.check()?;
        for ((id, _), plain) in live.iter().zip(plains) {
            // Whatever the layers above the tree know is newer.
            if state.is_changed(id.index) {
                continue;
            }
            self.limit_batch(&mut state);
            state.open.changes.set(id.index, plain);
            state.cleaned_bytes += BLOCK as u64;
        }
        Ok(())
    }

    /// What the tree says of a record.
    fn tree_entry(&self, id: &RecordId) -> Result<Option<Entry>, VolumeError> {
        let root = self.state().root;
        let above = match id.kind {
            Kind::Data => 0,
            Kind::Node if id.level + 1 == self.height => return Ok(root),
            Kind::Node => id.level + 1,
        };
        match self.find_node(root, above, parent(id.index))? {
            Some(node) => node.child(id.index),
            None => Ok(None),
        }
    }

    /// Leaves a segment alone that cannot be read.
    fn give_up(&self, segment: u32, error: VolumeError) -> Result<bool, VolumeError> {
        match error {
            VolumeError::Damaged(_) | VolumeError::Io { .. } => {
                self.state().stuck.insert(segment);
                Ok(true)
            }
            error => Err(error),
        }
    }
}
