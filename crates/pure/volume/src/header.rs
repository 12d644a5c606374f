//! The header of a volume: who it is, which keys and epochs its records are sealed under, and where its log begins
//! and ends. Replaced as a whole; the only structure that is not sealed, but authenticated as soon as the key is known.
//!
//! ```text
//! 0   8  "SRVOLUME"
//! 8   4  version (1)
//! 12  4  bytes of the whole header
//! 16  8  blocks of the volume
//! 24  4  bytes of a block (8192)
//! 28  4  bytes of a segment
//! 32  .  volume id: length (2), ASCII
//! .   2  number of generations, then for each, ascending:
//!     4  generation, 32 salt, 32 commitment, wrapped key: length (4), bytes
//! .   4  number of epochs, then for each, ascending:
//!     4  generation, 32 salt, id of the volume it is bound to: length (2), ASCII, 40 position of its first group
//! .   1  1 if the log's end is known, then 40 position of the end; else 0
//! .  32  SHA-256 of all that precedes
//! .  32  HMAC-SHA-256 of all that precedes, under a key of the last generation
//! ```

use aws_lc_rs::digest;
use ids::Entropy;

use crate::{
    VolumeError, VolumeKey,
    keys::{self, SALT},
    layout::{BLOCK, MAX_BLOCKS, Place, Position, Reader, TAG},
};

const MAGIC: &[u8; 8] = b"SRVOLUME";
/// The version of the format that this code writes, and the only one there is.
pub const VERSION: u32 = 1;
const DIGEST: usize = 32;
const MAC: usize = 32;
/// A header is far smaller; more is not read.
pub const MAX_HEADER: usize = 16 << 20;
const MAX_WRAPPED: usize = 64 << 10;
/// Renewals that may be under way at once.
const MAX_GENERATIONS: usize = 256;
const MAX_ID: usize = 255;
/// Smaller ones make no sense, except in tests.
const SEGMENT_SIZES: std::ops::RangeInclusive<u32> = 64 << 10..=1 << 30;

/// A volume key as the key service wrapped it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Generation {
    pub generation: u32,
    pub salt: [u8; SALT],
    /// Tells a wrong key from damage without showing anything of the key.
    pub commitment: [u8; 32],
    pub wrapped_key: Vec<u8>,
}

impl Generation {
    /// # Errors
    /// [`VolumeError::Invalid`] for a wrapped key outside its range.
    pub(crate) fn new(
        generation: u32,
        key: &VolumeKey,
        wrapped_key: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Self, VolumeError> {
        if wrapped_key.len() > MAX_WRAPPED {
            return Err(VolumeError::Invalid("the wrapped key is longer than 64 KiB"));
        }
        let mut salt = [0; SALT];
        entropy.fill(&mut salt);
        let commitment = keys::commitment(key, &salt);
        Ok(Self { generation, salt, commitment, wrapped_key: wrapped_key.to_vec() })
    }

    /// Whether this is the generation of a key.
    pub fn is_of(&self, key: &VolumeKey) -> bool {
        keys::equal(&keys::commitment(key, &self.salt), &self.commitment)
    }
}

/// A time in which one process wrote: its keys, and where its log begins. Its segments are its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Epoch {
    pub generation: u32,
    pub salt: [u8; SALT],
    /// The volume that wrote; a clone keeps the epochs of its source.
    pub volume: String,
    /// The place of its first group, and the last group of the epoch before.
    pub start: Position,
}

/// The header of a volume.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    pub volume: String,
    pub blocks: u64,
    pub segment_size: u32,
    pub generations: Vec<Generation>,
    pub epochs: Vec<Epoch>,
    /// Where the log ends, if it was closed or is a snapshot: less of it, or more, is damage.
    pub end: Option<Position>,
}

impl Header {
    /// The header of a new, empty volume.
    ///
    /// # Errors
    /// [`VolumeError::Invalid`] for an id, a size or a wrapped key outside its range.
    pub fn new(
        id: &str,
        key: &VolumeKey,
        wrapped_key: &[u8],
        size: u64,
        segment_size: u32,
        entropy: &dyn Entropy,
    ) -> Result<Self, VolumeError> {
        let blocks = blocks(size)?;
        let mut header = Self {
            volume: String::new(),
            blocks,
            segment_size,
            generations: Vec::new(),
            epochs: Vec::new(),
            end: None,
        };
        if !segment_size_is_valid(segment_size) {
            return Err(VolumeError::Invalid("the size of a segment is not a power of two in its range"));
        }
        header.rename(id)?;
        header.begin_generation(key, wrapped_key, entropy)?;
        Ok(header)
    }

    /// Gives the volume another id.
    ///
    /// # Errors
    /// [`VolumeError::Invalid`] for one that no volume can have.
    pub(crate) fn rename(&mut self, id: &str) -> Result<(), VolumeError> {
        if !id_is_valid(id.as_bytes()) {
            return Err(VolumeError::Invalid("the volume id is not 1 to 255 visible ASCII characters"));
        }
        self.volume = id.into();
        Ok(())
    }

    /// Adds a generation, and says its number.
    ///
    /// # Errors
    /// [`VolumeError::Invalid`] for a wrapped key outside its range, or too many generations.
    pub(crate) fn begin_generation(
        &mut self,
        key: &VolumeKey,
        wrapped_key: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<u32, VolumeError> {
        let generation = self.generations.last().map_or(Some(1), |last| last.generation.checked_add(1));
        let generation = generation.filter(|_| self.generations.len() < MAX_GENERATIONS);
        let generation = generation.ok_or(VolumeError::Invalid("too many renewals are not finished"))?;
        self.generations.push(Generation::new(generation, key, wrapped_key, entropy)?);
        Ok(generation)
    }

    /// The bytes of the header, authenticated under the key of the last generation.
    pub(crate) fn encode(&self, key: &VolumeKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.blocks.to_le_bytes());
        bytes.extend_from_slice(&(BLOCK as u32).to_le_bytes());
        bytes.extend_from_slice(&self.segment_size.to_le_bytes());
        put_id(&mut bytes, &self.volume);
        bytes.extend_from_slice(&(self.generations.len() as u16).to_le_bytes());
        for row in &self.generations {
            bytes.extend_from_slice(&row.generation.to_le_bytes());
            bytes.extend_from_slice(&row.salt);
            bytes.extend_from_slice(&row.commitment);
            bytes.extend_from_slice(&(row.wrapped_key.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&row.wrapped_key);
        }
        bytes.extend_from_slice(&(self.epochs.len() as u32).to_le_bytes());
        for row in &self.epochs {
            bytes.extend_from_slice(&row.generation.to_le_bytes());
            bytes.extend_from_slice(&row.salt);
            put_id(&mut bytes, &row.volume);
            row.start.write(&mut bytes);
        }
        bytes.push(u8::from(self.end.is_some()));
        if let Some(end) = &self.end {
            end.write(&mut bytes);
        }
        let length = (bytes.len() + DIGEST + MAC) as u32;
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let digest = digest::digest(&digest::SHA256, &bytes);
        bytes.extend_from_slice(digest.as_ref());
        let mac = keys::header_mac(key, &self.last_generation().salt, &bytes);
        bytes.extend_from_slice(&mac);
        bytes
    }

    /// Reads a header, which nothing vouches for but its digest until [`Header::verify`] has said so.
    ///
    /// # Errors
    /// [`VolumeError::Damaged`], [`VolumeError::UnknownVersion`].
    pub fn parse(bytes: &[u8]) -> Result<Self, VolumeError> {
        let mut fields = Reader::new(bytes, "header");
        if fields.array()? != *MAGIC {
            return Err(VolumeError::Damaged("the header is none".into()));
        }
        let version = fields.u32()?;
        if version != VERSION {
            return Err(VolumeError::UnknownVersion(version));
        }
        let whole = fields.u32()? as usize == bytes.len();
        let body =
            bytes.len().checked_sub(DIGEST + MAC).filter(|_| whole).ok_or_else(|| fields.malformed())?;
        if digest::digest(&digest::SHA256, &bytes[..body]).as_ref() != &bytes[body..body + DIGEST] {
            return Err(VolumeError::Damaged("the digest of the header does not fit".into()));
        }
        let mut fields = Reader::new(&bytes[16..body], "header");
        let blocks = fields.u64()?;
        let block = fields.u32()?;
        let segment_size = fields.u32()?;
        let volume = id(&mut fields)?;
        let mut header =
            Self { volume, blocks, segment_size, generations: Vec::new(), epochs: Vec::new(), end: None };
        for _ in 0..fields.u16()? {
            header.generations.push(generation(&mut fields)?);
        }
        for _ in 0..fields.u32()? {
            header.epochs.push(epoch(&mut fields)?);
        }
        header.end = match fields.u8()? {
            0 => None,
            1 => Some(Position::read(&mut fields)?),
            _ => return Err(fields.malformed()),
        };
        let sane = fields.remaining() == 0
            && block as usize == BLOCK
            && (1..=MAX_BLOCKS).contains(&blocks)
            && segment_size_is_valid(segment_size)
            && (1..=MAX_GENERATIONS).contains(&header.generations.len())
            && header.generations.is_sorted_by(|a, b| a.generation < b.generation)
            && header.epochs.is_sorted_by(|a, b| {
                a.start.epoch < b.start.epoch
                    && a.start.sequence <= b.start.sequence
                    && a.start.place.segment < b.start.place.segment
            });
        if sane { Ok(header) } else { Err(fields.malformed()) }
    }

    /// Checks the key and, with it, every byte of the header.
    pub(crate) fn verify(&self, key: &VolumeKey, bytes: &[u8]) -> Result<(), VolumeError> {
        let last = self.last_generation();
        if !last.is_of(key) {
            return Err(VolumeError::WrongKey);
        }
        let (signed, mac) = bytes.split_at(bytes.len() - MAC);
        if !keys::equal(&keys::header_mac(key, &last.salt, signed), mac) {
            return Err(VolumeError::Damaged("the header is not authentic".into()));
        }
        Ok(())
    }

    pub(crate) fn last_generation(&self) -> &Generation {
        self.generations.last().expect("a header has a generation: `new` makes one, `parse` demands one")
    }

    /// The number of the newest epoch; 0 if there is none.
    pub(crate) fn last_epoch(&self) -> u32 {
        self.epochs.last().map_or(0, |row| row.start.epoch)
    }

    /// The epoch that followed one.
    pub(crate) fn epoch_after(&self, number: u32) -> Option<&Epoch> {
        self.epochs.iter().find(|row| row.start.epoch > number)
    }

    /// Where the log of a volume stands that was never opened; its first segment will be number 1.
    pub(crate) fn genesis(&self) -> Position {
        Position { epoch: 0, place: Place { segment: 0, offset: 0 }, sequence: 0, chain: [0; TAG] }
    }
}

/// Blocks of a volume of `size` bytes.
pub(crate) fn blocks(size: u64) -> Result<u64, VolumeError> {
    let blocks = size / BLOCK as u64;
    if !size.is_multiple_of(BLOCK as u64) || !(1..=MAX_BLOCKS).contains(&blocks) {
        return Err(VolumeError::Invalid("the size is not a multiple of 8 KiB up to 32 TiB"));
    }
    Ok(blocks)
}

fn segment_size_is_valid(size: u32) -> bool {
    size.is_power_of_two() && SEGMENT_SIZES.contains(&size)
}

fn id_is_valid(id: &[u8]) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn put_id(bytes: &mut Vec<u8>, id: &str) {
    bytes.extend_from_slice(&(id.len() as u16).to_le_bytes());
    bytes.extend_from_slice(id.as_bytes());
}

fn id(fields: &mut Reader<'_>) -> Result<String, VolumeError> {
    let length = fields.u16()?;
    let bytes = fields.bytes(length.into())?;
    let text = str::from_utf8(bytes).ok().filter(|_| id_is_valid(bytes));
    text.map(Into::into).ok_or_else(|| fields.malformed())
}

fn generation(fields: &mut Reader<'_>) -> Result<Generation, VolumeError> {
    let (generation, salt, commitment) = (fields.u32()?, fields.array()?, fields.array()?);
    let length = fields.u32()? as usize;
    if length > MAX_WRAPPED {
        return Err(fields.malformed());
    }
    Ok(Generation { generation, salt, commitment, wrapped_key: fields.bytes(length)?.to_vec() })
}

fn epoch(fields: &mut Reader<'_>) -> Result<Epoch, VolumeError> {
    let (generation, salt) = (fields.u32()?, fields.array()?);
    let volume = id(fields)?;
    Ok(Epoch { generation, salt, volume, start: Position::read(fields)? })
}
