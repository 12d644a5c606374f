//! The disk beneath: what was written to it, and plain reads and writes of a file.
//!
//! File work runs in a process of its own ([`FileWork::run`] in a child): the process that serves a volume must
//! not wait for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, MetadataExt as _},
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::Failure;

const CHUNK: usize = 1024 * 1024;
const PAGE: usize = 8192;

/// Bytes written so far to the disk that holds a path.
///
/// # Errors
/// If the system keeps no statistics of it.
pub fn bytes_written(path: &Path) -> Result<u64, Failure> {
    let device = fs::metadata(path)?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"))?;
    let sectors: u64 = stat.split_whitespace().nth(6).ok_or("no statistics of the disk")?.parse()?;
    Ok(sectors * 512)
}

/// One kind of work on a file.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum FileWork {
    /// Writes the file from its beginning to its end, and flushes once.
    Write,
    /// Reads it back, with a cold page cache.
    Read,
    /// Writes 8 KiB and flushes, over and over, within the first 16 MiB.
    Fsync,
}

impl FileWork {
    /// Does the work on `file`; MiB per second, or microseconds per flush (the median).
    ///
    /// # Errors
    /// What the file system says.
    pub fn run(self, file: &Path, bytes: u64) -> Result<f64, Failure> {
        match self {
            Self::Write => write(file, bytes),
            Self::Read => read(file, bytes),
            Self::Fsync => fsync(file),
        }
    }

    /// The same in a child process of this program, which must pass `file-work` on to [`FileWork::run`].
    ///
    /// # Errors
    /// What the child could not do.
    pub fn in_child(self, file: &Path, bytes: u64) -> Result<f64, Failure> {
        let name = format!("{self:?}").to_lowercase();
        let mut child = Command::new(std::env::current_exe()?);
        let output = child.arg("file-work").arg(name).arg(file).arg(bytes.to_string()).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib_per_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / (1024.0 * 1024.0) / took.as_secs_f64()
}

/// Bytes that no compression and no deduplication makes less of.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(CHUNK);
    while bytes.len() < CHUNK {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn write(path: &Path, bytes: u64) -> Result<f64, Failure> {
    let chunk = noise();
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let begun = Instant::now();
    for _ in 0..bytes / CHUNK as u64 {
        file.write_all(&chunk)?;
    }
    file.sync_data()?;
    Ok(mib_per_second(bytes, begun.elapsed()))
}

fn read(path: &Path, bytes: u64) -> Result<f64, Failure> {
    let mut file = File::open(path)?;
    file.sync_all()?;
    // SAFETY: the descriptor is open; the call only advises the kernel to drop the file's pages.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    let mut chunk = vec![0; CHUNK];
    let begun = Instant::now();
    for _ in 0..bytes / CHUNK as u64 {
        file.read_exact(&mut chunk)?;
    }
    Ok(mib_per_second(bytes, begun.elapsed()))
}

fn fsync(path: &Path) -> Result<f64, Failure> {
    const SIZE: usize = 16 * CHUNK;
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    file.write_all(&vec![1; SIZE])?;
    file.sync_all()?;
    let page = noise()[..PAGE].to_vec();
    let mut took = Vec::new();
    for n in 0..2000_usize {
        let offset = (n * 7919 * PAGE) % SIZE;
        let begun = Instant::now();
        file.write_all_at(&page, offset as u64)?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(crate::figures::median(took))
}
