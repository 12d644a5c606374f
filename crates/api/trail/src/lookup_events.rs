//! `cloudtrail:LookupEvents`: what was recorded in the last 90 days in one account and region, newest first. An
//! event is there as soon as the call that it tells of is answered.

use std::time::Duration;

use audit::{Query, Trail};
use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use trail::{Attribute, Record, resource_names};
use wire::{Fault, ServiceId};

use crate::{
    fault,
    token::{self, Lookup},
};

/// How far back a lookup goes.
const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
const LARGEST_PAGE: u32 = 50;
/// Characters of an attribute's value.
const LONGEST_VALUE: usize = 2000;

pub struct LookupEvents;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    #[serde(default)]
    lookup_attributes: Vec<LookupAttribute>,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    event_category: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LookupAttribute {
    attribute_key: String,
    attribute_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    events: Vec<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    event_id: String,
    event_name: String,
    /// A text, as AWS has it.
    read_only: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<String>,
    event_time: Timestamp,
    event_source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    resources: Vec<Named>,
    cloud_trail_event: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    resource_type: String,
    resource_name: String,
}

impl Operation for LookupEvents {
    const SERVICE: ServiceId = ServiceId::CloudTrail;
    const NAME: &'static str = "LookupEvents";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] =
        &["LookupAttributes", "StartTime", "EndTime", "EventCategory", "MaxResults"];

    type State = Trail;
    type Request = Request;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Trail, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Trail, _: &Call, _: &Request, (): &()) -> Vec<Ask> {
        vec![Ask::new("cloudtrail:LookupEvents", "*")]
    }

    async fn act(trail: &Trail, call: &Call, request: Request, _: Authorized<()>) -> Result<Response, Fault> {
        let attribute = attribute(&request.lookup_attributes)?;
        let limit = match request.max_results {
            None => LARGEST_PAGE,
            Some(wanted) => {
                let fits = u32::try_from(wanted).ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
                fits.ok_or_else(fault::max_results)?
            }
        };
        if let (Some(start), Some(end)) = (request.start_time, request.end_time)
            && start > end
        {
            return Err(fault::time_range());
        }
        let lookup = Lookup {
            account: call.account().clone(),
            region: call.region.clone(),
            attribute: request
                .lookup_attributes
                .into_iter()
                .next()
                .map(|a| (a.attribute_key, a.attribute_value)),
            start: request.start_time,
            end: request.end_time,
        };
        let after = match &request.next_token {
            None => None,
            Some(sent) => Some(token::read(sent, &lookup).ok_or_else(fault::next_token)?),
        };
        match request.event_category.as_deref() {
            None => {}
            // Unusual activity is not looked for here, so nothing of it was ever found.
            Some("insight") => return Ok(Response { events: Vec::new(), next_token: None }),
            Some(_) => return Err(fault::event_category()),
        }
        let oldest = call.now.minus(RETENTION);
        let query = Query {
            account: lookup.account.clone(),
            region: Some(lookup.region.clone()),
            attribute,
            from: Some(request.start_time.map_or(oldest, |start| start.max(oldest))),
            to: request.end_time,
            after,
            limit: limit + 1,
        };
        let mut found = trail.lookup(&query).await.map_err(Fault::internal)?;
        let page = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > page;
        found.truncate(page);
        let last = found.last().filter(|_| more).map(|(_, cursor)| *cursor);
        let events =
            found.into_iter().map(|(record, _)| event(&record.public())).collect::<Result<_, _>>()?;
        Ok(Response { events, next_token: last.map(|cursor| token::write(lookup, cursor)) })
    }
}

fn attribute(sent: &[LookupAttribute]) -> Result<Option<Attribute>, Fault> {
    let LookupAttribute { attribute_key, attribute_value } = match sent {
        [] => return Ok(None),
        [only] => only,
        _ => return Err(fault::lookup_attributes("A lookup takes one attribute only.")),
    };
    if attribute_value.is_empty() || attribute_value.chars().count() > LONGEST_VALUE {
        return Err(fault::lookup_attributes("The value of a lookup attribute has 1 to 2000 characters."));
    }
    let read = Attribute::new(attribute_key, attribute_value.clone());
    read.map(Some).map_err(|_| fault::lookup_attributes("The key of the lookup attribute is not valid."))
}

fn event(record: &Record) -> Result<Event, Fault> {
    let resources = resource_names(record).into_iter();
    Ok(Event {
        event_id: record.event_id.clone(),
        event_name: record.event_name.clone(),
        read_only: record.read_only.to_string(),
        access_key_id: record.user_identity.access_key_id.clone(),
        event_time: record.event_time,
        event_source: record.event_source.clone(),
        username: record.username().map(str::to_owned),
        resources: resources
            .map(|(resource_type, resource_name)| Named { resource_type, resource_name })
            .collect(),
        cloud_trail_event: serde_json::to_string(record).map_err(Fault::internal)?,
    })
}
