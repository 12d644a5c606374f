//! What the tests share: a key service with callers of two accounts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use api_kms::{Kms, Quotas};
use audit::{Query, Trail};
use custody::{Custody, Source};
use front::{Call, Caller, Credential, Directory, Origin, Pipeline, Router, Service, Session, User};
use ids::{AccountId, Clock, Region, Timestamp};
use serde_json::{Value, json};
use store::Store;
use testkit::xks::{HOST, Proxy};
use trail::Record;
use wire::{Fault, ServiceId, Shape, ShapeKind};
use xks::{Proxies, Settings};

pub const OWNER: &str = "111122223333";
pub const OTHER: &str = "444455556666";
pub const REGION: &str = "us-west-2";
pub const RDS: &str = "rds.us-west-2.amazonaws.com";
/// Enough for a busy machine, and not too long for the tests that wait for it.
const PROXY_TIMEOUT_MS: u64 = 5000;
const START: i64 = 1_767_607_872_191;

pub struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Policies by the ARN of a user or a role. Accounts and whoever has an entry exist.
#[derive(Default)]
struct Principals(Mutex<BTreeMap<String, Vec<Arc<iam::Document>>>>);

impl Directory for Principals {
    fn credential(&self, _: &str) -> Option<Credential> {
        None
    }

    fn identity_policies(&self, caller: &Caller) -> Vec<Arc<iam::Document>> {
        let arn = if let Caller::Session(session) = caller { session.role_arn.clone() } else { caller.arn() };
        self.0.lock().unwrap().get(&arn).cloned().unwrap_or_default()
    }

    fn principal_id(&self, arn: &str) -> Option<String> {
        let known = self.0.lock().unwrap().contains_key(arn);
        let id = if arn.contains(":role/") { "AROAEXAMPLEEXAMPLE001" } else { "AIDAEXAMPLEEXAMPLE001" };
        known.then(|| id.to_owned())
    }

    fn principal_exists(&self, arn: &str) -> bool {
        let known = self.0.lock().unwrap();
        let parts: Vec<&str> = arn.split([':', '/']).collect();
        match parts[..] {
            [_, _, "iam", "", account, "root"] => [OWNER, OTHER].contains(&account),
            [_, _, "sts", "", account, "assumed-role", role, _] => {
                known.contains_key(&format!("arn:aws:iam::{account}:role/{role}"))
            }
            _ => known.contains_key(arn),
        }
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub kms: Arc<Kms>,
    pub trail: Arc<Trail>,
    pub store: Store,
    pub router: Router,
    /// An external key store proxy.
    pub proxy: Proxy,
    pipeline: Pipeline,
    principals: Arc<Principals>,
}

pub fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

pub fn region() -> Region {
    REGION.parse().unwrap()
}

pub fn root(account_id: &str) -> Caller {
    Caller::Root { account: account(account_id), access_key_id: "AKIAROOT".into() }
}

pub fn user_arn(account: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:user/{name}")
}

pub fn user_of(account_id: &str, name: &str) -> Caller {
    Caller::User(User {
        account: account(account_id),
        name: name.into(),
        id: "AIDAEXAMPLEEXAMPLE001".into(),
        arn: user_arn(account_id, name),
        access_key_id: "AKIAEXAMPLEEXAMPLE01".into(),
        tags: Vec::new(),
        session_began: None,
    })
}

pub fn user(name: &str) -> Caller {
    user_of(OWNER, name)
}

pub fn session(role: &str) -> Caller {
    Caller::Session(Session {
        account: account(OWNER),
        role_name: role.into(),
        role_id: "AROAEXAMPLEEXAMPLE001".into(),
        role_arn: format!("arn:aws:iam::{OWNER}:role/{role}"),
        session_name: "ci".into(),
        access_key_id: "ASIAEXAMPLEEXAMPLE01".into(),
        created: Timestamp::from_millis(START),
        tags: Vec::new(),
        source_identity: None,
    })
}

pub fn rds() -> Caller {
    Caller::Service(Service::rds(&region(), account(OWNER), None))
}

/// A policy of one statement for a user or a role.
pub fn allow(actions: Value, resource: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]})
}

/// A key policy out of statements, with `kms:*` for the root user of the owner before them.
pub fn key_policy(statements: Value) -> String {
    let root = format!("arn:aws:iam::{OWNER}:root");
    let mut all =
        vec![json!({"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"})];
    all.extend(statements.as_array().unwrap().iter().cloned());
    json!({"Version": "2012-10-17", "Statement": all}).to_string()
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Custody::create(&Source::File(dir.path().join("root.key"))).unwrap();
        Self::open(dir, START, Quotas::default(), Proxy::start().await).await
    }

    /// One with other quotas than AWS has.
    pub async fn with_quotas(quotas: Quotas) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Custody::create(&Source::File(dir.path().join("root.key"))).unwrap();
        Self::open(dir, START, quotas, Proxy::start().await).await
    }

    /// A world on what another one left on disk.
    pub async fn at(dir: tempfile::TempDir) -> Self {
        Self::open(dir, START, Quotas::default(), Proxy::start().await).await
    }

    async fn open(dir: tempfile::TempDir, now: i64, quotas: Quotas, proxy: Proxy) -> Self {
        let clock = Arc::new(ManualClock(AtomicI64::new(now)));
        let principals = Arc::new(Principals::default());
        let trail = Arc::new(Trail::open(&dir.path().join("trail")).await.unwrap());
        let store = Store::open(&dir.path().join("state.db")).await.unwrap();
        let kms = load(dir.path(), &store, &trail, &clock, &principals, &proxy).await;
        let kms = Arc::new(kms.with_quotas(quotas));
        let pipeline = Pipeline::new(principals.clone(), Arc::clone(&trail), clock.clone());
        let mut router = Router::default();
        api_kms::operations(&mut router, Arc::clone(&kms));
        Self { dir, clock, kms, trail, store, router, proxy, pipeline, principals }
    }

    /// The same after a restart, with a clock that goes on.
    pub async fn restarted(self) -> Self {
        self.trail.close().await;
        self.store.close().await;
        let now = self.clock.now().as_millis();
        let Self { dir, kms, router, proxy, pipeline, principals, .. } = self;
        drop((kms, router, pipeline));
        let again = Self::open(dir, now, Quotas::default(), proxy).await;
        *again.principals.0.lock().unwrap() = principals.0.lock().unwrap().clone();
        again
    }

    pub fn pass(&self, days: u64) {
        self.pass_time(Duration::from_secs(days * 24 * 60 * 60));
    }

    pub fn pass_time(&self, span: Duration) {
        self.clock.0.store(self.clock.now().plus(span).as_millis(), Ordering::SeqCst);
    }

    pub fn clock_back(&self, span: Duration) {
        self.clock.0.store(self.clock.now().minus(span).as_millis(), Ordering::SeqCst);
    }

    /// Lets a user or a role exist, with these policies.
    pub fn give(&self, caller: &Caller, policies: &[Value]) {
        let arn = if let Caller::Session(session) = caller { session.role_arn.clone() } else { caller.arn() };
        let parse = |p: &Value| Arc::new(iam::Document::parse(&p.to_string(), iam::Kind::Identity).unwrap());
        self.principals.0.lock().unwrap().insert(arn, policies.iter().map(parse).collect());
    }

    /// A user of the owner's account who may do everything with KMS by policies.
    pub fn admin(&self) -> Caller {
        let admin = user("admin");
        self.give(&admin, &[allow(json!("kms:*"), "*")]);
        admin
    }

    /// A user of the owner's account without policies.
    pub fn stranger(&self) -> Caller {
        let stranger = user("stranger");
        self.give(&stranger, &[]);
        stranger
    }

    pub fn begin(&self, caller: &Caller) -> Call {
        let origin = Origin { source_ip: "192.0.2.10".into(), user_agent: "test".into(), secure: true };
        Call::new(caller.clone(), region(), self.clock.now(), origin)
    }

    pub async fn call(&self, caller: &Caller, name: &str, input: Value) -> Result<Value, Fault> {
        self.run(&self.begin(caller), name, input).await
    }

    /// A call that was signed for another region.
    pub async fn call_in(
        &self,
        region: &str,
        caller: &Caller,
        name: &str,
        input: Value,
    ) -> Result<Value, Fault> {
        let mut call = self.begin(caller);
        call.region = region.parse().unwrap();
        self.run(&call, name, input).await
    }

    /// What the root user of the owner is answered in a region.
    pub async fn done_in(&self, region: &str, name: &str, input: Value) -> Value {
        self.call_in(region, &root(OWNER), name, input).await.unwrap()
    }

    /// Carries out what is due.
    pub async fn due(&self) {
        api_kms::run_due(&self.kms, self.clock.now()).await.unwrap();
    }

    /// A replica of a primary key here in another region, settled; its ARN.
    pub async fn replica(&self, primary: &str, region: &str) -> String {
        let input = json!({"KeyId": primary, "ReplicaRegion": region});
        let made = self.call(&root(OWNER), "ReplicateKey", input).await.unwrap();
        self.due().await;
        text(&made["ReplicaKeyMetadata"], "Arn").to_owned()
    }

    /// A call that RDS makes for a caller.
    pub async fn via_rds(&self, caller: &Caller, name: &str, input: Value) -> Result<Value, Fault> {
        let call = self.begin(caller).forwarded("rds", self.clock.now());
        self.run(&call, name, input).await
    }

    /// Every answer is held against the model of the service: no member that it does not know, all that it
    /// requires.
    pub async fn run(&self, call: &Call, name: &str, input: Value) -> Result<Value, Fault> {
        let answer = self.router.call(&self.pipeline, ServiceId::Kms, name, call, input).await?;
        let value = serde_json::from_slice(&answer).unwrap();
        match &ServiceId::Kms.model().operations[name].output {
            Some(output) => conforms(ServiceId::Kms.model().shape(output), &value, name),
            None => assert_eq!(value, json!({}), "{name} answers nothing"),
        }
        Ok(value)
    }

    /// A new key of the root user of the owner; its ARN.
    pub async fn key(&self) -> String {
        self.key_with(json!({})).await
    }

    pub async fn key_with(&self, input: Value) -> String {
        let made = self.call(&root(OWNER), "CreateKey", input).await.unwrap();
        made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }

    /// Everything the trail has for an account, oldest first.
    pub async fn records(&self, account_id: &str) -> Vec<Record> {
        self.records_in(account_id, REGION).await
    }

    /// The same of another region.
    pub async fn records_in(&self, account_id: &str, region: &str) -> Vec<Record> {
        let query = Query {
            account: account(account_id),
            region: Some(region.parse().unwrap()),
            attribute: None,
            from: None,
            to: None,
            after: None,
            limit: 50,
        };
        let found = self.trail.lookup(&query).await.unwrap();
        found.into_iter().rev().map(|(record, _)| record).collect()
    }

    pub async fn last_record(&self, account_id: &str) -> Record {
        self.records(account_id).await.pop().unwrap()
    }
}

async fn load(
    dir: &Path,
    store: &Store,
    trail: &Arc<Trail>,
    clock: &Arc<ManualClock>,
    principals: &Arc<Principals>,
    proxy: &Proxy,
) -> Kms {
    let authority = dir.join("xks-authority.pem");
    std::fs::write(&authority, &proxy.authority).unwrap();
    let settings = Settings {
        authorities_file: Some(authority),
        addresses: BTreeMap::from([(HOST.to_owned(), proxy.address)]),
        timeout_ms: PROXY_TIMEOUT_MS,
        ..Settings::default()
    };
    let proxies = Arc::new(Proxies::new(&settings).unwrap());
    let custody = Arc::new(Custody::open(&Source::File(dir.join("root.key"))).unwrap());
    let (trail, clock, principals) = (Arc::clone(trail), clock.clone(), principals.clone());
    Kms::load(store.clone(), custody, trail, clock, principals, proxies).await.unwrap()
}

fn conforms(shape: &Shape, value: &Value, at: &str) {
    let model = ServiceId::Kms.model();
    match (shape.kind, value) {
        (ShapeKind::Structure, Value::Object(members)) => {
            for (name, member) in members {
                let reference =
                    shape.members.get(name).unwrap_or_else(|| panic!("{at}.{name} is not in the model"));
                conforms(model.shape(reference), member, &format!("{at}.{name}"));
            }
            let missing: BTreeSet<_> =
                shape.required.iter().filter(|name| !members.contains_key(*name)).collect();
            assert!(missing.is_empty(), "{at} lacks {missing:?}");
        }
        (ShapeKind::List, Value::Array(items)) => {
            let inner = model.shape(shape.member.as_ref().unwrap());
            items.iter().for_each(|item| conforms(inner, item, at));
        }
        (ShapeKind::String, Value::String(text)) => {
            assert!(shape.choices.is_empty() || shape.choices.contains(text), "{at}: {text} is no choice");
            assert!(text.is_empty() || shape.matches(text), "{at}: {text} does not fit the pattern");
        }
        (ShapeKind::Map, Value::Object(_))
        | (ShapeKind::Blob, Value::String(_))
        | (ShapeKind::Boolean, Value::Bool(_))
        | (
            ShapeKind::Integer | ShapeKind::Long | ShapeKind::Double | ShapeKind::Timestamp,
            Value::Number(_),
        ) => {}
        (kind, other) => panic!("{at} is {other}, not a {kind:?}"),
    }
}

/// The code and the text of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Fault>) -> (String, String) {
    let fault = answer.unwrap_err();
    assert_eq!((fault.status, &fault.detail), (400, &None), "{fault}");
    (fault.code.into_owned(), fault.message.unwrap_or_default())
}

pub fn code<T: std::fmt::Debug>(answer: Result<T, Fault>) -> String {
    refusal(answer).0
}

pub fn expect(code: &str, text: impl Into<String>) -> (String, String) {
    (code.into(), text.into())
}

/// The region of the key with an ARN.
pub fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap()
}

pub fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} in {value}"))
}
