//! `rds:CopyDBClusterSnapshot` (spec/rds.md §4, §5, §8). Trail: management event, write.
//!
//! Under the key of its source the copy shares the source's blocks; under another KMS key it has a volume key of its own, and
//! every block is sealed anew (docs/decisions/0521).

use clusters::{Event, Identifier, SnapshotResourceId, SnapshotStatus};
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use super::target::Named;
use crate::{
    answers,
    encryption::{self, NewGrant},
    faults,
    names::{Kind, new_identifier},
    records::{CopiedFrom, Record, Snapshot, WrappedKeys},
    request::{self, Tag, ask_tags},
    service::Rds,
    volume_keys::Slot,
};

pub struct CopyDbClusterSnapshot;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(rename = "SourceDBClusterSnapshotIdentifier")]
    source: String,
    #[serde(rename = "TargetDBClusterSnapshotIdentifier")]
    target: String,
    kms_key_id: Option<String>,
    copy_tags: Option<bool>,
    pre_signed_url: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Operation for CopyDbClusterSnapshot {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "CopyDBClusterSnapshot";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &[
        "CopyTags",
        "KmsKeyId",
        "SourceDBClusterSnapshotIdentifier",
        "Tags",
        "TargetDBClusterSnapshotIdentifier",
    ];
    type State = Rds;
    type Request = Request;
    type Target = Named<Snapshot>;
    type Response = Value;

    async fn resolve(rds: &Rds, call: &Call, request: &Request) -> Result<Named<Snapshot>, Fault> {
        Named::find(rds, call, &request.source).await
    }

    fn asks(_: &Rds, call: &Call, request: &Request, source: &Named<Snapshot>) -> Vec<Ask> {
        let action = "rds:CopyDBClusterSnapshot";
        let name = request.target.to_ascii_lowercase();
        let mut asks = ask_tags(Ask::new(action, Kind::Snapshot.arn(call, &name)), &request.tags);
        asks.push(source.ask(call, action));
        asks
    }

    async fn act(
        rds: &Rds,
        call: &Call,
        request: Request,
        target: Authorized<Named<Snapshot>>,
    ) -> Result<Value, Fault> {
        let parameter = "TargetDBClusterSnapshotIdentifier";
        let identifier = new_identifier(parameter, &request.target, Identifier::LONGEST_SNAPSHOT)?;
        let source = target.get()?;
        if request.pre_signed_url.is_some() {
            let text = "PreSignedUrl is for copies from another AWS Region, which are not supported.";
            return Err(faults::combination(text));
        }
        if Named::<Snapshot>::by_name(rds, call, identifier.to_string()).await?.exists() {
            return Err(faults::snapshot_exists(&identifier));
        }
        expect_available(source)?;
        let mut tags = if request.copy_tags == Some(true) { source.tags.clone() } else { Default::default() };
        tags.extend(request::tags(&request.tags)?);
        clusters::check_tags(&tags).map_err(|error| faults::value(error.to_string()))?;
        let encryption = match (&request.kms_key_id, source.encryption.key_arn()) {
            (None, None) => source.encryption.clone(),
            (Some(_), None) => {
                let text =
                    "KmsKeyId cannot be given for a copy of a DB cluster snapshot that is not encrypted.";
                return Err(faults::combination(text));
            }
            (Some(key), Some(_)) => encryption::usable_key(rds, call, key).await?,
            (None, Some(key)) => encryption::usable_key(rds, call, key).await?,
        };
        let keys = rds.volume_keys(&call.region, call.account());
        let source_key = source.encryption.key_arn().unwrap_or_default();
        let opened = keys.check(&Slot::of_snapshot(source), &source.keys).await;
        opened.map_err(|error| faults::source_key_fault(&error, source_key))?;

        let key = encryption.key_arn().unwrap_or_default().to_owned();
        let id = SnapshotResourceId::generate(&*rds.entropy);
        let grant = NewGrant::ask(rds, call, &encryption, &format!("rds-{id}"), source.context()).await;
        let grant = grant.map_err(|error| faults::key_fault(&error, &key))?;
        let recorded = async {
            let wrapped = if encryption == source.encryption {
                source.keys.clone()
            } else {
                let arn = Kind::Snapshot.arn(call, identifier.as_str());
                let slot = Slot { encryption: &encryption, context: source.context(), arn };
                let made = keys.make(&slot).await;
                WrappedKeys::one(made.map_err(|error| faults::key_fault(&error, &key))?)
            };
            let mut edit = rds.records.edit(&call.event_id).await?;
            expect_available(&target.take(&mut edit).await?)?;
            let copy = Snapshot {
                id,
                identifier,
                created: call.now,
                status: SnapshotStatus::Copying,
                delete: false,
                remains: true,
                uploaded: false,
                percent: 0,
                copied_from: Some(CopiedFrom { id: source.id.clone(), arn: source.arn() }),
                encryption: encryption.clone(),
                anchor: source.anchor.clone().filter(|_| wrapped == source.keys),
                keys: wrapped,
                grant: grant.id.clone(),
                tags,
                ..source.clone()
            };
            edit.insert(&copy).await.map_err(|error| match error.is_taken() {
                true => faults::snapshot_exists(&copy.identifier),
                false => error.into(),
            })?;
            edit.tell(&copy, Event::SnapshotCreating, call.now).await?;
            edit.commit().await?;
            rds.wake(&copy.cluster);
            Ok(json!({"DBClusterSnapshot": answers::snapshot(&copy)}))
        };
        let recorded = recorded.await;
        if recorded.is_err() {
            grant.give_back(rds, call).await;
        }
        recorded
    }

    fn recorded_response(response: &Value) -> Option<Value> {
        response.get("DBClusterSnapshot").cloned()
    }
}

fn expect_available(source: &Snapshot) -> Result<(), Fault> {
    if source.status == SnapshotStatus::Available && !source.delete {
        return Ok(());
    }
    let (name, status) = (&source.identifier, source.status);
    Err(faults::snapshot_state(format!(
        "Cannot copy the snapshot {name} because it is in {status} state, not in available."
    )))
}
