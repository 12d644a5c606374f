//! How much space a volume takes, when that is too much, and when what is dead is worth a checkpoint (decision 0124).
//!
//! What is live is what the tree of the last checkpoint refers to. Everything else that lies in segments is dead: what
//! was overwritten, the log since the checkpoint, copies that no checkpoint has entered yet, space not written yet.
//! Segments that the next checkpoint removes are left out.

use crate::{
    layout::BLOCK,
    segments::Segments,
    state::{State, Status},
    volume::Volume,
};

/// What segments may take: percent of what is live, or what is live and so many segments, whichever is more.
#[derive(Clone, Copy)]
struct Limit {
    percent: u64,
    segments: u64,
}

/// Cleaning begins beyond this,
const BEGIN: Limit = Limit { percent: 137, segments: 4 };
/// ends within this,
const END: Limit = Limit { percent: 135, segments: 3 };
/// and is most urgent at this.
const URGENT: Limit = Limit { percent: 145, segments: 6 };
/// Parts of the live data: the log, or what was discarded in it, that makes a checkpoint due;
const LOG_PART: u64 = 8;
/// and the segments that wait for one to be removed.
const WAITING_PART: u64 = 16;

/// What a volume takes. Bytes.
pub(crate) struct Space {
    /// Of segments.
    taken: u64,
    /// What is live in them.
    live: u64,
    /// Of one segment.
    size: u64,
}

impl Space {
    fn limit(&self, limit: Limit) -> u64 {
        (self.live * limit.percent / 100).max(self.live + limit.segments * self.size)
    }

    /// Whether there is something to clean; for a cleaner that has not begun, more has to be dead.
    pub fn is_due(&self, begun: bool) -> bool {
        self.taken > self.limit(if begun { END } else { BEGIN })
    }

    /// Percent; 0 if there is nothing to clean.
    fn urgency(&self) -> u8 {
        let (begin, urgent) = (self.limit(BEGIN), self.limit(URGENT));
        match self.taken.checked_sub(begin) {
            None | Some(0) => 0,
            Some(over) => (over * 100 / (urgent - begin)).clamp(1, 100) as u8,
        }
    }

    /// Leaves a segment out, which somebody else holds as well: its removal would give nothing back.
    pub fn leave_out(&mut self, live: u64) {
        self.taken -= self.size;
        self.live -= live;
    }
}

impl<S: Segments> Volume<S> {
    /// How urgent cleaning is, in percent; 0 if too little is dead. What a snapshot holds as well counts too, though
    /// cleaning would not free it.
    pub fn clean_urgency(&self) -> u8 {
        self.space().urgency()
    }

    /// Whether enough has changed since the last checkpoint: the log is long, in bytes or in blocks, or much was
    /// discarded in it.
    pub fn checkpoint_is_due(&self) -> bool {
        let state = self.state();
        let most = self.part_of_live(&state, LOG_PART);
        state.status == Status::Running
            && (state.log_bytes >= most.min(self.options.checkpoint_after)
                || state.discarded >= most / BLOCK as u64
                || self.nodes_may_be_many(&state))
    }

    /// Whether what the cleaner has done is worth a checkpoint.
    pub(crate) fn much_waits(&self) -> bool {
        let state = self.state();
        // In whole segments, rounded down: each is a good part of a volume of a gigabyte.
        let most = self.part_of_live(&state, WAITING_PART) / u64::from(self.segment_size);
        state.emptied.len() as u64 >= most || self.nodes_may_be_many(&state)
    }

    /// Whether the next checkpoint may write as many nodes as fit into the space that is kept for it: two segments, less
    /// a little at their ends. Each block that has changed may need a node of its own.
    fn nodes_may_be_many(&self, state: &State) -> bool {
        let most = (2 * self.segment_size as usize / BLOCK * 15 / 16).max(1);
        state.entries.points().len() + state.moved.len() + state.moving.len() >= most
    }

    /// Bytes; a segment at least.
    fn part_of_live(&self, state: &State, part: u64) -> u64 {
        (state.live_blocks * BLOCK as u64 / part).max(self.segment_size.into())
    }

    pub(crate) fn space(&self) -> Space {
        let state = self.state();
        let size = u64::from(self.segment_size);
        let stuck: u64 = state.stuck.iter().map(|segment| state.live_in(*segment)).sum();
        let left_out = state.stuck.union(&state.emptied).count();
        Space {
            taken: (state.segments.len() - left_out) as u64 * size,
            live: state.live_records * BLOCK as u64 - stuck,
            size,
        }
    }

    /// Segments that may be cleaned, ascending, each with its live bytes. One without any goes away by itself.
    pub(crate) fn movable(&self) -> Vec<(u32, u64)> {
        let state = self.state();
        let old = state.usage.range(..state.replay_from).map(|(segment, _)| *segment);
        let movable = old.filter(|segment| !state.is_spoken_for(*segment));
        movable.map(|segment| (segment, state.live_in(segment))).collect()
    }
}
