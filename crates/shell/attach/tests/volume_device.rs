//! A volume over real files, used by threads.

use std::{fs, path::Path, sync::Arc, thread};

use attach::{BlockDevice, Options, VolumeDevice, VolumeError};
use volume::VolumeKey;

const SIZE: u64 = 64 << 20;
const BLOCK: usize = 8192;
const ID: &str = "vol-0123456789abcdef0";

fn key() -> VolumeKey {
    VolumeKey::copy_from(&[7; 32]).unwrap()
}

fn create(dir: &Path) {
    VolumeDevice::create(dir, ID, &key(), b"wrapped", SIZE).unwrap();
}

fn open(dir: &Path) -> Arc<VolumeDevice> {
    VolumeDevice::open(dir, ID, key(), Options::default()).unwrap()
}

fn read(device: &VolumeDevice, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; length];
    device.read(offset, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_was_flushed_survives_a_crash_and_what_was_written_survives_a_close() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    assert!(!VolumeDevice::exists(&dir));
    create(&dir);
    assert!(VolumeDevice::exists(&dir));
    assert!(matches!(
        VolumeDevice::create(&dir, ID, &key(), b"wrapped", SIZE),
        Err(VolumeError::AlreadyExists)
    ));

    let device = open(&dir);
    assert!(matches!(VolumeDevice::open(&dir, ID, key(), Options::default()), Err(VolumeError::InUse)));
    assert_eq!(device.size(), SIZE);
    device.write(4096, &[1; 3 * 4096]).unwrap();
    device.flush().unwrap();
    drop(device); // a crash

    let device = open(&dir);
    assert_eq!(read(&device, 0, 16384), [vec![0; 4096], vec![1; 3 * 4096]].concat());
    device.write(SIZE - 4096, &[2; 4096]).unwrap();
    device.discard(8192, 8192).unwrap();
    device.close().unwrap();
    assert!(device.read(0, &mut [0; 4096]).is_err());
    assert!(device.write(0, &[0; 4096]).is_err());

    let again = open(&dir);
    assert_eq!(read(&again, 0, 16384), [vec![0; 4096], vec![1; 4096], vec![0; 8192]].concat());
    assert_eq!(read(&again, SIZE - 4096, 4096), vec![2; 4096]);
}

#[test]
fn a_locked_volume_answers_nothing_and_loses_nothing_that_was_flushed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    create(&dir);
    let device = open(&dir);
    device.write(0, &[1; BLOCK]).unwrap();
    device.flush().unwrap();
    device.write(0, &[2; BLOCK]).unwrap();
    device.lock();
    assert!(device.read(0, &mut [0; BLOCK]).is_err());
    assert!(device.write(0, &[3; BLOCK]).is_err());
    assert!(device.discard(0, 8192).is_err());
    assert!(device.flush().is_err());
    drop(device);
    assert_eq!(read(&open(&dir), 0, BLOCK), vec![1; BLOCK]);
}

#[test]
fn a_volume_is_locked_under_load_and_keeps_what_was_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    create(&dir);
    let device = open(&dir);
    let acknowledged: Vec<u8> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                let device = &device;
                scope.spawn(move || {
                    // The last value that a flush acknowledged.
                    let mut last = 0;
                    for value in 1..=u8::MAX {
                        let written = device.write(writer * BLOCK as u64, &[value; BLOCK]);
                        if written.and_then(|()| device.flush()).is_err() {
                            break;
                        }
                        last = value;
                    }
                    last
                })
            })
            .collect();
        while device.stats().flushes < 50 {
            thread::yield_now();
        }
        device.lock();
        assert!(device.read(0, &mut [0; BLOCK]).is_err());
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    drop(device);
    let device = open(&dir);
    for (writer, last) in (0..).zip(acknowledged) {
        let block = read(&device, writer * BLOCK as u64, BLOCK);
        assert!(block.iter().all(|byte| *byte == block[0]), "a block is torn");
        assert!(block[0] == last || block[0] == last + 1, "{} after {last}", block[0]);
    }
}

#[test]
fn the_wrong_key_the_wrong_volume_and_no_volume_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    let options = Options::default;
    assert!(matches!(VolumeDevice::open(&dir, ID, key(), options()), Err(VolumeError::NotFound)));
    create(&dir);
    let wrong = VolumeKey::copy_from(&[8; 32]).unwrap();
    assert!(matches!(VolumeDevice::open(&dir, ID, wrong, options()), Err(VolumeError::WrongKey)));
    let other = VolumeDevice::open(&dir, "vol-other", key(), options());
    assert!(matches!(other, Err(VolumeError::WrongVolume { .. })));
    let odd = VolumeDevice::create(&home.path().join("odd"), ID, &key(), b"", SIZE + 1);
    assert!(matches!(odd, Err(VolumeError::Invalid(_))));
    assert!(!home.path().join("odd").exists() && !home.path().join("odd.new").exists());
}

#[test]
fn snapshots_and_clones_go_ways_of_their_own() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    create(&at("source"));
    let source = open(&at("source"));
    source.write(0, &[1; BLOCK]).unwrap();
    source.snapshot(&at("snapshot")).unwrap();
    source.write(0, &[2; BLOCK]).unwrap();
    source.flush().unwrap();
    assert!(matches!(source.snapshot(&at("snapshot")), Err(VolumeError::AlreadyExists)));

    let clone = |from: &str, to: &str| {
        VolumeDevice::clone_from(&at(from), ID, &at(to), "vol-clone", &key(), b"rewrapped").unwrap();
        VolumeDevice::open(&at(to), "vol-clone", key(), Options::default()).unwrap()
    };
    let first = clone("snapshot", "first");
    assert_eq!(read(&first, 0, BLOCK), vec![1; BLOCK]);
    first.write(0, &[3; BLOCK]).unwrap();
    first.close().unwrap();

    source.close().unwrap();
    VolumeDevice::snapshot_closed(&at("source"), &at("closed")).unwrap();
    VolumeDevice::remove(&at("source")).unwrap();
    VolumeDevice::remove(&at("source")).unwrap();
    let second = clone("closed", "second");
    assert_eq!(read(&second, 0, BLOCK), vec![2; BLOCK]);
    let again = VolumeDevice::open(&at("first"), "vol-clone", key(), Options::default()).unwrap();
    assert_eq!(read(&again, 0, BLOCK), vec![3; BLOCK]);
    assert_eq!(read(&clone("snapshot", "third"), 0, BLOCK), vec![1; BLOCK]);
}

#[test]
fn threads_read_what_they_wrote_while_checkpoints_and_snapshots_go_on() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    create(&dir);
    let options = Options {
        node_cache: 0,
        checkpoint_after: 1 << 20,
        write_behind: 64 << 10,
        pending_limit: 256 << 10,
        ..Options::default()
    };
    let device = VolumeDevice::open(&dir, ID, key(), options).unwrap();
    const THREADS: u64 = 4;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let device = &device;
            scope.spawn(move || {
                for round in 0..300_u64 {
                    let block = (round * 37 % 500) * THREADS + thread;
                    let stamp = (round as u8).wrapping_mul(3).wrapping_add(thread as u8);
                    device.write(block * BLOCK as u64, &[stamp; BLOCK]).unwrap();
                    if round % 5 == 0 {
                        device.flush().unwrap();
                    }
                    assert_eq!(read(device, block * BLOCK as u64, BLOCK), vec![stamp; BLOCK]);
                }
            });
        }
        let device = &device;
        let home = home.path();
        scope.spawn(move || {
            for number in 0..5 {
                device.snapshot(&home.join(format!("snapshot-{number}"))).unwrap();
            }
        });
    });
    assert!(device.stats().checkpoints > 0);
    device.close().unwrap();
    let device = open(&dir);
    for thread in 0..THREADS {
        for round in 0..300_u64 {
            let block = (round * 37 % 500) * THREADS + thread;
            let stamp = (round as u8).wrapping_mul(3).wrapping_add(thread as u8);
            assert_eq!(read(&device, block * BLOCK as u64, BLOCK), vec![stamp; BLOCK]);
        }
    }
}

#[test]
fn files_of_dead_segments_are_used_again_but_never_those_of_a_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    create(&dir);
    let options = Options { checkpoint_after: 32 << 20, ..Options::default() };
    let device = VolumeDevice::open(&dir, ID, key(), options).unwrap();
    let fill = |value: u8| {
        for chunk in 0..48 {
            device.write(chunk << 20, &vec![value; 1 << 20]).unwrap();
        }
        device.flush().unwrap();
    };
    fill(1);
    let snapshot = home.path().join("snapshot");
    device.snapshot(&snapshot).unwrap();
    let linked = |dir: &Path| -> Vec<(std::ffi::OsString, Vec<u8>)> {
        let files = fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap());
        files.map(|file| (file.file_name(), fs::read(file.path()).unwrap())).collect()
    };
    let before = linked(&snapshot);
    for value in 2..8 {
        fill(value);
    }
    assert_eq!(read(&device, 47 << 20, BLOCK), vec![7; BLOCK]);
    device.close().unwrap();
    let names = fs::read_dir(dir.join("segments")).unwrap().map(|entry| entry.unwrap().file_name());
    let (spares, segments): (Vec<_>, Vec<_>) =
        names.partition(|name| name.to_str().unwrap().starts_with("spare-"));
    assert!((1..=6).contains(&spares.len()), "a reserve of 4, and 2 for a small volume: {spares:?}");
    assert!(segments.len() <= 3, "{segments:?}");
    assert!(before == linked(&snapshot), "the snapshot has not changed");
    let device = open(&dir);
    for chunk in 0..48 {
        assert_eq!(read(&device, chunk << 20, BLOCK), vec![7; BLOCK]);
    }
}

#[test]
fn no_plaintext_reaches_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    create(&dir);
    let device = open(&dir);
    let marker = b"a marker that nobody may find on the disk";
    let mut block = [0; BLOCK];
    for piece in block.chunks_exact_mut(marker.len()) {
        piece.copy_from_slice(marker);
    }
    for index in 0..100 {
        device.write(index * BLOCK as u64, &block).unwrap();
    }
    device.flush().unwrap();
    device.snapshot(&home.path().join("snapshot")).unwrap();
    device.close().unwrap();
    let mut stack = vec![home.path().to_path_buf()];
    let mut files = 0;
    while let Some(path) = stack.pop() {
        if path.is_dir() {
            stack.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        files += 1;
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(16).any(|window| window == &marker[..16] || window == [7; 16]);
        assert!(!found, "{}", path.display());
    }
    assert!(files >= 6);
}

#[test]
fn an_older_copy_of_the_whole_directory_is_refused_and_a_volume_grows_on_real_files() {
    let home = tempfile::tempdir().unwrap();
    let (dir, old) = (home.path().join("volume"), home.path().join("old"));
    create(&dir);
    VolumeDevice::snapshot_closed(&dir, &old).unwrap();
    let device = open(&dir);
    device.grow(2 * SIZE).unwrap();
    device.write(2 * SIZE - 8192, &[7; 8192]).unwrap();
    device.close().unwrap();
    let anchor = device.anchor();
    drop(device);
    let anchored = || Options { anchor: Some(anchor), ..Options::default() };
    let refused = VolumeDevice::open(&old, ID, key(), anchored());
    assert!(matches!(refused, Err(VolumeError::RolledBack { found: 0, .. })));
    let device = VolumeDevice::open(&dir, ID, key(), anchored()).unwrap();
    let mut block = [0; 8192];
    device.read(2 * SIZE - 8192, &mut block).unwrap();
    assert_eq!((device.size(), block[0]), (2 * SIZE, 7));
}
