//! Reading: the newest layer that knows a block has it; sealed records are read and opened outside all locks.

use std::{cell::RefCell, sync::Arc};

use crate::{
    VolumeError,
    buffer::{AlignedBuffer, FULL, Wanted, Wiped},
    keys::{Kind, RecordId, Vault},
    layout::{BLOCK, Entry, FANOUT, Place},
    segments::Segments,
    state::{Below, Status, data},
    tree::{Child, Node, NodeCache, Root, parent},
    volume::Volume,
};

/// Tries of a read that may have lost its segment to a checkpoint meanwhile.
const TRIES: usize = 16;
/// Nodes on the way to a block, at most: one a level, and those that could not be read when they were written again.
const MOST_NODES: usize = 64;

/// A node that the tree refers to and that cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub level: u8,
    pub entry: Entry,
    pub error: VolumeError,
}

impl From<Unreadable> for VolumeError {
    fn from(node: Unreadable) -> Self {
        node.error
    }
}

impl<S: Segments> Volume<S> {
    /// Reads; offset and length are multiples of [`crate::SECTOR`].
    ///
    /// # Errors
    /// [`VolumeError::Damaged`] for what is not authentic, [`VolumeError::Io`], [`VolumeError::Locked`],
    /// [`VolumeError::Invalid`].
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), VolumeError> {
        self.check_range(offset, out.len() as u64)?;
        self.despite_checkpoints(|| self.try_read(offset, out))
    }

    /// Tries to read, and again if a checkpoint came in between: it may have removed the segment after the block, or
    /// a node above it, was found in it.
    pub(crate) fn despite_checkpoints(
        &self,
        mut read: impl FnMut() -> Result<(), VolumeError>,
    ) -> Result<(), VolumeError> {
        let mut tries = 0;
        loop {
            let version = self.state().version;
            let Err(error) = read() else { return Ok(()) };
            tries += 1;
            if tries == TRIES || self.state().version == version {
                return Err(error);
            }
        }
    }

    fn try_read(&self, offset: u64, out: &mut [u8]) -> Result<(), VolumeError> {
        let mut parts: Vec<(u64, Wanted<'_>, Below)> = Vec::with_capacity(out.len() / BLOCK + 2);
        {
            let state = self.state();
            if state.status == Status::Locked {
                return Err(VolumeError::Locked);
            }
            for (index, at, part) in split_mut(offset, out) {
                let mut wanted = Wanted::new(at, part);
                let below = state.locate(index, &mut wanted);
                parts.push((index, wanted, below));
            }
        }
        let mut fetches = Vec::with_capacity(parts.len());
        for (index, mut wanted, below) in parts {
            if let Some((id, entry)) = self.resolve(index, below)? {
                fetches.push((id, entry, wanted));
            } else if wanted.missing != 0 {
                wanted.fill_zeros();
            }
        }
        self.fetch(&mut fetches)
    }

    /// Finds the record of a block that the layers above the tree do not have.
    pub(crate) fn resolve(&self, index: u64, below: Below) -> Result<Option<(RecordId, Entry)>, VolumeError> {
        match below {
            Below::Complete => Ok(None),
            Below::Record(id, entry) => Ok(Some((id, entry))),
            Below::Tree(root) => {
                let entry = self.find_entry(root, 0, index)?;
                Ok(entry.map(|entry| (data(index, &entry), entry)))
            }
        }
    }

    /// As [`Records::fetch`].
    pub(crate) fn fetch(&self, fetches: &mut [(RecordId, Entry, Wanted<'_>)]) -> Result<(), VolumeError> {
        self.records().fetch(fetches)
    }

    /// As [`Records::find_node`].
    pub(crate) fn find_node(
        &self,
        root: Root,
        level: u8,
        index: u64,
    ) -> Result<Option<Arc<Node>>, Unreadable> {
        self.records().find_node(root, level, index)
    }

    /// As [`Records::find_entry`].
    pub(crate) fn find_entry(&self, root: Root, level: u8, index: u64) -> Result<Option<Entry>, VolumeError> {
        self.records().find_entry(root, level, index)
    }

    pub(crate) fn records(&self) -> Records<'_, S> {
        Records { segments: &self.segments, vault: &self.vault, nodes: &self.nodes }
    }
}

/// Sealed records, and the tree that leads to them: how an open volume and one that is only read get at a block.
pub(crate) struct Records<'a, S> {
    pub segments: &'a S,
    pub vault: &'a Vault,
    pub nodes: &'a NodeCache,
}

thread_local! {
    /// What a thread reads sealed records into, as long as its longest read was: new memory for each read takes as long as
    /// the copy.
    static SEALED: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::new(0));
}

impl<S: Segments> Records<'_, S> {
    /// Reads and opens records; those that lie near each other are read at once, with what is between them. What is known
    /// of a record of which a part was lost is read, and the rest an error.
    pub fn fetch(&self, fetches: &mut [(RecordId, Entry, Wanted<'_>)]) -> Result<(), VolumeError> {
        SEALED.with_borrow_mut(|sealed| self.fetch_through(sealed, fetches))
    }

    fn fetch_through(
        &self,
        sealed: &mut AlignedBuffer,
        fetches: &mut [(RecordId, Entry, Wanted<'_>)],
    ) -> Result<(), VolumeError> {
        let mut scratch = Wiped([0; BLOCK]);
        for run in fetches.chunk_by_mut(|(_, a, _), (_, b, _)| are_near(a.place, b.place)) {
            let (Some((_, first, _)), Some((_, last, _))) = (run.first(), run.last()) else { continue };
            let Place { segment, offset: start } = first.place;
            let length = (last.place.offset - start) as usize + BLOCK;
            let sealed = sealed.resize_for_transfers(length, self.segments);
            if let Err(error) = read_exact(self.segments, segment, start, sealed) {
                if length == run.len() * BLOCK {
                    return Err(error);
                }
                // Perhaps it was what lies between them.
                for (_, entry, _) in run.iter() {
                    let at = (entry.place.offset - start) as usize;
                    read_exact(self.segments, segment, entry.place.offset, &mut sealed[at..at + BLOCK])?;
                }
            }
            for (id, entry, wanted) in run.iter_mut() {
                let at = (entry.place.offset - start) as usize;
                let sealed = &sealed[at..at + BLOCK];
                if wanted.out.len() == BLOCK && wanted.missing == FULL {
                    wanted.missing &= !self.open_record(id, entry, sealed, wanted.out)?;
                } else {
                    let known = self.open_record(id, entry, sealed, &mut *scratch)?;
                    wanted.fill(known, &*scratch);
                }
                if wanted.missing != 0 {
                    return Err(VolumeError::Damaged(format!(
                        "a part of block {} was lost before",
                        id.index
                    )));
                }
            }
        }
        Ok(())
    }

    /// Opens a record, and says which sectors it knows: all of them, unless the rest of a block that was written in
    /// part could not be read (`docs/volume-format.md`, "Lost parts").
    pub fn open_record(
        &self,
        id: &RecordId,
        entry: &Entry,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<u8, VolumeError> {
        let mut open = |level| {
            let id = RecordId { level, ..*id };
            let opened = self.vault.with(|ring| ring.open_record(&id, &entry.tag, sealed, plain))?;
            Ok::<_, VolumeError>(opened.is_ok())
        };
        match id.kind {
            Kind::Node if open(id.level)? => return Ok(FULL),
            Kind::Node => {}
            Kind::Data => {
                for lost in 0..FULL {
                    if open(lost)? {
                        return Ok(FULL & !lost);
                    }
                }
            }
        }
        Err(not_authentic(id, entry))
    }

    /// The node of a level, if the tree under `root` has it.
    pub fn find_node(&self, root: Root, level: u8, index: u64) -> Result<Option<Arc<Node>>, Unreadable> {
        let above = level + 1;
        let entry = if above == root.height { root.entry } else { self.walk(root, above, index)? };
        let load =
            |entry| self.load_node(level, index, &entry).map_err(|error| Unreadable { level, entry, error });
        entry.filter(|_| root.reaches(level, index)).map(load).transpose()
    }

    /// What the tree under `root` says of a child of a node of `level`.
    pub fn find_entry(&self, root: Root, level: u8, index: u64) -> Result<Option<Entry>, VolumeError> {
        Ok(self.walk(root, level, index)?)
    }

    /// What a node of `level` says of a child; where it leaves that to an older node, what that one says.
    pub fn child(&self, node: &Node, level: u8, index: u64) -> Result<Option<Entry>, VolumeError> {
        match node.child(index)? {
            Child::Hole => Ok(None),
            Child::At(entry) => Ok(Some(entry)),
            Child::Deferred(at, entry) => Ok(self.walk_from(at.max(level), entry, level, index)?),
        }
    }

    fn walk(&self, root: Root, level: u8, index: u64) -> Result<Option<Entry>, Unreadable> {
        let entry = root.entry.filter(|_| root.reaches(level, parent(index)));
        entry.map_or(Ok(None), |entry| self.walk_from(root.height - 1, entry, level, index))
    }

    /// Goes down to a child of a node of `level`, from a node at or above it.
    fn walk_from(
        &self,
        mut above: u8,
        mut entry: Entry,
        level: u8,
        index: u64,
    ) -> Result<Option<Entry>, Unreadable> {
        for _ in 0..MOST_NODES {
            let index = index / (FANOUT as u64).pow(u32::from(above - level));
            let child = self.load_node(above, parent(index), &entry).and_then(|node| node.child(index));
            match child.map_err(|error| Unreadable { level: above, entry, error })? {
                Child::Hole => return Ok(None),
                Child::At(child) if above == level => return Ok(Some(child)),
                Child::At(child) => (above, entry) = (above - 1, child),
                // It could not be read when the node that says so was written; perhaps it can be now.
                Child::Deferred(at, node) => (above, entry) = (at.max(above), node),
            }
        }
        Err(Unreadable { level: above, entry, error: VolumeError::Damaged("malformed tree".into()) })
    }

    /// A node, from the cache or from the disk.
    pub fn load_node(&self, level: u8, index: u64, entry: &Entry) -> Result<Arc<Node>, VolumeError> {
        if let Some(node) = self.nodes.find(entry.place) {
            return Ok(node);
        }
        let mut sealed = AlignedBuffer::new(BLOCK);
        read_exact(self.segments, entry.place.segment, entry.place.offset, &mut sealed)?;
        let mut node = Node::empty();
        let id = RecordId { kind: Kind::Node, level, index, epoch: entry.epoch, counter: entry.counter };
        self.open_record(&id, entry, &sealed, node.bytes_mut())?;
        let node = Arc::new(node);
        self.nodes.insert(entry.place, node.clone());
        Ok(node)
    }
}

/// What is read rather than left out, bytes: a read of its own takes as long as so many more in the same one.
const GAP: u32 = 32 << 10;

/// Whether a record is best read together with the one before it.
fn are_near(a: Place, b: Place) -> bool {
    let gap = b.offset.checked_sub(a.offset.saturating_add(BLOCK as u32));
    a.segment == b.segment && gap.is_some_and(|gap| gap <= GAP)
}

/// Reads a whole record: less than that is damage.
pub(crate) fn read_exact(
    segments: &impl Segments,
    segment: u32,
    offset: u32,
    buffer: &mut [u8],
) -> Result<(), VolumeError> {
    let missing = || VolumeError::Damaged(format!("segment {segment} is cut short or missing"));
    match segments.read(segment, offset, buffer) {
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(missing()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(missing()),
        Err(e) => Err(VolumeError::io(format!("read segment {segment}"), e)),
    }
}

fn not_authentic(id: &RecordId, entry: &Entry) -> VolumeError {
    let what = match id.kind {
        Kind::Data => "block",
        Kind::Node => "tree node",
    };
    let (index, place) = (id.index, entry.place);
    VolumeError::Damaged(format!(
        "{what} {index} in segment {} at {} is not authentic",
        place.segment, place.offset
    ))
}

/// Cuts a range at the borders of blocks: index, offset in the block, bytes.
pub(crate) fn split_mut(offset: u64, bytes: &mut [u8]) -> impl Iterator<Item = (u64, usize, &mut [u8])> {
    let mut offset = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let at = (offset % BLOCK as u64) as usize;
        let length = rest.len().min(BLOCK - at);
        let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
        let index = offset / BLOCK as u64;
        rest = after;
        offset += length as u64;
        (length > 0).then_some((index, at, part))
    })
}
