//! Copies of snapshots: as they are, or with every block sealed anew under a volume key of the copy's own. A copy that a
//! crash ended is begun again: what there is of it stands under another name until it is whole.

use std::{cell::Cell, ops::ControlFlow, path::Path};

use archive::Progress;
use attach::{Anchor, VolumeDevice, VolumeError, VolumeReader, WrappedKey};

use super::Reseal;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyFault {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("it was cancelled")]
    Cancelled,
}

/// Makes the snapshot `to` out of the snapshot `from` of the volume `id`, whole or not at all. `go_on` is asked from
/// time to time. Nothing is ever written unsealed, and what was read is wiped.
///
/// # Errors
/// [`CopyFault`]; there is no copy then.
pub fn copy(
    from: &Path,
    to: &Path,
    id: &str,
    reseal: Option<Reseal>,
    progress: &Progress,
    go_on: impl Fn() -> bool,
) -> Result<(), CopyFault> {
    if VolumeDevice::exists(to) {
        return Ok(());
    }
    VolumeDevice::remove(to)?;
    match reseal {
        None => Ok(VolumeDevice::snapshot_closed(from, to)?),
        Some(reseal) => seal_anew(from, to, id, reseal, progress, go_on),
    }
}

fn seal_anew(
    from: &Path,
    to: &Path,
    id: &str,
    Reseal { source_keys, anchor, key, wrapped_key }: Reseal,
    progress: &Progress,
    go_on: impl Fn() -> bool,
) -> Result<(), CopyFault> {
    let own = WrappedKey { key: &key, wrapped: &wrapped_key };
    let (known, cancelled) = (Cell::new(0), Cell::new(false));
    let mut observe = |copied: u64, of: u64| {
        if known.get() == 0 {
            progress.expect(of);
        }
        progress.add(copied - known.replace(copied));
        cancelled.set(!go_on());
        if cancelled.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let anchor = anchor.as_deref().map(Anchor::from_bytes).transpose()?;
    let source = VolumeReader::open(from, id, source_keys, anchor.as_ref())?;
    let copied = VolumeDevice::copy_resealed(&source, to, id, own, &mut observe);
    if cancelled.get() { Err(CopyFault::Cancelled) } else { Ok(copied?) }
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };

    use attach::{BlockDevice as _, Options};
    use volume::VolumeKey;

    use super::*;

    const ID: &str = "vol-0123456789abcdef0";

    fn key(byte: u8) -> VolumeKey {
        VolumeKey::copy_from(&[byte; 32]).unwrap()
    }

    fn reseal() -> Reseal {
        Reseal { source_keys: vec![key(1)], anchor: None, key: key(2), wrapped_key: b"wrapped anew".to_vec() }
    }

    /// A snapshot of a volume with data in some places, and what it holds there.
    fn snapshot(home: &Path) -> Vec<(u64, Vec<u8>)> {
        let volume = home.join("volume");
        VolumeDevice::create(&volume, ID, &key(1), b"wrapped", 64 << 20).unwrap();
        let device = VolumeDevice::open(&volume, ID, key(1), Options::default()).unwrap();
        let content = vec![(0, vec![1; 8192]), (3 * 8192, vec![2; 40 * 8192]), (60 << 20, vec![3; 3 << 20])];
        for (offset, bytes) in &content {
            device.write(*offset, bytes).unwrap();
        }
        device.snapshot(&home.join("snapshot")).unwrap();
        device.close().unwrap();
        content
    }

    #[test]
    fn a_copy_sealed_anew_holds_the_same_under_its_own_key_alone() {
        let home = tempfile::tempdir().unwrap();
        let content = snapshot(home.path());
        let (from, to) = (home.path().join("snapshot"), home.path().join("copy"));
        let progress = Progress::default();
        copy(&from, &to, ID, Some(reseal()), &progress, || true).unwrap();
        copy(&from, &to, ID, Some(reseal()), &Progress::default(), || panic!("it is there")).unwrap();
        assert_eq!(progress.percent(), 100);
        VolumeDevice::remove(&from).unwrap();
        assert!(matches!(VolumeReader::open(&to, ID, key(1), None), Err(VolumeError::WrongKey)));
        let reader = VolumeReader::open(&to, ID, key(2), None).unwrap();
        assert_eq!(reader.size(), 64 << 20);
        for (offset, bytes) in content {
            let mut read = vec![0; bytes.len()];
            reader.read(offset, &mut read).unwrap();
            assert!(read == bytes, "at {offset}");
        }
        let live: u64 = reader.live_ranges(0).map(|r| r.map(|r| r.end - r.start).unwrap()).sum();
        assert_eq!(live, 41 + 384);
    }

    #[test]
    fn a_copy_that_is_cancelled_or_has_the_wrong_key_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        snapshot(home.path());
        let (from, to) = (home.path().join("snapshot"), home.path().join("copy"));
        let before = fs::read_dir(home.path()).unwrap().count();
        let steps = std::cell::Cell::new(3);
        let go_on = || steps.replace(steps.get() - 1) > 0;
        let cancelled = copy(&from, &to, ID, Some(reseal()), &Progress::default(), go_on);
        assert!(matches!(cancelled, Err(CopyFault::Cancelled)));
        let wrong = Reseal { source_keys: vec![key(9)], ..reseal() };
        let refused = copy(&from, &to, ID, Some(wrong), &Progress::default(), || true);
        assert!(matches!(refused, Err(CopyFault::Volume(VolumeError::WrongKey))));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), before);
    }

    /// The home in which a process of its own makes the copy that is to be interrupted.
    const HOME: &str = "STRONGROOM_TEST_COPY";

    #[test]
    #[expect(clippy::print_stdout, reason = "it tells the process that kills it how far it is")]
    fn a_copy_in_a_process_that_is_killed() {
        let Some(home) = env::var_os(HOME) else { return };
        let home = Path::new(&home);
        let told = || {
            println!("\na piece");
            true
        };
        let copied =
            copy(&home.join("snapshot"), &home.join("copy"), ID, Some(reseal()), &Progress::default(), told);
        copied.unwrap();
    }

    #[test]
    fn a_copy_that_a_kill_interrupts_is_begun_again_and_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let content = snapshot(home.path());
        let (from, to) = (home.path().join("snapshot"), home.path().join("copy"));
        let before = fs::read_dir(home.path()).unwrap().count();
        // The copy has five pieces, and the kill comes at any moment in or after the last it told of.
        for pieces in [1, 2, 3, 4, 5] {
            let mut child = Command::new(env::current_exe().unwrap())
                .args([
                    "--exact",
                    "transfers::copy::tests::a_copy_in_a_process_that_is_killed",
                    "--nocapture",
                ])
                .env(HOME, home.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            assert_eq!(lines.filter(|line| line == "a piece").take(pieces).count(), pieces);
            child.kill().unwrap();
            child.wait().unwrap();
            if VolumeDevice::exists(&to) {
                assert_eq!(pieces, 5, "a snapshot is whole, or none");
                assert!(VolumeReader::open(&to, ID, key(2), None).is_ok());
            }
        }
        VolumeDevice::remove(&to).unwrap();
        assert_eq!(
            fs::read_dir(home.path()).unwrap().count(),
            before,
            "whoever removes it removes all of it"
        );
        copy(&from, &to, ID, Some(reseal()), &Progress::default(), || true).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), before + 1);
        let reader = VolumeReader::open(&to, ID, key(2), None).unwrap();
        for (offset, bytes) in content {
            let mut read = vec![0; bytes.len()];
            reader.read(offset, &mut read).unwrap();
            assert!(read == bytes, "at {offset}");
        }
    }

    #[test]
    fn a_snapshot_of_a_volume_in_renewal_is_copied_under_one_key() {
        let home = tempfile::tempdir().unwrap();
        let volume = home.path().join("volume");
        VolumeDevice::create(&volume, ID, &key(1), b"one", 64 << 20).unwrap();
        let device = VolumeDevice::open(&volume, ID, key(1), Options::default()).unwrap();
        device.write(0, &[1; 8192]).unwrap();
        device.flush().unwrap();
        device.renew_key(key(3), b"three").unwrap();
        let (from, to) = (home.path().join("snapshot"), home.path().join("copy"));
        device.snapshot(&from).unwrap();
        let order = Reseal { source_keys: vec![key(3), key(1)], ..reseal() };
        copy(&from, &to, ID, Some(order), &Progress::default(), || true).unwrap();
        let mut read = [0; 8192];
        VolumeReader::open(&to, ID, key(2), None).unwrap().read(0, &mut read).unwrap();
        assert_eq!(read, [1; 8192]);
    }

    #[test]
    fn a_copy_under_the_same_key_shares_its_segments() {
        let home = tempfile::tempdir().unwrap();
        snapshot(home.path());
        let (from, to) = (home.path().join("snapshot"), home.path().join("copy"));
        copy(&from, &to, ID, None, &Progress::default(), || true).unwrap();
        VolumeDevice::remove(&from).unwrap();
        assert!(VolumeReader::open(&to, ID, key(1), None).is_ok());
    }
}
