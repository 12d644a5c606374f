//! `rds:StartDBCluster`, which also recovers a cluster that had lost its key (spec/rds.md §7). Trail: management event,
//! write.

use clusters::{Access, ClusterStatus, Event, Goal, InstanceStatus};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::target::{Named, expect_state};
use crate::{
    answers,
    encryption::{self, NewGrant},
    faults,
    keys::{EncryptionContext, KeyFault},
    records::{Cluster, Instance},
    service::Rds,
    volume_keys::Slot,
};

pub struct StartDbCluster;

#[derive(Debug, Deserialize)]
pub struct Request {
    #[serde(rename = "DBClusterIdentifier")]
    identifier: String,
}

impl Operation for StartDbCluster {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "StartDBCluster";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["DBClusterIdentifier"];
    type State = Rds;
    type Request = Request;
    type Target = Named<Cluster>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Cluster>, Fault> {
        Named::find(rds, call, &request.identifier).await
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Named<Cluster>) -> Vec<Ask> {
        vec![target.ask(call, "rds:StartDBCluster")]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        _: Request,
        target: Authorized<Named<Cluster>>,
    ) -> Result<Value, Fault> {
        let live = rds.lives.of(&target.get()?.id);
        // Nobody else decides about access meanwhile.
        let _gate = live.gate.lock().await;
        let cluster = Named::<Cluster>::by_name(rds, call, target.name.clone()).await?.get()?.clone();
        may_start(rds, &cluster)?;
        let members = rds.records.of_cluster::<Instance>(cluster.id.as_str()).await?;
        let regained = regain(rds, call, &cluster, &members).await?;
        let started = start(rds, call, &target, &regained).await;
        // Whichever grants are now without a use.
        for grant in regained {
            let useless = if started.is_ok() { grant.old } else { grant.new.id };
            encryption::retire(
                rds,
                &cluster.region,
                &cluster.account,
                &cluster.encryption,
                useless.as_deref(),
            )
            .await;
        }
        let (cluster, members) = started?;
        rds.wake(&cluster.id);
        Ok(json!({"DBCluster": answers::cluster(rds, &cluster, &members)}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBCluster").cloned()
    }
}

/// The cluster is stopped, or without its key and still recoverable.
fn may_start(rds: &Rds, cluster: &Cluster) -> Result<(), Fault> {
    expect_state(cluster, &[ClusterStatus::Stopped, ClusterStatus::InaccessibleRecoverable])?;
    match cluster.access {
        Access::Lost { since } if rds.now().since(since) >= rds.settings.recoverable_for() => {
            // It is so already, only not yet recorded.
            let terminal = Cluster { status: ClusterStatus::Inaccessible, ..cluster.clone() };
            expect_state(&terminal, &[ClusterStatus::Stopped, ClusterStatus::InaccessibleRecoverable])
        }
        _ => Ok(()),
    }
}

/// A grant that was made in place of one that is gone.
struct Regained {
    /// The resource id of its holder.
    holder: String,
    new: NewGrant,
    old: Option<String>,
}

/// Checks that every copy of the volume key opens; where that is refused, with a new grant that the caller makes.
///
/// # Errors
/// KMSKeyNotAccessibleFault; nothing is left behind.
async fn regain(
    rds: &Rds,
    call: &Call,
    cluster: &Cluster,
    members: &[Instance],
) -> Result<Vec<Regained>, Fault> {
    let mut copies = vec![(
        cluster.id.to_string(),
        Slot::of_cluster(cluster),
        &cluster.keys,
        cluster.context(),
        &cluster.grant,
    )];
    for member in members.iter().filter(|member| !member.delete) {
        let slot = Slot::of_instance(cluster, member);
        copies.push((member.id.to_string(), slot, &member.keys, member.grant_context(), &member.grant));
    }
    let keys = rds.volume_keys(&cluster.region, &cluster.account);
    let mut regained = Vec::new();
    for (holder, slot, wrapped, context, old) in copies {
        let opened = async {
            match keys.check(&slot, wrapped).await {
                Err(KeyFault::Refused(_)) => {
                    let new = grant_again(rds, call, cluster, &holder, context).await?;
                    regained.push(Regained { holder, new, old: old.clone() });
                    keys.check(&slot, wrapped).await
                }
                checked => checked,
            }
        };
        if let Err(error) = opened.await {
            for grant in &regained {
                grant.new.give_back(rds, call).await;
            }
            return Err(faults::key_fault(&error, cluster.encryption.key_arn().unwrap_or_default()));
        }
    }
    Ok(regained)
}

async fn grant_again(
    rds: &Rds,
    call: &Call,
    cluster: &Cluster,
    holder: &str,
    context: EncryptionContext,
) -> Result<NewGrant, KeyFault> {
    NewGrant::ask(rds, call, &cluster.encryption, &format!("rds-{holder}-{}", call.event_id), context).await
}

async fn start(
    rds: &Rds,
    call: &Call,
    target: &Named<Cluster>,
    regained: &[Regained],
) -> Result<(Cluster, Vec<Instance>), Fault> {
    let new_grant =
        |holder: &str| regained.iter().find(|grant| grant.holder == holder).map(|grant| grant.new.id.clone());
    let mut edit = rds.records.edit(&call.event_id).await?;
    let mut cluster = target.take(&mut edit).await?;
    may_start(rds, &cluster)?;
    let recovers = cluster.access != Access::Held;
    let mut members: Vec<Instance> = edit.of_cluster(cluster.id.as_str()).await?;
    for member in members.iter_mut().filter(|member| !member.delete) {
        member.status = InstanceStatus::Starting;
        member.grant = new_grant(member.id.as_str()).unwrap_or_else(|| member.grant.take());
        edit.put(member).await?;
        if recovers {
            edit.tell(member, Event::KeyReachable, call.now).await?;
        }
    }
    if recovers && members.is_empty() {
        edit.tell(&cluster, Event::KeyReachable, call.now).await?;
    }
    cluster.status = ClusterStatus::Starting;
    cluster.goal = Goal::Run;
    cluster.access = Access::Held;
    cluster.restart_at = None;
    cluster.grant = new_grant(cluster.id.as_str()).unwrap_or_else(|| cluster.grant.take());
    edit.put(&cluster).await?;
    edit.commit().await?;
    Ok((cluster, members))
}
