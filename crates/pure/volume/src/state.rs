//! What an open volume knows: unwritten blocks, changes since the checkpoint, and the tree's root. Newer layers hide
//! older ones:
//!
//! ```text
//! open batch ─► closed batches ─► batch being committed ─► recently committed ─► recent entries ─► entries being
//! merged by a checkpoint ─► tree
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
};

use crate::{
    VolumeError,
    buffer::{FULL, Plain, Wanted},
    checkpoint::Usage,
    keys::{Kind, RecordId},
    layout::{BLOCK, Entry},
    overlay::{Found, Overlay},
};

/// Writes and discards that become one group. A WRITE is never split over two batches.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Batches are numbered in the order in which they are committed.
    pub serial: u64,
    pub changes: Overlay<Plain>,
}

impl Batch {
    pub fn bytes(&self) -> usize {
        self.changes.points().len() * BLOCK
    }
}

/// Whether a volume takes requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Running,
    /// A durable write failed: what the disk holds is not known until the next open.
    Stopped,
    Locked,
}

/// Where the part of a block is found that no plaintext in memory has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Below {
    /// Nothing more is needed.
    Complete,
    Record(RecordId, Entry),
    /// What the tree says, from this root.
    Tree(Option<Entry>),
}

/// Behind the lock of a volume. Nobody does I/O while holding it.
#[derive(Debug)]
pub(crate) struct State {
    pub status: Status,
    pub open: Batch,
    pub closed: VecDeque<Arc<Batch>>,
    pub committing: Option<Arc<Batch>>,
    /// The newest first. A cache: what it says is in `entries` or the tree as well.
    pub committed: VecDeque<Arc<Batch>>,
    /// Serial of the last batch that is durable.
    pub durable: u64,
    pub entries: Overlay<Entry>,
    pub merging: Option<Arc<Overlay<Entry>>>,
    pub root: Option<Entry>,
    /// Checkpoints since the open. Segments go away after one: a failed read is tried again if it has changed.
    pub version: u64,
    /// Live records of each segment as of the checkpoint.
    pub usage: BTreeMap<u32, Usage>,
    pub live_blocks: u64,
    /// The first segment that a replay needs.
    pub replay_from: u32,
    /// Nodes that the next checkpoint is to write again: level, index.
    pub moving: BTreeSet<(u8, u64)>,
    /// Segments that the next checkpoint will find dead.
    pub emptied: BTreeSet<u32>,
    /// Segments that could not be cleaned.
    pub stuck: BTreeSet<u32>,
    /// Bytes of blocks that the cleaner has moved since the open.
    pub cleaned_bytes: u64,
    /// Segments removed since the open.
    pub freed_segments: u64,
    pub segments: BTreeSet<u32>,
    /// Bytes of log since the checkpoint.
    pub log_bytes: u64,
    /// Sequence number of the last durable group.
    pub sequence: u64,
}

impl State {
    pub fn check(&self) -> Result<(), VolumeError> {
        match self.status {
            Status::Running => Ok(()),
            Status::Stopped => Err(VolumeError::Stopped),
            Status::Locked => Err(VolumeError::Locked),
        }
    }

    /// Unwritten bytes.
    pub fn pending(&self) -> usize {
        let closed: usize = self.closed.iter().chain(&self.committing).map(|batch| batch.bytes()).sum();
        self.open.bytes() + closed
    }

    /// Serial of the last batch that has anything in it.
    pub fn last_serial(&self) -> u64 {
        if self.open.changes.is_empty() { self.open.serial - 1 } else { self.open.serial }
    }

    /// Ends the open batch if it has anything in it.
    pub fn close_batch(&mut self) {
        if !self.open.changes.is_empty() {
            let next = Batch { serial: self.open.serial + 1, ..Batch::default() };
            self.closed.push_back(Arc::new(std::mem::replace(&mut self.open, next)));
        }
    }

    /// Takes the oldest batch to be committed; it stays readable.
    pub fn begin_commit(&mut self) -> Option<Arc<Batch>> {
        if self.closed.is_empty() {
            self.close_batch();
        }
        self.committing = self.closed.pop_front();
        self.committing.clone()
    }

    /// Puts the batch back that could not be committed.
    pub fn cancel_commit(&mut self) {
        if let Some(batch) = self.committing.take() {
            self.closed.push_front(batch);
        }
    }

    /// Enters a batch whose group is durable. `entries` are those of its points, in order.
    pub fn end_commit(&mut self, entries: &[Entry], keep: usize) {
        let Some(batch) = self.committing.take() else { return };
        self.apply(
            batch.changes.holes(),
            batch.changes.points().keys().copied().zip(entries.iter().copied()),
        );
        self.durable = batch.serial;
        self.committed.push_front(batch);
        let mut kept = 0;
        self.committed.retain(|batch| {
            kept += batch.bytes().max(BLOCK); // discards take room as well, and time to look through
            kept <= keep
        });
    }

    /// Enters the holes and then the blocks of a group.
    pub fn apply(
        &mut self,
        holes: impl Iterator<Item = Range<u64>>,
        blocks: impl Iterator<Item = (u64, Entry)>,
    ) {
        for hole in holes {
            self.entries.clear(hole);
        }
        for (index, entry) in blocks {
            self.entries.set(index, entry);
        }
    }

    /// Whether a block was written or discarded, perhaps in part, since the tree was.
    pub fn is_changed(&self, index: u64) -> bool {
        let shared = self.closed.iter().chain(&self.committing).map(|batch| &**batch);
        let mut batches = std::iter::once(&self.open).chain(shared);
        let mut entries = std::iter::once(&self.entries).chain(self.merging.as_deref());
        batches.any(|batch| !matches!(batch.changes.find(index), Found::Below))
            || entries.any(|entries| !matches!(entries.find(index), Found::Below))
    }

    /// Finds the newest state of a block.
    pub fn locate(&self, index: u64, wanted: &mut Wanted<'_>) -> Below {
        let unwritten = std::iter::once(&self.open)
            .chain(self.closed.iter().rev().map(|batch| &**batch))
            .chain(self.committing.as_deref());
        if look(unwritten, index, wanted) { Below::Complete } else { self.locate_committed(index, wanted) }
    }

    /// Finds the state of a block in what is durable.
    pub fn locate_committed(&self, index: u64, wanted: &mut Wanted<'_>) -> Below {
        if look(self.committed.iter().map(|batch| &**batch), index, wanted) {
            return Below::Complete;
        }
        for entries in std::iter::once(&self.entries).chain(self.merging.as_deref()) {
            match entries.find(index) {
                Found::Point(entry) => return Below::Record(data(index, entry), *entry),
                Found::Hole => {
                    wanted.fill_zeros();
                    return Below::Complete;
                }
                Found::Below => {}
            }
        }
        Below::Tree(self.root)
    }
}

/// Takes what batches know, the newest first; says whether nothing is missing any more.
fn look<'a>(batches: impl Iterator<Item = &'a Batch>, index: u64, wanted: &mut Wanted<'_>) -> bool {
    for batch in batches {
        match batch.changes.find(index) {
            Found::Point(plain) => {
                wanted.fill(plain.known(), plain.bytes());
                // A block that was discarded and then written in part is a hole otherwise.
                if wanted.missing != 0 && plain.known() != FULL && batch.changes.hole_at(index) {
                    wanted.fill_zeros();
                }
            }
            Found::Hole => wanted.fill_zeros(),
            Found::Below => {}
        }
        if wanted.missing == 0 {
            return true;
        }
    }
    false
}

/// The record of a block's data.
pub(crate) fn data(index: u64, entry: &Entry) -> RecordId {
    RecordId { kind: Kind::Data, level: 0, index, epoch: entry.epoch, counter: entry.counter }
}
