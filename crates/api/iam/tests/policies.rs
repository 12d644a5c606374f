//! Managed policies and tags of users through the real pipeline.

mod world;

use front::Directory as _;
use serde_json::{Value, json};
use wire::Fault;
use world::{ROOT_KEY, World, text, texts};

const ARN: &str = "arn:aws:iam::111122223333:policy/ops/readers";

fn says(outcome: Result<String, Fault>, code: &str, status: u16, message: &str) {
    let fault = outcome.expect_err("a refusal");
    assert_eq!(
        (fault.code.as_ref(), fault.status, fault.message.unwrap_or_default().as_str()),
        (code, status, message)
    );
}

fn readers() -> Value {
    let document = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:Get*", "Resource": "*"}});
    json!({"PolicyName": "readers", "Path": "/ops/", "Description": "may read", "PolicyDocument": document.to_string(),
           "Tags": [{"Key": "team", "Value": "ops"}]})
}

#[tokio::test]
async fn a_managed_policy_speaks_for_those_it_is_attached_to() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    let made = world.iam(ROOT_KEY, "CreatePolicy", readers()).await.unwrap();
    assert_eq!(text(&made, "Arn"), ARN);
    assert!(text(&made, "PolicyId").starts_with("ANPA"));
    assert_eq!(
        (text(&made, "DefaultVersionId").as_str(), text(&made, "AttachmentCount").as_str()),
        ("v1", "0")
    );
    assert_eq!(world.iam(&key, "GetUser", json!({})).await.unwrap_err().code, "AccessDenied");
    let both = json!({"UserName": "dba", "PolicyArn": ARN});
    for _ in 0..2 {
        world.iam(ROOT_KEY, "AttachUserPolicy", both.clone()).await.unwrap();
    }
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    let got = world.iam(ROOT_KEY, "GetPolicy", json!({"PolicyArn": ARN})).await.unwrap();
    assert_eq!(
        (text(&got, "AttachmentCount").as_str(), text(&got, "Description").as_str()),
        ("1", "may read")
    );
    let listed = world.iam(ROOT_KEY, "ListAttachedUserPolicies", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(
        (texts(&listed, "PolicyName"), texts(&listed, "PolicyArn")),
        (vec!["readers".to_owned()], vec![ARN.to_owned()])
    );
    let version = json!({"PolicyArn": ARN, "VersionId": "v1"});
    let version = world.iam(ROOT_KEY, "GetPolicyVersion", version).await.unwrap();
    assert!(text(&version, "Document").starts_with("%7B%22"), "{version}");
    assert_eq!(text(&version, "IsDefaultVersion"), "true");

    let world = world.reopen().await;
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    let attached = world.iam(ROOT_KEY, "DeletePolicy", json!({"PolicyArn": ARN})).await;
    says(attached, "DeleteConflict", 409, "Cannot delete a policy attached to entities.");
    let keys = json!({"UserName": "dba", "AccessKeyId": key});
    world.iam(ROOT_KEY, "DeleteAccessKey", keys).await.unwrap();
    let delete = world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await;
    says(delete, "DeleteConflict", 409, "Cannot delete entity, must detach all policies first.");
    world.iam(ROOT_KEY, "DetachUserPolicy", both.clone()).await.unwrap();
    let again = world.iam(ROOT_KEY, "DetachUserPolicy", both).await;
    says(again, "NoSuchEntity", 404, &format!("Policy {ARN} was not found."));
    world.iam(ROOT_KEY, "DeletePolicy", json!({"PolicyArn": ARN})).await.unwrap();
    world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await.unwrap();
}

#[tokio::test]
async fn managed_policies_are_refused_in_the_words_of_aws() {
    let world = World::new().await;
    world.user("dba").await;
    for (operation, extra, message) in [
        ("GetPolicy", json!({}), format!("Policy {ARN} was not found.")),
        ("GetPolicyVersion", json!({"VersionId": "v1"}), format!("Policy {ARN} was not found.")),
        ("DeletePolicy", json!({}), format!("Policy {ARN} was not found.")),
        (
            "AttachUserPolicy",
            json!({"UserName": "dba"}),
            format!("Policy {ARN} does not exist or is not attachable."),
        ),
        (
            "AttachUserPolicy",
            json!({"UserName": "nobody"}),
            "The user with name nobody cannot be found.".into(),
        ),
        ("DetachUserPolicy", json!({"UserName": "dba"}), format!("Policy {ARN} was not found.")),
        (
            "ListAttachedUserPolicies",
            json!({"UserName": "nobody"}),
            "The user with name nobody cannot be found.".into(),
        ),
    ] {
        let mut input = extra;
        if operation != "ListAttachedUserPolicies" {
            input["PolicyArn"] = ARN.into();
        }
        says(world.iam(ROOT_KEY, operation, input).await, "NoSuchEntity", 404, &message);
    }
    world.iam(ROOT_KEY, "CreatePolicy", readers()).await.unwrap();
    let mut again = readers();
    again["PolicyName"] = "READERS".into();
    let message = "A policy called READERS already exists. Duplicate names are not allowed.";
    says(world.iam(ROOT_KEY, "CreatePolicy", again).await, "EntityAlreadyExists", 409, message);
    // The path is part of the name.
    let other = "arn:aws:iam::111122223333:policy/readers";
    let message = format!("Policy {other} was not found.");
    says(world.iam(ROOT_KEY, "GetPolicy", json!({"PolicyArn": other})).await, "NoSuchEntity", 404, &message);
    let bad = "arn:aws:iam::111122223333:user/dba";
    let message = format!("ARN {bad} is not valid.");
    says(world.iam(ROOT_KEY, "GetPolicy", json!({"PolicyArn": bad})).await, "InvalidInput", 400, &message);
    let version = world.iam(ROOT_KEY, "GetPolicyVersion", json!({"PolicyArn": ARN, "VersionId": "v2"})).await;
    says(
        version,
        "NoSuchEntity",
        404,
        &format!("Policy {ARN} version v2 does not exist or is not attachable."),
    );
    let bad = json!({"PolicyName": "bad", "PolicyDocument": "{}"});
    says(
        world.iam(ROOT_KEY, "CreatePolicy", bad).await,
        "MalformedPolicyDocument",
        400,
        "Syntax errors in policy.",
    );
    let mut long = readers();
    long["PolicyName"] = "long".into();
    long["PolicyDocument"] = readers()["PolicyDocument"]
        .as_str()
        .unwrap()
        .replace("iam:Get*", &format!("iam:{}", "x".repeat(6144)))
        .into();
    says(
        world.iam(ROOT_KEY, "CreatePolicy", long).await,
        "LimitExceeded",
        409,
        "Cannot exceed quota for PolicySize: 6144",
    );
    for n in 0..=10 {
        let mut input = readers();
        input["PolicyName"] = format!("p{n}").into();
        let made = world.iam(ROOT_KEY, "CreatePolicy", input).await.unwrap();
        let outcome = world
            .iam(ROOT_KEY, "AttachUserPolicy", json!({"UserName": "dba", "PolicyArn": text(&made, "Arn")}))
            .await;
        if n < 10 {
            outcome.unwrap();
        } else {
            says(outcome, "LimitExceeded", 409, "Cannot exceed quota for PoliciesPerUser: 10");
        }
    }
    let all = async |input: Value| {
        let listed = world.iam(ROOT_KEY, "ListPolicies", input).await.unwrap();
        texts(&listed, "PolicyName").len()
    };
    assert_eq!(all(json!({})).await, 12);
    assert_eq!(all(json!({"OnlyAttached": true})).await, 10);
    assert_eq!(all(json!({"Scope": "AWS"})).await, 0);
    assert_eq!(all(json!({"PolicyUsageFilter": "PermissionsBoundary"})).await, 0);
    assert_eq!(all(json!({"PathPrefix": "/dev/"})).await, 0);
    assert_eq!(all(json!({"MaxItems": 5})).await, 5);
    let page = json!({"UserName": "dba", "MaxItems": 7});
    let first = world.iam(ROOT_KEY, "ListAttachedUserPolicies", page).await.unwrap();
    let next = json!({"UserName": "dba", "MaxItems": 7, "Marker": text(&first, "Marker")});
    let second = world.iam(ROOT_KEY, "ListAttachedUserPolicies", next).await.unwrap();
    assert_eq!((texts(&first, "PolicyName").len(), texts(&second, "PolicyName").len()), (7, 3));
}

#[tokio::test]
async fn tags_of_users_are_set_listed_removed_and_decided_by() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    let tag = |key: &str, value: &str| json!({"Key": key, "Value": value});
    let tags = json!({"UserName": "dba", "Tags": [tag("team", "db"), tag("cost", "7")]});
    world.iam(ROOT_KEY, "TagUser", tags).await.unwrap();
    // A key in another case is the same key, with its new spelling.
    world.iam(ROOT_KEY, "TagUser", json!({"UserName": "dba", "Tags": [tag("Team", "ops")]})).await.unwrap();
    let listed = world.iam(ROOT_KEY, "ListUserTags", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(
        (texts(&listed, "Key"), texts(&listed, "Value")),
        (vec!["Team".into(), "cost".into()], vec!["ops".into(), "7".to_owned()])
    );
    let first = world.iam(ROOT_KEY, "ListUserTags", json!({"UserName": "dba", "MaxItems": 1})).await.unwrap();
    let next = json!({"UserName": "dba", "Marker": text(&first, "Marker")});
    assert_eq!(texts(&world.iam(ROOT_KEY, "ListUserTags", next).await.unwrap(), "Key"), ["cost"]);
    assert_eq!(world.iam.credential(&key).unwrap().caller.tags().len(), 2);
    let condition = json!({"StringEquals": {"aws:ResourceTag/Team": "ops", "aws:PrincipalTag/Team": "ops"}});
    world
        .allow(
            "dba",
            json!({"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*", "Condition": condition}),
        )
        .await;
    world.iam(&key, "GetUser", json!({})).await.unwrap();
    world
        .iam(ROOT_KEY, "UntagUser", json!({"UserName": "dba", "TagKeys": ["TEAM", "nothing"]}))
        .await
        .unwrap();
    assert_eq!(world.iam(&key, "GetUser", json!({})).await.unwrap_err().code, "AccessDenied");
    let world = world.reopen().await;
    let listed = world.iam(ROOT_KEY, "ListUserTags", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(texts(&listed, "Key"), ["cost"]);
    let many: Vec<Value> = (0..50).map(|n| tag(&format!("k{n}"), "")).collect();
    let full = world.iam(ROOT_KEY, "TagUser", json!({"UserName": "dba", "Tags": many})).await;
    says(full, "LimitExceeded", 409, "The number of tags has reached the maximum limit of 50.");
    let reserved =
        world.iam(ROOT_KEY, "TagUser", json!({"UserName": "dba", "Tags": [tag("aws:x", "")]})).await;
    assert_eq!(reserved.unwrap_err().code, "InvalidInput");
    for (operation, extra) in
        [("TagUser", json!({"Tags": []})), ("UntagUser", json!({"TagKeys": []})), ("ListUserTags", json!({}))]
    {
        let mut input = extra;
        input["UserName"] = "nobody".into();
        says(
            world.iam(ROOT_KEY, operation, input).await,
            "NoSuchEntity",
            404,
            "The user with name nobody cannot be found.",
        );
    }
}

#[tokio::test]
async fn an_account_made_beside_the_server_is_taken_in_by_loading_again() {
    let world = World::new().await;
    let other = world.beside().await;
    let made = other.create_account("444455556666".parse().unwrap(), None).await.unwrap();
    assert!(world.iam.credential(&made.access_key_id).is_none());
    world.iam.reload().await.unwrap();
    assert!(world.iam.credential(&made.access_key_id).is_some());
    assert!(world.iam.credential(ROOT_KEY).is_some());
}
