//! Users, access keys and inline policies through the real pipeline.

mod world;

use std::time::Duration;

use front::Directory as _;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};
use world::{ROOT_KEY, World, on_disk, text, texts};

fn refused(outcome: Result<String, Fault>) -> (String, u16, String) {
    let fault = outcome.expect_err("a refusal");
    (fault.code.into_owned(), fault.status, fault.message.unwrap_or_default())
}

fn says(outcome: Result<String, Fault>, code: &str, status: u16, message: &str) {
    assert_eq!(refused(outcome), (code.to_owned(), status, message.to_owned()));
}

fn document(statement: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statement}).to_string()
}

#[tokio::test]
async fn a_user_is_made_found_listed_and_deleted() {
    let world = World::new().await;
    let input = json!({"UserName": "dba", "Path": "/ops/", "Tags": [{"Key": "team", "Value": "db"}]});
    let made = world.iam(ROOT_KEY, "CreateUser", input).await.unwrap();
    assert_eq!(text(&made, "Arn"), "arn:aws:iam::111122223333:user/ops/dba");
    assert!(text(&made, "UserId").starts_with("AIDA"));
    assert_eq!(text(&made, "UserId").len(), 21);
    assert!(made.contains("<Tags><member><Key>team</Key><Value>db</Value></member></Tags>"), "{made}");
    let got = world.iam(ROOT_KEY, "GetUser", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(text(&got, "UserId"), text(&made, "UserId"));
    let listed = world.iam(ROOT_KEY, "ListUsers", json!({"PathPrefix": "/ops/"})).await.unwrap();
    assert_eq!(texts(&listed, "UserName"), ["dba"]);
    assert!(!listed.contains("<Tags>"), "lists tell no tags");
    let other = world.iam(ROOT_KEY, "ListUsers", json!({"PathPrefix": "/dev/"})).await.unwrap();
    assert_eq!(other.matches("<member>").count(), 0);
    world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await.unwrap();
    let gone = world.iam(ROOT_KEY, "GetUser", json!({"UserName": "dba"})).await;
    says(gone, "NoSuchEntity", 404, "The user with name dba cannot be found.");
}

#[tokio::test]
async fn names_are_unique_whatever_the_case_of_their_letters() {
    let world = World::new().await;
    world.user("dba").await;
    for name in ["dba", "DBA"] {
        let again = world.iam(ROOT_KEY, "CreateUser", json!({"UserName": name})).await;
        says(again, "EntityAlreadyExists", 409, &format!("User with name {name} already exists."));
    }
    let other_case = world.iam(ROOT_KEY, "GetUser", json!({"UserName": "DBA"})).await;
    says(other_case, "NoSuchEntity", 404, "The user with name DBA cannot be found.");
}

#[tokio::test]
async fn a_missing_user_is_told_by_every_operation() {
    let world = World::new().await;
    let policy = document(&json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    for (operation, input) in [
        ("GetUser", json!({})),
        ("DeleteUser", json!({})),
        ("CreateAccessKey", json!({})),
        ("ListAccessKeys", json!({})),
        ("UpdateAccessKey", json!({"AccessKeyId": ROOT_KEY, "Status": "Inactive"})),
        ("DeleteAccessKey", json!({"AccessKeyId": ROOT_KEY})),
        ("PutUserPolicy", json!({"PolicyName": "p", "PolicyDocument": policy})),
        ("GetUserPolicy", json!({"PolicyName": "p"})),
        ("ListUserPolicies", json!({})),
        ("DeleteUserPolicy", json!({"PolicyName": "p"})),
    ] {
        let mut input = input;
        input["UserName"] = "nobody".into();
        let outcome = world.iam(ROOT_KEY, operation, input).await;
        says(outcome, "NoSuchEntity", 404, "The user with name nobody cannot be found.");
    }
}

#[tokio::test]
async fn malformed_input_gets_the_words_of_the_model() {
    let world = World::new().await;
    for (operation, input, part) in [
        (
            "CreateUser",
            json!({}),
            "Value null at 'userName' failed to satisfy constraint: Member must not be null",
        ),
        (
            "CreateUser",
            json!({"UserName": "a b"}),
            "Member must satisfy regular expression pattern: [\\w+=,.@-]+",
        ),
        (
            "CreateUser",
            json!({"UserName": "a".repeat(65)}),
            "Member must have length less than or equal to 64",
        ),
        (
            "CreateUser",
            json!({"UserName": "a", "Path": "ops"}),
            "Member must satisfy regular expression pattern",
        ),
        ("ListUsers", json!({"MaxItems": 0}), "Member must have value greater than or equal to 1"),
        ("ListUsers", json!({"MaxItems": 1001}), "Member must have value less than or equal to 1000"),
        ("ListUsers", json!({"Marker": "nonsense"}), "Invalid Marker."),
        (
            "DeleteAccessKey",
            json!({"AccessKeyId": "short"}),
            "Member must have length greater than or equal to 16",
        ),
        (
            "UpdateAccessKey",
            json!({"AccessKeyId": ROOT_KEY, "Status": "Off"}),
            "Member must satisfy enum value set",
        ),
        ("UpdateAccessKey", json!({"AccessKeyId": ROOT_KEY, "Status": "Expired"}), "set: [Active, Inactive]"),
    ] {
        let (code, status, message) = refused(world.iam(ROOT_KEY, operation, input).await);
        assert_eq!((code.as_str(), status), ("ValidationError", 400), "{operation}");
        assert!(message.contains(part), "{operation}: {message}");
    }
    let doubled = json!({"UserName": "a", "Tags": [{"Key": "k", "Value": ""}, {"Key": "K", "Value": ""}]});
    let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
    says(world.iam(ROOT_KEY, "CreateUser", doubled).await, "InvalidInput", 400, text);
    let boundary = "arn:aws:iam::111122223333:policy/none";
    let bounded = json!({"UserName": "a", "PermissionsBoundary": boundary});
    let text = format!("Scope ARN: {boundary} does not exist or is not attachable.");
    says(world.iam(ROOT_KEY, "CreateUser", bounded).await, "NoSuchEntity", 404, &text);
    let listed = world.iam(ROOT_KEY, "ListUsers", json!({})).await.unwrap();
    assert!(texts(&listed, "UserName").is_empty(), "nothing was made");
}

#[tokio::test]
async fn access_keys_are_two_at_most_and_can_be_switched_off_and_deleted() {
    let world = World::new().await;
    let (first, secret) = world.user("dba").await;
    assert_eq!((first.len(), secret.len()), (20, 40));
    assert_eq!(world.iam.credential(&first).unwrap().secret.expose(), secret);
    world.clock.advance(Duration::from_secs(1));
    let second = world.iam(ROOT_KEY, "CreateAccessKey", json!({"UserName": "dba"})).await.unwrap();
    let second = text(&second, "AccessKeyId");
    let third = world.iam(ROOT_KEY, "CreateAccessKey", json!({"UserName": "dba"})).await;
    says(third, "LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2");
    let off = json!({"UserName": "dba", "AccessKeyId": first, "Status": "Inactive"});
    world.iam(ROOT_KEY, "UpdateAccessKey", off).await.unwrap();
    assert!(!world.iam.credential(&first).unwrap().active);
    let listed = world.iam(ROOT_KEY, "ListAccessKeys", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(texts(&listed, "AccessKeyId"), [first.clone(), second.clone()]);
    assert_eq!(texts(&listed, "Status"), ["Inactive", "Active"]);
    assert!(!listed.contains("SecretAccessKey"));
    // The root user's key is none of this user's.
    for operation in ["DeleteAccessKey", "UpdateAccessKey"] {
        let input = json!({"UserName": "dba", "AccessKeyId": ROOT_KEY, "Status": "Inactive"});
        let text = format!("The Access Key with id {ROOT_KEY} cannot be found");
        says(world.iam(ROOT_KEY, operation, input).await, "NoSuchEntity", 404, &text);
    }
    let delete = world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await;
    says(delete, "DeleteConflict", 409, "Cannot delete entity, must delete access keys first.");
    for key in [&first, &second] {
        world.iam(ROOT_KEY, "DeleteAccessKey", json!({"UserName": "dba", "AccessKeyId": key})).await.unwrap();
        assert!(world.iam.credential(key).is_none());
    }
    world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await.unwrap();
}

#[tokio::test]
async fn without_a_name_the_caller_is_meant() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    world.allow("dba", json!({"Effect": "Allow", "Action": "iam:*", "Resource": "*"})).await;
    let me = world.iam(&key, "GetUser", json!({})).await.unwrap();
    assert_eq!(text(&me, "UserName"), "dba");
    let keys = world.iam(&key, "ListAccessKeys", json!({})).await.unwrap();
    assert_eq!(texts(&keys, "AccessKeyId"), [key]);
    let root = world.iam(ROOT_KEY, "GetUser", json!({})).await.unwrap();
    assert_eq!(text(&root, "Arn"), "arn:aws:iam::111122223333:root");
    assert_eq!(text(&root, "UserId"), "111122223333");
    let roots = world.iam(ROOT_KEY, "ListAccessKeys", json!({})).await.unwrap();
    assert_eq!(texts(&roots, "AccessKeyId"), [ROOT_KEY]);
}

#[tokio::test]
async fn callers_learn_who_they_are_without_any_permission() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    world.allow("dba", json!({"Effect": "Deny", "Action": "*", "Resource": "*"})).await;
    let me = world.call(&key, ServiceId::Sts, "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!(text(&me, "Arn"), "arn:aws:iam::111122223333:user/dba");
    assert_eq!(text(&me, "Account"), "111122223333");
    assert!(text(&me, "UserId").starts_with("AIDA"));
    let root = world.call(ROOT_KEY, ServiceId::Sts, "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!(text(&root, "UserId"), "111122223333");
    assert_eq!(text(&root, "Arn"), "arn:aws:iam::111122223333:root");
}

#[tokio::test]
async fn inline_policies_are_kept_as_given_and_take_effect_at_once() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    let denied = world.iam(&key, "GetUser", json!({"UserName": "dba"})).await;
    says(
        denied,
        "AccessDenied",
        403,
        "User: arn:aws:iam::111122223333:user/dba is not authorized to perform: iam:GetUser on resource: \
         arn:aws:iam::111122223333:user/dba because no identity-based policy allows the iam:GetUser action",
    );
    let text_of = "{ \"Version\": \"2012-10-17\",\n \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"iam:GetUser\", \
                   \"Resource\": \"arn:aws:iam::*:user/${aws:username}\"} }";
    let put = json!({"UserName": "dba", "PolicyName": "self", "PolicyDocument": text_of});
    world.iam(ROOT_KEY, "PutUserPolicy", put).await.unwrap();
    world.iam(&key, "GetUser", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(refused(world.iam(&key, "GetUser", json!({"UserName": "other"})).await).0, "AccessDenied");
    let got = json!({"UserName": "dba", "PolicyName": "self"});
    let got = world.iam(ROOT_KEY, "GetUserPolicy", got).await.unwrap();
    let encoded = text(&got, "PolicyDocument");
    assert!(encoded.starts_with("%7B%20%22Version%22%3A%20%222012-10-17%22%2C%0A"), "{encoded}");
    let listed = world.iam(ROOT_KEY, "ListUserPolicies", json!({"UserName": "dba"})).await.unwrap();
    assert!(listed.contains("<PolicyNames><member>self</member></PolicyNames>"), "{listed}");
    let conflict = world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await;
    assert_eq!(refused(conflict).0, "DeleteConflict");
    let gone = json!({"UserName": "dba", "PolicyName": "self"});
    world.iam(ROOT_KEY, "DeleteUserPolicy", gone.clone()).await.unwrap();
    assert_eq!(refused(world.iam(&key, "GetUser", json!({"UserName": "dba"})).await).0, "AccessDenied");
    for operation in ["GetUserPolicy", "DeleteUserPolicy"] {
        let text = "The user policy with name self cannot be found.";
        says(world.iam(ROOT_KEY, operation, gone.clone()).await, "NoSuchEntity", 404, text);
    }
}

#[tokio::test]
async fn a_bad_document_is_refused_in_the_words_of_aws_and_changes_nothing() {
    let world = World::new().await;
    world.user("dba").await;
    let statement = |extra: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"});
        for (name, value) in extra.as_object().unwrap() {
            if value.is_null() {
                statement.as_object_mut().unwrap().remove(name);
            } else {
                statement[name] = value.clone();
            }
        }
        document(&statement)
    };
    for (text, message) in [
        ("{".to_owned(), "This policy contains invalid Json"),
        ("{}".to_owned(), "Syntax errors in policy."),
        (
            json!({"Version": "2026-01-01", "Statement": []}).to_string(),
            "Policy document must be version 2012-10-17 or greater.",
        ),
        (statement(json!({"Action": null})), "Policy statement must contain actions."),
        (statement(json!({"Resource": null})), "Policy statement must contain resources."),
        (
            statement(json!({"Action": "GetObject"})),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (statement(json!({"Action": "s3:a:b"})), "Actions/Condition can contain only one colon."),
        (statement(json!({"Action": "s 3:Get"})), "Vendor s 3 is not valid"),
        (statement(json!({"Resource": "bucket"})), "Resource bucket must be in ARN format or \"*\"."),
        (statement(json!({"Resource": "arn:aws:s3"})), "The policy failed legacy parsing"),
        (statement(json!({"Principal": "*"})), "Policy document should not specify a principal."),
        (statement(json!({"Effect": "allow"})), "Syntax errors in policy."),
        (
            document(&json!([
                {"Sid": "a", "Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Sid": "a", "Effect": "Allow", "Action": "*", "Resource": "*"},
            ])),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
    ] {
        let put = json!({"UserName": "dba", "PolicyName": "p", "PolicyDocument": text});
        says(world.iam(ROOT_KEY, "PutUserPolicy", put).await, "MalformedPolicyDocument", 400, message);
    }
    let long = statement(json!({"Resource": format!("arn:aws:s3:::{}", "x".repeat(2048))}));
    let put = json!({"UserName": "dba", "PolicyName": "p", "PolicyDocument": long});
    let text = "Maximum policy size of 2048 bytes exceeded for user dba";
    says(world.iam(ROOT_KEY, "PutUserPolicy", put).await, "LimitExceeded", 409, text);
    let listed = world.iam(ROOT_KEY, "ListUserPolicies", json!({"UserName": "dba"})).await.unwrap();
    assert_eq!(listed.matches("<member>").count(), 0);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    for n in 0..5 {
        world.iam(ROOT_KEY, "CreateUser", json!({"UserName": format!("u{n}")})).await.unwrap();
    }
    let (mut seen, mut marker) = (Vec::new(), None::<String>);
    loop {
        let mut input = json!({"MaxItems": 2});
        if let Some(marker) = &marker {
            input["Marker"] = marker.clone().into();
        }
        let page = world.iam(ROOT_KEY, "ListUsers", input).await.unwrap();
        seen.extend(texts(&page, "UserName"));
        marker = texts(&page, "Marker").pop();
        assert_eq!(text(&page, "IsTruncated"), marker.is_some().to_string());
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["u0", "u1", "u2", "u3", "u4"]);
}

#[tokio::test]
async fn everything_survives_a_restart_and_secrets_are_nowhere_in_the_clear() {
    let world = World::new().await;
    let (key, secret) = world.user("dba").await;
    world.allow("dba", json!({"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"})).await;
    let before = world.iam(&key, "GetUser", json!({})).await.unwrap();
    let world = world.reopen().await;
    let after = world.iam(&key, "GetUser", json!({})).await.unwrap();
    assert_eq!(text(&before, "UserId"), text(&after, "UserId"));
    assert_eq!(text(&before, "CreateDate"), text(&after, "CreateDate"));
    assert_eq!(world.iam.credential(&key).unwrap().secret.expose(), secret);
    assert_eq!(world.iam.accounts(), [world::account()]);
    assert!(!on_disk(world.dir.path(), &secret), "the user's secret");
    assert!(!on_disk(world.dir.path(), "root-secret-root-secret"), "the root user's secret");
    assert!(on_disk(world.dir.path(), &key), "the id is no secret: the scan does read the files");
}

#[tokio::test]
async fn the_trail_tells_of_a_new_key_all_but_the_secret() {
    let world = World::new().await;
    let (key, _) = world.user("dba").await;
    let records = world.records().await;
    let made = records.iter().find(|record| record["eventName"] == "CreateAccessKey").unwrap();
    assert_eq!(made["eventSource"], "iam.amazonaws.com");
    assert_eq!(made["awsRegion"], "us-east-1");
    assert_eq!(made["requestParameters"], json!({"userName": "dba"}));
    assert_eq!(
        made["responseElements"],
        json!({"accessKey": {
            "userName": "dba", "accessKeyId": key, "status": "Active", "createDate": "Jan 5, 2026, 10:11:12 AM",
        }})
    );
    let user = records.iter().find(|record| record["eventName"] == "CreateUser").unwrap();
    assert_eq!(user["responseElements"]["user"]["arn"], "arn:aws:iam::111122223333:user/dba");
    assert_eq!(user["readOnly"], false);
}

#[tokio::test]
async fn who_is_made_again_is_somebody_else() {
    let world = World::new().await;
    world.iam(ROOT_KEY, "CreateUser", json!({"UserName": "dba"})).await.unwrap();
    let arn = "arn:aws:iam::111122223333:user/dba";
    let before = world.iam.principal_id(arn).unwrap();
    assert!(world.iam.principal_exists(arn));
    assert!(world.iam.principal_exists("arn:aws:iam::111122223333:root"));
    for nobody in [
        "arn:aws:iam::999999999999:root",
        "arn:aws:iam::111122223333:user/ops/dba",
        "arn:aws:iam::111122223333:user/nobody",
        "arn:aws:iam::111122223333:group/dba",
        "dba",
    ] {
        assert!(!world.iam.principal_exists(nobody), "{nobody}");
    }
    world.iam(ROOT_KEY, "DeleteUser", json!({"UserName": "dba"})).await.unwrap();
    assert!(!world.iam.principal_exists(arn));
    world.iam(ROOT_KEY, "CreateUser", json!({"UserName": "dba"})).await.unwrap();
    assert_ne!(world.iam.principal_id(arn).unwrap(), before);
}

#[tokio::test]
async fn an_account_is_made_once_with_good_credentials_only() {
    use api_iam::CreateError;
    use wire::Secret;
    let world = World::new().await;
    let secret = || Secret::new("s".repeat(40));
    let new: ids::AccountId = "444455556666".parse().unwrap();
    let twice = world.iam.create_account(world::account(), None).await;
    assert!(matches!(twice, Err(CreateError::AccountExists(_))));
    let taken = world.iam.create_account(new.clone(), Some((ROOT_KEY.into(), secret()))).await;
    assert!(matches!(taken, Err(CreateError::KeyExists(_))));
    let bad = world.iam.create_account(new.clone(), Some(("short".into(), secret()))).await;
    assert!(matches!(bad, Err(CreateError::BadKeyId)));
    let bad = Some(("AKIAAAAAAAAAAAAAAAAA".into(), Secret::new("with space with space".into())));
    assert!(matches!(world.iam.create_account(new.clone(), bad).await, Err(CreateError::BadSecret)));
    assert_eq!(world.iam.accounts().len(), 1, "nothing has changed");
    let made = world.iam.create_account(new.clone(), None).await.unwrap();
    // Accounts do not see each other's users.
    world.user("dba").await;
    let listed = world.iam(&made.access_key_id, "ListUsers", json!({})).await.unwrap();
    assert!(texts(&listed, "UserName").is_empty());
    let world = world.reopen().await;
    assert_eq!(world.iam.credential(&made.access_key_id).unwrap().secret.expose(), made.secret.expose());
}
