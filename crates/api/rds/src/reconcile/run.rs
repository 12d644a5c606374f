//! One task a cluster, as long as there is anything to do or to forward for it; and what is done from time to time for all.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use clusters::{ClusterResourceId, strays};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
    time::sleep,
};

use super::{Step, StepFault};
use crate::{
    forward::forward,
    records::{Cluster, Instance, Snapshot},
    service::Rds,
};

/// How often the host is looked at without a reason.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a cluster waits for something to change before it plans again all the same: things fall due.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often long work is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// How often what no snapshot needs is given back by the object store, whatever left it there.
const COLLECT_EVERY: Duration = Duration::from_secs(6 * 3600);
/// The longest wait after a step that failed.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Until told to stop. An error means that whoever could have told is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard in the answer must not live into what is awaited next.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Rds {
    /// Keeps every cluster as its record wants it, until told to stop. Instances that run are adopted, and go on running
    /// when this ends.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tending: JoinSet<ClusterResourceId> = JoinSet::new();
        let mut tasks: HashMap<Id, ClusterResourceId> = HashMap::new();
        let mut chores = JoinSet::new();
        chores.spawn(Arc::clone(&self).look_again_and_again());
        chores.spawn(Arc::clone(&self).check_from_time_to_time());
        chores.spawn(Arc::clone(&self).collect_from_time_to_time());
        self.adopt().await;
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                () = self.any_due.notified() => {
                    let tended: HashSet<_> = tasks.values().cloned().collect();
                    for id in self.take_due() {
                        self.lives.of(&id).wake.notify_one();
                        if !tended.contains(&id) {
                            let task = tending.spawn(Arc::clone(&self).tend(id.clone()));
                            tasks.insert(task.id(), id);
                        }
                    }
                }
                Some(ended) = tending.join_next_with_id() => match ended {
                    Ok((task, id)) => {
                        tasks.remove(&task);
                        // It may have been woken while it was ending.
                        if self.has_work(&id).await {
                            self.wake(&id);
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "the task of a cluster broke; it begins again with the next check");
                        tasks.remove(&error.id());
                    }
                },
            }
        }
        tending.shutdown().await;
        chores.shutdown().await;
    }

    /// Wakes everything there is, and ends what no record knows.
    async fn adopt(&self) {
        let adopted = async {
            for cluster in self.records.all::<Cluster>().await? {
                self.wake(&cluster.id);
            }
            for snapshot in self.records.all::<Snapshot>().await? {
                if snapshot.waits(self.transfers.has_store()) {
                    self.wake(&snapshot.cluster);
                }
            }
            let running = self.observer.look().await?;
            let known: HashSet<_> = self.records.all::<Instance>().await?.into_iter().map(|m| m.id).collect();
            for id in strays(|id| known.contains(id), running.keys()) {
                tracing::warn!(instance = %id, "a process that no record knows is ended");
                self.host.kill(&id).await?;
            }
            Ok::<_, StepFault>(())
        };
        if let Err(error) = adopted.await {
            tracing::error!(%error, "not everything could be adopted; it is tried again with the next check");
        }
    }

    /// Sees what happens to processes by itself; clusters are told by the observer.
    async fn look_again_and_again(self: Arc<Self>) {
        loop {
            if let Err(error) = self.observer.look().await {
                tracing::warn!(%error, "instances cannot be seen");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Checks every key at once, as nobody told of changes while no server ran, and from time to time, never all servers at
    /// the same moment; adopts what slipped through.
    async fn check_from_time_to_time(self: Arc<Self>) {
        loop {
            self.check_all_keys().await;
            let mut dice = [0];
            self.entropy.fill(&mut dice);
            // 3/4 to 5/4 of the interval.
            sleep(self.settings.check_interval * (384 + u32::from(dice[0])) / 512).await;
            self.adopt().await;
        }
    }

    async fn collect_from_time_to_time(self: Arc<Self>) {
        loop {
            self.transfers.collect();
            sleep(COLLECT_EVERY).await;
        }
    }

    async fn has_work(&self, id: &ClusterResourceId) -> bool {
        let cluster = self.records.get::<Cluster>(id.as_str()).await;
        let snapshots = self.records.of_cluster::<Snapshot>(id.as_str()).await;
        // When in doubt the task looks for itself.
        !matches!(cluster, Ok(None))
            || snapshots.map_or(true, |all| all.iter().any(|s| s.waits(self.transfers.has_store())))
    }

    /// Reconciles one cluster and forwards its endpoint.
    async fn tend(self: Arc<Self>, id: ClusterResourceId) -> ClusterResourceId {
        let endpoint = async {
            loop {
                match self.records.get::<Cluster>(id.as_str()).await {
                    Ok(Some(cluster)) => {
                        forward((self.settings.listen, cluster.port).into(), self.lives.of(&id)).await;
                    }
                    // Only snapshots are left.
                    Ok(None) => std::future::pending().await,
                    Err(error) => tracing::error!(cluster = %id, %error, "its endpoint cannot be opened"),
                }
                sleep(LONGEST_WAIT).await;
            }
        };
        tokio::select! {
            () = endpoint => {}
            () = self.keep(&id) => {}
        }
        id
    }

    async fn keep(&self, id: &ClusterResourceId) {
        let mut changes = self.observer.changes();
        let mut failures = 0_u32;
        loop {
            changes.mark_unchanged();
            let wait = match self.reconcile(id).await {
                Ok(Step::Gone) => return,
                Ok(Step::Taken) => {
                    failures = 0;
                    continue;
                }
                Ok(Step::Waits) => {
                    failures = 0;
                    self.until_due(id)
                }
                Ok(Step::Watches) => {
                    failures = 0;
                    WATCH_EVERY
                }
                Err(error) => {
                    tracing::warn!(cluster = %id, %error, "a step failed and will be tried again");
                    failures = failures.saturating_add(1);
                    Duration::from_millis(200 << failures.min(10)).min(LONGEST_BACKOFF)
                }
            };
            let live = self.lives.of(id);
            tokio::select! {
                () = live.wake.notified() => {}
                _ = changes.changed(), if failures == 0 => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// How long there is nothing to do, at most, if nothing changes.
    fn until_due(&self, id: &ClusterResourceId) -> Duration {
        let now = self.now();
        self.lives.of(id).next_attempt(now).map_or(LONGEST_WAIT, |at| at.since(now)).min(LONGEST_WAIT)
    }
}
