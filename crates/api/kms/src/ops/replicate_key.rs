//! `kms:ReplicateKey` (spec/kms.md §13): a replica of a primary key in another region, with its material and its own policy
//! and tags. Permission on the primary, and to make a key where the replica is to be. Trail: management event, write; and
//! CreateKey in the region of the replica.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Region;
use kms::{MultiRegion, Origin, default_policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    create::{Planned, create_asks},
    fault,
    metadata::KeyMetadata,
    policy,
    registry::Kms,
    tags::{Tag, listed, pairs},
    target::{Accept, Target, ask, resolve},
    work::Event,
};

const ACTION: &str = "kms:ReplicateKey";

/// Makes a replica.
pub struct ReplicateKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    replica_region: Region,
    policy: Option<String>,
    #[serde(default)]
    bypass_policy_lockout_safety_check: bool,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    replica_key_metadata: KeyMetadata,
    replica_policy: String,
    replica_tags: Vec<Tag>,
}

impl Operation for ReplicateKey {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ReplicateKey";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] =
        &["BypassPolicyLockoutSafetyCheck", "Description", "KeyId", "Policy", "ReplicaRegion", "Tags"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let key = target.key();
        let planned = Planned {
            name: key.name.in_region(&request.replica_region),
            kind: key.kind(),
            origin: key.origin,
            multi_region: Some(MultiRegion::Replica),
        };
        let replicate =
            ask(kms, call, ACTION, target).with("kms:ReplicaRegion", [request.replica_region.as_str()]);
        let create = create_asks(call, &planned, &request.tags, request.bypass_policy_lockout_safety_check);
        std::iter::once(replicate).chain(create).collect()
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let (primary, region) = (target.name(), &request.replica_region);
        let recorded = created(&request);
        let checked = request.policy.map(|text| policy::check(kms, text)).transpose()?;
        let mut change = kms.begin(&call.event_id).await?;
        let entry = kms.still_there(primary)?;
        let replicated = entry.key.replicate(region, call.now, default_policy(&primary.account));
        let mut key = replicated.map_err(|refusal| fault::refused(primary, &refusal))?;
        if !kms.regions.serve(region) {
            return Err(fault::unsupported(format!("Region {region} is not supported.")));
        }
        if kms.key(&key.name).is_some() {
            let text = format!("A multi-Region key with the id {} already exists in {region}.", primary.id);
            return Err(Fault::client("AlreadyExistsException", text));
        }
        key.description = request.description;
        key.tag(pairs(request.tags)).map_err(|refusal| fault::refused(&key.name, &refusal))?;
        if let Some(checked) = checked {
            checked.put(&mut key);
            if !request.bypass_policy_lockout_safety_check {
                policy::check_lockout(kms, call, &key)?;
            }
        }
        kms.check_room(&key.name.account, region)?;
        let response = Response {
            replica_key_metadata: KeyMetadata::of(kms, &key),
            replica_policy: key.policy.clone(),
            replica_tags: listed(&key.tags),
        };
        let answer = json!({"KeyMetadata": response.replica_key_metadata});
        let event = Event::elsewhere(call, "CreateKey", &key.name, recorded, answer);
        let materials = match key.origin {
            Origin::AwsKms => entry.materials.clone(),
            // Imported into each key by itself; a key in a key store has no replicas.
            Origin::External | Origin::ExternalKeyStore => Default::default(),
        };
        event
            .around(kms, async {
                change.mark(event.id()).await?;
                change.new_replica(key, materials).await?;
                change.commit().await
            })
            .await?;
        kms.work.notify_one();
        Ok(response)
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!(response))
    }
}

/// What the record of the replica's making says of the request.
fn created(request: &Request) -> Value {
    let mut told = json!({
        "BypassPolicyLockoutSafetyCheck": request.bypass_policy_lockout_safety_check,
        "Description": request.description, "MultiRegion": true,
    });
    if let Some(policy) = &request.policy {
        told["Policy"] = json!(policy);
    }
    if !request.tags.is_empty() {
        told["Tags"] = json!(request.tags);
    }
    told
}
