//! `kms:UpdatePrimaryRegion` (spec/kms.md §13): a primary key and one of its replicas change places. Permission on both.
//! Trail: management event, write, in both regions.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Region;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    ops::Done,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
    work::Event,
};

const ACTION: &str = "kms:UpdatePrimaryRegion";

/// Makes another key the primary.
pub struct UpdatePrimaryRegion;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    primary_region: Region,
}

/// The primary, and the key with the same id in the region that was asked for, if it is there.
pub struct Places {
    primary: Target,
    replica: Option<Target>,
}

impl Operation for UpdatePrimaryRegion {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "UpdatePrimaryRegion";
    const EFFECT: Effect = Effect::Write;
    const RECORDED: &'static [&'static str] = &["KeyId", "PrimaryRegion"];
    type State = Kms;
    type Request = Request;
    type Target = Places;
    type Response = Done;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Places, Fault> {
        let primary = resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await?;
        let other =
            Some(primary.name().in_region(&request.primary_region)).filter(|name| name != primary.name());
        let replica = other.and_then(|name| kms.key(&name)).map(|entry| Target { entry, alias: None });
        Ok(Places { primary, replica })
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, places: &Places) -> Vec<Ask> {
        let both = std::iter::once(&places.primary).chain(&places.replica);
        both.map(|key| {
            ask(kms, call, ACTION, key).with("kms:PrimaryRegion", [request.primary_region.as_str()])
        })
        .collect()
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        places: Authorized<Places>,
    ) -> Result<Done, Fault> {
        let name = places.primary.name();
        let mut change = kms.begin(&call.event_id).await?;
        let old = kms.still_there(name)?;
        let mut down = old.key.clone();
        down.step_down().map_err(|refusal| fault::refused(name, &refusal))?;
        let there = name.in_region(&request.primary_region);
        if there == *name {
            let text = format!("{name} is the primary key already.");
            return Err(fault::unsupported(text));
        }
        // What was allowed is to change places with the key that was there then.
        let new =
            places.replica.as_ref().and_then(|_| kms.key(&there)).ok_or_else(|| fault::no_key(&there))?;
        let mut up = new.key.clone();
        up.step_up().map_err(|refusal| fault::refused(&there, &refusal))?;
        let recorded = json!({"KeyId": request.key_id, "PrimaryRegion": request.primary_region});
        let event = Event::elsewhere(call, Self::NAME, &there, recorded, json!({"KeyId": there.to_string()}));
        event
            .around(kms, async {
                change.mark(event.id()).await?;
                change.put_key(&old, down).await?;
                change.put_key(&new, up).await?;
                change.commit().await
            })
            .await?;
        kms.work.notify_one();
        Ok(Done::with(&places.primary))
    }

    fn recorded_response(response: &Done) -> Option<Value> {
        response.recorded()
    }
}
