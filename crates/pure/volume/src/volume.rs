//! An open volume: requests come in here. Methods take `&self` and may be called by many threads; the locks are taken
//! in the order cleaning, checkpoint, log, state, and no I/O is done under the last.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    VolumeError, VolumeKey,
    buffer::AlignedBuffer,
    checkpoint::SLOT,
    cleaner::Victim,
    header::Header,
    keys::{Keyring, Vault},
    layout::{BLOCK, Position, SECTOR, height},
    log::Log,
    overlay::Overlay,
    replay,
    segments::Segments,
    state::{Batch, State, Status},
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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_cache: 64 << 20,
            keep_committed: 4 << 20,
            checkpoint_after: 256 << 20,
            records_per_epoch: 1 << 32,
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
}

/// An open volume over its files.
pub struct Volume<S> {
    pub(crate) segments: S,
    pub(crate) vault: Vault,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) options: Options,
    pub(crate) blocks: u64,
    pub(crate) height: u8,
    pub(crate) segment_size: u32,
    pub(crate) nodes: NodeCache,
    pub(crate) cleaning: Mutex<Option<Victim>>,
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) log: Mutex<Log>,
    state: Mutex<State>,
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

    /// Opens a volume: checks the key, replays the log, begins an epoch.
    ///
    /// # Errors
    /// [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`], [`VolumeError::Damaged`],
    /// [`VolumeError::UnknownVersion`], [`VolumeError::Io`].
    pub fn open(
        segments: S,
        id: &str,
        key: VolumeKey,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<Self, VolumeError> {
        let bytes = segments.read_header().map_err(|e| VolumeError::io("read the header", e))?;
        let mut header = Header::parse(&bytes)?;
        if header.volume != id {
            return Err(VolumeError::WrongVolume { expected: id.into(), found: header.volume });
        }
        header.verify(&key, &bytes)?;
        let ring = Keyring::new(key, &header)?;
        let recovered = replay::recover(&segments, &header, &ring)?;
        recovered.forget_epochs(&mut header);

        let next_segment = recovered.segments.last().copied().max(Some(recovered.position.place.segment));
        let log = Log::new(header.clone(), recovered.position, recovered.slot);
        let state = State {
            status: Status::Running,
            open: Batch { serial: 1, ..Batch::default() },
            closed: VecDeque::new(),
            committing: None,
            committed: VecDeque::new(),
            durable: 0,
            entries: recovered.entries,
            merging: None,
            root: recovered.checkpoint.root,
            version: 0,
            usage: recovered.checkpoint.usage,
            live_blocks: recovered.checkpoint.live_blocks,
            replay_from: recovered.checkpoint.from.place.segment,
            moving: BTreeSet::new(),
            emptied: BTreeSet::new(),
            stuck: BTreeSet::new(),
            cleaned_bytes: 0,
            freed_segments: 0,
            segments: recovered.segments,
            log_bytes: recovered.log_bytes,
            sequence: recovered.position.sequence,
        };
        let volume = Self {
            segments,
            vault: Vault::new(ring),
            entropy,
            blocks: header.blocks,
            height: height(header.blocks),
            segment_size: header.segment_size,
            nodes: NodeCache::new(options.node_cache),
            options,
            cleaning: Mutex::new(None),
            checkpointing: Mutex::new(()),
            log: Mutex::new(log),
            state: Mutex::new(state),
        };
        let first = next_segment.map_or(1, |segment| segment + 1);
        volume.begin_epoch(&mut volume.log(), first)?;
        Ok(volume)
    }

    /// Bytes that the volume holds.
    pub fn size(&self) -> u64 {
        self.blocks * BLOCK as u64
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
        let state = self.state();
        Usages {
            live_blocks: state.live_blocks,
            segments: state.segments.len() as u64,
            pending: state.pending(),
            log_bytes: state.log_bytes,
            checkpoints: state.version,
            sequence: state.sequence,
            cleaned_bytes: state.cleaned_bytes,
            freed_segments: state.freed_segments,
            stuck_segments: state.stuck.len() as u64,
        }
    }

    /// Whether enough log has been written since the last checkpoint.
    pub fn checkpoint_is_due(&self) -> bool {
        let state = self.state();
        state.status == Status::Running && state.log_bytes >= self.options.checkpoint_after
    }

    /// Unwritten bytes.
    pub fn pending(&self) -> usize {
        self.state().pending()
    }

    /// The chain's head: where the log goes on. An anchor that is kept elsewhere tells an old copy of a volume.
    pub fn head(&self) -> Position {
        self.log().position
    }

    /// Wipes keys and plaintext at once. Never waits for I/O.
    pub fn lock(&self) {
        self.vault.wipe();
        let mut state = self.state();
        state.status = Status::Locked;
        state.open.changes = Overlay::default();
        state.closed.clear();
        state.committing = None;
        state.committed.clear();
        state.entries = Overlay::default();
        state.merging = None;
        drop(state);
        self.nodes.clear();
    }

    /// Bytes from which a batch is long enough: a group of 4 MiB is written at nearly the speed of the disk, and wastes
    /// little at the end of a segment.
    pub(crate) fn batch_size(&self) -> usize {
        (self.segment_size as usize / 4).min(4 << 20)
    }

    pub(crate) fn check_range(&self, offset: u64, length: u64) -> Result<(), VolumeError> {
        let sector = SECTOR as u64;
        let inside = offset.checked_add(length).is_some_and(|end| end <= self.size());
        let aligned = offset.is_multiple_of(sector) && length.is_multiple_of(sector) && length > 0;
        if inside && aligned {
            Ok(())
        } else {
            Err(VolumeError::Invalid("the range is not of whole sectors inside the volume"))
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known_segments(&self) -> BTreeSet<u32> {
        self.state().segments.clone()
    }
}

impl<S> fmt::Debug for Volume<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl<S> Drop for Volume<S> {
    fn drop(&mut self) {
        self.vault.wipe();
    }
}
