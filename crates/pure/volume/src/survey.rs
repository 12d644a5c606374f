//! What can still be told of a volume whose log does not fit together any more: all of its groups are looked at, the
//! newest checkpoint among them is taken, and every group after it that is still authentic is applied.
//!
//! Each group is authentic by itself, and sequence numbers say in which order they were written, so the newest that is
//! left is known. What a group that is gone said is not: a block that was not written after it may be an old one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
};

use crate::{
    VolumeError,
    checkpoint::{Checkpoint, SLOT, Slot},
    group::Group,
    header::Header,
    keys::{Kind, Vault},
    layout::{ALIGN, Entry, MAX_SEGMENT, Place},
    overlay::{Found, Overlay},
    read::Records,
    replay::Replay,
    segments::Segments,
    tree::{NodeCache, Root},
    walk::Layers,
};

/// Checkpoints of which the root is tried, the newest first.
const CANDIDATES: usize = 8;

/// A tree, and the newer records of the log over it.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub root: Root,
    pub entries: Overlay<Entry>,
}

impl Layers for View {
    fn root(&self) -> Root {
        self.root
    }

    fn next_point(&self, first: u64) -> Option<u64> {
        self.entries.points().range(first..).next().map(|(index, _)| *index)
    }

    fn find(&self, index: u64) -> Found<Entry> {
        match self.entries.find(index) {
            Found::Point(entry) => Found::Point(*entry),
            Found::Hole => Found::Hole,
            Found::Below => Found::Below,
        }
    }
}

/// What is left of a log.
#[derive(Debug)]
pub(crate) struct Survey {
    pub view: View,
    /// The checkpoint that the view is built on; without one, only the descriptors of groups say what there is.
    pub checkpoint: Option<Checkpoint>,
    /// Groups up to this one are in the tree; all of them, if there is none.
    pub in_tree: u64,
    /// Groups of the log after the checkpoint that are gone.
    pub gaps: Vec<RangeInclusive<u64>>,
    /// Records from here on are newer than whatever is gone.
    pub proven_from: Place,
    /// The last group that was found; 0 if there is none.
    pub last: u64,
    /// The last group that header and slots know of.
    pub known: u64,
    /// Whether there are groups that the header does not know: it is older than they are, or they are forged.
    pub strange: bool,
}

/// Everything lies behind this place: all is proven.
pub(crate) const BEGINNING: Place = Place { segment: 0, offset: 0 };
/// Nothing does: nothing is proven.
pub(crate) const NOWHERE: Place = Place { segment: u32::MAX, offset: u32::MAX };

/// Looks through all segments. Takes memory for the log after a checkpoint, as an attach does.
///
/// # Errors
/// [`VolumeError::Io`] if not even the names of the segments can be read, [`VolumeError::Locked`].
pub(crate) fn survey(
    segments: &impl Segments,
    header: &Header,
    vault: &Vault,
) -> Result<Survey, VolumeError> {
    let listed = list(segments)?;
    let mut log = Replay::new(segments, header, vault);
    let mut checkpoints = BTreeMap::new();
    let mut last = 0;
    let mut strange = scan(&mut log, header, &listed, &mut |group| {
        last = last.max(group.head.sequence);
        let checkpoint = group.body.checkpoint;
        if let Some(checkpoint) = checkpoint.filter(|found| found.fits(header)) {
            checkpoints.insert(group.head.sequence, checkpoint);
            if checkpoints.len() > CANDIDATES {
                checkpoints.pop_first();
            }
        }
    })?;
    let mut known = header.end.map_or(0, |end| end.sequence);
    for row in &header.epochs {
        known = known.max(row.start.sequence);
    }
    for slot in slots(segments, header, vault)? {
        match slot {
            SlotState::Of(slot) => known = known.max(slot.sequence),
            SlotState::Newer => strange = true,
            SlotState::Blank | SlotState::Unreadable => {}
        }
    }
    let checkpoint = choose(segments, vault, checkpoints)?;
    let Some(from) = checkpoint.as_ref().map(|checkpoint| checkpoint.from.sequence) else {
        let view = View::default();
        let (in_tree, gaps) = (u64::MAX, Vec::new());
        return Ok(Survey { view, checkpoint, in_tree, gaps, proven_from: NOWHERE, last, known, strange });
    };

    let mut groups = BTreeMap::new();
    scan(&mut log, header, &listed, &mut |group| {
        if group.head.sequence > from {
            groups.insert(group.head.sequence, group.place);
        }
    })?;
    // What was being written when the power failed is left out, as an attach would.
    if header.end.is_none()
        && let Some((sequence, place)) = groups.last_key_value().filter(|(sequence, _)| **sequence > known)
        && let Some(group) = log.group_at(*place)?
        && !log.is_whole(&group)?
    {
        last = sequence - 1;
        groups.pop_last();
    }
    let mut entries = Overlay::default();
    for place in groups.values() {
        if let Some(group) = log.group_at(*place)? {
            apply(&group, &(0..header.blocks), &mut entries);
        }
    }
    let view = View { root: checkpoint.as_ref().map_or_else(Root::default, Checkpoint::root), entries };
    let gaps = gaps(from, known, groups.keys().copied());
    let proven_from = match gaps.last() {
        _ if strange => NOWHERE,
        None => BEGINNING,
        Some(gap) => groups.range(gap.end() + 1..).next().map_or(NOWHERE, |(_, place)| *place),
    };
    Ok(Survey { view, checkpoint, in_tree: from, gaps, proven_from, last, known, strange })
}

/// What the descriptors of groups up to number `in_tree` say of some blocks, the newest last. Whether a descriptor that
/// is gone said something newer is not known.
///
/// # Errors
/// As [`survey`].
pub(crate) fn rebuild(
    segments: &impl Segments,
    header: &Header,
    vault: &Vault,
    in_tree: u64,
    blocks: &Range<u64>,
) -> Result<Overlay<Entry>, VolumeError> {
    let mut log = Replay::new(segments, header, vault);
    // A copy is as new as the group of the log that was the last when it was made.
    let mut groups = BTreeSet::new();
    scan(&mut log, header, &list(segments)?, &mut |group| {
        if group.head.sequence <= in_tree {
            let copied = group.copied_after();
            groups.insert((copied.unwrap_or(group.head.sequence), copied.is_some(), group.place));
        }
    })?;
    let mut entries = Overlay::default();
    for (_, _, place) in groups {
        if let Some(group) = log.group_at(place)? {
            apply(&group, blocks, &mut entries);
        }
    }
    Ok(entries)
}

/// The numbers of the segments that may be ours.
pub(crate) fn list(segments: &impl Segments) -> Result<BTreeSet<u32>, VolumeError> {
    let listed = segments.list().map_err(|e| VolumeError::io("list the segments", e))?;
    Ok(listed.into_iter().filter(|segment| *segment <= MAX_SEGMENT).collect())
}

/// What one of the two slots of the checkpoint holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SlotState {
    /// It was never written.
    Blank,
    Of(Slot),
    /// It was torn or damaged, or nothing of its epoch is needed any more.
    Unreadable,
    /// It says to be of an epoch that the header does not know yet.
    Newer,
}

/// Reads both slots.
pub(crate) fn slots(
    segments: &impl Segments,
    header: &Header,
    vault: &Vault,
) -> Result<[SlotState; 2], VolumeError> {
    let bytes = segments.read_checkpoint().unwrap_or_default();
    let mut states = [SlotState::Unreadable; 2];
    for (state, bytes) in states.iter_mut().zip(bytes.chunks(SLOT)) {
        *state = match vault.with(|ring| Slot::open(ring, header.last_epoch(), bytes))? {
            Ok(Some(slot)) => SlotState::Of(slot),
            Ok(None) if bytes.len() == SLOT && bytes.iter().all(|byte| *byte == 0) => SlotState::Blank,
            Ok(None) => SlotState::Unreadable,
            Err(_) => SlotState::Newer,
        };
    }
    Ok(states)
}

/// Hands over every authentic group of the log, in the order in which they were written; says whether there was one
/// that the header does not know. What cannot be read is passed by.
fn scan<S: Segments>(
    log: &mut Replay<'_, S>,
    header: &Header,
    listed: &BTreeSet<u32>,
    each: &mut dyn FnMut(Group),
) -> Result<bool, VolumeError> {
    let mut strange = false;
    for &segment in listed {
        let mut place = Place { segment, offset: 0 };
        while place.offset < header.segment_size {
            let mut length = ALIGN as u32;
            match log.group_at(place) {
                Ok(Some(group)) => {
                    length = group.head.length() as u32;
                    if belongs(header, &group) {
                        each(group);
                    }
                }
                Ok(None) if log.ends_before(place) => break,
                Ok(None) | Err(VolumeError::Io { .. }) => {}
                Err(VolumeError::Damaged(_)) => strange = true,
                Err(error) => return Err(error),
            }
            place.offset += length;
        }
    }
    Ok(strange)
}

/// Whether a group is part of the log, and not of a torn end that a later attach left behind, nor of what the source of
/// a snapshot wrote after it.
fn belongs(header: &Header, group: &Group) -> bool {
    let next = header.epoch_after(group.head.epoch).map(|row| row.start.sequence);
    let end = header.end.map(|end| end.sequence);
    next.into_iter().chain(end).all(|last| group.head.sequence <= last)
}

/// The newest checkpoint of which the root can be read, else the newest.
fn choose(
    segments: &impl Segments,
    vault: &Vault,
    mut checkpoints: BTreeMap<u64, Checkpoint>,
) -> Result<Option<Checkpoint>, VolumeError> {
    let nodes = NodeCache::new(0);
    let records = Records { segments, vault, nodes: &nodes };
    let mut chosen = None;
    for (sequence, checkpoint) in checkpoints.iter().rev() {
        let root = checkpoint.root.map(|root| records.load_node(checkpoint.height - 1, 0, &root));
        match root {
            Some(Err(VolumeError::Locked)) => return Err(VolumeError::Locked),
            Some(Err(_)) => {}
            None | Some(Ok(_)) => {
                chosen = Some(*sequence);
                break;
            }
        }
    }
    let chosen = chosen.or_else(|| checkpoints.keys().next_back().copied());
    Ok(chosen.and_then(|sequence| checkpoints.remove(&sequence)))
}

/// Enters what a group says of some blocks.
fn apply(group: &Group, blocks: &Range<u64>, entries: &mut Overlay<Entry>) {
    for hole in &group.body.holes {
        entries.clear(hole.start.max(blocks.start)..hole.end.min(blocks.end));
    }
    for (id, entry) in group.entries() {
        if id.kind == Kind::Data && blocks.contains(&id.index) {
            entries.set(id.index, entry);
        }
    }
}

/// The groups after `from` that are missing, up to `known` or to the last that is there.
fn gaps(from: u64, known: u64, there: impl Iterator<Item = u64>) -> Vec<RangeInclusive<u64>> {
    let mut gaps = Vec::new();
    let mut next = from + 1;
    for sequence in there {
        if sequence > next {
            gaps.push(next..=sequence - 1);
        }
        next = sequence + 1;
    }
    if next <= known {
        gaps.push(next..=known);
    }
    gaps
}
