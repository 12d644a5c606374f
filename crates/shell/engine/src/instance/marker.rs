//! The marker: a file in the mounted file system that names its volume. PostgreSQL never starts on anything else: not
//! on the empty directory below a mount that is not there, not on another volume.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use clusters::VolumeId;

const NAME: &str = "volume-id";
const TEMPORARY: &str = "volume-id.new";

/// Why a directory is not the volume.
#[derive(Debug, thiserror::Error)]
pub enum NotTheVolume {
    #[error("nothing is mounted where the volume should be")]
    NotMounted,
    #[error("the mounted file system belongs to {found}, not to {wanted}")]
    Other { found: String, wanted: VolumeId },
    #[error("the mounted file system has no marker of {0}")]
    NoMarker(VolumeId),
    #[error("the marker of the volume: {0}")]
    Io(#[from] io::Error),
}

/// Checks that the file system mounted at `mount` is that of `volume`. One that is still empty is marked if the volume
/// may be `new`; one that was cloned of `origin` gets the clone's own marker.
///
/// # Errors
/// [`NotTheVolume`]; nothing was changed then.
pub fn check(
    mount: &Path,
    volume: &VolumeId,
    origin: Option<&VolumeId>,
    new: bool,
) -> Result<(), NotTheVolume> {
    let above = mount.parent().ok_or(NotTheVolume::NotMounted)?;
    if fs::metadata(mount)?.dev() == fs::metadata(above)?.dev() {
        return Err(NotTheVolume::NotMounted);
    }
    check_marker(mount, volume, origin, new)
}

fn check_marker(
    mount: &Path,
    volume: &VolumeId,
    origin: Option<&VolumeId>,
    new: bool,
) -> Result<(), NotTheVolume> {
    let found = match fs::read_to_string(mount.join(NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if new && is_empty(mount)? {
                Ok(write(mount, volume)?)
            } else {
                Err(NotTheVolume::NoMarker(volume.clone()))
            };
        }
        Err(error) => return Err(error.into()),
    };
    match found.trim_end() {
        id if id == volume.as_str() => Ok(()),
        id if origin.is_some_and(|origin| id == origin.as_str()) => Ok(write(mount, volume)?),
        id => Err(NotTheVolume::Other { found: id.chars().take(100).collect(), wanted: volume.clone() }),
    }
}

fn is_empty(mount: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(mount)? {
        if entry?.file_name() != TEMPORARY {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whole or not at all.
fn write(mount: &Path, volume: &VolumeId) -> io::Result<()> {
    let temporary = mount.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    writeln!(file, "{volume}")?;
    file.sync_all()?;
    fs::rename(temporary, mount.join(NAME))?;
    File::open(mount)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: char) -> VolumeId {
        format!("vol-0000000000000000{last}").parse().unwrap()
    }

    #[test]
    fn a_directory_on_which_nothing_is_mounted_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().join("volume");
        fs::create_dir(&mount).unwrap();
        fs::write(mount.join(NAME), "vol-00000000000000001\n").unwrap();
        assert!(matches!(check(&mount, &id('1'), None, true), Err(NotTheVolume::NotMounted)));
    }

    #[test]
    fn an_empty_file_system_is_marked_once_and_only_as_new() {
        let dir = tempfile::tempdir().unwrap();
        let check = |volume: char, new| check_marker(dir.path(), &id(volume), None, new);
        assert!(matches!(check('1', false), Err(NotTheVolume::NoMarker(_))));
        fs::write(dir.path().join(TEMPORARY), "vol-").unwrap();
        check('1', true).unwrap();
        check('1', false).unwrap();
        assert!(matches!(check('2', true), Err(NotTheVolume::Other { .. })));
        check('1', false).unwrap();
    }

    #[test]
    fn a_file_system_with_content_but_no_marker_is_never_marked() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        assert!(matches!(check_marker(dir.path(), &id('1'), None, true), Err(NotTheVolume::NoMarker(_))));
    }

    #[test]
    fn a_clone_takes_over_from_its_origin_and_from_no_other() {
        let dir = tempfile::tempdir().unwrap();
        check_marker(dir.path(), &id('1'), None, true).unwrap();
        assert!(check_marker(dir.path(), &id('3'), Some(&id('2')), false).is_err());
        check_marker(dir.path(), &id('3'), Some(&id('1')), false).unwrap();
        check_marker(dir.path(), &id('3'), None, false).unwrap();
        assert!(check_marker(dir.path(), &id('1'), None, false).is_err());
    }
}
