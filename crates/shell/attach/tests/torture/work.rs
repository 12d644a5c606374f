//! The process that is killed: threads that write, discard, flush, read, anchor and take snapshots, for ever.

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use attach::{BlockDevice, Options, VolumeDevice};

use testkit::Random;

use crate::{
    UNIT, UNITS,
    journal::{self, Journal, Line},
    key,
    verify::{self, Stamp},
};

const WRITERS: u64 = 3;
/// Sectors that one lock guards.
const REGION: u64 = 64;
/// Sectors of the longest write: 128 KiB.
const LONGEST: u64 = 32;

struct Work {
    device: Arc<VolumeDevice>,
    journal: Journal,
    versions: Mutex<Versions>,
    regions: Vec<Mutex<()>>,
    /// Of each sector: the last version that was answered, and the last discard that began.
    answered: Vec<AtomicU64>,
    discarded: Vec<AtomicU64>,
    stopped: AtomicBool,
}

/// Versions that are under way, and the next one.
struct Versions {
    open: BTreeSet<u64>,
    next: u64,
}

impl Versions {
    fn base(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.next) - 1
    }
}

/// Works until it is killed; ends by itself, well, when the volume has stopped, and with 3 if it lied.
pub fn run(dir: &str, id: &str, journal: &str, seed: u64) -> ExitCode {
    let mut random = Random::new(seed);
    let options = Options {
        node_cache: if random.chance(2) { 0 } else { 1 << 20 },
        checkpoint_after: 1 << (20 + random.below(6)),
        write_behind: 64 << (10 + random.below(6)),
        pending_limit: 8 << 20,
        anchor: verify::last_anchor(&journal::read(Path::new(journal))),
    };
    let device = match VolumeDevice::open(Path::new(dir), id, key(), options) {
        Ok(device) => device,
        // The store may fail at this moment already; who looks at it later tells.
        Err(_) => return ExitCode::SUCCESS,
    };
    let next = verify::next_version(&journal::read(Path::new(journal)));
    let work = Work {
        device,
        journal: Journal::open(Path::new(journal)),
        versions: Mutex::new(Versions { open: BTreeSet::new(), next }),
        regions: (0..UNITS / REGION).map(|_| Mutex::new(())).collect(),
        answered: (0..UNITS).map(|_| AtomicU64::new(0)).collect(),
        discarded: (0..UNITS).map(|_| AtomicU64::new(0)).collect(),
        stopped: AtomicBool::new(false),
    };
    work.journal.tell(&Line::Anchored { anchor: work.device.anchor() });
    thread::scope(|scope| {
        for thread in 0..WRITERS {
            let (work, mut random) = (&work, Random::new(seed ^ (thread + 1) << 32));
            scope.spawn(move || work.until_stopped(|| work.write(&mut random)));
        }
        let mut reading = Random::new(seed ^ 100 << 32);
        let mut flushing = Random::new(seed ^ 101 << 32);
        let mut snapping = Random::new(seed ^ 102 << 32);
        let work = &work;
        scope.spawn(move || work.until_stopped(|| work.read(&mut reading)));
        scope.spawn(move || work.until_stopped(|| work.flush(&mut flushing)));
        scope.spawn(move || work.until_stopped(|| work.snapshot(dir, &mut snapping)));
    });
    ExitCode::SUCCESS
}

/// Opens the volume and does nothing, for a while.
pub fn open(dir: &str, id: &str, journal: &str) -> ExitCode {
    let anchor = verify::last_anchor(&journal::read(Path::new(journal)));
    let _device = VolumeDevice::open(Path::new(dir), id, key(), Options { anchor, ..Options::default() });
    thread::sleep(Duration::from_secs(10));
    ExitCode::SUCCESS
}

impl Work {
    fn until_stopped(&self, mut step: impl FnMut() -> io::Result<()>) {
        while !self.stopped.load(SeqCst) {
            match step() {
                Ok(()) => {}
                // A full host: what waits is written later.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    thread::sleep(Duration::from_millis(5))
                }
                Err(_) => self.stopped.store(true, SeqCst),
            }
        }
    }

    fn write(&self, random: &mut Random) -> io::Result<()> {
        let start = if random.chance(2) { random.below(UNITS) } else { random.below(200) };
        let length = if random.chance(4) { 1 + random.below(LONGEST) } else { 2 };
        let sectors = start..(start + length).min(UNITS);
        let discard = random.chance(12);
        let _alone: Vec<_> = (sectors.start / REGION..sectors.end.div_ceil(REGION))
            .map(|region| self.regions[region as usize].lock().expect("not poisoned"))
            .collect();
        let (version, base) = {
            let mut versions = self.versions.lock().expect("not poisoned");
            let version = versions.next;
            let base = versions.base();
            versions.next += 1;
            versions.open.insert(version);
            (version, base)
        };
        self.journal.tell(&Line::Change { version, base, sectors: sectors.clone(), discard });
        let offset = sectors.start * UNIT as u64;
        let done = if discard {
            self.of(&self.discarded, &sectors).for_each(|last| last.store(version, SeqCst));
            self.device.discard(offset, (sectors.end - sectors.start) * UNIT as u64)
        } else {
            let bytes: Vec<u8> =
                sectors.clone().flat_map(|sector| Stamp { version, base, sector }.sector()).collect();
            self.device.write(offset, &bytes)
        };
        match &done {
            Ok(()) => self.of(&self.answered, &sectors).for_each(|last| last.store(version, SeqCst)),
            Err(_) => self.journal.tell(&Line::Refused { version }),
        }
        self.versions.lock().expect("not poisoned").open.remove(&version);
        done
    }

    fn of<'a>(&self, all: &'a [AtomicU64], sectors: &Range<u64>) -> impl Iterator<Item = &'a AtomicU64> {
        all[sectors.start as usize..sectors.end as usize].iter()
    }

    fn read(&self, random: &mut Random) -> io::Result<()> {
        let start = random.below(UNITS);
        let sectors = start..(start + 1 + random.below(64)).min(UNITS);
        let answered: Vec<u64> = self.of(&self.answered, &sectors).map(|last| last.load(SeqCst)).collect();
        let mut bytes = vec![0xee; (sectors.end - sectors.start) as usize * UNIT];
        self.device.read(start * UNIT as u64, &mut bytes)?;
        let next = self.versions.lock().expect("not poisoned").next;
        for ((sector, bytes), answered) in sectors.zip(bytes.chunks_exact(UNIT)).zip(answered) {
            let discarded = self.discarded[sector as usize].load(SeqCst);
            let right = match Stamp::of(bytes, sector) {
                Ok(Some(stamp)) => stamp.version >= answered && stamp.version < next,
                Ok(None) => answered == 0 || discarded >= answered,
                Err(_) => false,
            };
            if !right {
                let found = Stamp::of(bytes, sector);
                println!(
                    "lie: sector {sector}: {found:?}, answered {answered}, discarded {discarded}, next {next}"
                );
                std::process::exit(3);
            }
        }
        Ok(())
    }

    fn flush(&self, random: &mut Random) -> io::Result<()> {
        thread::sleep(Duration::from_micros(random.below(4000)));
        let base = self.versions.lock().expect("not poisoned").base();
        self.device.flush()?;
        self.journal.tell(&Line::Durable { base });
        if random.chance(20) {
            self.journal.tell(&Line::Anchored { anchor: self.device.anchor() });
        }
        Ok(())
    }

    fn snapshot(&self, dir: &str, random: &mut Random) -> io::Result<()> {
        thread::sleep(Duration::from_millis(random.below(400)));
        let versions = self.versions.lock().expect("not poisoned");
        let (name, base) = (format!("snapshot-{}", versions.next), versions.base());
        drop(versions);
        self.journal.tell(&Line::Snapshot { name: name.clone(), base });
        match self.device.snapshot(&Path::new(dir).with_file_name(&name)) {
            Ok(()) => {
                self.journal.tell(&Line::Snapped { name });
                Ok(())
            }
            Err(error) => Err(error.errno()),
        }
    }
}
