//! What a crash may leave: everything that a flush has acknowledged, and of what came after it a prefix in the order
//! in which it was answered, of whole writes.

use std::collections::BTreeMap;

use attach::Anchor;

use crate::{UNIT, journal::Line};

/// What a sector that was written holds, again and again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    pub version: u64,
    pub base: u64,
    pub sector: u64,
}

impl Stamp {
    pub fn sector(&self) -> Vec<u8> {
        let words = [self.version, self.base, self.sector, !self.version];
        words.map(u64::to_le_bytes).concat().repeat(UNIT / 32)
    }

    /// What is in a sector; nothing: zeros.
    ///
    /// # Errors
    /// It is torn, or belongs elsewhere.
    pub fn of(bytes: &[u8], sector: u64) -> Result<Option<Self>, String> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
        let stamp = Self { version: word(0), base: word(1), sector };
        if stamp.sector() == bytes {
            Ok(Some(stamp))
        } else {
            Err(format!("sector {sector} is torn or misplaced"))
        }
    }
}

/// What a sector is known to hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    pub version: u64,
    pub zeros: bool,
}

/// All sectors.
pub type State = Vec<Known>;

pub const NEW: Known = Known { version: 0, zeros: true };

/// A change of a sector.
#[derive(Clone, Copy, Debug)]
struct Change {
    version: u64,
    discard: bool,
    refused: bool,
}

/// The changes since a state that is known.
pub struct History<'a> {
    before: &'a State,
    changes: Vec<Vec<Change>>,
    units: BTreeMap<u64, std::ops::Range<u64>>,
    durable: u64,
}

impl<'a> History<'a> {
    pub fn new(before: &'a State, lines: &[Line]) -> Self {
        let refused: Vec<u64> = lines
            .iter()
            .filter_map(|line| if let Line::Refused { version } = line { Some(*version) } else { None })
            .collect();
        let mut changes = vec![Vec::new(); before.len()];
        let (mut units, mut durable) = (BTreeMap::new(), 0);
        for line in lines {
            match line {
                Line::Change { version, sectors, discard, .. } => {
                    let refused = refused.contains(version);
                    let change = Change { version: *version, discard: *discard, refused };
                    if !discard {
                        units.insert(*version, sectors.clone());
                    }
                    sectors.clone().for_each(|sector| changes[sector as usize].push(change));
                }
                Line::Durable { base } => durable = durable.max(*base),
                _ => {}
            }
        }
        Self { before, changes, units, durable }
    }

    /// What must be there beside: up to this version.
    pub fn at_least(mut self, base: u64) -> Self {
        self.durable = self.durable.max(base);
        self
    }

    /// Holds sectors that were found to it; the state they are in.
    ///
    /// # Panics
    /// If no crash may leave them so.
    pub fn check(&self, found: &[Option<Stamp>]) -> State {
        let base = found.iter().flatten().map(|stamp| stamp.base);
        let required = base.chain([self.durable]).max().unwrap_or(0);
        let state: State =
            (0..).zip(found).map(|(sector, found)| self.sector(sector, *found, required)).collect();
        for (sector, found) in found.iter().enumerate() {
            let Some(stamp) = found else { continue };
            for other in self.units.get(&stamp.version).into_iter().flat_map(Clone::clone) {
                let there = state[other as usize].version;
                assert!(
                    there >= stamp.version,
                    "the write {} is torn: it is in sector {sector}, but sector {other} is at {there}",
                    stamp.version
                );
            }
        }
        state
    }

    /// What a sector holds; of several versions that are possible, the last.
    fn sector(&self, sector: usize, found: Option<Stamp>, required: u64) -> Known {
        let before = self.before[sector];
        let changes = &self.changes[sector];
        let needed = changes.iter().filter(|change| change.version <= required && !change.refused);
        let floor = needed.map(|change| change.version).max().unwrap_or(before.version);
        let zeros = found.is_none();
        let after = changes.iter().filter(|change| change.discard == zeros).map(|change| change.version);
        let possible = after.chain((before.zeros == zeros).then_some(before.version));
        let version = possible.filter(|version| found.is_none_or(|stamp| stamp.version == *version)).max();
        match version {
            Some(version) if version >= floor => Known { version, zeros },
            _ => panic!(
                "sector {sector} has {found:?}, but must be at {floor} or later (all up to {required} must be there); \
                 before {before:?}, last changes {:?}",
                changes.iter().rev().take(8).collect::<Vec<_>>()
            ),
        }
    }
}

pub fn last_anchor(lines: &[Line]) -> Option<Anchor> {
    lines
        .iter()
        .rev()
        .find_map(|line| if let Line::Anchored { anchor } = line { Some(*anchor) } else { None })
}

pub fn next_version(lines: &[Line]) -> u64 {
    let next = |line: &Line| match line {
        Line::Change { version, .. } => Some(version + 1),
        Line::Begun { next } => Some(*next),
        _ => None,
    };
    lines.iter().filter_map(next).max().unwrap_or(1)
}
