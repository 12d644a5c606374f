//! The next steps for a snapshot, which lives on when its cluster is gone.

use crate::{Event, InstanceResourceId, SnapshotStatus};

/// The wish for one snapshot.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SnapshotSpec {
    pub delete: bool,
}

/// Where the blocks of a snapshot would come from now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// The process that has the volume open.
    Serving(InstanceResourceId),
    /// No process has the volume open: its files.
    Closed,
    /// A process is opening or closing the volume.
    Busy,
    /// There is no volume any more.
    Gone,
}

/// The sight of one snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotSeen {
    pub status: SnapshotStatus,
    /// Its files are there, all of them.
    pub files: bool,
    /// Some of them may be there: until they have been removed.
    pub remains: bool,
    /// The key service still has a grant for it.
    pub grant: bool,
    pub source: Source,
    /// A cluster is being made from it.
    pub in_use: bool,
}

/// A step for a snapshot. Each may be repeated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SnapshotAction {
    /// Link the volume's segments, through its process if one has it open.
    Take { through: Option<InstanceResourceId> },
    /// Remove its files, all of them or not, and note that it is done.
    Remove,
    /// Give its grant back.
    RetireGrant,
    /// Record the new status and tell of it.
    Set { to: SnapshotStatus, events: Vec<Event> },
    /// Drop the record, which was the last trace.
    Forget,
}

/// What to do next for a snapshot, if anything.
pub fn plan_snapshot(spec: SnapshotSpec, seen: &SnapshotSeen) -> Option<SnapshotAction> {
    let set = |to, events: &[Event]| Some(SnapshotAction::Set { to, events: events.to_vec() });
    if spec.delete {
        return match seen {
            _ if seen.status != SnapshotStatus::Deleting => set(SnapshotStatus::Deleting, &[]),
            _ if seen.in_use => None,
            _ if seen.remains => Some(SnapshotAction::Remove),
            _ if seen.grant => Some(SnapshotAction::RetireGrant),
            _ => Some(SnapshotAction::Forget),
        };
    }
    if seen.status != SnapshotStatus::Creating {
        return None;
    }
    if seen.files {
        return set(SnapshotStatus::Available, &[Event::SnapshotCreated]);
    }
    match &seen.source {
        Source::Serving(id) => Some(SnapshotAction::Take { through: Some(id.clone()) }),
        Source::Closed => Some(SnapshotAction::Take { through: None }),
        Source::Busy => None,
        Source::Gone => set(SnapshotStatus::Failed, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: SnapshotStatus) -> SnapshotSeen {
        SnapshotSeen {
            status,
            files: false,
            remains: true,
            grant: true,
            source: Source::Closed,
            in_use: false,
        }
    }

    #[test]
    fn a_snapshot_is_taken_then_available() {
        let wish = SnapshotSpec::default();
        let mut now = seen(SnapshotStatus::Creating);
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Take { through: None }));
        now.source = Source::Busy;
        assert_eq!(plan_snapshot(wish, &now), None);
        now.files = true;
        let done =
            SnapshotAction::Set { to: SnapshotStatus::Available, events: vec![Event::SnapshotCreated] };
        assert_eq!(plan_snapshot(wish, &now), Some(done));
        assert_eq!(plan_snapshot(wish, &seen(SnapshotStatus::Available)), None);
    }

    #[test]
    fn a_snapshot_goes_files_first_and_never_while_a_cluster_is_made_from_it() {
        let wish = SnapshotSpec { delete: true };
        let mut now = seen(SnapshotStatus::Deleting);
        (now.files, now.in_use) = (true, true);
        assert_eq!(plan_snapshot(wish, &now), None);
        now.in_use = false;
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Remove));
        now.files = false;
        assert_eq!(
            plan_snapshot(wish, &now),
            Some(SnapshotAction::Remove),
            "what is left of them goes as well"
        );
        now.remains = false;
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::RetireGrant));
        now.grant = false;
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Forget));
    }
}
