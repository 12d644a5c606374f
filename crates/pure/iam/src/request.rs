//! What a decision is about: who, what, on which resource, under which circumstances.

use std::{borrow::Cow, collections::HashMap};

/// Condition keys of one request and their values. Names are case-insensitive.
#[derive(Clone, Debug, Default)]
pub struct Context(HashMap<String, Vec<String>>);

impl Context {
    /// Sets a key. Nothing to say is the same as no key.
    pub fn set<V: Into<String>>(&mut self, key: &str, values: impl IntoIterator<Item = V>) {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        if !values.is_empty() {
            self.0.insert(key.to_ascii_lowercase(), values);
        }
    }

    /// Every key, in lower case and in order, with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        let mut all: Vec<_> = self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice())).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// The values of a key.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        let name: Cow<'_, str> = if key.bytes().any(|b| b.is_ascii_uppercase()) {
            key.to_ascii_lowercase().into()
        } else {
            key.into()
        };
        self.0.get(name.as_ref()).map(Vec::as_slice)
    }
}

/// Whose identity a request carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Principal {
    /// The root user of an account.
    Root { account: String },
    /// A user, by ARN and unique id.
    User { account: String, arn: String, id: String },
    /// A session, by its own ARN and its role's, and the role's unique id.
    Session { account: String, arn: String, role_arn: String, role_id: String },
    /// Whom a user has lent permissions with GetFederationToken: `arn:aws:sts::111122223333:federated-user/ci`.
    Federated { account: String, arn: String },
    /// A service by itself: `rds.us-west-2.amazonaws.com`.
    Service { name: String },
}

impl Principal {
    /// The account, which services do not have.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Root { account }
            | Self::User { account, .. }
            | Self::Session { account, .. }
            | Self::Federated { account, .. } => Some(account),
            Self::Service { .. } => None,
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub principal: &'a Principal,
    /// `kms:DisableKey`
    pub action: &'a str,
    /// An ARN, or `*`.
    pub resource: &'a str,
    /// Who owns the resource; `None` where there is nothing but the caller's account.
    pub resource_account: Option<&'a str>,
    pub context: &'a Context,
}
