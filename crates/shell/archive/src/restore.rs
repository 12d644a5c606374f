//! Restore: segments come back verified, from files that are here already or from the store.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use tokio::task::spawn_blocking;

use crate::{
    Archive, ArchiveError, Digest, Files, Progress, Segment,
    archive::segment_path,
    digest::{self, Hasher},
};

/// Segments of one snapshot that are looked for or fetched at the same time.
const AT_ONCE: usize = 4;
/// Chunks without a byte in a row that a store may give.
const MOST_EMPTY: u32 = 16;
/// In the names of files that are being fetched.
const PART: &str = "part-";

/// Files begun by this process.
static PARTS: AtomicU64 = AtomicU64::new(0);

impl Archive {
    /// Brings the files of a snapshot into the directory `into`, which is made if need be. What an earlier call left
    /// there is taken over if it is right. Each segment is linked if one of the directories `nearby` has it under its
    /// number, and fetched otherwise; either way its digest is that of the manifest. The files are durable, their
    /// names in `into` are not.
    ///
    /// # Errors
    /// [`ArchiveError`]; [`ArchiveError::Full`] before anything is fetched that this machine has no room for, beside its
    /// reserve.
    pub async fn restore(
        &self,
        snapshot: &str,
        into: &Path,
        nearby: &[PathBuf],
        progress: &Progress,
    ) -> Result<Files, ArchiveError> {
        let manifest = self.manifest(snapshot).await?;
        progress.expect(manifest.bytes());
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(into);
        made.map_err(ArchiveError::host("make a directory"))?;
        remove_parts(into).map_err(ArchiveError::host("remove what was fetched by half"))?;
        let place = |segment: &Segment| into.join(file_name(segment.number));
        let looking = stream::iter(manifest.segments.clone())
            .map(|segment| self.look(segment, place(&segment), nearby, progress))
            .buffer_unordered(AT_ONCE);
        let missing: Vec<Option<Segment>> = looking.try_collect().await?;
        let missing: Vec<Segment> = missing.into_iter().flatten().collect();
        self.expect_room(into, missing.iter().map(|segment| segment.bytes).sum())?;
        let fetching = stream::iter(missing)
            .map(|segment| self.fetch(segment, place(&segment), progress))
            .buffer_unordered(AT_ONCE);
        fetching.try_collect::<()>().await?;
        let mut segments: Vec<_> =
            manifest.segments.iter().map(|segment| (segment.number, place(segment))).collect();
        segments.sort_unstable_by_key(|(number, _)| *number);
        Ok(Files { header: manifest.header, checkpoint: manifest.checkpoint, segments })
    }

    /// Whether the host has room for so many bytes more, beside its reserve.
    fn expect_room(&self, into: &Path, needed: u64) -> Result<(), ArchiveError> {
        let host = rustix::fs::statvfs(into).map_err(io::Error::from);
        let host = host.map_err(ArchiveError::host("look for room"))?;
        let room = (host.f_bavail * host.f_frsize).saturating_sub(self.reserve);
        if needed > room { Err(ArchiveError::Full { needed, room }) } else { Ok(()) }
    }

    /// The segment, unless it is here.
    async fn look(
        &self,
        segment: Segment,
        file: PathBuf,
        nearby: &[PathBuf],
        progress: &Progress,
    ) -> Result<Option<Segment>, ArchiveError> {
        let found = self.find(&segment, &file, nearby).await?;
        if found {
            progress.add(segment.bytes);
        }
        Ok((!found).then_some(segment))
    }

    /// Whether the segment is here: already in its place, or beside it.
    async fn find(&self, segment: &Segment, file: &Path, nearby: &[PathBuf]) -> Result<bool, ArchiveError> {
        let (segment, file, nearby) = (*segment, file.to_owned(), nearby.to_owned());
        let found = spawn_blocking(move || {
            if is(&file, &segment)? {
                return Ok(true);
            }
            remove(&file)?;
            for directory in nearby {
                // Linked before it is read: from then on nobody changes it.
                if fs::hard_link(directory.join(file_name(segment.number)), &file).is_err() {
                    continue;
                }
                if is(&file, &segment)? {
                    return Ok(true);
                }
                remove(&file)?;
            }
            Ok(false)
        });
        let failed = ArchiveError::host(format!("look for segment {}", segment.number));
        found.await.map_err(io::Error::other).flatten().map_err(failed)
    }

    async fn fetch(&self, segment: Segment, file: PathBuf, progress: &Progress) -> Result<(), ArchiveError> {
        let number = segment.number;
        let _turn = self.fetching.acquire().await.expect("never closed");
        // Others have written meanwhile.
        self.expect_room(file.parent().unwrap_or(Path::new(".")), segment.bytes)?;
        let lacks = || ArchiveError::store(format!("give segment {number} back"));
        let failed = || ArchiveError::host(format!("write segment {number}"));
        let damaged = || {
            ArchiveError::Damaged(format!("segment {number} in the store is not the one that was put there"))
        };
        let found = match self.store.get(&segment_path(&segment.digest)).await {
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ArchiveError::Damaged(format!("segment {number} is not in the store")));
            }
            found => found.map_err(lacks())?,
        };
        if found.meta.size != segment.bytes {
            return Err(damaged());
        }
        // Never the name that a restore which was broken off may still be about to rename.
        let part = Part(file.with_extension(format!("{PART}{}", PARTS.fetch_add(1, Relaxed))));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut writer = Some((options.open(&part.0).map_err(failed())?, Hasher::default()));
        let (mut chunks, mut left, mut empty) = (found.into_stream(), segment.bytes, 0);
        while let Some(chunk) = chunks.try_next().await.map_err(lacks())? {
            let (mut out, mut hasher) = writer.take().expect("given back below");
            let bytes = chunk.len() as u64;
            // A file that was cut short since it was opened gives them for ever.
            empty = if bytes == 0 { empty + 1 } else { 0 };
            if empty > MOST_EMPTY {
                return Err(damaged());
            }
            // More than it said that it has would fill this machine.
            left = left.checked_sub(bytes).ok_or_else(damaged)?;
            let written = spawn_blocking(move || {
                hasher.update(&chunk);
                out.write_all(&chunk)?;
                Ok((out, hasher))
            });
            writer = Some(written.await.map_err(io::Error::other).flatten().map_err(failed())?);
            progress.add(bytes);
        }
        let (out, hasher) = writer.expect("given back above");
        if hasher.finish() != segment.digest {
            return Err(damaged());
        }
        let kept = spawn_blocking(move || {
            out.sync_all()?;
            fs::rename(&part.0, file)
        });
        kept.await.map_err(io::Error::other).flatten().map_err(failed())
    }
}

/// A file that is being fetched. Unless it gets its name it goes, however the fetch ends.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Not there under this name once it is whole; what cannot be removed now goes with the next attempt.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes what processes that were killed had fetched by half.
fn remove_parts(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(std::ffi::OsStr::to_str);
        if extension.is_some_and(|extension| extension.starts_with(PART)) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn file_name(segment: u32) -> String {
    format!("{segment:010}")
}

/// Whether a file is there and is the segment, durably.
fn is(path: &Path, segment: &Segment) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let before = file.metadata()?;
    if before.len() != segment.bytes || Digest::of_reader(&mut file)? != segment.digest {
        return Ok(false);
    }
    file.sync_all()?;
    digest::note(&file, &before, segment.digest);
    Ok(true)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
