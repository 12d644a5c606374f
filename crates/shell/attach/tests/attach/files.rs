//! A process that uses files of the mounted volume; its working directory is the root of the file system.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Bytes of a page, where none are said.
pub const PAGE: usize = 8192;
/// Begins each half of a page; page number and version follow.
pub const STAMP: &[u8] = b"strongroom page ";

pub fn run(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let result = match words.as_slice() {
        ["fill", file, pages, seed] => fill(file, number(pages), number(seed)),
        ["verify", file, pages, seed] => verify(file, number(pages), number(seed)),
        ["sync", file] => write_and_sync(file),
        ["remove", file] => fs::remove_file(file),
        ["larger-than", mebibytes] => larger_than(number(mebibytes)),
        ["sequential", file, mebibytes] => sequential(file, number(mebibytes)),
        ["reread", file, mebibytes] => reread(file, number(mebibytes)),
        ["report", "when", begin, "sequential", file, mebibytes, report] => {
            while !Path::new(begin).exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
            sequential(file, number(mebibytes)).and_then(|()| append(report, "ok\n"))
        }
        ["report", "sequential", file, mebibytes, report] => {
            sequential(file, number(mebibytes)).and_then(|()| append(report, "ok\n"))
        }
        ["hold", file] => hold(file),
        ["acknowledge", file, size, pages, journal] => {
            acknowledge(file, number(size) as usize, number(pages), journal)
        }
        ["check-acknowledged", file, size, journal] => check_untorn(file, number(size) as usize)
            .and_then(|()| check_acknowledged(file, number(size) as usize, journal)),
        other => panic!("no such use of files: {other:?}"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("files {arguments:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A page of `size` bytes.
fn page(number: u64, version: u64, size: usize) -> Vec<u8> {
    let mut half = STAMP.to_vec();
    half.extend(number.to_be_bytes());
    half.extend(version.to_be_bytes());
    let mut random = Random(number << 32 ^ version);
    while half.len() < size / 2 {
        half.extend(random.next().to_be_bytes());
    }
    half.repeat(2)
}

/// The version of a page on disk.
fn version_of(number: u64, bytes: &[u8]) -> io::Result<u64> {
    let version = bytes[STAMP.len() + 8..STAMP.len() + 16].try_into().map(u64::from_be_bytes);
    let version = version.map_err(io::Error::other)?;
    if bytes == page(number, version, bytes.len()) {
        Ok(version)
    } else if bytes.iter().all(|byte| *byte == 0) {
        Ok(0)
    } else {
        Err(io::Error::other(format!("page {number} is torn or wrong")))
    }
}

/// Which pages are written, in which order, with which version: each about four times.
fn history(pages: u64, seed: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut random = Random(seed);
    (1..=pages * 4).map(move |version| (random.next() % pages, version))
}

fn fill(file: &str, pages: u64, seed: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(file)?;
    for (number, version) in history(pages, seed) {
        file.write_all_at(&page(number, version, PAGE), number * PAGE as u64)?;
        if version % 97 == 0 {
            file.sync_data()?;
        }
    }
    file.sync_all()?;
    File::open(".")?.sync_all()
}

fn verify(file: &str, pages: u64, seed: u64) -> io::Result<()> {
    let file = File::open(file)?;
    drop_cache(&file)?;
    let last: BTreeMap<u64, u64> = history(pages, seed).collect();
    let mut buffer = vec![0; PAGE];
    for (number, version) in last {
        file.read_exact_at(&mut buffer, number * PAGE as u64)?;
        let found = version_of(number, &buffer)?;
        if found != version {
            return Err(io::Error::other(format!("page {number} has version {found}, not {version}")));
        }
    }
    Ok(())
}

/// Reads must come from the device, not from the page cache.
fn drop_cache(file: &File) -> io::Result<()> {
    Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

fn write_and_sync(file: &str) -> io::Result<()> {
    let mut file = File::create(file)?;
    file.write_all(&page(0, 1, PAGE))?;
    file.sync_all()
}

/// The file system has more space than so much.
fn larger_than(mebibytes: u64) -> io::Result<()> {
    let state = nix::sys::statvfs::statvfs(".")?;
    let size = state.blocks() * state.fragment_size();
    if size > mebibytes << 20 { Ok(()) } else { Err(io::Error::other(format!("it has {size} bytes"))) }
}

/// Large requests in both directions.
fn sequential(file: &str, mebibytes: u64) -> io::Result<()> {
    let pages = mebibytes * (1 << 20) / PAGE as u64;
    let mut writer = io::BufWriter::with_capacity(1 << 20, File::create(file)?);
    for number in 0..pages {
        writer.write_all(&page(number, 1, PAGE))?;
    }
    writer.into_inner()?.sync_all()?;
    reread(file, mebibytes)
}

/// Reads what [`sequential`] has written, from the device.
fn reread(file: &str, mebibytes: u64) -> io::Result<()> {
    let file = File::open(file)?;
    drop_cache(&file)?;
    let mut reader = io::BufReader::with_capacity(1 << 20, file);
    let mut bytes = vec![0; PAGE];
    for number in 0..mebibytes * (1 << 20) / PAGE as u64 {
        reader.read_exact(&mut bytes)?;
        version_of(number, &bytes)?;
    }
    Ok(())
}

fn append(file: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(file)?.write_all(text.as_bytes())
}

fn hold(file: &str) -> io::Result<()> {
    let _file = File::create(file)?;
    println!("holding");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Overwrites random pages for ever; after each `fdatasync`, says in `journal`, outside the volume, what is safe.
fn acknowledge(file: &str, size: usize, pages: u64, journal: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(file)?;
    let mut journal = OpenOptions::new().append(true).create(true).open(journal)?;
    let mut random = Random(7);
    for version in 1.. {
        let numbers: Vec<u64> = (0..1 + random.next() % 8).map(|_| random.next() % pages).collect();
        for number in &numbers {
            file.write_all_at(&page(*number, version, size), number * size as u64)?;
        }
        file.sync_data()?;
        let lines: String = numbers.iter().map(|number| format!("{number} {version}\n")).collect();
        journal.write_all(lines.as_bytes())?;
    }
    Ok(())
}

/// Each page is one version of itself, or was never written.
fn check_untorn(file: &str, size: usize) -> io::Result<()> {
    let bytes = fs::read(file)?;
    let mut pages = bytes.chunks_exact(size).enumerate();
    pages.try_for_each(|(number, page)| version_of(number as u64, page).map(drop))
}

fn check_acknowledged(file: &str, size: usize, journal: &str) -> io::Result<()> {
    let file = File::open(file)?;
    let mut safe = BTreeMap::new();
    for line in fs::read_to_string(journal)?.lines() {
        let (number, version) = line.split_once(' ').expect("two words");
        safe.insert(number.parse::<u64>().expect("a page"), version.parse::<u64>().expect("a version"));
    }
    assert!(!safe.is_empty(), "the journal acknowledges something");
    let mut buffer = vec![0; size];
    for (number, version) in safe {
        file.read_exact_at(&mut buffer, number * size as u64)?;
        let found = version_of(number, &buffer)?;
        if found < version {
            return Err(io::Error::other(format!("page {number}: {found} is older than {version}")));
        }
    }
    Ok(())
}
