//! Principals as policies name them (spec/policy.md §3).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    document::{Malformed, Named, texts},
    request::Principal,
};

/// One entry of a `Principal` element.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum PrincipalPattern {
    Everyone,
    /// An account, by its id or its root ARN.
    Account(String),
    /// A user, a role or a session, by ARN or by the unique id that an ARN became. `id`: whom the ARN meant
    /// when the policy was stored; who is made again under the same name is somebody else.
    Entity {
        name: String,
        id: Option<String>,
    },
    /// `rds.amazonaws.com`, regional or not.
    Service(String),
}

impl PrincipalPattern {
    /// Reads a whole `Principal` element.
    pub(crate) fn parse_all(value: &Value) -> Result<Vec<Self>, Malformed> {
        match value {
            Value::String(text) if text == "*" => Ok(vec![Self::Everyone]),
            Value::Object(kinds) if !kinds.is_empty() => {
                let mut all = Vec::new();
                for (kind, listed) in kinds {
                    for text in texts(listed)? {
                        all.push(match kind.as_str() {
                            "AWS" => Self::parse(text)?,
                            "Service" => Self::Service(text.to_owned()),
                            _ => return Err(Malformed::BadPrincipal),
                        });
                    }
                }
                Ok(all)
            }
            _ => Err(Malformed::BadPrincipal),
        }
    }

    fn parse(text: &str) -> Result<Self, Malformed> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        if is_account(text) {
            return Ok(Self::Account(text.into()));
        }
        // A deleted principal stands as its unique id and names nobody.
        let unique_id =
            text.len() == 21 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if unique_id {
            return Ok(Self::entity_named(text));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", _, service @ ("iam" | "sts"), "", account, resource] = parts[..] else {
            return Err(Malformed::BadPrincipal);
        };
        if !is_account(account) || text.contains(['*', '?']) {
            return Err(Malformed::BadPrincipal);
        }
        let entity = match service {
            "iam" => ["user/", "role/"]
                .iter()
                .any(|kind| resource.len() > kind.len() && resource.starts_with(kind)),
            _ => ["assumed-role/", "federated-user/"].iter().any(|kind| resource.starts_with(kind)),
        };
        match resource {
            "root" if service == "iam" => Ok(Self::Account(account.into())),
            _ if entity => Ok(Self::entity_named(text)),
            _ => Err(Malformed::BadPrincipal),
        }
    }

    fn entity_named(name: &str) -> Self {
        Self::Entity { name: name.into(), id: None }
    }

    /// The ARN of a user, role or session.
    pub(crate) fn entity(&self) -> Option<&str> {
        match self {
            Self::Entity { name, .. } if name.starts_with("arn:") => Some(name),
            _ => None,
        }
    }

    /// Ties an ARN to the unique id behind it.
    pub(crate) fn bind(&mut self, ids: &BTreeMap<String, String>) {
        if let Self::Entity { name, id } = self {
            *id = ids.get(name).cloned();
        }
    }

    /// Whether and how the pattern names a principal.
    pub(crate) fn names(&self, principal: &Principal) -> Option<Named> {
        match (self, principal) {
            (Self::Everyone, _) => Some(Named::Directly),
            (Self::Account(wanted), Principal::Root { account }) => {
                (wanted == account).then_some(Named::Directly)
            }
            (Self::Account(wanted), principal) => {
                (principal.account() == Some(wanted.as_str())).then_some(Named::ByAccount)
            }
            (Self::Entity { name, id: bound }, Principal::User { arn, id, .. }) => {
                let same = name == arn && bound.as_ref().is_none_or(|bound| bound == id);
                (same || name == id).then_some(Named::ByOwnArn)
            }
            (Self::Entity { name, .. }, Principal::Federated { arn, .. }) => {
                (name == arn).then_some(Named::ByOwnArn)
            }
            (Self::Entity { name, id: bound }, Principal::Session { arn, role_arn, role_id, .. }) => {
                if name == arn {
                    return Some(Named::ByOwnArn);
                }
                let same = name == role_arn && bound.as_ref().is_none_or(|bound| bound == role_id);
                (same || name == role_id).then_some(Named::Directly)
            }
            (Self::Service(wanted), Principal::Service { name }) => {
                (wanted == name || regionless(name) == *wanted).then_some(Named::Directly)
            }
            _ => None,
        }
    }
}

/// `rds.us-west-2.amazonaws.com` → `rds.amazonaws.com`
fn regionless(name: &str) -> String {
    name.split_once('.').map_or_else(|| name.to_owned(), |(service, _)| format!("{service}.amazonaws.com"))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}
