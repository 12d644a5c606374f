//! The decision (spec/policy.md §2): an explicit deny wins, then any allow that suffices, else no.

use std::sync::Arc;

use crate::{
    document::{Document, Effect, Named},
    request::{Principal, Request},
};

/// What speaks for and against a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'a> {
    /// The caller's own.
    pub identity: &'a [Arc<Document>],
    /// The resource's: a key policy. `None` for services whose resources have none.
    pub resource: Option<&'a Document>,
    /// What a grant on the resource says of this use.
    pub granted: Granted,
    /// The permissions boundary of the user or the role: it only limits.
    pub boundary: Option<&'a Document>,
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
    ExplicitInBoundary,
    ExplicitInSession,
    /// The user or the role has a permissions boundary, and it does not allow it.
    NoBoundary,
    /// The session was begun with policies, and none of them allows it.
    NoSessionPolicy,
    /// No identity policy allows it, and it would have sufficed or was needed.
    NoIdentityPolicy,
    /// The resource's policy neither allows it nor leaves it to identity policies.
    NoResourcePolicy,
}

impl Reason {
    /// Whether a statement says no, rather than none says yes.
    pub const fn is_explicit(self) -> bool {
        matches!(
            self,
            Self::ExplicitInIdentity
                | Self::ExplicitInResource
                | Self::ExplicitInBoundary
                | Self::ExplicitInSession
        )
    }
}

impl Decision {
    /// Whether the answer is yes.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed)
    }
}

/// A decision and the statements that made it.
#[derive(Clone, Debug)]
pub struct Judgement<'a> {
    pub decision: Decision,
    /// What denied, or everything that had to allow; empty if nothing spoke.
    pub by: Vec<Voice<'a>>,
}

/// A statement that spoke.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    pub layer: Layer,
    pub document: &'a Document,
    /// Counted from zero.
    pub statement: usize,
}

impl Voice<'_> {
    /// Whether the statement says no.
    pub fn denies(&self) -> bool {
        self.document.denies(self.statement)
    }

    /// The statement's `Sid`, or its number: `#1`.
    pub fn statement_name(&self) -> String {
        self.document.statement_name(self.statement)
    }
}

/// The place of a policy in a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layer {
    Identity,
    Resource,
    Boundary,
    Session,
}

/// An allowing statement that speaks of the caller and the action and yet does not apply.
#[derive(Clone, Debug)]
pub struct Miss<'a> {
    pub voice: Voice<'a>,
    /// `Resource`, or conditions with what the request has.
    pub why: Vec<String>,
}

/// Decides. Pure: the time and everything else comes with the request.
pub fn decide(request: &Request<'_>, policies: &Policies<'_>) -> Decision {
    judge(request, policies).decision
}

/// Decides, and tells by which statements.
pub fn judge<'a>(request: &Request<'_>, policies: &Policies<'a>) -> Judgement<'a> {
    let identity = Said::of(Layer::Identity, policies.identity.iter().map(|one| &**one), request);
    let mut resource = Said::of(Layer::Resource, policies.resource, request);
    if policies.granted == Granted::ToAccount {
        resource.named = resource.named.max(Some(Named::ByAccount));
    }
    let granted = policies.granted == Granted::ToCaller;
    let same_account =
        request.resource_account.is_none_or(|owner| request.principal.account() == Some(owner));
    let denied = |reason, by: Option<Voice<'a>>| Judgement {
        decision: Decision::Denied(reason),
        by: by.into_iter().collect(),
    };
    if resource.denied.is_some() {
        return denied(Reason::ExplicitInResource, resource.denied);
    }
    // A foreign account's refusal must not be told from a missing resource: what the resource says comes first.
    if !same_account && !granted && resource.named.is_none() {
        return denied(Reason::NoResourcePolicy, None);
    }
    if identity.denied.is_some() {
        return denied(Reason::ExplicitInIdentity, identity.denied);
    }
    let boundary = policies.boundary.map(|document| Said::of(Layer::Boundary, [document], request));
    let session = policies
        .session
        .map(|documents| Said::of(Layer::Session, documents.iter().map(|one| &**one), request));
    for (said, reason) in [(&boundary, Reason::ExplicitInBoundary), (&session, Reason::ExplicitInSession)] {
        if let Some(voice) = said.as_ref().and_then(|said| said.denied) {
            return denied(reason, Some(voice));
        }
    }
    let decision = if granted {
        Decision::Allowed
    } else if policies.resource.is_none() {
        without_resource_policy(request, identity.named.is_some())
    } else {
        with_resource_policy(request, resource.named, identity.named.is_some(), same_account)
    };
    if !decision.is_allowed() {
        return Judgement { decision, by: Vec::new() };
    }
    // What names a user or a session itself is not limited by silence, and neither is a grant to a user.
    let by_own_arn = resource.named == Some(Named::ByOwnArn);
    let granted_to_user = granted && matches!(request.principal, Principal::User { .. });
    let silent = |said: &Option<Said<'_>>| said.as_ref().is_some_and(|said| said.named.is_none());
    if !by_own_arn && !granted_to_user {
        if silent(&boundary) {
            return denied(Reason::NoBoundary, None);
        }
        if silent(&session) {
            return denied(Reason::NoSessionPolicy, None);
        }
    }
    let said = [Some(resource), Some(identity), boundary, session];
    Judgement { decision, by: said.into_iter().flatten().filter_map(|said| said.allowed).collect() }
}

/// What nearly allowed a request that was denied: a policy somebody wrote for it, and what is different.
pub fn near_misses<'a>(request: &'a Request<'a>, policies: &Policies<'a>) -> Vec<Miss<'a>> {
    let layers = [
        (Layer::Identity, policies.identity.iter().map(|one| &**one).collect::<Vec<_>>()),
        (Layer::Resource, policies.resource.into_iter().collect()),
        (Layer::Boundary, policies.boundary.into_iter().collect()),
        (Layer::Session, policies.session.into_iter().flatten().map(|one| &**one).collect()),
    ];
    let mut all = Vec::new();
    for (layer, documents) in layers {
        for document in documents {
            all.extend(
                document
                    .near_misses(request)
                    .map(|(statement, why)| Miss { voice: Voice { layer, document, statement }, why }),
            );
        }
    }
    all
}

/// Every statement that speaks of a request, denying ones as well as allowing ones.
pub fn speaking<'a>(request: &Request<'_>, layer: Layer, document: &'a Document) -> Vec<Voice<'a>> {
    document.matching(request).map(|(statement, ..)| Voice { layer, document, statement }).collect()
}

/// The resource's policy says yes, or leaves it to the caller's own, or says no.
const fn with_resource_policy(
    request: &Request<'_>,
    resource: Option<Named>,
    identity: bool,
    same_account: bool,
) -> Decision {
    match (resource, same_account, request.principal) {
        (Some(Named::Directly | Named::ByOwnArn), true, _)
        | (Some(Named::Directly), _, Principal::Service { .. }) => Decision::Allowed,
        // From another account: the key side has said yes, the caller's side must too; root always does.
        (Some(_), false, Principal::Root { .. }) => Decision::Allowed,
        (Some(_), _, _) if identity => Decision::Allowed,
        (Some(_), _, _) => Decision::Denied(Reason::NoIdentityPolicy),
        (None, _, _) => Decision::Denied(Reason::NoResourcePolicy),
    }
}

/// Resources without policies, in the caller's own account: root may do everything, users what their policies
/// allow.
const fn without_resource_policy(request: &Request<'_>, identity: bool) -> Decision {
    match request.principal {
        Principal::Root { .. } => Decision::Allowed,
        _ if identity => Decision::Allowed,
        _ => Decision::Denied(Reason::NoIdentityPolicy),
    }
}

/// What the policies of one layer say of a request.
#[derive(Clone, Copy, Debug, Default)]
struct Said<'a> {
    denied: Option<Voice<'a>>,
    allowed: Option<Voice<'a>>,
    /// The strongest way in which an allowing statement, or a grant, names the caller.
    named: Option<Named>,
}

impl<'a> Said<'a> {
    fn of(layer: Layer, documents: impl IntoIterator<Item = &'a Document>, request: &Request<'_>) -> Self {
        let mut all = Self::default();
        for document in documents {
            for (statement, found, named) in document.matching(request) {
                let voice = Some(Voice { layer, document, statement });
                match found.effect {
                    Effect::Deny => all.denied = all.denied.or(voice),
                    Effect::Allow if Some(named) > all.named => {
                        (all.named, all.allowed) = (Some(named), voice);
                    }
                    Effect::Allow => {}
                }
            }
        }
        all
    }
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
                session: session.as_deref(),
                ..Policies::default()
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
