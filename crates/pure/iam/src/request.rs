//! What a decision is about: who, what, on which resource, under which circumstances.

use std::{borrow::Cow, collections::BTreeMap};

/// Condition keys of one request and their values. Names are case-insensitive.
///
/// Every request fills one, and few policies ask it for more than a key or two: it is a list that is searched from its
/// end, where the newest values of a key are.
#[derive(Clone, Debug, Default)]
pub struct Context(Vec<(Cow<'static, str>, Vec<String>)>);

impl Context {
    /// Sets a key. Nothing to say is the same as no key.
    pub fn set<V: Into<String>>(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        values: impl IntoIterator<Item = V>,
    ) {
        self.set_all(key, values.into_iter().map(Into::into).collect());
    }

    /// As [`Context::set`], with values that are a list already.
    pub fn set_all(&mut self, key: impl Into<Cow<'static, str>>, values: Vec<String>) {
        if !values.is_empty() {
            self.0.push((key.into(), values));
        }
    }

    /// Makes room for as many more keys.
    pub fn reserve(&mut self, keys: usize) {
        self.0.reserve(keys);
    }

    /// Every key, in lower case and in order, with its values.
    pub fn iter(&self) -> impl Iterator<Item = (String, &[String])> {
        let newest: BTreeMap<String, &[String]> =
            self.0.iter().map(|(key, values)| (key.to_ascii_lowercase(), values.as_slice())).collect();
        newest.into_iter()
    }

    /// The values of a key.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        let found = self.0.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, values)| values.as_slice())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_the_last_values_count() {
        let mut context = Context::default();
        context.set("aws:SourceIp", ["192.0.2.1"]);
        context.set(String::from("KMS:ViaService"), ["rds"]);
        context.set("AWS:sourceip", ["192.0.2.2"]);
        context.set("aws:SourceIp", [""; 0]);
        assert_eq!(context.values("aws:SOURCEIP"), Some(&["192.0.2.2".to_owned()][..]));
        assert_eq!(context.values("aws:SourceI"), None);
        let all: Vec<_> = context.iter().map(|(key, values)| (key, values.join(","))).collect();
        let shown: Vec<_> = all.iter().map(|(key, values)| (key.as_str(), values.as_str())).collect();
        assert_eq!(shown, [("aws:sourceip", "192.0.2.2"), ("kms:viaservice", "rds")]);
    }
}
