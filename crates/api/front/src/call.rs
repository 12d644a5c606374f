//! One call of an operation: who, where, when, and what the trail will say about it.

use std::sync::{Mutex, PoisonError};

use ids::{AccountId, Region, Timestamp};
use serde_json::{Map, Value};
use trail::Authorization;

use crate::caller::Caller;

/// A call on its way through the pipeline.
#[derive(Debug)]
pub struct Call {
    pub caller: Caller,
    /// The region of the signature.
    pub region: Region,
    pub now: Timestamp,
    /// `x-amzn-RequestId`
    pub request_id: String,
    /// Id of the trail record, and of the change in SQL.
    pub event_id: String,
    /// Address of the client; `rds.amazonaws.com` when a service calls.
    pub source_ip: String,
    pub user_agent: String,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// The service that makes the call for the caller.
    pub via: Option<Via>,
    notes: Mutex<Notes>,
}

/// A service between the user and the operation (forward access).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Via {
    /// `rds`
    pub service: String,
}

impl Via {
    /// `rds.us-west-2.amazonaws.com`, the value of `kms:ViaService`.
    pub fn principal(&self, region: &Region) -> String {
        format!("{}.{region}.amazonaws.com", self.service)
    }

    /// `rds.amazonaws.com`, as the trail names it.
    pub fn name(&self) -> String {
        format!("{}.amazonaws.com", self.service)
    }
}

/// What an operation adds to its trail record.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub resources: Vec<TouchedResource>,
    pub additional: Map<String, Value>,
    pub request: Map<String, Value>,
    pub decisions: Vec<Authorization>,
}

/// A resource that a call concerned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TouchedResource {
    pub account: AccountId,
    /// `AWS::KMS::Key`
    pub kind: String,
    pub arn: String,
}

/// What a call needs besides its ids.
#[derive(Clone, Debug)]
pub struct Origin {
    pub source_ip: String,
    pub user_agent: String,
    pub secure: bool,
}

impl Call {
    /// A call by a proven caller, with new ids.
    pub fn new(caller: Caller, region: Region, now: Timestamp, origin: Origin) -> Self {
        Self {
            caller,
            region,
            now,
            request_id: uuid::Uuid::new_v4().to_string(),
            event_id: uuid::Uuid::new_v4().to_string(),
            source_ip: origin.source_ip,
            user_agent: origin.user_agent,
            secure: origin.secure,
            via: None,
            notes: Mutex::default(),
        }
    }

    /// A call that `service` makes for the caller of this call (forward access).
    pub fn forwarded(&self, service: &str, now: Timestamp) -> Self {
        let via = Via { service: service.into() };
        let origin = Origin { source_ip: via.name(), user_agent: via.name(), secure: true };
        let mut call = Self::new(self.caller.clone(), self.region.clone(), now, origin);
        call.via = Some(via);
        call
    }

    /// A call that a service makes by itself.
    pub fn by_service(service: crate::caller::Service, region: Region, now: Timestamp) -> Self {
        let name = service.name.clone();
        let origin = Origin { source_ip: name.clone(), user_agent: name, secure: true };
        Self::new(Caller::Service(service), region, now, origin)
    }

    /// The account of the caller.
    pub const fn account(&self) -> &AccountId {
        self.caller.account()
    }

    /// Adds a resource to the record (`resources`); a second mention of it changes nothing.
    pub fn touches(&self, account: &AccountId, kind: &str, arn: &str) {
        let touched = TouchedResource { account: account.clone(), kind: kind.into(), arn: arn.into() };
        self.note(|notes| {
            if !notes.resources.contains(&touched) {
                notes.resources.push(touched);
            }
        });
    }

    /// Adds to the record's `additionalEventData`.
    pub fn adds(&self, name: &str, value: impl Into<Value>) {
        self.note(|notes| notes.additional.insert(name.into(), value.into()));
    }

    /// Sets a member of the recorded `requestParameters`, by its model name: a default that the caller left
    /// out (`EncryptionAlgorithm`).
    pub fn records_request(&self, member: &str, value: impl Into<Value>) {
        self.note(|notes| notes.request.insert(member.into(), value.into()));
    }

    /// Keeps what the policies said, for the record.
    pub(crate) fn decided(&self, told: Authorization) {
        self.note(|notes| notes.decisions.push(told));
    }

    pub(crate) fn note<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
