//! A check of a volume that nobody writes to: everything that a read or an attach may need is read and opened, and what
//! does not open is told. Nothing is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::{ControlFlow, Range},
};

use crate::{
    Anchor, Keys, VolumeError,
    buffer::AlignedBuffer,
    checkpoint::Checkpoint,
    finding::{Finding, Flaw, Observe, Observed, Progress},
    header::Header,
    keys::Vault,
    layout::{ALIGN, BLOCK, Entry, Place},
    read::Records,
    replay::{self, Recovered},
    segments::Segments,
    survey::{self, SlotState, Survey, View},
    tree::NodeCache,
    volume::unlock_bytes,
    walk::{Layers, Leaves, Lost},
};

/// Bytes of tree nodes that a check keeps in memory.
const NODE_CACHE: usize = 4 << 20;

/// Checks volume `id`, whose log has to contain the `anchor`, if one is known, telling `observe` what is found and how
/// far it has come; [`ControlFlow::Break`] ends it. Returns how far it came, and whether that is the end.
///
/// # Errors
/// [`VolumeError::WrongVolume`], [`VolumeError::WrongKey`], [`VolumeError::UnknownVersion`], [`VolumeError::Io`] if not
/// even the header or the names of the segments can be read. Damage is no error.
pub fn check<S: Segments>(
    segments: &S,
    id: &str,
    keys: impl Into<Keys>,
    anchor: Option<&Anchor>,
    observe: &mut Observe<'_>,
) -> Result<(Progress, ControlFlow<()>), VolumeError> {
    let mut report = Report::new(observe);
    let (header, vault) = match report.unlock(segments, id, keys.into()) {
        Ok(unlocked) => unlocked,
        Err(VolumeError::Damaged(what)) => {
            report.found(Flaw::Header, None, 0..0, what);
            return Ok(report.end());
        }
        Err(error) => return Err(error),
    };
    let (recovered, _) = report.recover(segments, &header, &vault, anchor);
    let (view, checkpoint) = match recovered {
        Ok(recovered) => {
            let view = View { root: recovered.checkpoint.root(), entries: recovered.entries };
            (view, Some(recovered.checkpoint))
        }
        Err(error) => {
            report.found(Flaw::Log, None, 0..0, why(error)?);
            let survey = survey::survey(segments, &header, &vault)?;
            report.survey(&survey, &header);
            (survey.view, survey.checkpoint)
        }
    };
    report.progress.of = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.live_blocks);
    for (number, state) in survey::slots(segments, &header, &vault)?.into_iter().enumerate() {
        report.slot(number, state);
    }
    report.segments(segments, &header, checkpoint.as_ref())?;
    let nodes = NodeCache::new(NODE_CACHE);
    let records = Records { segments, vault: &vault, nodes: &nodes };
    report.leaves(&records, &view, header.blocks)?;
    if let (Some(checkpoint), ControlFlow::Continue(())) = (checkpoint, report.flow) {
        report.count(&records, &checkpoint)?;
    }
    Ok(report.end())
}

/// Collects what is found, and passes it on.
pub(crate) struct Report<'a> {
    observe: &'a mut Observe<'a>,
    pub progress: Progress,
    pub flow: ControlFlow<()>,
}

impl<'a> Report<'a> {
    pub fn new(observe: &'a mut Observe<'a>) -> Self {
        Self { observe, progress: Progress::default(), flow: ControlFlow::Continue(()) }
    }

    pub fn end(self) -> (Progress, ControlFlow<()>) {
        (self.progress, self.flow)
    }

    pub fn found(&mut self, flaw: Flaw, place: Option<Place>, blocks: Range<u64>, what: impl Into<String>) {
        let finding = Finding { flaw, place, blocks, what: what.into() };
        self.progress.findings += 1;
        self.progress.damage += u64::from(flaw.is_damage());
        self.tell(Observed::Found(&finding));
    }

    /// Counts what was read of a piece, and lets the observer rest.
    pub fn step(&mut self, blocks: u64, nodes: &NodeCache) {
        self.progress.blocks += blocks;
        self.progress.nodes = nodes.loaded();
        self.progress.bytes = (self.progress.blocks + self.progress.nodes) * BLOCK as u64;
        let progress = self.progress;
        self.tell(Observed::Step(&progress));
    }

    fn tell(&mut self, observed: Observed<'_>) {
        if self.flow.is_continue() {
            self.flow = (self.observe)(observed);
        }
    }

    /// The header, or its copy if it cannot be read itself, or is not authentic.
    ///
    /// # Errors
    /// As [`unlock_bytes`] and [`Report::header`].
    pub fn unlock(
        &mut self,
        segments: &impl Segments,
        id: &str,
        keys: Keys,
    ) -> Result<(Header, Vault), VolumeError> {
        let (header, copy) = self.header(segments)?;
        match (unlock_bytes(&header, id, keys.again()), copy) {
            (Err(VolumeError::Damaged(what)), Some(copy)) => {
                self.found(Flaw::Header, None, 0..0, what);
                unlock_bytes(&copy, id, keys)
            }
            (unlocked, _) => unlocked,
        }
    }

    /// The bytes of the header, or of its copy if it cannot be read itself; and those of the copy, if they are others.
    ///
    /// # Errors
    /// [`VolumeError::Damaged`] if neither can be read, [`VolumeError::UnknownVersion`].
    pub fn header(&mut self, segments: &impl Segments) -> Result<(Vec<u8>, Option<Vec<u8>>), VolumeError> {
        let parsed = |read: io::Result<Vec<u8>>| {
            let bytes = read.map_err(|e| VolumeError::io("read the header", e))?;
            Header::parse(&bytes).map(|_| bytes)
        };
        let copy = parsed(segments.read_header_copy());
        match (parsed(segments.read_header()), copy) {
            (Ok(header), Ok(copy)) => {
                if header == copy {
                    return Ok((header, None));
                }
                self.found(Flaw::Header, None, 0..0, "the copy of the header is another");
                Ok((header, Some(copy)))
            }
            (Ok(header), Err(VolumeError::Io { source, .. })) if source.kind() == io::ErrorKind::NotFound => {
                Ok((header, None)) // a volume of an earlier version
            }
            (Ok(header), Err(error)) => {
                self.found(Flaw::Header, None, 0..0, format!("of the copy: {}", why(error)?));
                Ok((header, None))
            }
            (Err(VolumeError::UnknownVersion(version)), _) => Err(VolumeError::UnknownVersion(version)),
            (Err(error), Ok(copy)) => {
                self.found(Flaw::Header, None, 0..0, why(error)?);
                Ok((copy, None))
            }
            (Err(error), Err(_)) => Err(VolumeError::Damaged(format!(
                "{}, and there is no copy: without the salts in it nothing can be opened",
                why(error)?
            ))),
        }
    }

    /// Recovers a volume, also an older one than was anchored: that is told, and said.
    pub fn recover(
        &mut self,
        segments: &impl Segments,
        header: &Header,
        vault: &Vault,
        anchor: Option<&Anchor>,
    ) -> (Result<Recovered, VolumeError>, bool) {
        match replay::recover(segments, header, vault, anchor) {
            Err(error @ VolumeError::RolledBack { .. }) => {
                self.found(Flaw::Log, None, 0..0, error.to_string());
                (replay::recover(segments, header, vault, None), true)
            }
            recovered => (recovered, false),
        }
    }

    /// Tells what a log is lacking.
    pub fn survey(&mut self, survey: &Survey, header: &Header) {
        if survey.checkpoint.is_none() {
            self.found(Flaw::Log, None, 0..header.blocks, "no checkpoint can be read");
        }
        for gap in &survey.gaps {
            let (first, last) = (gap.start(), gap.end());
            self.found(Flaw::Log, None, 0..0, format!("groups {first} to {last} of the log are missing"));
        }
        if survey.strange {
            self.found(Flaw::Log, None, 0..0, "there are groups that the header does not know");
        }
    }

    pub fn slot(&mut self, number: usize, state: SlotState) {
        let what = match state {
            SlotState::Blank | SlotState::Of(_) => return,
            SlotState::Unreadable => format!("slot {number} of the checkpoint does not open"),
            SlotState::Newer => format!("slot {number} of the checkpoint is newer than the header"),
        };
        self.found(Flaw::Slot, None, 0..0, what);
    }

    /// Looks at which segments there are.
    fn segments(
        &mut self,
        segments: &impl Segments,
        header: &Header,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(), VolumeError> {
        let listed = survey::list(segments)?;
        let mut behind = AlignedBuffer::new(ALIGN);
        for &segment in &listed {
            if segments.read(segment, header.segment_size, &mut behind).is_ok_and(|read| read > 0) {
                let place = Place { segment, offset: header.segment_size };
                self.found(Flaw::Segment, Some(place), 0..0, format!("segment {segment} is too long"));
            }
        }
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        for (segment, usage) in checkpoint.usage.iter().filter(|(segment, _)| !listed.contains(segment)) {
            let place = Place { segment: *segment, offset: 0 };
            let what = format!("segment {segment} is missing, with {} live records", usage.live);
            self.found(Flaw::Segment, Some(place), 0..0, what);
        }
        let old = listed.range(..checkpoint.from.place.segment);
        for &segment in old.filter(|segment| !checkpoint.usage.contains_key(segment)) {
            let place = Place { segment, offset: 0 };
            self.found(Flaw::Leftover, Some(place), 0..0, format!("nothing in segment {segment} is needed"));
        }
        Ok(())
    }

    /// Reads everything that the tree and the log over it lead to.
    fn leaves<S: Segments>(
        &mut self,
        records: &Records<'_, S>,
        layers: &impl Layers,
        blocks: u64,
    ) -> Result<(), VolumeError> {
        let mut leaves = Leaves::default();
        while self.flow.is_continue() {
            match leaves.next(records, layers) {
                None => break,
                Some(Err(lost)) => self.lost(lost, blocks)?,
                Some(Ok(leaf)) => {
                    let count = leaf.blocks.len() as u64;
                    let failed = records.find_damage(leaf.blocks)?;
                    self.blocks(failed, leaf.unknown, leaf.error)?;
                    self.step(count, records.nodes);
                }
            }
        }
        Ok(())
    }

    /// Tells of a node that cannot be read, of a volume of so many blocks.
    pub fn lost(&mut self, lost: Lost, blocks: u64) -> Result<(), VolumeError> {
        let beneath = lost.blocks(blocks);
        self.found(Flaw::Node, lost.place, beneath, why(lost.error)?);
        Ok(())
    }

    /// Tells of the blocks of a leaf that cannot be read, and of those that cannot be found.
    pub fn blocks(
        &mut self,
        failed: Vec<(u64, Entry, String)>,
        unknown: Vec<u64>,
        error: Option<VolumeError>,
    ) -> Result<(), VolumeError> {
        for (index, entry, what) in failed {
            self.found(Flaw::Block, Some(entry.place), index..index + 1, what);
        }
        if let (Some(error), Some(first), Some(last)) = (error, unknown.first(), unknown.last()) {
            self.found(Flaw::Node, None, *first..last + 1, why(error)?);
        }
        Ok(())
    }

    /// Compares the live records that the checkpoint counts with those of the tree.
    fn count<S: Segments>(
        &mut self,
        records: &Records<'_, S>,
        checkpoint: &Checkpoint,
    ) -> Result<(), VolumeError> {
        let mut live = BTreeMap::new();
        match records.count_live(checkpoint.root(), &mut live) {
            Err(VolumeError::Locked) => return Err(VolumeError::Locked),
            Err(_) => return Ok(()), // it was told before
            Ok(()) => {}
        }
        let counted: BTreeMap<u32, u32> =
            checkpoint.usage.iter().map(|(segment, usage)| (*segment, usage.live)).collect();
        let all: BTreeSet<u32> = live.keys().chain(counted.keys()).copied().collect();
        for segment in all {
            let of = |counts: &BTreeMap<u32, u32>| counts.get(&segment).copied().unwrap_or(0);
            let (found, said) = (of(&live), of(&counted));
            if found != said {
                let what = format!("segment {segment} has {found} live records, the checkpoint says {said}");
                self.found(Flaw::Count, Some(Place { segment, offset: 0 }), 0..0, what);
            }
        }
        Ok(())
    }
}

/// What is wrong with a record, for people.
///
/// # Errors
/// [`VolumeError::Locked`]: then nothing is known of the record.
pub(crate) fn why(error: VolumeError) -> Result<String, VolumeError> {
    match error {
        VolumeError::Damaged(what) => Ok(what),
        VolumeError::Io { action, source } => Ok(format!("cannot {action}: {source}")),
        error => Err(error),
    }
}
