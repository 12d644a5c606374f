//! Starting the process of an instance.

use std::{
    collections::HashSet,
    io,
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use clusters::InstanceResourceId;
use tokio::{process::Command, time::sleep};

use super::Inner;

/// How long a process may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// Instances whose directory is in use by a start or by a clearing; the two must not meet.
#[derive(Debug, Default)]
pub struct Starting(Mutex<HashSet<InstanceResourceId>>);

/// Held while an instance's directory is in use.
#[derive(Debug)]
pub struct Claim<'a> {
    all: &'a Starting,
    id: InstanceResourceId,
}

impl Starting {
    fn set(&self) -> MutexGuard<'_, HashSet<InstanceResourceId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims an instance's directory, unless it is claimed.
    pub fn claim(&self, id: &InstanceResourceId) -> Option<Claim<'_>> {
        self.set().insert(id.clone()).then(|| Claim { all: self, id: id.clone() })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.all.set().remove(&self.id);
    }
}

impl Inner {
    /// Starts the process of an instance and waits until it answers; one that runs already is left alone.
    pub(super) async fn spawn(&self, id: &InstanceResourceId) -> io::Result<()> {
        let Some(_claim) = self.starting.claim(id) else {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "the instance is being started or cleared",
            ));
        };
        let dir = self.client(id).dir().clone();
        if dir.process()?.is_none() {
            dir.create()?;
            let (out, err) = (dir.log()?, dir.log()?);
            let mut child = Command::new(&self.settings.program)
                .arg("instance")
                .arg("--dir")
                .arg(dir.path())
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .envs(std::env::var_os("RUST_LOG").map(|value| ("RUST_LOG", value)))
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err)
                .kill_on_drop(false)
                .spawn()?;
            let name = id.clone();
            // It outlives this server; while both live, somebody has to take note of its end.
            tokio::spawn(async move {
                let status = child.wait().await;
                tracing::info!(instance = %name, ?status, "the process of an instance ended");
            });
        }
        let begun = Instant::now();
        while dir.connect(PATIENCE).is_err() {
            if begun.elapsed() > PATIENCE
                || (begun.elapsed() > Duration::from_secs(1) && dir.is_deserted()?)
            {
                let log = std::fs::read_to_string(dir.path().join("instance.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it said nothing");
                return Err(io::Error::other(format!("the process does not start: {last}")));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_by_one_at_a_time() {
        let starting = Starting::default();
        let id: InstanceResourceId = "db-A".parse().unwrap();
        let claim = starting.claim(&id).unwrap();
        assert!(starting.claim(&id).is_none());
        assert!(starting.claim(&"db-B".parse().unwrap()).is_some());
        drop(claim);
        assert!(starting.claim(&id).is_some());
    }
}
