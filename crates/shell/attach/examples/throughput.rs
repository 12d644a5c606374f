//! Measures reads, writes and flushes of files in the current directory, for comparison of one file system with
//! another.

#![allow(clippy::print_stdout, reason = "the program's report")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

const FILE: &str = "throughput";
const SIZE: u64 = 1 << 30;
const PAGE: u64 = 8192;
const ROUND: Duration = Duration::from_secs(3);

/// Memory that direct I/O may use.
#[repr(align(4096))]
struct Aligned([u8; PAGE as usize]);

fn main() -> io::Result<()> {
    let begin = Instant::now();
    let mut file = File::create(FILE)?;
    let mebibyte = vec![7; 1 << 20];
    for _ in 0..SIZE >> 20 {
        file.write_all(&mebibyte)?;
    }
    file.sync_all()?;
    rate("sequential write, MiB/s", SIZE >> 20, begin.elapsed());

    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    let begin = Instant::now();
    let mut reader = File::open(FILE)?;
    let mut buffer = vec![0; 1 << 20];
    while reader.read(&mut buffer)? > 0 {}
    rate("sequential read, MiB/s", SIZE >> 20, begin.elapsed());

    let direct = || OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(FILE);
    for threads in [1, 8] {
        let read = |offset| direct_file_read(&direct, offset);
        report(&format!("8 KiB direct reads/s, {threads} threads"), threads, read)?;
    }
    for threads in [1, 8] {
        let write = |offset| direct_file_write(&direct, offset);
        report(&format!("8 KiB direct writes/s, {threads} threads"), threads, write)?;
    }
    for threads in [1, 8] {
        let sync = |offset| buffered_sync(offset);
        report(&format!("8 KiB write + fdatasync/s, {threads} threads"), threads, sync)?;
    }
    std::fs::remove_file(FILE)
}

thread_local! {
    static OPEN: std::cell::RefCell<Option<File>> = const { std::cell::RefCell::new(None) };
}

fn with_file(
    open: &dyn Fn() -> io::Result<File>,
    work: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    OPEN.with_borrow_mut(|file| match file {
        Some(file) => work(file),
        None => work(file.insert(open()?)),
    })
}

fn direct_file_read(open: &dyn Fn() -> io::Result<File>, offset: u64) -> io::Result<()> {
    with_file(open, |file| {
        let mut page = Aligned([0; PAGE as usize]);
        file.read_exact_at(&mut page.0, offset)
    })
}

fn direct_file_write(open: &dyn Fn() -> io::Result<File>, offset: u64) -> io::Result<()> {
    with_file(open, |file| file.write_all_at(&Aligned([offset as u8; PAGE as usize]).0, offset))
}

fn buffered_sync(offset: u64) -> io::Result<()> {
    with_file(&|| OpenOptions::new().write(true).open(FILE), |file| {
        file.write_all_at(&[offset as u8; PAGE as usize], offset)?;
        file.sync_data()
    })
}

fn report(what: &str, threads: u64, work: impl Fn(u64) -> io::Result<()> + Sync) -> io::Result<()> {
    let work = &work;
    let begin = Instant::now();
    let total = thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || -> io::Result<u64> {
                    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ (number << 17 | 1);
                    let mut count = 0;
                    while begin.elapsed() < ROUND {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        work(random % (SIZE / PAGE) * PAGE)?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap_or(Ok(0))).sum::<io::Result<u64>>()
    })?;
    rate(what, total, begin.elapsed());
    Ok(())
}

fn rate(what: &str, count: u64, elapsed: Duration) {
    println!("{what:44} {:10.0}", count as f64 / elapsed.as_secs_f64());
}
