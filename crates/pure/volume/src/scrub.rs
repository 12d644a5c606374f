//! The check of an open volume, in steps, while it is read, written, cleaned and checkpointed. Each leaf is looked at as
//! of one checkpoint: if another comes in between, which may remove segments, the leaf is looked at again.

use std::sync::PoisonError;

use crate::{
    VolumeError,
    check::{Report, why},
    finding::{Flaw, Observe, Progress},
    header::Header,
    layout::{BLOCK, Entry},
    overlay::Found,
    read::Records,
    replay::Replay,
    segments::Segments,
    state::Status,
    survey,
    tree::{NodeCache, Root},
    volume::Volume,
    walk::{Layers, Leaves},
};

/// Bytes of tree nodes that a scrub keeps in memory: its own, for what it reads is to come from the disk.
const NODE_CACHE: usize = 4 << 20;
/// Tries of a leaf during which checkpoints keep coming in between.
const TRIES: usize = 16;

/// Where a scrub stands.
pub struct Scrub {
    begun: bool,
    leaves: Leaves,
    nodes: NodeCache,
    progress: Progress,
    ended: bool,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            begun: false,
            leaves: Leaves::default(),
            nodes: NodeCache::new(NODE_CACHE),
            progress: Progress::default(),
            ended: false,
        }
    }
}

impl Scrub {
    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether the observer has ended it.
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

impl<S: Segments> Volume<S> {
    /// Looks at the next pieces of the volume, until about `budget` bytes were read (a piece has up to 2 MiB of data);
    /// says whether there is more. The first step looks at header, slots and log. What is not written yet is not looked
    /// at. `observe` is told of findings; [`std::ops::ControlFlow::Break`] ends the step.
    ///
    /// # Errors
    /// [`VolumeError::Locked`], [`VolumeError::Io`] if not even the header can be read. Damage is no error.
    pub fn scrub_step(
        &self,
        scrub: &mut Scrub,
        budget: u64,
        observe: &mut Observe<'_>,
    ) -> Result<bool, VolumeError> {
        let mut report = Report::new(observe);
        report.progress = scrub.progress;
        report.progress.of = self.usages().live_blocks;
        let enough = report.progress.bytes + budget;
        let mut more = true;
        if !scrub.begun {
            self.scrub_front(&mut report)?;
            scrub.begun = true;
        }
        while more && report.flow.is_continue() && report.progress.bytes < enough {
            more = self.scrub_leaf(scrub, &mut report)?;
        }
        scrub.progress = report.progress;
        scrub.ended = report.flow.is_break();
        Ok(more)
    }

    /// What the next attach begins with.
    fn scrub_front(&self, report: &mut Report<'_>) -> Result<(), VolumeError> {
        // Slots are written, and segments removed, by checkpoints alone.
        let _no_checkpoint = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let (header, end) = {
            let log = self.log();
            let header = match report.header(&self.segments) {
                Ok((bytes, _)) => Header::parse(&bytes)?,
                Err(VolumeError::Damaged(what)) => {
                    report.found(Flaw::Header, None, 0..0, what);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if header != log.header {
                report.found(Flaw::Header, None, 0..0, "the header is not the one that was written last");
                return Ok(());
            }
            (header, self.state().head)
        };
        for (number, state) in survey::slots(&self.segments, &header, &self.vault)?.into_iter().enumerate() {
            report.slot(number, state);
        }
        match Replay::new(&self.segments, &header, &self.vault).reach(&end) {
            Err(VolumeError::Locked) => Err(VolumeError::Locked),
            Err(error) => {
                report.found(Flaw::Log, None, 0..0, why(error)?);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Looks at the next leaf; false if there is none.
    fn scrub_leaf(&self, scrub: &mut Scrub, report: &mut Report<'_>) -> Result<bool, VolumeError> {
        let records = Records { nodes: &scrub.nodes, ..self.records() };
        let mut tries = 0;
        loop {
            tries += 1;
            // Should there ever be checkpoints all the time, they wait for once.
            let last_try = || self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
            let _no_checkpoint = (tries == TRIES).then(last_try);
            let version = self.version()?;
            let mut leaves = scrub.leaves;
            let next = leaves.next(&records, &Layered(self));
            let (mut count, mut failed) = (0, Vec::new());
            if let Some(Ok(leaf)) = &next {
                count = leaf.blocks.len() as u64;
                failed = records.find_damage(leaf.blocks.clone())?;
            }
            if self.version()? != version {
                continue;
            }
            scrub.leaves = leaves;
            match next {
                None => return Ok(false),
                Some(Err(lost)) => report.lost(lost, self.size() / BLOCK as u64)?,
                Some(Ok(leaf)) => report.blocks(failed, leaf.unknown, leaf.error)?,
            }
            report.step(count, &scrub.nodes);
            return Ok(true);
        }
    }

    /// Checkpoints since the open.
    fn version(&self) -> Result<u64, VolumeError> {
        let state = self.state();
        if state.status == Status::Locked { Err(VolumeError::Locked) } else { Ok(state.version) }
    }
}

/// What an open volume knows that is on the disk.
struct Layered<'a, S>(&'a Volume<S>);

impl<S: Segments> Layers for Layered<'_, S> {
    fn root(&self) -> Root {
        self.0.state().root
    }

    fn next_point(&self, first: u64) -> Option<u64> {
        let state = self.0.state();
        let layers = std::iter::once(&state.entries).chain(state.merging.as_deref());
        layers.filter_map(|layer| layer.points().range(first..).next().map(|(index, _)| *index)).min()
    }

    fn find(&self, index: u64) -> Found<Entry> {
        let state = self.0.state();
        for layer in std::iter::once(&state.entries).chain(state.merging.as_deref()) {
            match layer.find(index) {
                Found::Point(entry) => return Found::Point(*entry),
                Found::Hole => return Found::Hole,
                Found::Below => {}
            }
        }
        Found::Below
    }
}
