//! Nodes of the copy-on-write radix tree over block indexes, and the bounded cache of them. A leaf covers 2 MiB. Nodes
//! never change and places are never used twice, so a cached node is right for as long as something refers to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    VolumeError,
    buffer::Wiped,
    layout::{ALIGN, BLOCK, ENTRY, Entry, FANOUT, Place},
};

/// A node in the clear: [`FANOUT`] entries. Wiped on drop.
#[derive(Clone)]
pub(crate) struct Node(Wiped<Box<[u8]>>);

/// What a node says of a child.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Child {
    Hole,
    At(Entry),
    /// The node that knew could not be read when this one was written: its level, and its entry.
    Deferred(u8, Entry),
}

impl Node {
    pub fn empty() -> Self {
        Self(Wiped(vec![0; BLOCK].into_boxed_slice()))
    }

    /// A node each of whose children is known to another node alone, which cannot be read.
    pub fn deferring(level: u8, entry: Entry) -> Self {
        let offset = entry.place.offset + u32::from(level) + 1;
        let deferred = Entry { place: Place { offset, ..entry.place }, ..entry };
        let mut node = Self::empty();
        (0..FANOUT as u64).for_each(|child| node.set(child, Some(&deferred)));
        node
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Reads what [`Node::set`] or [`Node::deferring`] wrote: records are aligned, so the low bits of an offset tell.
    pub fn child(&self, index: u64) -> Result<Child, VolumeError> {
        let at = slot(index) * ENTRY;
        let entry = Entry::read(self.0[at..].first_chunk().expect("a slot lies inside a node"))?;
        let Some(entry) = entry else { return Ok(Child::Hole) };
        let low = entry.place.offset % ALIGN as u32;
        let place = Place { offset: entry.place.offset - low, ..entry.place };
        match low {
            0 => Ok(Child::At(entry)),
            1..=MAX_HEIGHT => Ok(Child::Deferred((low - 1) as u8, Entry { place, ..entry })),
            _ => Err(VolumeError::Damaged("malformed tree entry".into())),
        }
    }

    pub fn set(&mut self, index: u64, entry: Option<&Entry>) {
        let at = slot(index) * ENTRY;
        self.0[at..at + ENTRY].copy_from_slice(&Entry::write(entry));
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// Levels of the tree of the largest volume.
const MAX_HEIGHT: u32 = 4;

/// Where a tree begins. Until the first checkpoint after a volume has grown, its tree may be lower than it will be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Root {
    pub entry: Option<Entry>,
    /// Levels.
    pub height: u8,
}

impl Root {
    /// Whether a node of so high a level, and so far behind, can be in the tree.
    pub fn reaches(&self, level: u8, index: u64) -> bool {
        let above = self.height.checked_sub(level + 1);
        above.is_some_and(|above| index < (FANOUT as u64).pow(above.into()))
    }
}

/// Index, within its level, of the node above.
pub(crate) const fn parent(index: u64) -> u64 {
    index / FANOUT as u64
}

/// The slot of a child in its node.
const fn slot(index: u64) -> usize {
    (index % FANOUT as u64) as usize
}

/// Clean nodes, the ones used last (second chance, also called clock).
pub(crate) struct NodeCache(Mutex<Clock>);

struct Clock {
    capacity: usize,
    by_place: HashMap<Place, usize>,
    slots: Vec<(Place, Arc<Node>, bool)>,
    hand: usize,
    loaded: u64,
}

impl NodeCache {
    /// Keeps up to `bytes` of nodes, at least 16 of them.
    pub fn new(bytes: usize) -> Self {
        let capacity = (bytes / BLOCK).max(16);
        Self(Mutex::new(Clock { capacity, by_place: HashMap::new(), slots: Vec::new(), hand: 0, loaded: 0 }))
    }

    pub fn find(&self, place: Place) -> Option<Arc<Node>> {
        let mut clock = self.lock();
        let slot = *clock.by_place.get(&place)?;
        let (_, node, used) = clock.slots.get_mut(slot)?;
        *used = true;
        Some(node.clone())
    }

    /// Nodes that were entered: each was read, or is new.
    pub fn loaded(&self) -> u64 {
        self.lock().loaded
    }

    pub fn insert(&self, place: Place, node: Arc<Node>) {
        let mut clock = self.lock();
        clock.loaded += 1;
        if clock.by_place.contains_key(&place) {
            return;
        }
        if clock.slots.len() < clock.capacity {
            let slot = clock.slots.len();
            clock.slots.push((place, node, false));
            clock.by_place.insert(place, slot);
            return;
        }
        loop {
            let hand = clock.hand;
            clock.hand = (hand + 1) % clock.capacity;
            if std::mem::take(&mut clock.slots[hand].2) {
                continue;
            }
            let (old, ..) = std::mem::replace(&mut clock.slots[hand], (place, node, false));
            clock.by_place.remove(&old);
            clock.by_place.insert(place, hand);
            return;
        }
    }

    pub fn clear(&self) {
        let mut clock = self.lock();
        clock.by_place.clear();
        clock.slots.clear();
        clock.hand = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_within_its_bound_and_keeps_what_is_used() {
        let cache = NodeCache::new(0);
        let place = |segment| Place { segment, offset: 0 };
        for segment in 1..=100 {
            cache.insert(place(segment), Arc::new(Node::empty()));
            assert!(cache.find(place(1)).is_some(), "what is asked for stays");
        }
        assert_eq!((1..=100).filter(|s| cache.find(place(*s)).is_some()).count(), 16);
    }
}
