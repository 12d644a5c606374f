//! A checkpoint: the tree's root and what else an attach needs, in the descriptor of a group; and the two slots of
//! which the newer names that group.
//!
//! ```text
//! checkpoint
//! 0   40  position from which the log is replayed
//! 40  32  entry of the root; zeros for an empty tree
//! 72   1  height of the tree
//! 73   3  zero
//! 76   4  number of segments with live records
//! 80   8  blocks that hold data
//! 88   .  segments, ascending, 12 bytes each: segment (4), live records (4), epoch (4)
//!
//! slot: 4096 bytes
//! 0   8  "SRCHECK1"
//! 8   4  epoch
//! 12  4  counter
//! 16  8  sequence number of the group
//! 24 24  zero
//! 48 16  tag of the body; associated data: the 48 bytes before, volume id of the epoch
//! 64  .  the body, sealed: segment (4), offset (4), bytes of the descriptor (4), zero (4), its tag (16), zeros
//! ```

use std::collections::BTreeMap;

use crate::{
    VolumeError,
    header::Header,
    keys::{Keyring, Lane},
    layout::{ENTRY, Entry, Place, Position, Reader, TAG, Tag, height},
    tree::Root,
};

/// Bytes of a slot.
pub const SLOT: usize = 4096;
const MAGIC: &[u8; 8] = b"SRCHECK1";
const SIGNED: usize = 48;
const FIXED: usize = 88;
const SEGMENT_ROW: usize = 12;

/// What is live in a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Usage {
    /// Records that the tree refers to: blocks and nodes.
    pub live: u32,
    /// The epoch that wrote the segment.
    pub epoch: u32,
}

/// The state of a volume at one position of its log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// What was written before is in the tree; what comes after is replayed.
    pub from: Position,
    pub root: Option<Entry>,
    pub height: u8,
    pub live_blocks: u64,
    pub usage: BTreeMap<u32, Usage>,
}

impl Checkpoint {
    /// Whether this can be a checkpoint of a volume: it may have been lower then, never higher.
    pub fn fits(&self, header: &Header) -> bool {
        (1..=height(header.blocks)).contains(&self.height)
    }

    pub fn root(&self) -> Root {
        Root { entry: self.root, height: self.height }
    }

    /// Bytes that [`Checkpoint::write`] adds.
    pub fn length(&self) -> usize {
        FIXED + self.usage.len() * SEGMENT_ROW
    }

    pub fn write(&self, bytes: &mut Vec<u8>) {
        self.from.write(bytes);
        bytes.extend_from_slice(&Entry::write(self.root.as_ref()));
        bytes.extend_from_slice(&[self.height, 0, 0, 0]);
        bytes.extend_from_slice(&(self.usage.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.live_blocks.to_le_bytes());
        for (segment, usage) in &self.usage {
            for field in [*segment, usage.live, usage.epoch] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
    }

    pub fn read(fields: &mut Reader<'_>) -> Result<Self, VolumeError> {
        let from = Position::read(fields)?;
        let root = Entry::read(&fields.array::<ENTRY>()?)?;
        let height = fields.u8()?;
        fields.zeros(3)?;
        let segments = fields.u32()?;
        let live_blocks = fields.u64()?;
        let mut usage = BTreeMap::new();
        for _ in 0..segments {
            let (segment, live, epoch) = (fields.u32()?, fields.u32()?, fields.u32()?);
            let ascending = usage.last_key_value().is_none_or(|(last, _)| *last < segment);
            if !ascending || live == 0 {
                return Err(fields.malformed());
            }
            usage.insert(segment, Usage { live, epoch });
        }
        Ok(Self { from, root, height, live_blocks, usage })
    }
}

/// Names the group of the newest checkpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slot {
    pub epoch: u32,
    pub sequence: u64,
    pub place: Place,
    /// Bytes.
    pub descriptor: u32,
    pub tag: Tag,
}

impl Slot {
    /// Seals a slot into `bytes`, [`SLOT`] of them.
    pub fn seal(&self, ring: &Keyring, counter: u32, bytes: &mut [u8]) {
        bytes.fill(0);
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[12..16].copy_from_slice(&counter.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        let (head, body) = bytes.split_at_mut(SIGNED + TAG);
        body[0..4].copy_from_slice(&self.place.segment.to_le_bytes());
        body[4..8].copy_from_slice(&self.place.offset.to_le_bytes());
        body[8..12].copy_from_slice(&self.descriptor.to_le_bytes());
        body[16..32].copy_from_slice(&self.tag);
        let tag = ring.seal_body(Lane::Slot, self.epoch, counter, &head[..SIGNED], &[], body);
        head[SIGNED..].copy_from_slice(&tag);
    }

    /// Opens a slot; `None` if it was never written, was torn, or is of an epoch that nothing needs any more.
    ///
    /// # Errors
    /// [`VolumeError::Damaged`] if it is of an epoch newer than `last_epoch`: the header is older than the slot.
    pub fn open(ring: &Keyring, last_epoch: u32, bytes: &[u8]) -> Result<Option<Self>, VolumeError> {
        let mut fields = Reader::new(bytes, "checkpoint slot");
        if bytes.len() != SLOT || fields.array()? != *MAGIC {
            return Ok(None);
        }
        let (epoch, counter, sequence) = (fields.u32()?, fields.u32()?, fields.u64()?);
        if epoch > last_epoch {
            return Err(VolumeError::Damaged("the checkpoint is newer than the header".into()));
        }
        let (head, sealed) = bytes.split_at(SIGNED + TAG);
        let (signed, tag) = head.split_at(SIGNED);
        let tag: Tag = tag.try_into().expect("the head ends with a tag");
        let mut body = sealed.to_vec();
        if ring.open_body(Lane::Slot, epoch, counter, signed, &[], &tag, &mut body).is_err() {
            return Ok(None);
        }
        Self::read(&body, epoch, sequence).map(Some)
    }

    /// Reads the body of a slot.
    pub fn read(body: &[u8], epoch: u32, sequence: u64) -> Result<Self, VolumeError> {
        let mut fields = Reader::new(body, "checkpoint slot");
        let place = Place { segment: fields.u32()?, offset: fields.u32()? };
        let descriptor = fields.u32()?;
        fields.zeros(4)?;
        Ok(Self { epoch, sequence, place, descriptor, tag: fields.array()? })
    }
}
