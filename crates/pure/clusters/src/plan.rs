//! The next steps for a cluster (design.md §6).
//!
//! INVARIANT: a volume is opened only while access to its key is held, only by one process at a time, and never for an
//! instance that is to be deleted. Whatever runs without being wished for is ended first.

use ids::Timestamp;

use crate::{
    Access, Action, ClusterSeen, ClusterSpec, ClusterStatus, Event, Goal, Holder, InstanceResourceId,
    InstanceStatus, MemberSeen, MemberSpec, Process,
};

/// Starts that may fail before the instance is called failed (it is tried on even then).
const FAILURES_BEFORE_FAILED: u32 = 5;

/// What to do next for a cluster, most urgent first; empty when wish and sight agree or when something under way has to
/// end first. Execute the first, look again, plan again.
pub fn plan(spec: &ClusterSpec, seen: &ClusterSeen, now: Timestamp) -> Vec<Action> {
    let strays = strays_of(spec, seen);
    if !strays.is_empty() {
        return strays;
    }
    let lost = match spec.access {
        Access::Lost { since } => Some(since),
        // Nothing leads out of the terminal state.
        Access::Held if seen.status == ClusterStatus::Inaccessible => Some(now),
        Access::Held => None,
    };
    match (spec.goal, lost) {
        (Goal::Delete, _) => delete(spec, seen, lost.is_some()),
        (_, Some(since)) => lock(spec, seen, since, now),
        (Goal::Run, None) => run(spec, seen, now),
        (Goal::Stop, None) => stop(spec, seen, now),
    }
}

/// Processes that no record knows: they are to be ended.
pub fn strays<'a>(
    known: impl Fn(&InstanceResourceId) -> bool,
    running: impl IntoIterator<Item = &'a InstanceResourceId>,
) -> Vec<InstanceResourceId> {
    running.into_iter().filter(|id| !known(id)).cloned().collect()
}

fn strays_of(spec: &ClusterSpec, seen: &ClusterSeen) -> Vec<Action> {
    let running = seen.members.iter().filter(|(_, member)| member.process != Process::Absent);
    strays(|id| spec.members.contains_key(id), running.map(|(id, _)| id))
        .into_iter()
        .map(Action::Kill)
        .collect()
}

type Member<'a> = (&'a InstanceResourceId, MemberSpec, MemberSeen);

/// Members with a record; one without sight is taken for absent.
fn members<'a>(spec: &'a ClusterSpec, seen: &'a ClusterSeen) -> impl Iterator<Item = Member<'a>> + Clone {
    spec.members.iter().filter_map(|(id, wish)| Some((id, *wish, *seen.members.get(id)?)))
}

fn set_cluster(to: ClusterStatus, events: &[Event]) -> Action {
    Action::SetCluster { to, events: events.to_vec() }
}

fn set_member(id: &InstanceResourceId, to: InstanceStatus, events: &[Event]) -> Action {
    Action::SetMember { id: id.clone(), to, events: events.to_vec() }
}

/// The key is lost: shut everything, then say so.
fn lock(spec: &ClusterSpec, seen: &ClusterSeen, since: Timestamp, now: Timestamp) -> Vec<Action> {
    let open = members(spec, seen).filter(|(_, _, member)| member.process != Process::Absent);
    let mut actions: Vec<_> = open.map(|(id, ..)| Action::Lock(id.clone())).collect();
    if !actions.is_empty() {
        return actions;
    }
    let for_good = seen.status == ClusterStatus::Inaccessible || now.since(since) >= spec.recoverable_for;
    let (cluster, member_status) = if for_good {
        (ClusterStatus::Inaccessible, InstanceStatus::Inaccessible)
    } else {
        (ClusterStatus::InaccessibleRecoverable, InstanceStatus::InaccessibleRecoverable)
    };
    let told = [Event::KeyUnreachable, Event::KeyInaccessible];
    for (id, wish, member) in members(spec, seen) {
        if wish.delete {
            actions.extend(remove_member(id, &member, true));
        } else if wish.reboot {
            actions.push(Action::ClearReboot(id.clone()));
        } else if member.status != member_status {
            let events: &[Event] = if member.status.is_inaccessible() { &[] } else { &told };
            actions.push(set_member(id, member_status, events));
        }
    }
    if seen.status != cluster {
        // A cluster without instances tells it itself.
        let mirrored = spec.members.is_empty() && !seen.status.is_inaccessible();
        actions.push(set_cluster(cluster, if mirrored { &told } else { &[] }));
    }
    actions
}

fn run(spec: &ClusterSpec, seen: &ClusterSeen, now: Timestamp) -> Vec<Action> {
    // A volume that has held a database and is missing is lost: a new clone in its place would hide that.
    if spec.restored && !seen.initialised && !seen.volume {
        return vec![Action::CloneVolume];
    }
    let mut actions = mark_initialised(spec, seen);
    match seen.status {
        ClusterStatus::Creating => {
            actions.push(set_cluster(ClusterStatus::Available, &[Event::ClusterCreated]));
        }
        ClusterStatus::Available | ClusterStatus::Starting | ClusterStatus::Inaccessible => (),
        ClusterStatus::Stopped
        | ClusterStatus::Stopping
        | ClusterStatus::Deleting
        | ClusterStatus::InaccessibleRecoverable => actions.push(set_cluster(ClusterStatus::Starting, &[])),
    }
    let closed = members(spec, seen).all(|(_, _, m)| matches!(m.process, Process::Absent | Process::Idle));
    for (id, wish, member) in members(spec, seen) {
        if wish.delete {
            actions.extend(remove_member(id, &member, false));
        } else {
            actions.extend(run_member(id, wish, &member, closed, now));
        }
    }
    let settled = |m: &MemberSeen| {
        matches!(m.status, InstanceStatus::Available | InstanceStatus::StorageFull | InstanceStatus::Failed)
    };
    let ready = members(spec, seen).all(|(_, wish, member)| wish.delete || settled(&member));
    if seen.status == ClusterStatus::Starting && ready {
        actions.push(set_cluster(ClusterStatus::Available, &[Event::ClusterStarted]));
    }
    actions
}

/// Before anybody is let in: what they write must never be taken for a volume still to be made.
fn mark_initialised(spec: &ClusterSpec, seen: &ClusterSeen) -> Vec<Action> {
    let serves = members(spec, seen).any(|(_, _, member)| member.process == Process::Serving);
    if serves && !seen.initialised { vec![Action::MarkInitialised] } else { Vec::new() }
}

/// `closed`: no process has the cluster's volume open.
fn run_member(
    id: &InstanceResourceId,
    wish: MemberSpec,
    member: &MemberSeen,
    closed: bool,
    now: Timestamp,
) -> Option<Action> {
    use InstanceStatus as S;
    let set = |to, events: &[Event]| Some(set_member(id, to, events));
    match member.process {
        Process::Stopping => None,
        // Told while the process is there, which knows what is wrong.
        Process::Broken if member.refused && member.status != S::Failed => {
            set(S::Failed, &[Event::VolumeRefused])
        }
        Process::Broken => Some(Action::Kill(id.clone())),
        Process::Opening if matches!(member.status, S::Available | S::StorageFull) => {
            set(S::Rebooting, &[Event::InstanceShutdown])
        }
        Process::Opening => None,
        Process::Serving if wish.reboot && member.status != S::Rebooting => {
            set(S::Rebooting, &[Event::InstanceShutdown])
        }
        Process::Serving if wish.reboot => Some(Action::Stop(id.clone())),
        Process::Serving => match member.status {
            S::Available if member.full => set(S::StorageFull, &[Event::StorageFull]),
            S::StorageFull if !member.full => set(S::Available, &[Event::StorageFreed]),
            S::Available | S::StorageFull => None,
            S::Creating => set(S::Available, &[Event::InstanceCreated]),
            S::Rebooting | S::Failed => set(S::Available, &[Event::InstanceRestarted]),
            S::Starting
            | S::Stopped
            | S::Stopping
            | S::Deleting
            | S::Inaccessible
            | S::InaccessibleRecoverable => set(S::Available, &[Event::InstanceStarted]),
        },
        Process::Absent | Process::Idle if wish.reboot => Some(Action::ClearReboot(id.clone())),
        Process::Absent | Process::Idle => match member.status {
            // It went down by itself.
            S::Available | S::StorageFull => set(S::Rebooting, &[Event::InstanceShutdown]),
            S::Stopped | S::Stopping | S::Deleting | S::Inaccessible | S::InaccessibleRecoverable => {
                set(S::Starting, &[])
            }
            S::Creating | S::Rebooting | S::Starting if member.failures >= FAILURES_BEFORE_FAILED => {
                set(S::Failed, &[Event::InstanceFailed])
            }
            S::Creating | S::Rebooting | S::Starting | S::Failed => {
                if member.retry_at.is_some_and(|at| now < at) {
                    None
                } else if member.process == Process::Absent {
                    Some(Action::Spawn(id.clone()))
                } else {
                    closed.then(|| Action::Open(id.clone()))
                }
            }
        },
    }
}

fn stop(spec: &ClusterSpec, seen: &ClusterSeen, now: Timestamp) -> Vec<Action> {
    if !matches!(seen.status, ClusterStatus::Stopping | ClusterStatus::Stopped) {
        return vec![set_cluster(ClusterStatus::Stopping, &[])];
    }
    let mut actions = mark_initialised(spec, seen);
    for (id, wish, member) in members(spec, seen) {
        if wish.delete {
            actions.extend(remove_member(id, &member, false));
            continue;
        }
        let ended = matches!(member.status, InstanceStatus::Stopping | InstanceStatus::Stopped);
        match end(id, &member) {
            _ if wish.reboot => actions.push(Action::ClearReboot(id.clone())),
            _ if !ended => actions.push(set_member(id, InstanceStatus::Stopping, &[])),
            End::Do(action) => actions.push(action),
            End::Wait => (),
            End::Done if member.status != InstanceStatus::Stopped => {
                actions.push(set_member(id, InstanceStatus::Stopped, &[Event::InstanceStopped]));
            }
            End::Done => (),
        }
    }
    let all_stopped = members(spec, seen).all(|(_, wish, member)| {
        !wish.delete && member.process == Process::Absent && member.status == InstanceStatus::Stopped
    });
    if all_stopped && seen.status == ClusterStatus::Stopping {
        actions.push(set_cluster(ClusterStatus::Stopped, &[Event::ClusterStopped]));
    }
    if all_stopped && seen.status == ClusterStatus::Stopped && spec.restart_at.is_some_and(|at| now >= at) {
        actions.push(Action::Restart);
    }
    actions
}

fn delete(spec: &ClusterSpec, seen: &ClusterSeen, lost: bool) -> Vec<Action> {
    if seen.status != ClusterStatus::Deleting {
        let mut actions = vec![set_cluster(ClusterStatus::Deleting, &[])];
        if lost {
            let open = members(spec, seen).filter(|(_, _, member)| member.process != Process::Absent);
            actions.splice(0..0, open.map(|(id, ..)| Action::Lock(id.clone())));
        }
        return actions;
    }
    let members: Vec<_> = members(spec, seen).filter_map(|(id, _, m)| remove_member(id, &m, lost)).collect();
    if !members.is_empty() || !spec.members.is_empty() {
        return members;
    }
    if seen.snapshots_pending {
        Vec::new()
    } else if seen.remains {
        vec![Action::RemoveVolume]
    } else if seen.grant {
        vec![Action::RetireGrant(Holder::Cluster)]
    } else {
        vec![Action::Forget { holder: Holder::Cluster, events: vec![Event::ClusterDeleted] }]
    }
}

fn remove_member(id: &InstanceResourceId, member: &MemberSeen, lost: bool) -> Option<Action> {
    if lost && member.process != Process::Absent {
        return Some(Action::Lock(id.clone()));
    }
    if member.status != InstanceStatus::Deleting {
        return Some(set_member(id, InstanceStatus::Deleting, &[]));
    }
    match end(id, member) {
        End::Do(action) => Some(action),
        End::Wait => None,
        End::Done if member.grant => Some(Action::RetireGrant(Holder::Member(id.clone()))),
        End::Done => {
            Some(Action::Forget { holder: Holder::Member(id.clone()), events: vec![Event::InstanceDeleted] })
        }
    }
}

enum End {
    Do(Action),
    Wait,
    Done,
}

/// How to bring a process to its end in order.
fn end(id: &InstanceResourceId, member: &MemberSeen) -> End {
    match member.process {
        Process::Absent => End::Done,
        Process::Stopping => End::Wait,
        Process::Serving => End::Do(Action::Stop(id.clone())),
        // Nothing that anyone was told of can be lost.
        Process::Opening => End::Do(Action::Lock(id.clone())),
        Process::Idle | Process::Broken => End::Do(Action::Kill(id.clone())),
    }
}
