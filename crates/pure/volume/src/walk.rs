//! The tree in the order of its blocks, leaf by leaf, in the memory of a few nodes. A node that cannot be read is told
//! and passed by: what else there is can still be found.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use crate::{
    VolumeError,
    buffer::{AlignedBuffer, FULL, Wiped},
    check::why,
    layout::{BLOCK, Entry, FANOUT, Place},
    overlay::Found,
    read::{Records, read_exact},
    segments::Segments,
    state::data,
    tree::{Child, Node, Root, parent},
};

/// A node that cannot be read, so that what lies beneath it is not known.
#[derive(Debug)]
pub(crate) struct Lost {
    /// 0 for a leaf.
    pub level: u8,
    /// Index within its level.
    pub index: u64,
    pub place: Option<Place>,
    pub error: VolumeError,
}

impl Lost {
    /// The leaves beneath it; itself, if it is one.
    pub fn leaves(&self) -> Range<u64> {
        let span = span(self.level);
        self.index * span..(self.index + 1) * span
    }

    /// The blocks beneath it, in a volume of so many.
    pub fn blocks(&self, blocks: u64) -> Range<u64> {
        let Range { start, end } = self.leaves();
        start * FANOUT as u64..blocks.min(end * FANOUT as u64)
    }
}

/// Takes a block: its index, its record, and what came of opening it: its bytes, and which of its sectors are known.
pub(crate) type Each<'a> =
    dyn FnMut(u64, Entry, Result<(&[u8], u8), VolumeError>) -> Result<(), VolumeError> + 'a;

/// What lies over a tree, and the tree.
pub(crate) trait Layers {
    fn root(&self) -> Root;
    /// The first block, from block `first` on, of which the layers over the tree have a record.
    fn next_point(&self, first: u64) -> Option<u64>;
    /// What they say of a block.
    fn find(&self, index: u64) -> Found<Entry>;
}

/// The blocks of one leaf that hold data, and their newest records.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub blocks: Vec<(u64, Entry)>,
    /// Blocks of which only an older node knows that cannot be read, and why.
    pub unknown: Vec<u64>,
    pub error: Option<VolumeError>,
}

/// Where a walk over the leaves stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leaves {
    /// The first leaf not seen yet.
    next: u64,
    /// Before this leaf, the tree is not asked any more: it cannot be read there.
    tree_from: u64,
}

impl Leaves {
    /// Begins at a leaf.
    pub fn from(leaf: u64) -> Self {
        Self { next: leaf, tree_from: leaf }
    }

    /// The next leaf that has data, from the tree or from what lies over it; or the next node that is lost.
    pub fn next<S: Segments>(
        &mut self,
        records: &Records<'_, S>,
        layers: &impl Layers,
    ) -> Option<Result<Leaf, Lost>> {
        let changed = layers.next_point(self.next * FANOUT as u64).map(parent);
        let found = match records.next_leaf(layers.root(), self.next.max(self.tree_from)) {
            Ok(found) => found,
            Err(lost) if changed.is_some_and(|changed| changed < lost.leaves().start) => None,
            Err(lost) => {
                self.tree_from = lost.leaves().end;
                return Some(Err(lost));
            }
        };
        let in_tree = found.as_ref().map(|(index, _)| *index);
        let index = changed.into_iter().chain(in_tree).min()?;
        let node = found.filter(|(found, _)| *found == index).map(|(_, node)| node);
        self.next = index + 1;
        let mut leaf = Leaf { blocks: Vec::new(), unknown: Vec::new(), error: None };
        for block in index * FANOUT as u64..(index + 1) * FANOUT as u64 {
            let entry = match (layers.find(block), &node) {
                (Found::Point(entry), _) => Ok(Some(entry)),
                (Found::Below, Some(node)) => records.child(node, 0, block),
                (Found::Hole, _) | (Found::Below, None) => Ok(None),
            };
            match entry {
                Ok(entry) => leaf.blocks.extend(entry.map(|entry| (block, entry))),
                Err(error) => {
                    leaf.unknown.push(block);
                    leaf.error.get_or_insert(error);
                }
            }
        }
        Some(Ok(leaf))
    }
}

/// What is wrong with a block of which not all sectors are known.
pub(crate) fn lost_before(index: u64) -> String {
    format!("a part of block {index} was lost before")
}

/// Leaves beneath a node of a level.
fn span(level: u8) -> u64 {
    (FANOUT as u64).pow(level.into())
}

impl<S: Segments> Records<'_, S> {
    /// The first leaf, from leaf `first` on, that the tree under `root` has.
    fn next_leaf(&self, root: Root, first: u64) -> Result<Option<(u64, Arc<Node>)>, Lost> {
        match root.entry {
            Some(entry) if root.reaches(0, first) => self.next_beneath(root.height - 1, 0, entry, first),
            _ => Ok(None),
        }
    }

    /// Reads and opens the records of blocks, those that lie side by side at once, in the order of their places.
    ///
    /// # Errors
    /// Those of `each`. What cannot be read or opened is told to `each`.
    pub fn open_each(&self, mut blocks: Vec<(u64, Entry)>, each: &mut Each<'_>) -> Result<(), VolumeError> {
        blocks.sort_unstable_by_key(|(_, entry)| entry.place);
        let mut sealed = AlignedBuffer::new(0);
        let mut plain = Wiped([0; BLOCK]);
        let adjacent = |(_, a): &(u64, Entry), (_, b): &(u64, Entry)| {
            let next = a.place.offset.checked_add(BLOCK as u32);
            a.place.segment == b.place.segment && next == Some(b.place.offset)
        };
        for run in blocks.chunk_by(adjacent) {
            let Some((_, first)) = run.first() else { continue };
            let space = sealed.resize_for_transfers(run.len() * BLOCK, self.segments);
            let at_once = read_exact(self.segments, first.place.segment, first.place.offset, space).is_ok();
            for ((index, entry), sealed) in run.iter().zip(space.chunks_exact_mut(BLOCK)) {
                let read = match at_once {
                    true => Ok(()),
                    false => read_exact(self.segments, entry.place.segment, entry.place.offset, sealed),
                };
                let id = data(*index, entry);
                let opened = read.and_then(|()| self.open_record(&id, entry, sealed, &mut *plain));
                each(*index, *entry, opened.map(|known| (&plain[..], known)))?;
            }
        }
        Ok(())
    }

    /// Those of the blocks that cannot be read, and why.
    ///
    /// # Errors
    /// [`VolumeError::Locked`].
    pub fn find_damage(&self, blocks: Vec<(u64, Entry)>) -> Result<Vec<(u64, Entry, String)>, VolumeError> {
        let mut failed = Vec::new();
        self.open_each(blocks, &mut |index, entry, opened| {
            match opened {
                Ok((_, FULL)) => {}
                Ok(_) => failed.push((index, entry, lost_before(index))),
                Err(error) => failed.push((index, entry, why(error)?)),
            }
            Ok(())
        })?;
        Ok(failed)
    }

    /// Counts the records of each segment that a tree has, with its nodes.
    ///
    /// # Errors
    /// As a read; [`VolumeError::Damaged`] where a node leaves something to an older one: then nobody counts exactly.
    pub fn count_live(&self, root: Root, live: &mut BTreeMap<u32, u32>) -> Result<(), VolumeError> {
        match &root.entry {
            Some(entry) => self.count_beneath(root.height - 1, 0, entry, live),
            None => Ok(()),
        }
    }

    fn count_beneath(
        &self,
        level: u8,
        index: u64,
        entry: &Entry,
        live: &mut BTreeMap<u32, u32>,
    ) -> Result<(), VolumeError> {
        let node = self.load_node(level, index, entry)?;
        *live.entry(entry.place.segment).or_default() += 1;
        for child in index * FANOUT as u64..(index + 1) * FANOUT as u64 {
            match node.child(child)? {
                Child::At(entry) if level > 0 => self.count_beneath(level - 1, child, &entry, live)?,
                Child::At(entry) => *live.entry(entry.place.segment).or_default() += 1,
                Child::Hole => {}
                Child::Deferred(..) => return Err(VolumeError::Damaged("an older node is needed".into())),
            }
        }
        Ok(())
    }

    fn next_beneath(
        &self,
        level: u8,
        index: u64,
        entry: Entry,
        first: u64,
    ) -> Result<Option<(u64, Arc<Node>)>, Lost> {
        let lost = |error| Lost { level, index, place: Some(entry.place), error };
        let node = self.load_node(level, index, &entry).map_err(lost)?;
        if level == 0 {
            return Ok(Some((index, node)));
        }
        let children = index * FANOUT as u64..(index + 1) * FANOUT as u64;
        let below = span(level - 1);
        for child in children.start.max(first / below)..children.end {
            let lost = |error| Lost { level: level - 1, index: child, place: None, error };
            let Some(entry) = self.child(&node, level, child).map_err(lost)? else { continue };
            if let Some(found) = self.next_beneath(level - 1, child, entry, first)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
