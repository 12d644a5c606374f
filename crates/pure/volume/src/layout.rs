//! Sizes and places of format version 1 (`docs/volume-format.md`), and how bytes on the disk are read and written.
//! All integers are little endian.

use crate::VolumeError;

/// Bytes of a block: the unit that is sealed, and of a node of the tree.
pub const BLOCK: usize = 8192;
/// Bytes of the smallest part of a block that can be written.
pub const SECTOR: usize = 4096;
/// Alignment of everything inside a segment, in bytes.
pub const ALIGN: usize = 4096;
/// Bytes of a segment, unless a volume was made with other ones.
pub const SEGMENT: u32 = 64 << 20;
/// Bytes of a tag of AES-256-GCM.
pub const TAG: usize = 16;
/// Children of a node.
pub(crate) const FANOUT: usize = 256;
/// Bytes of an entry in a node.
pub(crate) const ENTRY: usize = BLOCK / FANOUT;
/// The highest number of a segment that an open volume may have; the next ones ascend from there. No volume gets so far
/// (2^31 segments of 64 MiB), but whoever can write to the directory can make a file of such a name.
pub(crate) const MAX_SEGMENT: u32 = 1 << 31;
/// Most blocks of a volume: 32 TiB.
pub(crate) const MAX_BLOCKS: u64 = 1 << 32;

/// A tag of AES-256-GCM. As a link of the chain, it is the tag of a group's descriptor; zeros before the first.
pub type Tag = [u8; TAG];

/// Where a sealed record lies: segment numbers begin with 1, offsets are bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    pub segment: u32,
    pub offset: u32,
}

/// What is needed to read a sealed block back, and to know that it is the one that was written last.
///
/// ```text
/// 0   4  segment
/// 4   4  offset in the segment, bytes
/// 8   4  epoch
/// 12  4  counter
/// 16 16  tag
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    pub place: Place,
    pub epoch: u32,
    pub counter: u32,
    pub tag: Tag,
}

impl Entry {
    /// Reads an entry of a node; all zeros are a hole.
    pub(crate) fn read(bytes: &[u8; ENTRY]) -> Result<Option<Self>, VolumeError> {
        let mut fields = Reader::new(bytes, "tree entry");
        let place = Place { segment: fields.u32()?, offset: fields.u32()? };
        let entry = Self { place, epoch: fields.u32()?, counter: fields.u32()?, tag: fields.array()? };
        if place.segment != 0 {
            return Ok(Some(entry));
        }
        if bytes.iter().all(|byte| *byte == 0) { Ok(None) } else { Err(fields.malformed()) }
    }

    /// The bytes of an entry, or of a hole.
    pub(crate) fn write(entry: Option<&Self>) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        if let Some(entry) = entry {
            bytes[0..4].copy_from_slice(&entry.place.segment.to_le_bytes());
            bytes[4..8].copy_from_slice(&entry.place.offset.to_le_bytes());
            bytes[8..12].copy_from_slice(&entry.epoch.to_le_bytes());
            bytes[12..16].copy_from_slice(&entry.counter.to_le_bytes());
            bytes[16..].copy_from_slice(&entry.tag);
        }
        bytes
    }
}

/// Where the log goes on: the place of the next group, and the group before it.
///
/// ```text
/// 0   4  epoch of the next group
/// 4   4  segment
/// 8   4  offset, bytes
/// 12  4  zero
/// 16  8  sequence number of the last group; 0 before the first
/// 24 16  tag of its descriptor; zeros before the first
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    pub epoch: u32,
    pub place: Place,
    pub sequence: u64,
    pub chain: Tag,
}

impl Position {
    pub(crate) fn read(fields: &mut Reader<'_>) -> Result<Self, VolumeError> {
        let epoch = fields.u32()?;
        let place = Place { segment: fields.u32()?, offset: fields.u32()? };
        fields.zeros(4)?;
        Ok(Self { epoch, place, sequence: fields.u64()?, chain: fields.array()? })
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for field in [self.epoch, self.place.segment, self.place.offset, 0] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.chain);
    }
}

/// Levels of the tree over `blocks` blocks; at least one.
pub(crate) fn height(blocks: u64) -> u8 {
    let mut height = 1;
    let mut reach = FANOUT as u64;
    while reach < blocks {
        reach = reach.saturating_mul(FANOUT as u64);
        height += 1;
    }
    height
}

/// The next multiple of [`ALIGN`].
pub(crate) const fn align_up(bytes: usize) -> usize {
    bytes.div_ceil(ALIGN) * ALIGN
}

/// Reads fields one after another; what is short or malformed is damage, never a panic.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// The error for a field that cannot be.
    pub fn malformed(&self) -> VolumeError {
        VolumeError::Damaged(format!("malformed {}", self.what))
    }

    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], VolumeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], VolumeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, VolumeError> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, VolumeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, VolumeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, VolumeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reserved bytes: zeros in this version.
    pub fn zeros(&mut self, length: usize) -> Result<(), VolumeError> {
        let zero = self.bytes(length)?.iter().all(|byte| *byte == 0);
        if zero { Ok(()) } else { Err(self.malformed()) }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_as_high_as_its_blocks_need() {
        assert_eq!([1, 256, 257, 65536, 65537, MAX_BLOCKS].map(height), [1, 1, 2, 2, 3, 4]);
    }

    #[test]
    fn an_entry_reads_back_and_only_zeros_are_a_hole() {
        let place = Place { segment: 7, offset: 4096 };
        let entry = Entry { place, epoch: 2, counter: 9, tag: [5; TAG] };
        assert_eq!(Entry::read(&Entry::write(Some(&entry))).unwrap(), Some(entry));
        assert_eq!(Entry::read(&Entry::write(None)).unwrap(), None);
        let mut odd = [0; ENTRY];
        odd[31] = 1;
        assert!(Entry::read(&odd).is_err());
    }
}
