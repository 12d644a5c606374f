//! The end of the log: groups are sealed and appended here, one durable write after another.
//!
//! INVARIANT: a group is written only after the one before it is durable. After a failed write nothing more is written
//! in this attach, for what the disk holds there is not known. An epoch begins in a segment of its own, and the
//! header says where before anything is sealed under it; so the torn end of the epoch before is never read again.

use std::ops::Range;

use crate::{
    VolumeError,
    buffer::AlignedBuffer,
    checkpoint::Checkpoint,
    group::{self, GroupBody, GroupHead, Record},
    header::{Epoch, Header, MAX_HEADER},
    keys::{Kind, RecordId, SALT},
    layout::{BLOCK, Entry, Place, Position, Tag},
    segments::Segments,
    state::Status,
    volume::Volume,
};

/// Counters of an epoch.
const EPOCH_RECORDS: u64 = 1 << 32;

/// A block to be sealed: kind, level, index, plaintext.
pub(crate) type Block<'a> = (Kind, u8, u64, &'a [u8]);

/// Behind the lock of those who append.
pub(crate) struct Log {
    pub header: Header,
    /// Where the next group goes.
    pub position: Position,
    /// Whether the segment of `position` has been made.
    created: bool,
    /// The next counter of the epoch.
    counter: u64,
    /// The checkpoint slot that was written last.
    pub slot: usize,
    buffer: AlignedBuffer,
}

/// A group in the buffer of the log, ready to be written.
pub(crate) struct SealedGroup {
    length: u32,
    tag: Tag,
    entries: Vec<Entry>,
}

impl SealedGroup {
    /// Bytes.
    pub fn length(&self) -> u32 {
        self.length
    }
}

impl Log {
    pub fn new(header: Header, position: Position, slot: usize) -> Self {
        Self { header, position, created: false, counter: 0, slot, buffer: AlignedBuffer::new(0) }
    }

    pub fn next_counter(&mut self) -> u32 {
        let counter =
            u32::try_from(self.counter).expect("`make_room` begins a new epoch before 2^32 records");
        self.counter += 1;
        counter
    }
}

impl<S: Segments> Volume<S> {
    /// Begins an epoch in a segment that was never used: draws its salt and makes it durable.
    pub(crate) fn begin_epoch(&self, log: &mut Log, segment: u32) -> Result<(), VolumeError> {
        let epoch = log.header.last_epoch().checked_add(1);
        let epoch = epoch.ok_or(VolumeError::Invalid("the volume has used up its epochs"))?;
        let place = Place { segment, offset: 0 };
        let start = Position { epoch, place, ..log.position };
        let mut salt = [0; SALT];
        self.entropy.fill(&mut salt);
        let generation = log.header.last_generation().generation;
        let row = Epoch { generation, salt, volume: log.header.volume.clone(), start };
        let mut header = log.header.clone();
        header.epochs.push(row.clone());
        header.end = None;
        // If this fails, the header on the disk may be the new one all the same, and whatever the old epoch then still
        // wrote would lie behind its end. So nothing more is sealed in it: the next group tries this again.
        log.counter = EPOCH_RECORDS;
        self.replace_header(&header)?;
        self.vault.add(row)?;
        log.header = header;
        log.position = start;
        log.created = false;
        log.counter = 0;
        Ok(())
    }

    pub(crate) fn replace_header(&self, header: &Header) -> Result<(), VolumeError> {
        let bytes = self.vault.with(|ring| header.encode(ring.volume_key()))?;
        if bytes.len() > MAX_HEADER {
            return Err(VolumeError::Invalid("the header would become longer than can be read"));
        }
        self.segments.replace_header(&bytes).map_err(|e| VolumeError::io("write the header", e))
    }

    /// Goes on in the next segment.
    pub(crate) fn roll(&self, log: &mut Log) {
        if log.created {
            let Place { segment, offset } = log.position.place;
            // Only space is lost if this fails.
            let _ = self.segments.finish(segment, offset);
            log.position.place = Place { segment: segment + 1, offset: 0 };
            log.created = false;
        }
    }

    /// Makes sure that a group of so many bytes and counters fits. A failure changes nothing that is written.
    fn make_room(&self, log: &mut Log, length: usize, counters: u64) -> Result<(), VolumeError> {
        if length as u64 > u64::from(self.segment_size) {
            return Err(VolumeError::Invalid("the group is longer than a segment"));
        }
        if log.counter + counters > self.options.records_per_epoch.min(EPOCH_RECORDS) {
            self.roll(log);
            self.begin_epoch(log, log.position.place.segment + 1)?;
        }
        if u64::from(log.position.place.offset) + length as u64 > u64::from(self.segment_size) {
            self.roll(log);
        }
        if !log.created {
            let segment = log.position.place.segment;
            let made = self.segments.create(segment, self.segment_size);
            made.map_err(|e| VolumeError::io(format!("make segment {segment}"), e))?;
            log.created = true;
            self.state().segments.insert(segment);
        }
        Ok(())
    }

    /// Seals a group into the buffer of the log.
    pub(crate) fn seal_group(
        &self,
        log: &mut Log,
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
        self.make_room(log, length, blocks.len() as u64 + 2)?;

        let Position { epoch, place, sequence, chain } = log.position;
        let counters: Vec<u32> = blocks.iter().map(|_| log.next_counter()).collect();
        let head = GroupHead {
            epoch,
            counter: log.next_counter(),
            sequence: sequence + 1,
            descriptor: descriptor as u32,
            blocks: blocks.len() as u32,
        };
        let (front, space) = log.buffer.resize(length).split_at_mut(descriptor);
        self.vault.with(|ring| {
            let mut body = GroupBody { chain, records: Vec::with_capacity(blocks.len()), holes, checkpoint };
            let mut entries = Vec::with_capacity(blocks.len());
            for (position, sealed) in space.chunks_exact_mut(BLOCK).enumerate() {
                let (kind, level, index, plaintext) = blocks[position];
                let counter = counters[position];
                let id = RecordId { kind, level, index, epoch, counter };
                let tag = ring.seal_record(&id, plaintext, sealed);
                let offset = place.offset + (descriptor + position * BLOCK) as u32;
                body.records.push(Record { kind, level, index, counter, tag });
                entries.push(Entry { place: Place { offset, ..place }, epoch, counter, tag });
            }
            let tag = group::seal(ring, &head, place, &body, front);
            SealedGroup { length: length as u32, tag, entries }
        })
    }

    /// Writes the sealed group; its blocks are durable on return.
    pub(crate) fn write_group(&self, log: &mut Log, sealed: SealedGroup) -> Result<Vec<Entry>, VolumeError> {
        let Place { segment, offset } = log.position.place;
        if let Err(error) = self.segments.write(segment, offset, &log.buffer) {
            self.stop();
            return Err(VolumeError::io(format!("write segment {segment}"), error));
        }
        log.position.place.offset += sealed.length;
        log.position.sequence += 1;
        log.position.chain = sealed.tag;
        let mut state = self.state();
        state.log_bytes += u64::from(sealed.length);
        state.sequence = log.position.sequence;
        Ok(sealed.entries)
    }

    /// After a failed write: no more writes.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        if state.status == Status::Running {
            state.status = Status::Stopped;
        }
    }
}
