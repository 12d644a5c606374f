//! The plain array: what a volume must hold, sector by sector, and what a crash may leave of it.

use std::ops::Range;

use volume::{SECTOR, Segments, Volume, VolumeError};

/// A change as it was taken over: an atomic unit.
#[derive(Clone, Debug)]
struct Change {
    sectors: Range<u64>,
    /// The stamp of the first sector; the next ones count on. 0: zeros.
    stamp: u64,
}

/// A sector of stamp `s` holds `s` again and again; one of zeros was never written or was discarded.
#[derive(Clone, Debug)]
pub struct Model {
    current: Vec<u64>,
    /// What the last flush made durable.
    durable: Vec<u64>,
    since: Vec<Change>,
    stamp: u64,
    /// Sizes, in sectors, to which the volume was to grow: a failure or a crash may have left any of them.
    attempted: Vec<u64>,
}

impl Model {
    pub fn new(sectors: u64) -> Self {
        let zeros = vec![0; sectors as usize];
        Self { current: zeros.clone(), durable: zeros, since: Vec::new(), stamp: 0, attempted: Vec::new() }
    }

    pub fn sectors(&self) -> u64 {
        self.current.len() as u64
    }

    /// Bytes to be written to some sectors, never the same twice.
    pub fn stamped(&mut self, sectors: &Range<u64>) -> (u64, Vec<u8>) {
        let first = self.stamp + 1;
        self.stamp += sectors.end - sectors.start;
        let stamps = first..first + (sectors.end - sectors.start);
        (first, stamps.flat_map(|stamp| stamp.to_le_bytes().repeat(SECTOR / 8)).collect())
    }

    /// A change was taken over.
    pub fn changed(&mut self, sectors: Range<u64>, stamp: u64) {
        let change = Change { sectors, stamp };
        apply(&mut self.current, &change);
        self.since.push(change);
    }

    /// The volume is told to grow.
    pub fn growing(&mut self, sectors: u64) {
        self.attempted.push(sectors);
    }

    /// The volume has so many sectors, durably.
    pub fn grown(&mut self, sectors: u64) {
        self.current.resize(sectors as usize, 0);
        self.durable.resize(sectors as usize, 0);
    }

    /// Everything is durable.
    pub fn flushed(&mut self) {
        self.durable.clone_from(&self.current);
        self.since.clear();
    }

    /// What sectors hold now.
    pub fn expected(&self, sectors: Range<u64>) -> &[u64] {
        &self.current[sectors.start as usize..sectors.end as usize]
    }

    /// Checks a volume after a crash: it holds what was durable, and a prefix of what came after. That is the state
    /// from here on.
    pub fn recover<S: Segments>(&mut self, volume: &Volume<S>) -> Result<(), VolumeError> {
        let sectors = volume.size() / SECTOR as u64;
        assert!(sectors == self.sectors() || self.attempted.contains(&sectors), "a size out of nowhere");
        self.grown(sectors);
        let found = read(volume, 0..sectors)?;
        self.attempted.clear();
        let mut state = self.durable.clone();
        let mut changes = self.since.iter();
        while state != found {
            let Some(change) = changes.next() else {
                panic!("{}", difference(&self.durable, &self.current, &found))
            };
            apply(&mut state, change);
        }
        self.current = found;
        self.flushed();
        Ok(())
    }
}

fn apply(state: &mut [u64], change: &Change) {
    for (sector, position) in change.sectors.clone().zip(0..) {
        state[sector as usize] = if change.stamp == 0 { 0 } else { change.stamp + position };
    }
}

fn difference(durable: &[u64], current: &[u64], found: &[u64]) -> String {
    let mut text =
        String::from("no prefix of the history leads to what was found; sector: durable, last, found\n");
    for (sector, found) in found.iter().enumerate() {
        if *found != durable[sector] || *found != current[sector] {
            text += &format!("{sector}: {}, {}, {found}\n", durable[sector], current[sector]);
        }
    }
    text
}

/// The stamps of sectors as a volume has them.
///
/// # Panics
/// If a sector is not of one piece.
pub fn read<S: Segments>(volume: &Volume<S>, sectors: Range<u64>) -> Result<Vec<u64>, VolumeError> {
    let mut bytes = vec![0xee; (sectors.end - sectors.start) as usize * SECTOR];
    volume.read(sectors.start * SECTOR as u64, &mut bytes)?;
    Ok(stamps(&bytes))
}

/// The stamps of sectors.
///
/// # Panics
/// If a sector is not of one piece.
pub fn stamps(bytes: &[u8]) -> Vec<u64> {
    let stamp = |sector: &[u8]| {
        let (first, rest) = sector.split_first_chunk::<8>().unwrap();
        assert!(rest.chunks_exact(8).all(|other| other == first), "a sector is torn");
        u64::from_le_bytes(*first)
    };
    bytes.chunks_exact(SECTOR).map(stamp).collect()
}
