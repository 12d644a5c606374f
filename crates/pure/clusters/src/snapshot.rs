//! The next steps for a snapshot, which lives on when its cluster is gone.

use crate::{Event, InstanceResourceId, SnapshotStatus};

/// The wish for one snapshot.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SnapshotSpec {
    pub delete: bool,
    /// It is to be in the object store too, before it counts as taken or, if it was taken earlier, some time.
    pub upload: bool,
}

/// Where the blocks of a snapshot would come from now; of a copy, whether its source is there ([`Source::Closed`]).
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
    /// The object store has it, all of it.
    pub uploaded: bool,
    /// Something of it may be here or there: until it has been removed.
    pub remains: bool,
    /// The key service still has a grant for it.
    pub grant: bool,
    pub source: Source,
    /// A cluster or a copy is being made from it.
    pub in_use: bool,
}

/// A step for a snapshot. Each may be repeated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SnapshotAction {
    /// Link the volume's segments, through its process if one has it open.
    Take { through: Option<InstanceResourceId> },
    /// Begin, or go on, to copy another snapshot.
    Copy,
    /// Begin, or go on, to bring it into the object store, and note when that is done.
    Upload,
    /// Remove its files, all of them or not, here and in the object store, and note that it is done.
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
    let upload = seen.files && spec.upload && !seen.uploaded;
    if !seen.status.is_unfinished() {
        // One that was taken before there was a store.
        return (upload && seen.status == SnapshotStatus::Available).then_some(SnapshotAction::Upload);
    }
    if upload {
        return Some(SnapshotAction::Upload);
    }
    if seen.files || seen.uploaded {
        return set(SnapshotStatus::Available, &[Event::SnapshotCreated]);
    }
    match &seen.source {
        Source::Gone => set(SnapshotStatus::Failed, &[]),
        _ if seen.status == SnapshotStatus::Copying => Some(SnapshotAction::Copy),
        Source::Serving(id) => Some(SnapshotAction::Take { through: Some(id.clone()) }),
        Source::Closed => Some(SnapshotAction::Take { through: None }),
        Source::Busy => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: SnapshotStatus) -> SnapshotSeen {
        SnapshotSeen {
            status,
            files: false,
            uploaded: false,
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
    fn with_a_store_a_snapshot_is_available_once_it_is_there() {
        let wish = SnapshotSpec { upload: true, delete: false };
        let mut now = seen(SnapshotStatus::Creating);
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Take { through: None }));
        now.files = true;
        now.source = Source::Gone;
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Upload));
        now.uploaded = true;
        let done =
            SnapshotAction::Set { to: SnapshotStatus::Available, events: vec![Event::SnapshotCreated] };
        assert_eq!(plan_snapshot(wish, &now), Some(done.clone()));
        now.files = false;
        assert_eq!(plan_snapshot(wish, &now), Some(done), "its files here may be lost by then");
    }

    #[test]
    fn a_snapshot_that_was_taken_before_there_was_a_store_is_uploaded_and_stays_available() {
        let wish = SnapshotSpec { upload: true, delete: false };
        let mut now = seen(SnapshotStatus::Available);
        assert_eq!(plan_snapshot(wish, &now), None, "its files are lost");
        now.files = true;
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Upload));
        assert_eq!(plan_snapshot(SnapshotSpec::default(), &now), None);
        now.uploaded = true;
        assert_eq!(plan_snapshot(wish, &now), None);
        now.uploaded = false;
        now.status = SnapshotStatus::Failed;
        assert_eq!(plan_snapshot(wish, &now), None);
    }

    #[test]
    fn a_copy_is_made_of_its_source_alone_and_uploaded_as_any_other() {
        let wish = SnapshotSpec { upload: true, delete: false };
        let mut now = seen(SnapshotStatus::Copying);
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Copy));
        now.source = Source::Gone;
        let failed = SnapshotAction::Set { to: SnapshotStatus::Failed, events: Vec::new() };
        assert_eq!(plan_snapshot(wish, &now), Some(failed));
        now.files = true;
        assert_eq!(plan_snapshot(wish, &now), Some(SnapshotAction::Upload));
    }

    #[test]
    fn a_snapshot_goes_files_first_and_never_while_a_cluster_is_made_from_it() {
        let wish = SnapshotSpec { delete: true, upload: true };
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
