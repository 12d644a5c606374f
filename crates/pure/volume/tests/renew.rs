//! The volume key is renewed while the volume is in use, and clones get keys of their own.

mod sim;

use std::sync::Arc;

use sim::{
    ID, Random, SeededEntropy,
    disk::{Fault, Files, SimDisk},
    key, unwrap_keys, wrap,
};
use volume::{BLOCK, Header, Options, Volume, VolumeError, VolumeKey, WrappedKey, clone_header};

const BLOCKS: u64 = 300;
const SEGMENT: u32 = 64 << 10;

fn numbered(number: u8) -> VolumeKey {
    VolumeKey::copy_from(&[number; 32]).unwrap()
}

fn create() -> SimDisk {
    let disk = SimDisk::new(1);
    let size = BLOCKS * BLOCK as u64;
    Volume::create(&disk, ID, &key(), &wrap(&key()), size, SEGMENT, &SeededEntropy::new(2)).unwrap();
    disk
}

fn header(disk: &SimDisk) -> Vec<u8> {
    disk.files().header.unwrap()
}

fn generations(disk: &SimDisk) -> Vec<u32> {
    Header::parse(&header(disk)).unwrap().generations.iter().map(|row| row.generation).collect()
}

fn open_as(disk: &SimDisk, id: &str, options: Options) -> Result<Volume<SimDisk>, VolumeError> {
    // Another seed each time: epochs must not share a salt.
    let entropy = Arc::new(SeededEntropy::new(1000 + disk.operations()));
    Volume::open(disk.clone(), id, unwrap_keys(&header(disk)), entropy, options)
}

fn open(disk: &SimDisk) -> Volume<SimDisk> {
    open_as(disk, ID, options()).unwrap()
}

fn options() -> Options {
    Options { node_cache: 0, keep_committed: 0, ..Options::default() }
}

fn write(volume: &Volume<SimDisk>, content: &mut [u8], index: u64, value: u8) {
    volume.write(index * BLOCK as u64, &[value; BLOCK]).unwrap();
    content[index as usize] = value;
}

fn check(volume: &Volume<SimDisk>, content: &[u8]) {
    for (index, value) in (0..).zip(content) {
        let mut block = [0xee; BLOCK];
        volume.read(index * BLOCK as u64, &mut block).unwrap();
        assert!(block.iter().all(|byte| byte == value), "block {index}");
    }
}

/// A volume with a checkpoint and a log behind it.
fn filled(disk: &SimDisk) -> (Volume<SimDisk>, Vec<u8>) {
    let volume = open(disk);
    let mut content = vec![0; BLOCKS as usize];
    let mut random = Random::new(1);
    for number in 0..150 {
        write(&volume, &mut content, random.below(BLOCKS), number);
        if number % 3 == 0 {
            volume.flush().unwrap();
        }
        if number == 120 {
            volume.checkpoint().unwrap();
        }
    }
    volume.flush().unwrap();
    (volume, content)
}

fn clean_up(volume: &Volume<SimDisk>) -> Result<(), VolumeError> {
    for _ in 0..1000 {
        if !volume.clean_step(4 * BLOCK)? || !volume.is_renewing() {
            return Ok(());
        }
    }
    panic!("the renewal comes to its end");
}

#[test]
fn after_a_renewal_the_new_key_alone_opens_the_volume_and_nothing_is_left_of_the_old_one() {
    let disk = create();
    let (volume, mut content) = filled(&disk);
    volume.renew_key(numbered(1), &wrap(&numbered(1))).unwrap();
    assert_eq!(generations(&disk), [1, 2]);
    assert!(volume.is_renewing());
    let mut random = Random::new(2);
    let mut left = u64::MAX;
    let mut writes = 0..40;
    while volume.is_renewing() && volume.clean_step(4 * BLOCK).unwrap() {
        let usages = volume.usages();
        assert!(usages.older_records <= left.max(1) && usages.older_records <= usages.live_records);
        if usages.generations == 2 && usages.older_records > 0 {
            left = usages.older_records;
        }
        // The volume is in use meanwhile.
        if writes.next().is_some() {
            write(&volume, &mut content, random.below(BLOCKS), 200);
        }
        let index = random.below(BLOCKS);
        let mut block = [0; BLOCK];
        volume.read(index * BLOCK as u64, &mut block).unwrap();
        assert_eq!(block[0], content[index as usize]);
    }
    let usages = volume.usages();
    assert_eq!((usages.generations, usages.older_records, usages.stuck_segments), (1, 0, 0));
    assert_eq!(generations(&disk), [2]);
    check(&volume, &content);
    volume.flush().unwrap();
    drop(volume);
    let parsed = Header::parse(&header(&disk)).unwrap();
    for bytes in disk.files().segments.values() {
        let epoch = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let row = parsed.epochs.iter().find(|row| row.start.epoch == epoch);
        assert!(row.is_none_or(|row| row.generation == 2) || bytes[..8] != *b"SRGROUP1");
    }
    let entropy = || Arc::new(SeededEntropy::new(9));
    assert!(matches!(
        Volume::open(disk.clone(), ID, key(), entropy(), options()),
        Err(VolumeError::WrongKey)
    ));
    check(&Volume::open(disk.clone(), ID, numbered(1), entropy(), options()).unwrap(), &content);
}

#[test]
fn during_a_renewal_every_generation_has_to_be_unwrapped() {
    let disk = create();
    let (volume, content) = filled(&disk);
    volume.renew_key(numbered(1), &wrap(&numbered(1))).unwrap();
    drop(volume);
    let before = disk.operations();
    for keys in [vec![key()], vec![numbered(1)], vec![numbered(2)], vec![]] {
        let opened = Volume::open(disk.clone(), ID, keys, Arc::new(SeededEntropy::new(7)), options());
        assert!(matches!(opened, Err(VolumeError::WrongKey)));
    }
    assert_eq!(disk.operations(), before);
    let keys = vec![numbered(3), numbered(1), key()];
    let opened = Volume::open(disk.clone(), ID, keys, Arc::new(SeededEntropy::new(8)), options());
    check(&opened.unwrap(), &content);
}

#[test]
fn a_crash_at_any_step_of_a_renewal_loses_nothing_and_it_goes_on() {
    let mut steps = 0;
    for after in 0.. {
        let disk = create();
        let (volume, content) = filled(&disk);
        disk.arm(after, Fault::Crash);
        let renewed = volume.renew_key(numbered(1), &wrap(&numbered(1))).and_then(|()| clean_up(&volume));
        drop(volume);
        if !disk.is_dead() {
            renewed.unwrap();
            break;
        }
        steps = after;
        disk.restart();
        let volume = open(&disk);
        check(&volume, &content);
        clean_up(&volume).unwrap();
        assert_eq!(generations(&disk).len(), 1);
        check(&volume, &content);
        drop(volume);
        check(&open(&disk), &content);
    }
    assert!(steps > 20, "{steps} steps");
}

#[test]
fn a_second_renewal_may_begin_at_any_moment_of_the_first() {
    for pause in 0..60 {
        let disk = create();
        let (volume, content) = filled(&disk);
        volume.renew_key(numbered(1), &wrap(&numbered(1))).unwrap();
        for _ in 0..pause {
            volume.clean_step(4 * BLOCK).unwrap();
        }
        volume.renew_key(numbered(2), &wrap(&numbered(2))).unwrap();
        check(&volume, &content);
        clean_up(&volume).unwrap();
        assert_eq!(generations(&disk), [3]);
        check(&volume, &content);
        volume.close().unwrap();
        check(&open(&disk), &content);
    }
}

#[test]
fn an_empty_volume_is_renewed_at_once() {
    let disk = create();
    let volume = open(&disk);
    volume.renew_key(numbered(1), &wrap(&numbered(1))).unwrap();
    clean_up(&volume).unwrap();
    assert_eq!(generations(&disk), [2]);
    drop(volume);
    check(&open(&disk), &[0; BLOCKS as usize]);
}

#[test]
fn an_anchor_of_a_retired_generation_is_still_known() {
    let disk = create();
    let (volume, content) = filled(&disk);
    let anchor = volume.anchor();
    drop(volume);
    for number in 1..4 {
        let anchored = Options { anchor: Some(anchor), ..options() };
        let volume = open_as(&disk, ID, anchored).unwrap();
        volume.renew_key(numbered(number), &wrap(&numbered(number))).unwrap();
        let begun = volume.anchor();
        clean_up(&volume).unwrap();
        assert_eq!(generations(&disk).len(), 1);
        drop(volume);
        // Neither the one that it was opened with nor one taken since is refused.
        let copy = SimDisk::with(disk.files(), 1);
        let anchored = Options { anchor: Some(begun), ..options() };
        check(&open_as(&copy, ID, anchored).unwrap(), &content);
    }
}

#[test]
fn a_renewal_that_meets_a_damaged_segment_keeps_its_key_and_says_so() {
    let disk = create();
    let (volume, mut content) = filled(&disk);
    volume.checkpoint().unwrap();
    // One bit of one live block: everything else moves.
    disk.change(|files| {
        let (_, bytes) = files.segments.iter_mut().find(|(_, bytes)| bytes.starts_with(b"SRGROUP1")).unwrap();
        bytes[4096 + 100] ^= 1;
    });
    volume.renew_key(numbered(1), &wrap(&numbered(1))).unwrap();
    clean_up(&volume).unwrap();
    let usages = volume.usages();
    assert_eq!((usages.generations, usages.stuck_segments, usages.older_records), (2, 1, 1));
    let lost = volume.take_lost();
    assert!(lost[0].contains("block 65 in segment 1 at 4096 is not authentic"), "{lost:?}");
    assert_eq!(volume.take_lost(), Vec::<String>::new());
    // Once the block is written anew, nothing needs the old key.
    write(&volume, &mut content, 65, 77);
    volume.flush().unwrap();
    volume.checkpoint().unwrap();
    clean_up(&volume).unwrap();
    assert_eq!(generations(&disk), [2]);
    drop(volume);
    let volume = open(&disk);
    let lost = (0..).zip(&content).filter(|(index, value)| {
        let mut block = [0; BLOCK];
        match volume.read(index * BLOCK as u64, &mut block) {
            Ok(()) => {
                assert_eq!(block[0], **value);
                false
            }
            Err(error) => {
                assert!(matches!(error, VolumeError::Damaged(_)));
                true
            }
        }
    });
    assert!(lost.count() <= 1);
}

/// Links a snapshot, and makes the header of a clone of it.
fn snapshot(disk: &SimDisk, volume: &Volume<SimDisk>) -> Files {
    let mut saved = None;
    let save = |image: &volume::Image| {
        saved = Some(disk.link(&image.header, &image.checkpoint, &image.segments));
        Ok(())
    };
    volume.snapshot(save).unwrap();
    saved.unwrap()
}

fn clone(files: Files, id: &str, own: u8) -> SimDisk {
    let header = files.header.as_ref().unwrap();
    let keys: Vec<_> = unwrap_keys(header).into_iter().map(|key| (wrap(&key), key)).collect();
    let keys: Vec<_> = keys.iter().map(|(wrapped, key)| WrappedKey { key, wrapped }).collect();
    let own = numbered(own);
    let own = WrappedKey { key: &own, wrapped: &wrap(&own) };
    let entropy = SeededEntropy::new(50);
    let made = clone_header(header, ID, id, &keys, Some(own), &entropy).unwrap();
    let short = clone_header(header, ID, id, &keys[1..], Some(own), &entropy);
    assert!(matches!(short, Err(VolumeError::WrongKey)));
    SimDisk::with(Files { header: Some(made), ..files }, 60)
}

#[test]
fn a_clone_with_a_key_of_its_own_and_its_origin_do_each_other_no_harm() {
    let disk = create();
    let (origin, content) = filled(&disk);
    let files = snapshot(&disk, &origin);
    let clone_disk = clone(files.clone(), "vol-clone", 7);
    // The clone's files are links too: none may be changed, all may be removed.
    let linked: Vec<u32> = clone_disk.files().segments.keys().copied().collect();
    clone_disk.link(&[], &[], &linked);
    let clone = open_as(&clone_disk, "vol-clone", options()).unwrap();
    check(&clone, &content);
    let mut other = content.clone();
    write(&clone, &mut other, 3, 99);
    clean_up(&clone).unwrap();
    assert_eq!(generations(&clone_disk), [2]);
    check(&clone, &other);
    clone.close().unwrap();
    drop(clone);
    // The origin is renewed, and what it shared with the snapshot goes its own way.
    origin.renew_key(numbered(1), &wrap(&numbered(1))).unwrap();
    clean_up(&origin).unwrap();
    check(&origin, &content);
    drop(origin);
    check(&open(&disk), &content);
    check(&open(&SimDisk::with(files, 1)), &content);
    // The clone needs neither key of its origin.
    let entropy = Arc::new(SeededEntropy::new(77));
    let clone = Volume::open(clone_disk, "vol-clone", numbered(7), entropy, options()).unwrap();
    check(&clone, &other);
}

#[test]
fn a_snapshot_of_a_volume_in_renewal_names_all_keys_that_it_needs() {
    for pause in [0, 1, 5, 20, 40, 60] {
        let disk = create();
        let (volume, content) = filled(&disk);
        volume.renew_key(numbered(1), &wrap(&numbered(1))).unwrap();
        for _ in 0..pause {
            volume.clean_step(4 * BLOCK).unwrap();
        }
        let files = snapshot(&disk, &volume);
        clean_up(&volume).unwrap();
        check(&volume, &content);
        check(&open(&SimDisk::with(files.clone(), 1)), &content);
        let clone_disk = clone(files, "vol-clone", 7);
        let clone = open_as(&clone_disk, "vol-clone", options()).unwrap();
        clean_up(&clone).unwrap();
        check(&clone, &content);
        assert_eq!(generations(&clone_disk).len(), 1);
    }
}
