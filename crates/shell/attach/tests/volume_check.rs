//! Check, scrub and salvage of volumes in directories.

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use attach::{BlockDevice, Finding, Flaw, Observed, Options, VolumeDevice, VolumeError, check, salvage};
use volume::VolumeKey;

const SIZE: u64 = 64 << 20;
const BLOCK: usize = 8192;
const ID: &str = "vol-0123456789abcdef0";

fn key() -> VolumeKey {
    VolumeKey::copy_from(&[7; 32]).unwrap()
}

fn open(dir: &Path) -> Arc<VolumeDevice> {
    VolumeDevice::open(dir, ID, key(), Options::default()).unwrap()
}

/// A closed volume whose block n holds n + 1.
fn filled(dir: &Path) {
    VolumeDevice::create(dir, ID, &key(), b"wrapped", SIZE).unwrap();
    let device = open(dir);
    for index in 0..40_u8 {
        device.write(u64::from(index) * BLOCK as u64, &[index + 1; BLOCK]).unwrap();
    }
    device.close().unwrap();
}

fn findings(dir: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut observe = |observed: Observed<'_>| {
        if let Observed::Found(finding) = observed {
            found.push(finding.clone());
        }
        ControlFlow::Continue(())
    };
    let (progress, _) = check(dir, ID, key(), None, &mut observe).unwrap();
    assert_eq!(progress.findings, found.len() as u64);
    found
}

/// Flips a bit of the place of a finding that would come of it.
fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("segments/0000000001")
}

#[test]
fn a_volume_is_checked_and_what_is_left_of_it_salvaged_into_a_new_one() {
    let home = tempfile::tempdir().unwrap();
    let (dir, into) = (home.path().join("volume"), home.path().join("salvaged"));
    filled(&dir);
    assert_eq!(findings(&dir), []);

    // The third block of the first group.
    flip(&segment(&dir), 4096 + 2 * BLOCK as u64 + 77);
    let found = findings(&dir);
    assert_eq!((found.len(), found[0].flaw, found[0].blocks.clone()), (1, Flaw::Block, 2..3));
    let report = salvage(&dir, ID, key(), None, &into, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.copied, report.missing.iter().cloned().flatten().collect::<Vec<_>>()), (39, vec![2]));
    assert!(matches!(
        salvage(&dir, ID, key(), None, &into, &mut |_| ControlFlow::Continue(())),
        Err(VolumeError::AlreadyExists)
    ));
    assert_eq!(findings(&into), []);
    let device = open(&into);
    for index in 0..40_u8 {
        let mut block = [0xee; BLOCK];
        device.read(u64::from(index) * BLOCK as u64, &mut block).unwrap();
        assert!(block.iter().all(|byte| *byte == if index == 2 { 0 } else { index + 1 }), "block {index}");
    }
    // Ended, it leaves nothing behind.
    let third = home.path().join("third");
    let ended = salvage(&dir, ID, key(), None, &third, &mut |_| ControlFlow::Break(()));
    assert!(matches!(ended, Err(VolumeError::Stopped)));
    assert!(!third.exists() && !home.path().join("third.new").exists());
}

#[test]
fn a_lost_header_is_found_in_its_copy_but_no_attach_uses_it() {
    let home = tempfile::tempdir().unwrap();
    let (dir, into) = (home.path().join("volume"), home.path().join("salvaged"));
    filled(&dir);
    flip(&dir.join("header.copy"), 50);
    assert_eq!(findings(&dir)[0].flaw, Flaw::Header);
    fs::copy(dir.join("header"), dir.join("header.copy")).unwrap();
    for gone in [false, true] {
        if gone {
            fs::remove_file(dir.join("header")).unwrap();
        } else {
            flip(&dir.join("header"), 50);
        }
        assert!(VolumeDevice::open(&dir, ID, key(), Options::default()).is_err());
        let found = findings(&dir);
        assert_eq!((found.len(), found[0].flaw), (1, Flaw::Header));
    }
    let report = salvage(&dir, ID, key(), None, &into, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_whole() && report.copied == 40);
    assert_eq!(findings(&into), []);
}

#[test]
fn files_that_are_none_of_a_volume_are_told_and_are_no_damage() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    filled(&dir);
    fs::write(dir.join("header.new"), "x").unwrap();
    fs::write(dir.join("segments/core"), "x").unwrap();
    let found = findings(&dir);
    assert!(found.len() == 2 && found.iter().all(|finding| !finding.flaw.is_damage()), "{found:?}");
    // Whatever is deleted: a finding, or an error that names it.
    for gone in ["checkpoint", "segments/0000000001", "header.copy"] {
        let (path, kept) = (dir.join(gone), home.path().join("kept"));
        fs::rename(&path, &kept).unwrap();
        let found = findings(&dir);
        assert_eq!(found.iter().any(|finding| finding.flaw.is_damage()), gone != "header.copy", "{gone}");
        fs::rename(&kept, &path).unwrap();
    }
    fs::rename(dir.join("segments"), home.path().join("kept")).unwrap();
    let failed = check(&dir, ID, key(), None, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(failed, Err(VolumeError::Io { .. })));
}

#[test]
fn a_scrub_of_an_open_volume_and_a_read_tell_a_place_once() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    filled(&dir);
    let device = open(&dir);
    assert!(matches!(
        check(&dir, ID, key(), None, &mut |_| ControlFlow::Continue(())),
        Err(VolumeError::InUse)
    ));
    let mut steps = 0;
    let (progress, flow) = device
        .scrub(&mut |observed| {
            steps += u32::from(matches!(observed, Observed::Step(_)));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(flow.is_continue() && steps > 0);
    assert_eq!((progress.blocks, progress.findings), (40, 0));
    assert_eq!(device.damage(), Vec::<String>::new());

    flip(&segment(&dir), 4096 + 2 * BLOCK as u64 + 77);
    for _ in 0..3 {
        assert!(device.read(2 * BLOCK as u64, &mut [0; BLOCK]).is_err());
    }
    assert_eq!(device.damage().len(), 1);
    let (progress, _) = device.scrub(&mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((progress.damage, device.damage().len()), (1, 1), "{:?}", device.damage());
    let (_, flow) = device.scrub(&mut |_| ControlFlow::Break(())).unwrap();
    assert!(flow.is_break());
    device.lock();
    assert!(matches!(device.scrub(&mut |_| ControlFlow::Continue(())), Err(VolumeError::Locked)));
}
