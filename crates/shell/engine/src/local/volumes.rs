//! Volumes and snapshots as directories: every step whole or not at all, and done once.
//!
//! Beside the directory of a cloned volume lies `<vol-…>.origin`, the id of the volume that it is a clone of: the
//! marker in its file system still says that. It decides nothing else.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use attach::{VolumeDevice, VolumeError};
use clusters::VolumeId;

use crate::{
    CloneOrder, Wrapped,
    client::{Client, ClientFault},
};

/// Why the files could not be brought into place.
#[derive(Debug, thiserror::Error)]
pub enum FilesFault {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Client(#[from] ClientFault),
}

/// Whether a volume or a snapshot is there, whole.
pub fn exists(dir: &Path) -> bool {
    VolumeDevice::exists(dir)
}

/// Makes a volume out of a snapshot.
///
/// # Errors
/// [`FilesFault`].
pub fn clone(snapshot: &Path, dir: &Path, order: &CloneOrder) -> Result<(), FilesFault> {
    if exists(dir) {
        return Ok(());
    }
    clear_way(dir)?;
    write_origin(dir, &order.source)?;
    let (source, id) = (order.source.as_str(), order.volume.as_str());
    let keys: Vec<_> = order.keys.iter().map(Wrapped::lend).collect();
    Ok(VolumeDevice::clone_under(snapshot, source, dir, id, &keys, order.own.as_ref().map(Wrapped::lend))?)
}

/// Takes a snapshot, of the files or through the process that has the volume open.
///
/// # Errors
/// [`FilesFault`].
pub fn snapshot(dir: &Path, to: &Path, through: Option<&Client>) -> Result<(), FilesFault> {
    if exists(to) {
        return Ok(());
    }
    clear_way(to)?;
    match through {
        Some(client) => Ok(client.snapshot(to)?),
        None => Ok(VolumeDevice::snapshot_closed(dir, to)?),
    }
}

/// Removes a volume or a snapshot.
///
/// # Errors
/// [`FilesFault`].
pub fn remove(dir: &Path) -> Result<(), FilesFault> {
    VolumeDevice::remove(dir)?;
    match fs::remove_file(origin_path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The volume that the one in `dir` is a clone of.
///
/// # Errors
/// What the system says; `InvalidData` if the file names no volume.
pub fn origin(dir: &Path) -> io::Result<Option<VolumeId>> {
    match fs::read_to_string(origin_path(dir)) {
        Ok(text) => text
            .trim_end()
            .parse()
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the directory above that of a volume or a snapshot; only its owner may enter.
///
/// # Errors
/// What the system says.
pub fn make_above(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir.parent().unwrap_or(dir))
}

/// Removes what an earlier run began, and makes the directory above.
fn clear_way(dir: &Path) -> Result<(), FilesFault> {
    make_above(dir)?;
    remove(dir)
}

fn origin_path(dir: &Path) -> PathBuf {
    dir.with_extension("origin")
}

/// Durable before the volume is there; until then nobody reads it.
fn write_origin(dir: &Path, source: &VolumeId) -> io::Result<()> {
    let path = origin_path(dir);
    let mut file = File::create(&path)?;
    writeln!(file, "{source}")?;
    file.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
