//! `kms:DeleteImportedKeyMaterial` (spec/kms.md §13): the key is of no use until the same material is imported again.
//! Trail: management event, write.

use front::{Ask, Authorized, Call, Effect, Operation};
use kms::KeySpec;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
    work::{around, following},
};

const ACTION: &str = "kms:DeleteImportedKeyMaterial";

/// Deletes imported material.
pub struct DeleteImportedKeyMaterial;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    /// The current one if absent.
    key_material_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    /// Of symmetric keys that had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Operation for DeleteImportedKeyMaterial {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "DeleteImportedKeyMaterial";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId", "KeyMaterialId"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        vec![ask(kms, call, ACTION, target)]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let name = target.name();
        let mut change = kms.begin(&call.event_id).await?;
        let old = kms.still_there(name)?;
        let mut key = old.key.clone();
        let deleted = key
            .delete_material(request.key_material_id.as_deref())
            .map_err(|refusal| fault::refused(name, &refusal))?;
        if let Some(id) = &deleted {
            let following = following(kms, &old.key, &key, call.now);
            around(kms, following.as_slice(), async {
                change.follow(following.as_ref(), &key).await?;
                change.lose(&old, key, std::slice::from_ref(id)).await?;
                change.commit().await
            })
            .await?;
        }
        let key_material_id = deleted.filter(|_| old.key.spec == KeySpec::Symmetric);
        Ok(Response { key_id: target.arn(), key_material_id })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!(response))
    }
}
