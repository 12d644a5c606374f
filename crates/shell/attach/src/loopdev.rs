//! A loop device over the device file (`linux/loop.h`), and knowing when the kernel has let go of it.
//!
//! All functions here may wait for the device: call them on a thread that is [`crate::apart`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::device::SECTOR;
use crate::error::{AttachError, Missing, Tried};

/// The largest request, KiB. Half of what one FUSE WRITE can carry, because a request of pages that lie across
/// page borders counts up to twice its pages there.
///
/// INVARIANT: one request of the block layer is one WRITE, so that a block is never torn between two.
const MAX_REQUEST_KIB: u32 = crate::fuse::MAX_TRANSFER / 1024 / 2;

/// What a file that is read in order has under way, KiB: some of the largest requests for each worker, so that none waits
/// while the file system asks for more. With the kernel's 128 KiB they would take turns.
const READ_AHEAD_KIB: u32 = 16 * MAX_REQUEST_KIB;

/// Dirty pages of the file system, bytes, from which the kernel slows writers down: what a host that is slow, or has no
/// space, makes it keep, and what an unmount has to write. It is no hard bound (decision 0211).
const MAX_DIRTY: u64 = 1 << 30;

const LOOP_MAJOR: u64 = 7;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
const NAME_SIZE: usize = 64;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; NAME_SIZE],
    crypt_name: [u8; NAME_SIZE],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

nix::ioctl_none_bad!(loop_clr_fd, 0x4C01);
nix::ioctl_read_bad!(loop_get_status64, 0x4C05, LoopInfo);
nix::ioctl_none_bad!(loop_set_capacity, 0x4C07);
nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);

impl LoopInfo {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; NAME_SIZE],
        crypt_name: [0; NAME_SIZE],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// A loop device over one file. The kernel clears it when its last user closes it, so it lives as long as this
/// value or a mount on it.
pub(crate) struct LoopDevice {
    file: File,
    identity: Identity,
}

/// Which loop device over which file; the number alone may belong to somebody else by now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    number: u64,
    device: u64,
    inode: u64,
}

impl LoopDevice {
    /// Takes a free loop device for `backing`. `owner` is written into it, so that leftovers can be told.
    ///
    /// # Errors
    /// [`Missing::Loop`] or [`Missing::FreeLoop`] if there is none to take.
    pub(crate) fn configure(backing: &File, owner: &Path) -> Result<Self, AttachError> {
        let control = match OpenOptions::new().read(true).write(true).open("/dev/loop-control") {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENXIO | libc::ENODEV)) => {
                return Err(AttachError::Unsupported(Missing::Loop));
            }
            opened => opened.tried(|| "open /dev/loop-control".into())?,
        };
        let config = LoopConfig {
            fd: backing.as_raw_fd() as u32,
            block_size: SECTOR as u32,
            info: LoopInfo {
                flags: LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
                file_name: owner_name(owner),
                ..LoopInfo::EMPTY
            },
            reserved: [0; 8],
        };
        // Another process may take the same free device first; each round, somebody gets one.
        for _ in 0..100 {
            // SAFETY: the request takes no argument.
            let number = match unsafe { loop_ctl_get_free(control.as_raw_fd()) } {
                Ok(number) => number as u64,
                Err(Errno::ENOSPC | Errno::ENODEV | Errno::ENOMEM) => break,
                Err(error) => return Err(error).tried(|| "find a free loop device".into()),
            };
            let file = open(number).tried(|| format!("open {}", node(number).display()))?;
            // SAFETY: `config` is the structure that the request reads, and lives throughout the call.
            match unsafe { loop_configure(file.as_raw_fd(), &config) } {
                Ok(_) => return Self::configured(number, file),
                Err(Errno::EBUSY) => thread::yield_now(),
                Err(error) => {
                    return Err(error).tried(|| format!("configure {}", node(number).display()));
                }
            }
        }
        Err(AttachError::Unsupported(Missing::FreeLoop))
    }

    fn configured(number: u64, file: File) -> Result<Self, AttachError> {
        let info = status(&file).tried(|| format!("ask for the state of {}", node(number).display()))?;
        let identity = Identity { number, device: info.device, inode: info.inode };
        identity
            .set("queue/max_sectors_kb", MAX_REQUEST_KIB)
            .tried(|| format!("limit the requests of {}", node(number).display()))?;
        // Read ahead, no scheduler (the device has no order to gain from), dirty pages: not every kernel has each, and
        // the device is right without.
        for (name, value) in [
            ("queue/scheduler", "none".to_owned()),
            ("queue/read_ahead_kb", READ_AHEAD_KIB.to_string()),
            ("bdi/strict_limit", "1".to_owned()),
            ("bdi/max_bytes", MAX_DIRTY.to_string()),
        ] {
            if let Err(error) = identity.set(name, value) {
                tracing::warn!(%error, name, "a setting of the loop device was refused");
            }
        }
        if info.flags & LO_FLAGS_DIRECT_IO == 0 {
            // Buffered, the pages of the volume would lie in the host's page cache, and a write would wait there.
            let source = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
            return Err(AttachError::System { what: "use direct I/O on the device file".into(), source });
        }
        Ok(Self { file, identity })
    }

    pub(crate) fn path(&self) -> PathBuf {
        node(self.identity.number)
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Takes the file away from a device whose last user is gone, or as soon as it is.
    pub(crate) fn clear(&self) -> nix::Result<()> {
        // SAFETY: the request takes no argument.
        unsafe { loop_clr_fd(self.file.as_raw_fd()) }.map(drop)
    }
}

impl Identity {
    /// Waits until the device does not hold the file any more.
    ///
    /// # Errors
    /// [`AttachError::Held`] if it still does after `patience`.
    pub(crate) fn wait_released(self, patience: Duration) -> Result<(), AttachError> {
        let deadline = Instant::now() + patience;
        while self.is_bound() {
            if Instant::now() >= deadline {
                return Err(AttachError::Held { what: node(self.number).display().to_string() });
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Asking opens the device; if this was its last user, closing it again clears it.
    fn is_bound(self) -> bool {
        open(self.number)
            .and_then(|file| Ok(status(&file)?))
            .is_ok_and(|info| (info.device, info.inode) == (self.device, self.inode))
    }

    /// Takes over the size of the file beneath, once that has grown.
    pub(crate) fn grow(self) -> io::Result<()> {
        let device = open(self.number)?;
        let info = status(&device)?;
        if (info.device, info.inode) != (self.device, self.inode) {
            return Err(io::Error::from_raw_os_error(libc::ENXIO));
        }
        // SAFETY: the request takes no argument.
        unsafe { loop_set_capacity(device.as_raw_fd()) }?;
        Ok(())
    }

    /// The FUSE connection of the file beneath: the minor number of the file's device.
    pub(crate) fn connection(self) -> u64 {
        nix::sys::stat::minor(self.device)
    }

    fn set(self, name: &str, value: impl ToString) -> io::Result<()> {
        let directory = Path::new("/sys/block").join(format!("loop{}", self.number));
        fs::write(directory.join(name), value.to_string())
    }
}

/// The loop devices that were made for `owner`.
pub(crate) fn owned_by(owner: &Path) -> Result<Vec<LoopDevice>, AttachError> {
    let name = owner_name(owner);
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").tried(|| "list block devices".into())?.flatten() {
        let file_name = entry.file_name();
        let number = file_name.to_str().and_then(|text| text.strip_prefix("loop")?.parse::<u64>().ok());
        // Only a bound device has this directory; others need not be opened.
        let (Some(number), true) = (number, entry.path().join("loop").exists()) else { continue };
        let Ok(file) = open(number) else { continue };
        if let Ok(info) = status(&file)
            && info.file_name == name
        {
            let identity = Identity { number, device: info.device, inode: info.inode };
            found.push(LoopDevice { file, identity });
        }
    }
    Ok(found)
}

/// The end of the owner's path: the part that differs between volumes.
fn owner_name(owner: &Path) -> [u8; NAME_SIZE] {
    let bytes = owner.as_os_str().as_encoded_bytes();
    let tail = &bytes[bytes.len().saturating_sub(NAME_SIZE - 1)..];
    let mut name = [0; NAME_SIZE];
    name[..tail.len()].copy_from_slice(tail);
    name
}

fn node(number: u64) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// Opens the device; makes its node where no device manager does.
fn open(number: u64) -> io::Result<File> {
    let path = node(number);
    let open = || OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(&path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let device = makedev(LOOP_MAJOR, number);
            match mknod(&path, SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, device) {
                Ok(()) | Err(Errno::EEXIST) => open(),
                Err(error) => Err(error.into()),
            }
        }
        opened => opened,
    }
}

fn status(device: &File) -> nix::Result<LoopInfo> {
    let mut info = LoopInfo::EMPTY;
    // SAFETY: `info` has the layout that the request fills.
    unsafe { loop_get_status64(device.as_raw_fd(), &mut info) }?;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernels_header() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }

    #[test]
    fn the_owners_name_is_the_end_of_its_path() {
        let short = owner_name(Path::new("/run/volume"));
        assert!(short.starts_with(b"/run/volume\0"));
        let long = owner_name(&Path::new("/run").join("x".repeat(200)).join("vol-1"));
        assert!(long.ends_with(b"x/vol-1\0"));
    }
}
