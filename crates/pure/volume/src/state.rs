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
    layout::{BLOCK, Entry, Position},
    overlay::{Found, Overlay},
    tree::Root,
};

/// What a pending discard counts, bytes: more than it takes in memory, so that those who discard wait as well.
const HOLE_COST: usize = 1 << 10;

/// What the cleaner could not read and nobody has asked for, at most; more is as bad.
const MOST_LOST: usize = 1024;

/// Records that are live.
pub(crate) fn live_records(usage: &BTreeMap<u32, Usage>) -> u64 {
    usage.values().map(|usage| u64::from(usage.live)).sum()
}

/// Writes and discards that become one group. A WRITE is never split over two batches.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Batches are numbered in the order in which they are committed.
    pub serial: u64,
    pub changes: Overlay<Plain>,
}

impl Batch {
    /// Bytes that it takes in memory, roughly: its blocks, and something for each discard.
    pub fn bytes(&self) -> usize {
        self.changes.points().len() * BLOCK + self.changes.holes().len() * HOLE_COST
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
    Tree(Root),
}

/// Behind the lock of a volume. Nobody does I/O while holding it.
#[derive(Debug)]
pub(crate) struct State {
    pub status: Status,
    pub open: Batch,
    pub closed: VecDeque<Arc<Batch>>,
    /// Being sealed or written, the oldest first.
    pub committing: VecDeque<Arc<Batch>>,
    /// The newest first. A cache: what it says is in `entries` or the tree as well.
    pub committed: VecDeque<Arc<Batch>>,
    /// Serial of the last batch that is durable.
    pub durable: u64,
    /// Serial of the last batch whose commit has begun.
    pub begun: u64,
    /// Serial of the last batch whose commit somebody who flushes is about to begin.
    pub led: u64,
    /// How many sleep until something is durable.
    pub sleeping: usize,
    /// There was no space for the last write: whatever was sealed since cannot be written any more.
    pub void: bool,
    /// The end of the log as far as it is durable and entered here.
    pub head: Position,
    pub entries: Overlay<Entry>,
    pub merging: Option<Arc<Overlay<Entry>>>,
    pub root: Root,
    /// Checkpoints since the open. Segments go away after one: a failed read is tried again if it has changed.
    pub version: u64,
    /// Live records of each segment as of the checkpoint, and their sum.
    pub usage: BTreeMap<u32, Usage>,
    pub live_records: u64,
    pub live_blocks: u64,
    /// The first segment that a replay needs.
    pub replay_from: u32,
    /// The epoch in which a replay begins.
    pub replay_epoch: u32,
    /// The next checkpoint is written even if nothing has changed.
    pub checkpoint_anyway: bool,
    /// Blocks that the cleaner has copied: the record that the tree has, and the one that the next checkpoint enters in
    /// its place.
    pub moved: BTreeMap<u64, (Entry, Entry)>,
    /// Segments with copies that the tree does not know yet.
    pub aside: BTreeSet<u32>,
    /// The segment that the cleaner is writing.
    pub tail: Option<u32>,
    /// Nodes that the next checkpoint is to write again: level, index.
    pub moving: BTreeSet<(u8, u64)>,
    /// Segments that the next checkpoint will find dead.
    pub emptied: BTreeSet<u32>,
    /// Segments that could not be cleaned, in part at least.
    pub stuck: BTreeSet<u32>,
    /// What the cleaner could not read, for people, until somebody asks.
    pub lost: Vec<String>,
    /// Bytes of blocks that the cleaner has moved since the open.
    pub cleaned_bytes: u64,
    /// Segments removed since the open.
    pub freed_segments: u64,
    pub segments: BTreeSet<u32>,
    /// Bytes of log since the checkpoint.
    pub log_bytes: u64,
    /// Blocks written since the open.
    pub changed: u64,
    /// Blocks that were discarded since the checkpoint, whether they held data or not.
    pub discarded: u64,
}

impl State {
    pub fn check(&self) -> Result<(), VolumeError> {
        match self.status {
            Status::Running => Ok(()),
            Status::Stopped => Err(VolumeError::Stopped),
            Status::Locked => Err(VolumeError::Locked),
        }
    }

    /// Bytes that are live in a segment.
    pub fn live_in(&self, segment: u32) -> u64 {
        self.usage.get(&segment).map_or(0, |usage| u64::from(usage.live)) * BLOCK as u64
    }

    /// Whether a segment is none to be cleaned: the cleaner is done with it, or has just written it.
    pub fn is_spoken_for(&self, segment: u32) -> bool {
        self.emptied.contains(&segment)
            || self.stuck.contains(&segment)
            || self.aside.contains(&segment)
            || self.tail == Some(segment)
    }

    /// Notes what the cleaner could not read.
    pub fn note_lost(&mut self, what: String) {
        if self.lost.len() < MOST_LOST {
            self.lost.push(what);
        }
    }

    /// Unwritten bytes.
    pub fn pending(&self) -> usize {
        self.unbegun() + self.committing.iter().map(|batch| batch.bytes()).sum::<usize>()
    }

    /// Unwritten bytes that nobody commits yet.
    pub fn unbegun(&self) -> usize {
        self.open.bytes() + self.closed.iter().map(|batch| batch.bytes()).sum::<usize>()
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
        let batch = self.closed.pop_front()?;
        self.begun = batch.serial;
        self.committing.push_back(batch.clone());
        Some(batch)
    }

    /// Puts back the batches whose commits were begun, from a serial on.
    pub fn cancel_commits(&mut self, serial: u64) {
        while let Some(batch) = self.committing.pop_back_if(|batch| batch.serial >= serial) {
            self.begun = batch.serial - 1;
            self.led = self.begun;
            self.closed.push_front(batch);
        }
    }

    /// Enters the oldest batch that is being committed: its group is durable. `entries` are those of its points, in
    /// order. Returns the batches that are no longer kept.
    pub fn end_commit(&mut self, entries: &[Entry], keep: usize) -> Vec<Arc<Batch>> {
        let Some(batch) = self.committing.pop_front() else { return Vec::new() };
        self.apply(
            batch.changes.holes(),
            batch.changes.points().keys().copied().zip(entries.iter().copied()),
        );
        self.durable = batch.serial;
        self.committed.push_front(batch);
        let mut kept = 0;
        let within = self.committed.iter().take_while(|batch| {
            kept += batch.bytes().max(BLOCK); // discards take room as well, and time to look through
            kept <= keep
        });
        let within = within.count();
        self.committed.split_off(within).into()
    }

    /// Enters the holes and then the blocks of a group.
    pub fn apply(
        &mut self,
        holes: impl Iterator<Item = Range<u64>>,
        blocks: impl Iterator<Item = (u64, Entry)>,
    ) {
        for hole in holes {
            self.discarded += hole.end - hole.start;
            self.entries.clear(hole);
        }
        for (index, entry) in blocks {
            self.entries.set(index, entry);
            self.changed += 1;
        }
    }

    /// Whether the tree will have the same record of a block after the next checkpoint, as far as is durable by now.
    pub fn is_settled(&self, index: u64) -> bool {
        let mut entries = std::iter::once(&self.entries).chain(self.merging.as_deref());
        entries.all(|entries| matches!(entries.find(index), Found::Below)) && !self.moved.contains_key(&index)
    }

    /// Finds the newest state of a block.
    pub fn locate(&self, index: u64, wanted: &mut Wanted<'_>) -> Below {
        let unwritten = std::iter::once(&self.open)
            .chain(self.closed.iter().rev().map(|batch| &**batch))
            .chain(self.committing.iter().rev().map(|batch| &**batch));
        if look(unwritten, index, wanted) { Below::Complete } else { self.locate_committed(index, wanted) }
    }

    /// Finds the state of a block as it was before a batch that is being committed.
    pub fn locate_before(&self, serial: u64, index: u64, wanted: &mut Wanted<'_>) -> Below {
        let older = self.committing.iter().rev().map(|batch| &**batch).filter(|batch| batch.serial < serial);
        if look(older, index, wanted) { Below::Complete } else { self.locate_committed(index, wanted) }
    }

    /// Finds the state of a block in what is durable.
    fn locate_committed(&self, index: u64, wanted: &mut Wanted<'_>) -> Below {
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
