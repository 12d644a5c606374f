//! An open volume: requests come in here. Methods take `&self` and may be called by many threads; the locks are taken
//! in the order checkpoint, log, state, and no I/O is done under the last.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ids::Entropy;
use zeroize::Zeroizing;

use crate::{
    VolumeError, VolumeKey,
    buffer::{AlignedBuffer, FULL, Plain, Wanted},
    checkpoint::SLOT,
    header::Header,
    keys::{Keyring, Kind, RecordId, Vault},
    layout::{BLOCK, Entry, FANOUT, Position, SECTOR, height},
    log::Log,
    overlay::Overlay,
    replay,
    segments::Segments,
    state::{Batch, Below, State, Status, data},
    tree::{Node, NodeCache, parent},
};

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
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) log: Mutex<Log>,
    state: Mutex<State>,
}

/// Tries of a read that may have lost its segment to a checkpoint meanwhile.
const TRIES: usize = 16;
/// Discards in a batch after which another is begun, so that descriptors stay small.
const MOST_HOLES: usize = 1024;

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

    /// Reads; offset and length are multiples of [`SECTOR`].
    ///
    /// # Errors
    /// [`VolumeError::Damaged`] for what is not authentic, [`VolumeError::Io`], [`VolumeError::Locked`],
    /// [`VolumeError::Invalid`].
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), VolumeError> {
        self.check_range(offset, out.len() as u64)?;
        let mut tries = 0;
        loop {
            let version = self.state().version;
            let Err(error) = self.try_read(offset, out) else { return Ok(()) };
            tries += 1;
            // A checkpoint may have removed the segment after the block was found in it.
            if tries == TRIES || self.state().version == version {
                return Err(error);
            }
        }
    }

    fn try_read(&self, offset: u64, out: &mut [u8]) -> Result<(), VolumeError> {
        let mut parts: Vec<(u64, Wanted<'_>, Below)> = Vec::with_capacity(out.len() / BLOCK + 2);
        {
            let state = self.state();
            if state.status == Status::Locked {
                return Err(VolumeError::Locked);
            }
            for (index, at, part) in split_mut(offset, out) {
                let mut wanted = Wanted::new(at, part);
                let below = state.locate(index, &mut wanted);
                parts.push((index, wanted, below));
            }
        }
        let mut fetches = Vec::with_capacity(parts.len());
        for (index, mut wanted, below) in parts {
            if let Some((id, entry)) = self.resolve(index, below)? {
                fetches.push((id, entry, wanted));
            } else if wanted.missing != 0 {
                wanted.fill_zeros();
            }
        }
        self.fetch(&mut fetches)
    }

    /// Finds the record of a block that the layers above the tree do not have.
    fn resolve(&self, index: u64, below: Below) -> Result<Option<(RecordId, Entry)>, VolumeError> {
        match below {
            Below::Complete => Ok(None),
            Below::Record(id, entry) => Ok(Some((id, entry))),
            Below::Tree(root) => {
                let Some(leaf) = self.find_node(root, 0, parent(index))? else { return Ok(None) };
                Ok(leaf.child(index)?.map(|entry| (data(index, &entry), entry)))
            }
        }
    }

    /// Reads and opens records; those that lie side by side are read at once.
    fn fetch(&self, fetches: &mut [(RecordId, Entry, Wanted<'_>)]) -> Result<(), VolumeError> {
        let adjacent = |a: &(RecordId, Entry, _), b: &(RecordId, Entry, _)| {
            let (a, b) = (a.1.place, b.1.place);
            a.segment == b.segment && a.offset.checked_add(BLOCK as u32) == Some(b.offset)
        };
        let mut sealed = AlignedBuffer::new(0);
        let mut scratch = Zeroizing::new([0; BLOCK]);
        for run in fetches.chunk_by_mut(adjacent) {
            let Some((_, first, _)) = run.first() else { continue };
            let sealed = sealed.resize(run.len() * BLOCK);
            read_exact(&self.segments, first.place.segment, first.place.offset, sealed)?;
            for ((id, entry, wanted), sealed) in run.iter_mut().zip(sealed.chunks_exact(BLOCK)) {
                if wanted.out.len() == BLOCK && wanted.missing == FULL {
                    self.open_record(id, entry, sealed, wanted.out)?;
                } else {
                    self.open_record(id, entry, sealed, &mut *scratch)?;
                    wanted.fill(FULL, &*scratch);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn open_record(
        &self,
        id: &RecordId,
        entry: &Entry,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), VolumeError> {
        let opened = self.vault.with(|ring| ring.open_record(id, &entry.tag, sealed, plain))?;
        opened.map_err(|_| not_authentic(id, entry))
    }

    /// The node of a level, if the tree under `root` has it.
    pub(crate) fn find_node(
        &self,
        root: Option<Entry>,
        level: u8,
        index: u64,
    ) -> Result<Option<Arc<Node>>, VolumeError> {
        let mut above = self.height - 1;
        let Some(mut entry) = root else { return Ok(None) };
        loop {
            let span = (FANOUT as u64).pow(u32::from(above - level));
            let node = self.load_node(above, index / span, &entry)?;
            if above == level {
                return Ok(Some(node));
            }
            above -= 1;
            match node.child(index / (span / FANOUT as u64))? {
                Some(child) => entry = child,
                None => return Ok(None),
            }
        }
    }

    /// A node, from the cache or from the disk.
    fn load_node(&self, level: u8, index: u64, entry: &Entry) -> Result<Arc<Node>, VolumeError> {
        if let Some(node) = self.nodes.find(entry.place) {
            return Ok(node);
        }
        let mut sealed = AlignedBuffer::new(BLOCK);
        read_exact(&self.segments, entry.place.segment, entry.place.offset, &mut sealed)?;
        let mut node = Node::empty();
        let id = RecordId { kind: Kind::Node, level, index, epoch: entry.epoch, counter: entry.counter };
        self.open_record(&id, entry, &sealed, node.bytes_mut())?;
        let node = Arc::new(node);
        self.nodes.insert(entry.place, node.clone());
        Ok(node)
    }

    /// Takes bytes over, as one atomic unit of up to [`Volume::atomic_write`]; offset and length are multiples of
    /// [`SECTOR`]. They are durable after the next [`Volume::flush`].
    ///
    /// # Errors
    /// [`VolumeError::Stopped`], [`VolumeError::Locked`], [`VolumeError::Invalid`].
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        self.check_range(offset, bytes.len() as u64)?;
        if bytes.len() > self.atomic_write() {
            return Err(VolumeError::Invalid("the write is longer than an atomic unit"));
        }
        // Copied before the lock is taken: the copies are most of the work.
        let whole = |part: &[u8]| (part.len() == BLOCK).then(|| Plain::whole(part));
        let parts: Vec<_> =
            split(offset, bytes).map(|(index, at, part)| (index, at, part, whole(part))).collect();
        let mut state = self.state();
        state.check()?;
        self.limit_batch(&mut state);
        for (index, at, part, plain) in parts {
            match plain {
                Some(plain) => state.open.changes.set(index, plain),
                None => state.open.changes.point_or_insert_with(index, Plain::unknown).set(at, part),
            }
        }
        Ok(())
    }

    /// Makes a range read as zeros; offset and length are multiples of [`SECTOR`].
    ///
    /// # Errors
    /// As [`Volume::write`].
    pub fn discard(&self, offset: u64, length: u64) -> Result<(), VolumeError> {
        self.check_range(offset, length)?;
        let block = BLOCK as u64;
        let end = offset + length;
        let (first, last) = (offset.div_ceil(block), end / block);
        let zeros = [0; BLOCK];
        if first > last {
            return self.write(offset, &zeros[..length as usize]);
        }
        let mut state = self.state();
        state.check()?;
        self.limit_batch(&mut state);
        state.open.changes.clear(first..last);
        let (head, tail) = ((first * block - offset) as usize, (end - last * block) as usize);
        if head > 0 {
            let plain = state.open.changes.point_or_insert_with(first - 1, Plain::unknown);
            plain.set(BLOCK - head, &zeros[..head]);
        }
        if tail > 0 {
            state.open.changes.point_or_insert_with(last, Plain::unknown).set(0, &zeros[..tail]);
        }
        Ok(())
    }

    /// Makes everything durable that was written before. Many callers share the groups: whoever gets the log first
    /// commits for those that wait for it.
    ///
    /// # Errors
    /// [`VolumeError::Io`]: with a full host nothing is lost, and the next flush tries again; after a failed write
    /// the volume is stopped. [`VolumeError::Stopped`], [`VolumeError::Locked`], [`VolumeError::Damaged`] if the rest
    /// of a block that was written in part cannot be read.
    pub fn flush(&self) -> Result<(), VolumeError> {
        let target = {
            let state = self.state();
            state.check()?;
            state.last_serial()
        };
        self.commit_up_to(target)
    }

    /// Commits the oldest writes until no more than `bytes` are pending.
    ///
    /// # Errors
    /// As [`Volume::flush`].
    pub fn commit_down_to(&self, bytes: usize) -> Result<(), VolumeError> {
        while self.pending() > bytes {
            let mut log = self.log();
            if self.pending() > bytes && !self.commit(&mut log)? {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn commit_up_to(&self, serial: u64) -> Result<(), VolumeError> {
        loop {
            if self.state().durable >= serial {
                return Ok(());
            }
            let mut log = self.log();
            let durable = self.state().durable >= serial;
            if durable || !self.commit(&mut log)? {
                return self.state().check();
            }
        }
    }

    /// Commits everything that is pending.
    pub(crate) fn commit_rest(&self, log: &mut Log) -> Result<(), VolumeError> {
        while self.commit(log)? {}
        Ok(())
    }

    /// Commits one batch; false if there is none.
    fn commit(&self, log: &mut Log) -> Result<bool, VolumeError> {
        let batch = {
            let mut state = self.state();
            state.check()?;
            match state.begin_commit() {
                Some(batch) => batch,
                None => return Ok(false),
            }
        };
        let committed = self.commit_batch(log, batch);
        let mut state = self.state();
        match committed {
            Ok(_) if state.status == Status::Locked => Err(VolumeError::Locked),
            Ok(entries) => {
                state.end_commit(&entries, self.options.keep_committed);
                Ok(true)
            }
            Err(error) => {
                state.cancel_commit();
                Err(error)
            }
        }
    }

    fn commit_batch(&self, log: &mut Log, batch: Arc<Batch>) -> Result<Vec<Entry>, VolumeError> {
        let completed = self.complete(&batch)?;
        let whole = batch.changes.points().iter().map(|(index, plain)| {
            let completed = completed.points().get(index).unwrap_or(plain);
            (Kind::Data, 0, *index, completed.bytes())
        });
        let blocks: Vec<_> = whole.collect();
        let holes: Vec<_> = batch.changes.holes().collect();
        let sealed = self.seal_group(log, &blocks, holes, None)?;
        drop(blocks);
        drop(completed);
        drop(batch); // no plaintext is held while the disk works
        self.write_group(log, sealed)
    }

    /// The blocks of a batch that were written in part, with the rest of them read.
    fn complete(&self, batch: &Batch) -> Result<Overlay<Plain>, VolumeError> {
        let mut completed = Overlay::default();
        for (index, plain) in batch.changes.points() {
            if plain.known() == FULL {
                continue;
            }
            let mut bytes = Zeroizing::new([0; BLOCK]);
            let mut wanted = Wanted::new(0, &mut *bytes);
            wanted.fill(plain.known(), plain.bytes());
            if !batch.changes.hole_at(*index) {
                let below = self.state().locate_committed(*index, &mut wanted);
                if let Some((id, entry)) = self.resolve(*index, below)? {
                    self.fetch(&mut [(id, entry, wanted)])?;
                }
            }
            completed.set(*index, Plain::whole(&*bytes));
        }
        Ok(completed)
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
        drop(state);
        self.nodes.clear();
    }

    /// Begins another batch when the open one is large enough.
    fn limit_batch(&self, state: &mut State) {
        if state.open.bytes() >= self.batch_size() || state.open.changes.holes().len() >= MOST_HOLES {
            state.close_batch();
        }
    }

    pub(crate) fn batch_size(&self) -> usize {
        (self.segment_size as usize / 4).min(2 << 20)
    }

    fn check_range(&self, offset: u64, length: u64) -> Result<(), VolumeError> {
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

/// Reads a whole record: less than that is damage.
pub(crate) fn read_exact(
    segments: &impl Segments,
    segment: u32,
    offset: u32,
    buffer: &mut [u8],
) -> Result<(), VolumeError> {
    let missing = || VolumeError::Damaged(format!("segment {segment} is cut short or missing"));
    match segments.read(segment, offset, buffer) {
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(missing()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(missing()),
        Err(e) => Err(VolumeError::io(format!("read segment {segment}"), e)),
    }
}

pub(crate) fn not_authentic(id: &RecordId, entry: &Entry) -> VolumeError {
    let what = match id.kind {
        Kind::Data => "block",
        Kind::Node => "tree node",
    };
    let (index, place) = (id.index, entry.place);
    VolumeError::Damaged(format!(
        "{what} {index} in segment {} at {} is not authentic",
        place.segment, place.offset
    ))
}

/// Cuts a range at the borders of blocks: index, offset in the block, bytes.
fn split(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, usize, &[u8])> {
    let mut offset = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let at = (offset % BLOCK as u64) as usize;
        let (part, after) = rest.split_at(rest.len().min(BLOCK - at));
        let index = offset / BLOCK as u64;
        rest = after;
        offset += part.len() as u64;
        (!part.is_empty()).then_some((index, at, part))
    })
}

fn split_mut(offset: u64, bytes: &mut [u8]) -> impl Iterator<Item = (u64, usize, &mut [u8])> {
    let mut offset = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let at = (offset % BLOCK as u64) as usize;
        let length = rest.len().min(BLOCK - at);
        let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
        let index = offset / BLOCK as u64;
        rest = after;
        offset += length as u64;
        (length > 0).then_some((index, at, part))
    })
}
