//! A random history of requests, faults, crashes, snapshots and clones, compared with the plain array at every step.

use std::sync::Arc;

use volume::{BLOCK, Options, SECTOR, Volume, VolumeError, clone_header};

use super::{
    ID, Random, SeededEntropy,
    disk::{Fault, Files, SimDisk},
    key,
    model::{Model, read},
};

/// A run in progress.
pub struct History {
    random: Random,
    seed: u64,
    id: String,
    disk: SimDisk,
    model: Model,
    volume: Option<Volume<SimDisk>>,
    snapshots: Vec<(String, Files, Model)>,
    options: Options,
    clones: u64,
    /// Bytes that the cleaner has moved.
    pub cleaned: u64,
    /// What happened, for a failing seed.
    pub told: Vec<String>,
}

const SEGMENT_SIZES: [u32; 3] = [64 << 10, 128 << 10, 512 << 10];
const BLOCKS: [u64; 5] = [1, 7, 40, 300, 600];

impl History {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let blocks = BLOCKS[random.below(BLOCKS.len() as u64) as usize];
        let segment_size = SEGMENT_SIZES[random.below(SEGMENT_SIZES.len() as u64) as usize];
        let options = Options {
            node_cache: 0,
            keep_committed: random.below(3) as usize * 4 * BLOCK,
            checkpoint_after: u64::from(segment_size) * 2,
            records_per_epoch: if random.chance(3) { 40 + random.below(60) } else { 1 << 32 },
        };
        let disk = SimDisk::new(random.next());
        let entropy = SeededEntropy::new(random.next());
        let size = blocks * BLOCK as u64;
        Volume::create(&disk, ID, &key(), b"wrapped", size, segment_size, &entropy).unwrap();
        let model = Model::new(blocks * (BLOCK / SECTOR) as u64);
        let mut history = Self {
            random,
            seed,
            id: ID.into(),
            disk,
            model,
            volume: None,
            snapshots: Vec::new(),
            options,
            clones: 0,
            cleaned: 0,
            told: vec![format!("{blocks} blocks, segments of {segment_size}")],
        };
        history.reopen();
        history
    }

    /// Does one thing.
    pub fn step(&mut self) {
        match self.random.below(100) {
            0..35 => self.write(),
            35..40 => self.clean(),
            40..48 => self.discard(),
            48..60 => self.flush(),
            60..72 => self.check(),
            72..80 => self.checkpoint(),
            80..82 => self.commit_some(),
            82..84 => self.clean(),
            84..87 => self.snapshot(),
            87..89 => self.restore(),
            89..92 => self.close(),
            92..95 => self.crash(),
            95 => self.lock(),
            96 => self.copy_after_crash(),
            _ => self.arm(),
        }
        if self.disk.is_dead() {
            self.reopen();
        }
    }

    /// Everything must be as it should at the end.
    pub fn finish(&mut self) {
        self.crash();
        self.disk.restart();
        self.close();
        self.check_all();
    }

    fn volume(&self) -> &Volume<SimDisk> {
        self.volume.as_ref().expect("the volume is open between steps")
    }

    fn write(&mut self) {
        let longest = (self.volume().atomic_write() / SECTOR) as u64;
        let sectors = self.model.sectors();
        let (start, length) = match self.random.below(4) {
            // Whole blocks, often the same ones.
            0 | 1 => (self.random.below(sectors.min(16)) / 2 * 2, 2),
            2 => (self.random.below(sectors), 1 + self.random.below(3)),
            _ => (self.random.below(sectors), 1 + self.random.below(longest)),
        };
        let range = start..(start + length).min(sectors);
        let (stamp, bytes) = self.model.stamped(&range);
        let written = self.volume().write(start * SECTOR as u64, &bytes);
        self.tell("write", &range, &written);
        if written.is_ok() {
            self.model.changed(range, stamp);
        }
    }

    fn discard(&mut self) {
        let sectors = self.model.sectors();
        let start = self.random.below(sectors);
        let length = if self.random.chance(4) { sectors } else { 1 + self.random.below(20) };
        let range = start..(start + length).min(sectors);
        let length = (range.end - range.start) * SECTOR as u64;
        let discarded = self.volume().discard(start * SECTOR as u64, length);
        self.tell("discard", &range, &discarded);
        if discarded.is_ok() {
            self.model.changed(range, 0);
        }
    }

    fn flush(&mut self) {
        let flushed = self.volume().flush();
        self.tell("flush", &"", &flushed);
        self.after(flushed);
    }

    fn after(&mut self, flushed: Result<(), VolumeError>) {
        match flushed {
            Ok(()) => self.model.flushed(),
            Err(VolumeError::Stopped) => self.reopen(),
            Err(error) => assert!(self.disk.struck(), "nothing was wrong with the disk: {error:?}"),
        }
    }

    fn check(&mut self) {
        let sectors = self.model.sectors();
        let start = self.random.below(sectors);
        let range = start..(start + 1 + self.random.below(40)).min(sectors);
        match read(self.volume(), range.clone()) {
            Ok(found) => assert_eq!(found, self.model.expected(range.clone()), "sectors {range:?}"),
            Err(error) => assert!(self.disk.struck(), "nothing was wrong with the disk: {error:?}"),
        }
    }

    fn check_all(&self) {
        let all = 0..self.model.sectors();
        assert_eq!(read(self.volume(), all.clone()).unwrap(), self.model.expected(all));
    }

    fn checkpoint(&mut self) {
        let written = self.volume().checkpoint();
        self.tell("checkpoint", &"", &written);
        self.forgive(written);
    }

    fn commit_some(&mut self) {
        let bytes = self.random.below(8) as usize * BLOCK;
        let written = self.volume().commit_down_to(bytes);
        self.tell("commit down to", &bytes, &written);
        self.forgive(written);
    }

    fn clean(&mut self) {
        let budget = (1 + self.random.below(6)) as usize * BLOCK;
        let before = self.volume().usages().cleaned_bytes;
        let mut after = before;
        for _ in 0..1 + self.random.below(6) {
            let step = self.volume().clean_step(budget);
            let more = matches!(step, Ok(true));
            let step = step.map(|_| ());
            self.tell("clean", &budget, &step);
            after = self.volume().usages().cleaned_bytes;
            self.forgive(step);
            if !more || self.disk.is_dead() {
                break;
            }
        }
        self.cleaned += after - before;
    }

    fn forgive(&mut self, written: Result<(), VolumeError>) {
        match written {
            Ok(()) => {}
            Err(VolumeError::Stopped) => self.reopen(),
            Err(error) => assert!(self.disk.struck(), "nothing was wrong with the disk: {error:?}"),
        }
    }

    fn snapshot(&mut self) {
        let mut saved = None;
        let disk = self.disk.clone();
        let made = self.volume().snapshot(|image| {
            saved = Some(disk.link(&image.header, &image.checkpoint, &image.segments));
            Ok(())
        });
        self.tell("snapshot", &"", &made);
        if let Some(files) = saved {
            self.model.flushed();
            self.snapshots.push((self.id.clone(), files, self.model.clone()));
        }
        self.after(made);
    }

    /// Copies a volume that nobody has open, as a crash left it: a group may be torn, and no end is stated.
    fn copy_after_crash(&mut self) {
        self.told.push("crash and copy".into());
        self.volume = None;
        self.disk.restart();
        let files = self.disk.files();
        let segments: Vec<u32> = files.segments.keys().copied().collect();
        let files = self.disk.link(files.header.as_ref().unwrap(), &files.checkpoint, &segments);
        self.snapshots.push((self.id.clone(), files, self.model.clone()));
        self.reopen();
    }

    /// Goes on with a clone of a snapshot, and checks the volume that is left once more.
    fn restore(&mut self) {
        if self.snapshots.is_empty() {
            return;
        }
        self.close();
        self.check_all();
        let chosen = self.random.below(self.snapshots.len() as u64) as usize;
        let (source, files, model) = self.snapshots[chosen].clone();
        self.clones += 1;
        let id = format!("vol-clone-{}", self.clones);
        self.told.push(format!("clone of snapshot {chosen}"));
        let entropy = SeededEntropy::new(self.random.next());
        let header = files.header.as_ref().unwrap();
        let header = clone_header(header, &source, &id, &key(), b"rewrapped", &entropy).unwrap();
        self.volume = None;
        self.disk = SimDisk::with(Files { header: Some(header), ..files }, self.random.next());
        self.id = id;
        self.model = model;
        self.reopen();
        self.check_all();
    }

    fn close(&mut self) {
        let closed = self.volume().close();
        self.tell("close", &"", &closed);
        if closed.is_ok() {
            self.model.flushed();
        } else {
            assert!(self.disk.struck() || matches!(closed, Err(VolumeError::Stopped)), "{closed:?}");
        }
        self.reopen();
    }

    fn crash(&mut self) {
        self.told.push("crash".into());
        self.reopen();
    }

    fn lock(&mut self) {
        self.told.push("lock".into());
        self.volume().lock();
        let sectors = self.model.sectors();
        assert!(matches!(read(self.volume(), 0..sectors), Err(VolumeError::Locked)));
        assert!(matches!(self.volume().flush(), Err(VolumeError::Locked)));
        assert!(matches!(self.volume().checkpoint(), Err(VolumeError::Locked)));
        self.reopen();
    }

    fn arm(&mut self) {
        let fault = match self.random.below(6) {
            0..3 => Fault::Crash,
            3 => Fault::Error,
            4 => Fault::Full(1 + self.random.below(4) as u32),
            _ => Fault::ReadError,
        };
        let after = self.random.below(12);
        self.told.push(format!("{fault:?} after {after}"));
        self.disk.arm(after, fault);
    }

    /// Drops the volume as it is and opens it again; recovery itself may be struck, again and again.
    fn reopen(&mut self) {
        self.volume = None;
        self.disk.restart();
        if self.random.chance(4) {
            let fault = if self.random.chance(4) { Fault::ReadError } else { Fault::Crash };
            self.disk.arm(self.random.below(3), fault);
        }
        loop {
            let entropy = Arc::new(SeededEntropy::new(self.random.next()));
            let opened = Volume::open(self.disk.clone(), &self.id, key(), entropy, self.options.clone());
            let recovered = opened.and_then(|volume| {
                self.model.recover(&volume)?;
                Ok(volume)
            });
            match recovered {
                Ok(volume) => {
                    self.volume = Some(volume);
                    return;
                }
                Err(error) => {
                    self.told.push(format!("opening was struck: {error:?}"));
                    assert!(self.disk.struck(), "nothing was wrong with the disk: {error:?}");
                    self.disk.restart();
                }
            }
        }
    }

    fn tell(&mut self, what: &str, with: &dyn std::fmt::Debug, result: &Result<(), VolumeError>) {
        let result = result.as_ref().err().map(|e| format!("{e:?}")).unwrap_or_default();
        self.told.push(format!("{what} {with:?} {result}"));
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }
}
