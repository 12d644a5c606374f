//! Other keys for volumes in directories: renewal, clones with a key of their own, copies under another key.

use std::{ops::ControlFlow, path::Path, sync::Arc, thread, time::Duration};

use attach::{
    BlockDevice, Options, VolumeDevice, VolumeError, VolumeReader, WrappedKey, check as check_files, salvage,
};
use volume::VolumeKey;

const ID: &str = "vol-0123456789abcdef0";
const SIZE: u64 = 64 << 20;
const BLOCK: usize = 8192;

fn key(number: u8) -> VolumeKey {
    VolumeKey::copy_from(&[number; 32]).unwrap()
}

fn create(dir: &Path) -> Arc<VolumeDevice> {
    VolumeDevice::create(dir, ID, &key(1), &[1], SIZE).unwrap();
    VolumeDevice::open(dir, ID, key(1), Options::default()).unwrap()
}

fn fill(device: &VolumeDevice, blocks: u64) {
    for index in 0..blocks {
        device.write(index * 3 * BLOCK as u64, &[(index % 250) as u8 + 1; BLOCK]).unwrap();
    }
    device.flush().unwrap();
}

fn check(device: &VolumeDevice, blocks: u64) {
    let mut block = [0; BLOCK];
    for index in 0..blocks {
        device.read(index * 3 * BLOCK as u64, &mut block).unwrap();
        assert!(block.iter().all(|byte| *byte == (index % 250) as u8 + 1), "block {index}");
        device.read((index * 3 + 1) * BLOCK as u64, &mut block).unwrap();
        assert_eq!(block, [0; BLOCK]);
    }
}

/// Waits for the worker, however loaded the machine is.
fn retired(device: &VolumeDevice) {
    while device.stats().generations > 1 {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(device.stats().older_records, 0);
}

#[test]
fn the_worker_brings_a_renewal_to_its_end_also_after_another_open() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    let device = create(&dir);
    fill(&device, 2000);
    device.renew_key(key(2), &[2]).unwrap();
    let wrapped = VolumeDevice::wrapped_keys(&dir).unwrap();
    assert!(wrapped == [(1, vec![1]), (2, vec![2])] || wrapped == [(2, vec![2])]);
    drop(device); // a crash
    let device = VolumeDevice::open(&dir, ID, vec![key(1), key(2)], Options::default()).unwrap();
    check(&device, 2000);
    retired(&device);
    assert_eq!(VolumeDevice::wrapped_keys(&dir).unwrap(), [(2, vec![2])]);
    check(&device, 2000);
    device.close().unwrap();
    drop(device);
    assert!(matches!(VolumeDevice::open(&dir, ID, key(1), Options::default()), Err(VolumeError::WrongKey)));
    check(&VolumeDevice::open(&dir, ID, key(2), Options::default()).unwrap(), 2000);
}

#[test]
fn a_clone_gets_a_key_of_its_own_and_outlives_its_origin() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let device = create(&at("origin"));
    fill(&device, 500);
    device.snapshot(&at("snapshot")).unwrap();
    let source = [WrappedKey { key: &key(1), wrapped: &[11] }];
    let own = WrappedKey { key: &key(7), wrapped: &[17] };
    VolumeDevice::clone_under(&at("snapshot"), ID, &at("clone"), "vol-clone", &source, Some(own)).unwrap();
    assert_eq!(VolumeDevice::wrapped_keys(&at("clone")).unwrap(), [(1, vec![11]), (2, vec![17])]);
    let keys = vec![key(7), key(1)];
    let clone = VolumeDevice::open(&at("clone"), "vol-clone", keys, Options::default()).unwrap();
    retired(&clone);
    check(&clone, 500);
    check(&device, 500);
    drop(device);
    VolumeDevice::remove(&at("origin")).unwrap();
    VolumeDevice::remove(&at("snapshot")).unwrap();
    clone.close().unwrap();
    drop(clone);
    check(&VolumeDevice::open(&at("clone"), "vol-clone", key(7), Options::default()).unwrap(), 500);
}

#[test]
fn a_copy_under_another_key_appears_whole_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let device = create(&at("volume"));
    fill(&device, 1000);
    device.snapshot(&at("snapshot")).unwrap();
    let own = key(9);
    let own = WrappedKey { key: &own, wrapped: &[9] };
    let copy = |observe: &mut dyn FnMut(u64, u64) -> ControlFlow<()>| {
        let (from, to) = (at("snapshot"), at("copy"));
        VolumeDevice::copy_resealed(
            &VolumeReader::open(&from, ID, key(1), None)?,
            &to,
            "vol-copy",
            own,
            observe,
        )
    };
    let cancelled = copy(&mut |done, total| {
        if done * 2 > total { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(cancelled, Err(VolumeError::Stopped)));
    assert!(!VolumeDevice::exists(&at("copy")));
    let mut last = (0, 0);
    copy(&mut |done, total| {
        assert!(done > last.0 && done <= total);
        last = (done, total);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(last, (1000 * BLOCK as u64, 1000 * BLOCK as u64));
    assert!(matches!(copy(&mut |_, _| ControlFlow::Continue(())), Err(VolumeError::AlreadyExists)));
    let copied = VolumeDevice::open(&at("copy"), "vol-copy", key(9), Options::default()).unwrap();
    assert_eq!(copied.size(), SIZE);
    check(&copied, 1000);
    let wrong = VolumeDevice::open(&at("copy"), "vol-copy", key(1), Options::default());
    assert!(matches!(wrong, Err(VolumeError::InUse | VolumeError::WrongKey)));
    check(&device, 1000);
}

#[test]
fn a_volume_in_renewal_is_checked_and_salvaged_with_all_its_keys() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let device = create(&at("origin"));
    fill(&device, 300);
    device.snapshot(&at("snapshot")).unwrap();
    let source = [WrappedKey { key: &key(1), wrapped: &[11] }];
    let own = WrappedKey { key: &key(7), wrapped: &[17] };
    VolumeDevice::clone_under(&at("snapshot"), ID, &at("clone"), ID, &source, Some(own)).unwrap();
    for keys in [vec![key(1)], vec![key(7)]] {
        let refused = check_files(&at("clone"), ID, keys, None, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(refused, Err(VolumeError::WrongKey)));
    }
    let keys = || vec![key(1), key(3), key(7)];
    let (progress, _) =
        check_files(&at("clone"), ID, keys(), None, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((progress.damage, progress.blocks >= 300), (0, true));
    let report =
        salvage(&at("clone"), ID, keys(), None, &at("saved"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_whole());
    // What was saved is sealed under the newest key, and needs no other.
    assert_eq!(VolumeDevice::wrapped_keys(&at("saved")).unwrap(), [(1, vec![17])]);
    check(&VolumeDevice::open(&at("saved"), ID, key(7), Options::default()).unwrap(), 300);
}
