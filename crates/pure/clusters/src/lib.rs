//! Database clusters without a machine: what a cluster should be, what was seen of it, and what to do next.
//!
//! [`plan`] and [`plan_snapshot`] are pure and total: from any pair of wish and sight they give the next steps, each
//! of which may be repeated. Whoever executes them may die between any two; planning again from what is then seen
//! leads to the same end (design.md §6, held by `tests/prop.rs`). The rest are the words and rules of the control
//! plane: identifiers, statuses, events, limits (spec/rds.md §3, §6 to §9).

mod action;
mod endpoint;
mod event;
mod id;
mod observed;
mod plan;
mod rules;
mod snapshot;
mod space;
mod spec;
mod status;
mod window;

pub use action::{Action, Holder};
pub use endpoint::{EndpointNames, LABEL_LENGTH};
pub use event::{Event, SourceType};
pub use id::{
    ClusterResourceId, Identifier, InstanceResourceId, InvalidIdentifier, InvalidResourceId,
    SnapshotResourceId, VolumeId,
};
pub use observed::{ClusterSeen, MemberSeen, Process};
pub use plan::{plan, strays};
pub use rules::{
    DatabaseName, InvalidTags, MasterUsername, RuleBroken, check_master_password, check_tags,
    default_parameter_group,
};
pub use snapshot::{SnapshotAction, SnapshotSeen, SnapshotSpec, Source, plan_snapshot};
pub use space::{SpaceLimits, SpacePlan, SpaceSeen, plan_space};
pub use spec::{Access, ClusterSpec, Goal, MemberSpec};
pub use status::{ClusterStatus, InstanceStatus, SnapshotStatus, UnknownStatus};
pub use window::{BackupWindow, InvalidWindow, MaintenanceWindow, overlap};
