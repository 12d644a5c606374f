//! What attaching, snapshots and clones cost as a volume grows. Large volumes are sparse: blocks are spread evenly, each
//! in a leaf of the tree of its own. A clean attach reads the header, the checkpoint (12 bytes a segment) and nothing
//! of the data; a snapshot makes one hard link a segment.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use attach::{BlockDevice as _, VolumeDevice};
use volume::{BLOCK, VolumeKey};

use crate::Failure;

/// Blocks that a sparse volume holds.
const BLOCKS: u64 = 4096;

/// One volume's times.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub bytes: u64,
    pub attach: Duration,
    pub snapshot: Duration,
    pub clone: Duration,
    /// Memory of the process by which it grew, bytes.
    pub memory: u64,
}

/// Memory of this process, bytes.
///
/// # Errors
/// If the system does not tell.
pub fn memory() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// Measures a volume of `bytes` in the new directory `dir`, which is removed again.
///
/// # Errors
/// What the volume or the host says.
pub fn measure(dir: &Path, bytes: u64) -> Result<Times, Failure> {
    fs::create_dir(dir)?;
    let (source, snapshot_dir, clone_dir) = (dir.join("source"), dir.join("snapshot"), dir.join("clone"));
    let key = || VolumeKey::copy_from(&[7; 32]).expect("a key has 32 bytes");
    VolumeDevice::create(&source, "vol-source", &key(), b"", bytes)?;
    let volume = VolumeDevice::open(&source, "vol-source", key(), attach::Options::default())?;
    let block = vec![1; BLOCK];
    for n in 0..BLOCKS {
        volume.write(bytes / BLOCKS * n / BLOCK as u64 * BLOCK as u64, &block)?;
    }
    volume.close()?;
    drop(volume);
    let before = memory()?;
    let begun = Instant::now();
    let volume = VolumeDevice::open(&source, "vol-source", key(), attach::Options::default())?;
    let attach = begun.elapsed();
    let memory = memory()?.saturating_sub(before);
    let begun = Instant::now();
    volume.snapshot(&snapshot_dir)?;
    let snapshot = begun.elapsed();
    let begun = Instant::now();
    VolumeDevice::clone_from(&snapshot_dir, "vol-source", &clone_dir, "vol-clone", &key(), b"")?;
    let clone = begun.elapsed();
    volume.close()?;
    drop(volume);
    fs::remove_dir_all(dir)?;
    Ok(Times { bytes, attach, snapshot, clone, memory })
}
