//! Grants (spec/kms.md §11).

use std::collections::{BTreeMap, BTreeSet};

use ids::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    id::KeyName,
    spec::{KeySpec, KeyUsage},
};

/// A grant on one key for one grantee.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// 64 hex digits.
    pub id: String,
    pub key: KeyName,
    pub name: Option<String>,
    pub created: Timestamp,
    pub grantee: String,
    /// The unique id behind the grantee's ARN, of a user or role: who is made again under the same name is
    /// somebody else.
    #[serde(default)]
    pub grantee_id: Option<String>,
    pub retiring: Option<String>,
    /// The same of the retiring principal.
    #[serde(default)]
    pub retiring_id: Option<String>,
    /// Whether the grantee was named as a service principal.
    #[serde(default)]
    pub to_service: bool,
    /// The same of the retiring principal.
    #[serde(default)]
    pub retired_by_service: bool,
    /// The account of whoever created it.
    pub issuing_account: AccountId,
    pub operations: BTreeSet<String>,
    pub constraints: Constraints,
}

/// What a use must be: its encryption context, and the resource for which a service makes it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Constraints {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub encryption_context_subset: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub encryption_context_equals: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_arn: Option<String>,
}

/// Who uses a key, as grants name principals.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User<'a> {
    /// The caller's ARN, or a service principal.
    pub arn: &'a str,
    /// The unique id of a user, or of a session's role; empty for everybody else.
    pub id: &'a str,
    /// The role of a session.
    pub role_arn: Option<&'a str>,
    /// `None` for services.
    pub account: Option<&'a AccountId>,
    /// What else a service is called, in every region: `rds.amazonaws.com`.
    pub service: Option<&'a str>,
    /// The ARN of the resource for which a service acts.
    pub source_arn: Option<&'a str>,
}

/// Operations that a grant on any key can hold.
const ALWAYS: [&str; 3] = ["CreateGrant", "RetireGrant", "DescribeKey"];

/// Whether a grant on a key of a kind can hold an operation (spec/kms.md §11).
pub fn grantable(operation: &str, spec: KeySpec, usage: KeyUsage) -> bool {
    let of_kind: &[&str] = match (spec, usage) {
        (KeySpec::Symmetric, _) => &[
            "Decrypt",
            "Encrypt",
            "GenerateDataKey",
            "GenerateDataKeyWithoutPlaintext",
            "GenerateDataKeyPair",
            "GenerateDataKeyPairWithoutPlaintext",
            "ReEncryptFrom",
            "ReEncryptTo",
        ],
        (_, KeyUsage::GenerateVerifyMac) => &["GenerateMac", "VerifyMac"],
        (_, KeyUsage::EncryptDecrypt) => {
            &["Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo", "GetPublicKey"]
        }
        (_, KeyUsage::SignVerify) => &["Sign", "Verify", "GetPublicKey"],
        (_, KeyUsage::KeyAgreement) => &["DeriveSharedSecret", "GetPublicKey"],
        (_, KeyUsage::EncapsulateDecapsulate) => &["Encapsulate", "Decapsulate", "GetPublicKey"],
    };
    ALWAYS.contains(&operation) || of_kind.contains(&operation)
}

/// Operations without an encryption context: constraints do not apply to them.
const CONTEXT_FREE: [&str; 2] = ["DescribeKey", "RetireGrant"];

impl Constraints {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        !self.has_context() && self.source_arn.is_none()
    }

    /// Whether any is about the encryption context.
    pub const fn has_context(&self) -> bool {
        self.encryption_context_subset.is_some() || self.encryption_context_equals.is_some()
    }

    /// The pairs of all constraints.
    pub fn pairs(&self) -> impl Iterator<Item = (&String, &String)> {
        self.both().flatten()
    }

    /// How many pairs the longer one has.
    pub fn longest(&self) -> usize {
        self.both().map(BTreeMap::len).max().unwrap_or(0)
    }

    fn both(&self) -> impl Iterator<Item = &BTreeMap<String, String>> {
        self.encryption_context_subset.iter().chain(&self.encryption_context_equals)
    }

    /// Keys compare without regard to case, values exactly (spec/kms.md §11).
    fn admit_context(&self, context: &BTreeMap<String, String>) -> bool {
        let holds = |(key, value): (&String, &String)| {
            context.iter().any(|(k, v)| k.eq_ignore_ascii_case(key) && v == value)
        };
        let subset = self.encryption_context_subset.as_ref().is_none_or(|wanted| wanted.iter().all(holds));
        let equals = self
            .encryption_context_equals
            .as_ref()
            .is_none_or(|wanted| wanted.len() == context.len() && wanted.iter().all(holds));
        subset && equals
    }

    fn admit_source(&self, user: &User<'_>) -> bool {
        self.source_arn.is_none() || self.source_arn.as_deref() == user.source_arn
    }

    /// Whether these are at least as strict as a parent's: a subset may add pairs or become equality, never
    /// the reverse.
    fn keep(&self, parent: &Self) -> bool {
        let pairs = self.encryption_context_equals.as_ref().or(self.encryption_context_subset.as_ref());
        let has_all = |wanted: &BTreeMap<String, String>| {
            pairs.is_some_and(|pairs| wanted.iter().all(|(key, value)| pairs.get(key) == Some(value)))
        };
        let equals = parent.encryption_context_equals.as_ref();
        parent.encryption_context_subset.as_ref().is_none_or(has_all)
            && equals.is_none_or(|wanted| self.encryption_context_equals.as_ref() == Some(wanted))
            && (parent.source_arn.is_none() || self.source_arn == parent.source_arn)
    }
}

impl User<'_> {
    /// The principals that the user is, as grants name them: itself, its role, its account.
    pub fn principals(&self) -> Vec<String> {
        let root = self.account.map(root_of);
        [Some(self.arn), self.role_arn, self.service]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .chain(root)
            .collect()
    }

    fn is_named(&self, principal: &str, id: Option<&str>) -> bool {
        let named = [Some(self.arn), self.role_arn, self.service].contains(&Some(principal));
        named && id.is_none_or(|id| id == self.id)
    }
}

/// How policies and grants name a whole account.
pub fn root_of(account: &AccountId) -> String {
    format!("arn:aws:iam::{account}:root")
}

impl Grant {
    /// Whether the grant is to the user itself or its role, and not just to its account.
    pub fn names(&self, user: &User<'_>) -> bool {
        user.is_named(&self.grantee, self.grantee_id.as_deref())
    }

    fn is_to(&self, user: &User<'_>) -> bool {
        self.names(user) || user.account.is_some_and(|account| self.grantee == root_of(account))
    }

    /// Whether the grant allows a user an operation with an encryption context. For `CreateGrant`, see
    /// [`Grant::allows_child`].
    pub fn allows(&self, user: &User<'_>, operation: &str, context: &BTreeMap<String, String>) -> bool {
        self.is_to(user)
            && self.operations.contains(operation)
            && self.constraints.admit_source(user)
            && (CONTEXT_FREE.contains(&operation) || self.constraints.admit_context(context))
    }

    /// Whether a user may make a grant out of this one: no more operations, no looser constraints.
    pub fn allows_child(
        &self,
        user: &User<'_>,
        operations: &BTreeSet<String>,
        constraints: &Constraints,
    ) -> bool {
        self.is_to(user)
            && self.operations.contains("CreateGrant")
            && self.constraints.admit_source(user)
            && operations.is_subset(&self.operations)
            && constraints.keep(&self.constraints)
    }

    /// Whether a user may retire it without being told so by a policy.
    pub fn may_retire(&self, user: &User<'_>) -> bool {
        let id = self.retiring_id.as_deref();
        let retiring = self.retiring.as_deref().is_some_and(|principal| user.is_named(principal, id));
        let grantee = self.operations.contains("RetireGrant") && self.names(user);
        retiring || grantee || user.arn == root_of(&self.issuing_account)
    }

    /// Whether an account may let its principals retire it: the account that made it, and that of the
    /// retiring principal.
    pub fn retirable_from(&self, account: &AccountId) -> bool {
        let of_retiring = self.retiring.as_deref().and_then(|arn| arn.split(':').nth(4));
        self.issuing_account == *account || of_retiring == Some(account.as_str())
    }

    /// Whether a second request with the same name means this grant.
    pub fn is_same_request(&self, other: &Self) -> bool {
        let unlike = |grant: &Self| Self { id: String::new(), created: self.created, ..grant.clone() };
        self.name.is_some() && unlike(self) == unlike(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn operations(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn grant(constraints: Constraints) -> Grant {
        Grant {
            id: "1".into(),
            key: KeyName {
                account: "111122223333".parse().unwrap(),
                region: "us-west-2".parse().unwrap(),
                id: "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap(),
            },
            name: Some("n".into()),
            created: Timestamp::default(),
            grantee: "rds.us-west-2.amazonaws.com".into(),
            grantee_id: None,
            retiring: None,
            retiring_id: None,
            to_service: false,
            retired_by_service: false,
            issuing_account: "111122223333".parse().unwrap(),
            operations: operations(&["Decrypt", "CreateGrant", "DescribeKey"]),
            constraints,
        }
    }

    const CLUSTER: &str = "arn:aws:rds:us-west-2:111122223333:cluster:orders";
    const RDS: User<'_> = User {
        arn: "rds.us-west-2.amazonaws.com",
        id: "",
        role_arn: None,
        account: None,
        service: Some("rds.amazonaws.com"),
        source_arn: Some(CLUSTER),
    };

    #[test]
    fn constraints_are_held_where_there_is_a_context() {
        let subset = grant(Constraints {
            encryption_context_subset: Some(pairs(&[("a", "1")])),
            ..Constraints::default()
        });
        for (context, allowed) in [
            (&[("a", "1")][..], true),
            (&[("A", "1")], true),
            (&[("a", "1"), ("b", "2")], true),
            (&[("a", "2")], false),
            (&[], false),
        ] {
            assert_eq!(subset.allows(&RDS, "Decrypt", &pairs(context)), allowed, "{context:?}");
        }
        assert!(subset.allows(&RDS, "DescribeKey", &pairs(&[])));
        assert!(!subset.allows(&RDS, "Encrypt", &pairs(&[("a", "1")])), "not granted");
        let equals = grant(Constraints {
            encryption_context_equals: Some(pairs(&[("a", "1")])),
            ..Constraints::default()
        });
        assert!(equals.allows(&RDS, "Decrypt", &pairs(&[("a", "1")])));
        assert!(!equals.allows(&RDS, "Decrypt", &pairs(&[("a", "1"), ("b", "2")])));
        let other = User { arn: "rds.eu-west-1.amazonaws.com", ..RDS };
        assert!(!equals.allows(&other, "Decrypt", &pairs(&[("a", "1")])), "another grantee");
    }

    #[test]
    fn a_service_uses_a_grant_for_its_resource_alone_and_gives_it_no_further() {
        let for_cluster = Constraints { source_arn: Some(CLUSTER.into()), ..Constraints::default() };
        let mut made = grant(for_cluster.clone());
        made.grantee = "rds.amazonaws.com".into();
        let none = pairs(&[]);
        let decrypt = operations(&["Decrypt"]);
        let other = User { source_arn: Some("arn:aws:rds:us-west-2:111122223333:cluster:other"), ..RDS };
        let nothing = User { source_arn: None, ..RDS };
        assert!(made.allows(&RDS, "Decrypt", &none) && made.allows(&RDS, "DescribeKey", &none));
        for user in [&other, &nothing] {
            assert!(!made.allows(user, "Decrypt", &none) && !made.allows(user, "DescribeKey", &none));
            assert!(!made.allows_child(user, &decrypt, &for_cluster));
        }
        assert!(made.allows_child(&RDS, &decrypt, &for_cluster));
        assert!(!made.allows_child(&RDS, &decrypt, &Constraints::default()));
        made.operations.insert("RetireGrant".into());
        assert!(made.may_retire(&nothing), "whatever it is for");
        assert!(!made.allows(&User { service: None, ..RDS }, "Decrypt", &none), "another service");
    }

    #[test]
    fn a_child_is_never_wider_than_its_parent() {
        let subset =
            |list| Constraints { encryption_context_subset: Some(pairs(list)), ..Constraints::default() };
        let equals =
            |list| Constraints { encryption_context_equals: Some(pairs(list)), ..Constraints::default() };
        let parent = grant(subset(&[("a", "1")]));
        let decrypt = operations(&["Decrypt"]);
        assert!(parent.allows_child(&RDS, &decrypt, &subset(&[("a", "1"), ("b", "2")])));
        assert!(parent.allows_child(&RDS, &decrypt, &equals(&[("a", "1")])));
        assert!(!parent.allows_child(&RDS, &decrypt, &Constraints::default()));
        assert!(!parent.allows_child(&RDS, &decrypt, &subset(&[("b", "2")])));
        assert!(!parent.allows_child(&RDS, &operations(&["Encrypt"]), &subset(&[("a", "1")])));
        let strict = grant(equals(&[("a", "1")]));
        assert!(strict.allows_child(&RDS, &decrypt, &equals(&[("a", "1")])));
        assert!(!strict.allows_child(&RDS, &decrypt, &subset(&[("a", "1")])));
        let both = grant(Constraints {
            encryption_context_subset: Some(pairs(&[("a", "1")])),
            encryption_context_equals: Some(pairs(&[("a", "1"), ("b", "2")])),
            ..Constraints::default()
        });
        assert!(
            !both.allows_child(&RDS, &decrypt, &subset(&[("a", "1")])),
            "the parent's equality is kept too"
        );
    }

    #[test]
    fn the_retirer_the_grantee_who_may_and_the_issuing_root_retire() {
        let mut grant = grant(Constraints::default());
        assert!(!grant.may_retire(&RDS), "RetireGrant is not among the operations");
        grant.operations.insert("RetireGrant".into());
        assert!(grant.may_retire(&RDS));
        let account: AccountId = "111122223333".parse().unwrap();
        let root = User { arn: "arn:aws:iam::111122223333:root", account: Some(&account), ..RDS };
        assert!(grant.may_retire(&root));
        let user = User {
            arn: "arn:aws:iam::111122223333:user/a",
            id: "AIDA1",
            role_arn: None,
            account: Some(&account),
            service: None,
            source_arn: None,
        };
        assert!(!grant.may_retire(&user));
        assert!(grant.retirable_from(&account) && !grant.retirable_from(&"444455556666".parse().unwrap()));
        grant.retiring = Some(user.arn.into());
        assert!(grant.may_retire(&user));
        grant.retiring_id = Some("AIDA1".into());
        assert!(grant.may_retire(&user));
        assert!(!grant.may_retire(&User { id: "AIDA2", ..user }), "made again under the same name");
    }
}
