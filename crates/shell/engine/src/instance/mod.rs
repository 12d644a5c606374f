//! The process of one instance. It outlives the server that started it, and holds what nobody else may: the volume key,
//! the mount and the database.

mod account;
mod apart;
mod confined;
mod control;
mod database;
mod life;
mod marker;
mod report;
mod scrub;
mod space;
mod stage;
mod withhold;

use std::{env, fs, io, path::Path, process::ExitCode, sync::Arc, thread, time::Duration};

use clusters::InstanceResourceId;
use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigSet, Signal},
        stat::{Mode, umask},
    },
    unistd::setsid,
};

pub use account::Account;
use life::Life;
pub use life::chain;
pub use stage::Stage;

use crate::instance_dir::InstanceDir;

/// How long the remains of an earlier process of the instance are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the process looks whether its directory is still there.
const WATCH: Duration = Duration::from_secs(2);

/// Why the process cannot begin.
#[derive(Debug, thiserror::Error)]
enum CannotBegin {
    #[error("the directory is not named after an instance")]
    Name,
    #[error("cannot enter a namespace")]
    Namespace(#[from] attach::AttachError),
    #[error("the system")]
    Io(#[from] io::Error),
}

/// Runs the process of an instance until it is told to end. `dir` is the instance's directory, named after it. To be
/// called before any thread is started and any file is opened: the process moves to namespaces of its own, and closes
/// all but its standard files.
pub fn run_instance(dir: &Path) -> ExitCode {
    match begin(dir) {
        Ok(life) => life.wait_for_end(),
        Err(error) => {
            tracing::error!(error = chain(&error), dir = %dir.display(), "the instance cannot begin");
            ExitCode::FAILURE
        }
    }
}

fn begin(dir: &Path) -> Result<Arc<Life>, CannotBegin> {
    apart::part_files(None)?;
    umask(Mode::from_bits_truncate(0o077));
    match setsid() {
        // Whoever started it has done that.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(io::Error::from(errno).into()),
    }
    let dir = dir.canonicalize()?;
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let id: InstanceResourceId = name.parse().map_err(|_| CannotBegin::Name)?;
    let dir = InstanceDir::at(dir);
    env::set_current_dir("/")?;
    let lock = dir.lock(PATIENCE)?;
    attach::enter_private_namespace()?;
    let hardening = attach::harden_io_process();
    if !hardening.locked || !hardening.not_dumpable {
        tracing::warn!(?hardening, "the memory of the process is not protected fully");
    }
    spare_when_memory_runs_out();
    raise_open_files()?;
    let stage = Stage::of(&id);
    stage.set_up()?;
    let life = Arc::new(Life::new(stage, lock.keep()));
    take_signals(&life)?;
    let listener = dir.listen()?;
    let (served, watched) = (Arc::clone(&life), Arc::clone(&life));
    thread::Builder::new().name("watch".into()).spawn(move || watch(&dir, &watched))?;
    thread::Builder::new().name("listen".into()).spawn(move || control::serve(&listener, &served))?;
    Ok(life)
}

/// A process that serves a volume is no good victim: everybody who waits for the volume would hang on it. Databases are
/// victims like any other.
fn spare_when_memory_runs_out() {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-900") {
        tracing::warn!(%error, "the process is not spared when memory runs out");
    }
}

/// A large volume has more segments than a process may usually open files.
fn raise_open_files() -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// Stops the instance when its directory is gone: nobody could find it any more, and it would keep its volume for ever.
fn watch(dir: &InstanceDir, life: &Arc<Life>) {
    while dir.is_there() {
        thread::sleep(WATCH);
    }
    tracing::error!("the directory of the instance is gone");
    life.stop();
}

/// Lets the signals that ask processes to end, as at the shutdown of the machine, stop the instance in order. Threads
/// started later inherit that they do not take them.
fn take_signals(life: &Arc<Life>) -> io::Result<()> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    let life = Arc::clone(life);
    thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(signal) = signals.wait() {
            tracing::info!(%signal, "told to end");
            life.stop();
        }
    })?;
    Ok(())
}
