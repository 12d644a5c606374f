//! What the stack above a volume costs: file work on XFS over a device that is memory, so that every microsecond
//! belongs to the kernel's layers and to the transport. Configurations alternate in one run; medians are told.
//!
//! `cargo run --release -p bench --bin stack -- --set read_ahead_kb=128 --set read_ahead_kb=4096` (as root: it mounts)
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use attach::{BlockDevice, MountOptions, Mounted, SECTOR};
use bench::{Failure, disk::FileWork, figures::median};
use clap::{Parser, Subcommand};
use nix::sys::resource::{UsageWho, getrusage};

/// The stack above a volume, over memory.
#[derive(Parser)]
struct Options {
    /// Rounds; each measures every configuration once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A configuration to compare, such as `workers=2,read_ahead_kb=4096,wbt_lat_usec=0`: `workers` and
    /// `uring` (`true` or `false`) as in [`MountOptions`], any other name is a file in `/sys/block/loopN/queue`. Once for
    /// each configuration.
    #[arg(long = "set", default_value = "")]
    configurations: Vec<String>,
    /// Size of the file for sequential work, in MiB.
    #[arg(long, default_value_t = 512)]
    file_mib: u64,
    /// How long the device takes for a flush, in microseconds.
    #[arg(long, default_value_t = 0)]
    flush_us: u64,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Subcommand)]
enum Work {
    /// One piece of file work, in a process of its own.
    #[command(hide = true)]
    FileWork { work: FileWork, file: PathBuf, bytes: u64 },
}

const KINDS: [FileWork; 3] = [FileWork::Write, FileWork::Read, FileWork::Fsync];

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if let Some(Work::FileWork { work, file, bytes }) = options.work {
        println!("{}", work.run(&file, bytes)?);
        return Ok(());
    }
    attach::enter_private_namespace()?;
    let _ = attach::harden_io_process();
    let dir = tempfile::Builder::new().prefix("bench-stack-").tempdir()?;
    let mut figures = vec![Figures::default(); options.configurations.len()];
    for _ in 0..options.rounds {
        for (configuration, figures) in options.configurations.iter().zip(&mut figures) {
            run(&options, configuration, dir.path(), figures)?;
        }
    }
    println!(
        "| configuration | write MiB/s | read MiB/s | 8 KiB write + fsync µs | CPU µs a request: write | read | fsync |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (configuration, figures) in options.configurations.iter().zip(figures) {
        let [write, read, fsync] = figures.speed.map(median);
        let [write_cpu, read_cpu, fsync_cpu] = figures.cpu.map(median);
        println!(
            "| {configuration} | {write:.0} | {read:.0} | {fsync:.1} | {write_cpu:.1} | {read_cpu:.1} | {fsync_cpu:.1} |"
        );
    }
    Ok(())
}

/// A value a round for each kind of work.
#[derive(Clone, Default)]
struct Figures {
    speed: [Vec<f64>; 3],
    /// Of the serving process, in microseconds for each of its requests.
    cpu: [Vec<f64>; 3],
}

fn run(options: &Options, configuration: &str, dir: &Path, figures: &mut Figures) -> Result<(), Failure> {
    let bytes = options.file_mib << 20;
    let device = Arc::new(Memory::new(bytes + (512 << 20), Duration::from_micros(options.flush_us)));
    let mut mount_options = MountOptions::default();
    let mut queue = Vec::new();
    for setting in configuration.split(',').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=').ok_or("a setting is name=value")? {
            ("workers", count) => mount_options.workers = count.parse()?,
            ("uring", wanted) => mount_options.uring = wanted.parse()?,
            other => queue.push(other),
        }
    }
    let mounted = Mounted::mount(Arc::clone(&device) as _, dir, &mount_options)?;
    if mount_options.uring != (mounted.carrier() == attach::Carrier::Uring) {
        println!("{configuration}: carried by {:?}", mounted.carrier());
    }
    let node = attach::find_leftovers(dir)?.pop().ok_or("the loop device is there")?;
    let node = node.file_name().ok_or("a loop device has a name")?;
    for (name, value) in queue {
        fs::write(Path::new("/sys/block").join(node).join("queue").join(name), value)?;
    }
    let outcome = (|| -> Result<(), Failure> {
        for (index, kind) in KINDS.into_iter().enumerate() {
            let file = mounted.path().join(if matches!(kind, FileWork::Fsync) { "pages" } else { "large" });
            let (cpu, requests) = (cpu_us()?, device.requests.load(Relaxed));
            figures.speed[index].push(kind.in_child(&file, bytes)?);
            let requests = device.requests.load(Relaxed) - requests;
            #[expect(clippy::cast_precision_loss, reason = "figures for people")]
            figures.cpu[index].push((cpu_us()? - cpu) / requests.max(1) as f64);
        }
        Ok(())
    })();
    mounted.unmount()?;
    outcome
}

/// CPU time of this process, user and kernel.
fn cpu_us() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

/// A device that forgets.
struct Memory {
    chunks: Vec<RwLock<Box<[u8]>>>,
    flush: Duration,
    requests: AtomicU64,
}

/// Bytes under one lock.
const CHUNK: usize = 1 << 20;

impl Memory {
    fn new(size: u64, flush: Duration) -> Self {
        let chunks = (0..size / CHUNK as u64).map(|_| RwLock::new(vec![0; CHUNK].into())).collect();
        Self { chunks, flush, requests: AtomicU64::new(0) }
    }

    /// Calls `with` for each piece of a range that lies in one chunk: chunk, place in it, place in the range, length.
    fn pieces(
        &self,
        offset: u64,
        length: usize,
        mut with: impl FnMut(&RwLock<Box<[u8]>>, usize, usize, usize),
    ) {
        self.requests.fetch_add(1, Relaxed);
        let offset = usize::try_from(offset).expect("the device is in memory");
        let mut done = 0;
        while done < length {
            let place = (offset + done) % CHUNK;
            let piece = (CHUNK - place).min(length - done);
            with(&self.chunks[(offset + done) / CHUNK], place, done, piece);
            done += piece;
        }
    }
}

impl BlockDevice for Memory {
    fn size(&self) -> u64 {
        (self.chunks.len() * CHUNK) as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.pieces(offset, buffer.len(), |chunk, place, done, length| {
            let chunk = chunk.read().unwrap_or_else(PoisonError::into_inner);
            buffer[done..done + length].copy_from_slice(&chunk[place..place + length]);
        });
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.pieces(offset, bytes.len(), |chunk, place, done, length| {
            let mut chunk = chunk.write().unwrap_or_else(PoisonError::into_inner);
            chunk[place..place + length].copy_from_slice(&bytes[done..done + length]);
        });
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        debug_assert!(offset.is_multiple_of(SECTOR as u64));
        let length = usize::try_from(length).expect("the device is in memory");
        self.pieces(offset, length, |chunk, place, _, length| {
            chunk.write().unwrap_or_else(PoisonError::into_inner)[place..place + length].fill(0);
        });
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.requests.fetch_add(1, Relaxed);
        if !self.flush.is_zero() {
            thread::sleep(self.flush);
        }
        Ok(())
    }
}
