//! Recovery: the last checkpoint, then every whole group after it. A torn tail is cut off; anything else that does not
//! fit is damage.
//!
//! The next group lies right behind the last one or, if it did not fit there, at the beginning of the next segment.
//! Where an epoch ended, the header says where the next begins and after which group, so that only the last epoch has
//! an end that must be found. There, the group that comes last may be torn: its blocks are checked. A group that is
//! authentic *behind* that end means that something before it is gone, for groups are durable one after another.

use std::collections::BTreeSet;

use crate::{
    Anchor, VolumeError,
    buffer::AlignedBuffer,
    checkpoint::{Checkpoint, SLOT, Slot},
    group::{self, Group, GroupHead, HEAD},
    header::Header,
    keys::{Kind, Vault},
    layout::{ALIGN, BLOCK, Entry, MAX_SEGMENT, Place, Position, Tag, height},
    overlay::Overlay,
    read::read_exact,
    segments::Segments,
};

/// What recovery found.
pub(crate) struct Recovered {
    pub checkpoint: Checkpoint,
    /// What the log changed since.
    pub entries: Overlay<Entry>,
    /// The end of the log.
    pub position: Position,
    pub log_bytes: u64,
    /// The slot that holds the checkpoint.
    pub slot: usize,
    /// The epoch of that slot; 0 if there is none.
    slot_epoch: u32,
    pub segments: BTreeSet<u32>,
    /// The tag of the anchored group, if the replay met it.
    pub watched: Option<Tag>,
}

impl Recovered {
    /// Drops the epochs that no record, group, slot or anchor is of; the last one stays, so that its number is not used
    /// again.
    pub fn forget_epochs(&self, header: &mut Header, anchor: Option<&Anchor>) {
        let (replayed, last) = (self.checkpoint.from.epoch, header.last_epoch());
        let used: BTreeSet<u32> = self.checkpoint.usage.values().map(|usage| usage.epoch).collect();
        // In an epoch that ended where it began, no group became part of the log.
        let ends: Vec<u64> = header.epochs.iter().skip(1).map(|row| row.start.sequence).collect();
        let mut ends = ends.into_iter().chain([self.position.sequence]);
        header.epochs.retain(|row| {
            let epoch = row.start.epoch;
            let written = ends.next().is_some_and(|end| end > row.start.sequence);
            (epoch >= replayed && written)
                || epoch == replayed
                || epoch == last
                || epoch == self.slot_epoch
                || used.contains(&epoch)
                || anchor.is_some_and(|anchor| anchor.epoch == epoch)
        });
    }
}

/// Recovers a volume from its files.
///
/// # Errors
/// [`VolumeError::Damaged`], [`VolumeError::Io`].
pub(crate) fn recover(
    segments: &impl Segments,
    header: &Header,
    vault: &Vault,
    anchor: Option<&Anchor>,
) -> Result<Recovered, VolumeError> {
    let listed = segments.list().map_err(|e| VolumeError::io("list the segments", e))?;
    let mut reader = Replay::new(segments, header, vault);
    let listed: BTreeSet<u32> = listed.into_iter().collect();
    if let Some(last) = listed.last().filter(|last| **last > MAX_SEGMENT) {
        return Err(VolumeError::Damaged(format!("there is a segment {last}")));
    }

    let newest = reader.newest_slot()?;
    let checkpoint = match newest {
        Some((_, slot)) => reader.checkpoint(&slot)?,
        None => reader.genesis()?,
    };
    if let Some(missing) = checkpoint.usage.keys().find(|segment| !listed.contains(segment)) {
        return Err(VolumeError::Damaged(format!("segment {missing} is missing")));
    }
    let mut recovered = Recovered {
        position: checkpoint.from,
        checkpoint,
        entries: Overlay::default(),
        log_bytes: 0,
        slot: newest.map_or(0, |(number, _)| number),
        slot_epoch: newest.map_or(0, |(_, slot)| slot.epoch),
        segments: listed,
        watched: None,
    };
    let durable = newest.map_or(0, |(_, slot)| slot.sequence);
    reader.follow(&mut recovered, durable, anchor.map(|anchor| anchor.sequence))?;
    if let Some(anchor) = anchor {
        anchor.check(header, &recovered)?;
    }
    Ok(recovered)
}

/// Reads the groups of a log.
pub(crate) struct Replay<'a, S> {
    segments: &'a S,
    header: &'a Header,
    vault: &'a Vault,
    segment_size: u32,
    window: Window,
}

impl<'a, S: Segments> Replay<'a, S> {
    pub fn new(segments: &'a S, header: &'a Header, vault: &'a Vault) -> Self {
        Self { segments, header, vault, segment_size: header.segment_size, window: Window::default() }
    }

    fn newest_slot(&self) -> Result<Option<(usize, Slot)>, VolumeError> {
        let bytes = match self.segments.read_checkpoint() {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(VolumeError::io("read the checkpoint", e)),
        };
        let mut newest: Option<(usize, Slot)> = None;
        for (number, bytes) in bytes.chunks(SLOT).take(2).enumerate() {
            let opened = self.vault.with(|ring| Slot::open(ring, self.header.last_epoch(), bytes))?;
            if let Some(slot) = opened?
                && newest.is_none_or(|(_, other)| slot.sequence > other.sequence)
            {
                newest = Some((number, slot));
            }
        }
        Ok(newest)
    }

    fn checkpoint(&mut self, slot: &Slot) -> Result<Checkpoint, VolumeError> {
        let group = self.group_at(slot.place)?.filter(|group| {
            group.head.sequence == slot.sequence
                && group.head.descriptor == slot.descriptor
                && group.tag == slot.tag
        });
        let checkpoint = group.and_then(|group| group.body.checkpoint);
        let fits = checkpoint.filter(|checkpoint| checkpoint.fits(self.header));
        fits.ok_or_else(|| VolumeError::Damaged("the group of the checkpoint is not authentic".into()))
    }

    /// The state of a volume that never had a checkpoint.
    fn genesis(&self) -> Result<Checkpoint, VolumeError> {
        if self.header.epochs.first().is_some_and(|first| first.start.sequence != 0) {
            return Err(VolumeError::Damaged("no slot of the checkpoint is authentic".into()));
        }
        Ok(Checkpoint {
            from: self.header.genesis(),
            root: None,
            height: height(self.header.blocks),
            live_blocks: 0,
            usage: Default::default(),
        })
    }

    /// Replays the log from the checkpoint to its end.
    fn follow(
        &mut self,
        recovered: &mut Recovered,
        durable: u64,
        watched: Option<u64>,
    ) -> Result<(), VolumeError> {
        // The group that was read last, and the position before it: entered once it is known to be whole.
        let mut last: Option<(Position, Group)> = None;
        let mut position = recovered.position;
        loop {
            if watched == Some(position.sequence) {
                recovered.watched = Some(position.chain);
            }
            let next = self.header.epoch_after(position.epoch);
            if let Some(row) = next.filter(|row| row.start.sequence <= position.sequence) {
                check_link(&position, &row.start)?;
                enter(recovered, last.take(), self.header.blocks)?;
                position = row.start;
                continue;
            }
            if let Some(end) = self.header.end.filter(|_| next.is_none())
                && end.sequence <= position.sequence
            {
                check_link(&position, &end)?;
                enter(recovered, last.take(), self.header.blocks)?;
                break;
            }
            match self.next_group(&position)? {
                Some(group) => {
                    enter(recovered, last.take(), self.header.blocks)?;
                    let after = after(&group);
                    last = Some((position, group));
                    position = after;
                }
                None if next.is_some() || self.header.end.is_some() => {
                    return Err(missing(position.sequence + 1));
                }
                None => break,
            }
        }
        let mut torn = None;
        if let Some((before, group)) = last.take() {
            if self.is_whole(&group)? {
                enter(recovered, Some((before, group)), self.header.blocks)?;
            } else if group.head.sequence <= durable {
                return Err(VolumeError::Damaged(format!("group {} is not authentic", group.head.sequence)));
            } else {
                torn = Some(group.place);
                position = before;
            }
        }
        if position.sequence < durable {
            return Err(missing(position.sequence + 1));
        }
        recovered.position = position;
        self.look_behind(&position, torn, &recovered.segments)
    }

    /// Follows the log from the newest checkpoint to its end, which is known.
    pub fn reach(&mut self, end: &Position) -> Result<(), VolumeError> {
        let mut position = match self.newest_slot()? {
            Some((_, slot)) => self.checkpoint(&slot)?.from,
            None => self.genesis()?.from,
        };
        loop {
            let next = self.header.epoch_after(position.epoch);
            if let Some(row) = next.filter(|row| row.start.sequence <= position.sequence) {
                check_link(&position, &row.start)?;
                position = row.start;
            } else if position.sequence >= end.sequence {
                return check_link(&position, end);
            } else {
                let group = self.next_group(&position)?;
                position = after(&group.ok_or_else(|| missing(position.sequence + 1))?);
            }
        }
    }

    /// The group that follows a position in the same epoch.
    fn next_group(&mut self, position: &Position) -> Result<Option<Group>, VolumeError> {
        let Position { epoch, place, .. } = *position;
        if epoch == 0 {
            return Ok(None);
        }
        let listed = || self.segments.list().map_err(|e| VolumeError::io("list the segments", e));
        let is_next = |head: &GroupHead| head.epoch == epoch && head.sequence == position.sequence + 1;
        // Right behind the last one, or at the beginning of a later segment: others are the cleaner's.
        let mut places = vec![place];
        if !self.head_at(place)?.is_some_and(|head| is_next(&head)) {
            let later = listed()?.into_iter().filter(|segment| *segment > place.segment);
            places.extend(later.map(|segment| Place { segment, offset: 0 }));
        }
        for place in places {
            if !self.head_at(place)?.is_some_and(|head| is_next(&head)) {
                continue;
            }
            let Some(group) = self.group_at(place)? else { continue };
            if group.body.chain != position.chain {
                return Err(VolumeError::Damaged(format!(
                    "group {} does not follow the one before",
                    group.head.sequence
                )));
            }
            return Ok(Some(group));
        }
        Ok(None)
    }

    /// What may be the head of a group at a place.
    fn head_at(&self, place: Place) -> Result<Option<GroupHead>, VolumeError> {
        if let Some(bytes) = self.window.seen(place, ALIGN) {
            return Ok(GroupHead::parse(&bytes[..HEAD], place.offset, self.segment_size));
        }
        let mut bytes = AlignedBuffer::new(ALIGN);
        match self.segments.read(place.segment, place.offset, &mut bytes) {
            Ok(read) if read < ALIGN => Ok(None),
            Ok(_) => Ok(GroupHead::parse(&bytes[..HEAD], place.offset, self.segment_size)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(VolumeError::io(format!("read segment {}", place.segment), e)),
        }
    }

    /// Whether a segment is none of the log: it begins with an authentic group that was written aside.
    fn is_aside(&mut self, segment: u32) -> Result<bool, VolumeError> {
        let place = Place { segment, offset: 0 };
        if self.head_at(place)?.is_none_or(|head| head.sequence != 0) {
            return Ok(false);
        }
        Ok(self.group_at(place)?.is_some())
    }

    /// The authentic group at a place.
    pub fn group_at(&mut self, place: Place) -> Result<Option<Group>, VolumeError> {
        let Some(bytes) = self.window.bytes(self.segments, place, ALIGN)? else { return Ok(None) };
        let Some(head) = GroupHead::parse(&bytes[..HEAD], place.offset, self.segment_size) else {
            return Ok(None);
        };
        if head.epoch > self.header.last_epoch() {
            return Err(VolumeError::Damaged("the log is newer than the header".into()));
        }
        let descriptor = self.window.bytes(self.segments, place, head.descriptor as usize)?;
        let Some(mut descriptor) = descriptor.map(<[u8]>::to_vec) else { return Ok(None) };
        match self.vault.with(|ring| group::open(ring, &head, place, &mut descriptor))? {
            Ok((tag, body)) => Ok(Some(Group { head, place, tag, body: body? })),
            Err(_) => Ok(None),
        }
    }

    /// Whether a segment ends before a place, or is not there.
    pub fn ends_before(&mut self, place: Place) -> bool {
        matches!(self.window.bytes(self.segments, place, ALIGN), Ok(None))
    }

    /// Whether every block of a group is authentic.
    pub fn is_whole(&mut self, group: &Group) -> Result<bool, VolumeError> {
        let mut plain = zeroize::Zeroizing::new([0; BLOCK]);
        let mut sealed = AlignedBuffer::new(BLOCK);
        for (id, Entry { place, tag, .. }) in group.entries() {
            match read_exact(self.segments, place.segment, place.offset, &mut sealed) {
                Ok(()) => {}
                Err(VolumeError::Damaged(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
            let opened = self.vault.with(|ring| ring.open_record(&id, &tag, &sealed, &mut *plain))?;
            if opened.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes sure that no group of the log lies behind its end, but for the torn one.
    fn look_behind(
        &mut self,
        end: &Position,
        torn: Option<Place>,
        listed: &BTreeSet<u32>,
    ) -> Result<(), VolumeError> {
        for &segment in listed.range(end.place.segment..) {
            let mut place = Place { segment, offset: 0 };
            if segment == end.place.segment {
                place.offset = end.place.offset;
            } else if self.is_aside(segment)? {
                continue;
            }
            while place.offset < self.segment_size {
                if self.window.bytes(self.segments, place, ALIGN)?.is_none() {
                    break;
                }
                if torn != Some(place)
                    && let Some(group) = self.group_at(place)?
                    && group.head.sequence > end.sequence
                {
                    return Err(missing(end.sequence + 1));
                }
                place.offset += ALIGN as u32;
            }
        }
        Ok(())
    }
}

/// Enters a group that is known to be whole.
fn enter(
    recovered: &mut Recovered,
    group: Option<(Position, Group)>,
    blocks: u64,
) -> Result<(), VolumeError> {
    let Some((_, group)) = group else { return Ok(()) };
    recovered.log_bytes += group.head.length();
    for hole in &group.body.holes {
        recovered.entries.clear(hole.clone());
    }
    for (id, entry) in group.entries() {
        if id.kind == Kind::Data {
            if id.index >= blocks {
                return Err(VolumeError::Damaged(format!("block {} lies outside the volume", id.index)));
            }
            recovered.entries.set(id.index, entry);
        }
    }
    Ok(())
}

/// The position behind a group.
fn after(group: &Group) -> Position {
    let offset = group.place.offset + group.head.length() as u32;
    let place = Place { offset, ..group.place };
    Position { epoch: group.head.epoch, place, sequence: group.head.sequence, chain: group.tag }
}

/// Checks that the log reached exactly the group that the header names.
fn check_link(position: &Position, stated: &Position) -> Result<(), VolumeError> {
    let same = position.sequence == stated.sequence && position.chain == stated.chain;
    let sequence = stated.sequence;
    same.then_some(())
        .ok_or_else(|| VolumeError::Damaged(format!("group {sequence} is not the one that the header names")))
}

fn missing(sequence: u64) -> VolumeError {
    VolumeError::Damaged(format!("group {sequence} is missing or not authentic"))
}

/// A piece of a segment, read ahead.
#[derive(Default)]
struct Window {
    segment: u32,
    offset: u32,
    length: usize,
    buffer: Option<AlignedBuffer>,
}

impl Window {
    /// Bytes read at once.
    const AHEAD: usize = 1 << 20;

    /// Bytes at a place that were read ahead.
    fn seen(&self, place: Place, length: usize) -> Option<&[u8]> {
        let from = place.offset.checked_sub(self.offset).filter(|_| self.segment == place.segment)? as usize;
        let read = self.buffer.as_ref()?.get(..self.length)?;
        read.get(from..from + length)
    }

    /// `length` bytes at a place; `None` if the segment ends before, or is not there.
    fn bytes(
        &mut self,
        segments: &impl Segments,
        place: Place,
        length: usize,
    ) -> Result<Option<&[u8]>, VolumeError> {
        let inside = self.segment == place.segment
            && place.offset >= self.offset
            && (place.offset - self.offset) as usize + length <= self.length;
        if !inside {
            self.length = 0;
            let buffer = self.buffer.get_or_insert_with(|| AlignedBuffer::new(0));
            let space = buffer.resize_for_transfers(length.max(Self::AHEAD), segments);
            let mut read = segments.read(place.segment, place.offset, space);
            if read.is_err() && length < Self::AHEAD {
                // What cannot be read may lie behind what is wanted.
                read = segments.read(place.segment, place.offset, &mut space[..length]);
            }
            self.length = match read {
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
                Err(e) => return Err(VolumeError::io(format!("read segment {}", place.segment), e)),
            };
            (self.segment, self.offset) = (place.segment, place.offset);
        }
        let from = (place.offset - self.offset) as usize;
        let buffer = self.buffer.as_ref().filter(|_| from + length <= self.length);
        Ok(buffer.map(|buffer| &buffer[from..from + length]))
    }
}
