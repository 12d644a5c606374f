//! Rounds of work, a crash, and a look at what it left: of the volume, and of every snapshot.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use attach::{BlockDevice, Options, VolumeDevice, VolumeError, VolumeReader};
use tempfile::TempDir;

use testkit::Random;

use crate::{
    UNIT, UNITS,
    journal::{self, Journal, Line},
    key,
    verify::{self, History, NEW, Stamp, State},
};

/// Snapshots that are kept.
const SNAPSHOTS: usize = 3;

pub fn kills() {
    let scratch = TempDir::new().expect("a scratch directory");
    let mut run = Run::new(scratch.path(), None);
    run.rounds();
}

pub fn power_cuts() {
    let scratch = TempDir::new().expect("a scratch directory");
    let Some(store) = Store::mount(scratch.path()) else { return };
    let mut run = Run::new(scratch.path(), Some(store));
    run.rounds();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

struct Run {
    random: Random,
    store: Option<Store>,
    /// The volumes and snapshots are here.
    home: PathBuf,
    journal: PathBuf,
    /// The id and directory of the volume.
    id: String,
    dir: PathBuf,
    /// What it held when the round began.
    state: State,
    anchor: Option<attach::Anchor>,
    next: u64,
    snapshots: BTreeMap<PathBuf, (String, State)>,
    clones: u64,
}

impl Run {
    fn new(scratch: &Path, store: Option<Store>) -> Self {
        let home = scratch.join(if store.is_some() { "store" } else { "home" });
        if store.is_none() {
            fs::create_dir(&home).expect("made");
        }
        let dir = home.join("volume-0");
        VolumeDevice::create(&dir, "vol-0", &key(), b"wrapped", UNITS * UNIT as u64).expect("made");
        Self {
            random: Random::new(0),
            store,
            home,
            journal: scratch.join("journal"),
            id: "vol-0".into(),
            dir,
            state: vec![NEW; UNITS as usize],
            anchor: None,
            next: 1,
            snapshots: BTreeMap::new(),
            clones: 0,
        }
    }

    fn rounds(&mut self) {
        let first = number("STRONGROOM_CRASH_SEED").unwrap_or(1) * 1_000_000;
        for seed in first..first + number("STRONGROOM_ROUNDS").unwrap_or(6) {
            self.random = Random::new(seed);
            let round = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.round(seed)));
            if let Err(panic) = round {
                self.keep(seed);
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn round(&mut self, seed: u64) {
        let _ = fs::remove_file(&self.journal);
        let begun = Journal::open(&self.journal);
        begun.tell(&Line::Begun { next: self.next });
        if let Some(anchor) = self.anchor {
            begun.tell(&Line::Anchored { anchor });
        }
        self.disturb();
        let journal = self.journal.to_str().expect("text");
        let mut child = self.start(&["work", self.dir(), &self.id, journal, &seed.to_string()]);
        let patience = if self.random.chance(4) { 30 } else { 1500 };
        thread::sleep(Duration::from_millis(self.random.below(patience)));
        self.crash(&mut child);
        self.recover_in_vain();
        self.look();
        self.tidy();
    }

    /// Some of the store's operations fail or are slow.
    fn disturb(&mut self) {
        let random = &mut self.random;
        let Some(store) = &mut self.store else { return };
        match random.below(8) {
            0 => _ = store.order(&format!("fail write+sync+rename {} 1 {}", random.below(300), libc::EIO)),
            1 => {
                _ = store.order(&format!(
                    "fail create+allocate {} {} {}",
                    random.below(4),
                    1 + random.below(9),
                    libc::ENOSPC
                ))
            }
            2 => _ = store.order(&format!("slow write+sync {}", random.below(3000))),
            3 => _ = store.order(&format!("fail read {} 1 {}", random.below(300), libc::EIO)),
            _ => {}
        }
    }

    fn crash(&mut self, child: &mut Child) {
        if let Some(store) = &mut self.store {
            if self.random.chance(2) {
                store.order(&format!("cut-in {} change", self.random.below(60)));
                for _ in 0..100 {
                    if store.order("power") == "off" {
                        break;
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            }
            // A killed process leaves what it wrote, until the power fails.
            if self.random.chance(4) {
                end(child);
            }
            store.order("cut");
        }
        end(child);
        if let Some(store) = &mut self.store {
            store.order(&format!("restart {}", self.random.number()));
        }
    }

    /// Recovery is struck as well, now and then more than once.
    fn recover_in_vain(&mut self) {
        while self.random.chance(3) {
            if let Some(store) = &mut self.store {
                store.order(&format!("cut-in {} any", self.random.below(40)));
            }
            let journal = self.journal.to_str().expect("text");
            let mut child = self.start(&["open", self.dir(), &self.id, journal]);
            thread::sleep(Duration::from_millis(self.random.below(30)));
            self.crash(&mut child);
        }
    }

    /// Opens what is left, and holds it to the journal.
    fn look(&mut self) {
        let lines = journal::read(&self.journal);
        self.next = verify::next_version(&lines);
        self.anchor = verify::last_anchor(&lines);
        self.look_at_snapshots(&lines);
        let options = Options { anchor: self.anchor, ..Options::default() };
        let device = VolumeDevice::open(&self.dir, &self.id, key(), options).expect("recovered");
        let found = read(|offset, buffer| device.read(offset, buffer).expect("authentic"));
        self.state = History::new(&self.state, &lines).check(&found);
        self.anchor = Some(device.anchor());
        assert_eq!(device.stats().authentication_failures, 0);
        if self.random.chance(2) {
            device.close().expect("closed");
            self.anchor = Some(device.anchor());
        }
    }

    fn look_at_snapshots(&mut self, lines: &[Line]) {
        for (snapshot, (id, state)) in &self.snapshots {
            let found = read_snapshot(snapshot, id).expect("whole");
            assert!(History::new(state, &[]).check(&found) == *state, "{} has changed", snapshot.display());
        }
        for (at, line) in lines.iter().enumerate() {
            let Line::Snapshot { name, base } = line else { continue };
            let path = self.home.join(name);
            let made =
                lines.iter().position(|line| matches!(line, Line::Snapped { name: made } if made == name));
            let found = match read_snapshot(&path, &self.id) {
                Err(VolumeError::NotFound) if made.is_none() => continue,
                found => found.unwrap_or_else(|error| panic!("{}: {error:?}", path.display())),
            };
            let promised = |(position, line): (usize, &Line)| {
                (position < at || !matches!(line, Line::Durable { .. })).then(|| line.clone())
            };
            let until = made.unwrap_or(lines.len());
            let known: Vec<Line> = lines[..until].iter().enumerate().filter_map(promised).collect();
            let state = History::new(&self.state, &known).at_least(*base).check(&found);
            self.snapshots.insert(path, (self.id.clone(), state));
        }
    }

    /// Removes snapshots, and goes on with a clone of one, now and then; each can be cut off in the middle.
    fn tidy(&mut self) {
        while self.snapshots.len() > SNAPSHOTS {
            let chosen = self.random.below(self.snapshots.len() as u64) as usize;
            let path = self.snapshots.keys().nth(chosen).expect("in range").clone();
            self.snapshots.remove(&path);
            self.remove(&path);
        }
        if self.random.chance(3) && !self.snapshots.is_empty() {
            let chosen = self.random.below(self.snapshots.len() as u64) as usize;
            let (path, (source, state)) = self.snapshots.iter().nth(chosen).expect("in range");
            self.clones += 1;
            let id = format!("vol-{}", self.clones);
            let dir = self.home.join(format!("volume-{}", self.clones));
            VolumeDevice::clone_from(path, source, &dir, &id, &key(), b"wrapped").expect("cloned");
            self.state = state.clone();
            self.anchor = None;
            let old = std::mem::replace(&mut self.dir, dir);
            self.id = id;
            self.remove(&old);
        }
    }

    fn remove(&mut self, dir: &Path) {
        let mut child = self.start(&["remove", dir.to_str().expect("text")]);
        thread::sleep(Duration::from_millis(self.random.below(10)));
        self.crash(&mut child);
        VolumeDevice::remove(dir).expect("removed");
        assert!(!dir.exists());
    }

    fn start(&self, arguments: &[&str]) -> Child {
        Command::new("/proc/self/exe").args(arguments).stdin(Stdio::null()).spawn().expect("started")
    }

    fn dir(&self) -> &str {
        self.dir.to_str().expect("text")
    }

    /// Keeps what is needed to understand a failure.
    fn keep(&mut self, seed: u64) {
        let kept = std::env::temp_dir().join(format!("strongroom-torture-{seed}"));
        let _ = fs::create_dir(&kept);
        let _ = fs::copy(&self.journal, kept.join("journal"));
        if let Some(store) = &mut self.store {
            store.order(&format!("recent {}", kept.join("operations").display()));
        }
        let copied = Command::new("cp").arg("-a").args([&self.home, &kept]).status();
        println!("round with seed {seed} failed; kept in {}: {copied:?}", kept.display());
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let status = child.wait().expect("waited");
    assert_ne!(status.code(), Some(3), "the volume lied");
}

fn read(mut read: impl FnMut(u64, &mut [u8])) -> Vec<Option<Stamp>> {
    let mut bytes = vec![0xee; UNITS as usize * UNIT];
    for (offset, piece) in (0..).step_by(1 << 20).zip(bytes.chunks_mut(1 << 20)) {
        read(offset, piece);
    }
    (0..)
        .zip(bytes.chunks_exact(UNIT))
        .map(|(sector, bytes)| Stamp::of(bytes, sector).expect("whole"))
        .collect()
}

fn read_snapshot(dir: &Path, id: &str) -> Result<Vec<Option<Stamp>>, VolumeError> {
    let reader = VolumeReader::open(dir, id, key(), None)?;
    Ok(read(|offset, buffer| reader.read(offset, buffer).expect("authentic")))
}

/// The lossy store, as a process.
struct Store {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Store {
    /// Nothing where it cannot be mounted.
    fn mount(scratch: &Path) -> Option<Self> {
        let (backing, target) = (scratch.join("backing"), scratch.join("store"));
        fs::create_dir(&backing).and_then(|()| fs::create_dir(&target)).expect("made");
        let mut child = Command::new("/proc/self/exe")
            .arg("store")
            .args([backing, target])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut store = Self { child, orders, answers };
        let first = store.answer();
        if first == "ready" {
            return Some(store);
        }
        let required = std::env::var("STRONGROOM_REQUIRE_ROOT_TESTS").is_ok_and(|value| value == "1");
        assert!(!required, "{first}");
        println!("skipped: {first}");
        None
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the store runs");
        line.trim_end().into()
    }

    fn order(&mut self, line: &str) -> String {
        writeln!(self.orders.as_mut().expect("until the end"), "{line}").expect("the store runs");
        let answer = self.answer();
        answer.strip_prefix("ok").unwrap_or_else(|| panic!("{line}: {answer}")).trim_start().into()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.orders.take();
        let _ = self.child.wait();
    }
}
