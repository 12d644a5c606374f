//! The header of a volume whose key is being renewed, and its copy, in a directory: every byte of either.

use std::{fs, ops::ControlFlow, path::Path};

use attach::{
    BlockDevice as _, Flaw, Observed, Options, VolumeDevice, VolumeError, WrappedKey, check, salvage,
};
use volume::VolumeKey;

const ID: &str = "vol-0123456789abcdef0";
const BLOCK: usize = 8192;

fn key(number: u8) -> VolumeKey {
    VolumeKey::copy_from(&[number; 32]).unwrap()
}

fn keys() -> Vec<VolumeKey> {
    vec![key(1), key(2)]
}

/// What a check calls damage.
fn damage(dir: &Path) -> Result<Vec<Flaw>, VolumeError> {
    let mut found = Vec::new();
    let mut observe = |observed: Observed<'_>| {
        if let Observed::Found(finding) = observed
            && finding.flaw.is_damage()
        {
            found.push(finding.flaw);
        }
        ControlFlow::Continue(())
    };
    check(dir, ID, keys(), None, &mut observe).map(|_| found)
}

#[test]
fn every_byte_of_a_header_of_two_keys_and_of_its_copy_is_watched_and_the_other_one_salvages_all() {
    let home = tempfile::tempdir().unwrap();
    let (source, snapshot, dir) =
        (home.path().join("source"), home.path().join("snapshot"), home.path().join("volume"));
    VolumeDevice::create(&source, "vol-source", &key(1), &[1], 64 << 20).unwrap();
    let device = VolumeDevice::open(&source, "vol-source", key(1), Options::default()).unwrap();
    device.write(0, &[1; 20 * BLOCK]).unwrap();
    device.snapshot(&snapshot).unwrap();
    drop(device);
    // A clone with a key of its own is one in renewal, which begins when it is opened.
    let (old, own) = (key(1), key(2));
    let (old, own) = (WrappedKey { key: &old, wrapped: b"old" }, WrappedKey { key: &own, wrapped: b"own" });
    VolumeDevice::clone_under(&snapshot, "vol-source", &dir, ID, &[old], Some(own)).unwrap();

    let whole = fs::read(dir.join("header")).unwrap();
    assert_eq!(VolumeDevice::wrapped_keys(&dir).unwrap().len(), 2);
    assert_eq!(fs::read(dir.join("header.copy")).unwrap(), whole);
    assert_eq!(damage(&dir).unwrap(), []);
    for name in ["header", "header.copy"] {
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(dir.join(name), &changed).unwrap();
            match damage(&dir) {
                // If it is only the MAC that does not fit, it is first told that the two differ.
                Ok(found) => {
                    assert!(
                        matches!(*found, [Flaw::Header] | [Flaw::Header, Flaw::Header]),
                        "{name}, byte {at}"
                    )
                }
                // A version of the format that is not known is not guessed at.
                Err(VolumeError::UnknownVersion(_)) => assert!((8..12).contains(&at), "{name}, byte {at}"),
                Err(error) => panic!("{name}, byte {at}: {error:?}"),
            }
            if name == "header" {
                let opened = VolumeDevice::open(&dir, ID, keys(), Options::default());
                assert!(opened.is_err(), "byte {at}");
            }
            if at % 61 == 20 || at + 1 == whole.len() {
                let into = home.path().join(format!("saved-{name}-{at}"));
                let mut go_on = |_: Observed<'_>| ControlFlow::Continue(());
                let report = salvage(&dir, ID, keys(), None, &into, &mut go_on).unwrap();
                assert!(report.is_whole(), "{name}, byte {at}: {report:?}");
                assert_eq!(report.copied, 20);
            }
        }
        fs::write(dir.join(name), &whole).unwrap();
    }
    // Nothing of this has changed the volume.
    let device = VolumeDevice::open(&dir, ID, keys(), Options::default()).unwrap();
    for (index, value) in [(0, 1), (19, 1), (20, 0)] {
        let mut block = [0xee; BLOCK];
        device.read(index * BLOCK as u64, &mut block).unwrap();
        assert_eq!(block, [value; BLOCK], "block {index}");
    }
}
