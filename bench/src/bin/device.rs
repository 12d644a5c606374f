//! The volume without the kernel above it: requests go straight into [`VolumeDevice`] on real files, beside a plain
//! file in the same directory. Shows where time goes: latency, processor time a block, groups and bytes written.
//!
//! `cargo run --release -p bench --bin device -- --dir /var/tmp`
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use attach::{BlockDevice, Stats, VolumeDevice};
use bench::{Failure, figures::percentile};
use clap::Parser;
use volume::{AlignedBuffer, BLOCK, VolumeKey};

/// A volume's device beside a plain file.
#[derive(Parser)]
struct Options {
    /// Where to work; on the disk to measure.
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// Size of the file and of the written part of the volume, in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// Flushes of each latency measurement.
    #[arg(long, default_value_t = 2000)]
    flushes: usize,
    /// Rounds; sides alternate in each.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only the works whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only the volume.
    #[arg(long)]
    alone: bool,
}

const REQUEST: usize = 512 << 10;

/// A plain file: writes through the page cache, as a database does it on the host's file system.
struct PlainFile {
    file: File,
    size: u64,
}

impl BlockDevice for PlainFile {
    fn size(&self) -> u64 {
        self.size
    }
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// What a piece of work took.
struct Took {
    /// Of each request that was timed.
    latencies: Vec<Duration>,
    wall: Duration,
    cpu: Duration,
    /// Blocks of 8 KiB that were carried.
    blocks: usize,
}

fn cpu_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("own usage");
    let time = |t: nix::sys::time::TimeVal| {
        Duration::new(t.tv_sec().unsigned_abs(), t.tv_usec().unsigned_abs() as u32 * 1000)
    };
    time(usage.user_time()) + time(usage.system_time())
}

fn timed(blocks: usize, work: impl FnOnce() -> io::Result<Vec<Duration>>) -> io::Result<Took> {
    let (begun, before) = (Instant::now(), cpu_time());
    let latencies = work()?;
    Ok(Took { latencies, wall: begun.elapsed(), cpu: cpu_time() - before, blocks })
}

fn sequential_write(device: &dyn BlockDevice, options: &Options) -> io::Result<Took> {
    let chunk = noise(REQUEST);
    timed((options.mib << 20) / BLOCK, || {
        for offset in (0..options.mib << 20).step_by(REQUEST) {
            device.write(offset as u64, &chunk)?;
        }
        device.flush()?;
        Ok(Vec::new())
    })
}

fn sequential_read(device: &dyn BlockDevice, options: &Options) -> io::Result<Took> {
    let mut chunk = AlignedBuffer::new(REQUEST);
    timed((options.mib << 20) / BLOCK, || {
        for offset in (0..options.mib << 20).step_by(REQUEST) {
            device.read(offset as u64, &mut chunk)?;
        }
        Ok(Vec::new())
    })
}

fn random_read(device: &dyn BlockDevice, options: &Options) -> io::Result<Took> {
    let mut block = AlignedBuffer::new(BLOCK);
    let blocks = (options.mib << 20) / BLOCK;
    timed(options.flushes, || {
        let mut latencies = Vec::new();
        for n in 0..options.flushes {
            let begun = Instant::now();
            device.read((n * 7919 % blocks * BLOCK) as u64, &mut block)?;
            latencies.push(begun.elapsed());
        }
        Ok(latencies)
    })
}

fn flush_latency(device: &dyn BlockDevice, options: &Options) -> io::Result<Took> {
    timed(options.flushes, || write_and_flush(device, options, 0))
}

/// One client's 8 KiB writes, each flushed, in a range of its own of 16 MiB.
fn write_and_flush(device: &dyn BlockDevice, options: &Options, client: usize) -> io::Result<Vec<Duration>> {
    const RANGE: usize = 16 << 20;
    let page = noise(BLOCK);
    let mut latencies = Vec::new();
    for n in 0..options.flushes {
        let offset = client * RANGE + n * 7919 * BLOCK % RANGE;
        let begun = Instant::now();
        device.write(offset as u64, &page)?;
        device.flush()?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

fn flushes_of_eight(device: &dyn BlockDevice, options: &Options) -> io::Result<Took> {
    timed(8 * options.flushes, || {
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..8).map(|client| scope.spawn(move || write_and_flush(device, options, client))).collect();
            let mut all = Vec::new();
            for client in clients {
                all.extend(client.join().expect("a client panicked")?);
            }
            Ok(all)
        })
    })
}

/// Flushes of one client beside so much random writing that checkpoints are taken.
fn flushes_beside_writers(device: &dyn BlockDevice, options: &Options) -> io::Result<Took> {
    let done = AtomicBool::new(false);
    let done = &done;
    timed(options.flushes, || {
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let page = noise(BLOCK);
                let blocks = (options.mib << 20) / BLOCK;
                for n in 0.. {
                    if done.load(Relaxed) {
                        break;
                    }
                    device.write((n * 7919 % blocks * BLOCK) as u64, &page)?;
                    if n % 64 == 63 {
                        device.flush()?;
                    }
                }
                io::Result::Ok(())
            });
            let latencies = write_and_flush(device, options, 0);
            done.store(true, Relaxed);
            writer.join().expect("the writer panicked")?;
            latencies
        })
    })
}

/// Bytes that no compression and no deduplication makes less of.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

type Work = fn(&dyn BlockDevice, &Options) -> io::Result<Took>;

const WORKS: [(&str, Work); 6] = [
    ("sequential write", sequential_write),
    ("sequential read", sequential_read),
    ("random read", random_read),
    ("flush", flush_latency),
    ("flush x8", flushes_of_eight),
    ("flush beside writer", flushes_beside_writers),
];

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let dir = tempfile::Builder::new().prefix("bench-device-").tempdir_in(&options.dir)?;
    let plain = plain(dir.path(), &options)?;
    let volume_dir = dir.path().join("volume");
    let (id, key) = ("vol-0123456789abcdef0", || VolumeKey::copy_from(&[7; 32]).expect("32 bytes"));
    VolumeDevice::create(&volume_dir, id, &key(), b"", 64 << 30)?;
    let volume = VolumeDevice::open(&volume_dir, id, key(), attach::Options::default())?;
    println!("| work | side | MiB/s | p50 µs | p99 µs | max µs | CPU µs a block | groups | MiB written |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for _ in 0..options.rounds {
        for (name, work) in WORKS.iter().filter(|(name, _)| name.contains(&options.only)) {
            if !options.alone {
                // What is cached of the file would not be read from the disk.
                plain.file.sync_all()?;
                // SAFETY: the descriptor is open; the call only advises the kernel to drop the file's pages.
                unsafe { libc::posix_fadvise(plain.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
                tell(name, "file", work(&plain, &options)?, None);
            }
            let before = volume.stats();
            let took = work(&*volume, &options)?;
            tell(name, "volume", took, Some((before, volume.stats())));
        }
    }
    volume.close()?;
    Ok(())
}

fn plain(dir: &Path, options: &Options) -> io::Result<PlainFile> {
    let path = dir.join("plain");
    let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(path)?;
    let chunk = noise(REQUEST);
    for offset in (0..options.mib << 20).step_by(REQUEST) {
        file.write_all_at(&chunk, offset as u64)?;
    }
    file.sync_all()?;
    Ok(PlainFile { file, size: (options.mib as u64) << 20 })
}

fn tell(name: &str, side: &str, mut took: Took, stats: Option<(Stats, Stats)>) {
    let mib = (took.blocks * BLOCK) as f64 / f64::from(1 << 20);
    let micros = |share| percentile(&mut took.latencies, share).as_secs_f64() * 1e6;
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(micros);
    let (groups, written) = stats.map_or((0, 0), |(before, after)| {
        (after.groups - before.groups, (after.bytes_written - before.bytes_written) >> 20)
    });
    let cpu = took.cpu.as_secs_f64() * 1e6 / took.blocks as f64;
    let rate = mib / took.wall.as_secs_f64();
    println!(
        "| {name} | {side} | {rate:.0} | {p50:.0} | {p99:.0} | {max:.0} | {cpu:.1} | {groups} | {written} |"
    );
}
