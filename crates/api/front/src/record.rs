//! From a call to its trail record (spec/trail.md §1–§4). What of a request is kept is an allow-list of the
//! operation's; answers are kept only as far as the operation says.

use ids::{AccountId, Region, Timestamp};
use serde_json::{Map, Value, json};
use trail::{EVENT_VERSION, EventType, Record, Resource, UserIdentity, lower_camel_members};
use wire::{Fault, ServiceId};

use crate::{
    call::Call,
    caller::{Caller, Federated, Session},
    operation::{Effect, Operation},
};

/// Error texts longer than this are cut (spec/trail.md §1).
const LONGEST_MESSAGE: usize = 1024;
const MASK: &str = "****";

/// A record in the making.
pub(crate) struct Draft {
    service: ServiceId,
    name: &'static str,
    read_only: bool,
    /// The allowed members as sent, with the model's names.
    request: Map<String, Value>,
    opened: bool,
}

impl Draft {
    pub(crate) fn new<O: Operation>(call: &Call, input: &Value) -> Self {
        let mut request = Map::new();
        for member in O::RECORDED {
            if let Some(value) = input.get(member).filter(|value| !value.is_null()) {
                request.insert((*member).into(), value.clone());
            }
        }
        for member in O::MASKED {
            if input.get(member).is_some_and(|value| !value.is_null()) {
                request.insert((*member).into(), json!(MASK));
            }
        }
        tracing::trace!(operation = O::NAME, request_id = %call.request_id, "a call begins");
        Self {
            service: O::SERVICE,
            name: O::NAME,
            read_only: O::EFFECT == Effect::Read,
            request,
            opened: false,
        }
    }

    pub(crate) const fn opened(&self) -> bool {
        self.opened
    }

    pub(crate) const fn mark_opened(&mut self) {
        self.opened = true;
    }

    /// What is about to happen: the record as it will be if the answer is lost with the process.
    pub(crate) fn intent(&self, call: &Call, now: Timestamp) -> Record {
        let mut record = base(self.service, self.name, self.read_only, call, now);
        record.request_parameters = self.parameters(call);
        record
    }

    pub(crate) fn finish<O: Operation>(
        &self,
        call: &Call,
        outcome: &Result<O::Response, Fault>,
        now: Timestamp,
    ) -> Record {
        let mut record = base(self.service, self.name, self.read_only, call, now);
        match outcome {
            Ok(response) => {
                record.request_parameters = self.parameters(call);
                record.response_elements = O::recorded_response(response).map(lowered);
            }
            // A denial shows neither what was asked for nor what it concerned (spec/trail.md §4.4).
            Err(fault) if fault.code.starts_with("AccessDenied") => {
                fail(&mut record, "AccessDenied", fault);
                record.resources.clear();
                record.additional_event_data = None;
            }
            Err(fault) => {
                fail(&mut record, &fault.code, fault);
                record.request_parameters = self.parameters(call);
            }
        }
        record
    }

    fn parameters(&self, call: &Call) -> Option<Map<String, Value>> {
        let mut request = self.request.clone();
        call.note(|notes| request.extend(notes.request.clone()));
        match lowered(Value::Object(request)) {
            Value::Object(members) if !members.is_empty() => Some(members),
            _ => None,
        }
    }
}

/// The copies of a record for the other accounts whose resources it concerns (spec/trail.md §4.7): one
/// request, one shared id, an event id for each copy; of a caller from elsewhere the owner reads the account
/// only. Denials name no resources, and stay with the caller.
pub fn owner_copies(record: &mut Record) -> Vec<Record> {
    let caller = record.recipient_account_id.clone();
    let mut owners: Vec<_> = record.resources.iter().map(|r| r.account_id.clone()).collect();
    owners.retain(|owner| *owner != caller);
    owners.sort();
    owners.dedup();
    if owners.is_empty() {
        return Vec::new();
    }
    record.shared_event_id = Some(uuid::Uuid::new_v4().to_string());
    let copy = |owner: AccountId| {
        let mut copy = record.clone();
        copy.event_id = uuid::Uuid::new_v4().to_string();
        copy.resources.retain(|resource| resource.account_id == owner);
        copy.recipient_account_id = owner;
        // Why the caller might is between him and his own account.
        copy.authorization.clear();
        if copy.user_identity.kind.as_deref() != Some("AWSService") {
            copy.user_identity = UserIdentity {
                kind: Some("AWSAccount".into()),
                principal_id: copy.user_identity.principal_id.take(),
                account_id: Some(caller.clone()),
                invoked_by: copy.user_identity.invoked_by.take(),
                ..UserIdentity::default()
            };
        }
        copy
    };
    owners.into_iter().map(copy).collect()
}

/// The record of a call that reached no operation.
pub(crate) fn refusal(service: ServiceId, name: &str, call: &Call, fault: &Fault, now: Timestamp) -> Record {
    let read_only = ["Describe", "Get", "List", "Lookup"].iter().any(|verb| name.starts_with(verb));
    let shown: String = name.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let mut record = base(service, &shown, read_only, call, now);
    fail(&mut record, &fault.code, fault);
    record
}

/// The code for input that is shaped right and yet cannot be read.
pub(crate) const fn malformed_code(service: ServiceId) -> &'static str {
    match service {
        ServiceId::Kms | ServiceId::CloudTrail => "ValidationException",
        ServiceId::Rds => "InvalidParameterValue",
        ServiceId::Iam | ServiceId::Sts => "ValidationError",
    }
}

fn fail(record: &mut Record, code: &str, fault: &Fault) {
    record.error_code = Some(code.into());
    record.error_message = fault.message.as_ref().map(|text| text.chars().take(LONGEST_MESSAGE).collect());
}

fn base(service: ServiceId, name: &str, read_only: bool, call: &Call, now: Timestamp) -> Record {
    let (resources, additional, authorization) =
        call.note(|notes| (notes.resources.clone(), notes.additional.clone(), notes.decisions.clone()));
    let resources = resources
        .into_iter()
        .map(|touched| Resource { account_id: touched.account, kind: touched.kind, arn: touched.arn })
        .collect();
    Record {
        event_version: EVENT_VERSION.into(),
        user_identity: identity(call),
        event_time: now,
        event_source: service.event_source(),
        event_name: name.into(),
        aws_region: region(service, call),
        source_ip_address: call.source_ip.clone(),
        user_agent: Some(call.user_agent.clone()).filter(|agent| !agent.is_empty()),
        error_code: None,
        error_message: None,
        request_parameters: None,
        response_elements: None,
        additional_event_data: Some(additional).filter(|data| !data.is_empty()),
        request_id: Some(call.request_id.clone()),
        event_id: call.event_id.clone(),
        read_only,
        resources,
        event_type: EventType::AwsApiCall,
        management_event: true,
        recipient_account_id: call.account().clone(),
        shared_event_id: None,
        service_event_details: None,
        event_category: "Management".into(),
        authorization,
    }
}

/// The record of what a call does in another region, beside that of the call itself; what it concerns there and asked
/// for is the operation's to say.
pub fn elsewhere(service: ServiceId, name: &str, call: &Call, region: &Region, now: Timestamp) -> Record {
    Record {
        event_id: uuid::Uuid::new_v4().to_string(),
        aws_region: region.clone(),
        resources: Vec::new(),
        additional_event_data: None,
        ..base(service, name, false, call, now)
    }
}

/// IAM is global, and its records are those of one region.
fn region(service: ServiceId, call: &Call) -> Region {
    match service {
        ServiceId::Iam => "us-east-1".parse().expect("a constant"),
        _ => call.region.clone(),
    }
}

fn identity(call: &Call) -> UserIdentity {
    let caller = &call.caller;
    let known = UserIdentity {
        principal_id: Some(caller.unique_id()),
        arn: Some(caller.arn()),
        account_id: Some(caller.account().clone()),
        access_key_id: caller.access_key_id().map(str::to_owned),
        invoked_by: call.via.as_ref().map(crate::call::Via::name),
        ..UserIdentity::default()
    };
    match caller {
        Caller::Root { .. } => UserIdentity { kind: Some("Root".into()), ..known },
        Caller::User(user) => UserIdentity {
            kind: Some("IAMUser".into()),
            user_name: Some(user.name.clone()),
            session_context: user.session_began.map(|began| json!({"attributes": attributes(began)})),
            ..known
        },
        Caller::Federated(federated) => UserIdentity {
            kind: Some("FederatedUser".into()),
            session_context: Some(federated_context(federated)),
            ..known
        },
        Caller::Session(session) => UserIdentity {
            kind: Some("AssumedRole".into()),
            session_context: Some(session_context(session)),
            ..known
        },
        Caller::Service(service) => UserIdentity {
            kind: Some("AWSService".into()),
            invoked_by: Some(service.name.clone()),
            ..UserIdentity::default()
        },
    }
}

fn session_context(session: &Session) -> Value {
    let mut context = json!({
        "sessionIssuer": {
            "type": "Role", "principalId": session.role_id, "arn": session.role_arn,
            "accountId": session.account, "userName": session.role_name,
        },
        "attributes": attributes(session.created),
    });
    if let Some(source) = &session.source_identity {
        context["sourceIdentity"] = json!(source);
    }
    context
}

fn federated_context(federated: &Federated) -> Value {
    let account = &federated.account;
    let issuer = match &federated.lender {
        Some(user) => json!({
            "type": "IAMUser", "principalId": user.id, "arn": user.arn, "accountId": account, "userName": user.name,
        }),
        None => json!({
            "type": "Root", "principalId": account, "arn": format!("arn:aws:iam::{account}:root"), "accountId": account,
        }),
    };
    json!({"sessionIssuer": issuer, "attributes": attributes(federated.created)})
}

fn attributes(began: Timestamp) -> Value {
    json!({"creationDate": began.iso8601_seconds(), "mfaAuthenticated": "false"})
}

/// Member names as the trail writes them. The keys of encryption contexts are data and stay as they are.
pub fn lowered(value: Value) -> Value {
    lower_camel_members(value, &|name| name.contains("EncryptionContext"))
}
