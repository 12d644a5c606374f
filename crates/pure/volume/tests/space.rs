//! The space that a volume takes at every moment of long histories, and what the cleaner writes to keep it
//! (decision 0124).

mod sim;

use std::{ops::Range, sync::Arc};

use sim::{ID, Random, SeededEntropy, key, memory::Memory};
use volume::{BLOCK, Options, Volume};

const SEGMENT: u32 = 1 << 20;
/// Blocks between two flushes.
const TURN: u64 = 8;
/// Bytes that the cleaner moves at once.
const STEP: usize = 8 * BLOCK;
/// Segments beyond what is live, whatever that is.
const FEW: u64 = 7;

/// A volume at work. Every block of the device holds its own value, or is discarded.
struct Work {
    volume: Volume<Memory>,
    content: Vec<u8>,
    random: Random,
    /// Blocks written since the last turn.
    since: u64,
    /// Bytes that the cleaner may move before others write again.
    credit: u64,
    /// Bytes written by others.
    written: u64,
    /// Whether every moment is to be within the bound.
    bounded: bool,
}

/// What a phase cost, for each byte written.
struct Cost {
    copied: f64,
    /// Bytes of everything: blocks, copies, descriptors, nodes.
    all: f64,
}

impl Work {
    /// A full volume.
    fn new(segments: u64) -> Self {
        let disk = Memory::default();
        let size = segments * u64::from(SEGMENT);
        Volume::create(&disk, ID, &key(), &[], size, SEGMENT, &SeededEntropy::new(2)).unwrap();
        let entropy = Arc::new(SeededEntropy::new(3));
        let volume = Volume::open(disk, ID, key(), entropy, Options::default()).unwrap();
        let blocks = size / BLOCK as u64;
        let content = vec![0; blocks as usize];
        let random = Random::new(4);
        let mut work = Self { volume, content, random, since: 0, credit: 0, written: 0, bounded: false };
        (0..blocks).for_each(|index| work.write(index));
        work
    }

    fn blocks(&self) -> u64 {
        self.content.len() as u64
    }

    fn write(&mut self, index: u64) {
        let value = self.random.below(255) as u8 + 1;
        self.volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
        self.content[index as usize] = value;
        self.written += BLOCK as u64;
        self.since += 1;
        if self.since == TURN {
            self.turn();
        }
    }

    fn discard(&mut self, blocks: Range<u64>) {
        let length = blocks.end - blocks.start;
        self.volume.discard(blocks.start * BLOCK as u64, length * BLOCK as u64).unwrap();
        self.content[blocks.start as usize..blocks.end as usize].fill(0);
        self.turn();
    }

    /// Works as the thread of a device does: a checkpoint when one is due, and the cleaner with its share of the time.
    fn turn(&mut self) {
        self.volume.flush().unwrap();
        if self.volume.checkpoint_is_due() {
            self.volume.checkpoint().unwrap();
        }
        let share = u64::from(self.volume.clean_urgency()).clamp(10, 95);
        self.credit += self.since * BLOCK as u64 * share / (100 - share);
        self.since = 0;
        while self.credit >= STEP as u64 {
            let before = self.volume.usages().cleaned_bytes;
            let more = self.volume.clean_step(STEP).unwrap();
            let moved = self.volume.usages().cleaned_bytes - before;
            self.look();
            // A step that finds everything dead takes time as well.
            self.credit -= if more { moved.max(STEP as u64 / 8).min(self.credit) } else { self.credit };
        }
        self.look();
    }

    /// Bytes of segments, and what is live in them.
    fn space(&self) -> (u64, u64) {
        let usages = self.volume.usages();
        (usages.segments * u64::from(SEGMENT), usages.live_blocks * BLOCK as u64)
    }

    fn look(&self) {
        let (used, live) = self.space();
        let size = u64::from(SEGMENT);
        let bound = (live * 3 / 2).max(live + FEW * size).next_multiple_of(size);
        assert!(!self.bounded || used <= bound, "{used} bytes for {live}");
    }

    /// Does something and says what it cost.
    fn cost(&mut self, work: impl FnOnce(&mut Self)) -> Cost {
        self.written = 0;
        let (all, copied) = (self.volume.segments().written(), self.volume.usages().cleaned_bytes);
        work(self);
        let of = |bytes: u64| bytes as f64 / self.written as f64;
        Cost {
            copied: of(self.volume.usages().cleaned_bytes - copied),
            all: of(self.volume.segments().written() - all),
        }
    }

    fn anywhere(&mut self) -> u64 {
        let blocks = self.blocks();
        self.random.below(blocks)
    }

    /// Nine of ten go to a tenth of the blocks, as the pages of a database do.
    fn mostly_hot(&mut self) -> u64 {
        let blocks = self.blocks();
        if self.random.chance(10) { self.anywhere() } else { self.random.below(blocks / 10) * 10 }
    }

    fn overwrite(&mut self, writes: u64, next: impl Fn(&mut Self) -> u64) {
        for _ in 0..writes {
            let index = next(self);
            self.write(index);
        }
    }

    fn check(&self) {
        let mut block = [0; BLOCK];
        for (index, value) in (0..).zip(&self.content) {
            self.volume.read(index * BLOCK as u64, &mut block).unwrap();
            assert!(block.iter().all(|byte| byte == value), "block {index}");
        }
    }
}

/// Every moment of a long history is within the bound.
fn stays_within_the_bound(segments: u64) {
    let mut work = Work::new(segments);
    let blocks = work.blocks();
    work.overwrite(2 * blocks, Work::anywhere);
    work.bounded = true;
    let uniform = work.cost(|work| work.overwrite(3 * blocks, Work::anywhere));
    let hot = work.cost(|work| work.overwrite(4 * blocks, Work::mostly_hot));
    let sequential = work.cost(|work| (0..2 * blocks).for_each(|number| work.write(number % blocks)));
    // A log that is written over and over beside data that is mostly hot; what is behind its end is discarded.
    let log = blocks / 16;
    let mixed = work.cost(|work| {
        for number in 0..2 * blocks {
            if number % log == 0 {
                work.discard(0..log / 2);
            }
            work.write(number % log);
            let index = log + work.mostly_hot() % (blocks - log);
            work.write(index);
        }
    });
    for (name, cost, most) in [
        ("uniform", &uniform, 3.0),
        ("hot", &hot, 2.0),
        ("sequential", &sequential, 1.5),
        ("mixed", &mixed, 1.5),
    ] {
        eprintln!("{segments} segments, {name}: {:.2} bytes copied, {:.2} in all", cost.copied, cost.all);
        assert!(
            cost.copied <= most && cost.all <= 2.0 * most + 1.0,
            "{name}: {:.2}, {:.2}",
            cost.copied,
            cost.all
        );
    }
    assert!(uniform.copied > 0.0);
    work.check();
}

#[test]
fn a_volume_takes_one_and_a_half_times_what_is_live_at_every_moment() {
    stays_within_the_bound(22);
    stays_within_the_bound(32);
}

#[test]
fn a_small_volume_takes_a_few_segments_more_than_what_is_live_at_every_moment() {
    stays_within_the_bound(6);
    stays_within_the_bound(12);
}

#[test]
fn a_table_that_is_dropped_gives_its_space_back_without_a_copy() {
    let mut work = Work::new(16);
    let (before, _) = work.space();
    let half = work.blocks() / 2;
    work.discard(0..half);
    // That alone makes a checkpoint due.
    let (after, live) = work.space();
    assert_eq!(live, half * BLOCK as u64);
    assert!(before - after >= 7 * u64::from(SEGMENT), "{before} bytes, then {after}");
    assert_eq!(work.volume.usages().cleaned_bytes, 0);
    work.check();
}

#[test]
fn a_log_that_is_removed_behind_its_end_is_never_copied() {
    let mut work = Work::new(16);
    let (log, file) = (work.blocks() / 4, work.blocks() / 64);
    work.bounded = true;
    for number in 0..8 * log {
        let at = number % log;
        if at % file == 0 {
            // The file after the next one, as the database removes what it needs no more.
            let gone = (at + 2 * file) % log;
            work.discard(gone..gone + file);
        }
        work.write(at);
    }
    assert_eq!(work.volume.usages().cleaned_bytes, 0);
    assert!(work.volume.usages().freed_segments > 24, "{:?}", work.volume.usages());
    work.check();
}
