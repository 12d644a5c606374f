//! The server's side of an instance's control socket, and the ways to end its process.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use clusters::{InstanceResourceId, Process};
use nix::sys::signal::Signal;
use volume::VolumeKey;

use crate::{
    instance::Stage,
    instance_dir::InstanceDir,
    protocol::{
        Open, OpenSecrets, Order, Reply, Request, State, VERSION, read_message, write_key, write_message,
        write_secrets,
    },
};

/// How long a process may take to answer before it counts as hanging, and is ended for it.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a process may take to lock itself before it is killed.
const LOCK_PATIENCE: Duration = Duration::from_millis(400);
/// How long the kernel may take to let go of what a killed process had.
const KERNEL_PATIENCE: Duration = Duration::from_secs(10);
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(300);
/// How long a volume may take to name another key. No longer: a loss of access to that key waits meanwhile. One that is slower
/// goes on, and says when it is asked again that it is done.
const RENEWAL_PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// Why an order did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    #[error("the process refused: {0}")]
    Refused(String),
    #[error("the process does not end")]
    Lingers,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("what a dead process left behind cannot be cleared: {0}")]
    Leftovers(#[from] attach::AttachError),
}

/// One instance, seen from the server. Every method may block.
#[derive(Clone, Debug)]
pub struct Client {
    id: InstanceResourceId,
    dir: InstanceDir,
}

impl Client {
    /// The instance with a directory below `instances`.
    pub fn of(instances: &Path, id: &InstanceResourceId) -> Self {
        Self { id: id.clone(), dir: InstanceDir::at(instances.join(id.as_str())) }
    }

    /// Its directory.
    pub const fn dir(&self) -> &InstanceDir {
        &self.dir
    }

    /// What the instance does. A process that does not answer is broken; `None`: nothing of it is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn observe(&self) -> Result<Option<State>, ClientFault> {
        let begun = Instant::now();
        loop {
            match self.ask(Order::Observe, PATIENCE) {
                Ok(Reply::State(state)) => return Ok(Some(state)),
                Ok(_) => return Ok(Some(silent("the process gives no sensible answer"))),
                Err(_) if self.dir.is_deserted()? => return Ok(None),
                // It starts, or ends.
                Err(_) if begun.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(error) => return Ok(Some(silent(&format!("the process does not answer: {error}")))),
            }
        }
    }

    /// Hands over the key.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn open(&self, order: Open, secrets: &OpenSecrets) -> Result<(), ClientFault> {
        let mut connection = self.dir.connect(PATIENCE)?;
        write_message(&mut connection, &Request { version: VERSION, order: Order::Open(Box::new(order)) })?;
        write_secrets(&mut connection, secrets)?;
        done(read_message(&mut connection)?)
    }

    /// Asks for a snapshot of the open volume.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn snapshot(&self, to: &Path) -> Result<(), ClientFault> {
        done(self.ask(Order::Snapshot { to: to.into() }, SNAPSHOT_PATIENCE)?)
    }

    /// Has the open volume sealed under another key.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn renew_key(&self, key: &VolumeKey, wrapped_key: Vec<u8>) -> Result<(), ClientFault> {
        let mut connection = self.dir.connect(RENEWAL_PATIENCE)?;
        write_message(
            &mut connection,
            &Request { version: VERSION, order: Order::RenewKey { wrapped_key } },
        )?;
        write_key(&mut connection, key)?;
        done(read_message(&mut connection)?)
    }

    /// Tells that the anchor of the volume is kept.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn anchored(&self, anchor: Vec<u8>) -> Result<(), ClientFault> {
        done(self.ask(Order::Anchored { anchor }, PATIENCE)?)
    }

    /// Asks to shut down in order. An instance that is not there is down.
    ///
    /// # Errors
    /// [`ClientFault`].
    pub fn stop(&self) -> Result<(), ClientFault> {
        match self.ask(Order::Stop, PATIENCE) {
            Ok(reply) => done(reply),
            Err(_) if self.dir.process()?.is_none() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Locks the instance: lets it wipe its key itself if it does so at once, and kills it otherwise.
    ///
    /// # Errors
    /// [`ClientFault`] if something of it may still be there.
    pub fn lock(&self) -> Result<(), ClientFault> {
        let Some(process) = self.dir.process()? else { return self.clear(KERNEL_PATIENCE) };
        let asked = Instant::now();
        let answered = self.ask(Order::Lock, LOCK_PATIENCE).is_ok();
        if !answered || !process.wait(LOCK_PATIENCE.saturating_sub(asked.elapsed()))? {
            tracing::warn!(instance = %self.id, answered, "killing a process that does not lock itself");
            process.signal(Signal::SIGKILL)?;
        }
        if process.wait(KERNEL_PATIENCE)? { self.clear(KERNEL_PATIENCE) } else { Err(ClientFault::Lingers) }
    }

    /// Kills the process.
    ///
    /// # Errors
    /// [`ClientFault`] if something of it may still be there.
    pub fn kill(&self) -> Result<(), ClientFault> {
        if let Some(process) = self.dir.process()? {
            process.signal(Signal::SIGKILL)?;
            if !process.wait(KERNEL_PATIENCE)? {
                return Err(ClientFault::Lingers);
            }
        }
        self.clear(KERNEL_PATIENCE)
    }

    /// Clears what a process that is gone has left: its socket and log, as a rule. The kernel may still be taking its
    /// mounts down; that is waited for up to `patience`.
    ///
    /// # Errors
    /// [`ClientFault::Lingers`] if something of it is still there.
    pub fn clear(&self, patience: Duration) -> Result<(), ClientFault> {
        let begun = Instant::now();
        if !self.dir.wait_until_deserted(patience)? {
            return Err(ClientFault::Lingers);
        }
        let stage = Stage::of(&self.id);
        while !attach::find_leftovers(stage.path())?.is_empty() {
            if begun.elapsed() >= patience {
                // Nobody is left who would: the process is gone, and so are all that it started.
                let left = attach::clear_leftovers(stage.path())?;
                tracing::warn!(instance = %self.id, left, "clearing loop devices of a process that died");
                return Err(ClientFault::Lingers);
            }
            thread::sleep(PAUSE);
        }
        Ok(self.dir.remove()?)
    }

    fn ask(&self, order: Order, patience: Duration) -> io::Result<Reply> {
        let mut connection = self.dir.connect(patience)?;
        write_message(&mut connection, &Request { version: VERSION, order })?;
        read_message(&mut connection)
    }
}

fn done(reply: Reply) -> Result<(), ClientFault> {
    match reply {
        Reply::Done { .. } => Ok(()),
        Reply::Refused { detail, .. } => Err(ClientFault::Refused(detail)),
        Reply::State(_) | Reply::Scrub(_) => Err(ClientFault::Refused("it gave another answer".into())),
    }
}

/// The state of a process of which nothing else is known.
fn silent(failure: &str) -> State {
    State { process: Process::Broken, failure: Some(failure.into()), ..State::default() }
}
