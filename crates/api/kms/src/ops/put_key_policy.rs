//! `kms:PutKeyPolicy` (spec/policy.md §9): a new policy for a key. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    fault,
    ops::Done,
    policy::{self, DEFAULT, ask_put},
    registry::Kms,
    target::{Accept, Target, resolve},
};

/// Replaces the policy of a key.
pub struct PutKeyPolicy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    policy: String,
    policy_name: Option<String>,
    #[serde(default)]
    bypass_policy_lockout_safety_check: bool,
}

impl Operation for PutKeyPolicy {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "PutKeyPolicy";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] =
        &["BypassPolicyLockoutSafetyCheck", "KeyId", "Policy", "PolicyName"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, "kms:PutKeyPolicy").await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        vec![ask_put(kms, call, target, request.bypass_policy_lockout_safety_check)]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Done, Fault> {
        if request.policy_name.is_some_and(|name| name != DEFAULT) {
            return Err(fault::unsupported("A key has one policy, and its name is default."));
        }
        let checked = policy::check(kms, request.policy)?;
        let mut change = kms.begin(&call.event_id).await?;
        let old = kms.still_there(target.name())?;
        let mut key = old.key.clone();
        checked.put(&mut key);
        if !request.bypass_policy_lockout_safety_check {
            policy::check_lockout(kms, call, &key)?;
        }
        change.put_key(&old, key).await?;
        change.commit().await?;
        Ok(Done::with(&target))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
