//! A grant made out of another one allows nothing that the first does not, and names read as they are written.

use std::collections::{BTreeMap, BTreeSet};

use ids::Timestamp;
use kms::{Constraints, Grant, KeyId, KeyName, Named, User, read_name};
use proptest::prelude::*;

/// What a grant on a symmetric key can hold, most of it.
const GRANTABLE: [&str; 6] =
    ["Decrypt", "Encrypt", "GenerateDataKey", "CreateGrant", "RetireGrant", "DescribeKey"];

const RDS: User<'_> = User {
    arn: "rds.us-west-2.amazonaws.com",
    id: "",
    role_arn: None,
    account: None,
    service: Some("rds.amazonaws.com"),
    source_arn: Some("arn:aws:rds:us-west-2:111122223333:cluster:a"),
};

fn name(random: [u8; 16]) -> KeyName {
    KeyName {
        account: "111122223333".parse().unwrap(),
        region: "us-west-2".parse().unwrap(),
        id: KeyId::from_random(random),
    }
}

fn grant(operations: BTreeSet<String>, constraints: Constraints) -> Grant {
    Grant {
        id: "1".into(),
        key: name([0; 16]),
        name: None,
        created: Timestamp::default(),
        grantee: RDS.arn.into(),
        grantee_id: None,
        retiring: None,
        retiring_id: None,
        to_service: false,
        retired_by_service: false,
        issuing_account: "111122223333".parse().unwrap(),
        operations,
        constraints,
    }
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[aAb]", "[12]", 0..4)
}

fn constraints() -> impl Strategy<Value = Constraints> {
    (prop::option::of(pairs()), prop::option::of(pairs())).prop_map(
        |(encryption_context_subset, encryption_context_equals)| Constraints {
            encryption_context_subset,
            encryption_context_equals,
            source_arn: None,
        },
    )
}

fn operations() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set(prop::sample::select(GRANTABLE.to_vec()).prop_map(str::to_owned), 1..6)
}

proptest! {
    #[test]
    fn a_child_allows_no_use_that_its_parent_does_not(
        mut held in operations(),
        given in operations(),
        parent in constraints(),
        child in constraints(),
        context in pairs(),
        operation in prop::sample::select(GRANTABLE.to_vec()),
    ) {
        held.insert("CreateGrant".into());
        let parent = grant(held, parent);
        let allowed = parent.allows_child(&RDS, &given, &child);
        let child = grant(given, child);
        if allowed && child.allows(&RDS, operation, &context) {
            prop_assert!(parent.allows(&RDS, operation, &context));
        }
    }

    #[test]
    fn a_key_is_named_by_its_id_and_its_arn(random: [u8; 16]) {
        let name = name(random);
        for text in [name.id.to_string(), name.to_string()] {
            let read = read_name(&text, &name.account, &name.region);
            prop_assert_eq!(read, Ok(Named::Key(name.clone())));
        }
    }

    #[test]
    fn foreign_text_names_something_or_nothing_and_never_panics(text in ".{0,100}") {
        let name = name([0; 16]);
        for text in [text.clone(), format!("alias/{text}"), format!("arn:aws:kms:us-west-2:111122223333:{text}")] {
            let _ = read_name(&text, &name.account, &name.region);
            let _ = kms::check_alias(&text);
        }
    }
}
