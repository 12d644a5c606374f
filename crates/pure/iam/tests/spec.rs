//! spec/policy.md §2, §3 and §5, a row a line: who asks, what the policies say, what comes of it.

use std::sync::Arc;

use iam::{
    Context, Decision, Document, Granted, Kind, Layer, Policies, Principal, Reason, Request, decide, judge,
    near_misses,
};
use serde_json::{Value, json};

const OWN: &str = "111122223333";
const USER: &str = "arn:aws:iam::111122223333:user/ops/dba";
const ROLE: &str = "arn:aws:iam::111122223333:role/app";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/app/ci";
const FEDERATED: &str = "arn:aws:sts::111122223333:federated-user/ci";
const KEY: &str = "arn:aws:kms:us-west-2:111122223333:key/k1";

fn user(account: &str) -> Principal {
    let arn = format!("arn:aws:iam::{account}:user/ops/dba");
    Principal::User { account: account.into(), arn, id: "AIDAEXAMPLEEXAMPLE001".into() }
}

fn root(account: &str) -> Principal {
    Principal::Root { account: account.into() }
}

fn session() -> Principal {
    let (arn, role_arn) = (SESSION.into(), ROLE.into());
    Principal::Session { account: OWN.into(), arn, role_arn, role_id: "AROAEXAMPLEEXAMPLE001".into() }
}

fn federated() -> Principal {
    Principal::Federated { account: OWN.into(), arn: FEDERATED.into() }
}

fn rds() -> Principal {
    Principal::Service { name: "rds.us-west-2.amazonaws.com".into() }
}

fn document(kind: Kind, statement: Value) -> Arc<Document> {
    let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    Arc::new(Document::parse(&text, kind).unwrap())
}

/// What the policies of a case say.
#[derive(Default)]
struct Said {
    key: Option<Value>,
    identity: Option<Value>,
    boundary: Option<Value>,
    session: Option<Value>,
    granted: Granted,
}

fn decided(principal: &Principal, said: Said) -> Decision {
    let context = Context::default();
    let (action, resource) = ("kms:Encrypt", KEY);
    let request = Request { principal, action, resource, resource_account: Some(OWN), context: &context };
    let one = |kind, statement: Option<Value>| statement.map(|statement| document(kind, statement));
    let identity: Vec<_> = one(Kind::Identity, said.identity).into_iter().collect();
    let session: Option<Vec<_>> = one(Kind::Identity, said.session).map(|one| vec![one]);
    // A key always has a policy.
    let key =
        one(Kind::Key, said.key).unwrap_or_else(|| document(Kind::Key, principal_allowed("999999999999")));
    let boundary = one(Kind::Identity, said.boundary);
    let policies = Policies {
        identity: &identity,
        resource: Some(&key),
        granted: said.granted,
        boundary: boundary.as_deref(),
        session: session.as_deref(),
    };
    decide(&request, &policies)
}

fn principal_allowed(principal: &str) -> Value {
    json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "kms:*", "Resource": "*"})
}

fn principal_denied(principal: &str) -> Value {
    json!({"Effect": "Deny", "Principal": {"AWS": principal}, "Action": "kms:*", "Resource": "*"})
}

fn allow() -> Option<Value> {
    Some(json!({"Effect": "Allow", "Action": "kms:*", "Resource": "*"}))
}

fn other() -> Option<Value> {
    Some(json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))
}

fn deny() -> Option<Value> {
    Some(json!({"Effect": "Deny", "Action": "kms:*", "Resource": "*"}))
}

#[test]
fn every_line_of_the_algorithm_has_its_row() {
    use Decision::{Allowed, Denied};
    use Reason::*;
    let key = |principal: &str| Some(principal_allowed(principal));
    let none = Said::default;
    let own = || user(OWN);
    let foreign = || user("444455556666");
    for (line, principal, said, expected) in [
        (
            "1 deny in the key policy",
            own(),
            Said { key: Some(principal_denied(USER)), identity: allow(), ..none() },
            Denied(ExplicitInResource),
        ),
        (
            "1 deny in an identity policy",
            own(),
            Said { key: key(USER), identity: deny(), ..none() },
            Denied(ExplicitInIdentity),
        ),
        (
            "1 deny in the boundary",
            own(),
            Said { key: key(USER), boundary: deny(), ..none() },
            Denied(ExplicitInBoundary),
        ),
        (
            "1 deny in the session policy",
            session(),
            Said { key: key(SESSION), session: deny(), ..none() },
            Denied(ExplicitInSession),
        ),
        (
            "1 deny beats a grant",
            own(),
            Said { identity: deny(), granted: Granted::ToCaller, ..none() },
            Denied(ExplicitInIdentity),
        ),
        ("2a the user", own(), Said { key: key(USER), ..none() }, Allowed),
        ("2a the role", session(), Said { key: key(ROLE), ..none() }, Allowed),
        ("2a the session", session(), Said { key: key(SESSION), ..none() }, Allowed),
        ("2a everybody", own(), Said { key: key("*"), ..none() }, Allowed),
        (
            "2b the account and an identity policy",
            own(),
            Said { key: key(OWN), identity: allow(), ..none() },
            Allowed,
        ),
        ("2b the account alone", own(), Said { key: key(OWN), ..none() }, Denied(NoIdentityPolicy)),
        ("2c the root user", root(OWN), Said { key: key(OWN), ..none() }, Allowed),
        (
            "2c the root user, not named",
            root(OWN),
            Said { key: key(USER), ..none() },
            Denied(NoResourcePolicy),
        ),
        ("2d a grant to the caller", own(), Said { granted: Granted::ToCaller, ..none() }, Allowed),
        (
            "2d a grant to the account",
            own(),
            Said { granted: Granted::ToAccount, ..none() },
            Denied(NoIdentityPolicy),
        ),
        ("2 an identity policy alone", own(), Said { identity: allow(), ..none() }, Denied(NoResourcePolicy)),
        (
            "3 both sides, by user",
            foreign(),
            Said { key: key("arn:aws:iam::444455556666:user/ops/dba"), identity: allow(), ..none() },
            Allowed,
        ),
        (
            "3 both sides, by account",
            foreign(),
            Said { key: key("444455556666"), identity: allow(), ..none() },
            Allowed,
        ),
        (
            "3 both sides, by everybody",
            foreign(),
            Said { key: key("*"), identity: allow(), ..none() },
            Allowed,
        ),
        (
            "3 the key's side alone",
            foreign(),
            Said { key: key("arn:aws:iam::444455556666:user/ops/dba"), ..none() },
            Denied(NoIdentityPolicy),
        ),
        (
            "3 the caller's side alone",
            foreign(),
            Said { key: key(OWN), identity: allow(), ..none() },
            Denied(NoResourcePolicy),
        ),
        ("3 a foreign root user", root("444455556666"), Said { key: key("444455556666"), ..none() }, Allowed),
        ("3 a grant to a foreign user", foreign(), Said { granted: Granted::ToCaller, ..none() }, Allowed),
        (
            "3 a grant to a foreign account",
            foreign(),
            Said { identity: allow(), granted: Granted::ToAccount, ..none() },
            Allowed,
        ),
        (
            "3 what the key side says comes first",
            foreign(),
            Said { identity: deny(), ..none() },
            Denied(NoResourcePolicy),
        ),
        (
            "5 the boundary allows as well",
            own(),
            Said { key: key(OWN), identity: allow(), boundary: allow(), ..none() },
            Allowed,
        ),
        (
            "5 the boundary is silent",
            own(),
            Said { key: key(OWN), identity: allow(), boundary: other(), ..none() },
            Denied(NoBoundary),
        ),
        (
            "5 a boundary gives nothing",
            own(),
            Said { key: key(OWN), boundary: allow(), ..none() },
            Denied(NoIdentityPolicy),
        ),
        (
            "5 a key that names the user passes the boundary",
            own(),
            Said { key: key(USER), boundary: other(), ..none() },
            Allowed,
        ),
        (
            "5 a key that names everybody does not",
            own(),
            Said { key: key("*"), boundary: other(), ..none() },
            Denied(NoBoundary),
        ),
        (
            "5 a grant to the user passes the boundary",
            own(),
            Said { granted: Granted::ToCaller, boundary: other(), ..none() },
            Allowed,
        ),
        (
            "5 a grant to the role does not",
            session(),
            Said { granted: Granted::ToCaller, boundary: other(), ..none() },
            Denied(NoBoundary),
        ),
        (
            "5 a key that names the role is limited by the boundary",
            session(),
            Said { key: key(ROLE), boundary: other(), ..none() },
            Denied(NoBoundary),
        ),
        (
            "5 and by the session policy",
            session(),
            Said { key: key(ROLE), session: other(), ..none() },
            Denied(NoSessionPolicy),
        ),
        (
            "5 a key that names the session is limited by neither",
            session(),
            Said { key: key(SESSION), boundary: other(), session: other(), ..none() },
            Allowed,
        ),
        (
            "5 both silent: the boundary is told",
            session(),
            Said { key: key(OWN), identity: allow(), boundary: other(), session: other(), ..none() },
            Denied(NoBoundary),
        ),
        ("6 nothing says anything", own(), none(), Denied(NoResourcePolicy)),
        (
            "a federated user has what both allow",
            federated(),
            Said { key: key(OWN), identity: allow(), session: allow(), ..none() },
            Allowed,
        ),
        (
            "a federated user without a policy",
            federated(),
            Said { key: key(OWN), identity: allow(), session: other(), ..none() },
            Denied(NoSessionPolicy),
        ),
        (
            "a federated user by his own name",
            federated(),
            Said { key: key(FEDERATED), session: other(), ..none() },
            Allowed,
        ),
        (
            "a federated user is not the lender",
            federated(),
            Said { key: key(USER), identity: allow(), session: allow(), ..none() },
            Denied(NoResourcePolicy),
        ),
        ("a service by a grant", rds(), Said { granted: Granted::ToCaller, ..none() }, Allowed),
        ("a service of no account", rds(), Said { key: key(OWN), ..none() }, Denied(NoResourcePolicy)),
    ] {
        assert_eq!(decided(&principal, said), expected, "{line}");
    }
}

#[test]
fn every_form_of_a_principal_has_its_row() {
    let named = |principal: Value, caller: &Principal| {
        let statement =
            json!({"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"});
        decided(caller, Said { key: Some(statement), identity: allow(), ..Said::default() }).is_allowed()
    };
    for (principal, caller, expected) in [
        (json!("*"), user(OWN), true),
        (json!({"AWS": "*"}), user("444455556666"), true),
        (json!({"AWS": OWN}), user(OWN), true),
        (json!({"AWS": "arn:aws:iam::111122223333:root"}), session(), true),
        (json!({"AWS": "arn:aws:iam::111122223333:root"}), federated(), true),
        (json!({"AWS": OWN}), user("444455556666"), false),
        (json!({"AWS": USER}), user(OWN), true),
        (json!({"AWS": [ROLE, USER]}), user(OWN), true),
        (json!({"AWS": "AIDAEXAMPLEEXAMPLE001"}), user(OWN), true),
        (json!({"AWS": "AIDAEXAMPLEEXAMPLE002"}), user(OWN), false),
        (json!({"AWS": "arn:aws:iam::111122223333:user/dba"}), user(OWN), false),
        (json!({"AWS": ROLE}), session(), true),
        (json!({"AWS": "AROAEXAMPLEEXAMPLE001"}), session(), true),
        (json!({"AWS": "arn:aws:sts::111122223333:assumed-role/app/other"}), session(), false),
        (json!({"AWS": FEDERATED}), federated(), true),
        (json!({"Service": "rds.amazonaws.com"}), rds(), true),
        (json!({"Service": "rds.us-west-2.amazonaws.com"}), rds(), true),
        (json!({"Service": "rds.eu-west-1.amazonaws.com"}), rds(), false),
        (json!({"Service": "rds.amazonaws.com"}), user(OWN), false),
    ] {
        assert_eq!(named(principal.clone(), &caller), expected, "{principal} {caller:?}");
    }
    for bad in [
        json!("arn:aws:iam::111122223333:root"),
        json!({"AWS": "arn:aws:iam::111122223333:user/*"}),
        json!({"AWS": "arn:aws:iam::111122223333:group/ops"}),
        json!({"AWS": "arn:aws:sts::111122223333:assumed-role/app/*"}),
        json!({"AWS": "arn:aws:iam::1111:user/dba"}),
        json!({"AWS": "dba"}),
        json!({"Federated": "accounts.example"}),
        json!({"CanonicalUser": "x"}),
        json!({}),
    ] {
        let statement = json!({"Effect": "Allow", "Principal": bad, "Action": "kms:*", "Resource": "*"});
        let text = json!({"Statement": statement}).to_string();
        assert!(Document::parse(&text, Kind::Key).is_err(), "{bad}");
    }
}

#[test]
fn not_elements_are_everything_else() {
    let excepted = |who: &[&str]| json!({"Effect": "Deny", "NotPrincipal": {"AWS": who}, "Action": "kms:*", "Resource": "*"});
    let both = |statement: Value| Some(json!([principal_allowed("*"), statement]));
    let with = |who: &[&str], caller: &Principal| {
        decided(caller, Said { key: both(excepted(who)), ..Said::default() }).is_allowed()
    };
    // A NotPrincipal with Deny must list the account and the user (spec §3).
    assert!(with(&[OWN, USER], &user(OWN)));
    assert!(!with(&[OWN, USER], &user("444455556666")));
    let key = |statement: Value| Said { key: Some(statement), ..Said::default() };
    let all_but = |element: &str, value: &str| {
        let mut statement =
            json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"});
        let members = statement.as_object_mut().unwrap();
        members.remove(element.strip_prefix("Not").unwrap());
        members.insert(element.into(), json!(value));
        decided(&user(OWN), key(statement)).is_allowed()
    };
    assert!(!all_but("NotAction", "kms:Enc*"));
    assert!(all_but("NotAction", "kms:Dec*"));
    assert!(!all_but("NotResource", KEY));
    assert!(all_but("NotResource", "arn:aws:kms:us-west-2:111122223333:key/k2"));
}

#[test]
fn every_operator_takes_if_exists_and_both_set_qualifiers() {
    let holds = |operator: &str, value: &Value, sent: &[&str]| {
        let mut context = Context::default();
        context.set("aws:Key", sent.iter().copied());
        let condition = json!({operator: {"aws:key": value}});
        let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition});
        let policy = [document(Kind::Identity, statement)];
        let principal = user(OWN);
        let (action, resource) = ("kms:ListKeys", "*");
        let request =
            Request { principal: &principal, action, resource, resource_account: None, context: &context };
        decide(&request, &Policies { identity: &policy, ..Policies::default() }).is_allowed()
    };
    for (operator, value, fits, other) in [
        ("StringEquals", json!("a"), "a", "b"),
        ("StringNotEquals", json!("b"), "a", "b"),
        ("StringEqualsIgnoreCase", json!("A"), "a", "b"),
        ("StringNotEqualsIgnoreCase", json!("B"), "a", "b"),
        ("StringLike", json!("a?*"), "ab", "a"),
        ("StringNotLike", json!("b*"), "a", "bc"),
        ("NumericEquals", json!("10"), "10", "9"),
        ("NumericNotEquals", json!("9"), "10", "9"),
        ("NumericLessThan", json!("10"), "9.5", "10"),
        ("NumericLessThanEquals", json!("10"), "10", "10.1"),
        ("NumericGreaterThan", json!("9"), "10", "9"),
        ("NumericGreaterThanEquals", json!("9"), "9", "8"),
        ("DateEquals", json!("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z", "1"),
        ("DateNotEquals", json!("2026-01-01T00:00:00Z"), "1", "2026-01-01T00:00:00Z"),
        ("DateLessThan", json!("1000"), "999", "1000"),
        ("DateLessThanEquals", json!("1000"), "1000", "1001"),
        ("DateGreaterThan", json!("1000"), "1001", "1000"),
        ("DateGreaterThanEquals", json!("1000"), "1000", "999"),
        ("Bool", json!("true"), "true", "false"),
        ("BinaryEquals", json!("aGk="), "aGk=", "aGo="),
        ("IpAddress", json!("10.0.0.0/8"), "10.1.2.3", "11.1.2.3"),
        ("NotIpAddress", json!("10.0.0.0/8"), "11.1.2.3", "10.1.2.3"),
        ("ArnEquals", json!("arn:aws:iam::*:user/*"), "arn:aws:iam::1:user/a", "arn:aws:iam::1:role/a"),
        ("ArnLike", json!("arn:aws:iam::?:user/*"), "arn:aws:iam::1:user/a", "arn:aws:iam::12:user/a"),
        ("ArnNotEquals", json!("arn:aws:iam::1:role/a"), "arn:aws:iam::1:user/a", "arn:aws:iam::1:role/a"),
        ("ArnNotLike", json!("arn:aws:iam::1:role/*"), "arn:aws:iam::1:user/a", "arn:aws:iam::1:role/a"),
    ] {
        let negated = operator.contains("Not");
        for (form, absent) in [
            (operator.to_owned(), negated),
            (format!("{operator}IfExists"), true),
            (format!("ForAllValues:{operator}"), true),
            (format!("ForAnyValue:{operator}"), false),
            (format!("ForAllValues:{operator}IfExists"), true),
            (format!("ForAnyValue:{operator}IfExists"), true),
        ] {
            assert!(holds(&form, &value, &[fits]), "{form} {fits}");
            assert!(!holds(&form, &value, &[other]), "{form} {other}");
            assert_eq!(holds(&form, &value, &[]), absent, "{form} without the key");
            let any = form.starts_with("ForAnyValue:") || (!form.starts_with("ForAllValues:") && !negated);
            assert_eq!(holds(&form, &value, &[fits, other]), any, "{form} {fits} {other}");
        }
    }
}

#[test]
fn a_judgement_names_the_statements_and_what_nearly_was_one() {
    let identity = [Arc::new(
        (*document(Kind::Identity, json!([
            {"Sid": "Far", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Sid": "Near", "Effect": "Allow", "Action": "kms:Encrypt", "Resource": "arn:aws:kms:*:*:key/k2",
             "Condition": {"StringEquals": {"kms:ViaService": "rds.us-west-2.amazonaws.com"}}},
            {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "arn:aws:kms:*:*:key/${aws:username}*"},
        ])))
        .clone()
        .named("p"),
    )];
    let key = document(Kind::Key, json!([principal_allowed("999999999999"), principal_allowed(OWN)]));
    let (principal, mut context) = (user(OWN), Context::default());
    context.set("kms:ViaService", ["ec2.us-west-2.amazonaws.com"]);
    let (action, resource) = ("kms:Encrypt", KEY);
    let request =
        Request { principal: &principal, action, resource, resource_account: Some(OWN), context: &context };
    let policies = Policies { identity: &identity, resource: Some(&key), ..Policies::default() };
    assert_eq!(judge(&request, &policies).decision, Decision::Denied(Reason::NoIdentityPolicy));
    let [miss] = &near_misses(&request, &policies)[..] else { panic!("one near miss") };
    assert_eq!((miss.voice.document.name(), miss.voice.statement_name().as_str()), ("p", "Near"));
    let found = "StringEquals kms:viaservice (the request has [\"ec2.us-west-2.amazonaws.com\"])";
    assert_eq!(miss.why, ["Resource", found]);
    context.set("kms:ViaService", ["rds.us-west-2.amazonaws.com"]);
    let resource = "arn:aws:kms:us-west-2:111122223333:key/k2";
    let request =
        Request { principal: &principal, action, resource, resource_account: Some(OWN), context: &context };
    let by: Vec<_> = judge(&request, &policies).by.iter().map(|v| (v.layer, v.statement_name())).collect();
    assert_eq!(by, [(Layer::Resource, "#2".to_owned()), (Layer::Identity, "Near".to_owned())]);
    let keys: Vec<_> = identity[0].context_keys().into_iter().collect();
    assert_eq!(keys, ["aws:username", "kms:viaservice"]);
}

#[test]
fn every_malformed_document_gets_its_text() {
    let good = json!({"Effect": "Allow", "Action": "kms:*", "Resource": "*"});
    let with = |name: &str, value: Value| {
        let mut statement = good.clone();
        statement[name] = value;
        json!({"Version": "2012-10-17", "Statement": statement}).to_string()
    };
    let without = |name: &str| {
        let mut statement = good.clone();
        statement.as_object_mut().unwrap().remove(name);
        json!({"Version": "2012-10-17", "Statement": statement}).to_string()
    };
    let twice = json!({"Sid": "a", "Effect": "Allow", "Action": "kms:*", "Resource": "*"});
    for (text, expected) in [
        ("{".to_owned(), "This policy contains invalid Json"),
        (
            json!({"Version": "2020-01-01", "Statement": good}).to_string(),
            "Policy document must be version 2012-10-17 or greater.",
        ),
        (json!({"Version": "2012-10-17", "Statement": []}).to_string(), "Syntax errors in policy."),
        (
            json!({"Version": "2012-10-17", "Statement": [twice, twice]}).to_string(),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
        (with("Effect", json!("allow")), "Syntax errors in policy."),
        (with("Colour", json!("red")), "Syntax errors in policy."),
        (with("Sid", json!("a b")), "Syntax errors in policy."),
        (with("NotAction", json!("kms:*")), "Syntax errors in policy."),
        (with("Condition", json!({"StringMatches": {"a": "b"}})), "Syntax errors in policy."),
        (with("Principal", json!("*")), "Policy document should not specify a principal."),
        (without("Action"), "Policy statement must contain actions."),
        (without("Resource"), "Policy statement must contain resources."),
        (
            with("Action", json!("Encrypt")),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (with("Action", json!("kms:a:b")), "Actions/Condition can contain only one colon."),
        (with("Action", json!("k*s:Encrypt")), "Vendor k*s is not valid"),
        (with("Resource", json!("key")), "Resource key must be in ARN format or \"*\"."),
        (with("Resource", json!("arn:aws:kms")), "The policy failed legacy parsing"),
    ] {
        assert_eq!(Document::parse(&text, Kind::Identity).unwrap_err().to_string(), expected, "{text}");
    }
}
