//! The cleaner: copies what is still live out of segments that are mostly dead, so that the next checkpoint can remove
//! them (decisions 0105, 0122). Blocks are written aside and entered by the next checkpoint, which also rewrites the
//! nodes.
//!
//! INVARIANT: only segments before the position of the last checkpoint are cleaned. No replay needs them, nothing is
//! written to them, and what is live in them is reached through the tree alone.

use std::{
    collections::VecDeque,
    sync::{MutexGuard, PoisonError},
};

use crate::{
    VolumeError,
    aside::Tail,
    buffer::{AlignedBuffer, Wanted, Wiped},
    error::is_shortage,
    group::{self, Group, GroupHead},
    keys::{Kind, RecordId},
    layout::{ALIGN, BLOCK, Entry, Place},
    segments::Segments,
    volume::Volume,
};

/// Records that a step looks at, at most: most of those of a segment may be dead.
const MOST_RECORDS: usize = 1024;

/// What the cleaner is at.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    victim: Option<Victim>,
    tail: Option<Tail>,
    /// It has begun, and goes on until enough is clean: with segments up to this one, so that it comes to an end even if
    /// copies take as much space as what they were made of.
    run: Option<u32>,
    /// How the last run ended that found nothing more to clean.
    exhausted: Option<Exhausted>,
}

/// Why it is of no use to begin again: nearly nothing has changed.
#[derive(Debug)]
struct Exhausted {
    /// Whether it had cleaned whatever frees space.
    all: bool,
    /// Blocks written since the open.
    changed: u64,
    /// How many segments there were that it could have cleaned.
    movable: usize,
}

/// A segment being cleaned, and its records that were not looked at yet.
#[derive(Debug)]
struct Victim {
    segment: u32,
    records: VecDeque<(RecordId, Entry)>,
}

/// A part of a segment: the groups of a log may be short, and a read for each would be most of the cleaner's work.
struct Window {
    start: u32,
    bytes: AlignedBuffer,
    /// Bytes that there were.
    length: usize,
}

impl Window {
    const SIZE: usize = 256 << 10;

    fn new() -> Self {
        Self { start: 0, bytes: AlignedBuffer::new(0), length: 0 }
    }

    /// Bytes of a segment; `None` if it ends before.
    fn get<S: Segments>(
        &mut self,
        volume: &Volume<S>,
        segment: u32,
        offset: u32,
        length: usize,
    ) -> Result<Option<&mut [u8]>, VolumeError> {
        let mut at = offset.wrapping_sub(self.start) as usize;
        if offset < self.start || at + length > self.length {
            let rest = volume.segment_size.saturating_sub(offset) as usize;
            let space = self.bytes.resize(length.max(Self::SIZE.min(rest)));
            let read = volume.segments.read(segment, offset, space);
            self.length = read.map_err(|e| VolumeError::io(format!("read segment {segment}"), e))?;
            self.start = offset;
            at = 0;
        }
        Ok(self.bytes.get_mut(at..at + length).filter(|_| at + length <= self.length))
    }
}

/// A live block that is to be moved, and its plaintext.
type Live = (RecordId, Entry, Wiped<Vec<u8>>);

impl<S: Segments> Volume<S> {
    /// Moves up to `budget` bytes of live blocks out of a segment, if too much space is dead or the segment is of an older
    /// generation of the volume key; says whether there may be more to do. Segments are given back by a checkpoint, which
    /// is taken here when all is clean that should be.
    ///
    /// # Errors
    /// As [`Volume::checkpoint`]. What cannot be read is no error: it stays where it is, its segment is counted in
    /// [`crate::Usages::stuck_segments`], and [`Volume::take_lost`] names it.
    pub fn clean_step(&self, budget: usize) -> Result<bool, VolumeError> {
        self.clean(budget, false)
    }

    /// As [`Volume::clean_step`], but cleans whatever frees space, however little is dead: the host has none left.
    ///
    /// # Errors
    /// As [`Volume::clean_step`].
    pub fn clean_all_step(&self, budget: usize) -> Result<bool, VolumeError> {
        self.clean(budget, true)
    }

    /// What the cleaner could not read since this was asked last, in words for people.
    pub fn take_lost(&self) -> Vec<String> {
        std::mem::take(&mut self.state().lost)
    }

    fn clean(&self, budget: usize, all: bool) -> Result<bool, VolumeError> {
        let mut cleaner = self.cleaner();
        // The tree's root stays the same meanwhile.
        let _no_checkpoint = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().check()?;
        if self.much_waits() {
            self.checkpoint_alone()?;
        }
        let usable = |victim: &Victim| self.state().usage.contains_key(&victim.segment);
        let mut victim = match cleaner.victim.take().filter(usable) {
            Some(victim) => victim,
            None => {
                self.end_older_tail(&mut cleaner)?;
                let older = self.choose_of_older_generation();
                if older.is_none() && self.advance_renewal()? {
                    return Ok(true);
                }
                let Some(segment) = older.or_else(|| self.choose_victim(&mut cleaner, all)) else {
                    let emptied = !self.state().emptied.is_empty();
                    if emptied {
                        self.checkpoint_alone()?;
                    }
                    return Ok(emptied);
                };
                match self.survey(segment) {
                    Ok(records) => Victim { segment, records },
                    Err(error) => return self.give_up(segment, error),
                }
            }
        };
        let live = match self.look_at_some(&mut victim, budget) {
            Ok(live) => live,
            Err(error) => return self.give_up(victim.segment, error),
        };
        self.move_blocks(&mut cleaner, &live)?;
        if victim.records.is_empty() {
            self.state().emptied.insert(victim.segment);
        } else {
            cleaner.victim = Some(victim);
        }
        Ok(true)
    }

    pub(crate) fn cleaner(&self) -> MutexGuard<'_, Cleaner> {
        self.cleaning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the segment that is written aside as it is: it is about to be linked, or the attach ends.
    pub(crate) fn end_cleaning(&self, cleaner: &mut Cleaner) {
        self.end_aside(cleaner.tail.take());
        self.state().tail = None;
    }

    /// A renewal of the volume key has to clean the segment that is written aside, too, if it is of an older generation.
    fn end_older_tail(&self, cleaner: &mut Cleaner) -> Result<(), VolumeError> {
        if let Some(tail) = &cleaner.tail
            && self.vault.with(|ring| ring.is_older(tail.epoch))?
        {
            self.end_cleaning(cleaner);
        }
        Ok(())
    }

    /// The segment whose cleaning is worth most: age × free / (1 + live fraction). `None` while little space is dead.
    fn choose_victim(&self, cleaner: &mut Cleaner, all: bool) -> Option<u32> {
        let run = cleaner.run.take();
        let mut space = self.space();
        if !all && !space.is_due(run.is_some()) {
            return None;
        }
        let mut movable = self.movable();
        // What a snapshot or a clone holds as well would free nothing.
        for (_, live) in movable.extract_if(.., |(segment, _)| self.segments.is_shared(*segment)) {
            space.leave_out(live);
        }
        if !all && !space.is_due(run.is_some()) {
            return None;
        }
        let size = u64::from(self.segment_size);
        let changed = self.state().changed;
        let useless = |last: &Exhausted| {
            let few = changed < last.changed + size / BLOCK as u64 / 8;
            few && last.movable == movable.len() && (last.all || !all)
        };
        if run.is_none() && cleaner.exhausted.as_ref().is_some_and(useless) {
            return None;
        }
        let newest = run.or_else(|| self.state().segments.last().copied()).unwrap_or(0);
        let next = movable.last().map_or(0, |(last, _)| *last) + 1;
        let worth = |(segment, live): &(u32, u64)| {
            u64::from(next - segment) * size.saturating_sub(*live) / (1 + live * 1024 / size)
        };
        // A nearly full one is not worth its copy.
        let most = if all { 95 } else { 80 };
        let worthy = movable.iter().filter(|(segment, live)| *segment <= newest && live * 100 <= size * most);
        let chosen = worthy.max_by_key(|victim| worth(victim)).map(|(segment, _)| *segment);
        if chosen.is_some() {
            cleaner.run = Some(newest);
        } else {
            cleaner.exhausted = Some(Exhausted { all, changed, movable: movable.len() });
        }
        chosen
    }

    /// Lists the records of a segment, from the descriptors of its groups. What lies behind a descriptor that does not
    /// open is not found: a segment that still has live records after the next checkpoint counts as stuck.
    fn survey(&self, segment: u32) -> Result<VecDeque<(RecordId, Entry)>, VolumeError> {
        let mut records = VecDeque::new();
        let mut offset = 0;
        let mut window = Window::new();
        while offset < self.segment_size {
            let Some(front) = window.get(self, segment, offset, ALIGN)? else { break };
            let Some(head) = GroupHead::parse(front, offset, self.segment_size) else { break };
            let place = Place { segment, offset };
            let Some(descriptor) = window.get(self, segment, offset, head.descriptor as usize)? else {
                break;
            };
            let opened = self.vault.with(|ring| group::open(ring, &head, place, descriptor))?;
            let Ok((tag, Ok(body))) = opened else { break };
            records.extend(Group { head, place, tag, body }.entries());
            offset += head.length() as u32;
        }
        Ok(records)
    }

    /// Looks at the next records of a victim: live blocks are returned, live nodes marked to be written again. What
    /// cannot be read is passed over.
    fn look_at_some(&self, victim: &mut Victim, budget: usize) -> Result<Vec<Live>, VolumeError> {
        let most = (budget / BLOCK).max(1);
        let mut live = Vec::new();
        for _ in 0..MOST_RECORDS {
            if live.len() >= most {
                break;
            }
            let Some((id, entry)) = victim.records.pop_front() else { break };
            match self.is_live(&id, &entry) {
                Ok(true) if id.kind == Kind::Data => live.push((id, entry, Wiped(vec![0; BLOCK]))),
                Ok(true) => drop(self.state().moving.insert((id.level, id.index))),
                Ok(false) => {}
                Err(error) => self.pass_over(error)?,
            }
        }
        let fetched = self.fetch_live(&mut live);
        if fetched.as_ref().is_err_and(VolumeError::is_loss) {
            let mut whole = Vec::new();
            for mut one in live {
                match self.fetch_live(std::slice::from_mut(&mut one)) {
                    Ok(()) => whole.push(one),
                    Err(error) => self.pass_over(error)?,
                }
            }
            return Ok(whole);
        }
        fetched.map(|()| live)
    }

    /// Whether a record is to be moved: the tree refers to it, and nothing that it does not know yet is newer.
    fn is_live(&self, id: &RecordId, entry: &Entry) -> Result<bool, VolumeError> {
        if self.tree_entry(id)? != Some(*entry) {
            return Ok(false);
        }
        match id.kind {
            Kind::Data => Ok(self.state().is_settled(id.index)),
            Kind::Node => {
                // One that does not open cannot be written again.
                let root = self.state().root;
                self.find_node(root, id.level, id.index)?;
                Ok(true)
            }
        }
    }

    fn fetch_live(&self, live: &mut [Live]) -> Result<(), VolumeError> {
        let mut fetches: Vec<_> =
            live.iter_mut().map(|(id, entry, out)| (*id, *entry, Wanted::new(0, out))).collect();
        self.fetch(&mut fetches)
    }

    /// Notes what is lost. It stays referred to, so its segment stays.
    fn pass_over(&self, error: VolumeError) -> Result<(), VolumeError> {
        if !error.is_loss() {
            return Err(error);
        }
        self.state().note_lost(in_words(error));
        Ok(())
    }

    /// Copies blocks aside. The next checkpoint enters the copies.
    fn move_blocks(&self, cleaner: &mut Cleaner, live: &[Live]) -> Result<(), VolumeError> {
        let mut rest = live;
        while !rest.is_empty() {
            let fits = self.room_aside(cleaner.tail.as_ref());
            let (now, later) = rest.split_at(rest.len().min(fits));
            rest = later;
            let blocks: Vec<_> =
                now.iter().map(|(id, _, plain)| (id.kind, id.level, id.index, plain.as_slice())).collect();
            let written = self.write_aside(&mut cleaner.tail, &blocks);
            let mut state = self.state();
            state.tail = cleaner.tail.as_ref().map(|tail| tail.segment);
            let entries = written?;
            state.check()?;
            let tail = state.tail;
            state.aside.extend(tail);
            state.cleaned_bytes += (now.len() * BLOCK) as u64;
            let moved = now.iter().zip(entries).map(|((id, old, _), new)| (id.index, (*old, new)));
            state.moved.extend(moved);
        }
        Ok(())
    }

    /// What the tree says of a record.
    fn tree_entry(&self, id: &RecordId) -> Result<Option<Entry>, VolumeError> {
        let root = self.state().root;
        let above = match id.kind {
            Kind::Data => 0,
            Kind::Node if id.level + 1 == root.height => return Ok(root.entry),
            Kind::Node => id.level + 1,
        };
        self.find_entry(root, above, id.index)
    }

    /// Leaves a segment alone that cannot be read, unless it is the host that has too little of something just now.
    fn give_up(&self, segment: u32, error: VolumeError) -> Result<bool, VolumeError> {
        match &error {
            VolumeError::Io { source, .. } if is_shortage(source) => return Err(error),
            VolumeError::Damaged(_) | VolumeError::Io { .. } => {}
            _ => return Err(error),
        }
        let mut state = self.state();
        state.stuck.insert(segment);
        state.note_lost(in_words(error));
        Ok(true)
    }
}

/// What is damaged, or what could not be done and why.
fn in_words(error: VolumeError) -> String {
    match error {
        VolumeError::Damaged(what) => what,
        VolumeError::Io { action, source } => format!("{action}: {source}"),
        error => error.to_string(),
    }
}
