//! Why a volume refuses or fails.

use std::io;

/// Why an operation on a volume failed. `Display` names what is wrong, never what is inside.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The host could not do `action`.
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    /// There is no volume here, or only the remains of one that was never finished.
    #[error("there is no volume")]
    NotFound,
    /// A volume (or something else) is in the way.
    #[error("the place is taken")]
    AlreadyExists,
    /// Another opener, perhaps of another process, has the volume.
    #[error("the volume is open elsewhere")]
    InUse,
    /// The header belongs to another volume.
    #[error("this is volume {found}, not {expected}")]
    WrongVolume { expected: String, found: String },
    /// The key is not that of this volume (the bytes on the disk may be in perfect order).
    #[error("the key is not that of the volume")]
    WrongKey,
    /// Bytes on the disk are not what the volume wrote: changed, swapped, old, cut short or missing.
    #[error("the volume is damaged: {0}")]
    Damaged(String),
    /// The files are older than the anchor, or of another line than it names: an old copy of the whole volume was put
    /// back. In perfect order otherwise.
    #[error(
        "the volume is an older copy: its log ends with group {found} and does not hold group {expected} of the anchor"
    )]
    RolledBack { expected: u64, found: u64 },
    /// A format that this version does not read.
    #[error("format version {0} of the volume is not known")]
    UnknownVersion(u32),
    /// An argument outside its range.
    #[error("{0}")]
    Invalid(&'static str),
    /// An earlier write to the host failed, so the volume takes no more; reopening recovers what was acknowledged.
    #[error("the volume has stopped after a failed write")]
    Stopped,
    /// The volume was locked or closed: its keys are gone.
    #[error("the volume is locked")]
    Locked,
}

impl VolumeError {
    /// Says what could not be done.
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// Whether what was to be read is gone for good, as far as one can tell: not authentic, or unreadable on the medium.
    pub(crate) fn is_loss(&self) -> bool {
        const EIO: i32 = 5;
        const EBADMSG: i32 = 74; // a checksum of the host's file system
        const EUCLEAN: i32 = 117; // the host's file system is damaged
        match self {
            Self::Damaged(_) => true,
            Self::Io { source, .. } => matches!(source.raw_os_error(), Some(EIO | EBADMSG | EUCLEAN)),
            _ => false,
        }
    }

    /// Whether the host has no space left.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }

    /// What a block device answers: `ENOSPC` when the host is full, `EINVAL` for a request that it cannot take, else
    /// `EIO`.
    pub fn errno(&self) -> io::Error {
        const EIO: i32 = 5;
        const EINVAL: i32 = 22;
        const ENOSPC: i32 = 28;
        io::Error::from_raw_os_error(match self {
            error if error.is_full() => ENOSPC,
            Self::Invalid(_) => EINVAL,
            _ => EIO,
        })
    }
}

/// Whether an operation of the host failed for want of space, on the disk or in a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an operation of the host failed before it did anything, for want of memory or file descriptors.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE))
}
