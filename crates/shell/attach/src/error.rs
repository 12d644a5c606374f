//! Why a volume could not be attached or let go.

use std::io;
use std::path::PathBuf;

/// Why attaching or detaching failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel or the system lacks a part; [`crate::kernel_support`] lists them all.
    #[error("this system cannot attach a volume: {0}")]
    Unsupported(Missing),

    /// A namespace holds for one thread; others that run already would stay outside.
    #[error("a private mount namespace must be entered before any thread is started ({threads} are running)")]
    NotSingleThreaded { threads: usize },

    /// Mounting was asked for before [`crate::enter_private_namespace`].
    #[error("a volume is attached in a private mount namespace only")]
    NotPrivate,

    /// Not a positive multiple of [`crate::SECTOR`].
    #[error("a device of {size} bytes is not one of whole sectors")]
    Size { size: u64 },

    /// Neither blank nor XFS: formatting would destroy what is there.
    #[error("the device holds something that is not an XFS file system")]
    NotXfs,

    /// `mkfs.xfs` refused.
    #[error("the device could not be formatted: {0}")]
    Format(String),

    /// Files below the mount point are still open; the volume was cut off instead of unmounted.
    #[error("{path} was still in use")]
    Busy { path: PathBuf },

    /// The volume was cut off ([`crate::Mounted::abort`]) while it was being attached or detached.
    #[error("the volume was cut off")]
    Aborted,

    /// The kernel did not let go of a part in time.
    #[error("{what} is still held by the kernel")]
    Held { what: String },

    /// A call to the system failed.
    #[error("cannot {what}")]
    System { what: String, source: io::Error },
}

/// A part of the system that attaching needs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Missing {
    #[error("it needs root (CAP_SYS_ADMIN)")]
    Privilege,
    #[error("the kernel has no FUSE (/dev/fuse)")]
    Fuse,
    #[error("the kernel has no loop devices (/dev/loop-control)")]
    Loop,
    #[error("no loop device is free (see the kernel parameter max_loop)")]
    FreeLoop,
    #[error("the kernel has no XFS")]
    Xfs,
    #[error("its file system has blocks of 8 KiB, which need Linux 6.12")]
    LargeBlocks,
    #[error("mkfs.xfs is not installed (package xfsprogs)")]
    MkfsXfs,
    #[error(
        "in a memory cgroup of version 1 with a limit, serving a volume can wait for itself: it needs \
         CAP_SYS_RESOURCE, or the limit must be the database's alone"
    )]
    SafeMemory,
}

/// Says what was tried when a system call fails.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, AttachError>;
}

impl<T, E: Into<io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, AttachError> {
        self.map_err(|error| AttachError::System { what: what(), source: error.into() })
    }
}
