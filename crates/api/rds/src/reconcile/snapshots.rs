//! Steps for the snapshots of a cluster, which may be gone already.

use std::sync::atomic::Ordering::Relaxed;

use clusters::{Event, SnapshotAction, SnapshotSeen, SnapshotSpec, SnapshotStatus, Source, plan_snapshot};
use engine::{CopyOrder, Headway, Reseal};

use super::{Sight, StepFault};
use crate::{
    keys::KeyFault,
    records::{Bytes, Cluster, Snapshot},
    service::Rds,
    volume_keys::Slot,
};

/// What came of a look at the snapshots of a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotStep {
    /// A step was taken: there may be more.
    Taken,
    /// Long work is under way.
    Watched,
    /// There was nothing to do.
    None,
}

impl Rds {
    /// Takes one step for the first snapshot that wants one, and keeps the long work for all others going. A fault of
    /// one keeps none of the others.
    pub(super) async fn step_snapshots(&self, sight: &Sight) -> Result<SnapshotStep, StepFault> {
        let (mut watched, mut fault) = (false, None);
        for snapshot in &sight.snapshots {
            match self.step_snapshot(snapshot, sight).await {
                Ok(SnapshotStep::Taken) => return Ok(SnapshotStep::Taken),
                Ok(SnapshotStep::Watched) => watched = true,
                Ok(SnapshotStep::None) => {}
                Err(error) => fault = Some(error),
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None if watched => Ok(SnapshotStep::Watched),
            None => Ok(SnapshotStep::None),
        }
    }

    async fn step_snapshot(&self, snapshot: &Snapshot, sight: &Sight) -> Result<SnapshotStep, StepFault> {
        let seen = SnapshotSeen {
            status: snapshot.status,
            files: self.host.has_snapshot(&snapshot.id).await?,
            uploaded: snapshot.uploaded,
            remains: snapshot.remains,
            grant: snapshot.grant.is_some(),
            source: self.source_of(snapshot, sight).await?,
            in_use: snapshot.delete && self.in_use(snapshot).await?,
        };
        let wish = SnapshotSpec { delete: snapshot.delete, upload: self.transfers.has_store() };
        let Some(action) = plan_snapshot(wish, &seen) else { return Ok(SnapshotStep::None) };
        tracing::debug!(snapshot = %snapshot.id, ?action, "a step");
        let step = self.act_on_snapshot(snapshot, &action).await?;
        if step == SnapshotStep::Watched {
            self.note_progress(snapshot, &action).await?;
        }
        Ok(step)
    }

    /// Where its blocks would come from.
    async fn source_of(&self, snapshot: &Snapshot, sight: &Sight) -> Result<Source, StepFault> {
        let Some(from) = &snapshot.copied_from else { return Ok(sight.source()) };
        let there = match self.records.get::<Snapshot>(from.id.as_str()).await? {
            Some(source) => source.uploaded || self.host.has_snapshot(&source.id).await?,
            None => false,
        };
        Ok(if there { Source::Closed } else { Source::Gone })
    }

    /// Is a cluster or a copy still to be made from it?
    async fn in_use(&self, snapshot: &Snapshot) -> Result<bool, StepFault> {
        for cluster in self.records.all::<Cluster>().await? {
            let waits = cluster.origin.as_ref() == Some(&snapshot.id) && !cluster.initialised;
            if waits && !self.host.has_volume(&cluster.volume).await? {
                return Ok(true);
            }
        }
        let copies = self.records.of_cluster::<Snapshot>(snapshot.cluster.as_str()).await?;
        Ok(copies.iter().any(|copy| {
            let of_it = copy.copied_from.as_ref().is_some_and(|from| from.id == snapshot.id);
            of_it && copy.status == SnapshotStatus::Copying && !copy.delete
        }))
    }

    /// Begins a copy, or looks how far it is. The keys are asked for once, when it begins.
    async fn copy_snapshot(&self, copy: &Snapshot) -> Result<SnapshotStep, StepFault> {
        let step = |headway| match headway {
            Headway::Running { .. } => SnapshotStep::Watched,
            Headway::Done => SnapshotStep::Taken,
        };
        if let Some(headway) = self.transfers.look(&copy.id).await? {
            return Ok(step(headway));
        }
        let from = copy.copied_from.as_ref().map(|from| from.id.as_str()).unwrap_or_default();
        let source = self.records.get::<Snapshot>(from).await?;
        let source = source.ok_or_else(|| StepFault::Impossible(format!("snapshot {from} is gone")))?;
        if !self.host.has_snapshot(&source.id).await? {
            return Ok(step(self.fetch_snapshot(&source).await?));
        }
        let reseal = match self.keys_of_copy(&source, copy).await {
            Ok(reseal) => reseal,
            Err(KeyFault::Refused(reason)) => {
                tracing::warn!(snapshot = %copy.id, reason, "a copy is given up: one of its keys is lost");
                let change = |now: &mut Snapshot| {
                    std::mem::replace(&mut now.status, SnapshotStatus::Failed) == SnapshotStatus::Copying
                };
                self.change(copy.id.as_str(), change, &[]).await?;
                return Ok(SnapshotStep::Taken);
            }
            Err(fault) => return Err(fault.into()),
        };
        let (source, snapshot, volume) = (source.id, copy.id.clone(), copy.volume.clone());
        Ok(step(self.transfers.copy(CopyOrder { source, snapshot, volume, reseal }).await?))
    }

    /// Brings a snapshot back from the store. What is not what was put there is told of, and tried again: whoever keeps the
    /// store may put it right.
    pub(super) async fn fetch_snapshot(&self, snapshot: &Snapshot) -> Result<Headway, StepFault> {
        let fetched = self.transfers.fetch(&snapshot.id).await;
        if fetched.is_err()
            && let Some(what) = self.transfers.damage(&snapshot.id)
        {
            let told = async {
                let mut edit = self.records.edit_internally().await?;
                edit.tell_once(snapshot, Event::SnapshotDamaged, &what, self.now()).await?;
                edit.commit().await
            };
            // Whoever sees the number finds the event.
            let told = told.await;
            self.refused_fetches.fetch_add(1, Relaxed);
            told?;
        }
        Ok(fetched?)
    }

    /// Notes how far the making of a snapshot is. A copy that is uploaded too is half made when it is here.
    async fn note_progress(&self, snapshot: &Snapshot, action: &SnapshotAction) -> Result<(), StepFault> {
        let percent = self.transfers.percent(&snapshot.id).unwrap_or(0);
        let percent = match action {
            SnapshotAction::Copy if self.transfers.has_store() => percent / 2,
            SnapshotAction::Upload if snapshot.copied_from.is_some() => 50 + percent / 2,
            _ => percent,
        };
        if percent <= snapshot.percent {
            return Ok(());
        }
        let change = |now: &mut Snapshot| {
            let further = percent > now.percent;
            now.percent = percent.max(now.percent);
            further
        };
        self.change(snapshot.id.as_str(), change, &[]).await
    }

    /// The keys that a copy is sealed anew with, unless it shares the volume key of its source.
    async fn keys_of_copy(&self, source: &Snapshot, copy: &Snapshot) -> Result<Option<Reseal>, KeyFault> {
        if source.keys == copy.keys {
            return Ok(None);
        }
        let keys = self.volume_keys(&copy.region, &copy.account);
        let source_keys = keys.open(&Slot::of_snapshot(source), &source.keys).await?.all();
        let key = keys.open_one(&Slot::of_snapshot(copy), &copy.keys.newest.0).await?;
        let anchor = source.anchor.clone().map(|anchor| anchor.0);
        Ok(Some(Reseal { source_keys, anchor, key, wrapped_key: copy.keys.newest.0.clone() }))
    }

    /// Ends the copies that were begun with a key which may not be used any more.
    pub(crate) async fn check_copies(
        &self,
        concerned: impl Fn(&crate::records::Encryption) -> bool,
    ) -> Result<(), StepFault> {
        for copy in self.records.all::<Snapshot>().await? {
            if copy.status != SnapshotStatus::Copying || self.transfers.percent(&copy.id).is_none() {
                continue;
            }
            let from = copy.copied_from.as_ref().map(|from| from.id.as_str()).unwrap_or_default();
            let source = self.records.get::<Snapshot>(from).await?;
            let sides = [Some(&copy), source.as_ref()];
            for side in sides.into_iter().flatten().filter(|side| concerned(&side.encryption)) {
                let keys = self.volume_keys(&side.region, &side.account);
                if let Err(KeyFault::Refused(reason)) = keys.check(&Slot::of_snapshot(side), &side.keys).await
                {
                    tracing::warn!(snapshot = %copy.id, reason, "access to a key is lost: ending a copy");
                    self.transfers.cancel(&copy.id).await?;
                    self.wake(&copy.cluster);
                }
            }
        }
        Ok(())
    }

    /// Notes what a snapshot that is about to be taken will have to contain. What was noted for an earlier try stays: that
    /// may have come further than is known.
    async fn anchor_snapshot(&self, snapshot: &Snapshot) -> Result<(), StepFault> {
        let Some(kept) = self.records.anchor(&snapshot.volume).await? else { return Ok(()) };
        let note = |now: &mut Snapshot| {
            let none = now.anchor.is_none();
            now.anchor.get_or_insert(Bytes(kept));
            none
        };
        self.change(snapshot.id.as_str(), note, &[]).await
    }

    async fn act_on_snapshot(
        &self,
        snapshot: &Snapshot,
        action: &SnapshotAction,
    ) -> Result<SnapshotStep, StepFault> {
        let id = snapshot.id.as_str();
        match action {
            SnapshotAction::Take { through } => {
                self.anchor_snapshot(snapshot).await?;
                self.host.take_snapshot(&snapshot.id, &snapshot.volume, through.as_ref()).await?;
            }
            SnapshotAction::Copy => return self.copy_snapshot(snapshot).await,
            SnapshotAction::Upload => match self.transfers.upload(&snapshot.id).await? {
                Headway::Running { .. } => return Ok(SnapshotStep::Watched),
                Headway::Done => {
                    let change = |snapshot: &mut Snapshot| !std::mem::replace(&mut snapshot.uploaded, true);
                    self.change(id, change, &[]).await?;
                }
            },
            SnapshotAction::Remove => {
                if snapshot.uploaded && !self.transfers.has_store() {
                    let text = "is in a store that is not configured any more, and cannot be removed from it";
                    return Err(StepFault::Impossible(format!("snapshot {id} {text}")));
                }
                self.transfers.remove(&snapshot.id).await?;
                self.host.remove_snapshot(&snapshot.id).await?;
                self.change(id, |snapshot: &mut Snapshot| std::mem::take(&mut snapshot.remains), &[]).await?;
            }
            SnapshotAction::RetireGrant => {
                self.retire(snapshot, &snapshot.encryption, snapshot.grant.as_deref()).await?;
                self.change(id, |snapshot: &mut Snapshot| snapshot.grant.take().is_some(), &[]).await?;
            }
            SnapshotAction::Set { to, events } => {
                let change = |now: &mut Snapshot| std::mem::replace(&mut now.status, *to) == snapshot.status;
                self.change(id, change, events).await?;
            }
            SnapshotAction::Forget => self.forget::<Snapshot>(id, &[]).await?,
        }
        Ok(SnapshotStep::Taken)
    }
}
