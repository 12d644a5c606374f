//! The file system on the device: made once, recognised later, mounted and unmounted.
//!
//! Mounting and unmounting wait for the device: call them on a thread that is [`crate::apart`].

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::device::{BlockDevice, SECTOR};
use crate::error::{AttachError, Missing, Tried};
use crate::support::find_program;

/// Bytes of a file system block that is a page of PostgreSQL, so that a page is never written in halves.
pub(crate) const LARGE_BLOCK: u32 = 8192;
/// What every kernel can mount.
pub(crate) const SMALL_BLOCK: u32 = 4096;

/// What lies on a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// Nothing, or a file system whose making was interrupted.
    Blank,
    Xfs {
        block_size: u32,
    },
    Foreign,
}

/// Reads the superblock.
pub(crate) fn content(device: &dyn BlockDevice) -> Result<Content, AttachError> {
    let mut sector = [0; SECTOR];
    device.read(0, &mut sector).tried(|| "read the superblock".into())?;
    Ok(recognise(&sector))
}

/// Superblock (`struct xfs_dsb`, big-endian): magic at 0, block size at 4, `sb_inprogress` at 126, which
/// `mkfs.xfs` clears with its last write.
fn recognise(sector: &[u8; SECTOR]) -> Content {
    const IN_PROGRESS: usize = 126;
    if sector.iter().all(|byte| *byte == 0) {
        return Content::Blank;
    }
    match sector {
        [b'X', b'F', b'S', b'B', ..] if sector[IN_PROGRESS] != 0 => Content::Blank,
        [b'X', b'F', b'S', b'B', a, b, c, d, ..] => {
            Content::Xfs { block_size: u32::from_be_bytes([*a, *b, *c, *d]) }
        }
        _ => Content::Foreign,
    }
}

/// Makes a file system.
///
/// - The log's stripe unit is one block, so that log writes never cover half of one.
/// - No reflinks and no reverse map: PostgreSQL uses neither, and both cost a tree update for each extent.
/// - The device is blank, so there is nothing to discard first.
pub(crate) fn format(device: &Path, block_size: u32) -> Result<(), AttachError> {
    let program = find_program("mkfs.xfs").ok_or(AttachError::Unsupported(Missing::MkfsXfs))?;
    let output = Command::new(program)
        .args(["-q", "-f", "-K"])
        .args(["-b", &format!("size={block_size}")])
        .args(["-s", &format!("size={SECTOR}")])
        .args(["-m", "crc=1,finobt=1,reflink=0,rmapbt=0"])
        .args(["-l", "version=2,su=8192"])
        .arg(device)
        .stdin(Stdio::null())
        .output()
        .tried(|| "run mkfs.xfs".into())?;
    if output.status.success() {
        return Ok(());
    }
    Err(AttachError::Format(String::from_utf8_lossy(&output.stderr).trim().into()))
}

/// Mounts; the kernel replays the log of a file system that was not unmounted.
///
/// `nouuid`, because a clone has the identity of its origin; `discard`, so that the volume forgets what the
/// file system frees.
pub(crate) fn mount_at(device: &Path, target: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some(device), target, Some("xfs"), flags, Some("nouuid,discard,logbufs=8,logbsize=256k"))
}

/// Whether mounting failed because the kernel cannot do blocks larger than a memory page.
pub(crate) fn is_block_size_refused(error: Errno) -> bool {
    matches!(error, Errno::ENOSYS | Errno::EINVAL)
}

/// The beginning of `struct xfs_fsop_geom_v1`.
#[repr(C)]
struct Geometry {
    block_size: u32,
    extent_size: u32,
    group_blocks: u32,
    groups: u32,
    log_blocks: u32,
    sector_size: u32,
    inode_size: u32,
    max_inode_percent: u32,
    data_blocks: u64,
    rest: [u64; 9],
}

/// `struct xfs_growfs_data`.
#[repr(C)]
struct Growth {
    blocks: u64,
    max_inode_percent: u32,
}

nix::ioctl_read!(xfs_geometry, b'X', 100, Geometry);
nix::ioctl_write_ptr!(xfs_grow, b'X', 110, Growth);

/// Makes the file system that is mounted at `target` as large as its device, which has `size` bytes, if it is smaller.
/// If it is not, the kernel writes the copies of the superblock anew: a crash while growing may have left them old, and
/// `xfs_repair` would believe them.
pub(crate) fn grow(target: &Path, size: u64) -> io::Result<()> {
    let root = File::open(target)?;
    let mut geometry = MaybeUninit::<Geometry>::zeroed();
    // SAFETY: the structure has the layout that the request fills, and every value of it is valid.
    let geometry = unsafe {
        xfs_geometry(root.as_raw_fd(), geometry.as_mut_ptr())?;
        geometry.assume_init()
    };
    let blocks = (size / u64::from(geometry.block_size.max(1))).max(geometry.data_blocks);
    let growth = Growth { blocks, max_inode_percent: geometry.max_inode_percent };
    // SAFETY: the request reads the structure.
    unsafe { xfs_grow(root.as_raw_fd(), &growth) }?;
    Ok(())
}

/// Unmounts; everything is on the device then. Processes that are about to exit are waited for.
///
/// # Errors
/// `EBUSY` if files are still open after `patience`.
pub(crate) fn unmount(target: &Path, patience: Duration) -> nix::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match umount2(target, MntFlags::empty()) {
            Err(Errno::EBUSY) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(block_size: u32, in_progress: u8) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..4].copy_from_slice(b"XFSB");
        sector[4..8].copy_from_slice(&block_size.to_be_bytes());
        sector[126] = in_progress;
        sector
    }

    #[test]
    fn structures_have_the_sizes_of_the_kernels_header() {
        assert_eq!(size_of::<Geometry>(), 112);
        assert_eq!(size_of::<Growth>(), 16);
    }

    #[test]
    fn a_superblock_tells_its_block_size() {
        assert_eq!(recognise(&superblock(8192, 0)), Content::Xfs { block_size: 8192 });
        assert_eq!(recognise(&superblock(4096, 0)), Content::Xfs { block_size: 4096 });
    }

    #[test]
    fn zeros_and_an_interrupted_mkfs_are_blank() {
        assert_eq!(recognise(&[0; SECTOR]), Content::Blank);
        assert_eq!(recognise(&superblock(8192, 1)), Content::Blank);
    }

    #[test]
    fn anything_else_is_foreign() {
        let mut sector = [0; SECTOR];
        sector[SECTOR - 1] = 1;
        assert_eq!(recognise(&sector), Content::Foreign);
    }
}
