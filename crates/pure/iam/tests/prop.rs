//! Decisions against a naive evaluator that reads spec/policy.md §2 to §5 word by word, over policies that
//! are drawn from few names, so that they meet.

use std::sync::Arc;

use iam::{Context, Decision, Document, Granted, Kind, Policies, Principal, Reason, Request, decide};
use proptest::prelude::*;
use serde_json::{Value, json};

const OWN: &str = "111122223333";
const KEY: &str = "arn:aws:kms:us-west-2:111122223333:key/1";
const OTHER_KEY: &str = "arn:aws:kms:us-west-2:111122223333:key/2";
const ACTIONS: [&str; 3] = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"];
const PATTERNS: [&str; 5] = ["kms:Encrypt", "KMS:decrypt", "kms:De*", "kms:?ncrypt", "*"];
const PRINCIPALS: [&str; 6] = [
    "*",
    "arn:aws:iam::111122223333:root",
    "444455556666",
    "arn:aws:iam::111122223333:user/a",
    "arn:aws:iam::444455556666:user/a",
    "arn:aws:iam::111122223333:role/r",
];

/// A statement before it is JSON.
#[derive(Clone, Debug)]
struct Statement {
    allow: bool,
    /// `None`: of an identity policy.
    principals: Option<(bool, Vec<usize>)>,
    actions: (bool, Vec<usize>),
    resources: (bool, Vec<&'static str>),
    /// Operator, wanted values.
    condition: Option<(&'static str, Vec<&'static str>)>,
}

/// Who asks: an index into [`callers`].
fn callers() -> Vec<Principal> {
    let user = |account: &str| Principal::User {
        account: account.into(),
        arn: format!("arn:aws:iam::{account}:user/a"),
        id: format!("AIDA{account}"),
    };
    vec![
        Principal::Root { account: OWN.into() },
        Principal::Root { account: "444455556666".into() },
        user(OWN),
        user("444455556666"),
        Principal::Session {
            account: OWN.into(),
            arn: "arn:aws:sts::111122223333:assumed-role/r/s".into(),
            role_arn: "arn:aws:iam::111122223333:role/r".into(),
            role_id: "AROAEXAMPLEEXAMPLE001".into(),
        },
    ]
}

fn statement(of_key: bool) -> impl Strategy<Value = Statement> {
    let principals = (any::<bool>(), prop::collection::vec(0..PRINCIPALS.len(), 1..3));
    let actions = (any::<bool>(), prop::collection::vec(0..PATTERNS.len(), 1..3));
    let resources =
        (any::<bool>(), prop::collection::vec(prop::sample::select(vec!["*", KEY, OTHER_KEY]), 1..3));
    let operator = prop::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIfExists",
        "ForAnyValue:StringEquals",
        "ForAllValues:StringEquals",
    ]);
    let condition = (operator, prop::collection::vec(prop::sample::select(vec!["x", "y", "z"]), 1..3));
    (any::<bool>(), principals, actions, resources, prop::option::of(condition)).prop_map(
        move |(allow, principals, actions, resources, condition)| Statement {
            allow,
            principals: of_key.then_some(principals),
            actions,
            resources,
            condition,
        },
    )
}

fn document(statements: &[Statement], kind: Kind) -> Document {
    let side = |name: &str, negated: bool| if negated { format!("Not{name}") } else { name.to_owned() };
    let statements: Vec<Value> = statements
        .iter()
        .map(|statement| {
            let patterns: Vec<_> = statement.actions.1.iter().map(|index| PATTERNS[*index]).collect();
            let mut members = serde_json::Map::new();
            members.insert("Effect".into(), json!(if statement.allow { "Allow" } else { "Deny" }));
            members.insert(side("Action", statement.actions.0), json!(patterns));
            members.insert(side("Resource", statement.resources.0), json!(statement.resources.1));
            if let Some((negated, principals)) = &statement.principals {
                let names: Vec<_> = principals.iter().map(|index| PRINCIPALS[*index]).collect();
                members.insert(side("Principal", *negated), json!({"AWS": names}));
            }
            if let Some((operator, values)) = &statement.condition {
                members.insert("Condition".into(), json!({*operator: {"k": values}}));
            }
            Value::Object(members)
        })
        .collect();
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Document::parse(&text, kind).unwrap()
}

/// How a principal of a policy names a caller: `Some(true)` directly, `Some(false)` by the account only.
fn names(principal: usize, caller: usize) -> Option<bool> {
    match (principal, caller) {
        (0, _) | (1, 0) | (2, 1) | (3, 2) | (4, 3) | (5, 4) => Some(true),
        (1, 2 | 4) | (2, 3) => Some(false),
        _ => None,
    }
}

fn pattern_fits(pattern: usize, action: &str) -> bool {
    match pattern {
        0 | 3 => action == "kms:Encrypt",
        1 => action == "kms:Decrypt",
        2 => action == "kms:Decrypt" || action == "kms:DescribeKey",
        _ => true,
    }
}

fn condition_holds(operator: &str, wanted: &[&str], sent: &[&str]) -> bool {
    let fits = |value: &&str| wanted.contains(value);
    match operator {
        "StringNotEquals" => !sent.iter().any(fits),
        "StringEqualsIfExists" => sent.is_empty() || sent.iter().any(fits),
        "ForAllValues:StringEquals" => sent.iter().all(fits),
        _ => sent.iter().any(fits),
    }
}

/// Whether a statement speaks of a request, and whether it names the caller directly.
fn speaks(statement: &Statement, caller: usize, action: &str, sent: &[&str]) -> Option<bool> {
    let named = match &statement.principals {
        None => Some(true),
        Some((false, list)) => list.iter().filter_map(|principal| names(*principal, caller)).max(),
        Some((true, list)) => (!list.iter().any(|p| names(*p, caller).is_some())).then_some(true),
    };
    let (not_action, patterns) = &statement.actions;
    let acts = patterns.iter().any(|pattern| pattern_fits(*pattern, action)) != *not_action;
    let (not_resource, resources) = &statement.resources;
    let here = resources.iter().any(|resource| ["*", KEY].contains(resource)) != *not_resource;
    let held =
        statement.condition.as_ref().is_none_or(|(operator, wanted)| condition_holds(operator, wanted, sent));
    named.filter(|_| acts && here && held)
}

fn naive(
    key: &[Statement],
    identity: &[Statement],
    granted: Granted,
    caller: usize,
    action: &str,
    sent: &[&str],
) -> bool {
    let said = |statements: &[Statement], allow: bool| -> Vec<bool> {
        let matching = statements.iter().filter(|statement| statement.allow == allow);
        matching.filter_map(|statement| speaks(statement, caller, action, sent)).collect()
    };
    if !said(key, false).is_empty() || !said(identity, false).is_empty() {
        return false;
    }
    if granted == Granted::ToCaller {
        return true;
    }
    let (foreign, root) = ([1, 3].contains(&caller), [0, 1].contains(&caller));
    let by_key = said(key, true);
    let by_identity = !said(identity, true).is_empty();
    let delegated = !by_key.is_empty() || granted == Granted::ToAccount;
    let directly = by_key.contains(&true);
    if foreign { delegated && (by_identity || root) } else { directly || (delegated && by_identity) }
}

#[test]
fn a_bound_name_no_longer_means_who_is_made_again_under_it() {
    let statement = Statement {
        allow: true,
        principals: Some((false, vec![3])),
        actions: (false, vec![4]),
        resources: (false, vec!["*"]),
        condition: None,
    };
    let principal = &callers()[2];
    let context = Context::default();
    let request = Request {
        principal,
        action: ACTIONS[0],
        resource: KEY,
        resource_account: Some(OWN),
        context: &context,
    };
    for (id, allowed) in [("AIDA111122223333", true), ("AIDAEXAMPLEEXAMPLE999", false)] {
        let ids = [(PRINCIPALS[3].to_owned(), id.to_owned())].into();
        let policy = document(std::slice::from_ref(&statement), Kind::Key).bound_to(&ids);
        let policies = Policies { resource: Some(&policy), ..Policies::default() };
        assert_eq!(decide(&request, &policies).is_allowed(), allowed, "{id}");
    }
}

proptest! {
    #[test]
    fn a_decision_is_that_of_the_naive_evaluator(
        key in prop::collection::vec(statement(true), 1..4),
        identity in prop::collection::vec(statement(false), 0..3),
        granted in prop::sample::select(vec![Granted::No, Granted::No, Granted::ToAccount, Granted::ToCaller]),
        caller in 0..5_usize,
        action in prop::sample::select(ACTIONS.to_vec()),
        sent in prop::collection::vec(prop::sample::select(vec!["x", "y"]), 0..3),
    ) {
        let policy = document(&key, Kind::Key);
        let own: Vec<_> = (!identity.is_empty()).then(|| Arc::new(document(&identity, Kind::Identity))).into_iter().collect();
        let mut context = Context::default();
        context.set("K", sent.iter().copied());
        let principal = &callers()[caller];
        let request = Request { principal, action, resource: KEY, resource_account: Some(OWN), context: &context };
        let policies = Policies { identity: &own, resource: Some(&policy), granted, ..Policies::default() };
        let decision = decide(&request, &policies);
        prop_assert_eq!(decision.is_allowed(), naive(&key, &identity, granted, caller, action, &sent), "{:?}", decision);

        // Without its allowing statements a policy only refuses.
        let denials = policy.denials();
        let strict = decide(&request, &Policies { resource: Some(&denials), ..policies });
        let refuses = decision == Decision::Denied(Reason::ExplicitInResource);
        prop_assert_eq!(strict == Decision::Denied(Reason::ExplicitInResource), refuses);
        prop_assert!(!strict.is_allowed() || decision.is_allowed());

        // Who is foreign to a key that says nothing reads the same whatever his own policies say.
        let silent = key.iter().all(|statement| speaks(statement, caller, action, &sent).is_none());
        if silent && granted == Granted::No && [1, 3].contains(&caller) {
            prop_assert_eq!(decision, Decision::Denied(Reason::NoResourcePolicy));
        }
    }

    #[test]
    fn foreign_text_never_makes_the_parser_panic(text in ".{0,200}", member in "[A-Za-z]{0,10}") {
        let _ = Document::parse(&text, Kind::Key);
        let odd = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": text},
            "Action": text, "Resource": text, "Condition": {member: {text.clone(): text}}}]});
        for kind in [Kind::Key, Kind::Identity] {
            let _ = Document::parse(&odd.to_string(), kind);
        }
    }
}
