//! `kms:CreateKey` (spec/kms.md §5, §6): a key with its policy and tags. Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::{ExternalKey, KeySpec, KeyUsage, Manager, MultiRegion, Origin, read_spec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    create::{Planned, create_asks, external_key, key_in_store, new_key, new_multi_region_name, new_name},
    external::{By, check_external_key, free_in_store},
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
            Some("EXTERNAL_KEY_STORE") => Ok(Origin::ExternalKeyStore),
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
        Ok(kind)
    }
}

impl Request {
    /// The key store and the external key in it, for a key that is to stand on one.
    fn place(&self, origin: Origin, spec: KeySpec) -> Result<Option<ExternalKey>, Fault> {
        let (store, key) = (self.custom_key_store_id.clone(), self.xks_key_id.clone());
        match (origin, store, key) {
            (Origin::ExternalKeyStore, None, _) => Err(fault::missing("customKeyStoreId")),
            (Origin::ExternalKeyStore, _, None) => Err(fault::missing("xksKeyId")),
            (Origin::ExternalKeyStore, Some(_), Some(_)) if spec != KeySpec::Symmetric => {
                Err(fault::unsupported(format!("KeySpec {spec} is not supported in a custom key store.")))
            }
            (Origin::ExternalKeyStore, Some(_), Some(_)) if self.multi_region => {
                Err(fault::unsupported("Multi-Region keys are not supported in a custom key store."))
            }
            (Origin::ExternalKeyStore, Some(store), Some(key)) => Ok(Some(ExternalKey::new(store, key))),
            (_, Some(_), _) => Err(fault::validation(
                "CustomKeyStoreId is valid only with an Origin of AWS_CLOUDHSM or EXTERNAL_KEY_STORE.",
            )),
            (_, None, Some(_)) => {
                Err(fault::validation("XksKeyId is valid only with an Origin of EXTERNAL_KEY_STORE."))
            }
            (_, None, None) => Ok(None),
        }
    }
}

impl Operation for CreateKey {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "CreateKey";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "BypassPolicyLockoutSafetyCheck",
        "CustomKeyStoreId",
        "CustomerMasterKeySpec",
        "Description",
        "KeySpec",
        "KeyUsage",
        "MultiRegion",
        "Origin",
        "Policy",
        "Tags",
        "XksKeyId",
    ];
    type State = Kms;
    type Request = Request;
    type Target = Planned;
    type Response = Response;

    async fn resolve(_: &Kms, call: &Call, request: &Request) -> Result<Planned, Fault> {
        let (kind, origin) = (request.kind()?, request.origin()?);
        request.place(origin, kind.0)?;
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
        let external = request.place(planned.origin, planned.kind.0)?;
        let Planned { name, kind, origin, multi_region } = planned.into_inner();
        let (mut key, material) = match external {
            Some(external) => {
                check_external_key(By { kms, call, operation: Self::NAME }, &external).await?;
                let (key, material) = key_in_store(name.clone(), external, call.now).await?;
                (key, Some(material))
            }
            None if origin == Origin::External => (external_key(name.clone(), kind, call.now), None),
            None => {
                let (key, material) = new_key(name.clone(), kind, Manager::Customer, call.now).await?;
                (key, Some(material))
            }
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
        if let Some(external) = &key.external {
            // The proxy was asked meanwhile.
            free_in_store(kms, call, external)?;
        }
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
