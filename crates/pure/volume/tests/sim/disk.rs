//! The disk: it tears the write during which the power fails, forgets what need not be durable, fails on a count, and
//! holds the volume to its promises (append only, no nonce twice, nothing that is linked is changed).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use volume::{Header, SLOT, Segments};

use super::Random;

/// Bytes that a disk writes wholly or not at all.
const ATOM: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The power fails during the operation.
    Crash,
    /// The operation fails, after having done a part of it.
    Error,
    /// There is no space: of so many operations most fail, each having done a part.
    Full(u32),
    /// A read fails.
    ReadError,
}

#[derive(Clone, Default, PartialEq)]
pub struct Files {
    pub header: Option<Vec<u8>>,
    pub checkpoint: Vec<u8>,
    pub segments: BTreeMap<u32, Vec<u8>>,
}

struct Disk {
    files: Files,
    /// Removed or cut since the last crash: a crash may bring it back.
    forgotten: BTreeMap<u32, Vec<u8>>,
    /// What removed segments held: a new one may be made of the file of a dead one.
    graves: Vec<Vec<u8>>,
    linked: BTreeSet<u32>,
    /// End of what was written into each segment.
    written: BTreeMap<u32, u32>,
    /// The counters of each epoch, by its salt, that were used.
    counters: HashMap<[u8; 32], HashSet<u64>>,
    fuse: Option<(u64, Fault)>,
    full: u32,
    dead: bool,
    random: Random,
    operations: u64,
    /// Whether a fault has struck since it was asked for.
    struck: bool,
}

/// A handle to the disk; a volume owns one, the test another.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self::with(Files::default(), seed)
    }

    pub fn with(files: Files, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            files,
            forgotten: BTreeMap::new(),
            graves: Vec::new(),
            linked: BTreeSet::new(),
            written: BTreeMap::new(),
            counters: HashMap::new(),
            fuse: None,
            full: 0,
            dead: false,
            random: Random::new(seed),
            operations: 0,
            struck: false,
        })))
    }

    /// As after links to all segments: others hold them as well.
    pub fn link_all(&self) {
        let mut disk = self.disk();
        let segments: Vec<u32> = disk.files.segments.keys().copied().collect();
        disk.linked.extend(segments);
    }

    /// Lets a fault strike after so many operations that change something (or reads, for a read error).
    pub fn arm(&self, after: u64, fault: Fault) {
        let mut disk = self.disk();
        disk.fuse = Some((after, fault));
        disk.full = 0;
        disk.struck = false;
    }

    /// Repairs the disk and switches it on again. After a crash, what need not be durable may be as it was.
    pub fn restart(&self) {
        let mut disk = self.disk();
        let disk = &mut *disk;
        for (segment, bytes) in std::mem::take(&mut disk.forgotten) {
            if disk.random.chance(2) {
                disk.files.segments.insert(segment, bytes);
            }
        }
        disk.dead = false;
        disk.fuse = None;
        disk.full = 0;
        disk.struck = false;
    }

    pub fn struck(&self) -> bool {
        self.disk().struck
    }

    pub fn is_dead(&self) -> bool {
        self.disk().dead
    }

    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// A copy of some segments, as hard links would show them, and of the small files given.
    pub fn link(&self, header: &[u8], checkpoint: &[u8], segments: &[u32]) -> Files {
        let mut disk = self.disk();
        disk.linked.extend(segments);
        let copy = |segment: &u32| (*segment, disk.files.segments[segment].clone());
        Files {
            header: Some(header.to_vec()),
            checkpoint: checkpoint.to_vec(),
            segments: segments.iter().map(copy).collect(),
        }
    }

    pub fn files(&self) -> Files {
        self.disk().files.clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Files)) {
        change(&mut self.disk().files);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }
}

impl Disk {
    /// The fault that strikes this operation.
    fn step(&mut self, read: bool) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        if !read {
            self.operations += 1;
        }
        if !read && self.full > 0 {
            return self.lack_space();
        }
        let Some((after, fault)) = &mut self.fuse else { return Ok(None) };
        if read != (*fault == Fault::ReadError) {
            return Ok(None);
        }
        if *after > 0 {
            *after -= 1;
            return Ok(None);
        }
        let fault = *fault;
        self.fuse = None;
        self.struck = true;
        match fault {
            Fault::Crash => self.dead = true,
            Fault::Full(tries) => {
                self.full = tries;
                return self.lack_space();
            }
            Fault::Error | Fault::ReadError => {}
        }
        Ok(Some(fault))
    }

    /// A try that may fail for want of space.
    fn lack_space(&mut self) -> io::Result<Option<Fault>> {
        self.full -= 1;
        Ok((!self.random.chance(4)).then_some(Fault::Full(0)))
    }

    /// Puts bytes over others; if a fault strikes, only some of the atoms.
    fn put(random: &mut Random, target: &mut [u8], bytes: &[u8], torn: bool) {
        let atoms = bytes.len().div_ceil(ATOM) as u64;
        let mode = random.below(6);
        let cut = random.below(atoms + 1);
        for (position, (old, new)) in (0..).zip(target.chunks_mut(ATOM).zip(bytes.chunks(ATOM))) {
            let written = match mode {
                _ if !torn => true,
                0 => false,
                1 => true,
                2 => position < cut,
                3 => position >= cut,
                4 => position != cut,
                _ => random.chance(2),
            };
            if written {
                old.copy_from_slice(new);
            }
        }
    }

    /// A group may only be sealed under an epoch that the header on the disk knows, with counters never used before.
    fn check_counters(&mut self, bytes: &[u8]) {
        assert_eq!(&bytes[..8], b"SRGROUP1");
        let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (epoch, last, blocks) = (field(8), u64::from(field(12)), u64::from(field(28)));
        let header = Header::parse(self.files.header.as_ref().unwrap()).unwrap();
        let row = header.epochs.iter().find(|row| row.start.epoch == epoch);
        let salt = row.expect("the epoch is durable before it is used").salt;
        let used = self.counters.entry(salt).or_default();
        assert!((last - blocks..=last).all(|counter| used.insert(counter)), "a nonce is used twice");
    }
}

fn failed(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(Fault::Full(_)) => Err(io::ErrorKind::StorageFull.into()),
        Some(_) => Err(io::Error::other("injected")),
    }
}

impl Segments for SimDisk {
    fn list(&self) -> io::Result<Vec<u32>> {
        Ok(self.disk().files.segments.keys().copied().collect())
    }

    fn create(&self, segment: u32, size: u32) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.step(false)?;
        assert!(!disk.files.segments.contains_key(&segment), "a segment's number is used twice");
        if fault.is_none() || (fault == Some(Fault::Crash) && disk.random.chance(2)) {
            // What a recycled or unwritten file holds is anybody's guess.
            let filler = if disk.random.chance(2) { 0 } else { 0xa5 };
            let mut bytes =
                if disk.random.chance(2) { disk.graves.pop().unwrap_or_default() } else { Vec::new() };
            bytes.resize(size as usize, filler);
            disk.files.segments.insert(segment, bytes);
            disk.written.insert(segment, 0);
        }
        failed(fault)
    }

    fn settle(&self, _segment: u32) -> io::Result<()> {
        failed(self.disk().step(false)?)
    }

    fn write(&self, segment: u32, offset: u32, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let disk = &mut *disk;
        let fault = disk.step(false)?;
        assert!(!disk.linked.contains(&segment), "a linked segment is changed");
        assert!(offset.is_multiple_of(4096) && bytes.len().is_multiple_of(4096));
        let end = disk.written.get_mut(&segment).expect("only segments of this attach are written");
        assert!(offset >= *end, "a segment is overwritten");
        *end = offset + bytes.len() as u32;
        disk.check_counters(bytes);
        let target = disk.files.segments.get_mut(&segment).unwrap();
        let target = &mut target[offset as usize..offset as usize + bytes.len()];
        Disk::put(&mut disk.random, target, bytes, fault.is_some());
        failed(fault)
    }

    fn read(&self, segment: u32, offset: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk();
        if disk.step(true)?.is_some() {
            return Err(io::Error::other("injected"));
        }
        let bytes = disk.files.segments.get(&segment).ok_or(io::ErrorKind::NotFound)?;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn finish(&self, segment: u32, length: u32) -> io::Result<()> {
        let mut disk = self.disk();
        let disk = &mut *disk;
        failed(disk.step(false)?)?;
        assert!(!disk.linked.contains(&segment), "a linked segment is changed");
        let bytes = disk.files.segments.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?;
        disk.forgotten.insert(segment, bytes.clone());
        bytes.truncate(length as usize);
        Ok(())
    }

    fn is_shared(&self, segment: u32) -> bool {
        self.disk().linked.contains(&segment)
    }

    fn remove(&self, segment: u32) -> io::Result<()> {
        let mut disk = self.disk();
        failed(disk.step(false)?)?;
        if let Some(bytes) = disk.files.segments.remove(&segment) {
            disk.graves.push(bytes.clone());
            disk.forgotten.entry(segment).or_insert(bytes);
        }
        Ok(())
    }

    fn read_header(&self) -> io::Result<Vec<u8>> {
        let mut disk = self.disk();
        disk.step(true)?.map_or(Ok(()), |fault| failed(Some(fault)))?;
        disk.files.header.clone().ok_or(io::ErrorKind::NotFound.into())
    }

    fn replace_header(&self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let fault = disk.step(false)?;
        if fault.is_none() || disk.random.chance(2) {
            disk.files.header = Some(bytes.to_vec());
        }
        failed(fault)
    }

    fn read_checkpoint(&self) -> io::Result<Vec<u8>> {
        let mut disk = self.disk();
        disk.step(true)?.map_or(Ok(()), |fault| failed(Some(fault)))?;
        Ok(disk.files.checkpoint.clone())
    }

    fn write_checkpoint(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let disk = &mut *disk;
        let fault = disk.step(false)?;
        disk.files.checkpoint.resize(2 * SLOT, 0);
        let target = &mut disk.files.checkpoint[slot * SLOT..(slot + 1) * SLOT];
        Disk::put(&mut disk.random, target, bytes, fault.is_some());
        failed(fault)
    }
}
