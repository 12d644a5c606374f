//! PostgreSQL and plain file work on a sealed volume against the file system that the volume's own files lie on:
//! same disk, same settings apart from `full_page_writes`, alternating in one run.
//!
//! `cargo run --release -p bench --bin volume -- --dir /var/tmp` (as root: it mounts)
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use attach::{MountOptions, Mounted, VolumeDevice};
use bench::{
    Failure,
    disk::{FileWork, bytes_written},
    figures::median,
    postgres::{Postgres, installed},
    sizes,
};
use clap::{Parser, Subcommand, ValueEnum};
use volume::VolumeKey;

/// A sealed volume beside the plain file system.
#[derive(Parser)]
struct Options {
    /// Where to work; on the disk to measure.
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// pgbench scales (16 MB each). The first is loaded anew in every round, the others once.
    #[arg(long, value_delimiter = ',', default_value = "50,300")]
    scale: Vec<u32>,
    /// A short look: the first scale, one round, runs of 5 s, a file of 512 MiB.
    #[arg(long)]
    quick: bool,
    /// What to measure; everything by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Seconds of each pgbench run.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Seconds of TPC-B before the first run that counts, on each side: a database that is in use has a log whose files
    /// are written over, and a volume has segments to use again.
    #[arg(long, default_value_t = 20)]
    warm_up: u64,
    /// Rounds; each measures everything once on both sides, and medians are told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// `shared_buffers` of both servers.
    #[arg(long, default_value = "1GB")]
    shared_buffers: String,
    /// A setting more for the server on the volume, `name=value`.
    #[arg(long, value_parser = setting)]
    set: Vec<(String, String)>,
    /// Size of the file for sequential work, in MiB.
    #[arg(long, default_value_t = 2048)]
    file_mib: u64,
    /// Size of the volume, in GiB.
    #[arg(long, default_value_t = 32)]
    volume_gib: u64,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    Write,
    Read,
    Fsync,
    Load,
    Tpcb,
    Select,
}

#[derive(Subcommand)]
enum Work {
    /// One piece of file work, in a process of its own.
    #[command(hide = true)]
    FileWork { work: FileWork, file: PathBuf, bytes: u64 },
}

/// One side of the comparison.
struct Side {
    root: PathBuf,
    /// Unless there is file work alone.
    postgres: Option<Postgres>,
    /// Where the bytes end up.
    disk: PathBuf,
}

/// What was measured on one side, a value a round.
#[derive(Default)]
struct Figures {
    tpcb: Vec<f64>,
    select: Vec<f64>,
    bytes_per_transaction: Vec<f64>,
    write: Vec<f64>,
    read: Vec<f64>,
    fsync: Vec<f64>,
    load: Vec<f64>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn wants_postgres(&self) -> bool {
        [Part::Load, Part::Tpcb, Part::Select].into_iter().any(|part| self.wants(part))
    }

    /// What a short look leaves of them.
    fn shortened(self) -> Self {
        let scale = self.scale.iter().copied().take(1).collect();
        let warm_up = self.warm_up.min(5);
        Self {
            scale,
            rounds: 1,
            seconds: self.seconds.min(5),
            warm_up,
            file_mib: self.file_mib.min(512),
            ..self
        }
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if let Some(Work::FileWork { work, file, bytes }) = options.work {
        println!("{}", work.run(&file, bytes)?);
        return Ok(());
    }
    let options = if options.quick { options.shortened() } else { options };
    // Before any thread starts: the namespace is that of the whole process and its children.
    attach::enter_private_namespace()?;
    let _ = attach::harden_io_process();
    let dir = tempfile::Builder::new().prefix("bench-volume-").tempdir_in(&options.dir)?;
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    measure(&options, dir.path())
}

fn measure(options: &Options, dir: &Path) -> Result<(), Failure> {
    let plain_root = dir.join("plain");
    fs::create_dir(&plain_root)?;
    let (volume_dir, id) = (dir.join("volume"), "vol-0123456789abcdef0");
    let key = VolumeKey::copy_from(&[7; 32]).ok_or("a key has 32 bytes")?;
    VolumeDevice::create(&volume_dir, id, &key, b"", options.volume_gib << 30)?;
    let device = VolumeDevice::open(&volume_dir, id, key, attach::Options::default())?;
    let mount_dir = dir.join("attached");
    fs::create_dir(&mount_dir)?;
    let mounted = Mounted::mount(Arc::clone(&device) as _, &mount_dir, &MountOptions::default())?;
    let outcome =
        compare(options, dir, &plain_root, mounted.path()).and_then(|()| snapshots(dir, &device, id));
    mounted.unmount()?;
    device.close()?;
    outcome?;
    println!("\n| sparse volume, GiB | attach, ms | snapshot, ms | clone, ms | memory, MiB |");
    println!("|---|---|---|---|---|");
    for gib in [1, 64, 1 << 10, 16 << 10] {
        let times = sizes::measure(&dir.join("sparse"), gib << 30)?;
        let [attach, snapshot, clone] =
            [times.attach, times.snapshot, times.clone].map(|t| t.as_secs_f64() * 1e3);
        println!("| {gib} | {attach:.1} | {snapshot:.1} | {clone:.1} | {} |", times.memory >> 20);
    }
    Ok(())
}

/// Snapshots and a clone of the volume as the benchmark left it, while PostgreSQL is gone.
fn snapshots(dir: &Path, device: &VolumeDevice, id: &str) -> Result<(), Failure> {
    let (snapshot, clone) = (dir.join("snapshot"), dir.join("clone"));
    let begun = Instant::now();
    device.snapshot(&snapshot)?;
    let snapshot_took = begun.elapsed();
    let key = VolumeKey::copy_from(&[7; 32]).ok_or("a key has 32 bytes")?;
    let begun = Instant::now();
    VolumeDevice::clone_from(&snapshot, id, &clone, "vol-00000000000000001", &key, b"")?;
    let clone_took = begun.elapsed();
    let stats = device.stats();
    println!(
        "\n{} MiB of data in {} MiB of segments: snapshot {:.1} ms, clone {:.1} ms; memory of the process {} MiB",
        stats.live_blocks / 128,
        stats.segment_bytes >> 20,
        snapshot_took.as_secs_f64() * 1e3,
        clone_took.as_secs_f64() * 1e3,
        sizes::memory()? >> 20,
    );
    Ok(())
}

fn compare(options: &Options, dir: &Path, plain_root: &Path, volume_root: &Path) -> Result<(), Failure> {
    let common = ("shared_buffers", options.shared_buffers.clone());
    let mut sealed = vec![common.clone(), ("full_page_writes", "off".into())];
    sealed.extend(options.set.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let side = |root: &Path, settings: &[(&str, String)]| -> Result<Side, Failure> {
        let start = || Postgres::start(&installed()?, root, settings);
        let postgres = options.wants_postgres().then(start).transpose()?;
        Ok(Side { root: root.into(), postgres, disk: dir.into() })
    };
    let sides = [side(plain_root, &[common])?, side(volume_root, &sealed)?];
    for (position, &scale) in options.scale.iter().enumerate() {
        let mut figures = [Figures::default(), Figures::default()];
        for round in 1..=options.rounds {
            let mut order = [0, 1];
            order.rotate_left((round + 1) % 2); // who comes second meets another disk
            for side in order {
                let (side, figures) = (&sides[side], &mut figures[side]);
                eprintln!("scale {scale}, round {round} of {}: {}", options.rounds, side.root.display());
                if position == 0 {
                    files(options, side, figures)?;
                }
                let Some(postgres) = &side.postgres else { continue };
                if round == 1 || position == 0 && options.wants(Part::Load) {
                    figures.load.push(postgres.load(scale)?.as_secs_f64());
                    postgres.sql("CHECKPOINT")?;
                    if options.warm_up > 0 && options.wants(Part::Tpcb) {
                        postgres.pgbench(options.clients, options.warm_up, false)?;
                        postgres.sql("CHECKPOINT")?;
                    }
                }
                run(options, postgres, &side.disk, figures)?;
            }
        }
        print(options, scale, &figures);
    }
    Ok(())
}

fn files(options: &Options, side: &Side, figures: &mut Figures) -> Result<(), Failure> {
    let (file, bytes) = (side.root.join("file"), options.file_mib << 20);
    if options.wants(Part::Write) || options.wants(Part::Read) {
        figures.write.push(FileWork::Write.in_child(&file, bytes)?);
        if options.wants(Part::Read) {
            figures.read.push(FileWork::Read.in_child(&file, bytes)?);
        }
        fs::remove_file(&file)?;
    }
    if options.wants(Part::Fsync) {
        figures.fsync.push(FileWork::Fsync.in_child(&file, bytes)?);
        fs::remove_file(&file)?;
    }
    Ok(())
}

fn run(options: &Options, postgres: &Postgres, disk: &Path, figures: &mut Figures) -> Result<(), Failure> {
    if options.wants(Part::Tpcb) {
        let before = bytes_written(disk)?;
        let begun = Instant::now();
        let tpcb = postgres.pgbench(options.clients, options.seconds, false)?;
        // What a checkpoint still owes to the disk belongs to the transactions.
        postgres.sql("CHECKPOINT")?;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let written = (bytes_written(disk)? - before) as f64;
        eprintln!("  {:.0} transactions/s in {:.0} s", tpcb.per_second, begun.elapsed().as_secs_f64());
        figures.bytes_per_transaction.push(written / tpcb.transactions);
        figures.tpcb.push(tpcb.per_second);
    }
    if options.wants(Part::Select) {
        figures.select.push(postgres.pgbench(options.clients, options.seconds, true)?.per_second);
    }
    Ok(())
}

/// A setting of PostgreSQL.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("name=value")?;
    Ok((name.into(), value.into()))
}

fn print(options: &Options, scale: u32, [plain, volume]: &[Figures; 2]) {
    println!(
        "\nscale {scale}, {} clients, {} s a run, shared_buffers {}, {} rounds; medians\n",
        options.clients, options.seconds, options.shared_buffers, options.rounds
    );
    println!("| work | plain | volume | ratio |");
    println!("|---|---|---|---|");
    let rows: [(&str, &[f64], &[f64]); 7] = [
        ("pgbench TPC-B, transactions/s", &plain.tpcb, &volume.tpcb),
        ("pgbench select-only, transactions/s", &plain.select, &volume.select),
        ("pgbench -i, s", &plain.load, &volume.load),
        ("bytes written per transaction", &plain.bytes_per_transaction, &volume.bytes_per_transaction),
        ("sequential write, MiB/s", &plain.write, &volume.write),
        ("sequential read, cold, MiB/s", &plain.read, &volume.read),
        ("8 KiB write + fdatasync, µs", &plain.fsync, &volume.fsync),
    ];
    for (name, plain, volume) in rows.into_iter().filter(|(_, plain, _)| !plain.is_empty()) {
        let (plain, volume) = (median(plain.to_vec()), median(volume.to_vec()));
        println!("| {name} | {plain:.0} | {volume:.0} | {:.2} |", volume / plain);
    }
}
