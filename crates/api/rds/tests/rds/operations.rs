//! Parameters, refusals, permissions and records of the operations.

use serde_json::{Value, json};

use crate::world::{World, cluster, instance};

/// The input with one member changed; `null` takes it away.
fn changed(input: &Value, member: &str, value: Value) -> Value {
    let mut input = input.clone();
    let members = input.as_object_mut().unwrap();
    members.remove(member);
    if !value.is_null() {
        members.insert(member.into(), value);
    }
    input
}

#[tokio::test]
async fn bad_parameters_of_a_new_cluster_are_refused_and_change_nothing() {
    let world = World::new().await;
    let good = cluster("orders", None);
    let long = "a".repeat(64);
    for (member, value, code, text) in [
        ("DBClusterIdentifier", json!(null), "MissingParameter", "parameter DBClusterIdentifier"),
        ("DBClusterIdentifier", json!(""), "InvalidParameterValue", "is not a valid identifier"),
        ("DBClusterIdentifier", json!("a--b"), "InvalidParameterValue", "is not a valid identifier"),
        ("DBClusterIdentifier", json!(long), "InvalidParameterValue", "is not a valid identifier"),
        ("Engine", json!(null), "MissingParameter", "parameter Engine"),
        ("Engine", json!("oracle"), "InvalidParameterValue", "Invalid DB engine"),
        (
            "EngineVersion",
            json!("9.6"),
            "InvalidParameterCombination",
            "Cannot find version 9.6 for aurora-postgresql",
        ),
        ("MasterUsername", json!(null), "InvalidParameterValue", "MasterUsername must be provided"),
        ("MasterUsername", json!("rdsadmin"), "InvalidParameterValue", "reserved word"),
        ("MasterUserPassword", json!(null), "InvalidParameterValue", "MasterUserPassword must be provided"),
        ("MasterUserPassword", json!("short"), "InvalidParameterValue", "shorter than 8 characters."),
        ("MasterUserPassword", json!("with space 1"), "InvalidParameterValue", "not a valid password"),
        ("DatabaseName", json!("1st"), "InvalidParameterValue", "DatabaseName must begin with a letter"),
        ("Port", json!(80), "InvalidParameterValue", "Port"),
        ("Port", json!(70000), "InvalidParameterValue", "Port"),
        ("BackupRetentionPeriod", json!(0), "InvalidParameterValue", "retention period"),
        ("BackupRetentionPeriod", json!(36), "InvalidParameterValue", "retention period"),
        ("PreferredBackupWindow", json!("3-4"), "InvalidParameterValue", "backup window"),
        ("PreferredBackupWindow", json!("05:00-06:00"), "InvalidParameterValue", "must not overlap"),
        ("PreferredMaintenanceWindow", json!("x"), "InvalidParameterValue", "maintenance window"),
        ("DBClusterParameterGroupName", json!("mine"), "DBClusterParameterGroupNotFound", "mine"),
        ("DBSubnetGroupName", json!("mine"), "DBSubnetGroupNotFoundFault", "mine"),
        ("AvailabilityZones", json!(["eu-west-1a"]), "InvalidParameterValue", "availability zone"),
        ("VpcSecurityGroupIds", json!(["default"]), "InvalidParameterValue", "security group"),
        ("ManageMasterUserPassword", json!(true), "InvalidParameterCombination", "ManageMasterUserPassword"),
        ("EngineLifecycleSupport", json!("x"), "InvalidParameterCombination", "EngineLifecycleSupport"),
        ("BacktrackWindow", json!(60), "InvalidParameterCombination", "BacktrackWindow"),
        ("EngineMode", json!("serverless"), "InvalidParameterCombination", "EngineMode"),
        ("StorageType", json!("aurora-iopt1"), "InvalidParameterCombination", "StorageType"),
        ("GlobalClusterIdentifier", json!("g"), "InvalidParameterCombination", "GlobalClusterIdentifier"),
        ("Tags", json!([{"Key": "aws:x", "Value": ""}]), "InvalidParameterValue", "aws:"),
        ("Tags", json!([{"Key": "a"}, {"Key": "a"}]), "InvalidParameterValue", "Duplicate"),
    ] {
        let fault = world.call("CreateDBCluster", changed(&good, member, value.clone())).await.unwrap_err();
        let message = fault.message.unwrap_or_default();
        assert_eq!(fault.code, code, "{member} {value}: {message}");
        assert!(message.contains(text), "{member} {value}: {message}");
    }
    assert!(world.known().await.is_empty());
    world.ok("CreateDBCluster", good.clone()).await;
    let fault = world.call("CreateDBCluster", good).await.unwrap_err();
    assert_eq!((&*fault.code, fault.status), ("DBClusterAlreadyExistsFault", 400));
}

#[tokio::test]
async fn bad_parameters_of_a_new_instance_are_refused_and_change_nothing() {
    let world = World::new().await;
    world.ok("CreateDBCluster", cluster("orders", None)).await;
    let good = instance("orders", "orders-1");
    for (member, value, code, text) in [
        ("DBInstanceIdentifier", json!("-"), "InvalidParameterValue", "DBInstanceIdentifier is not a valid"),
        ("DBInstanceClass", json!(null), "MissingParameter", "DBInstanceClass"),
        ("DBInstanceClass", json!("db.huge"), "InvalidParameterValue", "Invalid DB Instance class: db.huge"),
        ("DBClusterIdentifier", json!(null), "MissingParameter", "DBClusterIdentifier"),
        ("DBClusterIdentifier", json!("other"), "DBClusterNotFoundFault", "DBCluster other not found."),
        (
            "Engine",
            json!("aurora-mysql"),
            "InvalidParameterCombination",
            "(aurora-mysql) doesn't match the engine name of your DB cluster (aurora-postgresql).",
        ),
        ("EngineVersion", json!("15.14"), "InvalidParameterCombination", "(15.14) doesn't match"),
        ("MasterUserPassword", json!("correct-horse"), "InvalidParameterCombination", "master user password"),
        ("MasterUsername", json!("dba"), "InvalidParameterCombination", "master username"),
        ("BackupRetentionPeriod", json!(1), "InvalidParameterCombination", "backup retention period"),
        ("PromotionTier", json!(16), "InvalidParameterValue", "PromotionTier"),
        ("AvailabilityZone", json!("x"), "InvalidParameterValue", "availability zone"),
        ("DBParameterGroupName", json!("mine"), "DBParameterGroupNotFound", "mine"),
        ("PreferredMaintenanceWindow", json!("x"), "InvalidParameterValue", "maintenance window"),
        ("MultiAZ", json!(true), "InvalidParameterCombination", "MultiAZ"),
        (
            "EnablePerformanceInsights",
            json!(true),
            "InvalidParameterCombination",
            "EnablePerformanceInsights",
        ),
    ] {
        let fault = world.call("CreateDBInstance", changed(&good, member, value.clone())).await.unwrap_err();
        let message = fault.message.unwrap_or_default();
        assert_eq!(fault.code, code, "{member} {value}: {message}");
        assert!(message.contains(text), "{member} {value}: {message}");
    }
    let none = world.ok("DescribeDBInstances", json!({})).await;
    assert_eq!(none["DBInstances"], json!([]));
    world.ok("CreateDBInstance", good.clone()).await;
    assert_eq!(world.refused("CreateDBInstance", good).await, "DBInstanceAlreadyExists");
    let final_snapshot = json!({"DBInstanceIdentifier": "orders-1", "FinalDBSnapshotIdentifier": "s"});
    assert_eq!(world.refused("DeleteDBInstance", final_snapshot).await, "InvalidParameterCombination");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    let cluster = json!({"DBClusterIdentifier": "none"});
    let instance = json!({"DBInstanceIdentifier": "none"});
    let snapshot = json!({"DBClusterSnapshotIdentifier": "none"});
    let deleted = json!({"DBClusterIdentifier": "none", "SkipFinalSnapshot": true});
    for (operation, input, code) in [
        ("DescribeDBClusters", cluster.clone(), "DBClusterNotFoundFault"),
        ("StartDBCluster", cluster.clone(), "DBClusterNotFoundFault"),
        ("StopDBCluster", cluster.clone(), "DBClusterNotFoundFault"),
        ("DeleteDBCluster", deleted, "DBClusterNotFoundFault"),
        ("DescribeDBInstances", instance.clone(), "DBInstanceNotFound"),
        ("DeleteDBInstance", instance.clone(), "DBInstanceNotFound"),
        ("RebootDBInstance", instance, "DBInstanceNotFound"),
        ("DescribeDBClusterSnapshots", snapshot.clone(), "DBClusterSnapshotNotFoundFault"),
        ("DeleteDBClusterSnapshot", snapshot, "DBClusterSnapshotNotFoundFault"),
        (
            "CreateDBClusterSnapshot",
            json!({"DBClusterIdentifier": "none", "DBClusterSnapshotIdentifier": "s"}),
            "DBClusterNotFoundFault",
        ),
    ] {
        let fault = world.call(operation, input).await.unwrap_err();
        assert_eq!((&*fault.code, fault.status), (code, 404), "{operation}");
    }
    let foreign = json!({"DBClusterIdentifier": "arn:aws:rds:us-west-2:444455556666:cluster:orders"});
    assert_eq!(world.refused("DescribeDBClusters", foreign).await, "DBClusterNotFoundFault");
}

#[tokio::test]
async fn who_may_not_learns_nothing_of_what_is_there() {
    let world = World::new().await;
    world.running("orders", None).await;
    let mut texts = Vec::new();
    for name in ["orders", "none"] {
        let delete = json!({"DBClusterIdentifier": name, "SkipFinalSnapshot": true});
        let fault = world.call_as("stranger", "DeleteDBCluster", delete).await.unwrap_err();
        assert_eq!((&*fault.code, fault.status), ("AccessDenied", 403));
        texts.push(fault.message.unwrap().replace(name, "<name>"));
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(
        texts[0],
        "User: arn:aws:iam::111122223333:user/stranger is not authorized to perform: rds:DeleteDBCluster on resource: \
         arn:aws:rds:us-west-2:111122223333:cluster:<name> because no identity-based policy allows the \
         rds:DeleteDBCluster action"
    );
    for operation in
        ["DescribeDBEngineVersions", "DescribeEvents", "DescribeDBClusters", "DescribeDBInstances"]
    {
        let code = world.call_as("stranger", operation, json!({})).await.unwrap_err().code;
        assert_eq!(code, "AccessDenied", "{operation}");
    }
    world.call_as("auditor", "DescribeDBClusters", json!({})).await.unwrap();
    let stop = json!({"DBClusterIdentifier": "orders"});
    assert_eq!(world.call_as("auditor", "StopDBCluster", stop).await.unwrap_err().code, "AccessDenied");
}

#[tokio::test]
async fn policies_can_demand_encryption_and_tags() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    assert_eq!(
        world.call_as("sealer", "CreateDBCluster", cluster("plain", None)).await.unwrap_err().code,
        "AccessDenied"
    );
    let mut input = cluster("orders", Some(&key));
    input["Tags"] = json!([{"Key": "stage", "Value": "test"}]);
    world.call_as("sealer", "CreateDBCluster", input).await.unwrap();
    world.ok("CreateDBCluster", cluster("other", None)).await;
    world.settle().await;
    let stop = |name: &str| json!({"DBClusterIdentifier": name});
    assert_eq!(
        world.call_as("tester", "StopDBCluster", stop("other")).await.unwrap_err().code,
        "AccessDenied"
    );
    world.call_as("tester", "StopDBCluster", stop("orders")).await.unwrap();
}

#[tokio::test]
async fn tags_are_added_listed_and_removed_on_every_kind() {
    let world = World::new().await;
    world.running("orders", None).await;
    world
        .ok(
            "CreateDBClusterSnapshot",
            json!({"DBClusterIdentifier": "orders", "DBClusterSnapshotIdentifier": "s"}),
        )
        .await;
    for resource in ["cluster:orders", "db:orders-1", "cluster-snapshot:s"] {
        let arn = format!("arn:aws:rds:us-west-2:111122223333:{resource}");
        let tags = json!([{"Key": "stage", "Value": "test"}, {"Key": "team", "Value": ""}]);
        world.ok("AddTagsToResource", json!({"ResourceName": arn, "Tags": tags})).await;
        let listed = world.ok("ListTagsForResource", json!({"ResourceName": arn})).await;
        assert_eq!(listed["TagList"], tags);
        world.ok("RemoveTagsFromResource", json!({"ResourceName": arn, "TagKeys": ["stage", "none"]})).await;
        let listed = world.ok("ListTagsForResource", json!({"ResourceName": arn})).await;
        assert_eq!(listed["TagList"], json!([{"Key": "team", "Value": ""}]));
        let many: Value = (0..50).map(|n| json!({"Key": n.to_string(), "Value": ""})).collect();
        let code = world.refused("AddTagsToResource", json!({"ResourceName": arn, "Tags": many})).await;
        assert_eq!(code, "InvalidParameterValue");
        let listed = world.ok("ListTagsForResource", json!({"ResourceName": arn})).await;
        assert_eq!(listed["TagList"].as_array().unwrap().len(), 1);
    }
    for (arn, code) in [
        ("orders", "InvalidParameterValue"),
        ("arn:aws:rds:us-west-2:111122223333:subgrp:default", "InvalidParameterValue"),
        ("arn:aws:rds:us-west-2:111122223333:cluster:none", "DBClusterNotFoundFault"),
        ("arn:aws:rds:us-west-2:111122223333:db:none", "DBInstanceNotFound"),
    ] {
        assert_eq!(world.refused("ListTagsForResource", json!({"ResourceName": arn})).await, code);
        let add = json!({"ResourceName": arn, "Tags": [{"Key": "a"}]});
        assert_eq!(world.refused("AddTagsToResource", add).await, code);
    }
}

#[tokio::test]
async fn clusters_are_filtered_and_paged() {
    let world = World::new().await;
    for n in 0..21 {
        world.ok("CreateDBCluster", cluster(&format!("c{n:02}"), None)).await;
    }
    let first = world.ok("DescribeDBClusters", json!({"MaxRecords": 20})).await;
    assert_eq!(first["DBClusters"].as_array().unwrap().len(), 20);
    let next = json!({"MaxRecords": 20, "Marker": first["Marker"]});
    let second = world.ok("DescribeDBClusters", next).await;
    assert_eq!(second["DBClusters"].as_array().unwrap().len(), 1);
    assert!(second["Marker"].is_null());
    let arn = "arn:aws:rds:us-west-2:111122223333:cluster:c07";
    let filtered = json!({"Filters": [{"Name": "db-cluster-id", "Values": ["c03", arn]}]});
    let found = world.ok("DescribeDBClusters", filtered).await;
    assert_eq!(found["DBClusters"].as_array().unwrap().len(), 2);
    let unknown = json!({"Filters": [{"Name": "colour", "Values": ["x"]}]});
    assert_eq!(world.refused("DescribeDBClusters", unknown).await, "InvalidParameterValue");
    assert_eq!(world.refused("DescribeDBClusters", json!({"MaxRecords": 5})).await, "InvalidParameterValue");
    assert_eq!(world.refused("DescribeDBClusters", json!({"Marker": "c03"})).await, "InvalidParameterValue");
}

#[tokio::test]
async fn every_cluster_has_a_port_of_its_own() {
    let world = World::with(|settings| settings.ports = 23_101..=23_102).await;
    let mut fixed = cluster("fixed", None);
    fixed["Port"] = json!(23_500);
    assert_eq!(world.ok("CreateDBCluster", fixed.clone()).await["DBCluster"]["Port"], 23_500);
    fixed["DBClusterIdentifier"] = json!("again");
    assert_eq!(world.refused("CreateDBCluster", fixed).await, "InvalidParameterCombination");
    let first = world.ok("CreateDBCluster", cluster("a", None)).await;
    let second = world.ok("CreateDBCluster", cluster("b", None)).await;
    assert_ne!(first["DBCluster"]["Port"], second["DBCluster"]["Port"]);
    let fault = world.call("CreateDBCluster", cluster("c", None)).await.unwrap_err();
    assert_eq!((&*fault.code, fault.status), ("InsufficientDBClusterCapacityFault", 403));
}

#[tokio::test]
async fn versions_and_classes_are_those_that_are_installed() {
    let world = World::new().await;
    let versions = async |input: Value| -> Vec<String> {
        let answer = world.ok("DescribeDBEngineVersions", input).await;
        let list = answer["DBEngineVersions"].as_array().unwrap();
        list.iter().map(|v| v["EngineVersion"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(versions(json!({})).await, ["15.14", "16.9", "16.10"]);
    assert_eq!(versions(json!({"Engine": "aurora-postgresql", "DefaultOnly": true})).await, ["16.10"]);
    assert_eq!(versions(json!({"EngineVersion": "16"})).await, ["16.9", "16.10"]);
    assert_eq!(versions(json!({"DBParameterGroupFamily": "aurora-postgresql15"})).await, ["15.14"]);
    assert_eq!(versions(json!({"Engine": "mysql"})).await, [""; 0]);
    assert_eq!(
        world.refused("DescribeDBEngineVersions", json!({"Engine": "x"})).await,
        "InvalidParameterValue"
    );

    let orderable = json!({"Engine": "aurora-postgresql", "DBInstanceClass": "db.r6g.large"});
    let answer = world.ok("DescribeOrderableDBInstanceOptions", orderable).await;
    assert_eq!(answer["OrderableDBInstanceOptions"].as_array().unwrap().len(), 3);
    assert_eq!(answer["OrderableDBInstanceOptions"][0]["SupportsStorageEncryption"], true);
    let mut input = cluster("old", None);
    input["EngineVersion"] = json!("16.9");
    assert_eq!(world.ok("CreateDBCluster", input).await["DBCluster"]["EngineVersion"], "16.9");
}

#[tokio::test]
async fn events_are_found_by_time_source_and_category() {
    let world = World::new().await;
    world.running("orders", None).await;
    let count = async |input: Value| -> usize {
        world.ok("DescribeEvents", input).await["Events"].as_array().unwrap().len()
    };
    assert_eq!(count(json!({"Duration": 600})).await, 2);
    assert_eq!(count(json!({"Duration": 600, "SourceType": "db-cluster"})).await, 1);
    assert_eq!(count(json!({"Duration": 600, "EventCategories": ["creation"]})).await, 2);
    assert_eq!(count(json!({"Duration": 600, "EventCategories": ["failover"]})).await, 0);
    assert_eq!(
        count(json!({"StartTime": "2026-01-05T00:00:00Z", "EndTime": "2026-01-05T00:01:00Z"})).await,
        0
    );
    for (input, code) in [
        (json!({"SourceIdentifier": "orders"}), "InvalidParameterCombination"),
        (json!({"Duration": 0}), "InvalidParameterValue"),
        (
            json!({"StartTime": "2026-01-06T00:00:00Z", "EndTime": "2026-01-05T00:00:00Z"}),
            "InvalidParameterCombination",
        ),
        (json!({"SourceType": "database"}), "InvalidParameterValue"),
    ] {
        assert_eq!(world.refused("DescribeEvents", input).await, code);
    }
}

#[tokio::test]
async fn the_trail_has_what_was_asked_and_answered_but_no_password() {
    let world = World::new().await;
    let key = world.keys.make("alias/orders");
    world.ok("CreateDBCluster", cluster("orders", Some("alias/orders"))).await;
    let records = world.records("CreateDBCluster").await;
    let request = serde_json::to_value(&records[0].request_parameters).unwrap();
    assert_eq!(
        request,
        json!({
            "dBClusterIdentifier": "orders", "engine": "aurora-postgresql", "masterUsername": "dba",
            "masterUserPassword": "****", "storageEncrypted": true, "kmsKeyId": "alias/orders",
        })
    );
    let response = serde_json::to_value(&records[0].response_elements).unwrap();
    assert_eq!(response["dBClusterArn"], "arn:aws:rds:us-west-2:111122223333:cluster:orders");
    assert_eq!(response["kmsKeyId"], key.as_str());
    assert_eq!(response["status"], "creating");
    assert!(response["dbClusterResourceId"].as_str().unwrap().starts_with("cluster-"));

    let refused = cluster("orders", None);
    world.call("CreateDBCluster", refused).await.unwrap_err();
    let all = world.records("CreateDBCluster").await;
    assert_eq!(all[1].error_code.as_deref(), Some("DBClusterAlreadyExistsFault"));
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("correct-horse"), "{text}");
}
