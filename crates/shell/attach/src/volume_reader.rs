//! A volume, clone or snapshot in a directory that nobody writes to, opened for reading alone.

use std::{ops::Range, path::Path};

use volume::{Anchor, Header, Keys, Reader, VolumeError};

use crate::segment_files::SegmentFiles;

/// Bytes of tree nodes that a reader keeps in memory: enough for walks in order, and for the inner nodes of 512 GiB.
const NODE_CACHE: usize = 16 << 20;

/// A volume that is only read. Any number of readers may have it at once, but nobody who writes.
#[derive(Debug)]
pub struct VolumeReader(pub(crate) Reader<SegmentFiles>);

impl VolumeReader {
    /// Opens volume `id` as an attach would find it, and changes nothing. Its log has to contain the `anchor`, if one is
    /// known.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`],
    /// [`VolumeError::Damaged`], [`VolumeError::RolledBack`], [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn open(
        dir: &Path,
        id: &str,
        keys: impl Into<Keys>,
        anchor: Option<&Anchor>,
    ) -> Result<Self, VolumeError> {
        Reader::open(SegmentFiles::open_read_only(dir)?, id, keys, anchor, NODE_CACHE).map(Self)
    }

    /// The header: who the volume is, and how its key was wrapped.
    pub fn header(&self) -> &Header {
        self.0.header()
    }

    /// Bytes that the volume holds.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Reads; offset and length are multiples of [`crate::SECTOR`].
    ///
    /// # Errors
    /// [`VolumeError::Damaged`] for what is not authentic, [`VolumeError::Io`], [`VolumeError::Invalid`].
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VolumeError> {
        self.0.read(offset, buffer)
    }

    /// The ranges of blocks (8 KiB) that hold data, from block `first` on, in ascending order.
    pub fn live_ranges(&self, first: u64) -> impl Iterator<Item = Result<Range<u64>, VolumeError>> + '_ {
        self.0.live_ranges(first)
    }
}
