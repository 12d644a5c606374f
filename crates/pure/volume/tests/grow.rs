//! A volume becomes larger while it is open, and its tree higher.

mod sim;

use std::sync::Arc;

use sim::{
    ID, SeededEntropy,
    disk::{Fault, SimDisk},
    key,
};
use volume::{BLOCK, Options, Volume, VolumeError};

const SIZES: [u64; 5] = [1, 256, 257, 70_000, 1 << 32];

fn create(blocks: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let size = blocks * BLOCK as u64;
    Volume::create(&disk, ID, &key(), &[], size, 64 << 10, &SeededEntropy::new(2)).unwrap();
    disk
}

fn open(disk: &SimDisk) -> Volume<SimDisk> {
    let options = Options { node_cache: 0, keep_committed: 0, ..Options::default() };
    // Another seed each time: epochs must not share a salt.
    let entropy = Arc::new(SeededEntropy::new(3 + disk.operations()));
    Volume::open(disk.clone(), ID, key(), entropy, options).unwrap()
}

fn write(volume: &Volume<SimDisk>, index: u64, value: u8) {
    volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
}

/// Commits everything and takes a checkpoint.
fn checkpoint(volume: &Volume<SimDisk>) {
    volume.flush().unwrap();
    volume.checkpoint().unwrap();
}

fn check(volume: &Volume<SimDisk>, expected: &[(u64, u8)]) {
    for (index, value) in expected {
        let mut block = [0xee; BLOCK];
        volume.read(index * BLOCK as u64, &mut block).unwrap();
        assert!(block.iter().all(|byte| byte == value), "block {index}: {}", block[0]);
    }
}

#[test]
fn a_volume_that_grows_by_any_number_of_levels_keeps_its_blocks() {
    for (position, before) in SIZES.into_iter().enumerate() {
        for after in SIZES.into_iter().skip(position) {
            for checkpoints in 0..8_u8 {
                let disk = create(before);
                let volume = open(&disk);
                write(&volume, before - 1, 1);
                if checkpoints & 1 > 0 {
                    checkpoint(&volume);
                }
                volume.grow(after * BLOCK as u64).unwrap();
                assert_eq!(volume.size(), after * BLOCK as u64);
                let mut expected = vec![(before - 1, 1)];
                if after > before {
                    check(&volume, &[(before, 0), (after - 1, 0)]);
                    write(&volume, after - 1, 2);
                    expected.push((after - 1, 2));
                }
                check(&volume, &expected);
                volume.flush().unwrap();
                if checkpoints & 2 > 0 {
                    checkpoint(&volume);
                    check(&volume, &expected);
                    let live = volume.usages().live_blocks;
                    assert_eq!(live, expected.len() as u64, "{before} to {after}");
                }
                if checkpoints & 4 > 0 {
                    volume.close().unwrap();
                }
                drop(volume);
                let volume = open(&disk);
                assert_eq!(volume.size(), after * BLOCK as u64);
                check(&volume, &expected);
                // Nothing is counted twice, nor forgotten: an empty tree has no live record.
                volume.discard(0, volume.size()).unwrap();
                checkpoint(&volume);
                check(&volume, &[(before - 1, 0), (after - 1, 0)]);
                assert_eq!(volume.usages().live_blocks, 0);
                write(&volume, 0, 9);
                checkpoint(&volume);
                assert!(volume.usages().segments <= 3, "dead segments go away");
            }
        }
    }
}

#[test]
fn a_tree_becomes_higher_although_nothing_below_changes() {
    let disk = create(256);
    let volume = open(&disk);
    write(&volume, 7, 7);
    checkpoint(&volume);
    volume.grow(70_000 * BLOCK as u64).unwrap();
    write(&volume, 69_999, 1);
    checkpoint(&volume);
    check(&volume, &[(7, 7), (69_999, 1), (8, 0)]);
    drop(volume);
    check(&open(&disk), &[(7, 7), (69_999, 1), (8, 0)]);
}

#[test]
fn a_volume_does_not_shrink_nor_take_an_odd_size() {
    let disk = create(10);
    let volume = open(&disk);
    for size in [0, 9 * BLOCK as u64, 10 * BLOCK as u64 + 4096, ((1 << 32) + 1) * BLOCK as u64] {
        assert!(matches!(volume.grow(size), Err(VolumeError::Invalid(_))), "{size}");
    }
    let before = disk.operations();
    volume.grow(10 * BLOCK as u64).unwrap();
    assert_eq!(disk.operations(), before, "the same size changes nothing");
    assert_eq!(volume.size(), 10 * BLOCK as u64);
    assert!(matches!(volume.write(10 * BLOCK as u64, &[1; BLOCK]), Err(VolumeError::Invalid(_))));
    volume.close().unwrap();
    assert!(volume.grow(11 * BLOCK as u64).is_err(), "a closed volume stays as it was closed");
}

#[test]
fn a_volume_that_could_not_grow_goes_on_as_it_was() {
    for seed in 0..20 {
        let disk = create(10);
        let volume = open(&disk);
        write(&volume, 1, 1);
        disk.arm(seed % 2, Fault::Full(1));
        let grown = volume.grow(300 * BLOCK as u64).is_ok();
        let blocks = if grown { 300 } else { 10 };
        assert_eq!(volume.size(), blocks * BLOCK as u64);
        disk.restart();
        let edge = volume.write((blocks - 1) * BLOCK as u64, &[2; BLOCK]);
        edge.unwrap();
        checkpoint(&volume);
        let closed = seed % 3 == 0;
        if closed {
            volume.close().unwrap();
        }
        drop(volume);
        let volume = open(&disk);
        let size = volume.size() / BLOCK as u64;
        assert!(size == blocks || (!closed && size == 300), "{size}");
        check(&volume, &[(1, 1), (blocks - 1, 2)]);
    }
}

#[test]
fn a_snapshot_has_the_size_of_its_moment() {
    let disk = create(200);
    let volume = open(&disk);
    write(&volume, 1, 1);
    let mut saved = Vec::new();
    for blocks in [200, 300, 400] {
        volume.grow(blocks * BLOCK as u64).unwrap();
        let save = |image: &volume::Image| {
            saved.push((blocks, disk.link(&image.header, &image.checkpoint, &image.segments)));
            Ok(())
        };
        volume.snapshot(save).unwrap();
        write(&volume, blocks - 1, 3);
    }
    for (blocks, files) in saved {
        let volume = open(&SimDisk::with(files, 1));
        assert_eq!(volume.size(), blocks * BLOCK as u64);
        check(&volume, &[(1, 1), (199, if blocks > 200 { 3 } else { 0 })]);
        write(&volume, blocks - 1, 5);
        checkpoint(&volume);
        check(&volume, &[(1, 1), (blocks - 1, 5)]);
    }
}
