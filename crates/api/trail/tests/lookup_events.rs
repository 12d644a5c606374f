//! LookupEvents through the real pipeline, over a trail that is written as the call before was answered.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use audit::Trail;
use front::{Call, Caller, Credential, Directory, Origin, Pipeline, Router, User};
use ids::{AccountId, Clock, Timestamp};
use serde_json::{Value, json};
use trail::Record;
use wire::{Fault, ServiceId};

const START: i64 = 1_767_607_872_000;

struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Knows no credentials; users may look events up unless their name is `stranger`.
struct Everybody;

impl Directory for Everybody {
    fn credential(&self, _: &str) -> Option<Credential> {
        None
    }

    fn identity_policies(&self, caller: &Caller) -> Vec<Arc<iam::Document>> {
        if matches!(caller, Caller::User(user) if user.name == "stranger") {
            return Vec::new();
        }
        let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudtrail:*","Resource":"*"}}"#;
        vec![Arc::new(iam::Document::parse(text, iam::Kind::Identity).unwrap())]
    }
}

struct World {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    trail: Arc<Trail>,
    pipeline: Pipeline,
    router: Router,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(START)));
        let trail = Arc::new(Trail::open(dir.path()).await.unwrap());
        let pipeline = Pipeline::new(Arc::new(Everybody), Arc::clone(&trail), clock.clone());
        let mut router = Router::default();
        api_trail::operations(&mut router, Arc::clone(&trail));
        Self { _dir: dir, clock, trail, pipeline, router }
    }

    async fn lookup_as(&self, name: &str, region: &str, input: Value) -> Result<Value, Fault> {
        let account: AccountId = "111122223333".parse().unwrap();
        let caller = Caller::User(User {
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            account,
            name: name.into(),
            id: "AIDAEXAMPLEEXAMPLE001".into(),
            access_key_id: "AKIAREADER".into(),
            tags: Vec::new(),
            session_began: None,
        });
        let origin = Origin { source_ip: "192.0.2.10".into(), user_agent: "test".into(), secure: true };
        let call = Call::new(caller, region.parse().unwrap(), self.clock.now(), origin);
        let answer =
            self.router.call(&self.pipeline, ServiceId::CloudTrail, "LookupEvents", &call, input).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    async fn lookup(&self, input: Value) -> Result<Value, Fault> {
        self.lookup_as("reader", "us-west-2", input).await
    }

    async fn names(&self, key: &str, value: &str) -> Vec<String> {
        let input = json!({"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]});
        names(&self.lookup(input).await.unwrap())
    }

    async fn add(&self, changes: Value) {
        let mut record = json!({
            "eventVersion": "1.11",
            "userIdentity": {"type": "IAMUser", "userName": "dba", "accessKeyId": "AKIADBA"},
            "eventTime": "2026-01-05T10:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt",
            "awsRegion": "us-west-2", "sourceIPAddress": "127.0.0.1", "requestParameters": null,
            "responseElements": null, "eventID": uuid(), "readOnly": true, "eventType": "AwsApiCall",
            "managementEvent": true, "recipientAccountId": "111122223333", "eventCategory": "Management"
        });
        record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let record: Record = serde_json::from_value(record).unwrap();
        self.trail.append(record).await.unwrap();
    }
}

fn uuid() -> String {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    format!("0b0b0b0b-0000-4000-8000-{:012}", NEXT.fetch_add(1, Ordering::SeqCst))
}

fn names(page: &Value) -> Vec<String> {
    let events = page["Events"].as_array().unwrap().iter();
    events.map(|event| event["EventName"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_event_has_every_member_and_the_whole_record() {
    let world = World::new().await;
    let arn = "arn:aws:kms:us-west-2:111122223333:key/k1";
    world
        .add(json!({
            "requestParameters": {"encryptionContext": {"aws:rds:db-id": "cluster-A"}}, "eventID": "e1",
            "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": arn}],
        }))
        .await;
    let page = world.lookup(json!({})).await.unwrap();
    let event = &page["Events"][0];
    assert_eq!(event["EventId"], "e1");
    assert_eq!(event["ReadOnly"], "true", "a text");
    assert_eq!(event["AccessKeyId"], "AKIADBA");
    assert_eq!(event["Username"], "dba");
    assert_eq!(event["EventTime"], 1_767_607_200.0);
    assert_eq!(
        event["Resources"],
        json!([{"ResourceType": "AWS::KMS::Key", "ResourceName": arn},
               {"ResourceType": "AWS::KMS::Key", "ResourceName": "k1"}])
    );
    let record: Value = serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap()).unwrap();
    assert_eq!(record["requestParameters"]["encryptionContext"]["aws:rds:db-id"], "cluster-A");
    assert!(page.get("NextToken").is_none());
}

#[tokio::test]
async fn every_attribute_finds_its_events_exactly() {
    let world = World::new().await;
    let key = "arn:aws:kms:us-west-2:111122223333:key/k1";
    world
        .add(json!({"eventID": "e1", "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": key}]}))
        .await;
    world
        .add(json!({
            "eventSource": "rds.amazonaws.com", "eventName": "CreateDBCluster", "readOnly": false,
            "userIdentity": {"type": "Root", "accountId": "111122223333", "accessKeyId": "AKIAROOT"},
            "requestParameters": {"dBClusterIdentifier": "orders"},
        }))
        .await;
    world
        .add(json!({"eventName": "GenerateDataKey",
                    "userIdentity": {"type": "AWSService", "invokedBy": "rds.amazonaws.com"}}))
        .await;
    for (attribute, value, found) in [
        ("EventId", "e1", vec!["Decrypt"]),
        ("EventName", "CreateDBCluster", vec!["CreateDBCluster"]),
        ("EventName", "createdbcluster", vec![]),
        ("ReadOnly", "false", vec!["CreateDBCluster"]),
        ("Username", "root", vec!["CreateDBCluster"]),
        ("Username", "dba", vec!["Decrypt"]),
        ("ResourceType", "AWS::RDS::DBCluster", vec!["CreateDBCluster"]),
        ("ResourceName", "orders", vec!["CreateDBCluster"]),
        ("ResourceName", "k1", vec!["Decrypt"]),
        ("ResourceName", key, vec!["Decrypt"]),
        ("EventSource", "rds.amazonaws.com", vec!["CreateDBCluster"]),
        ("AccessKeyId", "AKIAROOT", vec!["CreateDBCluster"]),
        ("AccessKeyId", "AKIANOBODY", vec![]),
    ] {
        assert_eq!(world.names(attribute, value).await, found, "{attribute} {value}");
    }
}

#[tokio::test]
async fn pages_go_back_in_time_and_a_token_belongs_to_its_parameters() {
    let world = World::new().await;
    for minute in 0..7 {
        world
            .add(json!({"eventName": format!("E{minute}"), "eventTime": format!("2026-01-05T10:0{minute}:00Z")}))
            .await;
    }
    let input = |token: Option<&Value>| {
        let mut input = json!({
            "MaxResults": 3, "LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": "dba"}],
        });
        if let Some(token) = token {
            input["NextToken"] = token.clone();
        }
        input
    };
    let first = world.lookup(input(None)).await.unwrap();
    assert_eq!(names(&first), ["E6", "E5", "E4"]);
    let token = &first["NextToken"];
    let second = world.lookup(input(Some(token))).await.unwrap();
    assert_eq!(names(&second), ["E3", "E2", "E1"]);
    let last = world.lookup(input(Some(&second["NextToken"]))).await.unwrap();
    assert_eq!(names(&last), ["E0"]);
    assert!(last.get("NextToken").is_none());
    for other in [
        json!({"NextToken": token}),
        json!({"NextToken": "nonsense", "MaxResults": 3}),
        json!({"NextToken": token, "LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": "x"}]}),
    ] {
        assert_eq!(world.lookup(other).await.unwrap_err().code, "InvalidNextTokenException");
    }
    let elsewhere = world.lookup_as("reader", "eu-west-1", input(Some(token))).await.unwrap_err();
    assert_eq!(elsewhere.code, "InvalidNextTokenException");
}

#[tokio::test]
async fn times_are_inclusive_and_nothing_older_than_ninety_days_is_told() {
    let world = World::new().await;
    for (name, time) in [
        ("Old", "2025-10-07T10:00:00Z"),
        ("Recent", "2025-10-08T10:00:00Z"),
        ("Early", "2026-01-05T10:00:00Z"),
        ("Late", "2026-01-05T10:00:05Z"),
    ] {
        world.add(json!({"eventName": name, "eventTime": time})).await;
    }
    let found = async |start: Value, end: Value| {
        let input = json!({
            "StartTime": start, "EndTime": end,
            "LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": "dba"}],
        });
        names(&world.lookup(input).await.unwrap())
    };
    assert_eq!(found(json!(1_767_607_200), json!(1_767_607_205)).await, ["Late", "Early"]);
    assert_eq!(found(json!(1_767_607_201), Value::Null).await, ["Late"]);
    assert_eq!(found(json!(0), json!(1_767_607_204)).await, ["Early", "Recent"]);
}

#[tokio::test]
async fn a_lookup_sees_the_call_before_it_and_only_its_own_region_and_account() {
    let world = World::new().await;
    world.add(json!({"eventName": "Elsewhere", "awsRegion": "eu-west-1"})).await;
    world.add(json!({"eventName": "Foreign", "recipientAccountId": "444455556666"})).await;
    assert!(names(&world.lookup(json!({})).await.unwrap()).is_empty());
    let page = world.lookup(json!({})).await.unwrap();
    assert_eq!(names(&page), ["LookupEvents"]);
    let denied = world.lookup_as("stranger", "us-west-2", json!({})).await.unwrap_err();
    assert_eq!(
        denied.to_string(),
        "AccessDeniedException: User: arn:aws:iam::111122223333:user/stranger is not authorized to perform: \
         cloudtrail:LookupEvents because no identity-based policy allows the cloudtrail:LookupEvents action"
    );
    let page = world
        .lookup(json!({"LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": "stranger"}]}));
    let page = page.await.unwrap();
    let record: Value = serde_json::from_str(page["Events"][0]["CloudTrailEvent"].as_str().unwrap()).unwrap();
    assert_eq!(record["errorCode"], "AccessDenied");
}

#[tokio::test]
async fn bad_parameters_get_their_own_errors() {
    let world = World::new().await;
    let attribute = |key: &str, value: &str| json!({"AttributeKey": key, "AttributeValue": value});
    let long = "x".repeat(2001);
    for (input, code) in [
        (json!({"MaxResults": 0}), "InvalidMaxResultsException"),
        (json!({"MaxResults": 51}), "InvalidMaxResultsException"),
        (json!({"MaxResults": -1}), "InvalidMaxResultsException"),
        (json!({"StartTime": 2, "EndTime": 1}), "InvalidTimeRangeException"),
        (json!({"LookupAttributes": [attribute("Color", "red")]}), "InvalidLookupAttributesException"),
        (json!({"LookupAttributes": [attribute("Username", "")]}), "InvalidLookupAttributesException"),
        (json!({"LookupAttributes": [attribute("Username", &long)]}), "InvalidLookupAttributesException"),
        (
            json!({"LookupAttributes": [attribute("Username", "a"), attribute("EventName", "b")]}),
            "InvalidLookupAttributesException",
        ),
        (json!({"LookupAttributes": [{"AttributeKey": "Username"}]}), "ValidationException"),
        (json!({"EventCategory": "data"}), "InvalidEventCategoryException"),
    ] {
        let fault = world.lookup(input.clone()).await.unwrap_err();
        assert_eq!((fault.code.as_ref(), fault.status), (code, 400), "{input}");
    }
    assert_eq!(names(&world.lookup(json!({"EventCategory": "insight"})).await.unwrap()), [""; 0]);
}
