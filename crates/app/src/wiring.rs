//! Which parts there are, and who gets whom: the one place that knows all of them.

use std::{sync::Arc, time::Duration};

use api_iam::Iam;
use api_kms::{KeyChange, Kms};
use api_rds::{Doors, Rds, Sealer, Unsealable};
use archive::{Archive, Location, Seal};
use audit::Trail;
use custody::Custody;
use engine::{LocalHost, LocalTransfers};
use envelope::{DoesNotOpen, SystemEntropy};
use front::{Directory, Endpoint, Pipeline, Router};
use ids::{Clock, Regions};
use store::Store;
use tokio::{
    net::UnixListener,
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    task::JoinSet,
};
use zeroize::Zeroizing;

use crate::{
    admin, cli::Failure, config::Config, home::Home, key_service::LocalKeyService, system::SystemClock,
};

/// How often the key service looks for deletions and rotations that are due; what is due at once it says itself.
const KMS_PERIOD: Duration = Duration::from_secs(30);

/// The services over the state of a home; nothing runs by itself yet.
pub struct Core {
    iam: Arc<Iam>,
    kms: Arc<Kms>,
    rds: Arc<Rds>,
    store: Store,
    trail: Arc<Trail>,
    pipeline: Arc<Pipeline>,
    clock: Arc<dyn Clock>,
    regions: Regions,
}

impl Core {
    /// Opens the state of a home, and closes what a crash interrupted.
    ///
    /// # Errors
    /// Damaged state, a root key that is not the state's, or settings of external key stores that cannot be used.
    pub async fn open(
        home: &Home,
        config: &Config,
        custody: Custody,
        snapshots: Option<Location>,
    ) -> Result<Self, Failure> {
        let proxies = xks::Proxies::new(&config.external_key_stores)
            .map_err(|error| Failure::usage(format!("external_key_stores.{error}")))?;
        let custody = Arc::new(custody);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(&home.state()).await?;
        // Opens every secret access key: a root key that is not the state's ends here, with nothing written.
        let iam = match Iam::load(store.clone(), Arc::clone(&custody), Arc::clone(&clock)).await {
            Ok(iam) => iam,
            Err(error) => {
                store.close().await;
                return Err(error.into());
            }
        };
        let trail = Arc::new(Trail::open(&home.trail()).await?);
        let directory: Arc<dyn Directory> = Arc::clone(&iam) as _;
        let kms = Kms::load(
            store.clone(),
            Arc::clone(&custody),
            Arc::clone(&trail),
            Arc::clone(&clock),
            Arc::clone(&directory),
            Arc::new(proxies),
        );
        let kms = kms.await?;
        let regions = config.served(kms.regions());
        let kms = Arc::new(kms.with_quotas(config.quotas).serving(regions.clone()));
        api_trail::close_interrupted(&trail, &store, clock.now()).await?;

        let pipeline = Arc::new(Pipeline::new(directory, Arc::clone(&trail), Arc::clone(&clock)));
        let keys = LocalKeyService::new(Arc::clone(&pipeline), Arc::clone(&kms));
        let reserve = config.clusters.volume_reserve_mib << 20;
        let archive =
            snapshots.map(|at| Archive::at(&at, Arc::new(RootSealer(Arc::clone(&custody)))).leaving(reserve));
        let doors = Doors {
            store: store.clone(),
            trail: Arc::clone(&trail),
            keys: Arc::new(keys),
            host: Arc::new(local_host(home, config)?),
            transfers: Arc::new(LocalTransfers::new(home.path(), archive)),
            sealer: Arc::new(RootSealer(custody)),
            entropy: Arc::new(SystemEntropy),
            clock: Arc::clone(&clock),
        };
        let rds = cluster_service(home, config, doors).await;
        pipeline.metrics().collect(rds.volume_metrics());
        Ok(Self { iam, kms, rds, store, trail, pipeline, clock, regions })
    }

    /// The cluster service.
    pub fn rds(&self) -> &Rds {
        &self.rds
    }

    /// Closes the state.
    pub async fn close(&self) {
        self.trail.close().await;
        self.store.close().await;
    }
}

/// Every service of a running server, and its workers.
pub struct Services {
    endpoint: Arc<Endpoint>,
    core: Core,
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Services {
    /// Opens the state of a home, finishes what a crash interrupted, and starts the workers.
    ///
    /// # Errors
    /// What keeps the server from starting: damaged state, or a root key that is not the state's.
    pub async fn start(
        home: &Home,
        config: &Config,
        custody: Custody,
        snapshots: Option<Location>,
    ) -> Result<Self, Failure> {
        let core = Core::open(home, config, custody, snapshots).await?;
        let Core { iam, kms, rds, trail, pipeline, clock, regions, .. } = &core;
        let mut router = Router::default();
        api_iam::operations(&mut router, Arc::clone(iam), Arc::clone(trail));
        api_kms::operations(&mut router, Arc::clone(kms));
        api_rds::operations(&mut router, Arc::clone(rds));
        api_trail::operations(&mut router, Arc::clone(trail));
        let endpoint = Arc::new(Endpoint::new(Arc::clone(pipeline), router, regions.clone()));

        let (stop, stopping) = watch::channel(false);
        let mut workers = JoinSet::new();
        workers.spawn(due_work(Arc::clone(kms), Arc::clone(clock), stopping.clone()));
        workers.spawn(key_changes(kms.changes(), Arc::clone(rds), stopping.clone()));
        // One that a crash left behind is in the way.
        let _ = std::fs::remove_file(home.admin());
        let listener = UnixListener::bind(home.admin())?;
        let changes = {
            let kms = Arc::clone(kms);
            move || kms.changes()
        };
        workers.spawn(admin::serve(listener, Arc::clone(rds), changes, stopping.clone()));
        let running = Arc::clone(rds);
        workers.spawn(async move { running.run(stopping).await });
        Ok(Self { endpoint, core, workers, stop })
    }

    /// What the listener serves.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.endpoint)
    }

    /// Accounts and users; `reload` takes in an account that was made beside this process.
    pub fn iam(&self) -> &Iam {
        &self.core.iam
    }

    /// Ends the workers and closes the state. Databases keep running.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.workers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a worker broke off");
            }
        }
        self.core.close().await;
    }
}

/// Deletions and rotations of keys, when they are due.
async fn due_work(kms: Arc<Kms>, clock: Arc<dyn Clock>, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(fault) = api_kms::run_due(&kms, clock.now()).await {
            tracing::error!(%fault, "deletions and rotations that are due were not carried out");
        }
        tokio::select! {
            () = tokio::time::sleep(KMS_PERIOD) => {}
            () = kms.has_work() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Tells the cluster service of every change that may take a key away or give it back. Each is told at once: one key's
/// clusters must not wait for those of another to be shut.
async fn key_changes(mut changes: Receiver<KeyChange>, rds: Arc<Rds>, mut stop: watch::Receiver<bool>) {
    let mut told = JoinSet::new();
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            Some(ended) = told.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a check of a key broke off");
                }
                continue;
            }
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let rds = Arc::clone(&rds);
        match change {
            Ok(change) => told.spawn(async move { rds.key_changed(&change.key_arn).await }),
            // Too many at once to keep them all: look at every key instead.
            Err(RecvError::Lagged(_)) => told.spawn(async move { rds.check_all_keys().await }),
            Err(RecvError::Closed) => break,
        };
    }
    // What is being shut is shut before the server ends.
    while told.join_next().await.is_some() {}
}

/// The cluster service, with the PostgreSQL versions that are installed.
async fn cluster_service(home: &Home, config: &Config, doors: Doors) -> Arc<Rds> {
    let clusters = &config.clusters;
    let settings = api_rds::Settings {
        home: home.path().into(),
        ports: clusters.first_port..=clusters.last_port,
        listen: clusters.listen_address,
        endpoint_host: clusters.endpoint_host.clone(),
        endpoint_domain: None,
        recoverable_days: clusters.recoverable_days,
        check_interval: Duration::from_secs(clusters.key_check_seconds),
        postgres_bin_dirs: config.postgres_bin_dirs(),
    };
    let engines = api_rds::discover(&settings.postgres_bin_dirs).await;
    if engines.is_empty() {
        tracing::warn!("no PostgreSQL is installed: clusters cannot be made");
    }
    Rds::new(settings, engines, doors)
}

/// This machine, where the instances run.
fn local_host(home: &Home, config: &Config) -> Result<LocalHost, Failure> {
    let clusters = &config.clusters;
    if clusters.fuse_io_uring
        && let Err(error) = attach::offer_fuse_uring()
    {
        tracing::warn!(%error, "the FUSE module does not offer io_uring; volumes are served over /dev/fuse");
    }
    Ok(LocalHost::new(engine::Settings {
        home: home.path().into(),
        program: std::env::current_exe()?,
        postgres_user: clusters.postgres_user.clone(),
        space: clusters.space(),
        memory: clusters.memory(),
        parameters: clusters.parameters.clone(),
    }))
}

/// Seals under the root key: for the cluster service, and what it keeps in an object store.
struct RootSealer(Arc<Custody>);

impl Sealer for RootSealer {
    fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(place, plaintext)
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let opened = self.0.open_sealed(place, sealed);
        let unsealable = |error: DoesNotOpen| Unsealable { place: place.into(), detail: error.to_string() };
        opened.map(|bytes| Zeroizing::new(bytes.take())).map_err(unsealable)
    }
}

impl Seal for RootSealer {
    fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(place, plaintext)
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open_sealed(place, sealed).ok().map(|bytes| bytes.take())
    }
}
