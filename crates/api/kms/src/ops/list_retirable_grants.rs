//! `kms:ListRetirableGrants` (spec/kms.md §11): the grants that a principal of the account may retire, on
//! keys of any account. Trail: management event, read.

use front::{Ask, Authorized, Call, Caller, Effect, Operation};
use kms::Grant;
use serde::Deserialize;
use wire::{Fault, ServiceId};

use crate::{fault, grant_list::GrantList, page::Wanted, registry::Kms, target::ask_of};

/// Lists grants by who may retire them.
pub struct ListRetirableGrants;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    retiring_principal: Option<String>,
    retiring_service_principal: Option<String>,
    #[serde(flatten)]
    page: Wanted,
}

impl Operation for ListRetirableGrants {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ListRetirableGrants";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] =
        &["Limit", "Marker", "RetiringPrincipal", "RetiringServicePrincipal"];
    type State = Kms;
    type Request = Request;
    type Target = ();
    type Response = GrantList;

    async fn resolve(_: &Kms, _: &Call, request: &Request) -> Result<(), Fault> {
        match (&request.retiring_principal, &request.retiring_service_principal) {
            (None, None) => Err(fault::missing("retiringPrincipal")),
            (Some(_), Some(_)) => {
                let text = "Specify either RetiringPrincipal or RetiringServicePrincipal.";
                Err(fault::validation(text))
            }
            _ => Ok(()),
        }
    }

    fn asks(_: &Kms, call: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![ask_of(call, "kms:ListRetirableGrants", "*")]
    }

    async fn act(kms: &Kms, call: &Call, request: Request, _: Authorized<()>) -> Result<GrantList, Fault> {
        // Of services, those of the caller's account alone are told.
        let by_service = request.retiring_service_principal.is_some();
        let of_account = |grant: &Grant| !by_service || grant.key.account == *call.account();
        let own = |principal: &&String| by_service || is_own(call, principal);
        let named = request.retiring_principal.or(request.retiring_service_principal);
        let grants = match named.as_ref().filter(own) {
            Some(principal) => kms.grants_retired_by(principal, |grant: &Grant| {
                grant.retired_by_service == by_service && grant.key.region == call.region && of_account(grant)
            }),
            None => Vec::new(),
        };
        GrantList::page(&request.page, grants)
    }
}

/// Principals of the caller's account; services see their own.
fn is_own(call: &Call, principal: &str) -> bool {
    match &call.caller {
        Caller::Service(service) => service.principal == *principal,
        caller => principal.split(':').nth(4) == Some(caller.account().as_str()),
    }
}
