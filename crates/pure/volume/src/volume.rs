//! An open volume: requests come in here. Methods take `&self` and may be called by many threads; the locks are taken
//! in the order cleaning, checkpoint, log, disk, state, and no I/O is done under the last.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use crate::{
    Anchor, Keys, VolumeError, VolumeKey,
    buffer::AlignedBuffer,
    checkpoint::SLOT,
    cleaner::Cleaner,
    header::{self, Header},
    keys::{Keyring, Vault},
    layout::{BLOCK, SECTOR},
    log::{Buffers, Disk, Log},
    overlay::Overlay,
    replay,
    segments::Segments,
    state::{Batch, State, Status, live_records},
    tree::NodeCache,
};
use ids::Entropy;

/// How much memory a volume takes, and when it is due to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of clean tree nodes kept in memory; 8 KiB of them map 2 MiB of data.
    pub node_cache: usize,
    /// Bytes of blocks kept in memory after their commit, so that the next part of a block that is written in parts
    /// finds the others.
    pub keep_committed: usize,
    /// Bytes of log after which a checkpoint is due.
    pub checkpoint_after: u64,
    /// Records that are sealed in an epoch; at most 2^32.
    pub records_per_epoch: u64,
    /// What the key service remembers of the volume. Without it any copy of the volume is taken, however old; and then
    /// an anchor kept before may not be known afterwards.
    pub anchor: Option<Anchor>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_cache: 64 << 20,
            keep_committed: 4 << 20,
            checkpoint_after: 256 << 20,
            records_per_epoch: 1 << 32,
            anchor: None,
        }
    }
}

/// What a volume holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usages {
    /// Blocks that held data at the last checkpoint.
    pub live_blocks: u64,
    /// Segments there are.
    pub segments: u64,
    /// Bytes not yet written.
    pub pending: usize,
    /// Bytes of log since the last checkpoint.
    pub log_bytes: u64,
    /// Checkpoints since the open.
    pub checkpoints: u64,
    /// Sequence number of the last group that is durable.
    pub sequence: u64,
    /// Bytes of blocks that the cleaner has moved since the open.
    pub cleaned_bytes: u64,
    /// Segments removed since the open.
    pub freed_segments: u64,
    /// Segments that the cleaner found unreadable, in part at least, and left alone.
    pub stuck_segments: u64,
    /// Volume keys that the volume needs: 1, and more until a renewal is through.
    pub generations: u64,
    /// Blocks and nodes that were live at the last checkpoint.
    pub live_records: u64,
    /// Those of them that are sealed under older generations.
    pub older_records: u64,
}

/// An open volume over its files.
pub struct Volume<S> {
    pub(crate) segments: S,
    pub(crate) vault: Vault,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) options: Options,
    blocks: AtomicU64,
    pub(crate) segment_size: u32,
    pub(crate) nodes: NodeCache,
    pub(crate) cleaning: Mutex<Cleaner>,
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) log: Mutex<Log>,
    pub(crate) disk: Mutex<Disk>,
    state: Mutex<State>,
    /// Told when a batch is durable: those of even and of odd serials.
    pub(crate) signs: [Condvar; 2],
    pub(crate) buffers: Buffers,
}

impl<S: Segments> Volume<S> {
    /// Makes an empty volume: its header and an empty checkpoint.
    ///
    /// # Errors
    /// [`VolumeError::Invalid`], [`VolumeError::Io`].
    pub fn create(
        segments: &S,
        id: &str,
        key: &VolumeKey,
        wrapped_key: &[u8],
        size: u64,
        segment_size: u32,
        entropy: &dyn Entropy,
    ) -> Result<(), VolumeError> {
        let header = Header::new(id, key, wrapped_key, size, segment_size, entropy)?;
        for slot in 0..2 {
            let written = segments.write_checkpoint(slot, &AlignedBuffer::new(SLOT));
            written.map_err(|e| VolumeError::io("write the checkpoint", e))?;
        }
        segments.replace_header(&header.encode(key)).map_err(|e| VolumeError::io("write the header", e))
    }

    /// Opens a volume: checks the keys, replays the log, compares it with the anchor, begins an epoch.
    ///
    /// # Errors
    /// [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`], [`VolumeError::Damaged`], [`VolumeError::RolledBack`],
    /// [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn open(
        segments: S,
        id: &str,
        keys: impl Into<Keys>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Self, VolumeError> {
        let (mut header, vault) = unlock(&segments, id, keys.into())?;
        let anchor = options.anchor.as_ref();
        let recovered = replay::recover(&segments, &header, &vault, anchor)?;
        recovered.forget_epochs(&mut header, anchor);

        // A process that was killed may have left a group that can be read but is not on the disk yet. What is built on it
        // must not outlive it.
        if recovered.position.sequence > 0 {
            let last = recovered.position.place.segment;
            segments.settle(last).map_err(|e| VolumeError::io(format!("sync segment {last}"), e))?;
        }
        let next_segment = recovered.segments.last().copied().max(Some(recovered.position.place.segment));
        let log = Log::new(header.clone(), recovered.position, recovered.slot);
        let state = State {
            status: Status::Running,
            open: Batch { serial: 1, ..Batch::default() },
            closed: VecDeque::new(),
            committing: VecDeque::new(),
            committed: VecDeque::new(),
            durable: 0,
            begun: 0,
            led: 0,
            sleeping: 0,
            void: false,
            head: recovered.position,
            entries: recovered.entries,
            merging: None,
            root: recovered.checkpoint.root(),
            version: 0,
            live_records: live_records(&recovered.checkpoint.usage),
            usage: recovered.checkpoint.usage,
            live_blocks: recovered.checkpoint.live_blocks,
            replay_from: recovered.checkpoint.from.place.segment,
            replay_epoch: recovered.checkpoint.from.epoch,
            checkpoint_anyway: false,
            moved: BTreeMap::new(),
            aside: BTreeSet::new(),
            tail: None,
            moving: BTreeSet::new(),
            emptied: BTreeSet::new(),
            stuck: BTreeSet::new(),
            lost: Vec::new(),
            cleaned_bytes: 0,
            freed_segments: 0,
            changed: 0,
            discarded: 0,
            segments: recovered.segments,
            log_bytes: recovered.log_bytes,
        };
        let volume = Self {
            segments,
            vault,
            entropy,
            blocks: AtomicU64::new(header.blocks),
            segment_size: header.segment_size,
            nodes: NodeCache::new(options.node_cache),
            options,
            cleaning: Mutex::default(),
            checkpointing: Mutex::new(()),
            log: Mutex::new(log),
            disk: Mutex::new(Disk::new()),
            state: Mutex::new(state),
            signs: [Condvar::new(), Condvar::new()],
            buffers: Buffers::default(),
        };
        let first = next_segment.map_or(1, |segment| segment + 1);
        volume.begin_epoch(&mut volume.log(), &mut volume.disk(), first)?;
        Ok(volume)
    }

    /// Bytes that the volume holds.
    pub fn size(&self) -> u64 {
        self.blocks.load(Acquire) * BLOCK as u64
    }

    /// Makes the volume larger, to `size` bytes; what is added reads as zeros. It is durable on return; after a crash
    /// before, the volume has the one size or the other.
    ///
    /// # Errors
    /// [`VolumeError::Invalid`] for a smaller size, or one that no volume can have; [`VolumeError::Stopped`],
    /// [`VolumeError::Locked`], [`VolumeError::Io`].
    pub fn grow(&self, size: u64) -> Result<(), VolumeError> {
        let blocks = header::blocks(size)?;
        let mut log = self.log();
        self.state().check()?;
        if blocks < log.header.blocks {
            return Err(VolumeError::Invalid("a volume does not shrink"));
        }
        if blocks > log.header.blocks {
            let header = Header { blocks, ..log.header.clone() };
            self.replace_header(&header)?;
            log.header = header;
            // Only now may anything be written there: a replay takes no block outside the volume.
            self.blocks.store(blocks, Release);
        }
        Ok(())
    }

    /// The files beneath.
    pub fn segments(&self) -> &S {
        &self.segments
    }

    /// Bytes of the longest write that is one atomic unit.
    pub fn atomic_write(&self) -> usize {
        (self.segment_size as usize / 4).min(1 << 20)
    }

    /// What the volume holds.
    pub fn usages(&self) -> Usages {
        let (generations, older_records) = self.renewal();
        let state = self.state();
        Usages {
            live_blocks: state.live_blocks,
            segments: state.segments.len() as u64,
            pending: state.pending(),
            log_bytes: state.log_bytes,
            checkpoints: state.version,
            sequence: state.head.sequence,
            cleaned_bytes: state.cleaned_bytes,
            freed_segments: state.freed_segments,
            stuck_segments: state.stuck.len() as u64,
            generations,
            live_records: state.live_records,
            older_records,
        }
    }

    /// Whether the log has grown far longer than it should, because no checkpoint went through: whoever writes is to wait
    /// for one.
    pub fn log_is_overlong(&self) -> bool {
        self.state().log_bytes >= self.options.checkpoint_after.saturating_mul(4)
    }

    /// Unwritten bytes.
    pub fn pending(&self) -> usize {
        self.state().pending()
    }

    /// Wipes keys and plaintext at once. Never waits for I/O.
    pub fn lock(&self) {
        self.vault.wipe();
        let mut state = self.state();
        state.status = Status::Locked;
        state.open.changes = Overlay::default();
        state.closed.clear();
        state.committing.clear();
        state.committed.clear();
        state.entries = Overlay::default();
        state.merging = None;
        state.moved.clear();
        drop(state);
        self.wake_all();
        self.nodes.clear();
    }

    /// Bytes from which a batch is long enough: 7.5 MiB, so that eight groups, each with its descriptor and the request
    /// that it ends with, fit into a segment. Half of that is written at 0.85 times the speed, twice that at 1.15 times.
    pub(crate) fn batch_size(&self) -> usize {
        (self.segment_size as usize / 4).min(15 << 19)
    }

    pub(crate) fn check_range(&self, offset: u64, length: u64) -> Result<(), VolumeError> {
        check_range(self.size(), offset, length)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known_segments(&self) -> BTreeSet<u32> {
        self.state().segments.clone()
    }
}

/// Reads the header of volume `id`, and makes sure that the keys are its own and every byte is authentic.
pub(crate) fn unlock(segments: &impl Segments, id: &str, keys: Keys) -> Result<(Header, Vault), VolumeError> {
    let bytes = segments.read_header().map_err(|e| VolumeError::io("read the header", e))?;
    unlock_bytes(&bytes, id, keys)
}

/// As [`unlock`], of a header that was read.
pub(crate) fn unlock_bytes(bytes: &[u8], id: &str, keys: Keys) -> Result<(Header, Vault), VolumeError> {
    let header = Header::parse(bytes)?;
    if header.volume != id {
        return Err(VolumeError::WrongVolume { expected: id.into(), found: header.volume });
    }
    let ring = Keyring::new(keys, &header)?;
    header.verify(ring.header_key(&header)?, bytes)?;
    Ok((header, Vault::new(ring)))
}

/// A range of whole sectors inside a volume of `size` bytes.
pub(crate) fn check_range(size: u64, offset: u64, length: u64) -> Result<(), VolumeError> {
    let sector = SECTOR as u64;
    let inside = offset.checked_add(length).is_some_and(|end| end <= size);
    let aligned = offset.is_multiple_of(sector) && length.is_multiple_of(sector) && length > 0;
    if inside && aligned {
        Ok(())
    } else {
        Err(VolumeError::Invalid("the range is not of whole sectors inside the volume"))
    }
}

impl<S> fmt::Debug for Volume<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("blocks", &self.blocks.load(Relaxed)).finish_non_exhaustive()
    }
}

impl<S> Drop for Volume<S> {
    fn drop(&mut self) {
        self.vault.wipe();
    }
}
