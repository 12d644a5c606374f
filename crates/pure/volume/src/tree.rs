//! Nodes of the copy-on-write radix tree over block indexes, and the bounded cache of them. A leaf covers 2 MiB. Nodes
//! never change and places are never used twice, so a cached node is right for as long as something refers to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    VolumeError,
    layout::{BLOCK, ENTRY, Entry, FANOUT, Place},
};

/// A node in the clear: [`FANOUT`] entries.
#[derive(Clone)]
pub(crate) struct Node(Box<[u8; BLOCK]>);

impl Node {
    pub fn empty() -> Self {
        Self(vec![0; BLOCK].try_into().expect("the length of a block"))
    }

    pub fn bytes(&self) -> &[u8] {
        &*self.0
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut *self.0
    }

    pub fn child(&self, index: u64) -> Result<Option<Entry>, VolumeError> {
        let at = slot(index) * ENTRY;
        Entry::read(self.0[at..].first_chunk().expect("a slot lies inside a node"))
    }

    pub fn set(&mut self, index: u64, entry: Option<&Entry>) {
        let at = slot(index) * ENTRY;
        self.0[at..at + ENTRY].copy_from_slice(&Entry::write(entry));
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
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
}

impl NodeCache {
    /// Keeps up to `bytes` of nodes, at least 16 of them.
    pub fn new(bytes: usize) -> Self {
        let capacity = (bytes / BLOCK).max(16);
        Self(Mutex::new(Clock { capacity, by_place: HashMap::new(), slots: Vec::new(), hand: 0 }))
    }

    pub fn find(&self, place: Place) -> Option<Arc<Node>> {
        let mut clock = self.lock();
        let slot = *clock.by_place.get(&place)?;
        let (_, node, used) = clock.slots.get_mut(slot)?;
        *used = true;
        Some(node.clone())
    }

    pub fn insert(&self, place: Place, node: Arc<Node>) {
        let mut clock = self.lock();
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
