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
    process::ExitCode,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use attach::{Aborter, AttachError, MountOptions, Mounted, VolumeDevice, VolumeError};
use clusters::Process;
use nix::sys::signal::Signal;

use super::{
    account::Account,
    confined::Confined,
    database::{Database, DatabaseFault, Port},
    stage::Stage,
};
use crate::protocol::{Open, OpenSecrets, State, VERSION};

/// How long a database may take to shut down in order: it ends its sessions and writes a checkpoint.
const ORDERLY: Duration = Duration::from_secs(60);
/// And to shut down at once.
const IMMEDIATE: Duration = Duration::from_secs(5);
/// How long locking waits for the working thread to see that all is over; what it holds is wiped already.
const LAST_STEPS: Duration = Duration::from_millis(150);

/// An instance.
#[derive(Debug)]
pub struct Life {
    stage: Stage,
    lock: BorrowedFd<'static>,
    shared: Mutex<Shared>,
    changed: Condvar,
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
}

impl Life {
    /// An idle instance.
    pub fn new(stage: Stage, lock: BorrowedFd<'static>) -> Self {
        let state = State { version: VERSION, process: Process::Idle, ..State::default() };
        let shared = Mutex::new(Shared { state, ..Shared::default() });
        Self { stage, lock, shared, changed: Condvar::new() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the instance does.
    pub fn state(&self) -> State {
        self.shared().state.clone()
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
        let device = {
            let shared = self.shared();
            if shared.state.process != Process::Serving {
                return Err(Refused::Busy(shared.state.process));
            }
            shared.device.clone().ok_or(Refused::NotOpen)?
        };
        device.snapshot(to).map_err(|error| Refused::Snapshot(chain(&error)))
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
        let OpenSecrets { key, server_key, master_verifier } = secrets;
        let account = Account::named(&order.postgres_user)?;
        let (dir, id) = (order.volume_dir.as_path(), order.volume.as_str());
        if let Some(size) = order.new_size
            && !VolumeDevice::exists(dir)
        {
            VolumeDevice::create(dir, id, &key, &order.wrapped_key, size)?;
        }
        let device = Sealed(VolumeDevice::open(dir, id, key, attach::Options::default())?);
        self.hold(|shared| shared.device = Some(Arc::clone(&device.0)))?;
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
        let ran = self.run(&database, server_key, &master_verifier);
        if self.shared().wish == Wish::Lock {
            return Err(Failure::Ending);
        }
        let closed = mounted.unmount().map_err(Failure::from).and_then(|()| Ok(device.0.close()?));
        ran.and(closed)
    }

    /// Runs the database; returns when it has ended as wished.
    fn run(
        &self,
        database: &Database<'_>,
        server_key: envelope::SecretBytes,
        verifier: &envelope::SecretBytes,
    ) -> Result<(), Failure> {
        let port = Port::reserve()?;
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
        let status = postgres.wait(None).unwrap_or_default();
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
