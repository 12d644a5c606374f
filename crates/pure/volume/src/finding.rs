//! What a check finds, and how it tells.

use std::{
    fmt,
    ops::{ControlFlow, Range},
};

use crate::layout::Place;

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// The header, or its copy.
    Header,
    /// One of the two slots that name the checkpoint does not open. The other one is used.
    Slot,
    /// The checkpoint or the log do not fit together: an attach would refuse the volume.
    Log,
    /// A node of the tree: what lies beneath it is out of reach.
    Node,
    /// A block that holds data.
    Block,
    /// A segment is missing, or is longer than one can be.
    Segment,
    /// The live records that the checkpoint counts are not those that the tree has.
    Count,
    /// A segment, or a file, that nothing needs.
    Leftover,
}

impl Flaw {
    /// Whether something is not as it was written. Leftovers only take space.
    pub fn is_damage(self) -> bool {
        self != Self::Leftover
    }

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Header,
        Self::Slot,
        Self::Log,
        Self::Node,
        Self::Block,
        Self::Segment,
        Self::Count,
        Self::Leftover,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Slot => "slot",
            Self::Log => "log",
            Self::Node => "node",
            Self::Block => "block",
            Self::Segment => "segment",
            Self::Count => "count",
            Self::Leftover => "leftover",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    pub flaw: Flaw,
    /// Where on the disk, if that is one place.
    pub place: Option<Place>,
    /// The blocks (8 KiB) that cannot be read because of it, at most; empty if it does not come to that.
    pub blocks: Range<u64>,
    /// What is wrong, for people.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.blocks.is_empty() {
            write!(f, " (blocks {} to {})", self.blocks.start, self.blocks.end - 1)?;
        }
        Ok(())
    }
}

/// How far a check or a salvage has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Blocks of data looked at.
    pub blocks: u64,
    /// Blocks of data that there are, as of the last checkpoint.
    pub of: u64,
    /// Nodes of the tree looked at.
    pub nodes: u64,
    /// Bytes read of blocks and nodes.
    pub bytes: u64,
    /// Findings that are damage.
    pub damage: u64,
    /// Findings in all.
    pub findings: u64,
}

/// What the observer of a check is told.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    Found(&'a Finding),
    /// After each piece of at most 2 MiB of data. Time that the observer takes is time that the disk is free for others.
    Step(&'a Progress),
}

/// Is told of findings and progress; [`ControlFlow::Break`] ends what is going on.
pub type Observe<'a> = dyn FnMut(Observed<'_>) -> ControlFlow<()> + 'a;
