//! The decision (spec/policy.md §2): an explicit deny wins, then any allow that suffices, else no.

use std::sync::Arc;

use crate::{
    document::{Document, Effect, Named},
    request::{Principal, Request},
};

/// What speaks for and against a request.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a> {
    /// The caller's own.
    pub identity: &'a [Arc<Document>],
    /// The resource's: a key policy. `None` for services whose resources have none.
    pub resource: Option<&'a Document>,
    /// What a grant on the resource says of this use.
    pub granted: Granted,
}

/// How far a grant on the resource goes.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Granted {
    /// None covers this use.
    #[default]
    No,
    /// To the caller's account: identity policies must agree, as when a key policy names the account.
    ToAccount,
    /// To the caller: nothing else is needed.
    ToCaller,
}

/// The outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    Allowed,
    Denied(Reason),
}

/// Why not; the texts are spec/kms.md §14 and spec/policy.md §14.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    ExplicitInIdentity,
    ExplicitInResource,
    /// No identity policy allows it, and it would have sufficed or was needed.
    NoIdentityPolicy,
    /// The resource's policy neither allows it nor leaves it to identity policies.
    NoResourcePolicy,
}

impl Decision {
    /// Whether the answer is yes.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed)
    }
}

/// Decides. Pure: the time and everything else comes with the request.
pub fn decide(request: &Request<'_>, policies: &Policies<'_>) -> Decision {
    let identity = identity_says(request, policies.identity);
    let mut resource = policies.resource.map_or(Said::default(), |document| said(document, request));
    if policies.granted == Granted::ToAccount {
        resource.allowed = resource.allowed.max(Some(Named::ByAccount));
    }
    let granted = policies.granted == Granted::ToCaller;
    let same_account =
        request.resource_account.is_none_or(|owner| request.principal.account() == Some(owner));
    if resource.denied {
        return Decision::Denied(Reason::ExplicitInResource);
    }
    // A foreign account's refusal must not be told from a missing resource: what the resource says comes first.
    if !same_account && !granted && resource.allowed.is_none() {
        return Decision::Denied(Reason::NoResourcePolicy);
    }
    if identity.denied {
        return Decision::Denied(Reason::ExplicitInIdentity);
    }
    if granted {
        return Decision::Allowed;
    }
    if policies.resource.is_none() {
        return without_resource_policy(request, identity);
    }
    match (resource.allowed, same_account, request.principal) {
        (Some(Named::Directly), true, _) | (Some(Named::Directly), _, Principal::Service { .. }) => {
            Decision::Allowed
        }
        // From another account: the key side has said yes, the caller's side must too; root always does.
        (Some(_), false, Principal::Root { .. }) => Decision::Allowed,
        (Some(_), _, _) if identity.allowed.is_some() => Decision::Allowed,
        (Some(_), _, _) => Decision::Denied(Reason::NoIdentityPolicy),
        (None, _, _) => Decision::Denied(Reason::NoResourcePolicy),
    }
}

/// Resources without policies, in the caller's own account: root may do everything, users what their policies
/// allow.
fn without_resource_policy(request: &Request<'_>, identity: Said) -> Decision {
    match request.principal {
        Principal::Root { .. } => Decision::Allowed,
        _ if identity.allowed.is_some() => Decision::Allowed,
        _ => Decision::Denied(Reason::NoIdentityPolicy),
    }
}

/// What documents say of a request.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    denied: bool,
    /// The strongest way in which an allowing statement names the caller.
    allowed: Option<Named>,
}

fn said(document: &Document, request: &Request<'_>) -> Said {
    let mut said = Said::default();
    for (statement, named) in document.matching(request) {
        match statement.effect {
            Effect::Deny => said.denied = true,
            Effect::Allow => said.allowed = said.allowed.max(Some(named)),
        }
    }
    said
}

fn identity_says(request: &Request<'_>, documents: &[Arc<Document>]) -> Said {
    let mut all = Said::default();
    for document in documents {
        let one = said(document, request);
        all.denied |= one.denied;
        all.allowed = all.allowed.max(one.allowed);
    }
    all
}
