//! `kms:ListGrants` (spec/kms.md §11): the grants of a key. Across accounts. Trail: management event, read.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use wire::{Fault, ServiceId};

use crate::{
    grant_list::GrantList,
    page::Wanted,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:ListGrants";

/// Lists grants.
pub struct ListGrants;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    grant_id: Option<String>,
    grantee_principal: Option<String>,
    grantee_service_principal: Option<String>,
    #[serde(flatten)]
    page: Wanted,
}

impl Operation for ListGrants {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ListGrants";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] =
        &["GrantId", "GranteePrincipal", "GranteeServicePrincipal", "KeyId", "Limit", "Marker"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = GrantList;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::Keys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, _: &Request, target: &Target) -> Vec<Ask> {
        let for_service = call.via.is_some().to_string();
        vec![ask(kms, call, ACTION, target).with("kms:GrantIsForAWSResource", [for_service])]
    }

    async fn act(
        kms: &Kms,
        _: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<GrantList, Fault> {
        let mut grants = kms.grants_of(target.name());
        grants.retain(|grant| {
            request.grant_id.as_ref().is_none_or(|id| grant.id == *id)
                && request.grantee_principal.as_ref().is_none_or(|principal| grant.grantee == *principal)
                && request
                    .grantee_service_principal
                    .as_ref()
                    .is_none_or(|service| grant.to_service && grant.grantee == *service)
        });
        GrantList::page(&request.page, grants)
    }
}
