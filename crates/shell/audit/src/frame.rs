//! Segments and frames, byte by byte. All integers are little-endian. See `docs/trail-format.md`.
//!
//! ```text
//! segment head, 64 bytes
//!   0   8  magic "SRTRAIL1"
//!   8   8  number of the segment, from 0
//!  16  32  chain hash of the last frame of the segment before (zeros in segment 0)
//!  48   8  group of that frame (0 in segment 0)
//!  56   8  first 8 bytes of SHA-256 over bytes 0..56
//! frame, 64 bytes and the payload
//!   0   4  magic "SRFR"
//!   4   4  length of the payload, at most 1 MiB
//!   8   8  group: frames that one disk flush made durable, counted from 1
//!  16   1  kind: 1 record, 2 intent, 3 outcome
//!  17   7  zero
//!  24   8  first 8 bytes of SHA-256 over bytes 0..24 and the payload: the frame by itself
//!  32  32  chain hash: SHA-256 over the chain hash before, bytes 0..24 and the payload
//!  64      payload: one CloudTrail record as JSON
//! ```

use aws_lc_rs::digest::{Context, SHA256};

pub(crate) const SEGMENT_HEAD: usize = 64;
pub(crate) const FRAME_HEAD: usize = 64;
/// Records are bounded by the requests that they tell of.
pub(crate) const LONGEST_PAYLOAD: usize = 1024 * 1024;
const SEGMENT_MAGIC: &[u8; 8] = b"SRTRAIL1";
const FRAME_MAGIC: &[u8; 4] = b"SRFR";

pub(crate) type ChainHash = [u8; 32];

/// Where the chain stands: hash and group of its last frame.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Link {
    pub hash: ChainHash,
    pub group: u64,
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A whole record.
    Record = 1,
    /// What a mutation is about to do.
    Intent = 2,
    /// How the mutation of an intent ended.
    Outcome = 3,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Record),
            2 => Some(Self::Intent),
            3 => Some(Self::Outcome),
            _ => None,
        }
    }
}

/// A frame that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame<'a> {
    pub kind: Kind,
    pub link: Link,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the whole frame.
    pub(crate) const fn length(&self) -> usize {
        FRAME_HEAD + self.payload.len()
    }
}

fn hash(parts: &[&[u8]]) -> ChainHash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Appends a frame to a buffer and moves the chain on.
pub(crate) fn write_frame(
    into: &mut Vec<u8>,
    before: ChainHash,
    group: u64,
    kind: Kind,
    payload: &[u8],
) -> Link {
    let mut head = [0; 24];
    head[..4].copy_from_slice(FRAME_MAGIC);
    head[4..8].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    head[8..16].copy_from_slice(&group.to_le_bytes());
    head[16] = kind as u8;
    let link = Link { hash: hash(&[&before, &head, payload]), group };
    into.extend_from_slice(&head);
    into.extend_from_slice(&hash(&[&head, payload])[..8]);
    into.extend_from_slice(&link.hash);
    into.extend_from_slice(payload);
    link
}

/// Reads the frame at the start of `bytes` if it is whole by itself, wherever it may belong.
pub(crate) fn read_loose_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let head = bytes.get(..FRAME_HEAD)?;
    let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
    if head[..4] != *FRAME_MAGIC || length > LONGEST_PAYLOAD || head[17..24] != [0; 7] {
        return None;
    }
    let payload = bytes.get(FRAME_HEAD..FRAME_HEAD + length)?;
    let group = u64::from_le_bytes(head[8..16].try_into().ok()?);
    let kind = Kind::from_byte(head[16])?;
    let stands_alone = hash(&[&head[..24], payload])[..8] == head[24..32];
    stands_alone.then(|| {
        let mut hash = [0; 32];
        hash.copy_from_slice(&head[32..64]);
        Frame { kind, link: Link { hash, group }, payload }
    })
}

/// Reads the frame at the start of `bytes` if it follows `before` in the chain.
pub(crate) fn read_frame<'a>(bytes: &'a [u8], before: &Link) -> Option<Frame<'a>> {
    let frame = read_loose_frame(bytes)?;
    let chained = hash(&[&before.hash, &bytes[..24], frame.payload]) == frame.link.hash;
    let in_order = frame.link.group == before.group || frame.link.group == before.group + 1;
    (chained && in_order).then_some(frame)
}

pub(crate) fn write_segment_head(number: u64, before: &Link) -> [u8; SEGMENT_HEAD] {
    let mut head = [0; SEGMENT_HEAD];
    head[..8].copy_from_slice(SEGMENT_MAGIC);
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..48].copy_from_slice(&before.hash);
    head[48..56].copy_from_slice(&before.group.to_le_bytes());
    let check = hash(&[&head[..56]]);
    head[56..].copy_from_slice(&check[..8]);
    head
}

/// The number of a segment and the link that it begins from.
pub(crate) fn read_segment_head(bytes: &[u8]) -> Option<(u64, Link)> {
    let head = bytes.get(..SEGMENT_HEAD)?;
    if head[..8] != *SEGMENT_MAGIC || hash(&[&head[..56]])[..8] != head[56..64] {
        return None;
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(&head[16..48]);
    let group = u64::from_le_bytes(head[48..56].try_into().ok()?);
    Some((u64::from_le_bytes(head[8..16].try_into().ok()?), Link { hash, group }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_reads_back_only_where_it_was_written() {
        let mut bytes = Vec::new();
        let first = write_frame(&mut bytes, [0; 32], 1, Kind::Intent, b"one");
        let at = bytes.len();
        write_frame(&mut bytes, first.hash, 2, Kind::Outcome, b"two");
        let read = read_frame(&bytes, &Link::default()).unwrap();
        assert_eq!((read.kind, read.payload, read.link), (Kind::Intent, &b"one"[..], first));
        assert_eq!(read_frame(&bytes[at..], &first).unwrap().payload, b"two");
        assert!(read_frame(&bytes[at..], &Link::default()).is_none(), "out of its place");
        assert!(read_loose_frame(&bytes[at..]).is_some());
    }

    proptest! {
        #[test]
        fn any_changed_bit_is_found(payload in proptest::collection::vec(any::<u8>(), 0..64), flip: prop::sample::Index) {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, [7; 32], 3, Kind::Record, &payload);
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let before = Link { hash: [7; 32], group: 3 };
            let found = read_frame(&bytes, &before);
            prop_assert!(found.is_none());
        }

        #[test]
        fn foreign_bytes_never_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = read_loose_frame(&bytes);
            let _ = read_segment_head(&bytes);
        }
    }
}
