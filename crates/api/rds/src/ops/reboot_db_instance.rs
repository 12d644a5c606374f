//! `rds:RebootDBInstance`. Trail: management event, write.

use clusters::{Event, InstanceStatus};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::target::{Named, cluster_of};
use crate::{answers, faults, records::Instance, service::Rds};

pub struct RebootDbInstance;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "DBInstanceIdentifier")]
    identifier: String,
    force_failover: Option<bool>,
}

impl Operation for RebootDbInstance {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "RebootDBInstance";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["DBInstanceIdentifier", "ForceFailover"];
    type State = Rds;
    type Request = Request;
    type Target = Named<Instance>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Instance>, Fault> {
        Named::find(rds, call, &request.identifier).await
    }

    fn asks(_: &Rds, call: &Call, _: &Request, target: &Named<Instance>) -> Vec<Ask> {
        vec![target.ask(call, "rds:RebootDBInstance")]
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Named<Instance>>,
    ) -> Result<Value, Fault> {
        let cluster = cluster_of(rds, &target.get()?.cluster).await?;
        if request.force_failover.unwrap_or_default() {
            let text = "You can't specify ForceFailover: the instance isn't configured for Multi-AZ.";
            return Err(faults::combination(text));
        }
        let mut edit = rds.records.edit(&call.event_id).await?;
        let mut instance = target.take(&mut edit).await?;
        if instance.status != InstanceStatus::Available {
            let (name, status) = (&instance.identifier, instance.status);
            return Err(faults::instance_state(format!(
                "Instance {name} is in {status} state but expected available."
            )));
        }
        instance.reboot = true;
        instance.status = InstanceStatus::Rebooting;
        edit.put(&instance).await?;
        edit.tell(&instance, Event::InstanceShutdown, call.now).await?;
        edit.commit().await?;
        rds.wake(&instance.cluster);
        Ok(json!({"DBInstance": answers::instance(rds, &instance, &cluster)}))
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBInstance").cloned()
    }
}
