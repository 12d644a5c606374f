//! A volume that is only read shows what an attach would find, and changes nothing.

mod sim;

use std::{ops::Range, sync::Arc};

use sim::{
    ID, Random, SeededEntropy,
    disk::{Fault, SimDisk},
    key,
};
use volume::{BLOCK, Options, Reader, SECTOR, Volume, VolumeError, VolumeKey};

const BLOCKS: u64 = 70_000;
const SEGMENT: u32 = 256 << 10;

fn options() -> Options {
    Options { node_cache: 0, keep_committed: 0, ..Options::default() }
}

fn open(disk: &SimDisk, seed: u64) -> Result<Volume<SimDisk>, VolumeError> {
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options())
}

fn created(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let entropy = SeededEntropy::new(seed + 1);
    Volume::create(&disk, ID, &key(), b"wrapped", BLOCKS * BLOCK as u64, SEGMENT, &entropy).unwrap();
    disk
}

/// Some block of a volume whose interesting parts are few: both ends, and the border of two inner nodes.
fn somewhere(random: &mut Random) -> u64 {
    let near = [0, 250, 65_530, BLOCKS - 20][random.below(4) as usize];
    near + random.below(20)
}

fn change(volume: &Volume<SimDisk>, random: &mut Random) -> Result<(), VolumeError> {
    let (block, sector) = (BLOCK as u64, SECTOR as u64);
    let index = somewhere(random);
    match random.below(12) {
        0 => volume.discard(index * block, (BLOCKS - index).min(1 + random.below(300)) * block)?,
        1 => volume.checkpoint()?,
        2 => volume.flush()?,
        3 => volume.write(index * block + sector, &[1 + random.below(255) as u8; SECTOR])?,
        _ => volume.write(index * block, &[1 + random.below(255) as u8; BLOCK])?,
    }
    Ok(())
}

#[test]
fn a_reader_shows_what_an_attach_finds_after_any_crash() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let disk = created(seed);
        for round in 0..4 {
            let volume = open(&disk, 100 * seed + round).unwrap();
            if random.chance(2) {
                disk.arm(random.below(30), Fault::Crash);
            }
            let failed = (0..random.below(60)).any(|_| change(&volume, &mut random).is_err());
            if !failed && random.chance(3) {
                let _ = volume.close();
            }
            drop(volume);
            disk.restart();
            compare(&disk, &format!("seed {seed} round {round}"));
        }
    }
}

/// Reads all that there may be with a reader and with an attach of a copy.
fn compare(disk: &SimDisk, what: &str) {
    let before = disk.operations();
    let files = disk.files();
    let reader = Reader::open(disk.clone(), ID, key(), None, 0).unwrap();
    let attached = open(&SimDisk::with(files.clone(), 1), 77).unwrap();
    let mut live = Vec::new();
    for range in [0..600, 65_500..65_600, BLOCKS - 100..BLOCKS] {
        for index in range {
            let (mut expected, mut found) = ([0xee; BLOCK], [0xdd; BLOCK]);
            attached.read(index * BLOCK as u64, &mut expected).unwrap();
            reader.read(index * BLOCK as u64, &mut found).unwrap();
            assert!(expected == found, "{what}: block {index}");
            if expected.iter().any(|byte| *byte != 0) {
                live.push(index);
            }
        }
    }
    let ranges: Vec<Range<u64>> = reader.live_ranges(0).collect::<Result<_, _>>().unwrap();
    assert!(ranges.iter().flat_map(Clone::clone).eq(live.iter().copied()), "{what}: {ranges:?}");
    assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{what}: {ranges:?}");
    let first = live.get(live.len() / 2).copied().unwrap_or(0);
    let later: Vec<u64> = reader.live_ranges(first).flat_map(Result::unwrap).collect();
    assert!(live.iter().filter(|index| **index >= first).eq(&later), "{what}: from {first}");
    assert_eq!(disk.operations(), before, "{what}: a reader changed something");
    assert!(disk.files() == files, "{what}: a reader changed something");
}

#[test]
fn a_reader_refuses_what_an_attach_refuses() {
    let disk = created(1);
    let wrong = VolumeKey::copy_from(&[0x43; 32]).unwrap();
    assert!(matches!(Reader::open(disk.clone(), ID, wrong, None, 0), Err(VolumeError::WrongKey)));
    assert!(matches!(
        Reader::open(disk.clone(), "vol-b", key(), None, 0),
        Err(VolumeError::WrongVolume { .. })
    ));
    let reader = Reader::open(disk.clone(), ID, key(), None, 0).unwrap();
    let mut bytes = [0; SECTOR];
    assert!(matches!(reader.read(1, &mut bytes), Err(VolumeError::Invalid(_))));
    assert!(matches!(reader.read(BLOCKS * BLOCK as u64, &mut bytes), Err(VolumeError::Invalid(_))));
    disk.change(|files| files.header.as_mut().unwrap()[20] ^= 1);
    assert!(matches!(Reader::open(disk, ID, key(), None, 0), Err(VolumeError::Damaged(_))));
}
