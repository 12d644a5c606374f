//! Watches the space of a volume while its database runs: withholds from the file system what the host could not store,
//! lets the device grow, and tells when the volume is full ([`clusters::plan_space`]).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use attach::{AttachError, Mounted, VolumeDevice, VolumeError};
use clusters::{SpaceLimits, SpacePlan, SpaceSeen, VolumeId, plan_space};
use nix::sys::statvfs::statvfs;

use super::{
    apart::apart,
    life::chain,
    report::Report,
    withhold::{Division, FileSystem},
};
use crate::{
    postgres::{
        roles::{self, Socket},
        wal,
    },
    protocol::Counters,
};

/// How often space is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And with little of it left: this, or an eighth of the device.
const LOOK_CLOSELY: Duration = Duration::from_millis(100);
const LITTLE: u64 = 1 << 30;
/// Segments of the database's log that lie ahead of it while space is short, and how often it is checkpointed then, so
/// that those behind can be used again: without a next one the database ends.
const LOG_AHEAD: u64 = 8;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How often the volume is asked then to give the host space back.
const RECLAIM_EVERY: Duration = Duration::from_secs(2);
/// How often the counters are read, which asks for the size of every segment.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often an anchor is offered, if the log has gone on.
const ANCHOR_EVERY: Duration = Duration::from_secs(30);
/// Withheld even with space on the host: XFS's own default, for what it cannot let fail.
const LEAST_WITHHELD: u64 = 32 << 20;

/// Tells the watching thread to end.
#[derive(Debug, Default)]
pub struct End {
    over: Mutex<bool>,
    changed: Condvar,
}

impl End {
    /// Now.
    pub fn come(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for it; whether it has come in time.
    fn wait(&self, time: Duration) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(over, time, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A volume that is mounted.
#[derive(Debug)]
pub struct Watched<'a> {
    pub device: &'a VolumeDevice,
    pub mounted: &'a Mounted,
    /// The directory of the volume's files.
    pub dir: &'a Path,
    pub limits: SpaceLimits,
    pub report: &'a Report,
    /// The directory of the database's log.
    pub wal: PathBuf,
    /// Where it takes orders.
    pub socket: Socket<'a>,
    /// There is little space left.
    pub short: AtomicBool,
}

/// Why the space could not be looked at, or the volume not be made larger.
#[derive(Debug, thiserror::Error)]
enum SpaceFault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the volume does not grow")]
    Volume(#[from] VolumeError),
    #[error("the file system does not grow")]
    Attach(#[from] AttachError),
}

impl Watched<'_> {
    /// Watches until the end comes.
    pub fn watch(&self, end: &End) {
        let (mut counted, mut reclaimed, mut anchored) = (None::<Instant>, Instant::now(), Instant::now());
        let mut wait = Duration::ZERO;
        while !end.wait(wait) {
            wait = self.look_or_warn();
            if self.short.load(Relaxed) && reclaimed.elapsed() >= RECLAIM_EVERY {
                reclaimed = Instant::now();
                self.device.reclaim();
            }
            let wrapped_keys = self.device.wrapped_keys_now();
            let renewed = self.report.volume().wrapped_keys != wrapped_keys;
            self.report.tell(|volume| volume.wrapped_keys = wrapped_keys);
            if renewed || counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
                counted = Some(Instant::now());
                let counters = Counters::of(self.device);
                self.report.tell(|volume| volume.counters = counters);
            }
            if anchored.elapsed() >= ANCHOR_EVERY {
                anchored = Instant::now();
                self.report.offer(self.device.anchor().to_bytes().to_vec());
            }
        }
    }

    /// Takes checkpoints while space is short, until the end comes.
    pub fn checkpoint(&self, end: &End) {
        let mut last = None::<Instant>;
        while !end.wait(LOOK_CLOSELY) {
            if !self.short.load(Relaxed) || last.is_some_and(|at| at.elapsed() < CHECKPOINT_EVERY) {
                continue;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let taken = runtime.map(|runtime| runtime.block_on(roles::checkpoint(&self.socket)));
            if !matches!(taken, Ok(Ok(()))) {
                tracing::warn!(?taken, "a checkpoint, for want of space");
            }
            last = Some(Instant::now());
        }
    }

    fn look_or_warn(&self) -> Duration {
        match self.look() {
            Ok(left) if left < LITTLE => LOOK_CLOSELY,
            Ok(_) => LOOK_EVERY,
            Err(fault) => {
                tracing::warn!(fault = chain(&fault), "the space of the volume");
                LOOK_EVERY
            }
        }
    }

    /// Looks, and does what is planned; returns what files may still take.
    fn look(&self) -> Result<u64, SpaceFault> {
        let mount = self.mounted.path().to_owned();
        let division = apart(move || FileSystem::at(&mount)?.division())?;
        let seen = self.seen(&division)?;
        let plan = plan_space(&self.limits, &seen);
        if let Some(size) = plan.grow_to {
            self.device.grow(size)?;
            self.mounted.grow()?;
            tracing::info!(size, "the volume has grown");
            // What of the new space is withheld, the next look says, which comes soon.
            return Ok(0);
        }
        let left = seen.free - plan.withhold;
        let short = left < LITTLE.min(seen.device / 8);
        self.short.store(short, Relaxed);
        let withheld = self.withhold(&division, &plan, short);
        let damage = self.device.damage();
        self.report.tell(|volume| {
            if volume.full != plan.full {
                tracing::info!(full = plan.full, free = seen.free, host_free = seen.host_free, "space");
            }
            volume.full = plan.full;
            volume.damage = damage;
        });
        // What is told is true all the same: there may be no room even for what the log needs.
        withheld?;
        Ok(left)
    }

    fn seen(&self, division: &Division) -> io::Result<SpaceSeen> {
        let host = statvfs(self.dir)?;
        Ok(SpaceSeen {
            device: attach::BlockDevice::size(self.device),
            used: division.used,
            free: (division.free + division.withheld).saturating_sub(LEAST_WITHHELD),
            held: self.device.held(),
            host_free: host.blocks_available().saturating_mul(host.fragment_size()),
            volumes: volumes_beside(self.dir)?,
            full: self.report.volume().full,
        })
    }

    /// Withholds what is planned. While space is `short`, the database's log gets what it needs out of that.
    fn withhold(&self, division: &Division, plan: &SpacePlan, short: bool) -> io::Result<()> {
        let wished = plan.withhold + LEAST_WITHHELD;
        let as_before = wished.abs_diff(division.withheld) < 1 << 20;
        if as_before && !short {
            return Ok(());
        }
        let (mount, wal) = (self.mounted.path().to_owned(), self.wal.clone());
        apart(move || {
            let file_system = FileSystem::at(&mount)?;
            let lacking = if short { wal::lacking(&wal, LOG_AHEAD)? } else { 0 };
            let provided = if lacking > 0 {
                file_system.withhold(wished.saturating_sub(lacking).max(LEAST_WITHHELD))?;
                wal::provide(&wal, LOG_AHEAD).map(drop)
            } else {
                Ok(())
            };
            file_system.withhold(wished)?;
            provided
        })
    }
}

/// Volumes in the directory above, which share its space.
fn volumes_beside(dir: &Path) -> io::Result<u64> {
    let above = dir.parent().unwrap_or(dir);
    let names = fs::read_dir(above)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.parse::<VolumeId>().is_ok()).count() as u64)
}
