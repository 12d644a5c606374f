//! A volume in a directory, as a block device that many threads use at once.
//!
//! A write is a copy into memory. Whoever flushes commits for all that wait, on its own thread; a worker writes ahead
//! when much is pending, and takes the checkpoints.

mod worker;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use envelope::SystemEntropy;
pub use volume::VolumeError;
use volume::{BLOCK, SEGMENT, Volume, VolumeKey, clone_header};

use self::worker::Worker;
use crate::{
    BlockDevice,
    segment_files::{self, SegmentFiles},
};

/// How much memory a volume may take, and when it writes by itself. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Clean nodes of the tree kept in memory; 8 KiB of it map 2 MiB of data. Default 64 MiB.
    pub node_cache: usize,
    /// Log after which a checkpoint is due: what a recovery reads at most, roughly. Default 256 MiB.
    pub checkpoint_after: u64,
    /// Unwritten data from which it is written without a flush. Default 8 MiB.
    pub write_behind: usize,
    /// Unwritten data at which writers wait. Default 32 MiB.
    pub pending_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_cache: 64 << 20,
            checkpoint_after: 256 << 20,
            write_behind: 8 << 20,
            pending_limit: 32 << 20,
        }
    }
}

/// What a volume has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Blocks (8 KiB) that held data at the last checkpoint.
    pub live_blocks: u64,
    /// Bytes that the segment files take up on the host.
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
    /// Bytes of blocks that the cleaner has moved.
    pub cleaned_bytes: u64,
    /// Segments removed.
    pub freed_segments: u64,
    /// Segments that the cleaner could not read, in part at least, and left alone.
    pub stuck_segments: u64,
}

/// An open volume. Dropping it without [`VolumeDevice::close`] is a crash: what was flushed is there after the next
/// open, and the keys are wiped.
#[derive(Debug)]
pub struct VolumeDevice {
    volume: Arc<Volume<SegmentFiles>>,
    worker: Worker,
    options: Options,
    flushes: AtomicU64,
    authentication_failures: AtomicU64,
}

impl VolumeDevice {
    /// Makes an empty volume of `size` bytes (a multiple of 8 KiB) in a new directory `dir`: whole or not at all.
    ///
    /// # Errors
    /// [`VolumeError::AlreadyExists`], [`VolumeError::Invalid`], [`VolumeError::Io`].
    pub fn create(
        dir: &Path,
        id: &str,
        key: &VolumeKey,
        wrapped_key: &[u8],
        size: u64,
    ) -> Result<(), VolumeError> {
        segment_files::create(dir, |files| {
            Volume::create(files, id, key, wrapped_key, size, SEGMENT, &SystemEntropy)
        })
    }

    /// Opens volume `id`, recovering what a crash left.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`],
    /// [`VolumeError::Damaged`], [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn open(dir: &Path, id: &str, key: VolumeKey, options: Options) -> Result<Arc<Self>, VolumeError> {
        let core = volume::Options {
            node_cache: options.node_cache,
            checkpoint_after: options.checkpoint_after,
            ..volume::Options::default()
        };
        let files = SegmentFiles::open(dir)?;
        let volume = Arc::new(Volume::open(files, id, key, Arc::new(SystemEntropy), core)?);
        let worker = Worker::start(volume.clone(), options.write_behind)
            .map_err(|e| VolumeError::io("start the worker", e))?;
        Ok(Arc::new(Self {
            volume,
            worker,
            options,
            flushes: AtomicU64::new(0),
            authentication_failures: AtomicU64::new(0),
        }))
    }

    /// Whether `dir` holds a whole volume.
    pub fn exists(dir: &Path) -> bool {
        segment_files::exists(dir)
    }

    /// Makes a snapshot of the open volume in the new directory `to`: everything written before the call.
    ///
    /// # Errors
    /// [`VolumeError::AlreadyExists`], [`VolumeError::Io`], and as a flush.
    pub fn snapshot(&self, to: &Path) -> Result<(), VolumeError> {
        self.volume.snapshot(|image| self.volume.segments().save(image, to))
    }

    /// Writes a checkpoint, detaches and wipes the keys. Later requests get `EIO`.
    ///
    /// # Errors
    /// As a flush; the keys are wiped and the volume is closed all the same.
    pub fn close(&self) -> Result<(), VolumeError> {
        let closed = self.volume.close();
        self.worker.stop();
        self.volume.segments().release();
        closed
    }

    /// Wipes the keys and the buffers at once, without waiting for any I/O. Later requests get `EIO`; what was
    /// flushed before is there after the next open.
    pub fn lock(&self) {
        self.volume.lock();
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let usages = self.volume.usages();
        let files = self.volume.segments();
        Stats {
            live_blocks: usages.live_blocks,
            segment_bytes: files.allocated().unwrap_or(0),
            bytes_written: files.written(),
            groups: files.writes(),
            flushes: self.flushes.load(Relaxed),
            checkpoints: usages.checkpoints,
            authentication_failures: self.authentication_failures.load(Relaxed),
            sequence: usages.sequence,
            cleaned_bytes: usages.cleaned_bytes,
            freed_segments: usages.freed_segments,
            stuck_segments: usages.stuck_segments,
        }
    }

    /// Makes a snapshot of a volume that nobody has open, without a key: as after a crash, all that was flushed.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::AlreadyExists`], [`VolumeError::Io`].
    pub fn snapshot_closed(dir: &Path, to: &Path) -> Result<(), VolumeError> {
        segment_files::copy(dir, to, |header| Ok(header.to_vec()))
    }

    /// Makes volume `id` in the new directory `dir` from a snapshot of volume `source_id`, under the same key: hard
    /// links, whole or not at all.
    ///
    /// # Errors
    /// As [`VolumeDevice::create`] and [`VolumeDevice::open`].
    pub fn clone_from(
        snapshot_dir: &Path,
        source_id: &str,
        dir: &Path,
        id: &str,
        key: &VolumeKey,
        wrapped_key: &[u8],
    ) -> Result<(), VolumeError> {
        segment_files::copy(snapshot_dir, dir, |header| {
            clone_header(header, source_id, id, key, wrapped_key, &SystemEntropy)
        })
    }

    /// Deletes a volume or a snapshot (also an unfinished one); succeeds if there is none.
    ///
    /// # Errors
    /// [`VolumeError::InUse`], [`VolumeError::Io`].
    pub fn remove(dir: &Path) -> Result<(), VolumeError> {
        segment_files::remove(dir)
    }

    /// Tells the outermost edge of what failed, and the caller what a device says.
    fn answer(&self, done: Result<(), VolumeError>) -> io::Result<()> {
        done.map_err(|error| {
            match &error {
                VolumeError::Damaged(_) => {
                    self.authentication_failures.fetch_add(1, Relaxed);
                    tracing::error!(%error, "the volume is not what was written");
                }
                VolumeError::Io { source, .. } => {
                    tracing::error!(%error, %source, "the host failed the volume")
                }
                _ => {}
            }
            error.errno()
        })
    }
}

impl BlockDevice for VolumeDevice {
    fn size(&self) -> u64 {
        self.volume.size()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.answer(self.volume.read(offset, buffer))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.volume.pending() > self.options.pending_limit {
            self.answer(self.volume.commit_down_to(self.options.pending_limit / 2))?;
        }
        let longest = self.volume.atomic_write();
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            // Longer ones than an atomic unit are cut at the borders of blocks.
            let length = (longest - offset as usize % BLOCK).min(rest.len());
            let (part, after) = rest.split_at(length);
            self.answer(self.volume.write(offset, part))?;
            offset += length as u64;
            rest = after;
        }
        if self.volume.pending() > self.options.write_behind {
            self.worker.wake();
        }
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.answer(self.volume.discard(offset, length))
    }

    fn flush(&self) -> io::Result<()> {
        let flushed = self.answer(self.volume.flush());
        self.flushes.fetch_add(1, Relaxed);
        if self.volume.checkpoint_is_due() {
            self.worker.wake();
        }
        flushed
    }
}

impl Drop for VolumeDevice {
    fn drop(&mut self) {
        self.volume.lock();
        self.worker.stop();
    }
}
