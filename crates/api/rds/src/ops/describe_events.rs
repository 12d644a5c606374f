//! `rds:DescribeEvents` (spec/rds.md §9). Trail: management event, read.

use std::time::Duration;

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    answers, faults,
    records::ToldEvent,
    request::{self, Filter},
    service::Rds,
};

/// `Duration`, in minutes, unless given.
const DEFAULT_MINUTES: i64 = 60;
const LONGEST_MINUTES: i64 = 14 * 24 * 60;

pub struct DescribeEvents;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    source_identifier: Option<String>,
    source_type: Option<String>,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    duration: Option<i64>,
    #[serde(default)]
    event_categories: Vec<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    max_records: Option<i64>,
    marker: Option<String>,
}

impl Operation for DescribeEvents {
    const SERVICE: ServiceId = ServiceId::Rds;
    const NAME: &'static str = "DescribeEvents";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[
        "Duration",
        "EndTime",
        "EventCategories",
        "Filters",
        "Marker",
        "MaxRecords",
        "SourceIdentifier",
        "SourceType",
        "StartTime",
    ];
    type State = Rds;
    type Request = Request;
    type Target = ();
    type Response = Value;

    async fn resolve(_: &Rds, _: &Call, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Rds, _: &Call, _: &Request, _: &()) -> Vec<Ask> {
        vec![Ask::new("rds:DescribeEvents", "*")]
    }

    async fn act(rds: &Rds, call: &Call, request: Request, _: Authorized<()>) -> Result<Value, Fault> {
        if request.source_identifier.is_some() && request.source_type.is_none() {
            return Err(faults::combination("Cannot specify source identifier without source type"));
        }
        let (from, to) = span(&request, call.now)?;
        let mut events = rds.records.events(call.account(), &call.region, from, to).await?;
        events.retain(|event| {
            let of_type = request.source_type.as_ref().is_none_or(|kind| *kind == event.source_type);
            let of_source =
                request.source_identifier.as_ref().is_none_or(|id| id.eq_ignore_ascii_case(&event.source_id));
            let categories = &request.event_categories;
            of_type && of_source && (categories.is_empty() || categories.contains(&event.category))
        });
        // As on AWS, there is no filter that this operation knows.
        let events = request::filter(events, &request.filters, &[], |_, _| Vec::new())?;
        let key = |event: &ToldEvent| format!("{:020}/{:020}", event.at.as_millis(), event.id);
        let (page, marker) = request::page(events, request.max_records, request.marker.as_deref(), key)?;
        Ok(answers::list("Events", page.iter().map(answers::event), marker))
    }
}

/// From when to when: two of start, end and duration say it; the last hour without any.
fn span(request: &Request, now: Timestamp) -> Result<(Timestamp, Timestamp), Fault> {
    let minutes = request.duration.unwrap_or(DEFAULT_MINUTES);
    let length = (1..=LONGEST_MINUTES).contains(&minutes).then(|| u64::try_from(minutes).ok()).flatten();
    let length = length.map(|minutes| Duration::from_secs(minutes * 60)).ok_or_else(|| {
        faults::value(format!(
            "Invalid value {minutes} for Duration. Must be between 1 and {LONGEST_MINUTES}"
        ))
    })?;
    let (from, to) = match (request.start_time, request.end_time) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) if request.duration.is_some() => (from, from.plus(length)),
        (Some(from), None) => (from, now),
        (None, Some(to)) => (to.minus(length), to),
        (None, None) => (now.minus(length), now),
    };
    if from > to {
        return Err(faults::combination("The start time must be before the end time."));
    }
    Ok((from, to))
}
