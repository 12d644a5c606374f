//! The snapshots of this machine and its store.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archive::{Archive, ArchiveError, Files, Progress};
use attach::{SnapshotFiles, VolumeDevice, VolumeError, assemble_snapshot};
use clusters::SnapshotResourceId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::sleep,
};

use super::{
    CopyOrder, Headway, Transfers,
    collector::Collector,
    copy,
    jobs::{Cancelled, Jobs, unless},
};
use crate::{HostFault, Work, instance::chain};

const UPLOAD: &str = "upload";
const FETCH: &str = "fetch";
const COPY: &str = "copy";
const KINDS: [&str; 3] = [UPLOAD, FETCH, COPY];
/// Uploads and copies under way at the same time; others wait for their turn. A fetch never does: a database waits for it.
const AT_ONCE: usize = 2;
const MOMENT: Duration = Duration::from_millis(200);

/// [`Transfers`] of the snapshots below a home.
#[derive(Debug)]
pub struct LocalTransfers {
    home: PathBuf,
    archive: Option<Arc<Archive>>,
    collector: Option<Collector>,
    jobs: Jobs,
    /// What was wrong with a snapshot when it was fetched last.
    damage: Arc<Mutex<HashMap<String, String>>>,
    turns: Arc<Semaphore>,
}

impl LocalTransfers {
    /// Below `home`, as in [`crate::Settings::home`]. Needs a `tokio` runtime around it.
    pub fn new(home: impl Into<PathBuf>, archive: Option<Archive>) -> Self {
        let (home, archive) = (home.into(), archive.map(Arc::new));
        if let Err(error) = remove_used(&home.join("snapshots")) {
            tracing::warn!(%error, "what was fetched for snapshots that are here stays for now");
        }
        Self {
            home,
            collector: archive.clone().map(|archive| {
                Collector::new(move || {
                    let archive = Arc::clone(&archive);
                    async move { archive.collect().await }
                })
            }),
            archive,
            jobs: Jobs::default(),
            damage: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    fn archive(&self, order: &'static str) -> Result<Arc<Archive>, HostFault> {
        let none = || HostFault { order, detail: "no store for snapshots is configured".into() };
        self.archive.clone().ok_or_else(none)
    }

    fn snapshot_dir(&self, snapshot: &SnapshotResourceId) -> PathBuf {
        self.home.join("snapshots").join(snapshot.as_str())
    }
}

impl Transfers for LocalTransfers {
    fn has_store(&self) -> bool {
        self.archive.is_some()
    }

    fn upload<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Headway> {
        Box::pin(async move {
            let archive = self.archive("upload a snapshot")?;
            let (id, dir) = (snapshot.to_string(), self.snapshot_dir(snapshot));
            let turns = Arc::clone(&self.turns);
            let work = async move |progress, cancelled: Cancelled| {
                let _turn = turn(turns, cancelled.clone()).await?;
                upload(archive, id, dir, progress, cancelled).await
            };
            let driven = self.jobs.drive(&name(UPLOAD, snapshot), work).await;
            driven.map_err(|detail| HostFault { order: "upload a snapshot", detail })
        })
    }

    fn fetch<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Headway> {
        Box::pin(async move {
            let archive = self.archive("fetch a snapshot")?;
            let (id, dir, home) = (snapshot.to_string(), self.snapshot_dir(snapshot), self.home.clone());
            let damage = Arc::clone(&self.damage);
            let work = move |progress, cancelled| async move {
                let found = |what| {
                    let mut damage = damage.lock().unwrap_or_else(PoisonError::into_inner);
                    match what {
                        Some(what) => damage.insert(id.clone(), what),
                        None => damage.remove(&id),
                    };
                };
                fetch(archive, &id, dir, home, progress, cancelled, found).await
            };
            let driven = self.jobs.drive(&name(FETCH, snapshot), work).await;
            if let Ok(Headway::Running { .. }) = driven {
                sleep(MOMENT).await;
            }
            driven.map_err(|detail| HostFault { order: "fetch a snapshot", detail })
        })
    }

    fn copy(&self, order: CopyOrder) -> Work<'_, Headway> {
        Box::pin(async move {
            let (from, to) = (self.snapshot_dir(&order.source), self.snapshot_dir(&order.snapshot));
            let name = name(COPY, &order.snapshot);
            let turns = Arc::clone(&self.turns);
            let work = async move |progress: Arc<Progress>, cancelled: Cancelled| {
                // What is only linked is done at once.
                let _turn = match &order.reseal {
                    Some(_) => Some(turn(turns, cancelled.clone()).await?),
                    None => None,
                };
                blocking(move || {
                    // An error means that whoever could cancel is gone.
                    let go_on = || !*cancelled.borrow() && cancelled.has_changed().is_ok();
                    let copied =
                        copy::copy(&from, &to, order.volume.as_str(), order.reseal, &progress, go_on);
                    copied.map_err(|error| chain(&error))
                })
                .await
            };
            let driven = self.jobs.drive(&name, work).await;
            driven.map_err(|detail| HostFault { order: "copy a snapshot", detail })
        })
    }

    fn look<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, Option<Headway>> {
        Box::pin(async move {
            let seen = self.jobs.look(&name(COPY, snapshot)).await;
            seen.map_err(|detail| HostFault { order: "go on with a snapshot", detail })
        })
    }

    fn cancel<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()> {
        Box::pin(async move {
            for kind in KINDS {
                self.jobs.cancel(&name(kind, snapshot)).await;
            }
            Ok(())
        })
    }

    fn remove<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()> {
        Box::pin(async move {
            self.cancel(snapshot).await?;
            let fault = |detail: String| HostFault { order: "remove a snapshot", detail };
            let dir = self.snapshot_dir(snapshot);
            let removed = blocking(move || {
                if !VolumeDevice::exists(&dir) {
                    VolumeDevice::remove(&dir).map_err(|error| chain(&error))?;
                }
                remove_dir(&fetched(&dir)).map_err(|error| error.to_string())
            });
            removed.await.map_err(fault)?;
            if let Some(archive) = &self.archive {
                archive.delete(snapshot.as_str()).await.map_err(|error| fault(chain(&error)))?;
                self.collect();
            }
            Ok(())
        })
    }

    fn collect(&self) {
        if let Some(collector) = &self.collector {
            collector.want();
        }
    }

    fn damage(&self, snapshot: &SnapshotResourceId) -> Option<String> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).get(snapshot.as_str()).cloned()
    }

    fn percent(&self, snapshot: &SnapshotResourceId) -> Option<u8> {
        KINDS.iter().find_map(|kind| self.jobs.percent(&name(kind, snapshot)))
    }
}

/// Waits for a turn.
async fn turn(turns: Arc<Semaphore>, cancelled: Cancelled) -> Result<OwnedSemaphorePermit, String> {
    unless(cancelled, async { turns.acquire_owned().await.map_err(|error| error.to_string()) }).await
}

async fn upload(
    archive: Arc<Archive>,
    id: String,
    dir: PathBuf,
    progress: Arc<Progress>,
    cancelled: Cancelled,
) -> Result<(), String> {
    let snapshot = blocking(move || SnapshotFiles::open(&dir).map_err(|error| chain(&error))).await?;
    let files = Files {
        header: snapshot.header.clone(),
        checkpoint: snapshot.checkpoint.clone(),
        segments: snapshot.segments.clone(),
    };
    unless(cancelled, async { archive.upload(&id, &files, &progress).await.map_err(|error| chain(&error)) })
        .await
}

async fn fetch(
    archive: Arc<Archive>,
    id: &str,
    dir: PathBuf,
    home: PathBuf,
    progress: Arc<Progress>,
    cancelled: Cancelled,
    found: impl Fn(Option<String>),
) -> Result<(), String> {
    found(None);
    let into = fetched(&dir);
    let nearby = blocking(move || nearby(&home).map_err(|error| error.to_string())).await?;
    let restored = unless(cancelled, async {
        let restored = archive.restore(id, &into, &nearby, &progress).await;
        restored.map_err(|error| {
            if let ArchiveError::Damaged(_) | ArchiveError::NotFound(_) = error {
                found(Some(error.to_string()));
            }
            chain(&error)
        })
    });
    let files = restored.await?;
    // Not to be cancelled half way: the snapshot appears whole, and what it was made of goes.
    blocking(move || {
        match assemble_snapshot(&dir, &files.header, &files.checkpoint, &files.segments) {
            Ok(()) | Err(VolumeError::AlreadyExists) => {}
            Err(error) => return Err(chain(&error)),
        }
        remove_dir(&into).map_err(|error| error.to_string())
    })
    .await
}

/// Where the segments of a snapshot lie while they are being fetched.
fn fetched(dir: &Path) -> PathBuf {
    dir.with_extension("fetched")
}

/// Removes what snapshots were fetched into that are here, whole: an earlier server died right after it had made them. What
/// belongs to others goes on being fetched, or goes with its snapshot.
fn remove_used(snapshots: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(snapshots) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let snapshot = path.with_extension("");
        if path == fetched(&snapshot) && VolumeDevice::exists(&snapshot) {
            remove_dir(&path)?;
        }
    }
    Ok(())
}

/// Directories that may have the same segments: those of volumes and of other snapshots.
fn nearby(home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for above in ["snapshots", "volumes"] {
        match fs::read_dir(home.join(above)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries? {
                    found.push(entry?.path().join("segments"));
                }
            }
        }
    }
    Ok(found)
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// The name of a job: how one kind of work ended is never told to another.
fn name(kind: &str, snapshot: &SnapshotResourceId) -> String {
    format!("{kind} {snapshot}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use archive::{Location, Seal};
    use attach::{BlockDevice as _, Options, VolumeReader};
    use volume::VolumeKey;

    use super::*;

    const ID: &str = "vol-0123456789abcdef0";

    struct Open;

    impl Seal for Open {
        fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8> {
            [place.as_bytes(), plaintext].concat()
        }

        fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
            sealed.strip_prefix(place.as_bytes()).map(<[u8]>::to_vec)
        }
    }

    fn transfers(home: &Path, reserve: u64) -> LocalTransfers {
        let url = format!("file://{}", home.join("store").display());
        let location = Location::parse(&url, None, None, None).unwrap();
        LocalTransfers::new(home, Some(Archive::at(&location, Arc::new(Open)).leaving(reserve)))
    }

    fn key(byte: u8) -> VolumeKey {
        VolumeKey::copy_from(&[byte; 32]).unwrap()
    }

    async fn until_done<'a>(mut again: impl FnMut() -> Work<'a, Headway>) -> Result<(), HostFault> {
        while again().await? != Headway::Done {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// A snapshot of a volume whose key is being renewed: it needs two.
    fn snapshot(dir: &Path, volume: &Path) {
        VolumeDevice::create(volume, ID, &key(1), b"one", 64 << 20).unwrap();
        let device = VolumeDevice::open(volume, ID, key(1), Options::default()).unwrap();
        device.write(0, &[1; 8192]).unwrap();
        device.flush().unwrap();
        // A clone with a key of its own is one in renewal, which begins when that is opened: nothing here races with it.
        let middle = volume.with_extension("middle");
        device.snapshot(&middle).unwrap();
        drop(device);
        let (one, own) = (key(1), key(2));
        let one = attach::WrappedKey { key: &one, wrapped: b"one" };
        let own = attach::WrappedKey { key: &own, wrapped: b"own" };
        VolumeDevice::clone_under(&middle, ID, dir, ID, &[one], Some(own)).unwrap();
        VolumeDevice::remove(&middle).unwrap();
        VolumeDevice::remove(volume).unwrap();
    }

    #[tokio::test]
    async fn a_snapshot_that_needs_two_keys_comes_back_from_the_store_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let (transfers, id) = (transfers(home.path(), 0), "snap-A".parse().unwrap());
        let dir = transfers.snapshot_dir(&id);
        fs::create_dir_all(dir.parent().unwrap()).unwrap();
        snapshot(&dir, &home.path().join("volume"));
        let named = VolumeDevice::wrapped_keys(&dir).unwrap();
        assert_eq!(named.len(), 2);
        until_done(|| transfers.upload(&id)).await.unwrap();
        VolumeDevice::remove(&dir).unwrap();
        until_done(|| transfers.fetch(&id)).await.unwrap();
        assert_eq!(VolumeDevice::wrapped_keys(&dir).unwrap(), named);
        for keys in [vec![key(1)], vec![key(2)]] {
            assert!(matches!(VolumeReader::open(&dir, ID, keys, None), Err(VolumeError::WrongKey)));
        }
        let mut read = [0; 8192];
        let reader = VolumeReader::open(&dir, ID, vec![key(1), key(2)], None).unwrap();
        reader.read(0, &mut read).unwrap();
        assert_eq!(read, [1; 8192]);
        assert!(!fetched(&dir).exists());
    }

    #[tokio::test]
    async fn a_fetch_that_would_take_from_the_reserve_waits_and_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let id: SnapshotResourceId = "snap-A".parse().unwrap();
        let dir = home.path().join("snapshots").join(id.as_str());
        fs::create_dir_all(dir.parent().unwrap()).unwrap();
        snapshot(&dir, &home.path().join("volume"));
        let full = transfers(home.path(), u64::MAX);
        until_done(|| full.upload(&id)).await.unwrap();
        VolumeDevice::remove(&dir).unwrap();
        let refused = until_done(|| full.fetch(&id)).await.unwrap_err();
        assert!(refused.detail.contains("the host has room for 0"), "{refused}");
        assert!(full.damage(&id).is_none(), "nothing is wrong with the snapshot");
        assert!(!VolumeDevice::exists(&dir) && fs::read_dir(fetched(&dir)).unwrap().next().is_none());
        // With space again it goes on.
        let there = transfers(home.path(), 0);
        until_done(|| there.fetch(&id)).await.unwrap();
        assert!(VolumeDevice::exists(&dir));
    }

    #[tokio::test]
    async fn what_a_snapshot_was_fetched_into_goes_at_the_start_once_that_is_here() {
        let home = tempfile::tempdir().unwrap();
        let snapshots = home.path().join("snapshots");
        fs::create_dir_all(&snapshots).unwrap();
        snapshot(&snapshots.join("snap-A"), &home.path().join("volume"));
        for left in ["snap-A.fetched", "snap-B.fetched", "other"] {
            fs::create_dir(snapshots.join(left)).unwrap();
            fs::write(snapshots.join(left).join("0000000001"), b"a segment").unwrap();
        }
        let before = fs::metadata(snapshots.join("snap-A")).unwrap().ino();
        let _transfers = transfers(home.path(), 0);
        assert!(!snapshots.join("snap-A.fetched").exists());
        // Half of it is here, and the rest is still to be fetched.
        assert!(snapshots.join("snap-B.fetched").exists() && snapshots.join("other").exists());
        assert_eq!(fs::metadata(snapshots.join("snap-A")).unwrap().ino(), before);
    }
}
