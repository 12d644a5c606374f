//! Whatever is changed on the disk: an error that says so, or the right data; never other data, never a panic. A check
//! finds what a read would meet, and a salvage brings out what is left.

mod rest;
#[path = "../sim/mod.rs"]
mod sim;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sim::{
    ID, SeededEntropy,
    disk::{Files, SimDisk},
    key,
};
use volume::{BLOCK, Options, Volume, VolumeError, VolumeKey};

const BLOCKS: u64 = 300;
const SEGMENT: u32 = 64 << 10;
const PAGE: usize = 4096;

/// First bytes of the blocks that are not zeros.
type Content = BTreeMap<u64, u8>;

/// What was ever written to each block.
type Past = BTreeMap<u64, BTreeSet<u8>>;

struct Built {
    disk: SimDisk,
    volume: Volume<SimDisk>,
    content: Content,
    past: Past,
}

fn options() -> Options {
    Options { node_cache: 0, keep_committed: 0, ..Options::default() }
}

fn open(disk: &SimDisk, seed: u64) -> Result<Volume<SimDisk>, VolumeError> {
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options())
}

impl Built {
    fn new() -> Self {
        let disk = SimDisk::new(1);
        let size = BLOCKS * BLOCK as u64;
        Volume::create(&disk, ID, &key(), b"wrapped", size, SEGMENT, &SeededEntropy::new(2)).unwrap();
        let volume = open(&disk, 3).unwrap();
        Self { disk, volume, content: Content::new(), past: Past::new() }
    }

    fn write(&mut self, index: u64, value: u8) {
        self.volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
        self.volume.flush().unwrap();
        self.content.insert(index, value);
        self.past.entry(index).or_default().insert(value);
    }

    fn reopen(&mut self) {
        // Another seed each time: epochs must not share a salt.
        self.volume = open(&self.disk, 1000 + self.disk.operations()).unwrap();
    }
}

/// A volume with a checkpoint, an older checkpoint, a log behind it, dead and live records, two epochs.
fn lived() -> Built {
    let mut built = Built::new();
    for index in 0..4 {
        built.write(index, 10 + index as u8);
    }
    built.volume.checkpoint().unwrap();
    built.write(1, 20);
    built.write(299, 21);
    built.volume.discard(0, BLOCK as u64).unwrap();
    built.content.remove(&0);
    built.volume.checkpoint().unwrap();
    built.volume.flush().unwrap();
    built.reopen();
    built.write(2, 30);
    built
}

fn closed() -> (Files, Content) {
    let built = lived();
    built.volume.close().unwrap();
    (built.disk.files(), built.content)
}

/// Opens and reads everything. Fails if any block is neither an error nor as it should be; says whether nothing at all
/// was amiss.
fn examine(files: Files, allowed: &[&Content], what: &str) -> bool {
    let disk = SimDisk::with(files, 5);
    let volume = match open(&disk, 6) {
        Ok(volume) => volume,
        Err(VolumeError::Damaged(_) | VolumeError::UnknownVersion(_)) => return false,
        Err(error) => panic!("{what}: {error:?}"),
    };
    let mut found = Content::new();
    let mut failed = Vec::new();
    for index in 0..BLOCKS {
        let mut block = [0xee; BLOCK];
        match volume.read(index * BLOCK as u64, &mut block) {
            Ok(()) => {
                assert!(block.iter().all(|byte| *byte == block[0]), "{what}: block {index} is torn");
                if block[0] != 0 {
                    found.insert(index, block[0]);
                }
            }
            Err(VolumeError::Damaged(_)) => failed.push(index),
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
    let fits = |content: &&Content| {
        (0..BLOCKS).all(|index| failed.contains(&index) || content.get(&index) == found.get(&index))
    };
    assert!(allowed.iter().any(fits), "{what}: wrong data");
    failed.is_empty()
}

/// Offsets to be changed: all of what structures begin with, and a sample of the rest; all of them in `make torture`.
fn offsets(length: usize) -> impl Iterator<Item = usize> {
    let all = std::env::var_os("STRONGROOM_SEEDS").is_some();
    (0..length).filter(move |offset| all || offset % PAGE < 96 || offset % 151 == 0)
}

#[test]
fn no_flipped_byte_of_a_closed_volume_goes_unnoticed_where_it_matters() {
    let (files, content) = closed();
    assert!(examine(files.clone(), &[&content], "unchanged"));
    let header = files.header.clone().unwrap();
    for offset in 0..header.len() {
        let mut changed = files.clone();
        changed.header.as_mut().unwrap()[offset] ^= 1;
        assert!(!examine(changed, &[&content], &format!("header {offset}")), "header {offset}");
    }
    for offset in offsets(files.checkpoint.len()) {
        let mut changed = files.clone();
        changed.checkpoint[offset] ^= 0x80;
        examine(changed, &[&content], &format!("checkpoint {offset}"));
    }
    for (segment, bytes) in &files.segments {
        for offset in offsets(bytes.len()) {
            let mut changed = files.clone();
            changed.segments.get_mut(segment).unwrap()[offset] ^= 4;
            examine(changed, &[&content], &format!("segment {segment} {offset}"));
        }
    }
}

#[test]
fn a_flipped_byte_in_any_live_block_is_an_error() {
    let (files, content) = closed();
    let blocks = files.segments.values().map(|bytes| bytes.len() / PAGE).sum::<usize>();
    let mut noticed = 0;
    for (segment, bytes) in &files.segments {
        for page in 0..bytes.len() / PAGE {
            let mut changed = files.clone();
            changed.segments.get_mut(segment).unwrap()[page * PAGE + 1000] ^= 1;
            noticed += usize::from(!examine(changed, &[&content], &format!("segment {segment} page {page}")));
        }
    }
    // Four blocks, a root and leaves for both ends of the volume, each of two pages, and descriptors of the replay.
    assert!((14..blocks).contains(&noticed), "{noticed} of {blocks}");
}

#[test]
fn swapped_and_old_pages_are_never_taken_for_others() {
    let (files, content) = closed();
    let pages: Vec<(u32, usize)> = files
        .segments
        .iter()
        .flat_map(|(segment, bytes)| (0..bytes.len() / PAGE).map(|page| (*segment, page * PAGE)))
        .collect();
    let page = |(segment, offset): (u32, usize)| files.segments[&segment][offset..offset + PAGE].to_vec();
    for &from in &pages {
        for &to in &pages {
            // `to` holds a copy of `from`: an old block put back, a block at another's place, a node for a block.
            let mut changed = files.clone();
            changed.segments.get_mut(&to.0).unwrap()[to.1..to.1 + PAGE].copy_from_slice(&page(from));
            examine(changed, &[&content], &format!("{from:?} over {to:?}"));
        }
    }
    // A whole sealed block, two pages, over another.
    for (at, &from) in pages.iter().enumerate().step_by(3) {
        for &to in pages.iter().skip(at + 2) {
            let mut changed = files.clone();
            for half in [0, PAGE] {
                let Some(source) = files.segments[&from.0].get(from.1 + half..from.1 + half + PAGE) else {
                    continue;
                };
                let target = changed.segments.get_mut(&to.0).unwrap();
                if let Some(target) = target.get_mut(to.1 + half..to.1 + half + PAGE) {
                    target.copy_from_slice(source);
                }
            }
            examine(changed, &[&content], &format!("block {from:?} over {to:?}"));
        }
    }
}

#[test]
fn files_that_are_cut_short_or_missing_are_noticed() {
    let (files, content) = closed();
    for (segment, bytes) in &files.segments {
        for length in (0..bytes.len()).step_by(PAGE / 2) {
            let mut changed = files.clone();
            changed.segments.get_mut(segment).unwrap().truncate(length);
            examine(changed, &[&content], &format!("segment {segment} of {length}"));
        }
        let mut changed = files.clone();
        changed.segments.remove(segment);
        let unharmed = examine(changed, &[&content], &format!("no segment {segment}"));
        assert!(!unharmed, "segment {segment} was needed");
    }
    for length in (0..=files.checkpoint.len()).step_by(512) {
        let mut changed = files.clone();
        changed.checkpoint.truncate(length);
        examine(changed, &[&content], &format!("checkpoint of {length}"));
    }
    for length in 0..files.header.as_ref().unwrap().len() {
        let mut changed = files.clone();
        changed.header.as_mut().unwrap().truncate(length);
        assert!(!examine(changed, &[&content], &format!("header of {length}")));
    }
}

#[test]
fn files_of_two_moments_do_not_mix() {
    let mut built = lived();
    built.volume.close().unwrap();
    let (old, then) = (built.disk.files(), built.content.clone());
    built.reopen();
    built.write(3, 40);
    built.write(5, 41);
    built.volume.checkpoint().unwrap();
    built.write(6, 42);
    built.volume.close().unwrap();
    let (new, now) = (built.disk.files(), built.content.clone());
    for mix in 1..7 {
        let pick = |bit: u8| if mix & bit == 0 { &old } else { &new };
        let files = Files {
            header: pick(1).header.clone(),
            checkpoint: pick(2).checkpoint.clone(),
            segments: pick(4).segments.clone(),
        };
        examine(files, &[&then, &now], &format!("mix {mix:03b}"));
    }
    // Single segments of the past, and segments of the future beside an old header.
    for (segment, bytes) in &old.segments {
        let mut files = new.clone();
        files.segments.insert(*segment, bytes.clone());
        examine(files, &[&now], &format!("old segment {segment}"));
    }
    for (segment, bytes) in &new.segments {
        let mut files = old.clone();
        files.segments.insert(*segment, bytes.clone());
        let unharmed = examine(files, &[&then], &format!("new segment {segment}"));
        assert_eq!(unharmed, old.segments.contains_key(segment), "new segment {segment}");
    }
}

#[test]
fn a_group_that_is_gone_before_others_is_damage_not_the_end() {
    let mut built = lived();
    let before: Vec<u32> = built.disk.files().segments.into_keys().collect();
    built.reopen();
    let mut contents = vec![built.content.clone()];
    for index in 100..110 {
        built.write(index, index as u8);
        contents.push(built.content.clone());
    }
    let files = built.disk.files();
    let log = files.segments.iter().filter(|(segment, _)| !before.contains(segment));
    let heads: Vec<(u32, usize)> = log
        .flat_map(|(segment, bytes)| {
            let heads = (0..bytes.len()).step_by(PAGE).filter(|at| bytes[*at..].starts_with(b"SRGROUP1"));
            heads.map(|at| (*segment, at))
        })
        .collect();
    assert_eq!(heads.len(), 10, "one for each write since the attach");
    let last = contents.last().unwrap();
    for (number, (segment, head)) in heads.iter().enumerate() {
        let mut changed = files.clone();
        changed.segments.get_mut(segment).unwrap()[*head..head + PAGE].fill(0);
        let unharmed = examine(changed, &contents.iter().collect::<Vec<_>>(), &format!("no group {number}"));
        // Without an end in the header, the last group that is gone looks as one that was never written.
        assert_eq!(unharmed, number == heads.len() - 1, "group {number}");
    }
    assert!(examine(files, &[last], "unchanged"));
}

#[test]
fn the_log_of_a_source_does_not_reach_into_its_snapshot() {
    let mut built = lived();
    let mut saved = None;
    let disk = built.disk.clone();
    let save = |image: &volume::Image| {
        saved = Some(disk.link(&image.header, &image.checkpoint, &image.segments));
        Ok(())
    };
    built.volume.snapshot(save).unwrap();
    let then = built.content.clone();
    built.write(7, 77);
    let mut mixed = saved.unwrap();
    assert!(examine(mixed.clone(), &[&then], "snapshot"));
    for (segment, bytes) in built.disk.files().segments {
        mixed.segments.entry(segment).or_insert(bytes);
    }
    assert!(!examine(mixed, &[&then], "snapshot with the source's next segment"));
}

#[test]
fn another_key_is_told_from_damage_and_changes_nothing() {
    let (files, content) = closed();
    let disk = SimDisk::with(files.clone(), 1);
    let wrong = VolumeKey::copy_from(&[0x43; 32]).unwrap();
    let opened = Volume::open(disk.clone(), ID, wrong, Arc::new(SeededEntropy::new(1)), options());
    assert!(matches!(opened, Err(VolumeError::WrongKey)));
    let other = Volume::open(disk.clone(), "vol-other", key(), Arc::new(SeededEntropy::new(1)), options());
    assert!(matches!(other, Err(VolumeError::WrongVolume { .. })));
    assert_eq!(disk.operations(), 0);
    assert!(examine(disk.files(), &[&content], "after the wrong key"));
}
