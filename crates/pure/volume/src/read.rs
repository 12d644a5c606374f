//! Reading: the newest layer that knows a block has it; sealed records are read and opened outside all locks.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    VolumeError,
    buffer::{AlignedBuffer, FULL, Wanted},
    keys::{Kind, RecordId},
    layout::{BLOCK, Entry, FANOUT},
    segments::Segments,
    state::{Below, Status, data},
    tree::{Node, parent},
    volume::Volume,
};

/// Tries of a read that may have lost its segment to a checkpoint meanwhile.
const TRIES: usize = 16;

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
                let Some(leaf) = self.find_node(root, 0, parent(index))? else { return Ok(None) };
                Ok(leaf.child(index)?.map(|entry| (data(index, &entry), entry)))
            }
        }
    }

    /// Reads and opens records; those that lie side by side are read at once.
    pub(crate) fn fetch(&self, fetches: &mut [(RecordId, Entry, Wanted<'_>)]) -> Result<(), VolumeError> {
        let adjacent = |a: &(RecordId, Entry, _), b: &(RecordId, Entry, _)| {
            let (a, b) = (a.1.place, b.1.place);
            a.segment == b.segment && a.offset.checked_add(BLOCK as u32) == Some(b.offset)
        };
        let mut sealed = AlignedBuffer::new(0);
        let mut scratch = Zeroizing::new([0; BLOCK]);
        for run in fetches.chunk_by_mut(adjacent) {
            let Some((_, first, _)) = run.first() else { continue };
            let sealed = sealed.resize(run.len() * BLOCK);
            read_exact(&self.segments, first.place.segment, first.place.offset, sealed)?;
            for ((id, entry, wanted), sealed) in run.iter_mut().zip(sealed.chunks_exact(BLOCK)) {
                if wanted.out.len() == BLOCK && wanted.missing == FULL {
                    self.open_record(id, entry, sealed, wanted.out)?;
                } else {
                    self.open_record(id, entry, sealed, &mut *scratch)?;
                    wanted.fill(FULL, &*scratch);
                }
            }
        }
        Ok(())
    }

    fn open_record(
        &self,
        id: &RecordId,
        entry: &Entry,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), VolumeError> {
        let opened = self.vault.with(|ring| ring.open_record(id, &entry.tag, sealed, plain))?;
        opened.map_err(|_| not_authentic(id, entry))
    }

    /// The node of a level, if the tree under `root` has it.
    pub(crate) fn find_node(
        &self,
        root: Option<Entry>,
        level: u8,
        index: u64,
    ) -> Result<Option<Arc<Node>>, VolumeError> {
        let mut above = self.height - 1;
        let Some(mut entry) = root else { return Ok(None) };
        loop {
            let span = (FANOUT as u64).pow(u32::from(above - level));
            let node = self.load_node(above, index / span, &entry)?;
            if above == level {
                return Ok(Some(node));
            }
            above -= 1;
            match node.child(index / (span / FANOUT as u64))? {
                Some(child) => entry = child,
                None => return Ok(None),
            }
        }
    }

    /// A node, from the cache or from the disk.
    fn load_node(&self, level: u8, index: u64, entry: &Entry) -> Result<Arc<Node>, VolumeError> {
        if let Some(node) = self.nodes.find(entry.place) {
            return Ok(node);
        }
        let mut sealed = AlignedBuffer::new(BLOCK);
        read_exact(&self.segments, entry.place.segment, entry.place.offset, &mut sealed)?;
        let mut node = Node::empty();
        let id = RecordId { kind: Kind::Node, level, index, epoch: entry.epoch, counter: entry.counter };
        self.open_record(&id, entry, &sealed, node.bytes_mut())?;
        let node = Arc::new(node);
        self.nodes.insert(entry.place, node.clone());
        Ok(node)
    }
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

fn split_mut(offset: u64, bytes: &mut [u8]) -> impl Iterator<Item = (u64, usize, &mut [u8])> {
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
