//! A block device that is a plain file, with counters, and with ways to misbehave.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};

use attach::BlockDevice;

use crate::files::{PAGE, STAMP};

#[derive(Default)]
pub struct Counters {
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub flushes: AtomicU64,
    /// Bytes.
    pub discarded: AtomicU64,
    /// Requests that began or ended within a stamped page.
    pub torn: AtomicU64,
}

pub struct FileDevice {
    file: File,
    size: AtomicU64,
    pub counters: Counters,
    pub failing: AtomicBool,
    /// Writes meet a host without space.
    pub full: AtomicBool,
    hanging: Mutex<bool>,
    resumed: Condvar,
}

impl FileDevice {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            size: AtomicU64::new(size),
            counters: Counters::default(),
            failing: AtomicBool::new(false),
            full: AtomicBool::new(false),
            hanging: Mutex::new(false),
            resumed: Condvar::new(),
        })
    }

    pub fn grow(&self, size: u64) {
        self.file.set_len(size).expect("a sparse file grows");
        self.size.store(size, Relaxed);
    }

    /// From now on every request waits for ever.
    pub fn hang(&self) {
        *self.hanging.lock().expect("not poisoned") = true;
    }

    fn misbehave(&self) -> io::Result<()> {
        let hanging = self.hanging.lock().expect("not poisoned");
        drop(self.resumed.wait_while(hanging, |hanging| *hanging).expect("not poisoned"));
        if self.failing.load(Relaxed) { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    /// Counts a request whose first or last piece is half of a stamped page.
    fn look_for_torn_pages(&self, offset: u64, bytes: &[u8]) {
        let half = PAGE as u64 / 2;
        let starts_within = offset % PAGE as u64 == half && bytes.starts_with(STAMP);
        let ends_within = (offset + bytes.len() as u64) % PAGE as u64 == half
            && bytes[bytes.len() - PAGE / 2..].starts_with(STAMP);
        self.counters.torn.fetch_add(u64::from(starts_within || ends_within), Relaxed);
    }
}

impl BlockDevice for FileDevice {
    fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.misbehave()?;
        self.counters.reads.fetch_add(1, Relaxed);
        self.file.read_exact_at(buffer, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.misbehave()?;
        if self.full.load(Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.counters.writes.fetch_add(1, Relaxed);
        self.look_for_torn_pages(offset, bytes);
        self.file.write_all_at(bytes, offset)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.misbehave()?;
        self.counters.discarded.fetch_add(length, Relaxed);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: only the range of an open file is changed.
        let result = unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset as i64, length as i64) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn flush(&self) -> io::Result<()> {
        self.misbehave()?;
        self.counters.flushes.fetch_add(1, Relaxed);
        self.file.sync_data()
    }
}
