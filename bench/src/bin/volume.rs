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
};
use clap::{Parser, Subcommand};
use volume::VolumeKey;

/// A sealed volume beside the plain file system.
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
    /// Seconds of each pgbench run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Rounds; each measures everything once on both sides, and medians are told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// `shared_buffers` of both servers.
    #[arg(long, default_value = "1GB")]
    shared_buffers: String,
    /// Size of the file for sequential work, in MiB.
    #[arg(long, default_value_t = 2048)]
    file_mib: u64,
    /// Size of the volume, in GiB.
    #[arg(long, default_value_t = 32)]
    volume_gib: u64,
    #[command(subcommand)]
    work: Option<Work>,
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
    postgres: Postgres,
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

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if let Some(Work::FileWork { work, file, bytes }) = options.work {
        println!("{}", work.run(&file, bytes)?);
        return Ok(());
    }
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
    let outcome = compare(options, dir, plain_root, mounted.path());
    mounted.unmount()?;
    device.close()?;
    outcome
}

fn compare(options: &Options, dir: &Path, plain_root: PathBuf, volume_root: &Path) -> Result<(), Failure> {
    let bin = installed()?;
    let common = || ("shared_buffers", options.shared_buffers.clone());
    let sealed = [common(), ("full_page_writes", "off".into())];
    let sides = [
        Side {
            postgres: Postgres::start(&bin, &plain_root, &[common()])?,
            root: plain_root,
            disk: dir.into(),
        },
        Side {
            postgres: Postgres::start(&bin, volume_root, &sealed)?,
            root: volume_root.into(),
            disk: dir.into(),
        },
    ];
    let mut figures = [Figures::default(), Figures::default()];
    for round in 1..=options.rounds {
        for (side, figures) in sides.iter().zip(&mut figures) {
            eprintln!("round {round} of {}: {}", options.rounds, side.root.display());
            run(options, side, figures)?;
        }
    }
    print(options, &figures);
    Ok(())
}

fn run(options: &Options, side: &Side, figures: &mut Figures) -> Result<(), Failure> {
    let (file, bytes) = (side.root.join("file"), options.file_mib << 20);
    figures.write.push(FileWork::Write.in_child(&file, bytes)?);
    figures.read.push(FileWork::Read.in_child(&file, bytes)?);
    fs::remove_file(&file)?;
    figures.fsync.push(FileWork::Fsync.in_child(&file, bytes)?);
    figures.load.push(side.postgres.load(options.scale)?.as_secs_f64());
    side.postgres.sql("CHECKPOINT")?;
    let before = bytes_written(&side.disk)?;
    let begun = Instant::now();
    let tpcb = side.postgres.pgbench(options.clients, options.seconds, false)?;
    // What a checkpoint still owes to the disk belongs to the transactions.
    side.postgres.sql("CHECKPOINT")?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let written = (bytes_written(&side.disk)? - before) as f64;
    eprintln!("  {:.0} transactions/s in {:.0} s", tpcb.per_second, begun.elapsed().as_secs_f64());
    figures.bytes_per_transaction.push(written / tpcb.transactions);
    figures.tpcb.push(tpcb.per_second);
    figures.select.push(side.postgres.pgbench(options.clients, options.seconds, true)?.per_second);
    Ok(())
}

fn print(options: &Options, [plain, volume]: &[Figures; 2]) {
    println!(
        "scale {}, {} clients, {} s a run, shared_buffers {}, {} rounds; medians",
        options.scale, options.clients, options.seconds, options.shared_buffers, options.rounds
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
    for (name, plain, volume) in rows {
        let (plain, volume) = (median(plain.to_vec()), median(volume.to_vec()));
        println!("| {name} | {plain:.0} | {volume:.0} | {:.2} |", volume / plain);
    }
}
