//! The audit trail's domain: CloudTrail records, how they are found, what they tell. Values in, values out;
//! the log that keeps them is crate `audit`. Source: spec/trail.md.

mod authorization;
mod lookup;
mod record;
mod why;

pub use authorization::{Authorization, DecidedBy, NearMiss};
pub use lookup::{Attribute, UnknownAttribute, listed_names, names_by_members, resource_names};
pub use record::{
    EVENT_VERSION, EventType, Record, Resource, ServiceEvent, UserIdentity, lower_camel, lower_camel_members,
    written_date,
};
pub use why::{KeyUses, Purpose, Uses};
