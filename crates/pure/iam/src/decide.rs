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
    /// The policies that a session was begun with: they only limit it. `None` if it has none.
    pub session: Option<&'a [Arc<Document>]>,
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
    ExplicitInSession,
    /// The session was begun with policies, and none of them allows it.
    NoSessionPolicy,
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
    let session = policies.session.map(|documents| identity_says(request, documents));
    if session.is_some_and(|session| session.denied) {
        return Decision::Denied(Reason::ExplicitInSession);
    }
    let decision = if granted {
        Decision::Allowed
    } else if policies.resource.is_none() {
        without_resource_policy(request, identity)
    } else {
        with_resource_policy(request, resource, identity, same_account)
    };
    let limited = session.is_some_and(|session| session.allowed.is_none());
    if decision.is_allowed() && limited && resource.allowed != Some(Named::AsSession) {
        return Decision::Denied(Reason::NoSessionPolicy);
    }
    decision
}

/// The resource's policy says yes, or leaves it to the caller's own, or says no.
fn with_resource_policy(
    request: &Request<'_>,
    resource: Said,
    identity: Said,
    same_account: bool,
) -> Decision {
    match (resource.allowed, same_account, request.principal) {
        (Some(Named::Directly | Named::AsSession), true, _)
        | (Some(Named::Directly), _, Principal::Service { .. }) => Decision::Allowed,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{document::Kind, request::Context};

    const ROLE: &str = "arn:aws:iam::111122223333:role/app";
    const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/app/ci";

    fn document(kind: Kind, statement: &str) -> Arc<Document> {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
        Arc::new(Document::parse(&text, kind).unwrap())
    }

    fn decided(resource: Option<&str>, identity: &[&str], session: Option<&[&str]>) -> Decision {
        let principal = Principal::Session {
            account: "111122223333".into(),
            arn: SESSION.into(),
            role_arn: ROLE.into(),
            role_id: "AROAEXAMPLEEXAMPLE001".into(),
        };
        let context = Context::default();
        let request = Request {
            principal: &principal,
            action: "kms:Encrypt",
            resource: "arn:aws:kms:us-west-2:111122223333:key/k1",
            resource_account: Some("111122223333"),
            context: &context,
        };
        let all =
            |texts: &[&str]| texts.iter().map(|text| document(Kind::Identity, text)).collect::<Vec<_>>();
        let resource = resource.map(|text| document(Kind::Key, text));
        let (identity, session) = (all(identity), session.map(all));
        decide(
            &request,
            &Policies {
                identity: &identity,
                resource: resource.as_deref(),
                granted: Granted::No,
                session: session.as_deref(),
            },
        )
    }

    #[test]
    fn a_session_may_do_only_what_its_policies_allow_as_well() {
        const ALLOW: &str = r#"{"Effect":"Allow","Action":"kms:*","Resource":"*"}"#;
        const OTHER: &str = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
        const DENY: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#;
        let key = |who: &str| {
            format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"{who}"}},"Action":"kms:*","Resource":"*"}}"#)
        };
        let (to_account, to_role, to_session) = (key("111122223333"), key(ROLE), key(SESSION));
        let none = Decision::Denied(Reason::NoSessionPolicy);
        for (resource, session, expected) in [
            (None, None, Decision::Allowed),
            (None, Some(ALLOW), Decision::Allowed),
            (None, Some(OTHER), none),
            (Some(&to_account), Some(ALLOW), Decision::Allowed),
            (Some(&to_account), Some(OTHER), none),
            (Some(&to_role), Some(OTHER), none),
            (Some(&to_session), Some(OTHER), Decision::Allowed),
            (Some(&to_session), Some(DENY), Decision::Denied(Reason::ExplicitInSession)),
        ] {
            let session = session.map(|one| vec![one]);
            let decision = decided(resource.map(String::as_str), &[ALLOW], session.as_deref());
            assert_eq!(decision, expected, "{resource:?} {session:?}");
        }
        assert_eq!(decided(None, &[], Some(&[ALLOW])), Decision::Denied(Reason::NoIdentityPolicy));
    }

    #[test]
    fn a_trust_policy_names_who_and_no_resource() {
        let parse = |statement: &str| {
            Document::parse(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#), Kind::Trust)
        };
        let good = r#"{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}"#;
        assert!(parse(good).is_ok());
        let text = |statement: &str| parse(statement).unwrap_err().to_string();
        assert_eq!(
            text(&good.replace("\"Action\"", "\"Resource\":\"*\",\"Action\"")),
            "Has prohibited field Resource"
        );
        assert_eq!(text(r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#), "Syntax errors in policy.");
    }
}
