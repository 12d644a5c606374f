//! The files of a volume: a directory with `header`, `checkpoint` and `segments/NNNNNNNNNN`.
//!
//! Writes into segments go past the page cache and are durable when they return (`O_DIRECT`, `O_DSYNC`), into space
//! that was allocated before. A segment with another hard link belongs to a snapshot as well and is never changed.
//! A few files of dead segments are kept as `segments/spare-N` and used again: writing over written space takes half
//! the time of writing into space that is only allocated. What they hold opens under no other number.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nix::fcntl::{AT_FDCWD, FallocateFlags, RenameFlags, fallocate, renameat2};
use volume::{ALIGN, AlignedBuffer, Image, MAX_HEADER, SLOT, Segments, VolumeError};

const HEADER: &str = "header";
const CHECKPOINT: &str = "checkpoint";
const SEGMENTS: &str = "segments";
/// Suffix of a directory that is being built.
const UNFINISHED: &str = "new";
const SPARE: &str = "spare-";
/// Files of dead segments that are kept to be used again.
const SPARES: usize = 2;
/// Segments whose files are kept open.
const OPEN_FILES: usize = 512;

/// The files of one volume, for one opener.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    dir: PathBuf,
    /// Holds the advisory lock on the directory.
    lock: Mutex<Option<File>>,
    checkpoint: File,
    /// `O_DIRECT`, or nothing where the file system has none.
    direct: i32,
    files: Mutex<HashMap<u32, Arc<File>>>,
    written: AtomicU64,
    writes: AtomicU64,
}

impl SegmentFiles {
    /// Takes the files of the volume in `dir` for oneself.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::Io`].
    pub fn open(dir: &Path) -> Result<Self, VolumeError> {
        let lock = lock(dir, File::try_lock)?;
        if !exists(dir) {
            return Err(VolumeError::NotFound);
        }
        let files = Self::over(dir, Some(lock)).map_err(|e| VolumeError::io("open the checkpoint", e))?;
        files.settle().map_err(|e| VolumeError::io("sync what was written last", e))?;
        Ok(files)
    }

    /// Makes durable what a process that was killed in the middle of a write left: it can be read already, recovery
    /// builds on what it reads, and a power failure must not take that away again. Every write but the last one was
    /// durable before the next began, and the last one went to the checkpoint or to the segment made last.
    fn settle(&self) -> io::Result<()> {
        self.checkpoint.sync_all()?;
        match self.list()?.last() {
            Some(last) => File::open(self.path(*last))?.sync_all(),
            None => Ok(()),
        }
    }

    /// Makes the files of a volume in a directory that is being built.
    fn make(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o700).create(dir)?;
        fs::DirBuilder::new().mode(0o700).create(dir.join(SEGMENTS))?;
        Self::over(dir, None)
    }

    fn over(dir: &Path, lock: Option<File>) -> io::Result<Self> {
        let checkpoint = dir.join(CHECKPOINT);
        let open = |flags| file_options().create(true).truncate(false).custom_flags(flags).open(&checkpoint);
        let (checkpoint, direct) = match open(libc::O_DSYNC | libc::O_DIRECT) {
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => (open(libc::O_DSYNC)?, 0),
            opened => (opened?, libc::O_DIRECT),
        };
        Ok(Self {
            dir: dir.into(),
            lock: Mutex::new(lock),
            checkpoint,
            direct,
            files: Mutex::default(),
            written: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        })
    }

    /// Lets others open the volume.
    pub fn release(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.files().clear();
    }

    /// Bytes written into segments and the checkpoint.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Durable writes into segments.
    pub fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// Bytes that the segments take up on the host.
    pub fn allocated(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for segment in self.list()? {
            match fs::metadata(self.path(segment)) {
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // removed meanwhile
                Err(e) => return Err(e),
            }
        }
        Ok(bytes)
    }

    /// Makes a snapshot directory from an image of this volume.
    pub fn save(&self, image: &Image, to: &Path) -> Result<(), VolumeError> {
        build(to, |new| {
            write_image(new, &image.header, &image.checkpoint)?;
            link(&self.dir, new, &image.segments)
        })
    }

    fn path(&self, segment: u32) -> PathBuf {
        segment_path(&self.dir, segment)
    }

    /// Files of dead segments that are kept. One that somebody has linked since is theirs, and is let go.
    fn spares(&self) -> io::Result<Vec<PathBuf>> {
        let mut spares = Vec::new();
        for file in fs::read_dir(self.dir.join(SEGMENTS))? {
            let file = file?;
            if !file.file_name().as_encoded_bytes().starts_with(SPARE.as_bytes()) {
                continue;
            }
            if file.metadata()?.nlink() == 1 {
                spares.push(file.path());
            } else {
                fs::remove_file(file.path())?;
            }
        }
        Ok(spares)
    }

    fn file(&self, segment: u32) -> io::Result<Arc<File>> {
        if let Some(file) = self.files().get(&segment) {
            return Ok(file.clone());
        }
        let file = OpenOptions::new().read(true).custom_flags(self.direct).open(self.path(segment))?;
        let file = Arc::new(file);
        self.keep(segment, file.clone());
        Ok(file)
    }

    fn keep(&self, segment: u32, file: Arc<File>) {
        let mut files = self.files();
        if files.len() >= OPEN_FILES {
            // The newest one is being written; any other is opened again when it is read.
            let newest = files.keys().copied().max();
            files.retain(|segment, _| Some(*segment) == newest);
        }
        files.insert(segment, file);
    }

    fn files(&self) -> MutexGuard<'_, HashMap<u32, Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segments for SegmentFiles {
    fn list(&self) -> io::Result<Vec<u32>> {
        list(&self.dir)
    }

    fn create(&self, segment: u32, size: u32) -> io::Result<()> {
        let path = self.path(segment);
        let mut options = file_options();
        options.custom_flags(self.direct | libc::O_DSYNC);
        let recycled = self.spares()?.pop().and_then(|spare| reuse(&spare, &path, &options).ok());
        let file = match recycled {
            Some(file) => file,
            None => options.create_new(true).open(&path)?,
        };
        let made = allocate(&file, size)
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_dir(&self.dir.join(SEGMENTS)));
        if let Err(error) = made {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.keep(segment, Arc::new(file));
        Ok(())
    }

    fn write(&self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()> {
        let file = self.files().get(&segment).cloned();
        // Only a segment that was made in this attach is ever written.
        let file = file.ok_or(io::ErrorKind::PermissionDenied)?;
        file.write_all_at(bytes, offset.into())?;
        self.written.fetch_add(bytes.len() as u64, Relaxed);
        self.writes.fetch_add(1, Relaxed);
        Ok(())
    }

    fn read(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file(segment)?;
        let mut read = 0;
        while read < buffer.len() {
            match file.read_at(&mut buffer[read..], u64::from(offset) + read as u64) {
                Ok(0) => break,
                Ok(more) => {
                    read += more;
                    // The end of a file that was cut short: direct I/O cannot go on from there.
                    if !more.is_multiple_of(ALIGN) {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(read)
    }

    fn finish(&self, segment: u32, length: u32) -> io::Result<()> {
        let file = self.file(segment)?;
        if file.metadata()?.nlink() == 1 { file.set_len(length.into()) } else { Ok(()) }
    }

    fn is_shared(&self, segment: u32) -> bool {
        fs::metadata(self.path(segment)).is_ok_and(|metadata| metadata.nlink() > 1)
    }

    fn remove(&self, segment: u32) -> io::Result<()> {
        self.files().remove(&segment);
        let path = self.path(segment);
        let alone = fs::metadata(&path).is_ok_and(|metadata| metadata.nlink() == 1);
        if alone && self.spares()?.len() < SPARES {
            return fs::rename(path, self.dir.join(SEGMENTS).join(format!("{SPARE}{segment:010}")));
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn read_header(&self) -> io::Result<Vec<u8>> {
        read_header(&self.dir)
    }

    fn replace_header(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.dir.join("header.new");
        write_file(&new, bytes)?;
        fs::rename(&new, self.dir.join(HEADER))?;
        sync_dir(&self.dir)
    }

    fn read_checkpoint(&self) -> io::Result<Vec<u8>> {
        let mut slots = AlignedBuffer::new(2 * SLOT);
        let read = self.checkpoint.read_at(&mut slots, 0)?;
        Ok(slots[..read].to_vec())
    }

    fn write_checkpoint(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.checkpoint.write_all_at(bytes, (slot * SLOT) as u64)?;
        self.written.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }
}

/// Whether `dir` holds a whole volume or snapshot.
pub(crate) fn exists(dir: &Path) -> bool {
    dir.join(HEADER).is_file()
}

/// Makes the file of a dead segment that of a new one.
fn reuse(spare: &Path, path: &Path, options: &OpenOptions) -> io::Result<File> {
    renameat2(AT_FDCWD, spare, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE)?;
    // A file that cannot be opened must not lie in the way of the segment.
    options.open(path).inspect_err(|_| drop(fs::remove_file(path)))
}

/// Builds a new volume in `dir`, whole or not at all. `fill` writes through the files it is given.
pub(crate) fn create(
    dir: &Path,
    fill: impl FnOnce(&SegmentFiles) -> Result<(), VolumeError>,
) -> Result<(), VolumeError> {
    build(dir, |new| {
        let files = SegmentFiles::make(new).map_err(|e| VolumeError::io("make the directory", e))?;
        fill(&files)
    })
}

/// Copies a volume or snapshot that nobody writes to, by hard links. `header` makes the header of the copy.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    header: impl FnOnce(&[u8]) -> Result<Vec<u8>, VolumeError>,
) -> Result<(), VolumeError> {
    let _unchanged = lock(from, File::try_lock_shared)?;
    if !exists(from) {
        return Err(VolumeError::NotFound);
    }
    let header = header(&read_header(from).map_err(|e| VolumeError::io("read the header", e))?)?;
    let checkpoint =
        fs::read(from.join(CHECKPOINT)).map_err(|e| VolumeError::io("read the checkpoint", e))?;
    let segments = list(from).map_err(|e| VolumeError::io("list the segments", e))?;
    build(to, |new| {
        write_image(new, &header, &checkpoint)?;
        link(from, new, &segments)
    })
}

/// Deletes a volume or a snapshot, and what is left of one that was being built.
pub(crate) fn remove(dir: &Path) -> Result<(), VolumeError> {
    let gone = |removed: io::Result<()>| match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(VolumeError::io("remove the volume", e)),
        _ => Ok(()),
    };
    gone(fs::remove_dir_all(unfinished(dir)?))?;
    let _alone = match lock(dir, File::try_lock) {
        Err(VolumeError::NotFound) => return Ok(()),
        locked => locked?,
    };
    // Without its header it is no volume any more, however far the rest gets.
    gone(fs::remove_file(dir.join(HEADER)))?;
    gone(fs::remove_dir_all(dir))
}

/// Makes `dir` appear whole: builds it under another name, makes it durable and renames it.
fn build(dir: &Path, fill: impl FnOnce(&Path) -> Result<(), VolumeError>) -> Result<(), VolumeError> {
    let failed = |action: &'static str| move |e| VolumeError::io(action, e);
    if dir.try_exists().map_err(failed("look for the volume"))? {
        return Err(VolumeError::AlreadyExists);
    }
    let new = unfinished(dir)?;
    match fs::remove_dir_all(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(VolumeError::io("remove an unfinished volume", e));
        }
        _ => {}
    }
    let built = fill(&new).and_then(|()| {
        sync_dir(&new.join(SEGMENTS)).and_then(|()| sync_dir(&new)).map_err(failed("sync the volume"))?;
        let taken = |e| match e {
            nix::errno::Errno::EEXIST | nix::errno::Errno::ENOTEMPTY => VolumeError::AlreadyExists,
            e => VolumeError::io("rename the volume", e.into()),
        };
        renameat2(AT_FDCWD, &new, AT_FDCWD, dir, RenameFlags::RENAME_NOREPLACE).map_err(taken)?;
        sync_dir(dir.parent().unwrap_or(Path::new("."))).map_err(failed("sync the directory of the volume"))
    });
    if built.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    built
}

fn unfinished(dir: &Path) -> Result<PathBuf, VolumeError> {
    let name = dir.file_name().ok_or(VolumeError::Invalid("the directory of a volume has a name"))?;
    let mut name = name.to_owned();
    name.push(".");
    name.push(UNFINISHED);
    Ok(dir.with_file_name(name))
}

fn lock(dir: &Path, take: fn(&File) -> Result<(), TryLockError>) -> Result<File, VolumeError> {
    let file = match File::open(dir) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(VolumeError::NotFound),
        Err(e) => return Err(VolumeError::io("open the directory of the volume", e)),
    };
    match take(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(VolumeError::InUse),
        Err(TryLockError::Error(e)) => Err(VolumeError::io("lock the directory of the volume", e)),
    }
}

fn write_image(dir: &Path, header: &[u8], checkpoint: &[u8]) -> Result<(), VolumeError> {
    let write = || {
        fs::DirBuilder::new().mode(0o700).create(dir)?;
        fs::DirBuilder::new().mode(0o700).create(dir.join(SEGMENTS))?;
        write_file(&dir.join(CHECKPOINT), checkpoint)?;
        write_file(&dir.join(HEADER), header)
    };
    write().map_err(|e| VolumeError::io("write the copy of the volume", e))
}

fn link(from: &Path, to: &Path, segments: &[u32]) -> Result<(), VolumeError> {
    for &segment in segments {
        let (source, target) = (segment_path(from, segment), segment_path(to, segment));
        let linked = match fs::hard_link(&source, &target) {
            // Another file system, or one without links.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EXDEV | libc::EPERM | libc::EMLINK)) => {
                fs::copy(&source, &target).and_then(|_| File::open(&target)?.sync_all())
            }
            linked => linked,
        };
        linked.map_err(|e| VolumeError::io(format!("link segment {segment}"), e))?;
    }
    Ok(())
}

fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut segments = Vec::new();
    for file in fs::read_dir(dir.join(SEGMENTS))? {
        // Other names are none of ours.
        let name = file?.file_name();
        let number = name.to_str().filter(|name| name.len() == 10).and_then(|name| name.parse::<u32>().ok());
        segments.extend(number.filter(|number| *number > 0));
    }
    segments.sort_unstable();
    Ok(segments)
}

fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(SEGMENTS).join(format!("{segment:010}"))
}

fn read_header(dir: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(dir.join(HEADER))?.take(MAX_HEADER as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = file_options().create(true).truncate(true).open(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn allocate(file: &File, size: u32) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, size.into()) {
        Err(nix::errno::Errno::EOPNOTSUPP) => file.set_len(size.into()),
        allocated => Ok(allocated?),
    }
}
