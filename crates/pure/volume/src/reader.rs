//! A volume, clone or snapshot that nobody writes to, opened for reading alone: it is replayed as for an attach, but
//! nothing on the disk is changed and no epoch begins. What was written last and torn is left out, as an attach would.

use std::{collections::VecDeque, fmt, ops::Range};

use crate::{
    Anchor, Keys, VolumeError,
    buffer::Wanted,
    header::Header,
    keys::Vault,
    layout::{BLOCK, Entry},
    overlay::Found,
    read::{Records, split_mut},
    replay,
    segments::Segments,
    state::data,
    survey::View,
    tree::{NodeCache, parent},
    volume::{check_range, unlock},
    walk::Leaves,
};

/// A volume that is only read, over files that nobody writes to meanwhile.
pub struct Reader<S> {
    segments: S,
    header: Header,
    vault: Vault,
    nodes: NodeCache,
    view: View,
}

impl<S: Segments> Reader<S> {
    /// Opens volume `id`, whose log has to contain the `anchor`, if one is known; `node_cache` is how many bytes of tree
    /// nodes are kept in memory.
    ///
    /// # Errors
    /// [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`], [`VolumeError::Damaged`], [`VolumeError::RolledBack`],
    /// [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn open(
        segments: S,
        id: &str,
        keys: impl Into<Keys>,
        anchor: Option<&Anchor>,
        node_cache: usize,
    ) -> Result<Self, VolumeError> {
        let (header, vault) = unlock(&segments, id, keys.into())?;
        let recovered = replay::recover(&segments, &header, &vault, anchor)?;
        Ok(Self {
            segments,
            vault,
            nodes: NodeCache::new(node_cache),
            view: View { root: recovered.checkpoint.root(), entries: recovered.entries },
            header,
        })
    }

    /// The header: who the volume is, and how its key was wrapped.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes that the volume holds.
    pub fn size(&self) -> u64 {
        self.header.blocks * BLOCK as u64
    }

    /// The files beneath.
    pub fn segments(&self) -> &S {
        &self.segments
    }

    /// Reads; offset and length are multiples of [`crate::SECTOR`].
    ///
    /// # Errors
    /// [`VolumeError::Damaged`] for what is not authentic, [`VolumeError::Io`], [`VolumeError::Locked`],
    /// [`VolumeError::Invalid`].
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), VolumeError> {
        check_range(self.size(), offset, out.len() as u64)?;
        let mut fetches = Vec::with_capacity(out.len() / BLOCK + 2);
        for (index, at, part) in split_mut(offset, out) {
            let mut wanted = Wanted::new(at, part);
            match self.locate(index)? {
                Some(entry) => fetches.push((data(index, &entry), entry, wanted)),
                None => wanted.fill_zeros(),
            }
        }
        self.records().fetch(&mut fetches)
    }

    /// The ranges of blocks from block `first` on that hold data, in ascending order; what lies between them reads as
    /// zeros. Takes little memory: the tree is walked in order. After an error the walk goes on behind what could not
    /// be read.
    pub fn live_ranges(&self, first: u64) -> LiveRanges<'_, S> {
        LiveRanges {
            reader: self,
            leaves: Leaves::from(parent(first)),
            first,
            found: VecDeque::new(),
            failed: None,
            done: false,
        }
    }

    /// The newest record of a block.
    fn locate(&self, index: u64) -> Result<Option<Entry>, VolumeError> {
        match self.view.entries.find(index) {
            Found::Point(entry) => Ok(Some(*entry)),
            Found::Hole => Ok(None),
            Found::Below => self.records().find_entry(self.view.root, 0, index),
        }
    }

    fn records(&self) -> Records<'_, S> {
        Records { segments: &self.segments, vault: &self.vault, nodes: &self.nodes }
    }
}

impl<S> fmt::Debug for Reader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("volume", &self.header.volume).finish_non_exhaustive()
    }
}

/// What [`Reader::live_ranges`] finds.
#[derive(Debug)]
pub struct LiveRanges<'a, S> {
    reader: &'a Reader<S>,
    leaves: Leaves,
    /// The first block that is asked for.
    first: u64,
    /// Ranges of the leaf seen last. The last of them may go on in the next leaf.
    found: VecDeque<Range<u64>>,
    failed: Option<VolumeError>,
    done: bool,
}

impl<S: Segments> Iterator for LiveRanges<'_, S> {
    type Item = Result<Range<u64>, VolumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.found.len() < 2 && self.failed.is_none() && !self.done {
            match self.leaves.next(&self.reader.records(), &self.reader.view) {
                Some(Ok(leaf)) => {
                    for (block, _) in leaf.blocks.iter().filter(|(block, _)| *block >= self.first) {
                        match self.found.back_mut() {
                            Some(last) if last.end == *block => last.end += 1,
                            _ => self.found.push_back(*block..*block + 1),
                        }
                    }
                    self.failed = leaf.error;
                }
                Some(Err(lost)) => self.failed = Some(lost.error),
                None => self.done = true,
            }
        }
        self.found.pop_front().map(Ok).or_else(|| self.failed.take().map(Err))
    }
}
