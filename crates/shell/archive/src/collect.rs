//! Collection: segments that no manifest names go, whatever left them: a deleted snapshot or an upload that broke off. So
//! does a manifest that came after its snapshot was removed: a server that has died had sent it, and it was under way.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use futures_util::TryStreamExt;
use object_store::{ObjectStoreExt, path::Path as ObjectPath};

use crate::{
    Archive, ArchiveError,
    archive::{REMOVED, segment_path},
};

/// For how long a manifest that somebody had sent may still arrive. S3 takes no request that was signed more than a quarter of
/// an hour ago.
const LATEST: Duration = Duration::from_secs(24 * 3600);

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Collected {
    /// Segments removed.
    pub segments: u64,
    /// Bytes of those.
    pub bytes: u64,
}

impl Archive {
    /// Removes the segments that no snapshot needs. Uploads may go on meanwhile. Does nothing while another collection
    /// runs.
    ///
    /// # Errors
    /// [`ArchiveError`]; while a manifest cannot be read nothing is removed, as it may need anything.
    pub async fn collect(&self) -> Result<Collected, ArchiveError> {
        self.collect_at(SystemTime::now()).await
    }

    async fn collect_at(&self, now: SystemTime) -> Result<Collected, ArchiveError> {
        self.claim().await?;
        let Some(collection) = self.pins.collection() else { return Ok(Collected::default()) };
        self.remove_late(now).await?;
        // Listed before the manifests are read: a segment of an upload that ends in between is pinned or named, and
        // one that is sent later is not on the list.
        let there = self.segments().await?;
        let mut needed = HashSet::new();
        for snapshot in self.snapshots().await? {
            match self.manifest(&snapshot).await {
                Ok(manifest) => needed.extend(manifest.segments.iter().map(|segment| segment.digest)),
                Err(ArchiveError::NotFound(_)) => {} // deleted meanwhile
                Err(error) => return Err(error),
            }
        }
        let mut collected = Collected::default();
        for (digest, bytes) in there.into_iter().filter(|(digest, _)| !needed.contains(digest)) {
            let Some(_removal) = collection.remove(digest) else { continue };
            match self.store.delete(&segment_path(&digest)).await {
                Ok(()) => {
                    collected.segments += 1;
                    collected.bytes += bytes;
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(ArchiveError::store("remove a segment")(error)),
            }
        }
        Ok(collected)
    }

    /// Removes the manifests of snapshots that were removed, and in the end what was noted of these.
    async fn remove_late(&self, now: SystemTime) -> Result<(), ArchiveError> {
        let listed = self.store.list(Some(&ObjectPath::from(REMOVED))).try_collect::<Vec<_>>().await;
        for note in listed.map_err(ArchiveError::store("list what was removed"))? {
            let snapshot = note.location.filename().unwrap_or_default();
            self.remove_late_manifest(snapshot).await?;
            let since = now.duration_since(note.last_modified.into()).unwrap_or_default();
            if since > LATEST {
                self.remove(&note.location).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{ObjectStore as _, PutPayload, memory::InMemory};

    use super::*;
    use crate::{Seal, archive::removed_path};

    struct Open;

    impl Seal for Open {
        fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8> {
            [place.as_bytes(), plaintext].concat()
        }

        fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
            sealed.strip_prefix(place.as_bytes()).map(<[u8]>::to_vec)
        }
    }

    #[tokio::test]
    async fn a_manifest_that_comes_late_goes_and_what_was_noted_goes_after_a_day() {
        let store = Arc::new(InMemory::new());
        let archive = Archive::over(store.clone(), Arc::new(Open));
        archive.delete("snap-1").await.unwrap();
        // Nobody can open it: it would stop collections for ever.
        let late = ObjectPath::from("manifests/snap-1");
        store.put(&late, PutPayload::from_static(b"late")).await.unwrap();
        archive.collect().await.unwrap();
        assert!(!archive.has("snap-1").await.unwrap());
        let left = async || store.list(None).try_collect::<Vec<_>>().await.unwrap().len();
        assert_eq!(left().await, 2, "owner, and what was noted");
        archive.collect_at(SystemTime::now() + LATEST / 2).await.unwrap();
        assert_eq!(left().await, 2);
        archive.collect_at(SystemTime::now() + 2 * LATEST).await.unwrap();
        assert_eq!(left().await, 1);
    }

    #[tokio::test]
    async fn a_snapshot_that_is_wanted_again_keeps_its_manifest_from_a_collection_that_had_begun() {
        let store = Arc::new(InMemory::new());
        let archive = Archive::over(store.clone(), Arc::new(Open));
        archive.delete("snap-1").await.unwrap();
        // The collection has listed the note; then an upload takes it away and writes a manifest.
        archive.remove(&removed_path("snap-1").unwrap()).await.unwrap();
        store.put(&ObjectPath::from("manifests/snap-1"), PutPayload::from_static(b"new")).await.unwrap();
        archive.remove_late_manifest("snap-1").await.unwrap();
        assert!(archive.has("snap-1").await.unwrap());
    }
}
