//! The cluster service between scripted neighbours, behind the real pipeline, state database and trail.

mod answer;
mod death;
mod host;
mod keys;
mod transfers;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use api_rds::{Doors, Engine, Rds, Sealer, Settings, Step, Unsealable};
use audit::Trail;
use clusters::ClusterResourceId;
use front::{Call, Caller, Credential, Directory, Origin, Pipeline, Router, User};
use ids::{AccountId, Clock, Entropy, Region, Timestamp};
use serde_json::{Value, json};
use store::Store;
use trail::Record;
use wire::{Fault, ServiceId};
use zeroize::Zeroizing;

pub use death::Death;
pub use host::{ScriptedHost, Volume};
pub use keys::{ScriptedKeys, Use};
pub use transfers::ScriptedTransfers;

pub const ACCOUNT: &str = "111122223333";
pub const REGION: &str = "us-west-2";
const START: i64 = 1_767_607_872_000;

pub struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The same bytes in every run, never the same twice in one.
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            // splitmix64
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z >> 56) as u8;
        }
    }
}

/// Everybody may do everything with RDS, but for users with a policy of their own.
struct Policies;

impl Directory for Policies {
    fn credential(&self, _: &str) -> Option<Credential> {
        None
    }

    fn identity_policies(&self, caller: &Caller) -> Vec<Arc<iam::Document>> {
        let statement = match caller {
            Caller::User(user) if user.name == "stranger" => return Vec::new(),
            Caller::User(user) if user.name == "auditor" => {
                json!({"Effect": "Allow", "Action": "rds:Describe*", "Resource": "*"})
            }
            Caller::User(user) if user.name == "sealer" => json!({
                "Effect": "Allow", "Action": ["rds:Create*", "rds:AddTagsToResource"], "Resource": "*",
                "Condition": {"Bool": {"rds:StorageEncrypted": "true"}},
            }),
            Caller::User(user) if user.name == "tester" => json!({
                "Effect": "Allow", "Action": "rds:*", "Resource": "*",
                "Condition": {"StringEquals": {"aws:ResourceTag/stage": "test"}},
            }),
            _ => json!({"Effect": "Allow", "Action": "rds:*", "Resource": "*"}),
        };
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        vec![Arc::new(iam::Document::parse(&text, iam::Kind::Identity).unwrap())]
    }
}

/// Seals by writing the place before the text, which is all that these tests need to see.
struct PlainSealer;

impl Sealer for PlainSealer {
    fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8> {
        [place.as_bytes(), b"|", plaintext].concat()
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let opened = sealed.strip_prefix(place.as_bytes()).and_then(|rest| rest.strip_prefix(b"|"));
        let wrong = || Unsealable { place: place.into(), detail: "wrong place".into() };
        opened.map(|opened| Zeroizing::new(opened.to_vec())).ok_or_else(wrong)
    }
}

pub struct World {
    dir: tempfile::TempDir,
    pub settings: Settings,
    pub clock: Arc<ManualClock>,
    pub keys: Arc<ScriptedKeys>,
    pub host: Arc<ScriptedHost>,
    pub transfers: Arc<ScriptedTransfers>,
    pub death: Arc<Death>,
    entropy: Arc<Counter>,
    pub store: Store,
    trail: Arc<Trail>,
    pipeline: Pipeline,
    router: Router,
    pub rds: Arc<Rds>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path());
        settings.ports = 23_000..=23_099;
        change(&mut settings);
        let death = Arc::new(Death::default());
        let keys = Arc::new(ScriptedKeys::new(Arc::clone(&death)));
        let host = Arc::new(ScriptedHost::new(Arc::clone(&death), Arc::clone(&keys)));
        let transfers = Arc::new(ScriptedTransfers::new(Arc::clone(&host), Arc::clone(&death)));
        let clock = Arc::new(ManualClock(AtomicI64::new(START)));
        let store = Store::open(&dir.path().join("state.db")).await.unwrap();
        let trail = Arc::new(Trail::open(&dir.path().join("trail")).await.unwrap());
        let pipeline = Pipeline::new(Arc::new(Policies), Arc::clone(&trail), clock.clone());
        let entropy = Arc::new(Counter(AtomicU64::new(1)));
        let rds = Self::service(&settings, &store, &trail, &keys, &host, &transfers, &entropy, &clock);
        let mut router = Router::default();
        api_rds::operations(&mut router, Arc::clone(&rds));
        Self {
            dir,
            settings,
            clock,
            keys,
            host,
            transfers,
            death,
            entropy,
            store,
            trail,
            pipeline,
            router,
            rds,
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all that a service reaches the world through")]
    fn service(
        settings: &Settings,
        store: &Store,
        trail: &Arc<Trail>,
        keys: &Arc<ScriptedKeys>,
        host: &Arc<ScriptedHost>,
        transfers: &Arc<ScriptedTransfers>,
        entropy: &Arc<Counter>,
        clock: &Arc<ManualClock>,
    ) -> Arc<Rds> {
        let engine =
            |version: &str| Engine { version: version.into(), bin_dir: PathBuf::from("/opt").join(version) };
        let doors = Doors {
            store: store.clone(),
            trail: Arc::clone(trail),
            keys: Arc::clone(keys) as _,
            host: Arc::clone(host) as _,
            transfers: Arc::clone(transfers) as _,
            sealer: Arc::new(PlainSealer),
            entropy: Arc::clone(entropy) as _,
            clock: Arc::clone(clock) as _,
        };
        Rds::new(settings.clone(), vec![engine("15.14"), engine("16.9"), engine("16.10")], doors)
    }

    /// The server dies and begins again: all that it knew is what is in the state database and on the host.
    pub async fn restart(&mut self) {
        self.store = Store::open(&self.dir.path().join("state.db")).await.unwrap();
        self.transfers.forget();
        let Self { settings, store, trail, keys, host, transfers, entropy, clock, .. } = self;
        self.rds = Self::service(settings, store, trail, keys, host, transfers, entropy, clock);
        self.router = Router::default();
        api_rds::operations(&mut self.router, Arc::clone(&self.rds));
    }

    pub fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub async fn call_as(&self, name: &str, operation: &str, input: Value) -> Result<Value, Fault> {
        let account: AccountId = ACCOUNT.parse().unwrap();
        let caller = Caller::User(User {
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            account,
            name: name.into(),
            id: "AIDAEXAMPLEEXAMPLE001".into(),
            access_key_id: "AKIAEXAMPLEEXAMPLE01".into(),
            tags: Vec::new(),
            session_began: None,
        });
        let origin = Origin { source_ip: "192.0.2.10".into(), user_agent: "test".into(), secure: true };
        let call = Call::new(caller, REGION.parse::<Region>().unwrap(), self.clock.now(), origin);
        let answer = self.router.call(&self.pipeline, ServiceId::Rds, operation, &call, input).await?;
        Ok(answer::read(operation, &answer))
    }

    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, Fault> {
        self.call_as("dba", operation, input).await
    }

    /// A call that must succeed.
    pub async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap_or_else(|fault| panic!("{operation}: {fault}"))
    }

    /// The code of the refusal of a call that must fail.
    pub async fn refused(&self, operation: &str, input: Value) -> String {
        match self.call(operation, input).await {
            Err(fault) => fault.code.into_owned(),
            Ok(answer) => panic!("{operation} succeeded: {answer}"),
        }
    }

    /// Ids of all clusters that the state database knows, and of those whose snapshots it knows.
    pub async fn known(&self) -> Vec<ClusterResourceId> {
        let rows = "SELECT DISTINCT COALESCE(cluster, id) FROM rds_resources ORDER BY 1";
        let ids: Vec<String> = store::sqlx::query_scalar(rows).fetch_all(self.store.read()).await.unwrap();
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    /// One step for every cluster; whether any was taken.
    pub async fn step(&self) -> bool {
        let mut taken = false;
        for id in self.known().await {
            taken |= matches!(self.rds.reconcile(&id).await, Ok(Step::Taken | Step::Watches));
        }
        taken
    }

    /// Lets everything come to rest.
    pub async fn settle(&self) {
        for _ in 0..200 {
            self.host.advance();
            if !self.step().await {
                self.host.advance();
                // What an attempt has to wait for passes as well.
                self.pass(Duration::from_secs(61));
                if !self.step().await {
                    return;
                }
            }
        }
        panic!("it does not come to rest: {:?}", self.host.processes());
    }

    /// A cluster with an instance that serves, under the key if one is given.
    pub async fn running(&self, name: &str, key: Option<&str>) {
        self.ok("CreateDBCluster", cluster(name, key)).await;
        self.ok("CreateDBInstance", instance(name, &format!("{name}-1"))).await;
        self.settle().await;
        assert_eq!(self.status(name).await, "available");
    }

    pub async fn describe(&self, name: &str) -> Value {
        let answer = self.ok("DescribeDBClusters", json!({"DBClusterIdentifier": name})).await;
        answer["DBClusters"][0].clone()
    }

    pub async fn status(&self, name: &str) -> String {
        self.describe(name).await["Status"].as_str().unwrap().to_owned()
    }

    pub async fn instance_status(&self, name: &str) -> String {
        let answer = self.ok("DescribeDBInstances", json!({"DBInstanceIdentifier": name})).await;
        answer["DBInstances"][0]["DBInstanceStatus"].as_str().unwrap().to_owned()
    }

    /// Messages of all events about a source, oldest first.
    pub async fn events(&self, kind: &str, name: &str) -> Vec<String> {
        let input = json!({"SourceType": kind, "SourceIdentifier": name, "Duration": 20160});
        let answer = self.ok("DescribeEvents", input).await;
        let events = answer["Events"].as_array().unwrap();
        events.iter().map(|event| event["Message"].as_str().unwrap().to_owned()).collect()
    }

    /// Records of the trail about one operation, oldest first.
    pub async fn records(&self, operation: &str) -> Vec<Record> {
        let mut found = Vec::new();
        audit::read_all(&self.dir.path().join("trail"), |record| {
            if record.event_name == operation {
                found.push(record);
            }
        })
        .unwrap();
        found
    }
}

/// CreateDBCluster.
pub fn cluster(name: &str, key: Option<&str>) -> Value {
    let mut input = json!({
        "DBClusterIdentifier": name, "Engine": "aurora-postgresql", "MasterUsername": "dba",
        "MasterUserPassword": "correct-horse-1",
    });
    if let Some(key) = key {
        input["StorageEncrypted"] = json!(true);
        input["KmsKeyId"] = json!(key);
    }
    input
}

/// CreateDBInstance.
pub fn instance(cluster: &str, name: &str) -> Value {
    json!({
        "DBInstanceIdentifier": name, "DBClusterIdentifier": cluster, "DBInstanceClass": "db.r6g.large",
        "Engine": "aurora-postgresql",
    })
}
