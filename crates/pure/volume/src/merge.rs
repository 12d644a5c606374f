//! A checkpoint: what changed since the last one is merged into the tree, level by level, and the new nodes are
//! appended to the log like blocks; commits go on in between. Then a group names the new root, a slot names that
//! group, and segments in which nothing is live any more are removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, PoisonError},
};

use crate::{
    VolumeError,
    buffer::AlignedBuffer,
    checkpoint::{Checkpoint, SLOT, Slot, Usage},
    keys::Kind,
    layout::{BLOCK, Entry, FANOUT, Position},
    overlay::Overlay,
    segments::Segments,
    tree::{Node, parent},
    volume::Volume,
};

/// A checkpoint in the making. Nothing of it shows until it is whole.
struct Merge<'a, S> {
    volume: &'a Volume<S>,
    old_root: Option<Entry>,
    /// Bytes of log that it makes needless.
    log_bytes: u64,
    usage: BTreeMap<u32, Usage>,
    /// Nodes that are written again even if they stay the same.
    moving: BTreeSet<(u8, u64)>,
    live_blocks: u64,
}

impl<S: Segments> Volume<S> {
    /// Writes a checkpoint of everything that is committed, if anything is newer than the last one.
    ///
    /// # Errors
    /// As [`Volume::flush`]; what was acknowledged is safe all the same.
    pub fn checkpoint(&self) -> Result<(), VolumeError> {
        let _one_at_a_time = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.checkpoint_alone()
    }

    /// As [`Volume::checkpoint`], for those who hold that lock already.
    pub(crate) fn checkpoint_alone(&self) -> Result<(), VolumeError> {
        let Some((changes, from, mut merge)) = self.begin_checkpoint()? else { return Ok(()) };
        let emptied = std::mem::take(&mut self.state().emptied);
        let root = merge.run(&changes).inspect_err(|error| {
            // A node that cannot be read must not be moved again and again.
            if matches!(error, VolumeError::Damaged(_)) {
                self.state().stuck.extend(&emptied);
            }
        })?;
        let checkpoint = Checkpoint {
            from,
            root,
            height: self.height,
            live_blocks: merge.live_blocks,
            usage: merge.usage,
        };
        self.write_checkpoint(checkpoint.clone())?;
        self.end_checkpoint(checkpoint, merge.log_bytes, emptied)
    }

    /// Takes the changes to be merged; they stay readable.
    #[expect(clippy::type_complexity, reason = "three things that belong to no one else")]
    fn begin_checkpoint(&self) -> Result<Option<(Arc<Overlay<Entry>>, Position, Merge<'_, S>)>, VolumeError> {
        let log = self.log();
        let mut state = self.state();
        state.check()?;
        let newer = std::mem::take(&mut state.entries);
        // A checkpoint that failed half-way has left its changes.
        let changes = match state.merging.take() {
            None => newer,
            Some(older) => {
                let mut all = Arc::unwrap_or_clone(older);
                all.absorb(newer);
                all
            }
        };
        // If this fails, the cleaner finds them again.
        let moving = std::mem::take(&mut state.moving);
        if changes.is_empty() && moving.is_empty() && state.emptied.is_empty() {
            return Ok(None);
        }
        let changes = Arc::new(changes);
        state.merging = Some(changes.clone());
        let merge = Merge {
            volume: self,
            old_root: state.root,
            log_bytes: state.log_bytes,
            usage: state.usage.clone(),
            moving,
            live_blocks: state.live_blocks,
        };
        Ok(Some((changes, log.position, merge)))
    }

    fn write_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), VolumeError> {
        let mut log = self.log();
        let sealed = self.seal_group(&mut log, &[], Vec::new(), Some(checkpoint))?;
        let place = log.position.place;
        let descriptor = sealed.length();
        self.write_group(&mut log, sealed)?;
        let Position { epoch, sequence, chain, .. } = log.position;
        let slot = Slot { epoch, sequence, place, descriptor, tag: chain };
        let counter = log.next_counter();
        let mut bytes = AlignedBuffer::new(SLOT);
        self.vault.with(|ring| slot.seal(ring, counter, &mut bytes))?;
        let other = 1 - log.slot;
        if let Err(error) = self.segments.write_checkpoint(other, &bytes) {
            self.stop();
            return Err(VolumeError::io("write the checkpoint", error));
        }
        log.slot = other;
        Ok(())
    }

    /// Shows the new tree, and removes what nothing needs any more.
    fn end_checkpoint(
        &self,
        checkpoint: Checkpoint,
        log_bytes: u64,
        emptied: BTreeSet<u32>,
    ) -> Result<(), VolumeError> {
        let dead: Vec<u32> = {
            let mut state = self.state();
            state.check()?;
            state.root = checkpoint.root;
            state.live_blocks = checkpoint.live_blocks;
            state.usage = checkpoint.usage;
            state.merging = None;
            state.log_bytes -= log_bytes;
            state.version += 1;
            state.replay_from = checkpoint.from.place.segment;
            let still_used: Vec<u32> =
                emptied.into_iter().filter(|segment| state.usage.contains_key(segment)).collect();
            state.stuck.extend(still_used);
            let older = state.segments.range(..checkpoint.from.place.segment);
            older.copied().filter(|segment| !state.usage.contains_key(segment)).collect()
        };
        for segment in dead {
            // One that cannot be removed now is tried again at the next checkpoint.
            if self.segments.remove(segment).is_ok() {
                let mut state = self.state();
                state.segments.remove(&segment);
                state.stuck.remove(&segment);
                state.freed_segments += 1;
            }
        }
        Ok(())
    }
}

impl<S: Segments> Merge<'_, S> {
    fn run(&mut self, changes: &Overlay<Entry>) -> Result<Option<Entry>, VolumeError> {
        let mut above = self.merge_level(0, changes)?;
        for level in 1..self.volume.height {
            above = self.merge_level(level, &above)?;
        }
        let root = match above.points().get(&0) {
            Some(entry) => Some(*entry),
            None if above.hole_at(0) => None,
            None => return Ok(self.old_root),
        };
        self.replaced(self.old_root, root);
        Ok(root)
    }

    /// Changes the nodes of one level; returns the changes to the entries of the level above.
    fn merge_level(&mut self, level: u8, changes: &Overlay<Entry>) -> Result<Overlay<Entry>, VolumeError> {
        let mut touched: BTreeSet<u64> = changes.points().keys().map(|index| parent(*index)).collect();
        touched.extend(self.moving.range((level, 0)..=(level, u64::MAX)).map(|(_, index)| *index));
        for hole in changes.holes() {
            self.existing(level, parent(hole.start)..parent(hole.end - 1) + 1, &mut touched)?;
        }
        let mut above = Overlay::default();
        let mut batch = Vec::new();
        for index in touched {
            let old = self.volume.find_node(self.old_root, level, index)?;
            let before = old.as_deref().cloned().unwrap_or_else(Node::empty);
            let mut node = before.clone();
            self.change_node(level, index, changes, &mut node)?;
            if node.is_empty() {
                above.clear(index..index + 1);
            } else if node.bytes() != before.bytes() || self.moving.contains(&(level, index)) {
                batch.push((index, node));
            }
            if batch.len() * BLOCK >= self.volume.batch_size() {
                self.append(level, &mut batch, &mut above)?;
            }
        }
        self.append(level, &mut batch, &mut above)?;
        Ok(above)
    }

    fn change_node(
        &mut self,
        level: u8,
        index: u64,
        changes: &Overlay<Entry>,
        node: &mut Node,
    ) -> Result<(), VolumeError> {
        let children = index * FANOUT as u64..(index + 1) * FANOUT as u64;
        for child in changes.holes_in(children.clone()).flatten() {
            let old = node.child(child)?;
            if old.is_some() {
                node.set(child, None);
                self.replaced_at(level, old, None);
            }
        }
        for (child, entry) in changes.points().range(children) {
            let old = node.child(*child)?;
            node.set(*child, Some(entry));
            self.replaced_at(level, old, Some(*entry));
        }
        Ok(())
    }

    /// Finds the nodes of a level that the old tree has in a range.
    fn existing(&self, level: u8, range: Range<u64>, found: &mut BTreeSet<u64>) -> Result<(), VolumeError> {
        let mut at: Vec<u64> = self.old_root.map(|_| 0).into_iter().collect();
        for above in (level + 1..self.volume.height).rev() {
            let span = (FANOUT as u64).pow(u32::from(above - 1 - level));
            let wanted = range.start / span..(range.end - 1) / span + 1;
            let mut below = Vec::new();
            for index in at {
                let Some(node) = self.volume.find_node(self.old_root, above, index)? else { continue };
                let children = index * FANOUT as u64..(index + 1) * FANOUT as u64;
                for child in children.start.max(wanted.start)..children.end.min(wanted.end) {
                    if node.child(child)?.is_some() {
                        below.push(child);
                    }
                }
            }
            at = below;
        }
        found.extend(at);
        Ok(())
    }

    /// Appends new nodes to the log, and enters them for the level above.
    fn append(
        &mut self,
        level: u8,
        batch: &mut Vec<(u64, Node)>,
        above: &mut Overlay<Entry>,
    ) -> Result<(), VolumeError> {
        if batch.is_empty() {
            return Ok(());
        }
        let volume = self.volume;
        let blocks: Vec<_> =
            batch.iter().map(|(index, node)| (Kind::Node, level, *index, node.bytes())).collect();
        let mut log = volume.log();
        volume.state().check()?;
        let sealed = volume.seal_group(&mut log, &blocks, Vec::new(), None)?;
        let entries = volume.write_group(&mut log, sealed)?;
        drop(log);
        for ((index, node), entry) in batch.drain(..).zip(entries) {
            volume.nodes.insert(entry.place, Arc::new(node));
            above.set(index, entry);
        }
        Ok(())
    }

    fn replaced_at(&mut self, level: u8, old: Option<Entry>, new: Option<Entry>) {
        if level == 0 {
            self.live_blocks += u64::from(new.is_some());
            self.live_blocks -= u64::from(old.is_some());
        }
        self.replaced(old, new);
    }

    /// Counts a record that takes the place of another.
    fn replaced(&mut self, old: Option<Entry>, new: Option<Entry>) {
        if let Some(Entry { place, epoch, .. }) = new {
            self.usage.entry(place.segment).or_insert(Usage { live: 0, epoch }).live += 1;
        }
        if let Some(Entry { place, .. }) = old
            && let Some(usage) = self.usage.get_mut(&place.segment)
        {
            usage.live -= 1;
            if usage.live == 0 {
                self.usage.remove(&place.segment);
            }
        }
    }
}
