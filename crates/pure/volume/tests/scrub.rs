//! A scrub of an open volume reads what is on the disk, while others write, discard, clean and take checkpoints.

mod sim;

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use sim::{ID, Random, SeededEntropy, disk::SimDisk, key};
use volume::{BLOCK, Finding, Flaw, Observed, Options, Scrub, Volume, VolumeError};

const BLOCKS: u64 = 2000;
const SEGMENT: u32 = 256 << 10;

fn open(disk: &SimDisk, seed: u64) -> Volume<SimDisk> {
    let options = Options { checkpoint_after: 1 << 20, ..Options::default() };
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options).unwrap()
}

fn created() -> (SimDisk, Volume<SimDisk>) {
    let disk = SimDisk::new(1);
    let size = BLOCKS * BLOCK as u64;
    Volume::create(&disk, ID, &key(), b"wrapped", size, SEGMENT, &SeededEntropy::new(2)).unwrap();
    let volume = open(&disk, 3);
    (disk, volume)
}

/// Scrubs to the end, in small steps.
fn scrub(volume: &Volume<SimDisk>) -> (Vec<Finding>, u64) {
    let mut found = Vec::new();
    let mut observe = |observed: Observed<'_>| {
        if let Observed::Found(finding) = observed {
            found.push(finding.clone());
        }
        ControlFlow::Continue(())
    };
    let mut scrub = Scrub::default();
    while volume.scrub_step(&mut scrub, 1, &mut observe).unwrap() {}
    (found, scrub.progress().blocks)
}

fn write(volume: &Volume<SimDisk>, index: u64, value: u8) {
    volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
}

#[test]
fn a_scrub_finds_what_was_spoilt_beneath_an_open_volume() {
    let (disk, volume) = created();
    for index in [0, 1, 700, 1999] {
        write(&volume, index, 1);
        volume.flush().unwrap();
    }
    volume.checkpoint().unwrap();
    write(&volume, 1, 2);
    volume.flush().unwrap();
    write(&volume, 5, 3); // not on the disk yet
    let (found, blocks) = scrub(&volume);
    assert_eq!((found, blocks), (vec![], 4));

    let clean = disk.files();
    let mut flaws = Vec::new();
    for (segment, bytes) in &clean.segments {
        for page in 0..bytes.len() / 4096 {
            disk.change(|files| files.segments.get_mut(segment).unwrap()[page * 4096 + 99] ^= 1);
            flaws.extend(scrub(&volume).0.into_iter().map(|finding| finding.flaw));
            disk.change(|files| *files = clean.clone());
        }
    }
    let count = |flaw| flaws.iter().filter(|found| **found == flaw).count();
    // Two pages each of: four blocks; a root and three leaves. The checkpoint's descriptor and the log behind it.
    assert_eq!((count(Flaw::Block), count(Flaw::Node)), (8, 8));
    assert!(count(Flaw::Log) >= 2, "{flaws:?}");
    for slot in [100, 4196] {
        disk.change(|files| files.checkpoint[slot] ^= 1);
        let newest = scrub(&volume).0.iter().any(|finding| finding.flaw == Flaw::Slot);
        assert!(newest || slot > 4096, "the other slot was never written");
        disk.change(|files| *files = clean.clone());
    }
    disk.change(|files| files.header.as_mut().unwrap()[40] ^= 1);
    assert_eq!(scrub(&volume).0[0].flaw, Flaw::Header);
    volume.lock();
    let locked = volume.scrub_step(&mut Scrub::default(), 1, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(locked, Err(VolumeError::Locked)));
}

#[test]
fn a_scrub_of_a_busy_volume_finds_nothing_that_is_not_there() {
    let (_, volume) = created();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(7);
            while !done.load(Relaxed) {
                for _ in 0..20 {
                    let index = random.below(BLOCKS - 8);
                    match random.below(8) {
                        0 => volume.discard(index * BLOCK as u64, 8 * BLOCK as u64).unwrap(),
                        _ => write(&volume, index, random.next() as u8),
                    }
                }
                volume.flush().unwrap();
                if volume.checkpoint_is_due() {
                    volume.checkpoint().unwrap();
                }
                volume.clean_step(256 << 10).unwrap();
            }
        });
        let mut looked_at = 0;
        while volume.usages().checkpoints < 20 {
            let (found, blocks) = scrub(&volume);
            assert_eq!(found, []);
            looked_at += blocks;
        }
        done.store(true, Relaxed);
        assert!(looked_at > 0);
    });
}
