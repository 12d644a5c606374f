//! Upload: the segments that the store lacks, several at a time, then the manifest.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, PutPayload};
use tokio::task::spawn_blocking;

use crate::{
    Archive, ArchiveError, Digest, Files, Manifest, Progress, Segment,
    archive::{removed_path, segment_path},
    digest,
    pins::Pinned,
};

/// Segments of one snapshot that are looked for, read or sent at the same time.
const AT_ONCE: usize = 4;

impl Archive {
    /// Brings a snapshot into the store. After a failure or a crash a repetition goes on with what is missing.
    ///
    /// # Errors
    /// [`ArchiveError`]; there is no snapshot in the store then, or it is there whole.
    pub async fn upload(
        &self,
        snapshot: &str,
        files: &Files,
        progress: &Progress,
    ) -> Result<(), ArchiveError> {
        match self.manifest(snapshot).await {
            // It had all its segments when its manifest was written, and keeps them.
            Ok(_) => return Ok(()),
            // What is there instead of a manifest is written over.
            Err(ArchiveError::NotFound(_) | ArchiveError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        // It is wanted, whatever was noted of one of this name.
        self.remove(&removed_path(snapshot)?).await?;
        let sizes = files.segments.iter().map(|(number, file)| {
            let size = file.metadata().map(|metadata| metadata.len());
            size.map_err(ArchiveError::host(format!("look at segment {number}")))
        });
        progress.expect(sizes.sum::<Result<u64, _>>()?);
        // Until the manifest is durable, no collection removes what it will name.
        let pinned = self.pins.upload();
        let sending = stream::iter(files.segments.clone())
            .map(|(number, file)| self.send(number, file, &pinned, progress))
            .buffer_unordered(AT_ONCE);
        let mut segments: Vec<_> = sending.try_collect().await?;
        segments.sort_unstable_by_key(|segment| segment.number);
        let (header, checkpoint) = (files.header.clone(), files.checkpoint.clone());
        let manifest = Manifest { snapshot: snapshot.into(), header, checkpoint, segments };
        self.put_manifest(&manifest, pinned).await
    }

    /// Makes sure that the store has a segment.
    async fn send(
        &self,
        number: u32,
        path: PathBuf,
        pinned: &Pinned,
        progress: &Progress,
    ) -> Result<Segment, ArchiveError> {
        let failed = || ArchiveError::host(format!("read segment {number}"));
        let opened = spawn_blocking(move || {
            let file = File::open(path)?;
            let noted = digest::noted(&file).map(|digest| file.metadata().map(|now| (digest, now.len())));
            Ok((noted.transpose()?, file))
        });
        let (noted, file) = opened.await.map_err(io::Error::other).flatten().map_err(failed())?;
        if let Some((digest, bytes)) = noted {
            pinned.pin(digest).await;
            if self.holds(digest, bytes).await? {
                progress.add(bytes);
                return Ok(Segment { number, bytes, digest });
            }
        }
        let _memory = self.sending.acquire().await.expect("never closed");
        let read = spawn_blocking(move || read(file)).await.map_err(io::Error::other).flatten();
        let (content, digest) = read.map_err(failed())?;
        let bytes = content.len() as u64;
        pinned.pin(digest).await;
        if !self.holds(digest, bytes).await? {
            let put = self.store.put(&segment_path(&digest), PutPayload::from(content)).await;
            put.map_err(ArchiveError::store(format!("take segment {number}")))?;
        }
        progress.add(bytes);
        Ok(Segment { number, bytes, digest })
    }

    /// Whether the store has a segment, of the right size at least. One of a wrong size is written again.
    async fn holds(&self, digest: Digest, bytes: u64) -> Result<bool, ArchiveError> {
        match self.store.head(&segment_path(&digest)).await {
            Ok(found) => Ok(found.size == bytes),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(ArchiveError::store("look for a segment")(error)),
        }
    }
}

/// A segment and its digest, which is noted.
fn read(mut file: File) -> io::Result<(Vec<u8>, Digest)> {
    let before = file.metadata()?;
    let mut content = Vec::with_capacity(usize::try_from(before.len()).map_err(io::Error::other)?);
    file.read_to_end(&mut content)?;
    let digest = Digest::of(&content);
    digest::note(&file, &before, digest);
    Ok((content, digest))
}
