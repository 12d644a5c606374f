//! Files of dead segments that are kept to be written again, when they are not what they should be.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use attach::{BlockDevice, Options, VolumeDevice};
use volume::VolumeKey;

const ID: &str = "vol-0123456789abcdef0";

fn open(dir: &Path) -> Arc<VolumeDevice> {
    let key = VolumeKey::copy_from(&[7; 32]).unwrap();
    if !VolumeDevice::exists(dir) {
        VolumeDevice::create(dir, ID, &key, b"wrapped", 64 << 20).unwrap();
    }
    VolumeDevice::open(dir, ID, key, Options::default()).unwrap()
}

#[test]
fn a_spare_file_that_somebody_linked_is_not_written_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    open(&dir).close().unwrap();
    let (spare, kept) = (dir.join("segments/spare-0000000000"), home.path().join("kept"));
    fs::write(&spare, vec![5; 1 << 20]).unwrap();
    fs::hard_link(&spare, &kept).unwrap();
    let device = open(&dir);
    device.write(0, &[1; 8192]).unwrap();
    device.flush().unwrap();
    assert!(fs::read(&kept).unwrap() == vec![5; 1 << 20], "the linked file was changed");
    assert!(!spare.exists());
}

#[test]
fn a_spare_file_that_cannot_be_opened_stops_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    open(&dir).close().unwrap();
    symlink("nowhere", dir.join("segments/spare-0000000000")).unwrap();
    let device = open(&dir);
    device.write(0, &[1; 8192]).unwrap();
    device.flush().unwrap();
}
