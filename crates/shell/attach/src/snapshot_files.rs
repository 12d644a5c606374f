//! The files of a snapshot that nobody writes to, to be carried elsewhere and brought back.

use std::{
    fs::{self, File},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use volume::VolumeError;

use crate::segment_files::{self, CHECKPOINT, HEADER, link_files, read_header, segment_path, write_image};

/// What a snapshot consists of. While it lives, nobody opens, changes or removes the snapshot.
#[derive(Debug)]
pub struct SnapshotFiles {
    pub header: Vec<u8>,
    pub checkpoint: Vec<u8>,
    /// Number and file of each segment, ascending.
    pub segments: Vec<(u32, PathBuf)>,
    _unchanged: File,
}

impl SnapshotFiles {
    /// Finds the files of the snapshot in `dir`.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::Io`].
    pub fn open(dir: &Path) -> Result<Self, VolumeError> {
        let unchanged = segment_files::lock(dir, File::try_lock_shared)?;
        if !segment_files::exists(dir) {
            return Err(VolumeError::NotFound);
        }
        let failed = |what: &str| {
            let action = format!("read the {what}");
            move |error| VolumeError::io(action, error)
        };
        let header = read_header(dir, HEADER).map_err(failed("header"))?;
        let checkpoint = fs::read(dir.join(CHECKPOINT)).map_err(failed("checkpoint"))?;
        let numbers = segment_files::list(dir).map_err(failed("list of segments"))?;
        let segments = numbers.into_iter().map(|number| (number, segment_path(dir, number))).collect();
        Ok(Self { header, checkpoint, segments, _unchanged: unchanged })
    }
}

/// Makes the snapshot `dir` out of files, whole or not at all. The segments are linked, and have to be durable.
///
/// # Errors
/// [`VolumeError::AlreadyExists`], [`VolumeError::Io`].
pub fn assemble_snapshot(
    dir: &Path,
    header: &[u8],
    checkpoint: &[u8],
    segments: &[(u32, PathBuf)],
) -> Result<(), VolumeError> {
    let above = dir.parent().unwrap_or(Path::new("."));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(above);
    made.map_err(|error| VolumeError::io("make the directory above", error))?;
    segment_files::build(dir, |new| {
        write_image(new, header, checkpoint)?;
        link_files(new, segments.iter().map(|(number, file)| (*number, file.clone())))
    })
}
