//! `kms:CreateKey` (spec/kms.md §5, §6): a key with its policy and tags. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{KeyName, KeySpec, KeyUsage, Manager, Origin, read_spec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    create::{external_key, new_key, new_name},
    fault,
    metadata::KeyMetadata,
    policy,
    registry::Kms,
    tags::{Tag, pairs, with_tags},
    target::{KEY, ask_of},
};

const ACTION: &str = "kms:CreateKey";

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
        if self.multi_region {
            return Err(fault::unsupported("Multi-Region keys are not supported."));
        }
        Ok(kind)
    }
}

/// The key that is to be.
pub struct Planned {
    name: KeyName,
    spec: KeySpec,
    usage: KeyUsage,
    origin: Origin,
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
        let ((spec, usage), origin) = (request.kind()?, request.origin()?);
        Ok(Planned { name: new_name(call.account(), &call.region), spec, usage, origin })
    }

    fn asks(_: &Kms, call: &Call, request: &Request, planned: &Planned) -> Vec<Ask> {
        let (spec, usage) = (planned.spec.name(), planned.usage.name());
        let create = with_tags(ask_of(call, ACTION, "*"), &request.tags)
            .with(
                "kms:BypassPolicyLockoutSafetyCheck",
                [request.bypass_policy_lockout_safety_check.to_string()],
            )
            .with("kms:KeySpec", [spec])
            .with("kms:KeyUsage", [usage])
            .with("kms:CustomerMasterKeySpec", [spec])
            .with("kms:CustomerMasterKeyUsage", [usage])
            .with("kms:KeyOrigin", [planned.origin.name()])
            .with("kms:MultiRegion", ["false"]);
        if request.tags.is_empty() {
            return vec![create];
        }
        let tag = ask_of(call, "kms:TagResource", planned.name.to_string()).on(&planned.name.account);
        vec![create, with_tags(tag, &request.tags)]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        planned: Authorized<Planned>,
    ) -> Result<Response, Fault> {
        let Planned { name, spec, usage, origin } = planned.into_inner();
        let kind = (spec, usage);
        let (mut key, material) = match origin {
            Origin::AwsKms => {
                let (key, material) = new_key(name.clone(), kind, Manager::Customer, call.now).await?;
                (key, Some(material))
            }
            Origin::External => (external_key(name.clone(), kind, call.now), None),
        };
        key.description = request.description;
        key.tag(pairs(request.tags)).map_err(|refusal| fault::refused(&name, &refusal))?;
        if let Some(text) = request.policy {
            policy::check(kms, text)?.put(&mut key);
            if !request.bypass_policy_lockout_safety_check {
                policy::check_lockout(kms, call, &key)?;
            }
        }
        let mut change = kms.begin(&call.event_id).await?;
        if kms.customer_keys_in(&name.account, &name.region) >= kms.quotas.keys {
            let most = kms.quotas.keys;
            return Err(fault::limit(format!("An account can have {most} keys in a region.")));
        }
        let key_metadata = KeyMetadata::from(&key);
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
