//! Policy documents: grammar, validation, and the form in which they are evaluated (spec/policy.md §4, §9).

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::{
    condition::Condition, principal::PrincipalPattern, request::Request, template::Template,
    wildcard::Pattern,
};

/// Where a document is attached; the rules of its grammar differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// To a user: no principal, and every statement has actions and resources.
    Identity,
    /// To a KMS key: every statement has a principal, `*` means this key.
    Key,
    /// To a role: who may assume it. Every statement has a principal, none a resource, as that is the role.
    Trust,
}

/// A policy that was read and found well-formed.
#[derive(Clone, Debug)]
pub struct Document {
    kind: Kind,
    /// How people know it: `arn:aws:iam::111122223333:policy/ops`, `inline policy use of role/app`.
    name: Arc<str>,
    statements: Vec<Statement>,
}

/// Why a text is no policy. `Display` is AWS's text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error("This policy contains invalid Json")]
    Json,
    #[error("Syntax errors in policy.")]
    Syntax,
    #[error("Policy document must be version 2012-10-17 or greater.")]
    Version,
    #[error("Statement IDs (SID) in a single policy must be unique.")]
    DuplicateSid,
    #[error("Policy statement must contain actions.")]
    NoActions,
    #[error("Policy statement must contain resources.")]
    NoResources,
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")]
    NoVendor,
    #[error("Actions/Condition can contain only one colon.")]
    TooManyColons,
    #[error("Vendor {0} is not valid")]
    BadVendor(String),
    #[error("The policy failed legacy parsing")]
    Legacy,
    #[error("Resource {0} must be in ARN format or \"*\".")]
    BadResource(String),
    #[error("Policy document should not specify a principal.")]
    PrincipalNotAllowed,
    #[error("Has prohibited field Resource")]
    ResourceNotAllowed,
    #[error("Policy contains a statement with one or more invalid principals.")]
    BadPrincipal,
}

/// What a statement does when it matches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sid: Option<String>,
    pub(crate) effect: Effect,
    principals: Option<Match<PrincipalPattern>>,
    actions: Option<Match<Pattern>>,
    resources: Option<Match<Template>>,
    conditions: Vec<Condition>,
}

/// A list, or everything but a list.
#[derive(Clone, Debug)]
pub(crate) enum Match<T> {
    In(Vec<T>),
    NotIn(Vec<T>),
}

impl<T> Match<T> {
    fn holds(&self, fits: impl FnMut(&T) -> bool) -> bool {
        match self {
            Self::In(list) => list.iter().any(fits),
            Self::NotIn(list) => !list.iter().any(fits),
        }
    }

    const fn list(&self) -> &Vec<T> {
        match self {
            Self::In(list) | Self::NotIn(list) => list,
        }
    }

    const fn list_mut(&mut self) -> &mut Vec<T> {
        match self {
            Self::In(list) | Self::NotIn(list) => list,
        }
    }
}

/// How a statement's principal names the caller.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Named {
    /// As one of the caller's account: what identity policies say counts as well.
    ByAccount,
    /// By itself, or as everybody; a session by its role.
    Directly,
    /// A user or a session by its own ARN: neither a boundary nor a policy of the session limits that by silence.
    ByOwnArn,
}

impl Document {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`Malformed`], with AWS's text.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        let value: Value = serde_json::from_str(text).map_err(|_| Malformed::Json)?;
        let Value::Object(members) = value else { return Err(Malformed::Syntax) };
        if members.keys().any(|name| !matches!(name.as_str(), "Version" | "Id" | "Statement")) {
            return Err(Malformed::Syntax);
        }
        let variables = match members.get("Version") {
            Some(Value::String(version)) if version == "2012-10-17" => true,
            Some(Value::String(version)) if version == "2008-10-17" => false,
            Some(Value::String(_)) => return Err(Malformed::Version),
            None => false,
            Some(_) => return Err(Malformed::Syntax),
        };
        if members.get("Id").is_some_and(|id| !id.is_string()) {
            return Err(Malformed::Syntax);
        }
        let listed = match members.get("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list.iter().collect(),
            Some(single @ Value::Object(_)) => vec![single],
            _ => return Err(Malformed::Syntax),
        };
        let parse =
            |value: &Value| Statement::parse(value.as_object().ok_or(Malformed::Syntax)?, kind, variables);
        let statements = listed.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut sids = HashSet::new();
        let unique = statements
            .iter()
            .filter_map(|s| s.sid.as_deref())
            .filter(|s| !s.is_empty())
            .all(|s| sids.insert(s));
        if !unique && kind != Kind::Key {
            return Err(Malformed::DuplicateSid);
        }
        let name = match kind {
            Kind::Identity => "identity policy",
            Kind::Key => "key policy",
            Kind::Trust => "trust policy",
        };
        Ok(Self { kind, name: name.into(), statements })
    }

    /// The same document under a name that explanations give.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// How explanations call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Keys of the context that its conditions and variables ask for, in lower case.
    pub fn context_keys(&self) -> BTreeSet<String> {
        self.statements.iter().flat_map(Statement::context_keys).collect()
    }

    /// The document without what it allows: for decisions in which it can only refuse.
    #[must_use]
    pub fn denials(&self) -> Self {
        let denies = |statement: &&Statement| statement.effect == Effect::Deny;
        let statements = self.statements.iter().filter(denies).cloned().collect();
        Self { kind: self.kind, name: Arc::clone(&self.name), statements }
    }

    /// ARNs of users, roles and sessions that the document names: whoever stores it checks that they exist.
    pub fn named_principals(&self) -> impl Iterator<Item = &str> {
        let listed = self.statements.iter().filter_map(|statement| statement.principals.as_ref());
        listed.flat_map(|principals| principals.list().iter().filter_map(PrincipalPattern::entity))
    }

    /// Ties ARNs to the unique ids behind them, so that they no longer match who is made again under an old name
    /// (spec/policy.md §3).
    #[must_use]
    pub fn bound_to(mut self, ids: &BTreeMap<String, String>) -> Self {
        let listed = self.statements.iter_mut().filter_map(|statement| statement.principals.as_mut());
        listed.flat_map(|principals| principals.list_mut().iter_mut()).for_each(|pattern| pattern.bind(ids));
        self
    }

    /// The statements that speak of a request, and how they name the caller. In identity policies every
    /// statement names him directly.
    pub(crate) fn matching<'a>(
        &'a self,
        request: &'a Request<'a>,
    ) -> impl Iterator<Item = (usize, &'a Statement, Named)> {
        let numbered = self.statements.iter().enumerate();
        numbered
            .filter_map(|(index, statement)| Some((index, statement, statement.matches(request, self.kind)?)))
    }

    /// How an explanation names one of the statements: by its `Sid`, else by its number, counted from one.
    pub(crate) fn statement_name(&self, index: usize) -> String {
        let sid = self.statements.get(index).and_then(|statement| statement.sid.as_deref());
        sid.filter(|sid| !sid.is_empty()).map_or_else(|| format!("#{}", index + 1), str::to_owned)
    }

    pub(crate) fn denies(&self, index: usize) -> bool {
        self.statements.get(index).is_some_and(|statement| statement.effect == Effect::Deny)
    }

    /// Allowing statements that speak of the caller and the action, and why they do not apply.
    pub(crate) fn near_misses<'a>(
        &'a self,
        request: &'a Request<'a>,
    ) -> impl Iterator<Item = (usize, Vec<String>)> {
        let allowing = self.statements.iter().enumerate().filter(|(_, s)| s.effect == Effect::Allow);
        allowing.filter_map(|(index, statement)| {
            let missed = statement.misses(request, self.kind)?;
            (!missed.is_empty()).then_some((index, missed))
        })
    }
}

impl Statement {
    fn parse(members: &Map<String, Value>, kind: Kind, variables: bool) -> Result<Self, Malformed> {
        const KNOWN: [&str; 9] = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        if members.keys().any(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Malformed::Syntax);
        }
        let sid = match members.get("Sid") {
            None => None,
            Some(Value::String(sid)) => {
                let plain = sid.bytes().all(|b| b.is_ascii_alphanumeric());
                if kind != Kind::Key && !plain {
                    return Err(Malformed::Syntax);
                }
                Some(sid.clone())
            }
            Some(_) => return Err(Malformed::Syntax),
        };
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(Malformed::Syntax),
        };
        let principals = pair(members, "Principal", "NotPrincipal")?
            .map(|(value, negated)| PrincipalPattern::parse_all(value).map(|list| side(list, negated)))
            .transpose()?;
        match kind {
            Kind::Identity if principals.is_some() => return Err(Malformed::PrincipalNotAllowed),
            Kind::Key | Kind::Trust if principals.is_none() => return Err(Malformed::Syntax),
            _ => {}
        }
        let actions = pair(members, "Action", "NotAction")?
            .map(|(value, negated)| {
                texts(value)?.into_iter().map(action).collect::<Result<_, _>>().map(|l| side(l, negated))
            })
            .transpose()?;
        let resources = pair(members, "Resource", "NotResource")?
            .map(|(value, negated)| {
                let read = |text: &str| resource(text, kind, variables);
                texts(value)?.into_iter().map(read).collect::<Result<_, _>>().map(|list| side(list, negated))
            })
            .transpose()?;
        // In a key policy such a statement is accepted and has no effect.
        if kind != Kind::Key && actions.is_none() {
            return Err(Malformed::NoActions);
        }
        if kind == Kind::Identity && resources.is_none() {
            return Err(Malformed::NoResources);
        }
        if kind == Kind::Trust && resources.is_some() {
            return Err(Malformed::ResourceNotAllowed);
        }
        let conditions = match members.get("Condition") {
            None => Vec::new(),
            Some(Value::Object(operators)) => conditions(operators, variables)?,
            Some(_) => return Err(Malformed::Syntax),
        };
        Ok(Self { sid, effect, principals, actions, resources, conditions })
    }

    fn matches(&self, request: &Request<'_>, kind: Kind) -> Option<Named> {
        let named = self.named(request, kind)?;
        let fits = self.covers_action(request)
            && self.covers_resource(request, kind)
            && self.conditions.iter().all(|condition| condition.holds(request.context));
        fits.then_some(named)
    }

    fn covers_action(&self, request: &Request<'_>) -> bool {
        let action = request.action.to_ascii_lowercase();
        self.actions.as_ref().is_some_and(|actions| actions.holds(|pattern| pattern.matches(&action)))
    }

    fn covers_resource(&self, request: &Request<'_>, kind: Kind) -> bool {
        self.resources.as_ref().map_or(kind == Kind::Trust, |resources| {
            resources.list().iter().all(|template| template.resolves(request.context))
                && resources.holds(|template| resource_fits(template, request, kind))
        })
    }

    /// What keeps a statement about this caller and this action from applying; `None` if it is about others.
    fn misses(&self, request: &Request<'_>, kind: Kind) -> Option<Vec<String>> {
        self.named(request, kind)?;
        if !self.covers_action(request) {
            return None;
        }
        let mut missed = Vec::new();
        if !self.covers_resource(request, kind) {
            missed.push("Resource".to_owned());
        }
        let failing = self.conditions.iter().filter(|condition| !condition.holds(request.context));
        missed.extend(failing.map(|condition| condition.told(request.context)));
        Some(missed)
    }

    fn context_keys(&self) -> impl Iterator<Item = String> {
        let of_resources = self.resources.iter().flat_map(|resources| resources.list().iter());
        let of_conditions = self.conditions.iter().flat_map(Condition::context_keys);
        of_resources.flat_map(Template::keys).map(str::to_owned).chain(of_conditions)
    }

    fn named(&self, request: &Request<'_>, kind: Kind) -> Option<Named> {
        match &self.principals {
            None => (kind == Kind::Identity).then_some(Named::Directly),
            Some(Match::In(list)) => list.iter().filter_map(|pattern| pattern.names(request.principal)).max(),
            Some(Match::NotIn(list)) => {
                let excepted = list.iter().any(|pattern| pattern.names(request.principal).is_some());
                (!excepted).then_some(Named::Directly)
            }
        }
    }
}

/// `"*"` in a key policy is this key; in an identity policy, everything.
fn resource_fits(template: &Template, request: &Request<'_>, kind: Kind) -> bool {
    if request.resource == "*" {
        // Operations without a resource are only allowed by `*`.
        let any = Template::parse("*", false);
        return kind == Kind::Key || any.is_ok_and(|any| any == *template);
    }
    template.matches_arn(request.resource, request.context)
}

fn conditions(operators: &Map<String, Value>, variables: bool) -> Result<Vec<Condition>, Malformed> {
    let mut all = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().ok_or(Malformed::Syntax)? {
            all.push(Condition::parse(operator, key, values, variables)?);
        }
    }
    Ok(all)
}

/// Exactly one of `Name` and `NotName`, or none.
fn pair<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    negated: &str,
) -> Result<Option<(&'a Value, bool)>, Malformed> {
    match (members.get(name), members.get(negated)) {
        (Some(_), Some(_)) => Err(Malformed::Syntax),
        (Some(value), None) => Ok(Some((value, false))),
        (None, Some(value)) => Ok(Some((value, true))),
        (None, None) => Ok(None),
    }
}

fn side<T>(list: Vec<T>, negated: bool) -> Match<T> {
    if negated { Match::NotIn(list) } else { Match::In(list) }
}

pub(crate) fn texts(value: &Value) -> Result<Vec<&str>, Malformed> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) => items.iter().map(|item| item.as_str().ok_or(Malformed::Syntax)).collect(),
        _ => Err(Malformed::Syntax),
    }
}

/// Actions compare without regard to case.
fn action(text: &str) -> Result<Pattern, Malformed> {
    match text.matches(':').count() {
        _ if text == "*" => {}
        0 => return Err(Malformed::NoVendor),
        1 => {
            let vendor = text.split(':').next().unwrap_or_default();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            if vendor.is_empty() || !vendor.chars().all(plain) {
                return Err(Malformed::BadVendor(vendor.chars().take(256).collect()));
            }
        }
        _ => return Err(Malformed::TooManyColons),
    }
    Ok(Pattern::new(&text.to_ascii_lowercase()))
}

fn resource(text: &str, kind: Kind, variables: bool) -> Result<Template, Malformed> {
    if kind == Kind::Identity && text != "*" {
        if !text.starts_with("arn:") {
            return Err(Malformed::BadResource(text.chars().take(256).collect()));
        }
        if text.splitn(6, ':').count() != 6 {
            return Err(Malformed::Legacy);
        }
    }
    Template::parse(text, variables)
}
