//! A commit group: a sealed descriptor, then the sealed blocks that it lists, in one contiguous run of a segment.
//! The descriptor's tag, which the next one repeats, is the chain.
//!
//! ```text
//! descriptor: a multiple of 4096 bytes
//! 0   8  "SRGROUP1"
//! 8   4  epoch
//! 12  4  counter
//! 16  8  sequence number of the group
//! 24  4  bytes of the descriptor
//! 28  4  number of blocks that follow it
//! 32 16  zero
//! 48 16  tag of the body; associated data: the 48 bytes before, segment (4), offset (4), volume id of the epoch
//! 64  .  the body, sealed
//!
//! body
//! 0  16  tag of the previous group
//! 16  4  number of records, as many as blocks follow
//! 20  4  number of holes
//! 24  1  1 if a checkpoint follows, else 0
//! 25  7  zero
//! 32  .  records, 32 bytes each: kind (1), level (1), zero (2), counter (4), index (8), tag (16)
//! .   .  holes, 16 bytes each: first block (8), number of blocks (8)
//! .   .  the checkpoint
//! .   .  zeros up to the end of the descriptor
//! ```
//!
//! Replaying a group makes the holes first, then sets the blocks; nodes are found through the checkpoint alone.

use std::ops::Range;

use crate::{
    VolumeError,
    checkpoint::Checkpoint,
    keys::{Keyring, Kind, Lane, NotAuthentic, RecordId},
    layout::{ALIGN, BLOCK, Entry, Place, Reader, TAG, Tag, align_up},
    log::Block,
};

const MAGIC: &[u8; 8] = b"SRGROUP1";
/// Bytes of the head, with the tag.
pub(crate) const HEAD: usize = 64;
const SIGNED: usize = HEAD - TAG;
const BODY: usize = 32;
const RECORD: usize = 32;
const HOLE: usize = 16;
/// A descriptor is far shorter: the longest one, of a checkpoint, has 12 bytes for each segment. More is not read.
const MAX_DESCRIPTOR: usize = 16 << 20;
/// The same for a group of blocks, which has no checkpoint: beside its records it has room for holes.
const MAX_BESIDE_RECORDS: usize = 1 << 20;

/// The part of a descriptor that is not sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GroupHead {
    pub epoch: u32,
    pub counter: u32,
    pub sequence: u64,
    /// Bytes.
    pub descriptor: u32,
    pub blocks: u32,
}

impl GroupHead {
    /// Bytes of the whole group.
    pub fn length(&self) -> u64 {
        u64::from(self.descriptor) + u64::from(self.blocks) * BLOCK as u64
    }

    fn encode(&self) -> [u8; SIGNED] {
        let mut bytes = [0; SIGNED];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.counter.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.descriptor.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.blocks.to_le_bytes());
        bytes
    }

    /// Reads a head at an offset of a segment; `None` if there is none that could be one.
    pub fn parse(bytes: &[u8], offset: u32, segment_size: u32) -> Option<Self> {
        let mut fields = Reader::new(bytes.get(..SIGNED)?, "descriptor");
        if fields.array().ok()? != *MAGIC {
            return None;
        }
        let head = Self {
            epoch: fields.u32().ok()?,
            counter: fields.u32().ok()?,
            sequence: fields.u64().ok()?,
            descriptor: fields.u32().ok()?,
            blocks: fields.u32().ok()?,
        };
        fields.zeros(16).ok()?;
        let most = match head.blocks as usize {
            0 => MAX_DESCRIPTOR,
            blocks => blocks.saturating_mul(RECORD) + MAX_BESIDE_RECORDS,
        };
        let possible = head.descriptor > 0
            && (head.descriptor as usize).is_multiple_of(ALIGN)
            && head.descriptor as usize <= most
            && u64::from(offset) + head.length() <= u64::from(segment_size);
        possible.then_some(head)
    }
}

/// A record of a group, in the order of the blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub kind: Kind,
    pub level: u8,
    pub index: u64,
    pub counter: u32,
    pub tag: Tag,
}

/// The sealed part of a descriptor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupBody {
    pub chain: Tag,
    pub records: Vec<Record>,
    pub holes: Vec<Range<u64>>,
    pub checkpoint: Option<Checkpoint>,
}

impl GroupBody {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY + self.records.len() * RECORD + self.holes.len() * HOLE);
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&(self.records.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.holes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[u8::from(self.checkpoint.is_some()), 0, 0, 0, 0, 0, 0, 0]);
        for record in &self.records {
            bytes.extend_from_slice(&[record.kind.code(), record.level, 0, 0]);
            bytes.extend_from_slice(&record.counter.to_le_bytes());
            bytes.extend_from_slice(&record.index.to_le_bytes());
            bytes.extend_from_slice(&record.tag);
        }
        for hole in &self.holes {
            bytes.extend_from_slice(&hole.start.to_le_bytes());
            bytes.extend_from_slice(&(hole.end - hole.start).to_le_bytes());
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.write(&mut bytes);
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, VolumeError> {
        let mut fields = Reader::new(bytes, "descriptor");
        let chain = fields.array()?;
        let (records, holes, checkpoint) = (fields.u32()?, fields.u32()?, fields.u8()?);
        fields.zeros(7)?;
        let mut body = Self { chain, ..Self::default() };
        for _ in 0..records {
            let (kind, level) = (Kind::from_code(fields.u8()?), fields.u8()?);
            let kind = kind.ok_or_else(|| fields.malformed())?;
            fields.zeros(2)?;
            let (counter, index, tag) = (fields.u32()?, fields.u64()?, fields.array()?);
            body.records.push(Record { kind, level, index, counter, tag });
        }
        for _ in 0..holes {
            let (start, blocks) = (fields.u64()?, fields.u64()?);
            let end = start.checked_add(blocks).filter(|_| blocks > 0).ok_or_else(|| fields.malformed())?;
            body.holes.push(start..end);
        }
        body.checkpoint = match checkpoint {
            0 => None,
            1 => Some(Checkpoint::read(&mut fields)?),
            _ => return Err(fields.malformed()),
        };
        fields.zeros(fields.remaining())?;
        Ok(body)
    }
}

/// Bytes of the descriptor of a group of so many records and holes, and a checkpoint of so many bytes.
pub(crate) fn descriptor_length(records: usize, holes: usize, checkpoint: usize) -> usize {
    align_up(HEAD + BODY + records * RECORD + holes * HOLE + checkpoint)
}

/// Seals a descriptor into its space at the front of a group, which has the length that it needs.
pub(crate) fn seal(
    ring: &Keyring,
    head: &GroupHead,
    place: Place,
    body: &GroupBody,
    descriptor: &mut [u8],
) -> Tag {
    let signed = head.encode();
    let plain = body.encode();
    descriptor[..SIGNED].copy_from_slice(&signed);
    let space = &mut descriptor[HEAD..];
    space[..plain.len()].copy_from_slice(&plain);
    space[plain.len()..].fill(0);
    let tag = ring.seal_body(Lane::Descriptor, head.epoch, head.counter, &signed, &bind(place), space);
    descriptor[SIGNED..HEAD].copy_from_slice(&tag);
    tag
}

/// Seals a group of blocks alone into `bytes`, which have its length. The counter of the head follows those of the blocks.
pub(crate) fn seal_blocks(
    ring: &Keyring,
    head: &GroupHead,
    place: Place,
    chain: Tag,
    blocks: &[Block<'_>],
    bytes: &mut [u8],
) -> (Tag, Vec<Entry>) {
    let (descriptor, space) = bytes.split_at_mut(head.descriptor as usize);
    let mut body = GroupBody { chain, records: Vec::with_capacity(blocks.len()), ..GroupBody::default() };
    let mut entries = Vec::with_capacity(blocks.len());
    let first = head.counter - blocks.len() as u32;
    let offsets = (place.offset + head.descriptor..).step_by(BLOCK);
    for (((kind, level, index, plain), sealed), (counter, offset)) in
        blocks.iter().copied().zip(space.chunks_exact_mut(BLOCK)).zip((first..).zip(offsets))
    {
        let id = RecordId { kind, level, index, epoch: head.epoch, counter };
        let tag = ring.seal_record(&id, plain, sealed);
        body.records.push(Record { kind, level, index, counter, tag });
        entries.push(Entry { place: Place { offset, ..place }, epoch: head.epoch, counter, tag });
    }
    (seal(ring, head, place, &body, descriptor), entries)
}

/// Opens a descriptor, in place. Inner error: authentic, but nothing that this version writes.
pub(crate) fn open(
    ring: &Keyring,
    head: &GroupHead,
    place: Place,
    descriptor: &mut [u8],
) -> Result<(Tag, Result<GroupBody, VolumeError>), NotAuthentic> {
    let (front, body) = descriptor.split_at_mut(HEAD);
    let (signed, tag) = front.split_at(SIGNED);
    let tag: Tag = tag.try_into().expect("the head ends with a tag");
    ring.open_body(Lane::Descriptor, head.epoch, head.counter, signed, &bind(place), &tag, body)?;
    let decoded = GroupBody::decode(body).and_then(|decoded| {
        let fits = decoded.records.len() == head.blocks as usize;
        fits.then_some(decoded).ok_or_else(|| VolumeError::Damaged("malformed descriptor".into()))
    });
    Ok((tag, decoded))
}

/// A group as it was read back: the head, where it lies, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub head: GroupHead,
    pub place: Place,
    pub tag: Tag,
    pub body: GroupBody,
}

impl Group {
    /// Of a group aside: the last group of the log before it was written.
    pub fn copied_after(&self) -> Option<u64> {
        let (first, _) = self.body.chain.split_first_chunk().expect("a tag is longer");
        (self.head.sequence == 0).then(|| u64::from_le_bytes(*first))
    }

    /// Its records, each with what is needed to read its block.
    pub fn entries(&self) -> impl Iterator<Item = (RecordId, Entry)> + '_ {
        let first = self.place.offset + self.head.descriptor;
        self.body.records.iter().zip(0_u32..).map(move |(record, position)| {
            let place = Place { segment: self.place.segment, offset: first + position * BLOCK as u32 };
            let epoch = self.head.epoch;
            let Record { kind, level, index, counter, tag } = *record;
            (RecordId { kind, level, index, epoch, counter }, Entry { place, epoch, counter, tag })
        })
    }
}

fn bind(place: Place) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&place.segment.to_le_bytes());
    bytes[4..].copy_from_slice(&place.offset.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_head_of_foreign_bytes_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), magic: bool) {
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(MAGIC);
            }
            let _ = GroupHead::parse(&bytes, 4096, 1 << 20);
        }

        #[test]
        fn a_body_of_foreign_bytes_never_panics(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400), records in 0..4_u32, holes in 0..4_u32, checkpoint in 0..2_u8,
        ) {
            if bytes.len() >= 32 {
                bytes[16..20].copy_from_slice(&records.to_le_bytes());
                bytes[20..24].copy_from_slice(&holes.to_le_bytes());
                bytes[24..32].copy_from_slice(&[checkpoint, 0, 0, 0, 0, 0, 0, 0]);
            }
            let _ = GroupBody::decode(&bytes);
        }
    }

    #[test]
    fn a_body_reads_back() {
        let record = Record { kind: Kind::Node, level: 1, index: 3, counter: 9, tag: [7; TAG] };
        let body = GroupBody {
            chain: [1; TAG],
            records: vec![record; 3],
            holes: vec![4..9, 20..21],
            checkpoint: None,
        };
        let mut bytes = body.encode();
        bytes.resize(1000, 0);
        assert_eq!(GroupBody::decode(&bytes).unwrap(), body);
        bytes[999] = 1;
        assert!(GroupBody::decode(&bytes).is_err());
    }
}
