//! The keys of an open volume, and everything that is done with them. Source: RFC 5869 (HKDF), NIST SP 800-38D (GCM).
//!
//! ```text
//! volume key ── HKDF-SHA256(salt of the generation) ─► "commitment", "header" (HMAC)
//!            └─ HKDF-SHA256(salt of the epoch)      ─► AES-256-GCM key of the epoch
//! ```
//!
//! INVARIANT: a nonce is a lane and a counter; under one epoch key no counter is used twice, in whatever lane.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    constant_time, hkdf, hmac,
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    Keys, VolumeError, VolumeKey,
    header::{Epoch, Header},
    layout::{BLOCK, TAG, Tag},
};

/// Bytes of a salt of HKDF.
pub const SALT: usize = 32;
const PURPOSE: &[u8] = b"strongroom volume 1 ";

/// What a message is; keeps the nonces and the associated data of different structures apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Lane {
    Record = 1,
    Descriptor = 2,
    Slot = 3,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A block of the volume.
    Data,
    /// A node of the tree.
    Node,
}

impl Kind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Node => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Data, Self::Node].into_iter().find(|kind| kind.code() == code)
    }
}

/// Which record this is: it can be opened as nothing else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RecordId {
    pub kind: Kind,
    /// Level of a node, 0 for a leaf; of data, the sectors that were lost (bit i: sector i), 0 for a whole block.
    pub level: u8,
    /// Index of the block, or of the node within its level.
    pub index: u64,
    pub epoch: u32,
    pub counter: u32,
}

impl RecordId {
    /// ```text
    /// 0   1  kind     1  1  level    2  2  zero
    /// 4   4  generation
    /// 8   4  epoch
    /// 12  4  counter
    /// 16  8  index
    /// 24  4  length of the plaintext
    /// 28  .  id of the volume that the epoch is bound to
    /// ```
    fn associated_data(&self, row: &Epoch) -> Vec<u8> {
        let mut data = Vec::with_capacity(28 + row.volume.len());
        data.extend_from_slice(&[self.kind.code(), self.level, 0, 0]);
        data.extend_from_slice(&row.generation.to_le_bytes());
        data.extend_from_slice(&self.epoch.to_le_bytes());
        data.extend_from_slice(&self.counter.to_le_bytes());
        data.extend_from_slice(&self.index.to_le_bytes());
        data.extend_from_slice(&(BLOCK as u32).to_le_bytes());
        data.extend_from_slice(row.volume.as_bytes());
        data
    }
}

/// The bytes are not what was sealed there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotAuthentic;

struct EpochKey {
    row: Epoch,
    key: LessSafeKey, // aws-lc wipes its memory when it is freed
}

/// The keys of a volume in memory.
pub(crate) struct Keyring {
    /// By generation.
    volume_keys: BTreeMap<u32, VolumeKey>,
    epochs: BTreeMap<u32, EpochKey>,
}

impl Keyring {
    /// Tells by the commitments which key is of which generation, and derives the keys of all epochs. An epoch whose
    /// generation the header no longer has is there for an anchor alone: nothing is sealed under it any more.
    ///
    /// # Errors
    /// [`VolumeError::WrongKey`] if the key of a generation is missing.
    pub fn new(keys: Keys, header: &Header) -> Result<Self, VolumeError> {
        let mut ring = Self { volume_keys: BTreeMap::new(), epochs: BTreeMap::new() };
        for key in keys.0 {
            if let Some(row) = header.generations.iter().find(|row| row.is_of(&key)) {
                ring.volume_keys.insert(row.generation, key);
            }
        }
        if header.generations.iter().any(|row| !ring.volume_keys.contains_key(&row.generation)) {
            return Err(VolumeError::WrongKey);
        }
        for row in &header.epochs {
            ring.add(row.clone());
        }
        Ok(ring)
    }

    /// Derives the key of an epoch, if that of its generation is known.
    pub fn add(&mut self, row: Epoch) {
        let Some(volume_key) = self.volume_keys.get(&row.generation) else { return };
        let number = row.start.epoch;
        let info = [PURPOSE, b"epoch ", &number.to_le_bytes(), row.volume.as_bytes()];
        let bytes = derive(volume_key, &row.salt, &info);
        let key = UnboundKey::new(&AES_256_GCM, &*bytes).expect("a key of AES-256 has 32 bytes");
        self.epochs.insert(number, EpochKey { row, key: LessSafeKey::new(key) });
    }

    /// How many generations have a key here.
    pub fn generations(&self) -> usize {
        self.volume_keys.len()
    }

    /// Whether an epoch is of an older generation than the newest epoch.
    pub fn is_older(&self, epoch: u32) -> bool {
        let newest = self.epochs.last_key_value().map(|(_, newest)| newest.row.generation);
        self.epochs.get(&epoch).map(|epoch| epoch.row.generation) < newest
    }

    /// The key that a header is authenticated under.
    pub fn header_key(&self, header: &Header) -> Result<&VolumeKey, VolumeError> {
        self.volume_keys.get(&header.last_generation().generation).ok_or(VolumeError::WrongKey)
    }

    /// Seals a block out of place, so that its plaintext never stands in a buffer of the disk.
    pub fn seal_record(&self, id: &RecordId, plaintext: &[u8], sealed: &mut [u8]) -> Tag {
        let epoch = self.epochs.get(&id.epoch).expect("sealing is done in the newest epoch");
        let mut tag = [0; TAG];
        epoch
            .key
            .seal_out_of_place_scatter(
                nonce(Lane::Record, id.counter),
                Aad::from(id.associated_data(&epoch.row)),
                plaintext,
                sealed,
                &[],
                &mut tag,
            )
            .expect("both buffers have the length of a block");
        tag
    }

    /// Opens a block. On failure `plaintext` holds zeros.
    pub fn open_record(
        &self,
        id: &RecordId,
        tag: &Tag,
        sealed: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let epoch = self.epochs.get(&id.epoch).ok_or(NotAuthentic)?;
        let aad = Aad::from(id.associated_data(&epoch.row));
        let opened =
            epoch.key.open_separate_gather(nonce(Lane::Record, id.counter), aad, sealed, tag, plaintext);
        opened.map_err(|_| {
            plaintext.zeroize();
            NotAuthentic
        })
    }

    /// Seals the body of a descriptor or slot in place; `head` and `place` are authenticated with it.
    pub fn seal_body(
        &self,
        lane: Lane,
        epoch: u32,
        counter: u32,
        head: &[u8],
        place: &[u8],
        body: &mut [u8],
    ) -> Tag {
        let epoch = self.epochs.get(&epoch).expect("sealing is done in the newest epoch");
        let aad = [head, place, epoch.row.volume.as_bytes()].concat();
        let sealed = epoch.key.seal_in_place_separate_tag(nonce(lane, counter), Aad::from(aad), body);
        let tag = sealed.expect("AES-GCM takes up to 64 GiB");
        tag.as_ref().try_into().expect("a tag of AES-GCM has 16 bytes")
    }

    /// Opens, in place, what [`Keyring::seal_body`] sealed.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the message")]
    pub fn open_body(
        &self,
        lane: Lane,
        epoch: u32,
        counter: u32,
        head: &[u8],
        place: &[u8],
        tag: &Tag,
        body: &mut [u8],
    ) -> Result<(), NotAuthentic> {
        let epoch = self.epochs.get(&epoch).ok_or(NotAuthentic)?;
        let aad = [head, place, epoch.row.volume.as_bytes()].concat();
        let opened = epoch.key.open_in_place_separate_tag(nonce(lane, counter), Aad::from(aad), tag, body);
        opened.map(|_| ()).map_err(|_| NotAuthentic)
    }
}

/// Holds the keys until they are taken away. Nobody waits for a disk while holding them, so that wiping never does.
pub(crate) struct Vault(RwLock<Option<Keyring>>);

impl Vault {
    pub fn new(ring: Keyring) -> Self {
        Self(RwLock::new(Some(ring)))
    }

    /// Lends the keys. `f` must not do I/O.
    pub fn with<R>(&self, f: impl FnOnce(&Keyring) -> R) -> Result<R, VolumeError> {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ring.as_ref().map(f).ok_or(VolumeError::Locked)
    }

    /// Derives the key of one more epoch.
    pub fn add(&self, row: Epoch) -> Result<(), VolumeError> {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ring.as_mut().ok_or(VolumeError::Locked)?.add(row);
        Ok(())
    }

    /// Takes the key of one more generation.
    pub fn add_key(&self, generation: u32, key: VolumeKey) -> Result<(), VolumeError> {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ring.as_mut().ok_or(VolumeError::Locked)?.volume_keys.insert(generation, key);
        Ok(())
    }

    /// Wipes the keys of the generations that are not to be kept.
    pub fn keep_generations(&self, keep: impl Fn(u32) -> bool) {
        if let Some(ring) = &mut *self.0.write().unwrap_or_else(PoisonError::into_inner) {
            ring.volume_keys.retain(|generation, _| keep(*generation));
            ring.epochs.retain(|_, epoch| keep(epoch.row.generation));
        }
    }

    /// Wipes the keys.
    pub fn wipe(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Commits to a key without showing it.
pub(crate) fn commitment(key: &VolumeKey, salt: &[u8; SALT]) -> [u8; 32] {
    *derive(key, salt, &[PURPOSE, b"commitment"])
}

/// The MAC of a header.
pub(crate) fn header_mac(key: &VolumeKey, salt: &[u8; SALT], bytes: &[u8]) -> [u8; 32] {
    let key = derive(key, salt, &[PURPOSE, b"header"]);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key), bytes);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

/// Compares in constant time.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn derive(key: &VolumeKey, salt: &[u8; SALT], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.expose());
    let mut derived = Zeroizing::new([0; 32]);
    extracted
        .expand(info, hkdf::HKDF_SHA256)
        .and_then(|expanded| expanded.fill(&mut *derived))
        .expect("one block of output");
    derived
}

fn nonce(lane: Lane, counter: u32) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..4].copy_from_slice(&(lane as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
