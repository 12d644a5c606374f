//! A random history of requests, faults, crashes, snapshots and clones, compared with the plain array at every step.

use std::sync::Arc;

use volume::{Anchor, BLOCK, Options, SECTOR, Volume, VolumeError, VolumeKey, WrappedKey, clone_header};

use super::{
    ID, Random, SeededEntropy, audit,
    disk::{Fault, Files, SimDisk},
    key,
    model::{Model, read},
    unwrap_keys, wrap,
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
    /// Volumes that others were cloned from, or that are their clones: closed, or as a crash left them.
    others: Vec<Other>,
    /// What the key service remembers.
    anchor: Option<Anchor>,
    /// Copies of all files, to be put back.
    copies: Vec<Copy>,
    /// Copies that were refused.
    pub refused: u64,
    /// Bytes that the cleaner has moved.
    pub cleaned: u64,
    /// Generations that were dropped.
    pub renewed: u64,
    /// What happened, for a failing seed.
    pub told: Vec<String>,
}

/// Of a family of clones, most that are kept.
const MOST_OTHERS: usize = 3;

/// A volume that nobody has open.
struct Other {
    id: String,
    disk: SimDisk,
    model: Model,
    anchor: Option<Anchor>,
}

/// All files of a volume at one moment.
#[derive(Clone)]
struct Copy {
    files: Files,
    model: Model,
    /// Where the log stood; `None` if an operator has preferred an older copy to this one.
    anchor: Option<Anchor>,
}

const SEGMENT_SIZES: [u32; 3] = [64 << 10, 128 << 10, 512 << 10];
const BLOCKS: [u64; 5] = [1, 7, 40, 300, 600];
/// To which a volume grows, at most.
const MOST_BLOCKS: u64 = 1200;

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
            anchor: None,
        };
        let disk = SimDisk::new(random.next());
        let entropy = SeededEntropy::new(random.next());
        let size = blocks * BLOCK as u64;
        Volume::create(&disk, ID, &key(), &wrap(&key()), size, segment_size, &entropy).unwrap();
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
            others: Vec::new(),
            anchor: None,
            copies: Vec::new(),
            refused: 0,
            cleaned: 0,
            renewed: 0,
            told: vec![format!("{blocks} blocks, segments of {segment_size}")],
        };
        history.reopen();
        history
    }

    /// Does one thing.
    pub fn step(&mut self) {
        match self.random.below(100) {
            0..33 => self.write(),
            33 => self.grow(),
            34 => self.copy_files(),
            35..40 => self.clean(),
            40..48 => self.discard(),
            48..60 => self.flush(),
            60..72 => self.check(),
            72..79 => self.checkpoint(),
            79 => self.commit_some(),
            80 => self.renew_key(),
            81 => self.clean_up(),
            82 => self.store_anchor(),
            83 => self.put_back(),
            84..87 => self.snapshot(),
            87..89 => self.restore(),
            89..92 => self.close(),
            92..95 => self.crash(),
            95 => self.lock(),
            96 => self.copy_after_crash(),
            97 => self.go_to_another(),
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
        self.clean_up();
        self.close();
        self.check_all();
        while !self.others.is_empty() {
            self.go_to_another();
            self.others.pop();
        }
        self.close();
        self.disk.restart();
        // As a crash leaves it, and closed.
        if self.random.chance(2) {
            self.volume().close().unwrap();
        }
        self.volume = None;
        let files = self.disk.files();
        let keys = || unwrap_keys(files.header.as_ref().unwrap());
        audit::audit(&SimDisk::with(files.clone(), 1), &self.id, keys, &self.model);
    }

    /// Leaves the volume, and goes on with another of its family: whatever became of either has not harmed the other.
    fn go_to_another(&mut self) {
        if self.others.is_empty() {
            return;
        }
        if self.random.chance(2) {
            self.close();
        } else {
            self.crash();
        }
        self.volume = None;
        let other = self.others.remove(0);
        self.told.push(format!("leaves {} for {}", self.id, other.id));
        self.keep_aside();
        let Other { id, disk, model, anchor } = other;
        (self.id, self.disk, self.model, self.anchor) = (id, disk, model, anchor);
        self.copies.clear();
        self.reopen();
        self.check_all();
    }

    /// Keeps the volume, which is not open, for later.
    fn keep_aside(&mut self) {
        if self.others.len() < MOST_OTHERS {
            let (id, disk, model) = (self.id.clone(), self.disk.clone(), self.model.clone());
            self.others.push(Other { id, disk, model, anchor: self.anchor });
        }
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

    fn grow(&mut self) {
        let blocks = self.volume().size() / BLOCK as u64;
        let blocks = (blocks + self.random.below(blocks + 300)).min(MOST_BLOCKS);
        let sectors = blocks * (BLOCK / SECTOR) as u64;
        self.model.growing(sectors);
        let grown = self.volume().grow(blocks * BLOCK as u64);
        self.tell("grow", &blocks, &grown);
        if grown.is_ok() {
            self.model.grown(sectors);
        }
        assert_eq!(self.volume().size(), self.model.sectors() * SECTOR as u64);
        self.forgive(grown);
    }

    fn renew_key(&mut self) {
        let key = VolumeKey::generate(&SeededEntropy::new(self.random.next()));
        let wrapped = wrap(&key);
        let renewed = self.volume().renew_key(key, &wrapped);
        self.tell("renew the key", &"", &renewed);
        self.forgive(renewed);
    }

    /// Lets the cleaner bring a renewal to its end: then nothing is of an older generation.
    fn clean_up(&mut self) {
        let before = self.volume().usages().generations;
        let mut steps = 0;
        loop {
            let step = self.volume().clean_step(16 * BLOCK);
            let more = matches!(step, Ok(true));
            let step = step.map(|_| ());
            self.tell("clean up", &"", &step);
            let done = step.is_ok();
            self.forgive(step);
            if !done || self.disk.is_dead() {
                return;
            }
            steps += 1;
            assert!(steps < 3000, "the renewal comes to its end");
            if !more || !self.volume().is_renewing() {
                break;
            }
        }
        let usages = self.volume().usages();
        if usages.stuck_segments == 0 {
            assert_eq!((usages.generations, usages.older_records), (1, 0));
            let header = self.disk.files().header.unwrap();
            assert_eq!(unwrap_keys(&header).len(), 1, "older generations are dropped");
        }
        self.renewed += before - usages.generations;
    }

    /// As the key service does from time to time.
    fn store_anchor(&mut self) {
        self.told.push("anchor".into());
        let anchor = Anchor::from_bytes(&self.volume().anchor().to_bytes()).unwrap();
        self.anchor = Some(anchor);
    }

    fn copy_files(&mut self) {
        self.told.push("copy all files".into());
        let (files, model, anchor) = (self.disk.files(), self.model.clone(), self.volume().anchor());
        self.copies.push(Copy { files, model, anchor: Some(anchor) });
    }

    /// Puts a copy of all files back: it is refused if the anchor is newer, and sometimes accepted all the same.
    fn put_back(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let chosen = self.random.below(self.copies.len() as u64) as usize;
        let Copy { files, mut model, anchor } = self.copies[chosen].clone();
        let order = |anchor: Anchor| (anchor.epoch, anchor.sequence);
        let is_old =
            self.anchor.is_some_and(|newer| anchor.is_none_or(|anchor| order(newer) > order(anchor)));
        self.told.push(format!("copy {chosen} is put back, old: {is_old}"));
        let open = |disk: &SimDisk, anchor, seed| {
            let options = Options { anchor, ..self.options.clone() };
            let keys = unwrap_keys(&disk.files().header.unwrap());
            Volume::open(disk.clone(), &self.id, keys, Arc::new(SeededEntropy::new(seed)), options)
        };
        let disk = SimDisk::with(files.clone(), self.random.next());
        let opened = open(&disk, self.anchor, self.random.next());
        assert_eq!(matches!(opened, Err(VolumeError::RolledBack { .. })), is_old, "{opened:?}");
        assert_eq!(opened.is_ok(), !is_old, "{opened:?}");
        assert!(!is_old || disk.operations() == 0, "a copy that is refused stays as it is");
        drop(opened);
        self.refused += u64::from(is_old);
        let disk = SimDisk::with(files, self.random.next());
        let accepted = open(&disk, None, self.random.next()).unwrap();
        model.recover(&accepted).unwrap();
        if self.random.chance(3) {
            self.told.push("and accepted".into());
            let left = Copy { files: self.disk.files(), model: self.model.clone(), anchor: None };
            self.copies = vec![left];
            self.anchor = None;
            self.volume = None;
            (self.disk, self.model) = (disk, model);
            self.volume = Some(accepted);
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
            // A volume as small as this has too little dead to be cleaned otherwise.
            let step = if self.random.chance(2) {
                self.volume().clean_all_step(budget)
            } else {
                self.volume().clean_step(budget)
            };
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
        let keys: Vec<_> = unwrap_keys(header).into_iter().map(|key| (wrap(&key), key)).collect();
        let keys: Vec<_> = keys.iter().map(|(wrapped, key)| WrappedKey { key, wrapped }).collect();
        let own = VolumeKey::generate(&entropy);
        let wrapped = wrap(&own);
        let own = self.random.chance(2).then_some(WrappedKey { key: &own, wrapped: &wrapped });
        let header = clone_header(header, &source, &id, &keys, own, &entropy).unwrap();
        self.volume = None;
        self.keep_aside();
        self.disk = SimDisk::with(Files { header: Some(header), ..files }, self.random.next());
        // The source may be gone by now, and the snapshot too.
        if self.random.chance(2) {
            self.disk.link_all();
        }
        self.id = id;
        self.model = model;
        self.anchor = None;
        self.copies.clear();
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
        if self.random.chance(2) {
            self.store_anchor();
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
            let options = Options { anchor: self.anchor, ..self.options.clone() };
            let keys = unwrap_keys(&self.disk.files().header.unwrap());
            let opened = Volume::open(self.disk.clone(), &self.id, keys, entropy, options);
            let recovered = opened.and_then(|volume| {
                self.model.recover(&volume)?;
                Ok(volume)
            });
            match recovered {
                Ok(volume) => {
                    self.volume = Some(volume);
                    // A crash may come before the service has stored it.
                    if self.random.chance(2) {
                        self.store_anchor();
                    }
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
