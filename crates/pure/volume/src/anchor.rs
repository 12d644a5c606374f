//! The anchor: what the key service remembers of a volume, so that an older copy of all its files is told from it.
//!
//! It names a group of the log and the epoch in which the log then stood. The salt of an epoch is random, so a volume
//! whose header knows it descends from the attach that drew it; and its log must contain the group. An anchor holds
//! nothing secret.
//!
//! INVARIANT: the log only grows past what was durable, and the header keeps the row of the epoch that the last anchor
//! names, so no volume is refused for what a crash did between two anchors.
//!
//! ```text
//! 0   4  version (1)
//! 4   4  epoch
//! 8   8  sequence number of the last group; 0 before the first
//! 16 32  salt of the epoch
//! 48 16  tag of the last group's descriptor; zeros before the first
//! ```

use crate::{
    Epoch, VolumeError,
    header::Header,
    keys::SALT,
    layout::{Reader, TAG, Tag},
    replay::Recovered,
    segments::Segments,
    volume::Volume,
};

/// Bytes of an anchor.
pub const ANCHOR: usize = 64;
const VERSION: u32 = 1;

/// Where the log of a volume stood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Anchor {
    pub epoch: u32,
    /// The salt of that epoch.
    pub salt: [u8; SALT],
    /// Sequence number of the last group that was durable.
    pub sequence: u64,
    /// The tag of that group's descriptor.
    pub chain: Tag,
}

impl Anchor {
    /// The bytes to be kept.
    pub fn to_bytes(&self) -> [u8; ANCHOR] {
        let mut bytes = [0; ANCHOR];
        bytes[0..4].copy_from_slice(&VERSION.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.salt);
        bytes[48..].copy_from_slice(&self.chain);
        bytes
    }

    /// Reads what [`Anchor::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`VolumeError::UnknownVersion`]; [`VolumeError::Damaged`] for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VolumeError> {
        let mut fields = Reader::new(bytes, "anchor");
        let version = fields.u32()?;
        if version != VERSION {
            return Err(VolumeError::UnknownVersion(version));
        }
        let (epoch, sequence) = (fields.u32()?, fields.u64()?);
        let anchor = Self { epoch, sequence, salt: fields.array()?, chain: fields.array::<TAG>()? };
        if fields.remaining() == 0 { Ok(anchor) } else { Err(fields.malformed()) }
    }

    fn is_of(&self, epoch: &Epoch) -> bool {
        epoch.start.epoch == self.epoch && epoch.salt == self.salt
    }

    /// Whether a header knows the anchored epoch.
    pub(crate) fn is_known_to(&self, header: &Header) -> bool {
        header.epochs.iter().any(|row| self.is_of(row))
    }

    /// Checks that the log of a volume, as its files were found, contains the anchored group.
    ///
    /// # Errors
    /// [`VolumeError::RolledBack`].
    pub(crate) fn check(&self, header: &Header, recovered: &Recovered) -> Result<(), VolumeError> {
        let known = header.epochs.iter().find(|row| self.is_of(row));
        // The epoch went on up to where the next one began.
        let end = header.epoch_after(self.epoch).map_or(recovered.position, |next| next.start);
        let contained = known.is_some_and(|row| {
            (row.start.sequence..=end.sequence).contains(&self.sequence)
                && (self.sequence != end.sequence || self.chain == end.chain)
                && (self.sequence != row.start.sequence || self.chain == row.start.chain)
                && recovered.watched.is_none_or(|chain| chain == self.chain)
        });
        if contained {
            return Ok(());
        }
        Err(VolumeError::RolledBack { expected: self.sequence, found: recovered.position.sequence })
    }
}

impl<S: Segments> Volume<S> {
    /// Where the log stands: all that is durable lies before. Also to be asked after [`Volume::close`]. Waits for a
    /// commit that is under way.
    pub fn anchor(&self) -> Anchor {
        let (log, mut disk) = (self.log(), self.disk());
        disk.in_use = true;
        let head = self.state().head;
        let row = log.header.epochs.last().expect("an open volume has begun an epoch");
        Anchor { epoch: row.start.epoch, salt: row.salt, sequence: head.sequence, chain: head.chain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_reads_back_and_nothing_else_is_one() {
        let anchor = Anchor { epoch: 3, salt: [4; SALT], sequence: 5, chain: [6; TAG] };
        let bytes = anchor.to_bytes();
        assert_eq!(Anchor::from_bytes(&bytes).unwrap(), anchor);
        for length in 0..bytes.len() {
            assert!(Anchor::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Anchor::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        assert!(matches!(Anchor::from_bytes(&[9; ANCHOR]), Err(VolumeError::UnknownVersion(_))));
    }
}
