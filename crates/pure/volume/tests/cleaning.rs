//! The cleaner keeps space in proportion to what is live, and leaves alone what it cannot read.

mod sim;

use std::sync::Arc;

use sim::{ID, Random, SeededEntropy, disk::SimDisk, key};
use volume::{BLOCK, Options, Volume};

const SEGMENT: u32 = 1 << 20;
const BLOCKS: u64 = 4096;

fn open(disk: &SimDisk, seed: u64) -> Volume<SimDisk> {
    let options = Options { checkpoint_after: 4 << 20, ..Options::default() };
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options).unwrap()
}

/// A full volume, each of whose blocks holds its value.
fn full(disk: &SimDisk) -> (Volume<SimDisk>, Vec<u8>) {
    let size = BLOCKS * BLOCK as u64;
    Volume::create(disk, ID, &key(), &[], size, SEGMENT, &SeededEntropy::new(2)).unwrap();
    let volume = open(disk, 3);
    for index in 0..BLOCKS {
        volume.write(index * BLOCK as u64, &[1; BLOCK]).unwrap();
        volume.commit_down_to(SEGMENT as usize / 4).unwrap();
    }
    volume.checkpoint().unwrap();
    (volume, vec![1; BLOCKS as usize])
}

fn overwrite(volume: &Volume<SimDisk>, random: &mut Random, content: &mut [u8]) {
    let index = random.below(BLOCKS);
    let value = random.below(255) as u8 + 1;
    volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
    content[index as usize] = value;
}

fn check(volume: &Volume<SimDisk>, content: &[u8]) {
    let mut block = [0; BLOCK];
    for (index, value) in (0..).zip(content) {
        volume.read(index * BLOCK as u64, &mut block).unwrap();
        assert!(block.iter().all(|byte| byte == value), "block {index}");
    }
}

#[test]
fn random_overwrites_keep_space_within_one_and_a_half_times_what_is_live() {
    let disk = SimDisk::new(1);
    let (mut volume, mut content) = full(&disk);
    let mut random = Random::new(4);
    for round in 0..8 {
        for number in 0..BLOCKS / 2 {
            overwrite(&volume, &mut random, &mut content);
            if number % 8 == 0 {
                volume.flush().unwrap();
            }
            if volume.checkpoint_is_due() {
                volume.checkpoint().unwrap();
            }
        }
        volume.flush().unwrap();
        volume.checkpoint().unwrap();
        let most = 10_000;
        let steps = (0..most).take_while(|_| volume.clean_step(SEGMENT as usize / 16).unwrap()).count();
        assert!(steps < most, "the cleaner comes to rest");
        let usages = volume.usages();
        let live = usages.live_blocks * BLOCK as u64;
        let used = usages.segments * u64::from(SEGMENT);
        assert!(used * 2 <= live * 3, "round {round}: {used} bytes for {live}");
        assert_eq!(usages.stuck_segments, 0);
        assert!(round < 2 || usages.cleaned_bytes > 0);
        check(&volume, &content);
        if round == 4 {
            drop(volume); // a crash
            volume = open(&disk, 5);
            check(&volume, &content);
        }
    }
}

#[test]
fn a_segment_whose_descriptors_do_not_open_is_left_alone_and_counted() {
    let disk = SimDisk::new(1);
    let (volume, mut content) = full(&disk);
    let mut random = Random::new(4);
    for _ in 0..BLOCKS / 2 {
        overwrite(&volume, &mut random, &mut content);
    }
    volume.flush().unwrap();
    volume.checkpoint().unwrap();
    disk.change(|files| {
        let newest = *files.segments.keys().last().unwrap();
        for (_, bytes) in files.segments.range_mut(..newest - 1) {
            bytes[100] ^= 1;
        }
    });
    while volume.clean_step(SEGMENT as usize / 16).unwrap() {}
    assert!(volume.usages().stuck_segments > 0);
    check(&volume, &content);
}

#[test]
fn what_is_discarded_gives_its_space_back_without_a_copy() {
    let disk = SimDisk::new(1);
    let (volume, mut content) = full(&disk);
    let before = volume.usages();
    // A table is dropped that was written in one go.
    let dropped = BLOCKS / 4..BLOCKS * 3 / 4;
    volume.discard(dropped.start * BLOCK as u64, (dropped.end - dropped.start) * BLOCK as u64).unwrap();
    content[dropped.start as usize..dropped.end as usize].fill(0);
    volume.flush().unwrap();
    volume.checkpoint().unwrap();
    let after = volume.usages();
    let freed = (before.segments - after.segments) * u64::from(SEGMENT);
    let discarded = (dropped.end - dropped.start) * BLOCK as u64;
    // The segments at both ends hold something else as well.
    assert!(freed + 2 * u64::from(SEGMENT) >= discarded, "{freed} of {discarded} bytes are back");
    assert_eq!((after.cleaned_bytes, after.live_blocks), (0, BLOCKS / 2));
    while volume.clean_step(SEGMENT as usize / 16).unwrap() {}
    assert!(volume.usages().cleaned_bytes <= 2 * u64::from(SEGMENT), "hardly anything is worth a copy");
    check(&volume, &content);
}

#[test]
fn the_cleaner_comes_to_rest_though_its_copies_take_as_much_space_as_what_they_are_made_of() {
    // Groups of a few blocks leave a quarter of each segment empty.
    let (disk, size) = (SimDisk::new(1), 128 * BLOCK as u64);
    Volume::create(&disk, ID, &key(), &[], size, 64 << 10, &SeededEntropy::new(2)).unwrap();
    let volume = open(&disk, 3);
    let mut random = Random::new(4);
    let mut content = vec![0; 128];
    for number in 0..300 {
        let (index, value) = (random.below(128), number as u8);
        volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
        content[index as usize] = value;
        if number % 3 == 0 {
            volume.flush().unwrap();
        }
    }
    volume.flush().unwrap();
    volume.checkpoint().unwrap();
    for all in [false, true, false] {
        let step = || if all { volume.clean_all_step(4 * BLOCK) } else { volume.clean_step(4 * BLOCK) };
        let steps = (0..1000).take_while(|_| step().unwrap()).count();
        assert!(steps < 1000, "more to clean for ever");
        assert!(!step().unwrap(), "nothing has changed");
    }
    check(&volume, &content);
}
