//! The end of the log: groups are sealed and appended here, one durable write after another.
//!
//! INVARIANT: a group is written only after the one before it is durable; what was sealed behind one that failed is never
//! written. An epoch begins in a segment of its own, and the header says where before anything is sealed under it; so the
//! torn end of the epoch before is never read again. After a failed write, what the disk holds there is not known: nothing
//! more is written in this attach or, if all that is wrong is that the host has no space, nothing more in this epoch
//! (decision 0120).

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    VolumeError,
    buffer::AlignedBuffer,
    checkpoint::Checkpoint,
    error::{is_full, is_shortage},
    group::{self, GroupBody, GroupHead, Record},
    header::{Epoch, Header, MAX_HEADER},
    keys::{Kind, RecordId, SALT},
    layout::{BLOCK, Entry, Place, Position},
    segments::Segments,
    state::{State, Status},
    volume::Volume,
};

/// Counters of an epoch.
const EPOCH_RECORDS: u64 = 1 << 32;

/// A block to be sealed: kind, level, index, plaintext.
pub(crate) type Block<'a> = (Kind, u8, u64, &'a [u8]);

/// Behind the lock of those who seal.
pub(crate) struct Log {
    pub header: Header,
    /// Where the next group goes. What was sealed before may not be written yet: `State::head` is what is durable.
    pub position: Position,
    /// Whether the segment of `position` has been made.
    created: bool,
    /// The next counter of the epoch.
    counter: u64,
    /// Whether counters of the epoch were spent beside the log.
    beside: bool,
    /// Whether the epoch before was never used, and leaves the header when the next one begins.
    idle_before: bool,
    /// Whether the attach ends: what is left may take the space that is kept.
    pub ending: bool,
    /// The checkpoint slot that was written last.
    pub slot: usize,
    /// Which epoch each slot is of; 0 if that is not known.
    pub slot_epochs: [u32; 2],
    /// The first epoch of this attach.
    pub first_epoch: u32,
}

/// Behind the lock of who writes. It is taken after that of the log, and in the order of the groups.
pub(crate) struct Disk {
    /// Where the group ends that was written last.
    end: Option<Place>,
    /// Whether anything that was sealed in the epoch is durable, or an anchor names it.
    pub in_use: bool,
}

impl Disk {
    pub fn new() -> Self {
        Self { end: None, in_use: true }
    }
}

/// The lock of who writes, if it was taken already.
pub(crate) type OnDisk<'a> = Option<MutexGuard<'a, Disk>>;

/// A group that is ready to be written.
pub(crate) struct SealedGroup {
    place: Place,
    pub bytes: AlignedBuffer,
    /// The position behind it.
    after: Position,
    entries: Vec<Entry>,
    /// Kept for the slot that names it.
    slot_counter: u32,
}

impl SealedGroup {
    pub fn place(&self) -> Place {
        self.place
    }

    /// The position behind it.
    pub fn after(&self) -> &Position {
        &self.after
    }

    /// The counter of the slot that names it.
    pub fn slot_counter(&self) -> u32 {
        self.slot_counter
    }

    /// Where its blocks lie, in their order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Buffers for groups, used over and over.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<AlignedBuffer>>);

impl Buffers {
    /// Of two that seal or write, of the worker that writes ahead, and of the cleaner.
    const KEPT: usize = 4;

    pub fn take(&self) -> AlignedBuffer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| AlignedBuffer::new(0))
    }

    pub fn give(&self, buffer: AlignedBuffer) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT {
            kept.push(buffer);
        }
    }
}

impl Log {
    pub fn new(header: Header, position: Position, slot: usize) -> Self {
        let first_epoch = header.last_epoch().saturating_add(1);
        Self {
            header,
            position,
            created: false,
            counter: 0,
            beside: false,
            idle_before: false,
            ending: false,
            slot,
            slot_epochs: [0; 2],
            first_epoch,
        }
    }

    /// Seals nothing more in this epoch.
    fn abandon_epoch(&mut self) {
        self.counter = EPOCH_RECORDS;
    }

    pub fn next_counter(&mut self) -> u32 {
        let counter =
            u32::try_from(self.counter).expect("`make_room` begins a new epoch before 2^32 records");
        self.counter += 1;
        counter
    }
}

impl<S: Segments> Volume<S> {
    /// Begins an epoch in a segment that was never used: draws its salt and makes it durable. Everything that was sealed
    /// before has been written, for the header names the last group.
    pub(crate) fn begin_epoch(
        &self,
        log: &mut Log,
        disk: &mut Disk,
        segment: u32,
    ) -> Result<(), VolumeError> {
        let header = log.header.clone();
        self.begin_epoch_under(log, disk, segment, header)
    }

    /// As [`Volume::begin_epoch`], behind the last segment, and with a header that says something else as well.
    pub(crate) fn begin_epoch_behind(
        &self,
        log: &mut Log,
        disk: &mut Disk,
        header: Header,
    ) -> Result<(), VolumeError> {
        self.turn_back(log);
        Self::roll(log);
        self.finish(disk);
        self.begin_epoch_under(log, disk, log.position.place.segment + 1, header)
    }

    fn begin_epoch_under(
        &self,
        log: &mut Log,
        disk: &mut Disk,
        segment: u32,
        mut header: Header,
    ) -> Result<(), VolumeError> {
        let epoch = log.header.last_epoch().checked_add(1);
        let epoch = epoch.ok_or(VolumeError::Invalid("the volume has used up its epochs"))?;
        let place = Place { segment, offset: 0 };
        let start = Position { epoch, place, ..log.position };
        let mut salt = [0; SALT];
        self.entropy.fill(&mut salt);
        let generation = header.last_generation().generation;
        let row = Epoch { generation, salt, volume: header.volume.clone(), start };
        if log.idle_before {
            // A host that stays full must not make the header grow. The last epoch stays, though unused: an anchor that
            // is taken after a failure names it, and it is in the header whether that got to the disk or not.
            header.epochs.remove(header.epochs.len() - 2);
        }
        header.epochs.push(row.clone());
        header.end = None;
        // If this fails, the header on the disk may be the new one all the same, and whatever the old epoch then still
        // wrote would lie behind its end. So nothing more is sealed in it: the next group tries this again.
        log.abandon_epoch();
        self.replace_header(&header)?;
        self.vault.add(row)?;
        log.header = header;
        log.position = start;
        log.created = false;
        log.counter = 0;
        log.idle_before = !disk.in_use && !log.beside;
        disk.in_use = false;
        log.beside = false;
        self.state().head = start;
        Ok(())
    }

    /// The bytes of a header, authenticated under the newest generation that it names.
    pub(crate) fn encode_header(&self, header: &Header) -> Result<Vec<u8>, VolumeError> {
        self.vault.with(|ring| Ok(header.encode(ring.header_key(header)?)))?
    }

    /// Replaces the header. After an error the one on the disk may be either: what goes on from there fits both.
    ///
    /// # Errors
    /// [`VolumeError::Io`]; the volume has stopped then, unless the host is only short of something.
    pub(crate) fn replace_header(&self, header: &Header) -> Result<(), VolumeError> {
        let bytes = self.encode_header(header)?;
        if bytes.len() > MAX_HEADER {
            return Err(VolumeError::Invalid("the header would become longer than can be read"));
        }
        self.segments.replace_header(&bytes).map_err(|e| {
            // Where a sync has failed, one that succeeds later proves nothing.
            if !is_full(&e) && !is_shortage(&e) {
                self.stop();
            }
            VolumeError::io("write the header", e)
        })
    }

    /// Goes on in the next segment, and in the next epoch if this one may have more on the disk than is known: the end of
    /// the log is about to be stated.
    pub(crate) fn end_segment(&self, log: &mut Log, disk: &mut Disk) -> Result<(), VolumeError> {
        // What was sealed before has been written, or has failed.
        self.state().check()?;
        self.turn_back(log);
        Self::roll(log);
        self.finish(disk);
        if log.counter == EPOCH_RECORDS {
            self.begin_epoch(log, disk, log.position.place.segment + 1)?;
        }
        Ok(())
    }

    /// After a write for which there was no space: the log goes on behind what is durable, in another epoch.
    fn turn_back(&self, log: &mut Log) {
        let mut state = self.state();
        if std::mem::take(&mut state.void) {
            log.position = Position { place: log.position.place, ..state.head };
            log.abandon_epoch();
        }
    }

    /// Makes the log ready to be sealed in.
    pub(crate) fn ready<'a>(&'a self, log: &mut Log, disk: &mut OnDisk<'a>) {
        if self.state().void {
            disk.get_or_insert_with(|| self.disk());
            self.turn_back(log);
        }
    }

    /// Spends counters on a group that is none of the log: the epoch, the first of them, and the sequence number of the
    /// log's last group.
    pub(crate) fn spend_counters(&self, counters: u64) -> Result<(u32, u32, u64), VolumeError> {
        let mut log = self.log();
        let mut disk = None;
        self.ready(&mut log, &mut disk);
        self.state().check()?;
        self.make_counters(&mut log, &mut disk, counters)?;
        let first = u32::try_from(log.counter).expect("`make_counters` begins a new epoch before 2^32");
        log.counter += counters;
        log.beside = true;
        Ok((log.position.epoch, first, log.position.sequence))
    }

    /// Begins another epoch if this one has not as many counters left.
    fn make_counters<'a>(
        &'a self,
        log: &mut Log,
        disk: &mut OnDisk<'a>,
        counters: u64,
    ) -> Result<(), VolumeError> {
        if log.counter + counters > self.options.records_per_epoch.min(EPOCH_RECORDS) {
            let disk = disk.get_or_insert_with(|| self.disk());
            let state = self.state();
            state.check()?;
            if state.void {
                return Err(no_space());
            }
            drop(state);
            Self::roll(log);
            self.begin_epoch(log, disk, log.position.place.segment + 1)?;
        }
        Ok(())
    }

    /// Goes on in the next segment.
    fn roll(log: &mut Log) {
        if log.created {
            log.position.place = Place { segment: log.position.place.segment + 1, offset: 0 };
            log.created = false;
        }
    }

    /// Gives the rest of a segment back to which nothing more will be written.
    pub(crate) fn finish(&self, disk: &mut Disk) {
        if let Some(Place { segment, offset }) = disk.end.take() {
            // Only space is lost if this fails.
            let _ = self.segments.finish(segment, offset);
        }
    }

    /// Makes sure that a group of so many bytes and counters fits. A failure changes nothing that is written.
    /// Space that is kept for it is used if the group is to free some.
    fn make_room<'a>(
        &'a self,
        log: &mut Log,
        disk: &mut OnDisk<'a>,
        length: usize,
        counters: u64,
        to_free: bool,
    ) -> Result<(), VolumeError> {
        if length as u64 > u64::from(self.segment_size) {
            return Err(VolumeError::Invalid("the group is longer than a segment"));
        }
        self.make_counters(log, disk, counters)?;
        if u64::from(log.position.place.offset) + length as u64 > u64::from(self.segment_size) {
            Self::roll(log);
        }
        if !log.created {
            // The number that was to be next may have gone to the cleaner.
            let last = self.state().segments.last().copied().unwrap_or(0);
            let segment = log.position.place.segment.max(last + 1);
            let made = if to_free {
                self.segments.create_from_reserve(segment, self.segment_size)
            } else {
                self.segments.create(segment, self.segment_size)
            };
            made.map_err(|e| VolumeError::io(format!("make segment {segment}"), e))?;
            log.created = true;
            log.position.place.segment = segment;
            self.state().segments.insert(segment);
        }
        Ok(())
    }

    /// Seals a group, in a log that is ready. Before the log is left to others, [`Volume::turn`] takes the disk for it.
    pub(crate) fn seal_group<'a>(
        &'a self,
        log: &mut Log,
        disk: &mut OnDisk<'a>,
        blocks: &[Block<'_>],
        holes: Vec<Range<u64>>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<SealedGroup, VolumeError> {
        let extra = checkpoint.as_ref().map_or(0, Checkpoint::length);
        let descriptor = group::descriptor_length(blocks.len(), holes.len(), extra);
        let length = descriptor + blocks.len() * BLOCK;
        // Another may have failed since the caller last had the log: then the disk is not written any more.
        self.state().check()?;
        // One for each block, one for the descriptor, one for the slot of a checkpoint.
        let data = blocks.iter().filter(|(kind, ..)| *kind == Kind::Data).count() as u64;
        let freed: u64 = holes.iter().map(|hole| hole.end - hole.start).sum();
        let to_free = data <= freed || log.ending;
        self.make_room(log, disk, length, blocks.len() as u64 + 2, to_free)?;

        let Position { epoch, place, sequence, chain } = log.position;
        let counters: Vec<u32> = blocks.iter().map(|_| log.next_counter()).collect();
        let head = GroupHead {
            epoch,
            counter: log.next_counter(),
            sequence: sequence + 1,
            descriptor: descriptor as u32,
            blocks: blocks.len() as u32,
        };
        // Spent by checkpoints alone.
        let slot_counter = if checkpoint.is_some() { log.next_counter() } else { head.counter };
        let mut bytes = self.buffers.take();
        let space = bytes.resize_for_transfers(length, &self.segments);
        let (front, space) = space.split_at_mut(descriptor);
        let mut entries = Vec::with_capacity(blocks.len());
        let tag = self.vault.with(|ring| {
            let mut body = GroupBody { chain, records: Vec::with_capacity(blocks.len()), holes, checkpoint };
            for (position, sealed) in space.chunks_exact_mut(BLOCK).enumerate() {
                let (kind, level, index, plaintext) = blocks[position];
                let counter = counters[position];
                let id = RecordId { kind, level, index, epoch, counter };
                let tag = ring.seal_record(&id, plaintext, sealed);
                let offset = place.offset + (descriptor + position * BLOCK) as u32;
                body.records.push(Record { kind, level, index, counter, tag });
                entries.push(Entry { place: Place { offset, ..place }, epoch, counter, tag });
            }
            group::seal(ring, &head, place, &body, front)
        })?;
        log.position.place.offset += length as u32;
        log.position.sequence += 1;
        log.position.chain = tag;
        Ok(SealedGroup { place, bytes, after: log.position, entries, slot_counter })
    }

    /// Waits for the disk, which whoever seals takes for the group before anybody else can seal another.
    ///
    /// # Errors
    /// If the group before it was not written: then this one cannot be.
    pub(crate) fn turn<'a>(&'a self, disk: OnDisk<'a>) -> Result<MutexGuard<'a, Disk>, VolumeError> {
        let disk = disk.unwrap_or_else(|| self.disk());
        let state = self.state();
        state.check()?;
        if state.void { Err(no_space()) } else { Ok(disk) }
    }

    /// Writes a sealed group whose turn it is; its blocks are durable on return. The head has moved in the state that is
    /// returned: what the group changes has to be entered before that is let go.
    pub(crate) fn write_group(
        &self,
        disk: &mut Disk,
        group: &SealedGroup,
    ) -> Result<MutexGuard<'_, State>, VolumeError> {
        let Place { segment, offset } = group.place;
        if let Err(error) = self.segments.write(segment, offset, &group.bytes) {
            if is_full(&error) {
                self.state().void = true;
            } else {
                self.stop();
            }
            return Err(VolumeError::io(format!("write segment {segment}"), error));
        }
        disk.in_use = true;
        if disk.end.is_some_and(|end| end.segment != segment) {
            self.finish(disk);
        }
        disk.end = Some(Place { segment, offset: offset + group.bytes.len() as u32 });
        let mut state = self.state();
        state.log_bytes += group.bytes.len() as u64;
        state.head = group.after;
        Ok(state)
    }

    /// Appends a group that holds no batch.
    pub(crate) fn append_group(
        &self,
        blocks: &[Block<'_>],
        checkpoint: Option<Checkpoint>,
    ) -> Result<SealedGroup, VolumeError> {
        let mut log = self.log();
        let mut disk = None;
        self.ready(&mut log, &mut disk);
        let sealed = self.seal_group(&mut log, &mut disk, blocks, Vec::new(), checkpoint)?;
        let mut disk = self.turn(disk)?;
        drop(log);
        drop(self.write_group(&mut disk, &sealed)?);
        Ok(sealed)
    }

    /// After a failed write: no more writes.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        if state.status == Status::Running {
            state.status = Status::Stopped;
        }
    }
}

/// What those are told whose group came behind one that there was no space for.
fn no_space() -> VolumeError {
    VolumeError::io("write the group before", std::io::ErrorKind::StorageFull.into())
}
