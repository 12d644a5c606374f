//! A volume of the largest size, of which little is written: a tree of four levels, and discards of terabytes.

mod sim;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use sim::{ID, Random, SeededEntropy, disk::SimDisk, key};
use volume::{BLOCK, Options, Volume};

const BLOCKS: u64 = 1 << 32;
const SEGMENT: u32 = 256 << 10;

fn open(disk: &SimDisk, seed: u64) -> Volume<SimDisk> {
    let options = Options { node_cache: 0, ..Options::default() };
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options).unwrap()
}

fn check(volume: &Volume<SimDisk>, content: &BTreeMap<u64, u8>, empty: &[u64]) {
    let mut block = [0; BLOCK];
    for index in content.keys().chain(empty) {
        volume.read(index * BLOCK as u64, &mut block).unwrap();
        let value = content.get(index).copied().unwrap_or(0);
        assert!(block.iter().all(|byte| *byte == value), "block {index}");
    }
}

fn clear(content: &mut BTreeMap<u64, u8>, range: Range<u64>) -> Vec<u64> {
    let gone: Vec<u64> = content.range(range).map(|(index, _)| *index).collect();
    content.retain(|index, _| !gone.contains(index));
    gone
}

#[test]
fn a_volume_of_32_tib_finds_its_blocks_and_gives_discarded_ones_back() {
    let disk = SimDisk::new(1);
    let size = BLOCKS * BLOCK as u64;
    Volume::create(&disk, ID, &key(), &[], size, SEGMENT, &SeededEntropy::new(2)).unwrap();
    let mut volume = open(&disk, 3);
    let mut random = Random::new(4);
    let mut content = BTreeMap::new();
    for round in 0..6 {
        for number in 0..40_u8 {
            // Neighbours, both ends, and anywhere.
            let index = match number % 4 {
                0 => BLOCKS - 1 - random.below(300),
                1 => random.below(70_000),
                _ => random.below(BLOCKS),
            };
            volume.write(index * BLOCK as u64, &[number + 1; BLOCK]).unwrap();
            content.insert(index, number + 1);
        }
        let start = random.below(BLOCKS);
        let end = start + random.below(BLOCKS - start) / (round + 1);
        volume.discard(start * BLOCK as u64, (end - start).max(1) * BLOCK as u64).unwrap();
        let gone = clear(&mut content, start..end.max(start + 1));
        check(&volume, &content, &gone);
        volume.checkpoint().unwrap();
        volume.flush().unwrap();
        volume.checkpoint().unwrap();
        assert_eq!(volume.usages().live_blocks, content.len() as u64, "round {round}");
        check(&volume, &content, &gone);
        if round % 2 == 0 {
            volume.close().unwrap();
        }
        volume = open(&disk, 100 + round);
        check(&volume, &content, &gone);
    }
    volume.discard(0, size).unwrap();
    volume.flush().unwrap();
    volume.checkpoint().unwrap();
    assert_eq!(volume.usages().live_blocks, 0);
    assert!(volume.usages().segments <= 2, "nothing is left but what a replay needs");
    check(&volume, &BTreeMap::new(), &content.into_keys().collect::<Vec<_>>());
}

#[test]
fn segments_in_which_nothing_lives_are_given_back() {
    let disk = SimDisk::new(1);
    Volume::create(&disk, ID, &key(), &[], 64 * BLOCK as u64, SEGMENT, &SeededEntropy::new(2)).unwrap();
    let volume = open(&disk, 3);
    for round in 0..100_u8 {
        for index in 0..64 {
            volume.write(index * BLOCK as u64, &[round; BLOCK]).unwrap();
        }
        volume.flush().unwrap();
        if round % 10 == 9 {
            volume.checkpoint().unwrap();
        }
    }
    assert!(volume.usages().segments < 10, "{:?}", volume.usages());
}
