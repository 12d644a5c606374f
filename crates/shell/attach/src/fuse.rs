//! The device as a file: a FUSE file system whose root is one regular file, mounted over a regular file.
//!
//! QEMU's FUSE exports have the same shape. There are no names, no directories and no caches: the kernel only
//! sends OPEN, GETATTR, READ, WRITE, FSYNC, FALLOCATE, STATFS and RELEASE, all for the root.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::device::{BlockDevice, SECTOR};
use crate::durable::{Answer, Durable};
use crate::error::{AttachError, Missing, Tried};
use crate::hold::Hold;
use crate::locked::Aborter;

/// The largest READ or WRITE, bytes: 256 pages, which is the kernel's own limit (`fs.fuse.max_pages_limit`).
pub(crate) const MAX_TRANSFER: u32 = 1 << 20;

/// READs and WRITEs that the kernel has under way at once: the depth of the loop device's queue.
pub(crate) const MAX_BACKGROUND: u16 = 128;

/// How the file is opened: without a cache, with many writes at once. Closing it makes nothing durable, so the kernel
/// need not tell. (`FOPEN_DIRECT_IO`, `FOPEN_NOFLUSH`, `FOPEN_PARALLEL_DIRECT_WRITES`.)
pub(crate) const OPEN_FLAGS: u32 = 1 | 1 << 5 | 1 << 6;

/// The number for the kernel. `ENOSYS` would make it believe that the operation does not exist and never ask again, which
/// is meant for FSYNC alone ([`DeviceFile::fsync`]).
pub(crate) fn errno(error: &io::Error) -> i32 {
    match error.raw_os_error() {
        None | Some(libc::ENOSYS) => libc::EIO,
        Some(number) => number,
    }
}

/// Carries the kernel's requests to the device file and the answers back, until the connection ends.
pub(crate) trait Transport {
    /// Answers on `connection` with `workers` threads. Returns when the kernel's INIT is answered. A thread that
    /// cannot go on aborts, so that nobody waits for its answers.
    ///
    /// # Errors
    /// If the kernel's version of the protocol cannot be spoken, or threads cannot be started.
    fn serve(
        &self,
        connection: OwnedFd,
        file: DeviceFile,
        workers: usize,
        aborter: &Aborter,
    ) -> io::Result<Serving>;
}

/// The threads that serve a connection.
pub(crate) struct Serving {
    pub(crate) thread: std::thread::JoinHandle<io::Result<()>>,
    pub(crate) carrier: Carrier,
    /// Tells the kernel something unasked.
    pub(crate) notifier: fuser::Notifier,
}

/// What carries the requests of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// `/dev/fuse`: two system calls a request.
    Device,
    /// io_uring: one system call a request.
    Uring,
}

impl Serving {
    /// Makes the kernel ask for the attributes of the file again, before they are used. Does not wait.
    pub(crate) fn attributes_changed(&self) -> io::Result<()> {
        const NO_CONTENT: i64 = -1;
        self.notifier.inval_inode(fuser::INodeNo::ROOT, NO_CONTENT, 0)
    }

    /// Waits for the threads, which end once the kernel has let go of the connection.
    pub(crate) fn join(self) -> Result<(), AttachError> {
        let ended = self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a serving thread panicked")));
        ended.tried(|| "serve the device to its end".into())
    }
}

/// Mounts a FUSE file system over the regular file `target`; the other end of its connection is returned.
pub(crate) fn mount_file(target: &Path) -> Result<OwnedFd, AttachError> {
    let connection = match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(AttachError::Unsupported(Missing::Fuse));
        }
        opened => opened.tried(|| "open /dev/fuse".into())?,
    };
    let options = format!(
        "fd={},rootmode={:o},user_id=0,group_id=0",
        connection.as_raw_fd(),
        libc::S_IFREG | 0o600 // a regular file, for root only
    );
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    mount(Some("strongroom"), target, Some("fuse.strongroom"), flags, Some(options.as_str()))
        .tried(|| format!("mount the device file at {}", target.display()))?;
    Ok(connection.into())
}

/// Breaks the connection behind `target`: every request that waits fails, and every later one; none is waited
/// for. The mount leaves the tree.
pub(crate) fn break_connection(target: &Path) -> nix::Result<()> {
    umount2(target, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)
}

/// The requests of the kernel, checked, as calls of a [`BlockDevice`].
#[derive(Clone)]
pub(crate) struct DeviceFile {
    device: Arc<dyn BlockDevice>,
    hold: Hold,
    durable: Durable,
}

impl DeviceFile {
    pub(crate) fn new(device: Arc<dyn BlockDevice>, aborter: Aborter) -> Self {
        Self { device, hold: Hold::new(aborter), durable: Durable::default() }
    }

    /// The requests that wait for space.
    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    pub(crate) fn size(&self) -> u64 {
        self.device.size()
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.check(offset, buffer.len() as u64)?;
        self.device.read(offset, buffer)
    }

    /// Takes a write over, which [`DeviceFile::answer_when_durable`] is to follow.
    ///
    /// # Errors
    /// `ENOSPC` if the host is full.
    pub(crate) fn take_over(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len() as u64)?;
        self.device.write(offset, bytes)
    }

    /// Has `answer` called when everything that was taken over is durable. The calling thread may see to that, or be
    /// free at once.
    pub(crate) fn answer_when_durable(&self, answer: Answer) {
        self.durable.answer(answer, || self.hold.until_space(|| self.device.flush(), || ()));
    }

    /// Returns when the bytes are durable. Waits as long as the host is full; `held` is called before it waits, because
    /// the calling thread is not there for other requests then.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8], held: impl FnOnce()) -> io::Result<()> {
        self.check(offset, bytes.len() as u64)?;
        let mut taken = false;
        let write = || {
            if !taken {
                self.device.write(offset, bytes)?;
                taken = true;
            }
            self.device.flush()
        };
        self.hold.until_space(write, held)
    }

    /// Every answered write is durable, so the kernel need not ask again: `ENOSYS` is a success that tells it so. It does
    /// not get here before it was told, or if that has failed.
    pub(crate) fn fsync(&self, held: impl FnOnce()) -> io::Error {
        match self.hold.until_space(|| self.device.flush(), held) {
            Ok(()) => io::Error::from_raw_os_error(libc::ENOSYS),
            Err(error) => io::Error::from_raw_os_error(errno(&error)),
        }
    }

    /// Both ways of the loop device to forget a range, DISCARD (a hole) and WRITE ZEROES, keep the size. Zeros are durable
    /// as a write is; what is discarded may come back after a crash.
    pub(crate) fn fallocate(
        &self,
        offset: u64,
        length: u64,
        mode: i32,
        held: impl FnOnce(),
    ) -> io::Result<()> {
        const HOLE: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        const ZEROES: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
        if mode != HOLE && mode != ZEROES {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        self.check(offset, length)?;
        let forget = || {
            self.device.discard(offset, length)?;
            if mode == ZEROES { self.device.flush() } else { Ok(()) }
        };
        self.hold.until_space(forget, held)
    }

    /// Whole sectors, within the device.
    fn check(&self, offset: u64, length: u64) -> io::Result<()> {
        let aligned = (offset | length).is_multiple_of(SECTOR as u64);
        let within = offset.checked_add(length).is_some_and(|end| end <= self.device.size());
        if aligned && within { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
    }
}

/// Makes the file that is mounted over, if it is not there.
pub(crate) fn ensure_target(target: &Path) -> Result<(), AttachError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(target)
        .map(|_: File| ())
        .tried(|| format!("make {}", target.display()))
}
