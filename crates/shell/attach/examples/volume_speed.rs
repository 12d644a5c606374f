//! How fast a volume is beside a plain file on the same disk: `volume_speed DIRECTORY [MEGABYTES]`.
//!
//! Sequential: writes of 1 MiB, then one flush; reads of 1 MiB. Commit: 8 KiB at random places, a flush after each.
//! The plain file is written through the page cache with `fdatasync`, as PostgreSQL writes its log, and read after the
//! cache was dropped for it.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use attach::{BlockDevice, Options, VolumeDevice};
use volume::VolumeKey;

const CHUNK: usize = 1 << 20;
const BLOCK: usize = 8192;
const COMMITS: u64 = 4000;

trait Store: Sync {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    fn flush(&self) -> io::Result<()>;
}

impl Store for File {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }
    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Store for Arc<VolumeDevice> {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        BlockDevice::write(&**self, offset, bytes)
    }
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        BlockDevice::read(&**self, offset, bytes)
    }
    fn flush(&self) -> io::Result<()> {
        BlockDevice::flush(&**self)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let home = arguments.next().ok_or("usage: volume_speed DIRECTORY [MEGABYTES]")?;
    let megabytes: u64 = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let home = Path::new(&home);

    let path = home.join("plain");
    let plain = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    measure("plain file", &plain, megabytes, || {
        // SAFETY: the descriptor is open; the call only gives advice.
        unsafe { libc::posix_fadvise(plain.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    })?;
    fs::remove_file(path)?;

    let dir = home.join("volume");
    let key = || VolumeKey::copy_from(&[1; 32]).ok_or("a key has 32 bytes");
    VolumeDevice::create(&dir, "vol-speed", &key()?, &[], megabytes * 2 * CHUNK as u64)?;
    let device = VolumeDevice::open(&dir, "vol-speed", key()?, Options::default())?;
    measure("volume", &device, megabytes, || {})?;
    println!("{:?}", device.stats());
    let started = Instant::now();
    device.snapshot(&home.join("snapshot"))?;
    println!("volume: snapshot {:?}", started.elapsed());
    let started = Instant::now();
    device.close()?;
    println!("volume: close {:?}", started.elapsed());
    drop(device);
    let started = Instant::now();
    drop(VolumeDevice::open(&dir, "vol-speed", key()?, Options::default())?);
    println!("volume: open {:?}", started.elapsed());
    VolumeDevice::remove(&home.join("snapshot"))?;
    VolumeDevice::remove(&dir)?;
    Ok(())
}

fn measure(name: &str, store: &impl Store, megabytes: u64, forget: impl Fn()) -> io::Result<()> {
    let rate = |spent: Duration| megabytes as f64 / spent.as_secs_f64();
    let mut chunk: Vec<u8> = (0..CHUNK).map(|byte| (byte * 31 % 251) as u8).collect();
    let started = Instant::now();
    for number in 0..megabytes {
        store.write(number * CHUNK as u64, &chunk)?;
    }
    store.flush()?;
    println!("{name}: sequential write {:.0} MiB/s", rate(started.elapsed()));
    forget();
    let started = Instant::now();
    for number in 0..megabytes {
        store.read(number * CHUNK as u64, &mut chunk)?;
    }
    println!("{name}: sequential read {:.0} MiB/s", rate(started.elapsed()));

    for writers in [1, 8] {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for writer in 0..writers {
                scope.spawn(move || -> io::Result<()> {
                    let block = [writer as u8; BLOCK];
                    for commit in 0..COMMITS / writers {
                        let place = (commit * 7919 + writer * 104_729) % (megabytes * 128);
                        store.write(place * BLOCK as u64, &block)?;
                        store.flush()?;
                    }
                    Ok(())
                });
            }
        });
        let each = started.elapsed() / COMMITS as u32;
        println!("{name}: 8 KiB write and flush, {writers} writers: {each:?} each");
    }
    Ok(())
}
