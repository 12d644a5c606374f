//! The store of one server: names of objects, whose it is, and manifests.

use std::{fmt, fs, io, path::PathBuf, sync::Arc};

use futures_util::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path as ObjectPath,
    prefix::PrefixStore,
};
use tokio::{
    sync::{OnceCell, RwLock, Semaphore},
    task::spawn_blocking,
};

use crate::{
    ArchiveError, Digest, Location, Manifest,
    manifest::{MAX_MANIFEST, id_is_valid},
    pins::{Pinned, Pins},
};

/// Segments that are sent at the same time, whatever number of uploads there is; each is in memory as a whole (64 MiB).
/// As many are fetched at the same time.
const PARALLEL: usize = 4;

const OWNER: &str = "owner";
const MANIFESTS: &str = "manifests";
const SEGMENTS: &str = "segments";
/// An empty object for each snapshot that was removed of late.
pub(crate) const REMOVED: &str = "removed";
/// What the object `owner` says once it is opened.
const OWNED: &[u8] = b"snapshots of a Strongroom server, format 1\n";

/// Seals what only this server is to read, and nobody is to change: its root key is behind it.
pub trait Seal: Send + Sync {
    /// Seals for a place; only the same place opens it again.
    fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8>;

    /// Opens what was sealed for the place; `None` if it was not, or was changed.
    fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// The snapshots of one server in an object store.
pub struct Archive {
    pub(crate) store: Arc<dyn ObjectStore>,
    seal: Arc<dyn Seal>,
    pub(crate) pins: Arc<Pins>,
    /// Segments that may be sent, and fetched.
    pub(crate) sending: Semaphore,
    pub(crate) fetching: Semaphore,
    /// Bytes of this machine that a restore leaves free.
    pub(crate) reserve: u64,
    /// Held by those who write manifests; alone by who removes one.
    manifests: Arc<RwLock<()>>,
    /// Where the store is a directory of this machine.
    directory: Option<PathBuf>,
    claimed: OnceCell<()>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Archive({})", self.store)
    }
}

impl Archive {
    /// Over a place that settings name. Nothing is asked of the store yet.
    pub fn at(location: &Location, seal: Arc<dyn Seal>) -> Self {
        let store = Arc::new(PrefixStore::new(Arc::clone(&location.store), location.prefix.clone()));
        Self { directory: location.directory.clone(), ..Self::over(store, seal) }
    }

    /// Over a store that is this server's alone.
    pub fn over(store: Arc<dyn ObjectStore>, seal: Arc<dyn Seal>) -> Self {
        Self {
            store,
            seal,
            pins: Arc::default(),
            sending: Semaphore::new(PARALLEL),
            fetching: Semaphore::new(PARALLEL),
            reserve: 0,
            manifests: Arc::default(),
            directory: None,
            claimed: OnceCell::new(),
        }
    }

    /// Has restores leave so many bytes of this machine free: those that clusters which run may need.
    #[must_use]
    pub fn leaving(self, reserve: u64) -> Self {
        Self { reserve, ..self }
    }

    /// Makes sure, once, that the store is this server's: two that collected each other's segments would lose both.
    pub(crate) async fn claim(&self) -> Result<(), ArchiveError> {
        self.claimed.get_or_try_init(|| self.claim_now()).await.copied()
    }

    async fn claim_now(&self) -> Result<(), ArchiveError> {
        let path = ObjectPath::from(OWNER);
        let found = match self.store.get(&path).await {
            Err(object_store::Error::NotFound { .. }) => {
                let owner = PutPayload::from(self.seal.seal(OWNER, OWNED));
                let options = PutOptions::from(PutMode::Create);
                match self.store.put_opts(&path, owner, options).await {
                    Err(object_store::Error::AlreadyExists { .. }) => self.store.get(&path).await,
                    Err(error) => return Err(ArchiveError::store("take the name of its owner")(error)),
                    Ok(_) => return self.settle().await,
                }
            }
            found => found,
        };
        let unreadable = || ArchiveError::store("tell its owner");
        let sealed = found.map_err(unreadable())?.bytes().await.map_err(unreadable())?;
        match self.seal.open(OWNER, &sealed).as_deref() {
            Some(OWNED) => self.settle().await,
            _ => Err(ArchiveError::OfAnother),
        }
    }

    /// In a directory, a process that was killed may have left files that it had begun, which no list shows, and
    /// whole ones whose names are not durable yet. Nobody writes there now.
    async fn settle(&self) -> Result<(), ArchiveError> {
        let Some(directory) = self.directory.clone() else { return Ok(()) };
        let settled = spawn_blocking(move || {
            for below in [MANIFESTS, SEGMENTS, REMOVED] {
                remove_begun(&directory.join(below))?;
            }
            Ok(rustix::fs::syncfs(fs::File::open(&directory)?)?)
        });
        settled.await.map_err(io::Error::other).flatten().map_err(ArchiveError::host("clear the store"))
    }

    /// Whether a snapshot is in the store, whole.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn has(&self, snapshot: &str) -> Result<bool, ArchiveError> {
        self.claim().await?;
        match self.store.head(&manifest_path(snapshot)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(ArchiveError::store("look for a snapshot")(error)),
        }
    }

    /// Removes a snapshot, after an upload of it that was given up has written its manifest or has failed to. What its
    /// segments take up is given back by the next [`Archive::collect`]. A server that has died may have sent a manifest that
    /// arrives only now, so it is noted that there is to be none: collections go by that.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn delete(&self, snapshot: &str) -> Result<(), ArchiveError> {
        self.claim().await?;
        let note = removed_path(snapshot)?;
        let noted = self.store.put(&note, PutPayload::new()).await;
        noted.map_err(ArchiveError::store("note that a snapshot is removed"))?;
        let _alone = self.manifests.write().await;
        self.remove(&manifest_path(snapshot)?).await
    }

    /// Removes the manifest of a snapshot that is noted as removed. An upload takes the note away before it writes a manifest:
    /// looked for while nobody writes one, it tells whether the snapshot is wanted again.
    pub(crate) async fn remove_late_manifest(&self, snapshot: &str) -> Result<(), ArchiveError> {
        let _alone = self.manifests.write().await;
        match self.store.head(&removed_path(snapshot)?).await {
            Ok(_) => self.remove(&manifest_path(snapshot)?).await,
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ArchiveError::store("look for what was removed")(error)),
        }
    }

    /// Removes an object, if it is there.
    pub(crate) async fn remove(&self, path: &ObjectPath) -> Result<(), ArchiveError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ArchiveError::store("remove a snapshot")(error)),
        }
    }

    /// The manifest of a snapshot, opened and checked.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn manifest(&self, snapshot: &str) -> Result<Manifest, ArchiveError> {
        self.claim().await?;
        let failed = || ArchiveError::store(format!("read the manifest of {snapshot}"));
        let found = match self.store.get(&manifest_path(snapshot)?).await {
            Err(object_store::Error::NotFound { .. }) => return Err(ArchiveError::NotFound(snapshot.into())),
            found => found.map_err(failed())?,
        };
        let damaged = || ArchiveError::Damaged(format!("the manifest of {snapshot} is not authentic"));
        if found.meta.size > MAX_MANIFEST {
            return Err(damaged());
        }
        let sealed = found.bytes().await.map_err(failed())?;
        let opened = self.seal.open(&place_of(snapshot), &sealed).ok_or_else(damaged)?;
        Manifest::parse(&opened).ok().filter(|manifest| manifest.snapshot == snapshot).ok_or_else(damaged)
    }

    /// Makes a snapshot be there. Whoever stops waiting for it does not stop it: a manifest that is under way may
    /// arrive at any time, and `pinned` has to hold its segments until then.
    pub(crate) async fn put_manifest(&self, manifest: &Manifest, pinned: Pinned) -> Result<(), ArchiveError> {
        let sealed = self.seal.seal(&place_of(&manifest.snapshot), &manifest.encode());
        let (store, path) = (Arc::clone(&self.store), manifest_path(&manifest.snapshot)?);
        let writing = Arc::clone(&self.manifests).read_owned().await;
        let written = tokio::spawn(async move {
            let put = store.put(&path, PutPayload::from(sealed)).await;
            drop((writing, pinned));
            put
        });
        let put = written.await.map_err(io::Error::other).map_err(ArchiveError::host("write a manifest"))?;
        put.map(drop).map_err(ArchiveError::store("write a manifest"))
    }

    /// The snapshots in the store.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn snapshots(&self) -> Result<Vec<String>, ArchiveError> {
        self.claim().await?;
        let listed = self.store.list(Some(&ObjectPath::from(MANIFESTS)));
        let named = listed.map_ok(|object| object.location.filename().unwrap_or_default().to_owned());
        named.try_collect().await.map_err(ArchiveError::store("list its snapshots"))
    }

    /// Names and sizes of the segments in the store. Others' objects are left alone.
    pub(crate) async fn segments(&self) -> Result<Vec<(Digest, u64)>, ArchiveError> {
        let listed = self.store.list(Some(&ObjectPath::from(SEGMENTS)));
        let segment = |object: object_store::ObjectMeta| {
            let digest = object.location.filename().and_then(|name| name.parse().ok());
            digest
                .filter(|digest| segment_path(digest) == object.location)
                .map(|digest| (digest, object.size))
        };
        let segments = listed.try_filter_map(|object| std::future::ready(Ok(segment(object))));
        segments.try_collect().await.map_err(ArchiveError::store("list its segments"))
    }
}

/// Where a segment is in the store.
pub(crate) fn segment_path(digest: &Digest) -> ObjectPath {
    let name = digest.to_string();
    ObjectPath::from_iter([SEGMENTS, &name[..2], &name])
}

fn manifest_path(snapshot: &str) -> Result<ObjectPath, ArchiveError> {
    if !id_is_valid(snapshot.as_bytes()) {
        return Err(ArchiveError::NotFound(snapshot.into()));
    }
    Ok(ObjectPath::from_iter([MANIFESTS, snapshot]))
}

/// Where it is noted that a snapshot was removed.
pub(crate) fn removed_path(snapshot: &str) -> Result<ObjectPath, ArchiveError> {
    manifest_path(snapshot).map(|_| ObjectPath::from_iter([REMOVED, snapshot]))
}

fn place_of(snapshot: &str) -> String {
    format!("archive/manifest/{snapshot}")
}

/// Removes `name#1` and the like: files that `object_store` had not renamed yet.
fn remove_begun(directory: &std::path::Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_begun(&entry.path())?;
        } else if let Some((_, suffix)) = entry.file_name().to_string_lossy().rsplit_once('#')
            && suffix.bytes().all(|byte| byte.is_ascii_digit())
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
