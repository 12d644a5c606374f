//! Bits rot on the disk while the volume is open: every answer is an error or the right data, and whatever can still be
//! written is written. A damaged block or node takes nothing else down with it.

mod sim;

use std::sync::Arc;

use sim::{ID, Random, SeededEntropy, disk::SimDisk, key};
use volume::{BLOCK, Options, SECTOR, Volume, VolumeError};

const SEGMENT: u32 = 64 << 10;
/// Three levels of tree would be 65,536 blocks more; two have a root and leaves to lose.
const BLOCKS: u64 = 700;

fn options() -> Options {
    Options { node_cache: 0, keep_committed: 0, checkpoint_after: 256 << 10, ..Options::default() }
}

fn open(disk: &SimDisk, seed: u64) -> Result<Volume<SimDisk>, VolumeError> {
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options())
}

fn create(disk: &SimDisk) -> Volume<SimDisk> {
    let size = BLOCKS * BLOCK as u64;
    Volume::create(disk, ID, &key(), b"wrapped", size, SEGMENT, &SeededEntropy::new(2)).unwrap();
    open(disk, 3).unwrap()
}

fn put(volume: &Volume<SimDisk>, content: &mut [u8], sector: u64, sectors: u64, value: u8) {
    let bytes = vec![value; sectors as usize * SECTOR];
    volume.write(sector * SECTOR as u64, &bytes).unwrap();
    content[sector as usize..(sector + sectors) as usize].fill(value);
}

/// Says how many sectors cannot be read; those that can hold what they should.
fn check(volume: &Volume<SimDisk>, content: &[u8]) -> usize {
    let mut all = vec![0xee; content.len() * SECTOR];
    if volume.read(0, &mut all).is_ok() {
        assert!(
            all.chunks_exact(SECTOR).zip(content).all(|(sector, value)| sector.iter().all(|b| b == value))
        );
        return 0;
    }
    let mut lost = 0;
    for (sector, value) in (0..).zip(content) {
        let mut bytes = [0xee; SECTOR];
        match volume.read(sector * SECTOR as u64, &mut bytes) {
            Ok(()) => assert!(bytes.iter().all(|byte| byte == value), "sector {sector}"),
            Err(VolumeError::Damaged(_)) => lost += 1,
            Err(error) => panic!("sector {sector}: {error:?}"),
        }
    }
    lost
}

/// Flips a bit in a page that some segment has.
fn rot(disk: &SimDisk, random: &mut Random) {
    disk.change(|files| {
        let chosen = random.below(files.segments.len() as u64) as usize;
        let bytes = files.segments.values_mut().nth(chosen).unwrap();
        if !bytes.is_empty() {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
    });
}

#[test]
fn one_damaged_page_stops_neither_writes_nor_checkpoints() {
    let disk = SimDisk::new(1);
    let volume = create(&disk);
    let mut content = vec![0; BLOCKS as usize * 2];
    for block in (0..BLOCKS).step_by(7) {
        put(&volume, &mut content, block * 2, 2, 1);
        volume.flush().unwrap();
    }
    volume.close().unwrap();
    let files = disk.files();
    let mut damaged = 0;
    for (segment, bytes) in &files.segments {
        for page in (0..bytes.len() / 4096).step_by(4) {
            let mut changed = files.clone();
            changed.segments.get_mut(segment).unwrap()[page * 4096 + 100] ^= 1;
            let disk = SimDisk::with(changed, 5);
            let Ok(mut volume) = open(&disk, 6) else { continue };
            let mut content = content.clone();
            let before = check(&volume, &content);
            damaged += usize::from(before > 0);
            // Halves of blocks that are there, whole blocks, and holes, in every leaf.
            for (block, half) in (0..BLOCKS).step_by(21).zip([0, 1].iter().cycle()) {
                put(&volume, &mut content, block * 2 + half, 1, 2);
            }
            put(&volume, &mut content, 20, 2, 3);
            volume.discard(300 * BLOCK as u64, 9 * BLOCK as u64).unwrap();
            content[600..618].fill(0);
            volume.flush().unwrap();
            volume.checkpoint().unwrap();
            assert!(check(&volume, &content) <= before, "segment {segment} page {page}");
            volume.close().unwrap();
            volume = open(&disk, 7).unwrap();
            let after = check(&volume, &content);
            assert!(after <= before, "segment {segment} page {page}");
            // What is written whole is whole again.
            for block in (0..BLOCKS).step_by(2) {
                put(&volume, &mut content, block * 2, 4, 4);
            }
            volume.checkpoint().unwrap();
            assert_eq!(check(&volume, &content), 0);
        }
    }
    assert!(damaged > 30, "{damaged}");
}

#[test]
fn a_node_that_can_be_read_again_gives_back_what_it_knew() {
    let disk = SimDisk::new(1);
    let volume = create(&disk);
    let mut content = vec![0; BLOCKS as usize * 2];
    for block in 0..BLOCKS {
        put(&volume, &mut content, block * 2, 2, 1);
        volume.commit_down_to(SEGMENT as usize / 4).unwrap();
    }
    volume.close().unwrap();
    let whole = disk.files();
    // Nodes came last: three leaves and the root.
    for (segment, bytes) in whole.segments.iter().rev().take(2) {
        for page in 0..bytes.len() / 4096 {
            let disk = SimDisk::with(whole.clone(), 5);
            disk.change(|files| files.segments.get_mut(segment).unwrap()[page * 4096 + 100] ^= 1);
            let Ok(volume) = open(&disk, 6) else { continue };
            let mut content = content.clone();
            let before = check(&volume, &content);
            for round in 2..4 {
                put(&volume, &mut content, 40, 1, round);
                put(&volume, &mut content, 1390, 2, round);
                volume.checkpoint().unwrap();
            }
            assert!(check(&volume, &content) <= before);
            disk.change(|files| files.segments.get_mut(segment).unwrap()[page * 4096 + 100] ^= 1);
            // Only the other half of the block that was written in part is gone.
            assert!(check(&volume, &content) <= 1, "segment {segment} page {page}");
        }
    }
}

#[test]
fn whatever_rots_no_answer_is_wrong_and_no_write_is_refused() {
    let mut opened = 0;
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let mut volume = create(&disk);
        let mut content = vec![0; BLOCKS as usize * 2];
        for step in 0..300 {
            match random.below(20) {
                0..10 => {
                    let sector = random.below(BLOCKS * 2 - 3);
                    put(&volume, &mut content, sector, 1 + random.below(3), random.below(255) as u8 + 1);
                }
                10..13 => volume.flush().unwrap(),
                13 => {
                    let sector = random.below(BLOCKS * 2 - 40);
                    volume.discard(sector * SECTOR as u64, 40 * SECTOR as u64).unwrap();
                    content[sector as usize..sector as usize + 40].fill(0);
                }
                14 | 15 => volume.checkpoint().unwrap(),
                16 => drop(volume.clean_step(4 * BLOCK).unwrap()),
                17 if step > 100 => rot(&disk, &mut random),
                18 => {
                    check(&volume, &content);
                }
                19 => {
                    volume.close().unwrap();
                    match open(&disk, seed + 1000 * step) {
                        Ok(again) => volume = again,
                        Err(VolumeError::Damaged(_)) => break,
                        Err(error) => panic!("{error:?}"),
                    }
                    opened += 1;
                }
                _ => {}
            }
        }
    }
    assert!(opened > 40, "{opened}");
}
