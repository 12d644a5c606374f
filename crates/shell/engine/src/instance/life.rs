//! The life of an instance: idle, opening, serving, stopping; or broken. One thread opens the volume, runs the database
//! and closes the volume again, in a straight line ([`Life::work`]); orders to stop or to lock come from other threads
//! and reach it through what they end: the database's processes, the mount, the device.
//!
//! INVARIANT: `Idle` and `Broken` hold no key and no mount. Whatever the working thread makes that could outlive its
//! wish is put into [`Shared`] at once, where a lock finds it; after a wish has changed nothing new is put there.

use std::{
    io,
    os::fd::BorrowedFd,
    path::Path,
    process::{ExitCode, ExitStatus},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    thread,
    time::Duration,
};

use attach::{Aborter, AttachError, MountOptions, Mounted, Observe, Progress, VolumeDevice, VolumeError};
use clusters::Process;
use nix::sys::signal::Signal;

use super::{
    account::Account,
    confined::Confined,
    database::{Database, DatabaseFault, Port},
    report::Report,
    space::{self, Watched},
    stage::Stage,
};
use crate::postgres::roles::Socket;
use crate::protocol::{Counters, Open, OpenSecrets, State, VERSION};
use volume::VolumeKey;

/// How long a database may take to shut down in order: it ends its sessions and writes a checkpoint.
const ORDERLY: Duration = Duration::from_secs(60);
/// And to shut down at once.
const IMMEDIATE: Duration = Duration::from_secs(5);
/// How long locking waits for the working thread to see that all is over; what it holds is wiped already.
const LAST_STEPS: Duration = Duration::from_millis(150);
/// How long the anchor of a volume that is closed waits for a server to keep it. Without, the volume may be put back to
/// the anchor before.
const LAST_ANCHOR: Duration = Duration::from_secs(5);

/// An instance.
#[derive(Debug)]
pub struct Life {
    stage: Stage,
    lock: BorrowedFd<'static>,
    shared: Mutex<Shared>,
    changed: Condvar,
    /// Held by whoever checks the volume.
    scrubbing: Mutex<()>,
    /// Held by whoever begins to renew its key.
    renewing: Mutex<()>,
    report: Report,
}

#[derive(Debug, Default)]
struct Shared {
    state: State,
    wish: Wish,
    device: Option<Arc<VolumeDevice>>,
    mount: Option<Aborter>,
    program: Option<Confined>,
    /// The working thread is at work.
    working: bool,
    ended: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Wish {
    #[default]
    Serve,
    Stop,
    Lock,
}

/// Why an instance does not serve.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the volume cannot be opened")]
    Volume(#[from] VolumeError),
    #[error("the volume cannot be attached")]
    Attach(#[from] AttachError),
    #[error("the database cannot be run")]
    Database(#[from] DatabaseFault),
    #[error("the instance is to end")]
    Ending,
    #[error("the system")]
    Io(#[from] io::Error),
}

/// The order cannot be followed now.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the instance has another volume")]
    OtherVolume,
    #[error("the instance is {0:?}")]
    Busy(Process),
    #[error("the instance has no open volume")]
    NotOpen,
    #[error("the snapshot could not be taken: {0}")]
    Snapshot(String),
    #[error("the volume is being checked already")]
    Scrubbing,
    #[error("the volume could not be checked: {0}")]
    Scrub(String),
    #[error("the volume is about to take another key already")]
    Renewing,
    #[error("the volume took no other key: {0}")]
    Renew(String),
}

impl Life {
    /// An idle instance.
    pub fn new(stage: Stage, lock: BorrowedFd<'static>) -> Self {
        let state = State { version: VERSION, process: Process::Idle, ..State::default() };
        let shared = Mutex::new(Shared { state, ..Shared::default() });
        Self {
            stage,
            lock,
            shared,
            changed: Condvar::new(),
            scrubbing: Mutex::new(()),
            renewing: Mutex::new(()),
            report: Report::default(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the instance does.
    pub fn state(&self) -> State {
        State { open: self.report.volume(), ..self.shared().state.clone() }
    }

    /// What is told of the volume.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Takes the key and begins to open the volume; repeated for the same volume it does nothing.
    ///
    /// # Errors
    /// [`Refused`]; the secrets are wiped.
    pub fn open(self: &Arc<Self>, order: Open, secrets: OpenSecrets) -> Result<(), Refused> {
        let mut shared = self.shared();
        match shared.state.process {
            Process::Idle if shared.wish == Wish::Serve => {}
            Process::Opening | Process::Serving if shared.state.volume.as_ref() == Some(&order.volume) => {
                return Ok(());
            }
            Process::Opening | Process::Serving => return Err(Refused::OtherVolume),
            other => return Err(Refused::Busy(other)),
        }
        shared.state.process = Process::Opening;
        shared.state.volume = Some(order.volume.clone());
        shared.working = true;
        let life = Arc::clone(self);
        let started = thread::Builder::new().name("work".into()).spawn(move || life.work(&order, secrets));
        if let Err(error) = started {
            shared.working = false;
            shared.state.process = Process::Broken;
            shared.state.failure = Some(error.to_string());
        }
        Ok(())
    }

    /// Begins to shut down in order; the process ends when that is done.
    pub fn stop(self: &Arc<Self>) {
        let mut shared = self.shared();
        if !shared.working {
            drop(shared);
            return self.end(0);
        }
        if shared.wish != Wish::Serve {
            return;
        }
        // Before it serves, nothing that anyone was told of can be lost.
        let in_order = shared.state.process == Process::Serving;
        if !in_order {
            self.report.end();
        }
        shared.wish = Wish::Stop;
        shared.state.process = Process::Stopping;
        shared.state.port = None;
        let Some(program) = shared.program.clone() else { return };
        drop(shared);
        let shut_down = move || {
            let ends =
                |signal, patience| program.signal(signal).is_ok() && program.wait(Some(patience)).is_some();
            let ended = in_order && (ends(Signal::SIGINT, ORDERLY) || ends(Signal::SIGQUIT, IMMEDIATE));
            if !ended {
                let _ = program.signal(Signal::SIGKILL);
            }
        };
        if let Err(error) = thread::Builder::new().name("stop".into()).spawn(shut_down) {
            tracing::error!(%error, "no thread to shut the database down");
            self.lock();
            self.end(1);
        }
    }

    /// Kills the database, cuts the volume off and wipes its key. The process has to end then ([`Life::end`]).
    pub fn lock(&self) {
        let mut shared = self.shared();
        shared.wish = Wish::Lock;
        shared.state.process = Process::Stopping;
        shared.state.port = None;
        self.report.end();
        let (program, mount, device) = (shared.program.clone(), shared.mount.clone(), shared.device.clone());
        drop(shared);
        if let Some(program) = program {
            let _ = program.signal(Signal::SIGKILL);
        }
        // Its processes may wait for the volume, and die only when that fails.
        if let Some(mount) = mount {
            mount.abort();
        }
        if let Some(device) = device {
            device.lock();
        }
        let shared = self.shared();
        drop(self.changed.wait_timeout_while(shared, LAST_STEPS, |shared| shared.working));
    }

    /// Takes a snapshot of the open volume.
    ///
    /// # Errors
    /// [`Refused`]; there is no snapshot then.
    pub fn snapshot(&self, to: &Path) -> Result<(), Refused> {
        self.device()?.snapshot(to).map_err(|error| Refused::Snapshot(chain(&error)))
    }

    /// Checks the open volume, one check at a time.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn scrub(&self, observe: &mut Observe<'_>) -> Result<Progress, Refused> {
        let device = self.device()?;
        let _alone = self.scrubbing.try_lock().map_err(|_| Refused::Scrubbing)?;
        let (progress, _) = device.scrub(observe).map_err(|error| Refused::Scrub(chain(&error)))?;
        Ok(progress)
    }

    /// Begins to renew the key of the open volume, unless its header names this one already.
    ///
    /// # Errors
    /// [`Refused`]; whether the header names the key then is told with the state.
    pub fn renew_key(&self, key: VolumeKey, wrapped_key: &[u8]) -> Result<(), Refused> {
        let device = self.device()?;
        let _alone = self.renewing.try_lock().map_err(|_| Refused::Renewing)?;
        if device.wrapped_keys_now().last().is_none_or(|newest| newest != wrapped_key) {
            let renewed = device.renew_key(key, wrapped_key);
            renewed.map_err(|error| Refused::Renew(chain(&error)))?;
            tracing::info!("sealing the volume under a new key");
        }
        let (counters, wrapped_keys) = (Counters::of(&device), device.wrapped_keys_now());
        self.report.tell(|volume| (volume.counters, volume.wrapped_keys) = (counters, wrapped_keys));
        Ok(())
    }

    /// The volume, while it serves.
    fn device(&self) -> Result<Arc<VolumeDevice>, Refused> {
        let shared = self.shared();
        if shared.state.process != Process::Serving {
            return Err(Refused::Busy(shared.state.process));
        }
        shared.device.clone().ok_or(Refused::NotOpen)
    }

    /// Ends the process.
    pub fn end(&self, status: u8) {
        self.shared().ended.get_or_insert(status);
        self.changed.notify_all();
    }

    /// Waits for the end of the process.
    pub fn wait_for_end(&self) -> ExitCode {
        let mut shared = self.shared();
        loop {
            if let Some(status) = shared.ended {
                return ExitCode::from(status);
            }
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The working thread.
    fn work(&self, order: &Open, secrets: OpenSecrets) {
        let outcome = self.serve(order, secrets);
        let mut shared = self.shared();
        shared.working = false;
        shared.state.port = None;
        (shared.device, shared.mount, shared.program) = (None, None, None);
        let stopped = match (&outcome, shared.wish) {
            (_, Wish::Lock) => None,
            (Ok(()) | Err(Failure::Ending), Wish::Stop) => Some(0),
            (Err(failure), Wish::Stop) => {
                tracing::error!(failure = chain(failure), "the volume was not closed in order");
                Some(1)
            }
            (outcome, Wish::Serve) => {
                let failure =
                    outcome.as_ref().err().map_or_else(|| "the database ended".into(), |f| chain(f));
                tracing::error!(failure, "the instance is broken");
                shared.state.process = Process::Broken;
                shared.state.failure = Some(failure);
                shared.state.refused = outcome.as_ref().is_err_and(Failure::is_refusal);
                None
            }
        };
        drop(shared);
        self.changed.notify_all();
        if let Some(status) = stopped {
            self.end(status);
        }
    }

    /// Opens the volume, runs the database on it until it ends, and closes the volume.
    fn serve(&self, order: &Open, secrets: OpenSecrets) -> Result<(), Failure> {
        let OpenSecrets { key, server_key, master_verifier, older_keys } = secrets;
        let account = Account::named(&order.postgres_user)?;
        let (dir, id) = (order.volume_dir.as_path(), order.volume.as_str());
        if let Some(size) = order.new_size
            && !VolumeDevice::exists(dir)
        {
            VolumeDevice::create(dir, id, &key, &order.wrapped_key, size)?;
        }
        let mut keys = older_keys;
        keys.push(key);
        let device = Sealed(VolumeDevice::open(dir, id, keys, options(order)?)?);
        self.hold(|shared| shared.device = Some(Arc::clone(&device.0)))?;
        self.offer_anchor(&device.0);
        // Nothing is served that could be put back to before this moment.
        if !self.report.wait_until_kept(None) {
            return Err(Failure::Ending);
        }
        let mounted =
            Mounted::mount(Arc::clone(&device.0) as _, self.stage.path(), &MountOptions::default())?;
        self.hold(|shared| shared.mount = Some(mounted.aborter()))?;
        let database = Database {
            stage: &self.stage,
            order,
            account,
            lock: self.lock,
            atomic_pages: mounted.block_size() == 8192,
        };
        let port = Port::reserve()?;
        let server = self.stage.server();
        let watched = Watched {
            device: &device.0,
            mounted: &mounted,
            dir,
            limits: order.space,
            report: &self.report,
            wal: self.stage.data().join("pg_wal"),
            socket: Socket { dir: &server, port: port.number },
            short: AtomicBool::new(false),
        };
        let ran = self.run(&database, &watched, &port, server_key, &master_verifier);
        if self.shared().wish == Wish::Lock {
            return Err(Failure::Ending);
        }
        let closed = mounted.unmount().map_err(Failure::from).and_then(|()| Ok(device.0.close()?));
        if closed.is_ok() {
            self.offer_anchor(&device.0);
            if !self.report.wait_until_kept(Some(LAST_ANCHOR)) {
                tracing::warn!("no server has kept the last anchor of the volume");
            }
        }
        ran.and(closed)
    }

    /// Tells where the volume's log stands.
    fn offer_anchor(&self, device: &VolumeDevice) {
        self.report.offer(device.anchor().to_bytes().to_vec());
        let counters = Counters::of(device);
        let wrapped_keys = device.wrapped_keys_now();
        self.report.tell(|volume| (volume.counters, volume.wrapped_keys) = (counters, wrapped_keys));
    }

    /// Runs the database; returns when it has ended as wished.
    fn run(
        &self,
        database: &Database<'_>,
        watched: &Watched<'_>,
        port: &Port,
        server_key: envelope::SecretBytes,
        verifier: &envelope::SecretBytes,
    ) -> Result<(), Failure> {
        if !database.prepare(server_key, port.number)? {
            tracing::info!("making a database");
            let initdb = self.start(|| database.start_initdb())?;
            let status = initdb.wait(None).unwrap_or_default();
            self.hold(|shared| shared.program = None)?;
            database.finish_initdb(status)?;
        }
        let postgres = self.start(|| database.start_postgres())?;
        let up = database.wait_until_up(&postgres, port.number, verifier);
        let up = up.map_err(Failure::from).and_then(|()| {
            self.hold(|shared| {
                shared.state.process = Process::Serving;
                shared.state.port = Some(port.number);
            })
        });
        if up.is_err() {
            let _ = postgres.signal(Signal::SIGKILL);
        } else {
            tracing::info!(port = port.number, "serving");
        }
        let (up, status) = match up {
            Ok(()) => watch_until_ended(watched, &postgres),
            Err(failure) => (Err(failure), postgres.wait(None).unwrap_or_default()),
        };
        up?;
        match self.shared().wish {
            Wish::Serve => Err(database.ended("postgres", status).into()),
            Wish::Stop | Wish::Lock => Ok(()),
        }
    }

    /// Starts a program, so that a lock finds it: none is started while one decides.
    fn start(&self, start: impl FnOnce() -> io::Result<Confined>) -> Result<Confined, Failure> {
        let mut shared = self.shared();
        if shared.wish != Wish::Serve {
            return Err(Failure::Ending);
        }
        let program = start()?;
        shared.program = Some(program.clone());
        Ok(program)
    }

    /// Notes something, unless the wish has changed.
    fn hold(&self, note: impl FnOnce(&mut Shared)) -> Result<(), Failure> {
        let mut shared = self.shared();
        if shared.wish != Wish::Serve {
            return Err(Failure::Ending);
        }
        note(&mut shared);
        Ok(())
    }
}

/// Watches the volume until the database ends; without that it may not run.
fn watch_until_ended(watched: &Watched<'_>, postgres: &Confined) -> (Result<(), Failure>, ExitStatus) {
    let end = space::End::default();
    thread::scope(|threads| {
        let watching =
            thread::Builder::new().name("space".into()).spawn_scoped(threads, || watched.watch(&end));
        let checkpoints = thread::Builder::new()
            .name("checkpoint".into())
            .spawn_scoped(threads, || watched.checkpoint(&end));
        let watching = watching.and(checkpoints);
        if watching.is_err() {
            let _ = postgres.signal(Signal::SIGKILL);
        }
        let status = postgres.wait(None).unwrap_or_default();
        end.come();
        (watching.map(drop).map_err(Failure::from), status)
    })
}

/// How the volume is opened.
fn options(order: &Open) -> Result<attach::Options, VolumeError> {
    let unwritten = order.memory.unwritten;
    Ok(attach::Options {
        node_cache: order.memory.node_cache,
        write_behind: unwritten / 4,
        pending_limit: unwritten,
        anchor: order.anchor.as_deref().map(volume::Anchor::from_bytes).transpose()?,
        ..attach::Options::default()
    })
}

impl Failure {
    /// What is wrong is in the volume's files.
    const fn is_refusal(&self) -> bool {
        use VolumeError as E;
        match self {
            Self::Volume(error) => matches!(
                error,
                E::RolledBack { .. }
                    | E::Damaged(_)
                    | E::WrongVolume { .. }
                    | E::WrongKey
                    | E::UnknownVersion(_)
                    | E::NotFound
            ),
            _ => false,
        }
    }
}

/// An open volume, whose keys are wiped when it goes, whoever else still has the device.
struct Sealed(Arc<VolumeDevice>);

impl Drop for Sealed {
    fn drop(&mut self) {
        self.0.lock();
    }
}

/// The text of an error and of what caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
