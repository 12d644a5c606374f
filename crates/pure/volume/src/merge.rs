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
    error::is_full,
    keys::Kind,
    layout::{BLOCK, Entry, FANOUT, Place, Position, height},
    overlay::Overlay,
    read::Unreadable,
    segments::Segments,
    state::live_records,
    tree::{Child, Node, Root, parent},
    volume::Volume,
};

/// Bytes of nodes that are appended at once: a flush waits no longer than for so many.
const MOST_NODES: usize = 512 << 10;

/// A checkpoint in the making. Nothing of it shows until it is whole.
struct Merge<'a, S> {
    volume: &'a Volume<S>,
    old_root: Root,
    /// Levels that the new tree has.
    height: u8,
    /// Bytes of log that it makes needless.
    log_bytes: u64,
    /// Blocks discarded in it.
    discarded: u64,
    usage: BTreeMap<u32, Usage>,
    /// Nodes that are written again even if they stay the same.
    moving: BTreeSet<(u8, u64)>,
    /// Blocks that were copied: the old record, and the new one.
    moved: BTreeMap<u64, (Entry, Entry)>,
    live_blocks: u64,
    /// Old nodes that could not be read and are still referred to.
    deferred: BTreeSet<Place>,
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
        let written = merge.run(&changes).and_then(|root| {
            let checkpoint = Checkpoint {
                from,
                root,
                height: merge.height,
                live_blocks: merge.live_blocks,
                usage: merge.usage,
            };
            self.write_checkpoint(checkpoint.clone())?;
            Ok(checkpoint)
        });
        match written {
            Ok(checkpoint) => self.end_checkpoint(checkpoint, merge.log_bytes, merge.discarded, emptied),
            Err(error) => {
                // What the cleaner has done is not done in vain.
                let mut state = self.state();
                state.moved.extend(merge.moved);
                state.moving.extend(merge.moving);
                state.emptied.extend(emptied);
                Err(error)
            }
        }
    }

    /// Takes the changes to be merged; they stay readable.
    #[expect(clippy::type_complexity, reason = "three things that belong to no one else")]
    fn begin_checkpoint(&self) -> Result<Option<(Arc<Overlay<Entry>>, Position, Merge<'_, S>)>, VolumeError> {
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
        let mut moving = std::mem::take(&mut state.moving);
        let anyway = std::mem::take(&mut state.checkpoint_anyway);
        let moved = std::mem::take(&mut state.moved);
        let idle = moving.is_empty() && moved.is_empty() && state.emptied.is_empty();
        if changes.is_empty() && idle && !anyway {
            return Ok(None);
        }
        // Whoever wrote beyond an older size had seen this one.
        let height = height(self.size() / BLOCK as u64);
        if height > state.root.height && state.root.entry.is_some() {
            // The old root becomes the first child of a new node.
            moving.insert((state.root.height, 0));
        }
        let changes = Arc::new(changes);
        state.merging = Some(changes.clone());
        let merge = Merge {
            volume: self,
            old_root: state.root,
            height,
            log_bytes: state.log_bytes,
            discarded: state.discarded,
            usage: state.usage.clone(),
            moving,
            moved,
            live_blocks: state.live_blocks,
            deferred: BTreeSet::new(),
        };
        Ok(Some((changes, state.head, merge)))
    }

    fn write_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), VolumeError> {
        let group = self.append_group(&[], Some(checkpoint))?;
        let Position { epoch, sequence, chain, .. } = *group.after();
        let descriptor = group.bytes.len() as u32;
        let slot = Slot { epoch, sequence, place: group.place(), descriptor, tag: chain };
        let mut bytes = AlignedBuffer::new(SLOT);
        self.vault.with(|ring| slot.seal(ring, group.slot_counter(), &mut bytes))?;
        // Commits go on meanwhile: the group that the slot names is durable.
        let other = 1 - self.log().slot;
        if let Err(error) = self.segments.write_checkpoint(other, &bytes) {
            // Without space nothing else is in doubt: a torn slot leaves the other one, and a whole one is true.
            if !is_full(&error) {
                self.stop();
            }
            return Err(VolumeError::io("write the checkpoint", error));
        }
        let mut log = self.log();
        log.slot = other;
        log.slot_epochs[other] = epoch;
        Ok(())
    }

    /// Shows the new tree, and removes what nothing needs any more.
    fn end_checkpoint(
        &self,
        checkpoint: Checkpoint,
        log_bytes: u64,
        discarded: u64,
        emptied: BTreeSet<u32>,
    ) -> Result<(), VolumeError> {
        let live_records = live_records(&checkpoint.usage);
        let dead: Vec<u32> = {
            let mut state = self.state();
            state.check()?;
            state.live_records = live_records;
            state.root = checkpoint.root();
            state.live_blocks = checkpoint.live_blocks;
            state.usage = checkpoint.usage;
            state.merging = None;
            state.aside.clear();
            state.log_bytes -= log_bytes;
            state.discarded -= discarded;
            state.version += 1;
            state.replay_from = checkpoint.from.place.segment;
            state.replay_epoch = checkpoint.from.epoch;
            for segment in emptied {
                if state.usage.contains_key(&segment) {
                    state.stuck.insert(segment);
                    state
                        .note_lost(format!("segment {segment}: some of its records cannot be read or found"));
                }
            }
            let older = state.segments.range(..checkpoint.from.place.segment);
            let dead = |segment: &u32| !state.usage.contains_key(segment) && state.tail != Some(*segment);
            older.copied().filter(dead).collect()
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
        for level in 1..self.height {
            above = self.merge_level(level, &above)?;
        }
        // The root of a tree that has become higher is counted as a child by now.
        let old_root = self.old_root.entry.filter(|_| self.old_root.height == self.height);
        let root = match above.points().get(&0) {
            Some(entry) => Some(*entry),
            None if above.hole_at(0) => None,
            None => return Ok(old_root),
        };
        self.replaced(old_root, root);
        Ok(root)
    }

    /// Changes the nodes of one level; returns the changes to the entries of the level above.
    fn merge_level(&mut self, level: u8, changes: &Overlay<Entry>) -> Result<Overlay<Entry>, VolumeError> {
        let mut touched: BTreeSet<u64> = changes.points().keys().map(|index| parent(*index)).collect();
        touched.extend(self.moving.range((level, 0)..=(level, u64::MAX)).map(|(_, index)| *index));
        if level == 0 {
            touched.extend(self.moved.keys().map(|index| parent(*index)));
        }
        for hole in changes.holes() {
            self.existing(level, parent(hole.start)..parent(hole.end - 1) + 1, &mut touched)?;
        }
        let mut above = Overlay::default();
        let mut batch = Vec::new();
        for index in touched {
            let before = self.old_node(level, index)?;
            let mut node = before.clone();
            self.change_node(level, index, changes, &mut node)?;
            if node.is_empty() {
                above.clear(index..index + 1);
            } else if node.bytes() != before.bytes() || self.moving.contains(&(level, index)) {
                batch.push((index, node));
            }
            if batch.len() * BLOCK >= self.volume.batch_size().min(MOST_NODES) {
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
        if level == 0 {
            // Whatever changed since takes their place at once.
            let moved: Vec<_> =
                self.moved.range(children.clone()).map(|(child, moved)| (*child, *moved)).collect();
            for (child, (old, new)) in moved {
                if node.child(child)? == Child::At(old) {
                    node.set(child, Some(&new));
                    self.replaced_at(level, Child::At(old), Some(new));
                }
            }
        }
        for child in changes.holes_in(children.clone()).flatten() {
            let old = node.child(child)?;
            if old != Child::Hole {
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

    /// A node as the old tree has it; above its root there is one that has that as its first child. Where it cannot be
    /// read, all that it knew is left to it: what is written now is kept, and the rest stays an error until it is written
    /// again or the node can be read.
    fn old_node(&mut self, level: u8, index: u64) -> Result<Node, VolumeError> {
        if (level, index) == (self.old_root.height, 0) {
            let mut node = Node::empty();
            node.set(0, self.old_root.entry.as_ref());
            return Ok(node);
        }
        match self.volume.find_node(self.old_root, level, index) {
            Ok(node) => Ok(node.as_deref().cloned().unwrap_or_else(Node::empty)),
            Err(Unreadable { level, entry, error }) if error.is_loss() => {
                self.deferred.insert(entry.place);
                Ok(Node::deferring(level, entry))
            }
            Err(Unreadable { error, .. }) => Err(error),
        }
    }

    /// Finds the nodes of a level that the old tree has, or may have, in a range.
    fn existing(
        &mut self,
        level: u8,
        range: Range<u64>,
        found: &mut BTreeSet<u64>,
    ) -> Result<(), VolumeError> {
        let root = self.old_root.entry.filter(|_| level < self.old_root.height);
        let mut at: Vec<u64> = root.map(|_| 0).into_iter().collect();
        for above in (level + 1..self.old_root.height).rev() {
            let span = (FANOUT as u64).pow(u32::from(above - 1 - level));
            let wanted = range.start / span..(range.end - 1) / span + 1;
            let mut below = Vec::new();
            for index in at {
                let node = self.old_node(above, index)?;
                let children = index * FANOUT as u64..(index + 1) * FANOUT as u64;
                for child in children.start.max(wanted.start)..children.end.min(wanted.end) {
                    if node.child(child)? != Child::Hole {
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
        let group = volume.append_group(&blocks, None)?;
        for ((index, node), entry) in batch.drain(..).zip(group.entries()) {
            volume.nodes.insert(entry.place, Arc::new(node));
            above.set(index, *entry);
        }
        volume.buffers.give(group.bytes);
        Ok(())
    }

    fn replaced_at(&mut self, level: u8, old: Child, new: Option<Entry>) {
        // Of what an unreadable node knew nothing is counted down: its segments are kept.
        let old = if let Child::At(entry) = old { Some(entry) } else { None };
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
            && !self.deferred.contains(&place)
            && let Some(usage) = self.usage.get_mut(&place.segment)
        {
            usage.live -= 1;
            if usage.live == 0 {
                self.usage.remove(&place.segment);
            }
        }
    }
}
