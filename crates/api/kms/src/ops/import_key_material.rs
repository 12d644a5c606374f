//! `kms:ImportKeyMaterial` (spec/kms.md §13): material from elsewhere, for the first time, again, or to rotate to.
//! Trail: management event, write; neither material nor token is recorded.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use kms::{Import, KeySpec, LONGEST_IMPORT};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use wire::{Blob, Fault, ServiceId};

use crate::{
    fault,
    import::Token,
    material::Material,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
    work::{around, following},
};

const ACTION: &str = "kms:ImportKeyMaterial";

/// Imports material.
pub struct ImportKeyMaterial;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    import_token: Blob,
    encrypted_key_material: Blob,
    valid_to: Option<Timestamp>,
    #[serde(default)]
    expiration_model: ExpirationModel,
    #[serde(default)]
    import_type: ImportType,
    key_material_description: Option<String>,
    key_material_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
enum ExpirationModel {
    #[default]
    #[serde(rename = "KEY_MATERIAL_EXPIRES")]
    Expires,
    #[serde(rename = "KEY_MATERIAL_DOES_NOT_EXPIRE")]
    Stays,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
enum ImportType {
    #[default]
    #[serde(rename = "EXISTING_KEY_MATERIAL")]
    Existing,
    #[serde(rename = "NEW_KEY_MATERIAL")]
    New,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    /// Of symmetric keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl Request {
    /// Checks how long the material is to stay.
    fn check_expiry(&self, now: Timestamp) -> Result<(), Fault> {
        let text = match (self.expiration_model, self.valid_to) {
            (ExpirationModel::Stays, None) => return Ok(()),
            (ExpirationModel::Stays, Some(_)) => {
                "A validTo date cannot be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE"
            }
            (ExpirationModel::Expires, None) => {
                "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
            }
            (ExpirationModel::Expires, Some(at)) if at <= now => "The validTo date must be in the future",
            (ExpirationModel::Expires, Some(at)) if at > now.plus(LONGEST_IMPORT) => {
                "The validTo date must be at most 365 days from now"
            }
            (ExpirationModel::Expires, Some(_)) => return Ok(()),
        };
        Err(fault::validation(text))
    }
}

impl Operation for ImportKeyMaterial {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ImportKeyMaterial";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] =
        &["ExpirationModel", "ImportType", "KeyId", "KeyMaterialDescription", "KeyMaterialId", "ValidTo"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        request.check_expiry(call.now)?;
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let model = match request.expiration_model {
            ExpirationModel::Expires => "KEY_MATERIAL_EXPIRES",
            ExpirationModel::Stays => "KEY_MATERIAL_DOES_NOT_EXPIRE",
        };
        let ask = ask(kms, call, ACTION, target)
            .with("kms:ExpirationModel", [model])
            .with("kms:ValidTo", request.valid_to.map(|at| at.to_string()));
        vec![ask]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let (name, spec) = (target.name(), target.key().spec);
        target.key().check_import().map_err(|refusal| fault::refused(name, &refusal))?;
        let token = Token::read(kms, name, &request.import_token.0, call.now)?;
        let wrapped = request.encrypted_key_material;
        let unwrapped = spawn_blocking(move || token.unwrap(&wrapped.0)).await.map_err(Fault::internal)??;
        let material = Material::import(spec, unwrapped).ok_or_else(fault::incorrect_material)?;
        let id = material.id(name);
        if request.key_material_id.is_some_and(|named| named != id) {
            return Err(fault::incorrect_material());
        }
        let import = Import {
            expires: request.valid_to,
            description: request.key_material_description,
            present: true,
        };
        let mut change = kms.begin(&call.event_id).await?;
        let old = kms.still_there(name)?;
        let mut key = old.key.clone();
        key.import(&id, import, request.import_type == ImportType::New)
            .map_err(|refusal| fault::refused(name, &refusal))?;
        let following = following(kms, &old.key, &key, call.now);
        around(kms, following.as_slice(), async {
            change.follow(following.as_ref(), &key).await?;
            change.import(&old, key, id.clone(), material).await?;
            change.commit().await
        })
        .await?;
        Ok(Response { key_id: target.arn(), key_material_id: (spec == KeySpec::Symmetric).then_some(id) })
    }

    fn recorded_response(response: &Response) -> Option<Value> {
        Some(json!(response))
    }
}
