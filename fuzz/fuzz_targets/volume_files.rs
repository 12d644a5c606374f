//! A whole volume of which an attacker changed the files: it is refused, or every block reads as something that was
//! once written there, or fails. A check finds what a read meets; a salvage brings out nothing else, and says what may be
//! old. Input: edits of 8 bytes each, `file, kind, offset (4), value, length`; with a byte more, of a volume whose key is being
//! renewed, so that its header names two.
#![no_main]

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use ids::Entropy;
use libfuzzer_sys::fuzz_target;
use volume::{BLOCK, Header, LogEnd, Observed, Options, Segments, Target, Volume, VolumeError, VolumeKey};

const ID: &str = "vol-0123456789abcdef0";
const BLOCKS: u64 = 64;
const SEGMENT: u32 = 1 << 20;

/// The files of a volume, in memory.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<Content>>);

#[derive(Clone, Default)]
struct Content {
    header: Vec<u8>,
    checkpoint: Vec<u8>,
    segments: BTreeMap<u32, Vec<u8>>,
}

impl Files {
    fn with<R>(&self, f: impl FnOnce(&mut Content) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Segments for Files {
    fn list(&self) -> io::Result<Vec<u32>> {
        Ok(self.with(|content| content.segments.keys().copied().collect()))
    }

    fn create(&self, segment: u32, size: u32) -> io::Result<()> {
        self.with(|content| content.segments.insert(segment, vec![0; size as usize]));
        Ok(())
    }

    fn settle(&self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()> {
        self.with(|content| {
            let file = content.segments.get_mut(&segment).ok_or_else(missing)?;
            let offset = offset as usize;
            file.resize(file.len().max(offset + bytes.len()), 0);
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            Ok(())
        })
    }

    fn read(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|content| {
            let file = content.segments.get(&segment).ok_or_else(missing)?;
            let rest = file.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        })
    }

    fn finish(&self, _: u32, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn is_shared(&self, _: u32) -> bool {
        false
    }

    fn remove(&self, segment: u32) -> io::Result<()> {
        self.with(|content| content.segments.remove(&segment));
        Ok(())
    }

    fn read_header(&self) -> io::Result<Vec<u8>> {
        Ok(self.with(|content| content.header.clone()))
    }

    fn replace_header(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|content| content.header = bytes.to_vec());
        Ok(())
    }

    fn read_checkpoint(&self) -> io::Result<Vec<u8>> {
        Ok(self.with(|content| content.checkpoint.clone()))
    }

    fn write_checkpoint(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.with(|content| {
            content.checkpoint.resize(2 * bytes.len(), 0);
            content.checkpoint[slot * bytes.len()..][..bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }
}

/// The same "random" bytes in every run.
struct Counting(Mutex<u64>);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (*state >> 56) as u8;
        }
    }
}

fn key(number: u8) -> VolumeKey {
    VolumeKey::copy_from(&[number; 32]).expect("32 bytes")
}

/// Those of the volumes: the first has no need of the second.
fn keys() -> Vec<VolumeKey> {
    vec![key(7), key(8)]
}

fn open(files: Files, seed: u64) -> Result<Volume<Files>, volume::VolumeError> {
    let options = Options { node_cache: 1 << 16, ..Options::default() };
    Volume::open(files, ID, keys(), Arc::new(Counting(Mutex::new(seed))), options)
}

/// What is written in round `round` to block `index`.
fn pattern(round: u8, index: u64) -> Vec<u8> {
    vec![round.wrapping_mul(67) ^ index as u8; BLOCK]
}

/// A volume of one key, and one of two.
static IMAGES: LazyLock<[Content; 2]> = LazyLock::new(|| [image(false), image(true)]);

/// A volume with two rounds of writes, a checkpoint between them, as a power cut leaves it; between them its key may begin
/// to be renewed.
fn image(renewing: bool) -> Content {
    let files = Files::default();
    let size = BLOCKS * BLOCK as u64;
    Volume::create(&files, ID, &key(7), b"wrapped", size, SEGMENT, &Counting(Mutex::new(1))).expect("made");
    let volume = open(files.clone(), 2).expect("opened");
    for index in 0..BLOCKS {
        volume.write(index * BLOCK as u64, &pattern(1, index)).expect("written");
    }
    volume.flush().expect("flushed");
    volume.checkpoint().expect("checkpointed");
    if renewing {
        volume.renew_key(key(8), b"other").expect("renewed");
    }
    for index in (0..BLOCKS).step_by(3) {
        volume.write(index * BLOCK as u64, &pattern(2, index)).expect("written");
    }
    volume.flush().expect("flushed");
    files.with(|content| content.clone())
}

fuzz_target!(|data: &[u8]| {
    let mut content = IMAGES[data.len() % 8 % 2].clone();
    for edit in data.chunks_exact(8).take(16) {
        let numbers: Vec<u32> = content.segments.keys().copied().collect();
        let file = match usize::from(edit[0]) % (numbers.len() + 2) {
            0 => &mut content.header,
            1 => &mut content.checkpoint,
            n => content.segments.get_mut(&numbers[n - 2]).expect("listed"),
        };
        let offset = u32::from_le_bytes([edit[2], edit[3], edit[4], edit[5]]) as usize % file.len().max(1);
        let end = (offset + usize::from(edit[7])).min(file.len());
        match edit[1] % 4 {
            0 => file[offset..end].iter_mut().for_each(|byte| *byte ^= edit[6]),
            1 => file[offset..end].fill(edit[6]),
            2 => file.truncate(offset),
            _ => file.copy_within(..end - offset, offset),
        }
    }
    let files = Files(Arc::new(Mutex::new(content)));
    let clean = inspect(&files);
    let Ok(volume) = open(files, 3) else {
        assert!(!clean, "a check finds nothing in a volume that does not open");
        return;
    };
    let mut block = vec![0; BLOCK];
    for index in 0..BLOCKS {
        let read = volume.read(index * BLOCK as u64, &mut block);
        assert!(read.is_ok() || !clean, "a check does not find that block {index} cannot be read");
        if read.is_ok() {
            let once = [vec![0; BLOCK], pattern(1, index), pattern(2, index)];
            assert!(once.contains(&block), "block {index} reads as what was never written to it");
        }
    }
});

/// What a salvage brings out.
#[derive(Default)]
struct Brought(BTreeMap<u64, Vec<u8>>);

impl Target for Brought {
    fn begin(&mut self, _: &Header) -> Result<(), VolumeError> {
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        assert!(self.0.insert(offset / BLOCK as u64, bytes.to_vec()).is_none(), "a block is copied twice");
        Ok(())
    }
}

/// Checks and salvages; says whether the check found no damage.
fn inspect(files: &Files) -> bool {
    let on = &mut |_: Observed<'_>| ControlFlow::Continue(());
    let clean = volume::check(files, ID, keys(), None, on).is_ok_and(|(progress, _)| progress.damage == 0);
    let mut brought = Brought::default();
    let Ok(report) = volume::salvage(files, ID, keys(), None, &mut brought, on) else { return clean };
    for (index, bytes) in &brought.0 {
        let newest = pattern(if index % 3 == 0 { 2 } else { 1 }, *index);
        // The volume was not closed: its last groups may be cut off without a trace.
        let cut = report.end != LogEnd::Reached;
        let old = cut || report.maybe_old.iter().any(|range| range.contains(index));
        assert!(
            *bytes == newest || (old && *bytes == pattern(1, *index)),
            "block {index} is not what it was"
        );
    }
    clean
}
