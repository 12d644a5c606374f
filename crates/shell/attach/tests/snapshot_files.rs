//! A snapshot taken apart into its files, and made of them again elsewhere.

use std::{fs, path::PathBuf};

use attach::{BlockDevice, Options, SnapshotFiles, VolumeDevice, assemble_snapshot};
use volume::{VolumeError, VolumeKey};

const ID: &str = "vol-0123456789abcdef0";

fn key() -> VolumeKey {
    VolumeKey::copy_from(&[7; 32]).unwrap()
}

#[test]
fn a_snapshot_made_of_the_files_of_another_holds_the_same() {
    let home = tempfile::tempdir().unwrap();
    let (dir, snapshot) = (home.path().join("volume"), home.path().join("snapshot"));
    VolumeDevice::create(&dir, ID, &key(), b"wrapped", 64 << 20).unwrap();
    let device = VolumeDevice::open(&dir, ID, key(), Options::default()).unwrap();
    device.write(8192, &[1; 8192]).unwrap();
    device.snapshot(&snapshot).unwrap();
    device.write(8192, &[2; 8192]).unwrap();
    device.close().unwrap();

    let files = SnapshotFiles::open(&snapshot).unwrap();
    assert!(!files.segments.is_empty());
    assert!(matches!(VolumeDevice::remove(&snapshot), Err(VolumeError::InUse)), "its files are needed");
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let carried: Vec<(u32, PathBuf)> = files
        .segments
        .iter()
        .map(|(number, file)| {
            let copy = elsewhere.join(format!("{number}"));
            fs::copy(file, &copy).unwrap();
            (*number, copy)
        })
        .collect();
    let again = home.path().join("snapshots/again");
    assemble_snapshot(&again, &files.header, &files.checkpoint, &carried).unwrap();
    let twice = assemble_snapshot(&again, &files.header, &files.checkpoint, &carried);
    assert!(matches!(twice, Err(VolumeError::AlreadyExists)));
    drop(files);
    VolumeDevice::remove(&snapshot).unwrap();
    fs::remove_dir_all(&elsewhere).unwrap();

    let clone = home.path().join("clone");
    VolumeDevice::clone_from(&again, ID, &clone, "vol-2", &key(), b"wrapped").unwrap();
    let device = VolumeDevice::open(&clone, "vol-2", key(), Options::default()).unwrap();
    let mut block = [0; 8192];
    device.read(8192, &mut block).unwrap();
    assert_eq!(block, [1; 8192]);
    assert!(matches!(SnapshotFiles::open(&snapshot), Err(VolumeError::NotFound)));
}

#[test]
fn a_snapshot_that_lacks_a_file_is_not_made_at_all() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("snapshot");
    let missing = [(1, home.path().join("gone"))];
    assert!(matches!(
        assemble_snapshot(&dir, b"header", b"checkpoint", &missing),
        Err(VolumeError::Io { .. })
    ));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
