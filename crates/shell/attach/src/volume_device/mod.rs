//! A volume in a directory, as a block device that many threads use at once.
//!
//! A write is a copy into memory. Whoever flushes commits for all that wait, on its own thread. Two workers write ahead
//! when much is pending.

mod damage;
mod renewal;
mod worker;

use std::{
    io,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use envelope::SystemEntropy;
pub use volume::{Anchor, Keys, VolumeError, WrappedKey};
use volume::{BLOCK, Observe, Observed, Progress, SEGMENT, Scrub, Volume, VolumeKey, clone_header};

use self::{damage::DamageLog, worker::Worker};
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
    /// What the key service remembers of the volume; without it any copy is taken, however old.
    pub anchor: Option<Anchor>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_cache: 64 << 20,
            checkpoint_after: 256 << 20,
            write_behind: 8 << 20,
            pending_limit: 32 << 20,
            anchor: None,
        }
    }
}

/// Bytes that a scrub reads at once, roughly.
const SCRUB_STEP: u64 = 1 << 20;

/// What a volume has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Blocks (8 KiB) that held data at the last checkpoint.
    pub live_blocks: u64,
    /// Bytes that the segment files take up on the host.
    pub segment_bytes: u64,
    /// Bytes not yet written.
    pub pending: u64,
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
    /// Volume keys that are needed: 1, and more until a renewal is through.
    pub generations: u64,
    /// Blocks and nodes that were live at the last checkpoint.
    pub live_records: u64,
    /// Those of them that are sealed under older keys.
    pub older_records: u64,
    /// Bytes that the files take which are kept for a full host, and to be used again.
    pub reserve: u64,
}

/// An open volume. Dropping it without [`VolumeDevice::close`] is a crash: what was flushed is there after the next
/// open, and the keys are wiped.
#[derive(Debug)]
pub struct VolumeDevice {
    volume: Arc<Volume<SegmentFiles>>,
    worker: Worker,
    second: Worker,
    options: Options,
    flushes: AtomicU64,
    authentication_failures: AtomicU64,
    damage: DamageLog,
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
    /// [`VolumeError::Damaged`], [`VolumeError::RolledBack`], [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn open(
        dir: &Path,
        id: &str,
        keys: impl Into<Keys>,
        options: Options,
    ) -> Result<Arc<Self>, VolumeError> {
        let core = volume::Options {
            node_cache: options.node_cache,
            checkpoint_after: options.checkpoint_after,
            anchor: options.anchor,
            ..volume::Options::default()
        };
        let files = SegmentFiles::open(dir)?;
        let volume = Arc::new(Volume::open(files, id, keys, Arc::new(SystemEntropy), core)?);
        let failed = |e| VolumeError::io("start a worker", e);
        let worker = Worker::upkeep(volume.clone(), options.write_behind).map_err(failed)?;
        let second = Worker::writing_ahead(volume.clone(), options.write_behind).map_err(failed)?;
        if volume.is_renewing() {
            worker.wake();
        }
        Ok(Arc::new(Self {
            volume,
            worker,
            second,
            options,
            flushes: AtomicU64::new(0),
            authentication_failures: AtomicU64::new(0),
            damage: DamageLog::default(),
        }))
    }

    /// Whether `dir` holds a whole volume.
    pub fn exists(dir: &Path) -> bool {
        segment_files::exists(dir)
    }

    /// Where the log stands, for the key service to remember: at attach, at intervals, and after
    /// [`VolumeDevice::close`]. Waits for a commit that is under way.
    pub fn anchor(&self) -> Anchor {
        self.volume.anchor()
    }

    /// Makes the volume larger, to `size` bytes, durably; what is added reads as zeros.
    ///
    /// # Errors
    /// As [`Volume::grow`].
    pub fn grow(&self, size: u64) -> Result<(), VolumeError> {
        self.volume.grow(size)
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
        self.second.stop();
        self.volume.segments().release();
        closed
    }

    /// Wipes the keys and the buffers at once, without waiting for any I/O. Later requests get `EIO`; what was
    /// flushed before is there after the next open.
    pub fn lock(&self) {
        self.volume.lock();
    }

    /// Reads all that is on the disk of the open volume and opens it, at half the speed at which that goes, so that the
    /// disk is free for others in between. `observe` is told as by [`crate::check`]; what it is told of is damage of
    /// [`VolumeDevice::damage`] as well.
    ///
    /// # Errors
    /// [`VolumeError::Locked`], [`VolumeError::Io`] if not even the header can be read. Damage is no error.
    pub fn scrub(&self, observe: &mut Observe<'_>) -> Result<(Progress, ControlFlow<()>), VolumeError> {
        let mut scrub = Scrub::default();
        let mut flow = ControlFlow::Continue(());
        let mut noting = |observed: Observed<'_>| {
            if let Observed::Found(finding) = observed
                && finding.flaw.is_damage()
            {
                self.damage.note(finding.what.clone());
            }
            flow = observe(observed);
            flow
        };
        loop {
            let began = Instant::now();
            if !self.volume.scrub_step(&mut scrub, SCRUB_STEP, &mut noting)? || scrub.is_ended() {
                break;
            }
            thread::sleep(began.elapsed());
        }
        Ok((scrub.progress(), flow))
    }

    /// Gives space back to the host as far as that is possible now, in the background.
    pub fn reclaim(&self) {
        self.worker.reclaim();
    }

    /// Bytes of data that the host holds, at most: what was written since the last checkpoint may have overwritten some.
    pub fn held(&self) -> u64 {
        let usages = self.volume.usages();
        usages.live_blocks * BLOCK as u64 + usages.log_bytes
    }

    /// What reads, the cleaner or a scrub found not to be what was written since the open, each place once and named for
    /// people (1024 at most).
    pub fn damage(&self) -> Vec<String> {
        for what in self.volume.take_lost() {
            if self.damage.note(what.clone()) {
                tracing::error!(what, "the cleaner leaves what it cannot read");
            }
        }
        self.damage.places()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let usages = self.volume.usages();
        let files = self.volume.segments();
        Stats {
            live_blocks: usages.live_blocks,
            segment_bytes: files.allocated().unwrap_or(0),
            pending: usages.pending as u64,
            bytes_written: files.written(),
            groups: files.writes(),
            flushes: self.flushes.load(Relaxed),
            checkpoints: usages.checkpoints,
            authentication_failures: self.authentication_failures.load(Relaxed),
            sequence: usages.sequence,
            cleaned_bytes: usages.cleaned_bytes,
            freed_segments: usages.freed_segments,
            stuck_segments: usages.stuck_segments,
            generations: usages.generations,
            live_records: usages.live_records,
            older_records: usages.older_records,
            reserve: files.reserve(),
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
            let keys = [WrappedKey { key, wrapped: wrapped_key }];
            clone_header(header, source_id, id, &keys, None, &SystemEntropy)
        })
    }

    /// Deletes a volume or a snapshot (also an unfinished one); succeeds if there is none.
    ///
    /// # Errors
    /// [`VolumeError::InUse`], [`VolumeError::Io`].
    pub fn remove(dir: &Path) -> Result<(), VolumeError> {
        segment_files::remove(dir)
    }

    /// Waits until what is pending, and the log, are short enough for more.
    fn make_room(&self) -> io::Result<()> {
        if self.volume.log_is_overlong() {
            self.or_make_space(self.volume.checkpoint())?;
        }
        if self.volume.pending() > self.options.pending_limit {
            self.or_make_space(self.volume.commit_down_to(self.options.pending_limit / 2))?;
        }
        Ok(())
    }

    /// Lets the worker make space if that is what is missing. Who carries the requests tries again (decision 0213).
    fn or_make_space(&self, done: Result<(), VolumeError>) -> io::Result<()> {
        if done.as_ref().is_err_and(VolumeError::is_full) {
            self.worker.wake();
        }
        self.answer(done)
    }

    /// Tells the outermost edge of what failed, and the caller what a device says.
    fn answer(&self, done: Result<(), VolumeError>) -> io::Result<()> {
        done.map_err(|error| {
            match &error {
                VolumeError::Damaged(what) => {
                    self.authentication_failures.fetch_add(1, Relaxed);
                    if self.damage.note(what.clone()) {
                        tracing::error!(%error, "the volume is not what was written");
                    }
                }
                error if error.is_full() => {} // who carries the requests tells that they wait
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
        self.make_room()?;
        let longest = self.volume.atomic_write();
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            // Longer ones than an atomic unit, which the kernel does not send, are cut at the borders of blocks.
            let cut = longest - offset as usize % BLOCK;
            let length = if rest.len() <= longest { rest.len() } else { cut };
            let (part, after) = rest.split_at(length);
            self.answer(self.volume.write(offset, part))?;
            offset += length as u64;
            rest = after;
        }
        if self.volume.pending() > self.options.write_behind {
            self.worker.wake();
            self.second.wake();
        }
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.make_room()?;
        self.answer(self.volume.discard(offset, length))
    }

    fn flush(&self) -> io::Result<()> {
        let flushed = self.or_make_space(self.volume.flush());
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
        self.second.stop();
    }
}
