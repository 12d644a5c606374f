//! Volumes and snapshots in directories, opened for reading alone.

use std::{collections::BTreeMap, fs, ops::Range, os::unix::fs::MetadataExt, path::Path};

use attach::{BlockDevice, Options, VolumeDevice, VolumeError, VolumeReader};
use volume::VolumeKey;

const SIZE: u64 = 64 << 20;
const BLOCK: usize = 8192;
const ID: &str = "vol-0123456789abcdef0";

fn key() -> VolumeKey {
    VolumeKey::copy_from(&[7; 32]).unwrap()
}

/// Name, change time and size of every file.
fn files(dir: &Path) -> BTreeMap<String, (i64, i64, u64)> {
    let all = fs::read_dir(dir).unwrap().chain(fs::read_dir(dir.join("segments")).unwrap());
    let state = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        (entry.file_name().into_string().unwrap(), (metadata.ctime(), metadata.ctime_nsec(), metadata.size()))
    };
    all.map(state).collect()
}

#[test]
fn a_snapshot_and_a_volume_that_nobody_has_open_are_read_and_stay_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let (dir, snapshot) = (home.path().join("volume"), home.path().join("snapshot"));
    VolumeDevice::create(&dir, ID, &key(), b"wrapped", SIZE).unwrap();
    let device = VolumeDevice::open(&dir, ID, key(), Options::default()).unwrap();
    device.write(3 * BLOCK as u64, &[1; 2 * BLOCK]).unwrap();
    device.write(SIZE - 4096, &[2; 4096]).unwrap();
    device.snapshot(&snapshot).unwrap();
    device.write(0, &[3; BLOCK]).unwrap();
    device.flush().unwrap();
    assert!(matches!(VolumeReader::open(&dir, ID, key(), None), Err(VolumeError::InUse)));
    drop(device); // a crash

    let last = SIZE / BLOCK as u64 - 1;
    for (dir, first, ranges) in
        [(&snapshot, 0, vec![3..5, last..last + 1]), (&dir, 3, vec![0..1, 3..5, last..last + 1])]
    {
        let before = files(dir);
        let reader = VolumeReader::open(dir, ID, key(), None).unwrap();
        let other = VolumeReader::open(dir, ID, key(), None).unwrap();
        assert!(matches!(VolumeDevice::open(dir, ID, key(), Options::default()), Err(VolumeError::InUse)));
        assert_eq!((reader.size(), reader.header().volume.as_str()), (SIZE, ID));
        let mut bytes = vec![0; 5 * BLOCK];
        reader.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [vec![first; BLOCK], vec![0; 2 * BLOCK], vec![1; 2 * BLOCK]].concat());
        let live: Vec<Range<u64>> = other.live_ranges(0).map(Result::unwrap).collect();
        assert_eq!(live, ranges);
        assert_eq!(files(dir), before);
    }
}
