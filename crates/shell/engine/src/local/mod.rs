//! The machine that the server runs on, as a [`Host`].

mod starting;
mod volumes;

use std::{collections::BTreeMap, fmt::Display, fs, io, path::PathBuf, sync::Arc, time::Duration};

use aws_lc_rs::rand;
use clusters::{InstanceResourceId, Process, SnapshotResourceId, VolumeId};
use envelope::SecretBytes;
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    CloneOrder, Host, HostFault, OpenOrder, Settings, Sighting, Work, Wrapped,
    certificates::Authority,
    client::{Client, ClientFault},
    instance::Account,
    protocol::{Open, OpenSecrets, State},
    scram,
};
use starting::Starting;

/// How long an observation waits for the kernel to take the mounts of a dead process down.
const TEARDOWN: Duration = Duration::from_millis(300);

/// The processes and volumes of this machine.
#[derive(Debug)]
pub struct LocalHost(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    starting: Starting,
}

impl LocalHost {
    /// The machine, with everything below the home that `settings` names.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner { settings, starting: Starting::default() }))
    }

    /// Does blocking work off the runtime's threads.
    fn work<T: Send + 'static, E: Display>(
        &self,
        order: &'static str,
        work: impl FnOnce(&Inner) -> Result<T, E> + Send + 'static,
    ) -> Work<'_, T> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let working = spawn_blocking(move || work(&inner).map_err(|error| fault(order, &error)));
            working.await.map_err(|error| fault(order, &error))?
        })
    }
}

fn fault(order: &'static str, detail: &dyn Display) -> HostFault {
    HostFault { order, detail: detail.to_string() }
}

impl Inner {
    fn instances(&self) -> PathBuf {
        self.settings.home.join("instances")
    }

    fn volume_dir(&self, volume: &VolumeId) -> PathBuf {
        self.settings.home.join("volumes").join(volume.as_str())
    }

    fn snapshot_dir(&self, snapshot: &SnapshotResourceId) -> PathBuf {
        self.settings.home.join("snapshots").join(snapshot.as_str())
    }

    fn client(&self, id: &InstanceResourceId) -> Client {
        Client::of(&self.instances(), id)
    }

    /// The instances that have a directory.
    fn ids(&self) -> io::Result<Vec<InstanceResourceId>> {
        let entries = match fs::read_dir(self.instances()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        Ok(ids)
    }

    /// The sight of one instance; `None` and cleared away if its process is gone.
    fn sight(&self, id: &InstanceResourceId) -> Result<Option<Sighting>, HostFault> {
        let client = self.client(id);
        let observed = client.observe().map_err(|error| fault("observe", &error))?;
        let Some(state) = observed else {
            // Unless its process is just being started.
            let Some(_claim) = self.starting.claim(id) else { return Ok(None) };
            return match client.clear(TEARDOWN) {
                Ok(()) => Ok(None),
                Err(ClientFault::Lingers) => {
                    Ok(Some(Sighting { process: Process::Stopping, ..Sighting::default() }))
                }
                Err(error) => Err(fault("clear", &error)),
            };
        };
        Ok(Some(state.into()))
    }

    fn open(&self, id: &InstanceResourceId, order: OpenOrder) -> Result<(), String> {
        let client = self.client(id);
        match client.observe().map_err(|error| error.to_string())? {
            Some(State { process: Process::Opening | Process::Serving, volume: Some(volume), .. })
                if volume == order.volume =>
            {
                return Ok(());
            }
            Some(_) => {}
            None => return Err("there is no process".into()),
        }
        Account::named(&self.settings.postgres_user).map_err(|error| error.to_string())?;
        let certificate = Authority::of(&self.settings.home)
            .issue(id.as_str(), &order.host_names)
            .map_err(|error| format!("no certificate could be issued: {error}"))?;
        volumes::make_above(&self.volume_dir(&order.volume)).map_err(|error| error.to_string())?;
        let origin = volumes::origin(&self.volume_dir(&order.volume)).map_err(|error| error.to_string())?;
        let master_verifier = match &order.initial.master_password {
            None => SecretBytes::default(),
            Some(password) => {
                let mut salt = [0; 16];
                rand::fill(&mut salt).map_err(|_| "no random numbers")?;
                scram::verifier(password.expose(), &salt)
            }
        };
        let open = Open {
            volume_dir: self.volume_dir(&order.volume),
            volume: order.volume,
            origin,
            new_size: order.volume_may_be_new.then_some(self.settings.space.first),
            wrapped_key: order.wrapped_key,
            older_keys: u16::try_from(order.older_keys.len()).map_err(|_| "too many keys")?,
            postgres_bin_dir: order.postgres_bin_dir,
            postgres_user: self.settings.postgres_user.clone(),
            master_username: order.initial.master_username,
            database_name: order.initial.database_name,
            parameters: self.settings.parameters.clone(),
            certificates: certificate.chain,
            anchor: order.anchor,
            space: self.settings.space,
            memory: self.settings.memory,
        };
        let secrets = OpenSecrets {
            key: order.key,
            server_key: certificate.key,
            master_verifier,
            older_keys: order.older_keys,
        };
        client.open(open, &secrets).map_err(|error| error.to_string())
    }
}

impl Host for LocalHost {
    fn observe(&self) -> Work<'_, BTreeMap<InstanceResourceId, Sighting>> {
        Box::pin(async move {
            let ids = self.0.ids().map_err(|error| fault("observe", &error))?;
            let mut looking = JoinSet::new();
            for id in ids {
                let inner = Arc::clone(&self.0);
                looking.spawn_blocking(move || inner.sight(&id).map(|sighting| Some((id, sighting?))));
            }
            let mut seen = BTreeMap::new();
            while let Some(looked) = looking.join_next().await {
                seen.extend(looked.map_err(|error| fault("observe", &error))??);
            }
            Ok(seen)
        })
    }

    fn spawn<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        Box::pin(async move { self.0.spawn(id).await.map_err(|error| fault("spawn", &error)) })
    }

    fn open<'a>(&'a self, id: &'a InstanceResourceId, order: OpenOrder) -> Work<'a, ()> {
        let id = id.clone();
        self.work("open", move |inner| inner.open(&id, order))
    }

    fn anchored<'a>(&'a self, id: &'a InstanceResourceId, anchor: Vec<u8>) -> Work<'a, ()> {
        let id = id.clone();
        self.work("tell of an anchor", move |inner| inner.client(&id).anchored(anchor))
    }

    fn renew_key<'a>(&'a self, id: &'a InstanceResourceId, key: Wrapped) -> Work<'a, ()> {
        let id = id.clone();
        self.work("renew the key of a volume", move |inner| {
            inner.client(&id).renew_key(&key.key, key.wrapped)
        })
    }

    fn stop<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        let id = id.clone();
        self.work("stop", move |inner| inner.client(&id).stop())
    }

    fn lock<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        let id = id.clone();
        self.work("lock", move |inner| inner.client(&id).lock())
    }

    fn kill<'a>(&'a self, id: &'a InstanceResourceId) -> Work<'a, ()> {
        let id = id.clone();
        self.work("kill", move |inner| inner.client(&id).kill())
    }

    fn has_volume<'a>(&'a self, volume: &'a VolumeId) -> Work<'a, bool> {
        let dir = self.0.volume_dir(volume);
        self.work("look for a volume", move |_| io::Result::Ok(volumes::exists(&dir)))
    }

    fn clone_volume(&self, order: CloneOrder) -> Work<'_, ()> {
        let (snapshot, dir) = (self.0.snapshot_dir(&order.snapshot), self.0.volume_dir(&order.volume));
        self.work("clone a volume", move |_| volumes::clone(&snapshot, &dir, &order))
    }

    fn remove_volume<'a>(&'a self, volume: &'a VolumeId) -> Work<'a, ()> {
        let dir = self.0.volume_dir(volume);
        self.work("remove a volume", move |_| volumes::remove(&dir))
    }

    fn has_snapshot<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, bool> {
        let dir = self.0.snapshot_dir(snapshot);
        self.work("look for a snapshot", move |_| io::Result::Ok(volumes::exists(&dir)))
    }

    fn take_snapshot<'a>(
        &'a self,
        snapshot: &'a SnapshotResourceId,
        volume: &'a VolumeId,
        through: Option<&'a InstanceResourceId>,
    ) -> Work<'a, ()> {
        let (dir, to) = (self.0.volume_dir(volume), self.0.snapshot_dir(snapshot));
        let through = through.map(|id| self.0.client(id));
        self.work("take a snapshot", move |_| volumes::snapshot(&dir, &to, through.as_ref()))
    }

    fn remove_snapshot<'a>(&'a self, snapshot: &'a SnapshotResourceId) -> Work<'a, ()> {
        let dir = self.0.snapshot_dir(snapshot);
        self.work("remove a snapshot", move |_| volumes::remove(&dir))
    }
}
