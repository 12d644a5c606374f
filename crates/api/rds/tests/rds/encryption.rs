//! Which key seals a cluster, and what is asked of the key service for it (spec/rds.md §4, §5).

use serde_json::json;

use crate::world::{Use, World, cluster, instance};

fn operations(uses: &[Use]) -> Vec<(&str, &str)> {
    uses.iter().map(|used| (used.by.as_str(), used.operation)).collect()
}

fn pairs(used: &Use) -> Vec<(&str, &str)> {
    used.context.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn the_key_is_granted_as_the_caller_and_used_as_the_service_in_both_contexts() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    let created = world.ok("CreateDBCluster", cluster("orders", Some("alias/orders"))).await;
    let cluster = &created["DBCluster"];
    assert_eq!(cluster["KmsKeyId"], key.as_str(), "always the ARN");
    assert_eq!(
        (&cluster["StorageEncrypted"], &cluster["StorageEncryptionType"]),
        (&json!(true), &json!("sse-kms"))
    );
    let cluster_id = cluster["DbClusterResourceId"].as_str().unwrap();
    let uses = world.keys.uses();
    assert_eq!(
        operations(&uses),
        [("dba", "DescribeKey"), ("dba", "CreateGrant"), ("rds", "GenerateDataKeyWithoutPlaintext")]
    );
    assert_eq!(pairs(&uses[1]), [("aws:rds:db-id", cluster_id)]);
    assert_eq!(pairs(&uses[2]), [("aws:rds:db-id", cluster_id)]);

    world.keys.forget_uses();
    let created = world.ok("CreateDBInstance", instance("orders", "orders-1")).await;
    let instance = &created["DBInstance"];
    assert_eq!(instance["KmsKeyId"], key.as_str());
    let instance_id = instance["DbiResourceId"].as_str().unwrap();
    let uses = world.keys.uses();
    let expected =
        [("dba", "DescribeKey"), ("dba", "CreateGrant"), ("rds", "ReEncryptFrom"), ("rds", "ReEncryptTo")];
    assert_eq!(operations(&uses), expected);
    assert_eq!(pairs(&uses[1]), [("aws:rds:db-id", instance_id)]);
    let [(ebs, volume), id] = pairs(&uses[3])[..] else { panic!("two pairs") };
    assert_eq!((ebs, id), ("aws:ebs:id", ("aws:rds:db-id", instance_id)));
    assert!(volume.starts_with("vol-"));

    world.keys.forget_uses();
    world.settle().await;
    let uses = world.keys.uses();
    assert_eq!(operations(&uses), [("rds", "Decrypt")], "one for the one attach");
    assert_eq!(pairs(&uses[0]), [("aws:ebs:id", volume), ("aws:rds:db-id", instance_id)]);
}

#[tokio::test]
async fn without_a_key_the_default_one_is_used_and_made_once() {
    let world = World::new().await;
    let mut input = cluster("orders", None);
    input["StorageEncrypted"] = json!(true);
    let first = world.ok("CreateDBCluster", input.clone()).await;
    input["DBClusterIdentifier"] = json!("billing");
    let second = world.ok("CreateDBCluster", input).await;
    assert!(first["DBCluster"]["KmsKeyId"].is_string());
    assert_eq!(first["DBCluster"]["KmsKeyId"], second["DBCluster"]["KmsKeyId"]);
}

#[tokio::test]
async fn a_key_without_encryption_is_refused() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    let mut input = cluster("orders", Some(&key));
    for encrypted in [json!(false), json!(null)] {
        input["StorageEncrypted"] = encrypted;
        let fault = world.call("CreateDBCluster", input.clone()).await.unwrap_err();
        assert_eq!(fault.code, "InvalidParameterCombination");
        let text =
            "You must enable StorageEncrypted when you specify KmsKeyId for DB engine aurora-postgresql";
        assert_eq!(fault.message.unwrap(), text);
    }
    assert!(world.keys.uses().is_empty());
}

#[tokio::test]
async fn every_refusal_of_the_key_service_is_the_same_fault_and_leaves_nothing() {
    let world = World::new().await;
    let disabled = world.keys.make("alias/disabled");
    world.keys.enable(&disabled, false);
    let asymmetric = world.keys.make("alias/asymmetric");
    world.keys.asymmetric(&asymmetric);
    let denied = world.keys.make("alias/denied");
    world.keys.deny_service(&denied);
    world.keys.make("alias/orders");
    world.keys.forbid("no-grant", "CreateGrant");
    world.keys.forbid("no-describe", "DescribeKey");
    let cases = [
        ("dba", "alias/missing"),
        ("dba", &disabled),
        ("dba", &asymmetric),
        ("dba", &denied),
        ("no-grant", "alias/orders"),
        ("no-describe", "alias/orders"),
    ];
    for (user, key) in cases {
        let fault = world.call_as(user, "CreateDBCluster", cluster("orders", Some(key))).await.unwrap_err();
        assert_eq!((&*fault.code, fault.status), ("KMSKeyNotAccessibleFault", 400), "{user} {key}");
        let text = fault.message.unwrap();
        assert!(text.starts_with("The specified KMS key ["), "{text}");
        assert!(
            text.ends_with("does not exist, is not enabled or you do not have permissions to access it.")
        );
        assert!(world.known().await.is_empty(), "{user} {key}");
        assert!(world.keys.grants().is_empty(), "a grant is left behind: {user} {key}");
    }
}

#[tokio::test]
async fn an_unreachable_key_service_is_a_fault_of_ours() {
    let world = World::new().await;
    world.keys.make("alias/orders");
    world.keys.unreachable(true);
    let fault = world.call("CreateDBCluster", cluster("orders", Some("alias/orders"))).await.unwrap_err();
    assert_eq!((&*fault.code, fault.status), ("InternalFailure", 500));
    assert!(world.known().await.is_empty());
}

#[tokio::test]
async fn a_grant_is_given_back_when_the_name_turns_out_to_be_taken_by_a_refused_instance() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.ok("CreateDBCluster", cluster("orders", Some(&key))).await;
    world.settle().await;
    let before = world.keys.grants();
    world.keys.forbid("no-grant", "CreateGrant");
    let fault =
        world.call_as("no-grant", "CreateDBInstance", instance("orders", "orders-1")).await.unwrap_err();
    assert_eq!(fault.code, "KMSKeyNotAccessibleFault");
    assert_eq!(world.keys.grants(), before);
}

#[tokio::test]
async fn an_instance_takes_its_key_from_its_cluster() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.ok("CreateDBCluster", cluster("orders", Some(&key))).await;
    world.settle().await;
    let mut input = instance("orders", "orders-1");
    input["KmsKeyId"] = json!(key);
    let fault = world.call("CreateDBInstance", input.clone()).await.unwrap_err();
    assert_eq!(fault.code, "InvalidParameterCombination");
    assert_eq!(
        fault.message.unwrap(),
        "The requested DB Instance will be a member of a DB Cluster and its storage encryption key should not be set \
         directly."
    );
    input.as_object_mut().unwrap().remove("KmsKeyId");
    input["StorageEncrypted"] = json!(true);
    world.ok("CreateDBInstance", input).await;
}

#[tokio::test]
async fn the_caller_may_lose_his_permission_after_creation() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.running("orders", Some(&key)).await;
    for operation in ["CreateGrant", "DescribeKey"] {
        world.keys.forbid("dba", operation);
    }
    world.rds.check_all_keys().await;
    world.ok("RebootDBInstance", json!({"DBInstanceIdentifier": "orders-1"})).await;
    world.settle().await;
    world.ok("StopDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    world.settle().await;
    world.ok("StartDBCluster", json!({"DBClusterIdentifier": "orders"})).await;
    world.settle().await;
    assert_eq!(world.status("orders").await, "available");
}
