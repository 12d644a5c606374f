//! Files that are kept to become segments: the reserve, with which a volume on a full host gets on, and files of dead
//! segments beyond it, which are quicker to write than new ones. What they hold is sealed, bound to the number that they
//! had, and opens under no other.
//!
//! The reserve is for what gives space back (decision 0123): the cleaner, checkpoints, discards, the end of an attach.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::fcntl::{AT_FDCWD, FallocateFlags, RenameFlags, fallocate, renameat2};

pub(crate) const SPARE: &str = "spare-";
const BARE: &str = "spare-new-";
/// Files of the reserve: one for the cleaner, two for the nodes of a checkpoint, one for the log.
pub(crate) const RESERVE: usize = 4;
/// Files of dead segments that are kept beyond it: as many as a checkpoint frees at once, roughly.
const RECYCLED: std::ops::RangeInclusive<usize> = 2..=8;
/// For so many segments, one more.
const RECYCLED_PART: usize = 8;
/// Given up for a moment where small files are to be replaced on a full host.
pub(crate) const BALLAST: &str = "ballast";
const BALLAST_SIZE: u32 = 1 << 20;

/// The spare files of a volume.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    /// Of the volume.
    dir: PathBuf,
    segments: PathBuf,
    files: Mutex<Files>,
}

/// A write into space that was never written takes half as long again: the host's file system has to note that it was.
#[derive(Debug, Default)]
struct Files {
    /// Of dead segments.
    written: Vec<PathBuf>,
    /// With space that is only allocated.
    bare: Vec<PathBuf>,
}

impl Files {
    fn count(&self) -> usize {
        self.written.len() + self.bare.len()
    }

    fn put(&mut self, path: PathBuf) {
        let is_bare =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(BARE.as_bytes()));
        if is_bare { self.bare.push(path) } else { self.written.push(path) }
    }

    /// Who uses the reserve writes much at once, and leaves written space to the small groups of the log.
    fn pop(&mut self, from_reserve: bool) -> Option<PathBuf> {
        match from_reserve {
            true => self.bare.pop().or_else(|| self.written.pop()),
            false => self.written.pop().or_else(|| self.bare.pop()),
        }
    }
}

impl Spares {
    /// Finds what there is. A file that somebody else has linked is theirs, and is let go.
    pub fn find(dir: &Path, segments: &Path) -> io::Result<Self> {
        let mut files = Files::default();
        for file in fs::read_dir(segments)? {
            let file = file?;
            if !file.file_name().as_encoded_bytes().starts_with(SPARE.as_bytes()) {
                continue;
            }
            let metadata = file.metadata()?;
            if metadata.is_file() && metadata.nlink() == 1 {
                files.put(file.path());
            } else {
                fs::remove_file(file.path())?;
            }
        }
        Ok(Self { dir: dir.into(), segments: segments.into(), files: Mutex::new(files) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.files().count()
    }

    /// Makes a spare file the segment at `path`, if there is one beyond the reserve or the reserve may be used.
    pub fn take(&self, path: &Path, options: &OpenOptions, from_reserve: bool) -> Option<File> {
        let mut files = self.files();
        let left = if from_reserve { 0 } else { RESERVE };
        while files.count() > left {
            let spare = files.pop(from_reserve)?;
            let alone = fs::symlink_metadata(&spare).is_ok_and(|metadata| metadata.nlink() == 1);
            if !alone {
                let _ = fs::remove_file(spare); // linked since: the other name keeps it
                continue;
            }
            if let Ok(file) = reuse(&spare, path, options) {
                return Some(file);
            }
        }
        None
    }

    /// Takes the file of a dead segment, to keep it if one is wanted and nobody else has it; false if it is to be removed.
    /// A volume of more `segments` wants more.
    pub fn keep(&self, path: &Path, segment: u32, size: u32, segments: usize) -> bool {
        let mut files = self.files();
        let recycled = (segments / RECYCLED_PART).clamp(*RECYCLED.start(), *RECYCLED.end());
        if files.count() >= RESERVE + recycled {
            // One that is written is worth more than one that is not.
            let Some(bare) = files.bare.pop() else { return false };
            let _ = fs::remove_file(bare);
        }
        let spare = self.segments.join(format!("{SPARE}{segment:010}"));
        if fs::rename(path, &spare).is_err() {
            return false;
        }
        // Whoever links segments by their numbers cannot any more; who did so in the last moment keeps the file as it is.
        let alone = fs::symlink_metadata(&spare).is_ok_and(|metadata| metadata.nlink() == 1);
        // One that was cut is of no use to a full host unless it can be made whole again.
        let whole = || OpenOptions::new().write(true).open(&spare).and_then(|file| allocate(&file, size));
        if alone && whole().is_ok() {
            files.put(spare);
        } else {
            let _ = fs::remove_file(spare); // otherwise the next opener finds it
        }
        true
    }

    /// Makes up for what is missing of the reserve; false if the host has no space for it.
    pub fn fill(&self, size: u32) -> bool {
        let ballast = self.dir.join(BALLAST);
        let filled = ballast.exists() || make(&ballast, BALLAST_SIZE).is_ok();
        for spare in (0..).map(|number| self.segments.join(format!("{BARE}{number}"))) {
            if self.count() >= RESERVE {
                break;
            }
            if self.files().bare.contains(&spare) {
                continue;
            }
            // Nobody who needs a segment meanwhile waits for this one.
            if make(&spare, size).is_err() {
                return false;
            }
            self.files().put(spare);
        }
        filled
    }

    /// Gives a little space back for a moment; false if there is none to give.
    pub fn drop_ballast(&self) -> bool {
        fs::remove_file(self.dir.join(BALLAST)).is_ok()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Allocates a file; leaves none behind if there is no space.
fn make(path: &Path, size: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let made = allocate(&file, size).and_then(|()| file.sync_all());
    made.inspect_err(|_| drop(fs::remove_file(path)))
}

/// Makes the file of a dead segment that of a new one.
fn reuse(spare: &Path, path: &Path, options: &OpenOptions) -> io::Result<File> {
    renameat2(AT_FDCWD, spare, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE)?;
    // A file that cannot be opened must not lie in the way of the segment.
    options.open(path).inspect_err(|_| drop(fs::remove_file(path)))
}

/// Gives a file space up to `size` bytes, which it then has whatever happens to the host.
pub(crate) fn allocate(file: &File, size: u32) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, size.into()) {
        Err(nix::errno::Errno::EOPNOTSUPP) => file.set_len(size.into()),
        allocated => Ok(allocated?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 1 << 16;

    fn found(home: &Path) -> Spares {
        let segments = home.join("segments");
        fs::create_dir_all(&segments).unwrap();
        Spares::find(home, &segments).unwrap()
    }

    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options
    }

    #[test]
    fn the_reserve_is_for_those_who_may_use_it_and_is_made_up_for() {
        let home = tempfile::tempdir().unwrap();
        let spares = found(home.path());
        assert!(spares.fill(SIZE) && spares.count() == RESERVE);
        let path = |number: u32| home.path().join("segments").join(format!("{number:010}"));
        assert!(spares.take(&path(1), &options(), false).is_none());
        let file = spares.take(&path(1), &options(), true).unwrap();
        assert_eq!(file.metadata().unwrap().len(), u64::from(SIZE));
        assert_eq!(spares.count(), RESERVE - 1);
        // The file of a dead segment goes to the reserve first, then a few beyond it are for everybody.
        assert!(spares.keep(&path(1), 1, SIZE, 0));
        assert!(!path(1).exists());
        let kept = |number: u32, segments| {
            fs::write(path(number), [1]).unwrap();
            spares.keep(&path(number), number, SIZE, segments)
        };
        // Those that take the places of the bare ones of the reserve are as welcome.
        assert!((2..7).all(|number| kept(number, 0)));
        assert!(!kept(7, 0) && spares.count() == RESERVE + 2);
        assert!(kept(8, 24) && !kept(9, 24), "a larger volume keeps more");
        let file = spares.take(&path(20), &options(), false).unwrap();
        assert_eq!(file.metadata().unwrap().len(), u64::from(SIZE));
        // Another opener finds the same.
        assert_eq!(found(home.path()).count(), spares.count());
    }

    #[test]
    fn what_is_linked_or_no_file_is_never_taken() {
        let home = tempfile::tempdir().unwrap();
        let segments = home.path().join("segments");
        fs::create_dir(&segments).unwrap();
        fs::write(segments.join("spare-1"), [5; 9]).unwrap();
        fs::hard_link(segments.join("spare-1"), home.path().join("mine")).unwrap();
        std::os::unix::fs::symlink("nowhere", segments.join("spare-2")).unwrap();
        let spares = found(home.path());
        assert_eq!(spares.count(), 0);
        assert!(spares.fill(SIZE));
        fs::hard_link(segments.join("spare-new-0"), home.path().join("other")).unwrap();
        for number in 0..RESERVE - 1 {
            assert!(spares.take(&segments.join(format!("{number:010}")), &options(), true).is_some());
        }
        assert!(spares.take(&segments.join("0000000099"), &options(), true).is_none());
        assert_eq!(fs::read(home.path().join("mine")).unwrap(), [5; 9]);
    }
}
