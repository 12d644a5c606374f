//! `kms:ListKeyRotations` (spec/kms.md §10): the rotations of a key, or all its materials. Trail: management
//! event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use kms::{Import, RotationType};
use serde::{Deserialize, Serialize};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    metadata::expiration_model,
    page::{Limits, Wanted},
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:ListKeyRotations";

/// Lists rotations.
pub struct ListKeyRotations;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    #[serde(default)]
    include_key_material: Include,
    #[serde(flatten)]
    page: Wanted,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
enum Include {
    #[default]
    #[serde(rename = "ROTATIONS_ONLY")]
    Rotations,
    /// The first material too, which no rotation made.
    #[serde(rename = "ALL_KEY_MATERIAL")]
    All,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    rotations: Vec<Rotation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rotation {
    key_id: String,
    key_material_id: String,
    key_material_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_date: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_type: Option<RotationType>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    imported: Option<Imported>,
}

/// Of imported material only.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Imported {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_description: Option<String>,
    import_state: &'static str,
    /// With the next, only while the material is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_model: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_to: Option<Timestamp>,
}

impl From<&Import> for Imported {
    fn from(import: &Import) -> Self {
        Self {
            key_material_description: import.description.clone(),
            import_state: if import.present { "IMPORTED" } else { "PENDING_IMPORT" },
            expiration_model: import.present.then(|| expiration_model(import)),
            valid_to: import.expires.filter(|_| import.present),
        }
    }
}

impl Operation for ListKeyRotations {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ListKeyRotations";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["IncludeKeyMaterial", "KeyId", "Limit", "Marker"];
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
        _: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let key = target.key();
        key.check_rotatable().map_err(|refusal| fault::refused(&key.name, &refusal))?;
        let all = request.include_key_material == Include::All;
        let wanted =
            key.materials.iter().chain(&key.pending).enumerate().filter(|(_, m)| all || m.rotated.is_some());
        // Materials are in order of their making; the marker is a place in it.
        let page = request.page.page(Limits::LONG, wanted, |(index, _)| format!("{index:06}"))?;
        let current = key.current_material();
        let waiting_state = match kms.related(&key.name).iter().all(|entry| entry.key.has_pending()) {
            true => "PENDING_ROTATION",
            false => "PENDING_MULTI_REGION_IMPORT_AND_ROTATION",
        };
        let rotation = |material: &kms::Material| Rotation {
            key_id: key.name.id.to_string(),
            key_material_id: material.id.clone(),
            key_material_state: match &key.pending {
                Some(waiting) if waiting.id == material.id => waiting_state,
                _ if material.id == current => "CURRENT",
                _ => "NON_CURRENT",
            },
            rotation_date: material.rotated.map(|(at, _)| at),
            rotation_type: material.rotated.map(|(_, kind)| kind),
            imported: material.imported.as_ref().map(Imported::from),
        };
        Ok(Response {
            rotations: page.items.into_iter().map(|(_, material)| rotation(material)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}
