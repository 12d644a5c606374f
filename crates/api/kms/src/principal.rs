//! Principals that grants name (spec/kms.md §11).

use front::{Call, Caller, Service};
use ids::{AccountId, Arn};
use wire::Fault;

use crate::registry::Kms;

/// Checks the grantee or the retiring principal of a new grant: an account, user, role or session that is
/// there. A service may name itself; nobody else can name a service this way.
///
/// # Errors
/// `InvalidArnException`
pub fn check(kms: &Kms, call: &Call, principal: &str) -> Result<(), Fault> {
    let known = match principal.parse::<Arn>() {
        Ok(arn) => names_someone(&arn) && kms.principal_exists(principal),
        Err(_) => is_calling_service(call, principal),
    };
    if known { Ok(()) } else { Err(unknown(principal)) }
}

/// Checks a service that a new grant names as one: those of this server, in all regions or in the key's.
///
/// # Errors
/// `InvalidArnException`
pub fn check_service(call: &Call, principal: &str) -> Result<(), Fault> {
    let rds = Service::rds(&call.region, call.account().clone(), None);
    let known = [rds.name, rds.principal].iter().any(|known| known == principal);
    if known { Ok(()) } else { Err(unknown(principal)) }
}

fn unknown(principal: &str) -> Fault {
    Fault::client("InvalidArnException", format!("ARN does not refer to a valid principal: {principal}"))
}

fn names_someone(arn: &Arn) -> bool {
    let kinds: &[&str] = match arn.service.as_str() {
        "iam" => &["user/", "role/"],
        "sts" => &["assumed-role/", "federated-user/"],
        _ => return false,
    };
    let of_kind = |kind: &&str| arn.resource.strip_prefix(*kind).is_some_and(|name| !name.is_empty());
    let root = arn.service == "iam" && arn.resource == "root";
    arn.region.is_empty() && arn.account.parse::<AccountId>().is_ok() && (root || kinds.iter().any(of_kind))
}

fn is_calling_service(call: &Call, principal: &str) -> bool {
    let forwarded = call.via.as_ref().is_some_and(|via| via.principal(&call.region) == principal);
    forwarded || matches!(&call.caller, Caller::Service(service) if service.principal == principal)
}
