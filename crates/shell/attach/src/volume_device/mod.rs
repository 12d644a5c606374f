//! A volume in a directory, as a block device that many threads use at once.

use std::{io, path::Path, sync::Arc};

pub use volume::VolumeError;
use volume::VolumeKey;

use crate::BlockDevice;

/// How much memory a volume may take, and when it writes by itself. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Clean nodes of the tree kept in memory; 8 KiB of it map 2 MiB of data. Default 64 MiB.
    pub node_cache: usize,
    /// Log after which a checkpoint is due: what a recovery reads at most, roughly. Default 256 MiB.
    pub checkpoint_after: u64,
    /// Unwritten data from which it is written without a flush. Default 4 MiB.
    pub write_behind: usize,
    /// Unwritten data at which writers wait. Default 32 MiB.
    pub pending_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_cache: 64 << 20,
            checkpoint_after: 256 << 20,
            write_behind: 4 << 20,
            pending_limit: 32 << 20,
        }
    }
}

/// What a volume has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Blocks (8 KiB) that hold data.
    pub live_blocks: u64,
    /// Bytes of segment files on the host.
    pub segment_bytes: u64,
    /// Bytes written to the host, with everything.
    pub bytes_written: u64,
    /// Groups committed, each one durable write.
    pub groups: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Checkpoints taken.
    pub checkpoints: u64,
    /// Reads that were refused as not authentic.
    pub authentication_failures: u64,
    /// Sequence number of the last group: the height of the chain.
    pub sequence: u64,
}

/// An open volume. Dropping it without [`VolumeDevice::close`] is a crash: what was flushed is there after the next
/// open, and the keys are wiped.
#[derive(Debug)]
pub struct VolumeDevice {
    _private: (),
}

fn missing() -> VolumeError {
    VolumeError::io("use the volume", io::ErrorKind::Unsupported.into())
}

impl VolumeDevice {
    /// Makes an empty volume of `size` bytes (a multiple of 8 KiB) in a new directory `dir`: whole or not at all.
    ///
    /// # Errors
    /// [`VolumeError::AlreadyExists`], [`VolumeError::Invalid`], [`VolumeError::Io`].
    pub fn create(
        _dir: &Path,
        _id: &str,
        _key: &VolumeKey,
        _wrapped_key: &[u8],
        _size: u64,
    ) -> Result<(), VolumeError> {
        Err(missing())
    }

    /// Opens volume `id`, recovering what a crash left.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`],
    /// [`VolumeError::Damaged`], [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn open(
        _dir: &Path,
        _id: &str,
        _key: VolumeKey,
        _options: Options,
    ) -> Result<Arc<Self>, VolumeError> {
        Err(missing())
    }

    /// Whether `dir` holds a whole volume.
    pub fn exists(dir: &Path) -> bool {
        dir.join("header").is_file()
    }

    /// Makes a snapshot of the open volume in the new directory `to`: everything written before the call.
    ///
    /// # Errors
    /// [`VolumeError::AlreadyExists`], [`VolumeError::Io`], and as a flush.
    pub fn snapshot(&self, _to: &Path) -> Result<(), VolumeError> {
        Err(missing())
    }

    /// Writes a checkpoint, detaches and wipes the keys. Later requests get `EIO`.
    ///
    /// # Errors
    /// As a flush; the keys are wiped and the volume is closed all the same.
    pub fn close(&self) -> Result<(), VolumeError> {
        Err(missing())
    }

    /// Wipes the keys and the buffers at once, without waiting for any I/O. Later requests get `EIO`; what was
    /// flushed before is there after the next open.
    pub fn lock(&self) {}

    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Makes a snapshot of a volume that nobody has open, without a key: as after a crash, all that was flushed.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::AlreadyExists`], [`VolumeError::Io`].
    pub fn snapshot_closed(_dir: &Path, _to: &Path) -> Result<(), VolumeError> {
        Err(missing())
    }

    /// Makes volume `id` in the new directory `dir` from a snapshot of volume `source_id`, under the same key: hard
    /// links, whole or not at all.
    ///
    /// # Errors
    /// As [`VolumeDevice::create`] and [`VolumeDevice::open`].
    pub fn clone_from(
        _snapshot_dir: &Path,
        _source_id: &str,
        _dir: &Path,
        _id: &str,
        _key: &VolumeKey,
        _wrapped_key: &[u8],
    ) -> Result<(), VolumeError> {
        Err(missing())
    }

    /// Deletes a volume or a snapshot (also an unfinished one); succeeds if there is none.
    ///
    /// # Errors
    /// [`VolumeError::InUse`], [`VolumeError::Io`].
    pub fn remove(_dir: &Path) -> Result<(), VolumeError> {
        Err(missing())
    }
}

impl BlockDevice for VolumeDevice {
    fn size(&self) -> u64 {
        0
    }

    fn read(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        Err(missing().errno())
    }

    fn write(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(missing().errno())
    }

    fn discard(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Err(missing().errno())
    }

    fn flush(&self) -> io::Result<()> {
        Err(missing().errno())
    }
}
