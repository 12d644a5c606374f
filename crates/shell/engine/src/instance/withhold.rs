//! Space that a mounted XFS withholds from whoever writes files: its pool of reserved blocks (`XFS_IOC_SET_RESBLKS`,
//! `fs/xfs/xfs_fsops.c`). It is a count in memory, so it changes at once, goes with the mount, and blocks that are freed
//! fill it before anybody gets them.
//!
//! The calls may wait for the volume: make them [`super::apart`].

use std::{fs::File, io, os::fd::AsRawFd as _, path::Path};

use nix::sys::statvfs::{Statvfs, fstatvfs};

/// `struct xfs_fsop_resblks`, in blocks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ReservedBlocks {
    /// As large as the pool should be.
    wished: u64,
    /// What is in it.
    there: u64,
}

nix::ioctl_read!(get_reserved_blocks, b'X', 115, ReservedBlocks);
nix::ioctl_readwrite!(set_reserved_blocks, b'X', 114, ReservedBlocks);

/// A mounted file system.
#[derive(Debug)]
pub struct FileSystem(File);

/// How its space is divided; bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Division {
    /// Given to files, and what the file system itself takes.
    pub used: u64,
    /// Free for files.
    pub free: u64,
    /// In the pool of reserved blocks, free but withheld.
    pub withheld: u64,
}

impl FileSystem {
    /// The one mounted at a path. It cannot be unmounted meanwhile.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(mount: &Path) -> io::Result<Self> {
        Ok(Self(File::open(mount)?))
    }

    fn statvfs(&self) -> io::Result<Statvfs> {
        Ok(fstatvfs(&self.0)?)
    }

    /// How space is divided now.
    ///
    /// # Errors
    /// What the system says.
    pub fn division(&self) -> io::Result<Division> {
        let shown = self.statvfs()?;
        let mut pool = ReservedBlocks::default();
        // SAFETY: the kernel writes a struct of this layout.
        unsafe { get_reserved_blocks(self.0.as_raw_fd(), &raw mut pool) }?;
        let bytes = |blocks: u64| blocks.saturating_mul(shown.fragment_size());
        let (free, withheld) = (bytes(shown.blocks_free()), bytes(pool.there));
        Ok(Division { used: bytes(shown.blocks()).saturating_sub(free + withheld), free, withheld })
    }

    /// Withholds so many bytes from files, or all that is free if that is less; the rest follows as files give it back.
    ///
    /// # Errors
    /// What the system says.
    pub fn withhold(&self, bytes: u64) -> io::Result<()> {
        let mut pool = ReservedBlocks { wished: bytes / self.statvfs()?.fragment_size().max(1), there: 0 };
        // SAFETY: the kernel reads and writes a struct of this layout.
        unsafe { set_reserved_blocks(self.0.as_raw_fd(), &raw mut pool) }?;
        Ok(())
    }
}
