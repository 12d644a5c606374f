//! The manifest: all that a snapshot is, but for the bytes of its segments. Sealed as a whole, for the place of its
//! snapshot, before it goes to the store.
//!
//! ```text
//! 0   8  "SRMANIF1"
//! 8   4  bytes of the whole manifest
//! 12  2  length of the snapshot's id, then the id (1 to 255 visible ASCII characters)
//! .   4  length of the volume's header, then the header, with every wrapped key that its blocks need
//! .   4  length of the checkpoint, then the checkpoint
//! .   4  number of segments, then for each, ascending:
//!     4  segment
//!     8  bytes
//!     32 SHA-256
//! ```
//!
//! Integers are little endian.

use crate::Digest;

const MAGIC: &[u8; 8] = b"SRMANIF1";
const SEGMENT: usize = 4 + 8 + 32;
/// Far more than a manifest of a volume of 32 TiB has; more is not read from a store.
pub(crate) const MAX_MANIFEST: u64 = 256 << 20;

/// A segment of a snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    pub number: u32,
    pub bytes: u64,
    pub digest: Digest,
}

/// A snapshot, as its manifest says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    pub snapshot: String,
    pub header: Vec<u8>,
    pub checkpoint: Vec<u8>,
    /// Ascending.
    pub segments: Vec<Segment>,
}

/// The bytes are no manifest.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed manifest")]
pub struct Malformed;

impl Manifest {
    /// The bytes of the manifest.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(
            64 + self.snapshot.len()
                + self.header.len()
                + self.checkpoint.len()
                + self.segments.len() * SEGMENT,
        );
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(self.snapshot.len() as u16).to_le_bytes());
        bytes.extend_from_slice(self.snapshot.as_bytes());
        for part in [&self.header, &self.checkpoint] {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&(self.segments.len() as u32).to_le_bytes());
        for segment in &self.segments {
            bytes.extend_from_slice(&segment.number.to_le_bytes());
            bytes.extend_from_slice(&segment.bytes.to_le_bytes());
            bytes.extend_from_slice(&segment.digest.0);
        }
        let length = (bytes.len() as u32).to_le_bytes();
        bytes[8..12].copy_from_slice(&length);
        bytes
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Malformed`] for anything but the bytes that [`Manifest::encode`] makes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        if fields.array()? != *MAGIC || fields.u32()? as usize != bytes.len() {
            return Err(Malformed);
        }
        let length = fields.u16()?;
        let id = fields.take(length.into())?;
        if !id_is_valid(id) {
            return Err(Malformed);
        }
        let snapshot = String::from_utf8(id.to_vec()).map_err(|_| Malformed)?;
        let [header, checkpoint] = [fields.part()?, fields.part()?];
        let count = fields.u32()? as usize;
        if count.checked_mul(SEGMENT) != Some(fields.0.len()) {
            return Err(Malformed);
        }
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, bytes) = (fields.u32()?, fields.u64()?);
            segments.push(Segment { number, bytes, digest: Digest(fields.array()?) });
        }
        let numbered = segments.first().is_none_or(|first| first.number > 0)
            && segments.is_sorted_by(|a, b| a.number < b.number);
        if numbered { Ok(Self { snapshot, header, checkpoint, segments }) } else { Err(Malformed) }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.bytes))
    }
}

/// A name that can be a part of an object's.
pub(crate) fn id_is_valid(id: &[u8]) -> bool {
    (1..=255).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Fields one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn part(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.u32()?;
        Ok(self.take(length as usize)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let segment = |number| Segment { number, bytes: 4096, digest: Digest([number as u8; 32]) };
        Manifest {
            snapshot: "snap-A".into(),
            header: vec![1; 100],
            checkpoint: vec![2; 8192],
            segments: vec![segment(1), segment(4)],
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.encode()), Ok(manifest.clone()));
        assert_eq!(manifest.bytes(), 8192);
        let empty = Manifest { segments: Vec::new(), ..manifest };
        assert_eq!(Manifest::parse(&empty.encode()), Ok(empty));
    }

    #[test]
    fn nothing_short_long_or_out_of_order_is_a_manifest() {
        let bytes = manifest().encode();
        for end in 0..bytes.len() {
            assert_eq!(Manifest::parse(&bytes[..end]), Err(Malformed), "{end} bytes");
        }
        assert_eq!(Manifest::parse(&[&bytes[..], &[0]].concat()), Err(Malformed));
        let wrong = [
            Manifest { snapshot: "a b".into(), ..manifest() },
            Manifest { snapshot: String::new(), ..manifest() },
            Manifest { segments: manifest().segments.into_iter().rev().collect(), ..manifest() },
            Manifest {
                segments: vec![Segment { number: 0, bytes: 1, digest: Digest([0; 32]) }],
                ..manifest()
            },
        ];
        for manifest in wrong {
            assert_eq!(Manifest::parse(&manifest.encode()), Err(Malformed), "{manifest:?}");
        }
    }
}
