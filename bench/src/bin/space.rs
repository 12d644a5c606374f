//! How much space a volume takes while pgbench overwrites it, for as long as one likes, and what its cleaner costs those
//! who write meanwhile.
//!
//! Latencies are told apart by whether the cleaner has moved anything in the tenth of a second in which they fell; so
//! both kinds are of one run, on one disk.
//!
//! `cargo run --release -p bench --bin space -- --dir /var/tmp --seconds 3600` (as root: it mounts)
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use attach::{MountOptions, Mounted, VolumeDevice};
use bench::{
    Failure,
    figures::percentile,
    postgres::{Latency, Postgres, installed},
};
use clap::{Parser, Subcommand};
use volume::{BLOCK, VolumeKey};

/// A volume under pgbench's overwrites.
#[derive(Parser)]
struct Options {
    /// Where to work; on the disk to measure.
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// pgbench scale (16 MB each).
    #[arg(long, default_value_t = 50)]
    scale: u32,
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Seconds of overwrites.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Of these, seconds until space counts as steady.
    #[arg(long, default_value_t = 60)]
    warm_up: u64,
    /// Transactions a second of all clients together; 0: as many as go.
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// `shared_buffers` of the server.
    #[arg(long, default_value = "256MB")]
    shared_buffers: String,
    /// Seconds that a row of the table stands for.
    #[arg(long, default_value_t = 30)]
    every: u64,
    /// Size of the volume, in GiB.
    #[arg(long, default_value_t = 32)]
    volume_gib: u64,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Subcommand)]
enum Work {
    /// Writes 8 KiB and flushes, every 20 ms until it is killed, and notes how long that takes.
    #[command(hide = true)]
    Probe { file: PathBuf, notes: PathBuf },
}

/// How often space and the cleaner are looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// How often a page is written and flushed beside pgbench.
const PROBE: Duration = Duration::from_millis(20);
const PROBED: u64 = 16 << 20;

/// What is seen of the volume at one moment. Bytes.
#[derive(Clone, Copy)]
struct Sample {
    /// Microseconds since 1970.
    at: u64,
    /// Of its segments; those that are kept beside them; what is live.
    used: u64,
    reserve: u64,
    live: u64,
    cleaned: u64,
    written: u64,
    freed: u64,
}

impl Sample {
    fn take(device: &VolumeDevice) -> Self {
        let stats = device.stats();
        Self {
            at: now(),
            used: stats.segment_bytes,
            reserve: stats.reserve,
            live: stats.live_blocks * BLOCK as u64,
            cleaned: stats.cleaned_bytes,
            written: stats.bytes_written,
            freed: stats.freed_segments,
        }
    }

    fn ratio(&self) -> f64 {
        self.used as f64 / self.live.max(1) as f64
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if let Some(Work::Probe { file, notes }) = options.work {
        return probe(&file, &notes);
    }
    // Before any thread starts: the namespace is that of the whole process and its children.
    attach::enter_private_namespace()?;
    let _ = attach::harden_io_process();
    let dir = tempfile::Builder::new().prefix("bench-space-").tempdir_in(&options.dir)?;
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let (volume_dir, id) = (dir.path().join("volume"), "vol-0123456789abcdef0");
    let key = VolumeKey::copy_from(&[7; 32]).ok_or("a key has 32 bytes")?;
    VolumeDevice::create(&volume_dir, id, &key, b"", options.volume_gib << 30)?;
    let device = VolumeDevice::open(&volume_dir, id, key, attach::Options::default())?;
    let mount_dir = dir.path().join("attached");
    fs::create_dir(&mount_dir)?;
    let mounted = Mounted::mount(Arc::clone(&device) as _, &mount_dir, &MountOptions::default())?;
    let outcome = measure(&options, &device, mounted.path(), dir.path());
    mounted.unmount()?;
    device.close()?;
    outcome
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(options: &Options, device: &Arc<VolumeDevice>, root: &Path, dir: &Path) -> Result<(), Failure> {
    let settings = [
        ("shared_buffers", options.shared_buffers.clone()),
        ("full_page_writes", "off".into()),
        ("max_wal_size", "1GB".into()),
    ];
    let postgres = Postgres::start(&installed()?, root, &settings)?;
    postgres.load(options.scale)?;
    postgres.sql("CHECKPOINT")?;
    println!("| s | live, MiB | segments, MiB | ratio | beside them, MiB | written, MiB | copied, MiB |");
    println!("|---|---|---|---|---|---|---|");
    let notes = dir.join("probe");
    let mut probe = Command::new(std::env::current_exe()?);
    let probe = Killed(probe.arg("probe").arg(root.join("probe")).arg(&notes).spawn()?);
    let stop = AtomicBool::new(false);
    let (samples, latencies) = thread::scope(|scope| {
        let sampler = scope.spawn(|| watch(device, options.every, &stop));
        let latencies = postgres.pgbench_latencies(options.clients, options.seconds, options.rate);
        stop.store(true, Relaxed);
        (sampler.join().expect("the sampler panicked"), latencies)
    });
    drop(probe);
    let probed = read_notes(&notes)?;
    report(options, &samples, latencies?, probed);
    drop_all(&postgres, device)
}

/// Samples until it is told to stop; tells of one now and then.
fn watch(device: &VolumeDevice, every: u64, stop: &AtomicBool) -> Vec<Sample> {
    let mut samples = vec![Sample::take(device)];
    let begun = Instant::now();
    let mut told = 0;
    while !stop.load(Relaxed) {
        thread::sleep(SAMPLE);
        let sample = Sample::take(device);
        samples.push(sample);
        if begun.elapsed().as_secs() / every.max(1) > told {
            told = begun.elapsed().as_secs() / every.max(1);
            tell(begun.elapsed().as_secs(), &samples[0], &sample);
        }
    }
    samples
}

fn tell(second: u64, first: &Sample, sample: &Sample) {
    println!(
        "| {second} | {} | {} | {:.2} | {} | {} | {} |",
        sample.live >> 20,
        sample.used >> 20,
        sample.ratio(),
        sample.reserve >> 20,
        (sample.written - first.written) >> 20,
        (sample.cleaned - first.cleaned) >> 20,
    );
}

fn report(options: &Options, samples: &[Sample], transactions: Vec<Latency>, probed: Vec<Latency>) {
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    let steady: Vec<_> =
        samples.iter().filter(|sample| sample.at >= first.at + options.warm_up * 1_000_000).collect();
    let ratios = || steady.iter().map(|sample| sample.ratio());
    let mean = ratios().sum::<f64>() / steady.len().max(1) as f64;
    let most = steady.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let beside = samples.iter().map(|sample| sample.reserve).max().unwrap_or(0) >> 20;
    let (written, cleaned) = (last.written - first.written, last.cleaned - first.cleaned);
    println!(
        "\nSegments, as part of what is live: {mean:.3} on average, {:.3} at most",
        ratios().fold(0.0, f64::max)
    );
    if let Some(most) = most {
        println!(
            "(then {} MiB for {} MiB); beside them at most {beside} MiB",
            most.used >> 20,
            most.live >> 20
        );
    }
    println!(
        "Written {} MiB, of which {} MiB were copied: {:.2} bytes for each that was not a copy; {} segments freed",
        written >> 20,
        cleaned >> 20,
        written as f64 / (written - cleaned).max(1) as f64,
        last.freed - first.freed,
    );
    println!("{:.0} transactions/s\n", transactions.len() as f64 / options.seconds as f64);
    println!("| latency, µs | cleaner | count | p50 | p99 |");
    println!("|---|---|---|---|---|");
    for (name, latencies) in [("TPC-B", transactions), ("8 KiB write + fdatasync", probed)] {
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for Latency { at, took } in latencies {
            let next = samples.partition_point(|sample| sample.at < at);
            if let (Some(one), Some(other)) = (next.checked_sub(1).map(|one| samples[one]), samples.get(next))
            {
                if one.cleaned == other.cleaned { idle.push(took) } else { busy.push(took) }
            }
        }
        let mut p99s = Vec::new();
        for (which, times) in [("idle", &mut idle), ("busy", &mut busy)] {
            let count = times.len();
            let [p50, p99] = [0.5, 0.99].map(|share| percentile(times, share).as_secs_f64() * 1e6);
            println!("| {name} | {which} | {count} | {p50:.0} | {p99:.0} |");
            p99s.push(p99);
        }
        println!("| {name} | busy / idle | | | {:.2} |", p99s[1] / p99s[0]);
    }
}

/// Drops the tables, and tells what that gives back without a copy.
fn drop_all(postgres: &Postgres, device: &VolumeDevice) -> Result<(), Failure> {
    let before = Sample::take(device);
    postgres.sql("DROP TABLE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history")?;
    postgres.sql("CHECKPOINT")?;
    // The file system discards what was freed once its own log is written.
    let begun = Instant::now();
    let is_back = || {
        let now = Sample::take(device);
        now.live < before.live / 2 && now.freed > before.freed
    };
    while begun.elapsed() < Duration::from_secs(60) && !is_back() {
        thread::sleep(SAMPLE);
    }
    let took = begun.elapsed();
    thread::sleep(Duration::from_secs(1));
    let after = Sample::take(device);
    println!(
        "\nDROP TABLE: live {} → {} MiB, segments {} → {} MiB after {:.1} s, {} MiB copied meanwhile",
        before.live >> 20,
        after.live >> 20,
        before.used >> 20,
        after.used >> 20,
        took.as_secs_f64(),
        (after.cleaned - before.cleaned) >> 20,
    );
    Ok(())
}

fn probe(file: &Path, notes: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(file)?;
    let page: Vec<u8> = (0..BLOCK).map(|byte| (byte * 31 % 251) as u8).collect();
    for offset in (0..PROBED).step_by(BLOCK) {
        file.write_all_at(&page, offset)?;
    }
    file.sync_all()?;
    let mut notes = File::create(notes)?;
    for number in 0_u64.. {
        let begun = Instant::now();
        file.write_all_at(&page, number * 7919 * BLOCK as u64 % PROBED)?;
        file.sync_data()?;
        let took = begun.elapsed();
        writeln!(notes, "{} {}", now(), took.as_micros())?;
        thread::sleep(PROBE.saturating_sub(took));
    }
    Ok(())
}

/// What the probe noted; it may have been killed within its last line.
fn read_notes(notes: &Path) -> Result<Vec<Latency>, Failure> {
    let text = fs::read_to_string(notes)?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parse = |line: &str| {
        let (at, took) = line.split_once(' ')?;
        Some(Latency { at: at.parse().ok()?, took: Duration::from_micros(took.parse().ok()?) })
    };
    Ok(whole.lines().filter_map(parse).collect())
}
