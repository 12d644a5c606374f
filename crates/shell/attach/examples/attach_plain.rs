//! Attaches memory or a plain file, not sealed, and runs a command in the root of its file system: to measure
//! the path from the kernel to a device and back by itself.
//!
//! ```text
//! attach_plain memory:4096 COMMAND [ARGUMENT]...     MiB
//! attach_plain FILE        COMMAND [ARGUMENT]...
//! ```

#![allow(clippy::print_stdout, reason = "the program's report")]

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use attach::{BlockDevice, MountOptions, Mounted};

struct Plain {
    file: File,
    size: u64,
    counts: [AtomicU64; 4],
}

impl Plain {
    fn open(name: &str) -> Result<Self, Box<dyn Error>> {
        let file = match name.strip_prefix("memory:") {
            Some(mebibytes) => {
                let memory =
                    nix::sys::memfd::memfd_create(c"device", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
                let file = File::from(memory);
                file.set_len(mebibytes.parse::<u64>()? << 20)?;
                file
            }
            None => OpenOptions::new().read(true).write(true).open(name)?,
        };
        let size = file.metadata()?.len();
        Ok(Self { file, size, counts: Default::default() })
    }

    fn count(&self, operation: usize) {
        self.counts[operation].fetch_add(1, Relaxed);
    }
}

impl BlockDevice for Plain {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.count(0);
        self.file.read_exact_at(buffer, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.count(1);
        self.file.write_all_at(bytes, offset)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.count(2);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: only the range of an open file is changed.
        let result = unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset as i64, length as i64) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn flush(&self) -> io::Result<()> {
        self.count(3);
        self.file.sync_data()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, program, rest @ ..] = arguments.as_slice() else {
        return Err("usage: attach_plain (memory:MIB | FILE) COMMAND [ARGUMENT]...".into());
    };
    attach::enter_private_namespace()?;
    let device = Arc::new(Plain::open(name)?);
    let dir = tempfile::tempdir()?;
    let mut options = MountOptions::default();
    if let Ok(workers) = std::env::var("WORKERS") {
        options.workers = workers.parse()?;
    }
    let mounted = Mounted::mount(Arc::clone(&device) as _, dir.path(), &options)?;
    let status = Command::new(program).args(rest).current_dir(mounted.path()).status()?;
    let [reads, writes, discards, flushes] = &device.counts;
    println!("{status}; {reads:?} reads, {writes:?} writes, {discards:?} discards, {flushes:?} flushes");
    mounted.unmount()?;
    Ok(())
}
