//! A server's identity side in a temporary directory: store, custody, trail, pipeline, operations.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use api_iam::Iam;
use audit::Trail;
use custody::{Custody, Source};
use front::{Call, Directory as _, Origin, Pipeline, Router};
use ids::{AccountId, Clock, Timestamp};
use serde_json::Value;
use store::Store;
use wire::{Fault, Secret, ServiceId};

pub const ROOT_KEY: &str = "AKIAROOTROOTROOTROOT";

/// A clock that moves only when told.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub iam: Arc<Iam>,
    pub trail: Arc<Trail>,
    store: Store,
    pipeline: Pipeline,
    router: Router,
}

pub fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

impl World {
    /// A new server with one account.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Custody::create(&Source::File(dir.path().join("root.key"))).unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(1_767_607_872_000)));
        let world = Self::open(dir, clock).await;
        let secret = Secret::new("root-secret-root-secret-root-secret-root".into());
        world.iam.create_account(account(), Some((ROOT_KEY.into(), secret))).await.unwrap();
        world
    }

    async fn open(dir: tempfile::TempDir, clock: Arc<ManualClock>) -> Self {
        let store = Store::open(&dir.path().join("state.db")).await.unwrap();
        let custody = Arc::new(Custody::open(&Source::File(dir.path().join("root.key"))).unwrap());
        let trail = Arc::new(Trail::open(&dir.path().join("trail")).await.unwrap());
        let time: Arc<dyn Clock> = clock.clone();
        let iam = Iam::load(store.clone(), custody, Arc::clone(&time)).await.unwrap();
        let pipeline = Pipeline::new(iam.clone(), Arc::clone(&trail), time);
        let mut router = Router::default();
        api_iam::operations(&mut router, Arc::clone(&iam), Arc::clone(&trail));
        Self { dir, clock, iam, trail, store, pipeline, router }
    }

    /// Stops everything and starts again from what is on disk.
    pub async fn reopen(self) -> Self {
        self.trail.close().await;
        self.store.close().await;
        Self::open(self.dir, self.clock).await
    }

    /// Another process on the same state.
    pub async fn beside(&self) -> Arc<Iam> {
        let store = Store::open(&self.dir.path().join("state.db")).await.unwrap();
        let custody = Arc::new(Custody::open(&Source::File(self.dir.path().join("root.key"))).unwrap());
        Iam::load(store, custody, self.clock.clone()).await.unwrap()
    }

    /// A call of IAM with the caller's access key; the answer is XML.
    pub async fn iam(&self, access_key: &str, operation: &str, input: Value) -> Result<String, Fault> {
        self.call(access_key, ServiceId::Iam, operation, input).await
    }

    pub async fn call(
        &self,
        access_key: &str,
        service: ServiceId,
        operation: &str,
        input: Value,
    ) -> Result<String, Fault> {
        let caller = self.iam.credential(access_key).expect("a known access key").caller;
        let origin = Origin { source_ip: "192.0.2.10".into(), user_agent: "test".into(), secure: true };
        let call = Call::new(caller, "us-west-2".parse().unwrap(), self.clock.now(), origin);
        let answer = self.router.call(&self.pipeline, service, operation, &call, input).await?;
        Ok(String::from_utf8(answer.to_vec()).unwrap())
    }

    /// Makes a user with an access key; tells the id of the key and the secret.
    pub async fn user(&self, name: &str) -> (String, String) {
        self.iam(ROOT_KEY, "CreateUser", serde_json::json!({"UserName": name})).await.unwrap();
        let made =
            self.iam(ROOT_KEY, "CreateAccessKey", serde_json::json!({"UserName": name})).await.unwrap();
        (text(&made, "AccessKeyId"), text(&made, "SecretAccessKey"))
    }

    /// Gives a user a policy.
    pub async fn allow(&self, user: &str, statement: Value) {
        let document = serde_json::json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let input = serde_json::json!({"UserName": user, "PolicyName": "p", "PolicyDocument": document});
        self.iam(ROOT_KEY, "PutUserPolicy", input).await.unwrap();
    }

    /// Every record of the trail, oldest first, as JSON.
    pub async fn records(&self) -> Vec<Value> {
        let mut records = Vec::new();
        audit::read_all(&self.dir.path().join("trail"), |record| {
            records.push(serde_json::to_value(record).unwrap());
        })
        .unwrap();
        records
    }
}

/// The text of the first element of a name.
pub fn text(xml: &str, name: &str) -> String {
    let all = texts(xml, name);
    all.into_iter().next().unwrap_or_else(|| panic!("no {name} in {xml}"))
}

/// The texts of all elements of a name.
pub fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split_once(&close))
        .map(|(text, _)| text.to_owned())
        .collect()
}

/// Whether any file below a directory holds some bytes.
pub fn on_disk(dir: &Path, needle: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return on_disk(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}

/// A clock that stands.
pub fn still() -> ManualClock {
    ManualClock(AtomicI64::new(1_767_607_872_000))
}
