//! `kms:CreateKey` (spec/kms.md §5, §6): a key with its policy and tags. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{KeySpec, KeyUsage, Manager, MultiRegion, Origin, read_spec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    create::{Planned, create_asks, external_key, new_key, new_multi_region_name, new_name},
    fault,
    metadata::KeyMetadata,
    policy,
    registry::Kms,
    tags::{Tag, pairs},
    target::KEY,
};

/// Makes a key.
pub struct CreateKey;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(default)]
    bypass_policy_lockout_safety_check: bool,
    custom_key_store_id: Option<String>,
    customer_master_key_spec: Option<String>,
    #[serde(default)]
    description: String,
    key_spec: Option<String>,
    key_usage: Option<String>,
    #[serde(default)]
    multi_region: bool,
    origin: Option<String>,
    policy: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    xks_key_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_metadata: KeyMetadata,
}

impl Request {
    fn origin(&self) -> Result<Origin, Fault> {
        match self.origin.as_deref() {
            None | Some("AWS_KMS") => Ok(Origin::AwsKms),
            Some("EXTERNAL") => Ok(Origin::External),
            Some(other) => Err(fault::unsupported(format!("Origin {other} is not supported."))),
        }
    }

    /// What the key is to be.
    fn kind(&self) -> Result<(KeySpec, KeyUsage), Fault> {
        if self.key_spec.is_some() && self.customer_master_key_spec.is_some() {
            let text = "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. \
                        CustomerMasterKeySpec is deprecated.";
            return Err(fault::validation(text));
        }
        let spec = self.key_spec.as_deref().or(self.customer_master_key_spec.as_deref());
        let kind = read_spec(spec, self.key_usage.as_deref()).map_err(|bad| fault::bad_spec(&bad))?;
        if self.custom_key_store_id.is_some() || self.xks_key_id.is_some() {
            return Err(fault::unsupported("Custom key stores are not supported."));
        }
        Ok(kind)
    }
}

impl Operation for CreateKey {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "CreateKey";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "BypassPolicyLockoutSafetyCheck",
        "CustomerMasterKeySpec",
        "Description",
        "KeySpec",
        "KeyUsage",
        "MultiRegion",
        "Origin",
        "Policy",
        "Tags",
    ];
    type State = Kms;
    type Request = Request;
    type Target = Planned;
    type Response = Response;

    async fn resolve(_: &Kms, call: &Call, request: &Request) -> Result<Planned, Fault> {
        let (kind, origin) = (request.kind()?, request.origin()?);
        let multi_region = request.multi_region.then_some(MultiRegion::Primary);
        let new = if request.multi_region { new_multi_region_name } else { new_name };
        Ok(Planned { name: new(call.account(), &call.region), kind, origin, multi_region })
    }

    fn asks(_: &Kms, call: &Call, request: &Request, planned: &Planned) -> Vec<Ask> {
        create_asks(call, planned, &request.tags, request.bypass_policy_lockout_safety_check)
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        planned: Authorized<Planned>,
    ) -> Result<Response, Fault> {
        let Planned { name, kind, origin, multi_region } = planned.into_inner();
        let (mut key, material) = match origin {
            Origin::AwsKms => {
                let (key, material) = new_key(name.clone(), kind, Manager::Customer, call.now).await?;
                (key, Some(material))
            }
            Origin::External => (external_key(name.clone(), kind, call.now), None),
        };
        key.multi_region = multi_region;
        key.description = request.description;
        key.tag(pairs(request.tags)).map_err(|refusal| fault::refused(&name, &refusal))?;
        if let Some(text) = request.policy {
            policy::check(kms, text)?.put(&mut key);
            if !request.bypass_policy_lockout_safety_check {
                policy::check_lockout(kms, call, &key)?;
            }
        }
        let mut change = kms.begin(&call.event_id).await?;
        kms.check_room(&name.account, &name.region)?;
        let key_metadata = KeyMetadata::of(kms, &key);
        match material {
            Some(material) => change.new_key(key, material).await?,
            None => change.new_external(key).await?,
        }
        change.commit().await?;
        call.touches(&name.account, KEY, &name.to_string());
        Ok(Response { key_metadata })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!({"KeyMetadata": response.key_metadata}))
    }
}
