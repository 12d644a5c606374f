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
    mem::MaybeUninit,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use nix::{
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::mman::{MmapAdvise, madvise},
};
use volume::{ALIGN, AlignedBuffer, Image, MAX_HEADER, SEGMENT, SLOT, Segments, VolumeError};

use crate::spares::{BALLAST, SPARE, Spares, allocate};

pub(crate) const HEADER: &str = "header";
const HEADER_COPY: &str = "header.copy";
pub(crate) const CHECKPOINT: &str = "checkpoint";
const SEGMENTS: &str = "segments";
/// Suffix of a directory that is being built.
const UNFINISHED: &str = "new";
/// Segments whose files are kept open.
const OPEN_FILES: usize = 512;

/// A segment's file.
#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// Made in this attach and not finished yet.
    writing: bool,
}

/// The files of one volume, for one opener.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    dir: PathBuf,
    /// Holds the advisory lock on the directory.
    lock: Mutex<Option<File>>,
    /// `None` if it is missing and nothing may be written.
    checkpoint: Option<File>,
    /// `O_DIRECT`, or nothing where the file system has none.
    direct: i32,
    files: Mutex<HashMap<u32, Open>>,
    spares: Spares,
    /// How many there are.
    segments: AtomicUsize,
    /// Bytes of a segment; 0 until one was made.
    segment_size: AtomicU32,
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

    /// Opens the files for reading alone, together with others that do no more; nothing of them is changed.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], [`VolumeError::Io`].
    pub fn open_read_only(dir: &Path) -> Result<Self, VolumeError> {
        let lock = lock(dir, File::try_lock_shared)?;
        let open = |name, flags| OpenOptions::new().read(true).custom_flags(flags).open(dir.join(name));
        let direct = match open(HEADER, libc::O_DIRECT).or_else(|_| open(HEADER_COPY, libc::O_DIRECT)) {
            Ok(_) => libc::O_DIRECT,
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => 0,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(VolumeError::NotFound),
            Err(e) => return Err(VolumeError::io("open the header", e)),
        };
        let checkpoint = match open(CHECKPOINT, direct) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened.map_err(|e| VolumeError::io("open the checkpoint", e))?),
        };
        Self::with(dir, Some(lock), checkpoint, direct, true)
            .map_err(|e| VolumeError::io("list the segments", e))
    }

    /// Makes durable what a process that was killed in the middle of a write left: it can be read already, recovery
    /// builds on what it reads, and a power failure must not take that away again. Every write but the last one was
    /// durable before the next began, and the last one went to the checkpoint or to the segment made last.
    fn settle(&self) -> io::Result<()> {
        self.checkpoint()?.sync_all()?;
        match self.list()?.last() {
            Some(last) => File::open(self.path(*last))?.sync_all(),
            None => Ok(()),
        }
    }

    /// Makes the files of a volume in a directory that is being built.
    pub fn make(dir: &Path) -> io::Result<Self> {
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
        Self::with(dir, lock, Some(checkpoint), direct, false)
    }

    fn with(
        dir: &Path,
        lock: Option<File>,
        checkpoint: Option<File>,
        direct: i32,
        read_only: bool,
    ) -> io::Result<Self> {
        // One that is only read has none of ours.
        let segments = dir.join(SEGMENTS);
        let count = if read_only { 0 } else { list(dir)?.len() };
        Ok(Self {
            spares: if read_only { Spares::default() } else { Spares::find(dir, &segments)? },
            dir: dir.into(),
            lock: Mutex::new(lock),
            checkpoint,
            direct,
            files: Mutex::default(),
            segments: AtomicUsize::new(count),
            segment_size: AtomicU32::new(0),
            written: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        })
    }

    fn checkpoint(&self) -> io::Result<&File> {
        self.checkpoint.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
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

    fn file(&self, segment: u32) -> io::Result<Arc<File>> {
        if let Some(open) = self.files().get(&segment) {
            return Ok(open.file.clone());
        }
        let file = OpenOptions::new().read(true).custom_flags(self.direct).open(self.path(segment))?;
        let file = Arc::new(file);
        self.keep(segment, file.clone(), false);
        Ok(file)
    }

    fn keep(&self, segment: u32, file: Arc<File>, writing: bool) {
        let mut files = self.files();
        if files.len() >= OPEN_FILES {
            // Any that is not being written is opened again when it is read.
            files.retain(|_, open| open.writing);
        }
        files.insert(segment, Open { file, writing });
    }

    /// Makes a segment, from a spare file or from the space of the host.
    fn make_segment(&self, segment: u32, size: u32, from_reserve: bool) -> io::Result<()> {
        self.segment_size.store(size, Relaxed);
        let path = self.path(segment);
        let mut options = file_options();
        options.custom_flags(self.direct | libc::O_DSYNC);
        let file = match self.spares.take(&path, &options, from_reserve) {
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
        self.segments.fetch_add(1, Relaxed);
        self.keep(segment, Arc::new(file), true);
        Ok(())
    }

    fn replace_headers(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.dir.join("header.new");
        for name in [HEADER, HEADER_COPY] {
            write_file(&new, bytes)?;
            fs::rename(&new, self.dir.join(name))?;
            sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Bytes of the files that are kept.
    pub fn reserve(&self) -> u64 {
        self.spares.count() as u64 * u64::from(self.segment_size())
    }

    fn segment_size(&self) -> u32 {
        match self.segment_size.load(Relaxed) {
            0 => SEGMENT,
            size => size,
        }
    }

    /// Makes up for what is missing of the reserve; false if the host has no space for it.
    pub fn fill_reserve(&self) -> bool {
        self.spares.fill(self.segment_size())
    }

    fn files(&self) -> MutexGuard<'_, HashMap<u32, Open>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segments for SegmentFiles {
    /// Direct I/O takes each stretch of physical memory by itself. One of small pages costs a disk of a virtual machine
    /// several microseconds (decision 0215).
    fn prepare(&self, memory: &mut [MaybeUninit<u8>]) {
        let start = NonNull::from(&mut *memory).cast();
        // SAFETY: the advice changes which pages back the memory, not what it holds.
        let advised = unsafe { madvise(start, memory.len(), MmapAdvise::MADV_HUGEPAGE) };
        if let Err(error) = advised {
            tracing::debug!(%error, "no large pages for the volume's buffers");
        }
    }

    fn list(&self) -> io::Result<Vec<u32>> {
        list(&self.dir)
    }

    fn create(&self, segment: u32, size: u32) -> io::Result<()> {
        self.make_segment(segment, size, false)
    }

    fn create_from_reserve(&self, segment: u32, size: u32) -> io::Result<()> {
        self.make_segment(segment, size, true)
    }

    fn settle(&self, segment: u32) -> io::Result<()> {
        match File::open(self.path(segment)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => opened?.sync_all(),
        }
    }

    fn write(&self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()> {
        // Only a segment that was made in this attach is ever written.
        let file = self.files().get(&segment).filter(|open| open.writing).map(|open| open.file.clone());
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
        if let Some(open) = self.files().get_mut(&segment) {
            open.writing = false;
        }
        let metadata = file.metadata()?;
        // A little at its end is not worth that the file has to be allocated again when it is recycled.
        let worth = u64::from(length) < metadata.len() / 8 * 7;
        if worth && metadata.nlink() == 1 { file.set_len(length.into()) } else { Ok(()) }
    }

    fn is_shared(&self, segment: u32) -> bool {
        fs::metadata(self.path(segment)).is_ok_and(|metadata| metadata.nlink() > 1)
    }

    fn remove(&self, segment: u32) -> io::Result<()> {
        self.files().remove(&segment);
        let path = self.path(segment);
        let alone = fs::metadata(&path).is_ok_and(|metadata| metadata.nlink() == 1);
        let left = self.segments.load(Relaxed).saturating_sub(1);
        if !(alone && self.spares.keep(&path, segment, self.segment_size(), left)) {
            match fs::remove_file(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        self.segments.store(left, Relaxed);
        Ok(())
    }

    fn read_header(&self) -> io::Result<Vec<u8>> {
        read_header(&self.dir, HEADER)
    }

    fn read_header_copy(&self) -> io::Result<Vec<u8>> {
        read_header(&self.dir, HEADER_COPY)
    }

    fn replace_header(&self, bytes: &[u8]) -> io::Result<()> {
        match self.replace_headers(bytes) {
            Err(e) if is_full(&e) && self.spares.drop_ballast() => self.replace_headers(bytes),
            replaced => replaced,
        }
    }

    fn read_checkpoint(&self) -> io::Result<Vec<u8>> {
        let mut slots = AlignedBuffer::new(2 * SLOT);
        let read = self.checkpoint()?.read_at(&mut slots, 0)?;
        Ok(slots[..read].to_vec())
    }

    fn write_checkpoint(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.checkpoint()?.write_all_at(bytes, (slot * SLOT) as u64)?;
        self.written.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }
}

/// Whether `dir` holds a whole volume or snapshot.
pub(crate) fn exists(dir: &Path) -> bool {
    dir.join(HEADER).is_file()
}

/// The bytes of the header of a volume that anybody may have open: it is only ever replaced as a whole.
pub(crate) fn header(dir: &Path) -> Result<Vec<u8>, VolumeError> {
    read_header(dir, HEADER).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => VolumeError::NotFound,
        _ => VolumeError::io("read the header", e),
    })
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
    let header = header(&read_header(from, HEADER).map_err(|e| VolumeError::io("read the header", e))?)?;
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
    gone(fs::remove_file(dir.join(HEADER_COPY)))?;
    gone(fs::remove_dir_all(dir))
}

/// Makes `dir` appear whole: builds it under another name, makes it durable and renames it.
pub(crate) fn build<T>(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<T, VolumeError>,
) -> Result<T, VolumeError> {
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
    let built = fill(&new).and_then(|made| {
        sync_dir(&new.join(SEGMENTS)).and_then(|()| sync_dir(&new)).map_err(failed("sync the volume"))?;
        let taken = |e| match e {
            nix::errno::Errno::EEXIST | nix::errno::Errno::ENOTEMPTY => VolumeError::AlreadyExists,
            e => VolumeError::io("rename the volume", e.into()),
        };
        renameat2(AT_FDCWD, &new, AT_FDCWD, dir, RenameFlags::RENAME_NOREPLACE).map_err(taken)?;
        sync_dir(dir.parent().unwrap_or(Path::new(".")))
            .map_err(failed("sync the directory of the volume"))?;
        Ok(made)
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

pub(crate) fn lock(dir: &Path, take: fn(&File) -> Result<(), TryLockError>) -> Result<File, VolumeError> {
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

pub(crate) fn write_image(dir: &Path, header: &[u8], checkpoint: &[u8]) -> Result<(), VolumeError> {
    let write = || {
        fs::DirBuilder::new().mode(0o700).create(dir)?;
        fs::DirBuilder::new().mode(0o700).create(dir.join(SEGMENTS))?;
        write_file(&dir.join(CHECKPOINT), checkpoint)?;
        write_file(&dir.join(HEADER_COPY), header)?;
        write_file(&dir.join(HEADER), header)
    };
    write().map_err(|e| VolumeError::io("write the copy of the volume", e))
}

fn link(from: &Path, to: &Path, segments: &[u32]) -> Result<(), VolumeError> {
    link_files(to, segments.iter().map(|&segment| (segment, segment_path(from, segment))))
}

/// Links files as the segments of a volume that is being built.
pub(crate) fn link_files(
    to: &Path,
    segments: impl Iterator<Item = (u32, PathBuf)>,
) -> Result<(), VolumeError> {
    for (segment, source) in segments {
        let target = segment_path(to, segment);
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

pub(crate) fn list(dir: &Path) -> io::Result<Vec<u32>> {
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

/// Names of files in the directory of a volume that are none of its own, or that were never finished.
pub(crate) fn strays(dir: &Path) -> io::Result<Vec<String>> {
    let mut strays = Vec::new();
    for file in fs::read_dir(dir)? {
        let name = file?.file_name();
        if ![HEADER, HEADER_COPY, CHECKPOINT, SEGMENTS, BALLAST].iter().any(|known| name == *known) {
            strays.push(name.to_string_lossy().into_owned());
        }
    }
    for file in fs::read_dir(dir.join(SEGMENTS))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let number = name.len() == 10 && name.parse::<u32>().is_ok_and(|number| number > 0);
        if !number && !name.starts_with(SPARE) {
            strays.push(format!("{SEGMENTS}/{name}"));
        }
    }
    if fs::exists(unfinished(dir).map_err(|_| io::ErrorKind::InvalidInput)?)? {
        strays.push(format!("{}.{UNFINISHED}", dir.display()));
    }
    strays.sort_unstable();
    Ok(strays)
}

pub(crate) fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(SEGMENTS).join(format!("{segment:010}"))
}

pub(crate) fn read_header(dir: &Path, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(dir.join(name))?.take(MAX_HEADER as u64).read_to_end(&mut bytes)?;
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

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
