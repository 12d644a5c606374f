//! Salvage: everything that is authentic is read out of a volume that is damaged or cannot be opened, and what is not
//! is told exactly. Nothing is changed, and nothing is guessed: a block is copied only if it is the newest of which
//! anything is left, and those that may have had a newer one are named.
//!
//! ```text
//! the log fits together ─► the tree and the log say what is newest
//! it does not           ─► the newest checkpoint, and every group after it that is left
//! a node is lost        ─► the descriptors of the groups: the newest record that any of them lists
//! ```

use std::ops::{Range, RangeInclusive};

use crate::{
    Anchor, Keys, VolumeError,
    buffer::FULL,
    check::{Report, why},
    finding::{Flaw, Observe, Progress},
    header::Header,
    keys::Vault,
    layout::{BLOCK, Entry, Place, SECTOR},
    overlay::Found,
    read::Records,
    segments::Segments,
    survey::{self, BEGINNING, NOWHERE, View},
    tree::NodeCache,
    walk::{Layers, Leaves, Lost, lost_before},
};

/// Bytes of tree nodes that a salvage keeps in memory.
const NODE_CACHE: usize = 4 << 20;
/// Blocks whose records are looked for at once where the tree is lost: 8 GiB, in about 100 MiB of memory.
const WINDOW: usize = 1 << 20;

/// Takes what could be read.
pub trait Target {
    /// The header of the volume, before anything else.
    ///
    /// # Errors
    /// End the salvage.
    fn begin(&mut self, header: &Header) -> Result<(), VolumeError>;

    /// What could be read of a block, in no particular order: where it belongs in the volume, in bytes, and 8192 bytes;
    /// 4096, if the rest of the block was lost before.
    ///
    /// # Errors
    /// End the salvage.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError>;
}

/// Where the log of a salvaged volume ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogEnd {
    /// The header names the end, and the log reaches it.
    Reached,
    /// The header names an end, or the header or the anchor a later group, that is not there.
    Missing,
    /// The volume was not closed: what was written last is there as far as it can be told, but it cannot be told whether
    /// more was cut off.
    NotStated,
}

/// What a salvage brought out, and what it did not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Salvaged {
    pub progress: Progress,
    /// Blocks that were copied, wholly.
    pub copied: u64,
    /// Blocks that hold data that cannot be read, in part at least.
    pub missing: Vec<Range<u64>>,
    /// Blocks of which nothing is known: they may have held data, or none.
    pub unknown: Vec<Range<u64>>,
    /// Blocks that were copied, authentic, but of which a newer version may be lost.
    pub maybe_old: Vec<Range<u64>>,
    /// Groups of the log that are missing. What they wrote or discarded is not known, so any block that was not written
    /// after them may be old, and one that reads as zeros may have held data.
    pub missing_groups: Vec<RangeInclusive<u64>>,
    pub end: LogEnd,
}

impl Salvaged {
    /// Whether nothing at all is missing.
    pub fn is_whole(&self) -> bool {
        let blocks = [&self.missing, &self.unknown, &self.maybe_old];
        blocks.iter().all(|ranges| ranges.is_empty())
            && self.missing_groups.is_empty()
            && self.end != LogEnd::Missing
    }
}

/// Reads what is left of volume `id` into `target`. Where its log does not contain the `anchor`, if one is known, all of
/// it may be old. `observe` is told what is wrong and how far it is.
///
/// # Errors
/// [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`], [`VolumeError::UnknownVersion`]; [`VolumeError::Damaged`]
/// if neither the header nor its copy can be read (without the salts in it nothing opens); [`VolumeError::Stopped`] if
/// the observer ends it; those of the target.
pub fn salvage<S: Segments>(
    segments: &S,
    id: &str,
    keys: impl Into<Keys>,
    anchor: Option<&Anchor>,
    target: &mut dyn Target,
    observe: &mut Observe<'_>,
) -> Result<Salvaged, VolumeError> {
    let mut report = Report::new(observe);
    let (header, vault) = report.unlock(segments, id, keys.into())?;
    target.begin(&header)?;
    let source = Source::open(segments, &header, &vault, anchor, &mut report)?;
    let nodes = NodeCache::new(NODE_CACHE);
    let records = Records { segments, vault: &vault, nodes: &nodes };
    let mut salvage = Salvage { header: &header, source, records, target, report, out: Brought::default() };
    if salvage.source.has_tree {
        salvage.follow_tree()?;
    } else {
        salvage.rebuild(0..header.blocks, &|_| true)?;
    }
    Ok(salvage.end())
}

/// What there is to be read.
struct Source {
    view: View,
    has_tree: bool,
    /// Groups up to this one are in the tree.
    in_tree: u64,
    /// Records from here on are certainly the newest.
    proven_from: Place,
    missing_groups: Vec<RangeInclusive<u64>>,
    end: LogEnd,
}

impl Source {
    /// Whether a record is certainly the newest. Those that the tree knows may be copies that lie behind a gap of the
    /// log, and yet be older.
    fn is_proven(&self, index: u64, place: Place) -> bool {
        let in_log = matches!(self.view.entries.find(index), Found::Point(_));
        self.proven_from == BEGINNING || (in_log && place >= self.proven_from)
    }

    fn open<S: Segments>(
        segments: &S,
        header: &Header,
        vault: &Vault,
        anchor: Option<&Anchor>,
        report: &mut Report<'_>,
    ) -> Result<Self, VolumeError> {
        let (recovered, rolled_back) = report.recover(segments, header, vault, anchor);
        let error = match recovered {
            Ok(recovered) => {
                report.progress.of = recovered.checkpoint.live_blocks;
                let last = recovered.position.sequence;
                let source = Self {
                    view: View { root: recovered.checkpoint.root(), entries: recovered.entries },
                    has_tree: true,
                    in_tree: recovered.checkpoint.from.sequence,
                    proven_from: BEGINNING,
                    missing_groups: Vec::new(),
                    end: header.end.map_or(LogEnd::NotStated, |_| LogEnd::Reached),
                };
                let lacks = anchor.filter(|_| rolled_back);
                return Ok(source.lacking(lacks, last));
            }
            Err(error) => error,
        };
        report.found(Flaw::Log, None, 0..0, why(error)?);
        let survey = survey::survey(segments, header, vault)?;
        report.survey(&survey, header);
        report.progress.of = survey.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.live_blocks);
        let end = match header.end {
            Some(end) if survey.last >= end.sequence => LogEnd::Reached,
            None if survey.known <= survey.last && !survey.strange => LogEnd::NotStated,
            _ => LogEnd::Missing,
        };
        let source = Self {
            view: survey.view,
            has_tree: survey.checkpoint.is_some(),
            in_tree: survey.in_tree,
            proven_from: survey.proven_from,
            missing_groups: survey.gaps,
            end,
        };
        let lacks = |anchor: &&Anchor| !anchor.is_known_to(header) || survey.last < anchor.sequence;
        Ok(source.lacking(anchor.filter(lacks), survey.last))
    }

    /// What is there may have been written before something that was anchored; `last` is the last group of it.
    fn lacking(mut self, anchor: Option<&Anchor>, last: u64) -> Self {
        let Some(anchor) = anchor else { return self };
        if last < anchor.sequence {
            self.missing_groups.push(last + 1..=anchor.sequence);
        }
        Self { proven_from: NOWHERE, end: LogEnd::Missing, ..self }
    }
}

/// Single blocks and ranges, in the order in which they were met.
#[derive(Default)]
struct Brought {
    copied: u64,
    missing: Vec<Range<u64>>,
    unknown: Vec<Range<u64>>,
    maybe_old: Vec<Range<u64>>,
}

struct Salvage<'a, 'o, S> {
    header: &'a Header,
    source: Source,
    records: Records<'a, S>,
    target: &'a mut dyn Target,
    report: Report<'o>,
    out: Brought,
}

impl<S: Segments> Salvage<'_, '_, S> {
    fn follow_tree(&mut self) -> Result<(), VolumeError> {
        let mut leaves = Leaves::default();
        while let Some(next) = leaves.next(&self.records, &self.source.view) {
            match next {
                Ok(leaf) => {
                    self.copy(leaf.blocks, true)?;
                    if let (Some(first), Some(last)) = (leaf.unknown.first(), leaf.unknown.last()) {
                        self.rebuild(*first..last + 1, &|index| leaf.unknown.contains(&index))?;
                    }
                    self.report.blocks(Vec::new(), leaf.unknown, leaf.error)?;
                }
                Err(lost) => self.lost(lost)?,
            }
        }
        Ok(())
    }

    fn lost(&mut self, lost: Lost) -> Result<(), VolumeError> {
        let blocks = lost.blocks(self.header.blocks);
        self.report.lost(lost, self.header.blocks)?;
        self.rebuild(blocks, &|_| true)
    }

    /// Looks in the descriptors of the groups for those of the blocks of which the tree says nothing any more.
    fn rebuild(&mut self, blocks: Range<u64>, lost: &dyn Fn(u64) -> bool) -> Result<(), VolumeError> {
        for start in blocks.clone().step_by(WINDOW) {
            let window = start..blocks.end.min(start + WINDOW as u64);
            let Records { segments, vault, .. } = self.records;
            let found = survey::rebuild(segments, self.header, vault, self.source.in_tree, &window)?;
            // What the log says after the checkpoint is newer, and is copied when it is met there.
            let newer = &self.source.view;
            let is_left = |index| lost(index) && newer.find(index) == Found::Below;
            let left = found.points().iter().filter(|(index, _)| is_left(**index));
            let left: Vec<(u64, Entry)> = left.map(|(index, entry)| (*index, *entry)).collect();
            let single = |index: &u64| *index..index + 1;
            let mut known: Vec<Range<u64>> = found.points().keys().map(single).collect();
            known.extend(newer.entries.points().range(window.clone()).map(|(index, _)| single(index)));
            known.extend(found.holes_in(window.clone()));
            known.extend(newer.entries.holes_in(window.clone()));
            let unknown = complement(known, &window).into_iter().flatten().filter(|index| lost(*index));
            self.out.unknown.extend(joined(unknown));
            self.copy(left, false)?;
        }
        Ok(())
    }

    /// Copies blocks. `newest`: their entries are the newest that there were, unless groups are missing.
    fn copy(&mut self, blocks: Vec<(u64, Entry)>, newest: bool) -> Result<(), VolumeError> {
        let Self { records, target, report, out, source, .. } = self;
        let count = blocks.len() as u64;
        let (mut missing, mut maybe_old) = (Vec::new(), Vec::new());
        records.open_each(blocks, &mut |index, entry, opened| {
            match opened {
                Ok((bytes, known)) => {
                    let offset = index * BLOCK as u64;
                    if known == FULL {
                        target.put(offset, bytes)?;
                        out.copied += 1;
                    } else {
                        let sectors = bytes.chunks(SECTOR).enumerate();
                        for (number, sector) in sectors.filter(|(number, _)| known >> number & 1 != 0) {
                            target.put(offset + (number * SECTOR) as u64, sector)?;
                        }
                        report.found(Flaw::Block, Some(entry.place), index..index + 1, lost_before(index));
                        missing.push(index..index + 1);
                    }
                    if !newest || !source.is_proven(index, entry.place) {
                        maybe_old.push(index..index + 1);
                    }
                }
                Err(error) => {
                    report.found(Flaw::Block, Some(entry.place), index..index + 1, why(error)?);
                    missing.push(index..index + 1);
                }
            }
            Ok(())
        })?;
        out.missing.extend(merged(missing));
        out.maybe_old.extend(merged(maybe_old));
        report.step(count, records.nodes);
        if report.flow.is_break() { Err(VolumeError::Stopped) } else { Ok(()) }
    }

    fn end(self) -> Salvaged {
        let Brought { copied, missing, unknown, maybe_old } = self.out;
        let mut progress = self.report.progress;
        if !self.source.has_tree {
            progress.of = progress.blocks;
        }
        Salvaged {
            progress,
            copied,
            missing: merged(missing),
            unknown: merged(unknown),
            maybe_old: merged(maybe_old),
            missing_groups: self.source.missing_groups,
            end: self.source.end,
        }
    }
}

/// Ascending blocks as ranges.
fn joined(blocks: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for index in blocks {
        match ranges.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => ranges.push(index..index + 1),
        }
    }
    ranges
}

/// Sorts ranges, and melts those that touch.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, before| {
        let touch = next.start <= before.end;
        if touch {
            before.end = before.end.max(next.end);
        }
        touch
    });
    ranges
}

/// What of `window` is in none of the ranges.
fn complement(ranges: Vec<Range<u64>>, window: &Range<u64>) -> Vec<Range<u64>> {
    let mut next = window.start;
    let mut rest = Vec::new();
    for range in merged(ranges) {
        rest.push(next..range.start);
        next = range.end;
    }
    rest.push(next..window.end);
    rest.retain(|range| !range.is_empty());
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_melt_and_their_complement_is_what_they_leave() {
        let ranges = vec![8..9, 2..4, 4..5, 3..4];
        assert_eq!(merged(ranges.clone()), [2..5, 8..9]);
        assert_eq!(complement(ranges, &(0..10)), [0..2, 5..8, 9..10]);
        assert_eq!(complement(vec![1..2, 4..5], &(0..5)), [0..1, 2..4]);
    }
}
