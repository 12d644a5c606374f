//! A host without space: nothing that was acknowledged is lost, and the volume goes on as soon as there is space.

mod sim;

use std::sync::Arc;

use sim::{
    ID, SeededEntropy,
    disk::{Fault, SimDisk},
    key,
};
use volume::{BLOCK, Options, Volume, VolumeError};

const SEGMENT: u32 = 64 << 10;
const BLOCKS: u64 = 40;

fn open(disk: &SimDisk, seed: u64) -> Volume<SimDisk> {
    let options = Options { node_cache: 0, keep_committed: 0, ..Options::default() };
    Volume::open(disk.clone(), ID, key(), Arc::new(SeededEntropy::new(seed)), options).unwrap()
}

fn create(disk: &SimDisk) {
    let size = BLOCKS * BLOCK as u64;
    Volume::create(disk, ID, &key(), b"wrapped", size, SEGMENT, &SeededEntropy::new(2)).unwrap();
}

fn check(volume: &Volume<SimDisk>, content: &[u8]) {
    for (index, value) in (0..).zip(content) {
        let mut block = [0xee; BLOCK];
        volume.read(index * BLOCK as u64, &mut block).unwrap();
        assert!(block.iter().all(|byte| byte == value), "block {index}");
    }
}

/// Tries until there is space; nothing but the want of it is an error.
fn insist(mut attempt: impl FnMut() -> Result<(), VolumeError>) {
    for _ in 0..20 {
        match attempt() {
            Ok(()) => return,
            Err(error) => assert!(error.is_full(), "{error:?}"),
        }
    }
    panic!("there was space");
}

#[test]
fn a_write_that_lacks_space_is_tried_again_whatever_part_of_it_was_written() {
    // The seed decides how much of the failing write reaches the disk; the fuse, which write fails.
    for seed in 0..40 {
        for after in 0..12 {
            let disk = SimDisk::new(seed);
            create(&disk);
            let volume = open(&disk, 3);
            let mut content = vec![0; BLOCKS as usize];
            disk.arm(after, Fault::Full(1 + seed as u32 % 3));
            for round in 0..4_u8 {
                for index in [0, 1, 2 + u64::from(round)] {
                    volume.write(index * BLOCK as u64, &[round + 1; BLOCK]).unwrap();
                    content[index as usize] = round + 1;
                }
                insist(|| volume.flush());
                if round == 1 {
                    insist(|| volume.checkpoint());
                }
                check(&volume, &content);
            }
            // An end is stated right after a write that failed, or after a crash.
            match seed % 3 {
                0 => insist(|| volume.snapshot(|_| Ok(()))),
                1 => {
                    if let Err(error) = volume.close() {
                        assert!(error.is_full(), "{error:?}");
                    }
                }
                _ => {}
            }
            drop(volume);
            disk.restart();
            let volume = open(&disk, 4);
            check(&volume, &content);
            volume.close().unwrap();
            check(&open(&disk, 5), &content);
        }
    }
}

#[test]
fn nodes_that_lack_space_leave_an_end_that_can_be_stated() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        create(&disk);
        let volume = open(&disk, 3);
        volume.write(0, &[1; BLOCK]).unwrap();
        volume.flush().unwrap();
        // The node is the next thing to be written.
        disk.arm(0, Fault::Full(1));
        match volume.checkpoint() {
            Ok(()) => continue, // this seed let it through
            Err(error) => assert!(error.is_full(), "{error:?}"),
        }
        volume.discard(0, BLOCK as u64).unwrap();
        volume.close().unwrap();
        let mut content = vec![0; BLOCKS as usize];
        content[0] = 0;
        check(&open(&disk, 4), &content);
    }
}

#[test]
fn a_host_that_stays_full_does_not_make_the_header_grow() {
    let disk = SimDisk::new(1);
    create(&disk);
    let volume = open(&disk, 3);
    volume.write(0, &[1; BLOCK]).unwrap();
    volume.flush().unwrap();
    let length = |disk: &SimDisk| disk.files().header.unwrap().len();
    let before = length(&disk);
    let (mut failed, mut written) = (0, 0);
    let mut before_it = 0;
    for _ in 0..200 {
        volume.write(0, &[2; BLOCK]).unwrap();
        disk.arm(before_it, Fault::Full(1));
        match volume.flush() {
            Ok(()) => (before_it, written) = (0, written + 1),
            // Then the segment is ended, the header replaced, the next segment made, and the write fails again.
            Err(_) => (before_it, failed) = (3, failed + 1),
        }
    }
    // A row of an epoch has 95 bytes here.
    assert!(failed > 50 && length(&disk) <= before + (written + 1) * 95, "{failed} {written}");
    disk.restart();
    volume.flush().unwrap();
    drop(volume);
    check(&open(&disk, 4), &[&[2][..], &[0; 39]].concat());
}

/// The header that a failed attempt may have left must fit whatever anchor is taken afterwards.
#[test]
fn an_anchor_taken_after_a_header_in_doubt_fits_whichever_is_on_the_disk() {
    for seed in 0..60 {
        // The first of all epochs, or one that has a used one before it.
        for used in [false, true] {
            let disk = SimDisk::new(seed);
            create(&disk);
            let volume = open(&disk, 3);
            if used {
                volume.write(0, &[7; BLOCK]).unwrap();
                volume.flush().unwrap();
                volume.close().unwrap();
            }
            drop(volume);
            let volume = open(&disk, 4);
            volume.write(BLOCK as u64, &[1; BLOCK]).unwrap();
            // The write fails, and then perhaps the header of the next epoch, of which any part may be there.
            disk.arm(1, Fault::Full(1 + seed as u32 % 4));
            let mut anchors = Vec::new();
            for _ in 0..seed % 3 {
                let _ = volume.flush();
                anchors.push(volume.anchor());
            }
            let _ = volume.close();
            anchors.push(volume.anchor());
            drop(volume);
            disk.restart();
            for anchor in anchors {
                let copy = SimDisk::with(disk.files(), 1);
                let options = Options { anchor: Some(anchor), ..Options::default() };
                let entropy = Arc::new(SeededEntropy::new(5));
                Volume::open(copy, ID, key(), entropy, options).unwrap();
            }
        }
    }
}

#[test]
fn a_header_that_the_disk_refused_stops_the_volume() {
    let disk = SimDisk::new(1);
    create(&disk);
    let volume = open(&disk, 3);
    volume.write(0, &[1; BLOCK]).unwrap();
    volume.flush().unwrap();
    disk.arm(0, Fault::Error);
    assert!(volume.grow(2 * BLOCKS * BLOCK as u64).is_err());
    assert!(matches!(volume.flush(), Err(VolumeError::Stopped)));
    drop(volume);
    disk.restart();
    check(&open(&disk, 4), &[1]);
}
