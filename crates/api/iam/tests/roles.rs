//! Roles and their sessions through the real pipeline.

mod world;

use std::time::Duration;

use front::Directory as _;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};
use world::{ROOT_KEY, World, on_disk, text, texts};

const ROLE: &str = "arn:aws:iam::111122223333:role/app";

fn says(outcome: Result<String, Fault>, code: &str, status: u16, message: &str) {
    let fault = outcome.expect_err("a refusal");
    assert_eq!(
        (fault.code.as_ref(), fault.status, fault.message.unwrap_or_default().as_str()),
        (code, status, message)
    );
}

fn document(statement: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statement}).to_string()
}

fn trusting(principal: &str) -> String {
    document(
        &json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": ["sts:AssumeRole", "sts:TagSession"]}),
    )
}

/// A user who may do nothing by himself, and a role that trusts him and may read IAM.
async fn world() -> (World, String) {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    let role = json!({
        "RoleName": "app", "Description": "for the app", "MaxSessionDuration": 7200,
        "AssumeRolePolicyDocument": trusting("arn:aws:iam::111122223333:user/dba"),
    });
    world.iam(ROOT_KEY, "CreateRole", role).await.unwrap();
    let allow =
        document(&json!({"Effect": "Allow", "Action": ["iam:Get*", "sts:AssumeRole"], "Resource": "*"}));
    let put = json!({"RoleName": "app", "PolicyName": "p", "PolicyDocument": allow});
    world.iam(ROOT_KEY, "PutRolePolicy", put).await.unwrap();
    (world, key)
}

async fn assume(world: &World, key: &str, changes: Value) -> Result<String, Fault> {
    let mut input = json!({"RoleArn": ROLE, "RoleSessionName": "ci"});
    input.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    world.call(key, ServiceId::Sts, "AssumeRole", input).await
}

#[tokio::test]
async fn a_session_has_the_permissions_of_its_role_until_it_ends() {
    let (world, key) = world().await;
    let answer = assume(&world, &key, json!({})).await.unwrap();
    let session = text(&answer, "AccessKeyId");
    assert!(session.starts_with("ASIA") && session.len() == 20);
    assert_eq!(text(&answer, "Arn"), "arn:aws:sts::111122223333:assumed-role/app/ci");
    assert_eq!(text(&answer, "Expiration"), "2026-01-05T11:11:12Z");
    let (secret, token) = (text(&answer, "SecretAccessKey"), text(&answer, "SessionToken"));
    let credential = world.iam.credential(&session).unwrap();
    assert_eq!(credential.secret.expose(), secret);
    assert_eq!(credential.session_token.unwrap().expose(), token);
    world.iam(&session, "GetUser", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(world.iam(&key, "GetUser", json!({})).await.unwrap_err().code, "AccessDenied");
    let who = world.call(&session, ServiceId::Sts, "GetCallerIdentity", json!({})).await.unwrap();
    assert!(text(&who, "UserId").starts_with("AROA") && text(&who, "UserId").ends_with(":ci"));
    let own = world.iam(&session, "GetUser", json!({})).await;
    says(own, "ValidationError", 400, "Must specify userName when calling with non-User credentials");

    let world = world.reopen().await;
    assert_eq!(world.iam.credential(&session).unwrap().secret.expose(), secret);
    assert!(!on_disk(world.dir.path(), &secret), "the secret is in the clear nowhere");
    let records = world.records().await;
    let made = records.iter().find(|record| record["eventName"] == "AssumeRole").unwrap();
    assert_eq!((&made["readOnly"], &made["awsRegion"]), (&json!(true), &json!("us-west-2")));
    assert_eq!(made["responseElements"]["credentials"]["accessKeyId"], session);
    assert_eq!(
        made["responseElements"]["assumedRoleUser"]["arn"],
        "arn:aws:sts::111122223333:assumed-role/app/ci"
    );
    let used = records.iter().find(|record| record["userIdentity"]["type"] == "AssumedRole").unwrap();
    assert_eq!(used["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"], ROLE);

    world.clock.advance(Duration::from_secs(3600));
    assert!(world.iam.credential(&session).unwrap().expires.unwrap() <= ids::Clock::now(&*world.clock));
    assume(&world, &key, json!({})).await.unwrap();
    assert!(world.iam.credential(&session).is_none(), "what has ended is forgotten");
}

#[tokio::test]
async fn only_those_whom_a_role_trusts_assume_it_and_nobody_learns_which_roles_there_are() {
    let (world, key) = world().await;
    let (other, _) = world.user("other").await;
    let denied = |who: &str, arn: &str| {
        format!(
            "User: arn:aws:iam::111122223333:user/{who} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
    };
    says(assume(&world, &other, json!({})).await, "AccessDenied", 403, &denied("other", ROLE));
    world.allow("other", json!({"Effect": "Allow", "Action": "sts:*", "Resource": "*"})).await;
    says(assume(&world, &other, json!({})).await, "AccessDenied", 403, &denied("other", ROLE));
    let nothing = "arn:aws:iam::111122223333:role/nothing";
    says(
        assume(&world, &key, json!({"RoleArn": nothing})).await,
        "AccessDenied",
        403,
        &denied("dba", nothing),
    );
    says(
        assume(&world, ROOT_KEY, json!({})).await,
        "AccessDenied",
        403,
        "Roles may not be assumed by root accounts.",
    );
    // Trust in the account leaves it to the policies of its users.
    let update = json!({"RoleName": "app", "PolicyDocument": trusting("111122223333")});
    world.iam(ROOT_KEY, "UpdateAssumeRolePolicy", update).await.unwrap();
    says(assume(&world, &key, json!({})).await, "AccessDenied", 403, &denied("dba", ROLE));
    assume(&world, &other, json!({})).await.unwrap();
    // Who is made again under the old name is somebody else.
    let update = json!({"RoleName": "app", "PolicyDocument": trusting("arn:aws:iam::111122223333:user/dba")});
    world.iam(ROOT_KEY, "UpdateAssumeRolePolicy", update).await.unwrap();
    world.iam(ROOT_KEY, "DeleteAccessKey", json!({"UserName": "dba", "AccessKeyId": key})).await.unwrap();
    world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await.unwrap();
    let world = world.reopen().await;
    let (again, _) = world.user("dba").await;
    says(assume(&world, &again, json!({})).await, "AccessDenied", 403, &denied("dba", ROLE));
}

#[tokio::test]
async fn another_account_needs_both_sides() {
    let (world, _) = world().await;
    let account: ids::AccountId = "444455556666".parse().unwrap();
    let administrator = world.iam.create_account(account, None).await.unwrap().access_key_id;
    world.iam(&administrator, "CreateUser", json!({"UserName": "guest"})).await.unwrap();
    let made = world.iam(&administrator, "CreateAccessKey", json!({"UserName": "guest"})).await.unwrap();
    let guest = text(&made, "AccessKeyId");
    let update =
        json!({"RoleName": "app", "PolicyDocument": trusting("arn:aws:iam::444455556666:user/guest")});
    world.iam(ROOT_KEY, "UpdateAssumeRolePolicy", update).await.unwrap();
    assert_eq!(assume(&world, &guest, json!({})).await.unwrap_err().code, "AccessDenied");
    let allow = document(&json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}));
    let put = json!({"UserName": "guest", "PolicyName": "p", "PolicyDocument": allow});
    world.iam(&administrator, "PutUserPolicy", put).await.unwrap();
    let answer = assume(&world, &guest, json!({})).await.unwrap();
    world.iam(&text(&answer, "AccessKeyId"), "GetUser", json!({"UserName": "dba"})).await.unwrap();
}

#[tokio::test]
async fn a_session_is_limited_by_the_policies_it_was_begun_with() {
    let (world, key) = world().await;
    let get = document(&json!({"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"}));
    let managed = json!({"PolicyName": "roles", "PolicyDocument": document(&json!({"Effect": "Allow", "Action": "iam:GetRole", "Resource": "*"}))});
    let managed = text(&world.iam(ROOT_KEY, "CreatePolicy", managed).await.unwrap(), "Arn");
    let user = json!({"UserName": "dba"});
    let role = json!({"RoleName": "app"});
    let inline = assume(&world, &key, json!({"Policy": get})).await.unwrap();
    assert!(text(&inline, "PackedPolicySize").parse::<u32>().unwrap() > 0);
    let inline = text(&inline, "AccessKeyId");
    world.iam(&inline, "GetUser", user.clone()).await.unwrap();
    says(
        world.iam(&inline, "GetRole", role.clone()).await,
        "AccessDenied",
        403,
        "User: arn:aws:sts::111122223333:assumed-role/app/ci is not authorized to perform: iam:GetRole on resource: \
         arn:aws:iam::111122223333:role/app because no session policy allows the iam:GetRole action",
    );
    let both = json!({"Policy": get, "PolicyArns": [{"arn": managed}]});
    let both = text(&assume(&world, &key, both).await.unwrap(), "AccessKeyId");
    world.iam(&both, "GetUser", user.clone()).await.unwrap();
    world.iam(&both, "GetRole", role.clone()).await.unwrap();
    // What the role itself may not, no session policy gives.
    let all = document(&json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    let all = text(&assume(&world, &key, json!({"Policy": all})).await.unwrap(), "AccessKeyId");
    assert_eq!(world.iam(&all, "ListUsers", json!({})).await.unwrap_err().code, "AccessDenied");
    let world = world.reopen().await;
    assert_eq!(
        world.iam(&inline, "GetRole", role).await.unwrap_err().code,
        "AccessDenied",
        "after a restart as well"
    );
}

#[tokio::test]
async fn bad_parameters_of_a_session_get_their_own_errors() {
    let (world, key) = world().await;
    for (input, code, message) in [
        (
            json!({"RoleSessionName": "a b"}),
            "ValidationError",
            "1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*",
        ),
        (
            json!({"RoleArn": "arn:aws:iam::111122223333:user/dba"}),
            "ValidationError",
            "arn:aws:iam::111122223333:user/dba is invalid",
        ),
        (json!({"RoleArn": "x".repeat(20)}), "ValidationError", "xxxxxxxxxxxxxxxxxxxx is invalid"),
        (
            json!({"DurationSeconds": 7201}),
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
        (json!({"Policy": "{}"}), "MalformedPolicyDocument", "Syntax errors in policy."),
        (
            json!({"Policy": " ".repeat(4096)}),
            "PackedPolicyTooLarge",
            "Packed policy consumes 200% of allotted space, please use smaller policy.",
        ),
        (
            json!({"PolicyArns": [{"arn": "arn:aws:iam::111122223333:policy/no"}]}),
            "MalformedPolicyDocument",
            "Policy arn:aws:iam::111122223333:policy/no does not exist or is not attachable.",
        ),
        (
            json!({"TransitiveTagKeys": ["k"]}),
            "InvalidInput",
            "Every transitive tag key must be the key of a tag of this session.",
        ),
    ] {
        says(assume(&world, &key, input).await, code, 400, message);
    }
    let mfa =
        assume(&world, &key, json!({"SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456"})).await;
    says(mfa, "AccessDenied", 403, "MultiFactorAuthentication failed with invalid MFA one time pass code.");
}

#[tokio::test]
async fn tags_of_a_session_are_the_callers_and_transitive_ones_go_on() {
    let (world, key) = world().await;
    let trust = document(&json!({
        "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111122223333:user/dba", ROLE]},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }));
    world
        .iam(ROOT_KEY, "UpdateAssumeRolePolicy", json!({"RoleName": "app", "PolicyDocument": trust}))
        .await
        .unwrap();
    let tags = json!({"Tags": [{"Key": "team", "Value": "db"}, {"Key": "run", "Value": "7"}], "TransitiveTagKeys": ["team"]});
    let first = text(&assume(&world, &key, tags).await.unwrap(), "AccessKeyId");
    let second =
        text(&assume(&world, &first, json!({"RoleSessionName": "next"})).await.unwrap(), "AccessKeyId");
    let tags = |id: &str| world.iam.credential(id).unwrap().caller.tags().to_vec();
    assert_eq!(tags(&first), [("run".to_owned(), "7".to_owned()), ("team".to_owned(), "db".to_owned())]);
    assert_eq!(tags(&second), [("team".to_owned(), "db".to_owned())]);
    let changed = assume(&world, &first, json!({"Tags": [{"Key": "Team", "Value": "x"}]})).await.unwrap_err();
    assert_eq!(changed.code, "InvalidInput");
    let long = assume(&world, &first, json!({"DurationSeconds": 7200})).await;
    says(
        long,
        "ValidationError",
        400,
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
    );
}

#[tokio::test]
async fn a_role_is_made_shown_listed_and_deleted() {
    let (world, key) = world().await;
    let got = world.iam(ROOT_KEY, "GetRole", json!({"RoleName": "app"})).await.unwrap();
    assert_eq!((text(&got, "Arn").as_str(), text(&got, "MaxSessionDuration").as_str()), (ROLE, "7200"));
    assert!(text(&got, "AssumeRolePolicyDocument").starts_with("%7B%22"));
    let listed = world.iam(ROOT_KEY, "ListRoles", json!({})).await.unwrap();
    assert_eq!(texts(&listed, "RoleName"), ["app"]);
    let policy =
        world.iam(ROOT_KEY, "GetRolePolicy", json!({"RoleName": "app", "PolicyName": "p"})).await.unwrap();
    assert_eq!(text(&policy, "RoleName"), "app");
    let policies = world.iam(ROOT_KEY, "ListRolePolicies", json!({"RoleName": "app"})).await.unwrap();
    assert!(policies.contains("<PolicyNames><member>p</member></PolicyNames>"));
    for (principal, message) in [
        (
            "arn:aws:iam::111122223333:user/nobody",
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:user/nobody\"",
        ),
        ("nonsense", "Invalid principal in policy"),
    ] {
        let role = json!({"RoleName": "other", "AssumeRolePolicyDocument": trusting(principal)});
        says(world.iam(ROOT_KEY, "CreateRole", role).await, "MalformedPolicyDocument", 400, message);
    }
    let again = json!({"RoleName": "APP", "AssumeRolePolicyDocument": trusting("111122223333")});
    says(
        world.iam(ROOT_KEY, "CreateRole", again).await,
        "EntityAlreadyExists",
        409,
        "Role with name APP already exists.",
    );
    let document = document(&json!({"Effect": "Allow", "Action": "kms:*", "Resource": "*"}));
    let policy = json!({"PolicyName": "keys", "PolicyDocument": document});
    let policy = text(&world.iam(ROOT_KEY, "CreatePolicy", policy).await.unwrap(), "Arn");
    let both = json!({"RoleName": "app", "PolicyArn": policy});
    world.iam(ROOT_KEY, "AttachRolePolicy", both.clone()).await.unwrap();
    let attached = world.iam(ROOT_KEY, "ListAttachedRolePolicies", json!({"RoleName": "app"})).await.unwrap();
    assert_eq!(texts(&attached, "PolicyArn"), std::slice::from_ref(&policy));
    let session = text(&assume(&world, &key, json!({})).await.unwrap(), "AccessKeyId");
    let delete = json!({"RoleName": "app"});
    let text_of = "Cannot delete entity, must delete policies first.";
    says(world.iam(ROOT_KEY, "DeleteRole", delete.clone()).await, "DeleteConflict", 409, text_of);
    world.iam(ROOT_KEY, "DeleteRolePolicy", json!({"RoleName": "app", "PolicyName": "p"})).await.unwrap();
    let text_of = "Cannot delete entity, must detach all policies first.";
    says(world.iam(ROOT_KEY, "DeleteRole", delete.clone()).await, "DeleteConflict", 409, text_of);
    world.iam(ROOT_KEY, "DetachRolePolicy", both).await.unwrap();
    assert!(world.iam.principal_exists("arn:aws:sts::111122223333:assumed-role/app/ci"));
    world.iam(ROOT_KEY, "DeleteRole", delete.clone()).await.unwrap();
    assert!(world.iam.credential(&session).is_none(), "sessions end with their role");
    for operation in ["GetRole", "DeleteRole", "ListRolePolicies", "ListAttachedRolePolicies"] {
        let text = "The role with name app cannot be found.";
        says(world.iam(ROOT_KEY, operation, delete.clone()).await, "NoSuchEntity", 404, text);
    }
}
