//! Whatever the state, whatever dies when: the plan leads to the wish, and on the way never opens what must stay shut.

use std::{collections::BTreeMap, time::Duration};

use clusters::{
    Access, Action, ClusterSeen, ClusterSpec, ClusterStatus, Goal, Holder, InstanceResourceId,
    InstanceStatus, MemberSeen, MemberSpec, Process, plan,
};
use ids::Timestamp;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn id(n: u8) -> InstanceResourceId {
    format!("db-{}", char::from(b'A' + n)).parse().expect("a resource id")
}

/// The world and the records, as one executor at a time changes them.
#[derive(Clone, Debug)]
struct World {
    spec: ClusterSpec,
    seen: ClusterSeen,
    gone: bool,
}

impl World {
    /// Executes an action as the shell does; each touches either the world or the records, so that a death between
    /// any two actions is a death between any two calls of this.
    fn act(&mut self, action: &Action) {
        self.check(action);
        let seen = &mut self.seen;
        match action {
            Action::CloneVolume => seen.volume = true,
            Action::MarkInitialised => seen.initialised = true,
            Action::Spawn(id) => member(seen, id).process = Process::Idle,
            Action::Open(id) => {
                seen.volume = true;
                member(seen, id).process = Process::Opening;
            }
            Action::Stop(id) => member(seen, id).process = Process::Stopping,
            Action::Lock(id) | Action::Kill(id) => member(seen, id).process = Process::Absent,
            Action::RemoveVolume => (seen.volume, seen.remains) = (false, false),
            Action::RetireGrant(Holder::Cluster) => seen.grant = false,
            Action::RetireGrant(Holder::Member(id)) => member(seen, id).grant = false,
            Action::ClearReboot(id) => self.spec.members.get_mut(id).expect("a member").reboot = false,
            Action::Restart => self.spec.goal = Goal::Run,
            Action::SetCluster { to, .. } => {
                assert_ne!(seen.status, *to, "a status is set once");
                seen.status = *to;
            }
            Action::SetMember { id, to, .. } => {
                assert_ne!(member(seen, id).status, *to, "a status is set once");
                member(seen, id).status = *to;
            }
            Action::Forget { holder: Holder::Member(id), .. } => {
                seen.members.remove(id);
                self.spec.members.remove(id);
            }
            Action::Forget { holder: Holder::Cluster, .. } => self.gone = true,
        }
    }

    fn check(&self, action: &Action) {
        let lost = self.spec.access != Access::Held || self.seen.status == ClusterStatus::Inaccessible;
        match action {
            Action::Open(id) => {
                assert!(!lost, "opened without access");
                let wish = self.spec.members.get(id).expect("opened an unknown instance");
                assert!(!wish.delete && self.spec.goal == Goal::Run, "opened what is not wished for");
                let others = self.seen.members.iter().filter(|(other, _)| *other != id);
                let holds = |p: Process| !matches!(p, Process::Absent | Process::Idle);
                assert!(!others.map(|(_, m)| m.process).any(holds), "two processes on one volume");
                assert!(self.seen.volume || !self.spec.restored || self.seen.initialised);
            }
            Action::Forget { holder: Holder::Member(id), .. } => {
                let member = &self.seen.members[id];
                assert_eq!(member.process, Process::Absent, "left a running instance");
                assert!(!member.grant, "left a grant");
            }
            Action::Forget { holder: Holder::Cluster, .. } => {
                assert!(self.seen.members.values().all(|m| m.process == Process::Absent));
                assert!(self.spec.members.is_empty() && !self.seen.remains && !self.seen.grant);
            }
            Action::CloneVolume => assert!(!self.seen.initialised, "cloned over what was lost"),
            Action::RemoveVolume => {
                assert!(self.seen.members.values().all(|m| m.process == Process::Absent));
                assert!(!self.seen.snapshots_pending, "removed what a snapshot still needs");
            }
            _ => (),
        }
    }

    /// What happens by itself.
    fn drift(&mut self, dice: u8) {
        self.seen.snapshots_pending &= !dice.is_multiple_of(4);
        for (n, member) in self.seen.members.values_mut().enumerate() {
            let dice = dice.rotate_left(u32::try_from(n).expect("few") * 3);
            member.process = match member.process {
                Process::Opening if dice.is_multiple_of(3) => Process::Broken,
                Process::Opening if dice.is_multiple_of(2) => Process::Serving,
                Process::Stopping if dice.is_multiple_of(2) => Process::Absent,
                as_before => as_before,
            };
        }
    }

    /// A process dies by itself, or an action's effect is there although its executor is not any more.
    fn accident(&mut self, dice: u8) {
        let n = usize::from(dice) % 4;
        if let Some(member) = self.seen.members.values_mut().nth(n) {
            member.process = if dice & 0x80 == 0 { Process::Absent } else { Process::Broken };
        }
    }

    fn settle(&mut self) {
        self.seen.snapshots_pending = false;
        for member in self.seen.members.values_mut() {
            match member.process {
                Process::Opening => member.process = Process::Serving,
                Process::Stopping => member.process = Process::Absent,
                _ => (),
            }
        }
    }

    fn fulfilled(&self) -> bool {
        let seen = &self.seen;
        let lost = self.spec.access != Access::Held || seen.status == ClusterStatus::Inaccessible;
        let all = |status, process| seen.members.values().all(|m| m.status == status && m.process == process);
        let recoverable = InstanceStatus::InaccessibleRecoverable;
        if self.gone {
            return self.spec.goal == Goal::Delete;
        }
        self.spec.members.keys().eq(seen.members.keys())
            && match (self.spec.goal, lost) {
                (Goal::Delete, _) => false,
                (_, true) => match seen.status {
                    ClusterStatus::Inaccessible => all(InstanceStatus::Inaccessible, Process::Absent),
                    ClusterStatus::InaccessibleRecoverable => all(recoverable, Process::Absent),
                    _ => false,
                },
                (Goal::Run, _) => {
                    seen.status == ClusterStatus::Available
                        && (seen.initialised || seen.members.is_empty())
                        && seen.members.values().filter(|m| m.process == Process::Serving).count()
                            == seen.members.len().min(1)
                }
                (Goal::Stop, _) => {
                    seen.status == ClusterStatus::Stopped && all(InstanceStatus::Stopped, Process::Absent)
                }
            }
    }
}

fn member<'a>(seen: &'a mut ClusterSeen, id: &InstanceResourceId) -> &'a mut MemberSeen {
    seen.members.get_mut(id).expect("an action is about an instance that was seen")
}

fn process() -> impl Strategy<Value = Process> {
    use Process::*;
    prop::sample::select(vec![Absent, Idle, Opening, Serving, Stopping, Broken])
}

fn members() -> impl Strategy<Value = Vec<(MemberSpec, MemberSeen, bool)>> {
    let status = prop::sample::select(InstanceStatus::ALL.to_vec());
    let wish = (any::<bool>(), any::<bool>()).prop_map(|(delete, reboot)| MemberSpec { delete, reboot });
    let flags = any::<[bool; 3]>();
    let seen = (status, flags, process(), 0..9_u32).prop_map(|(status, flags, process, failures)| {
        let [grant, full, refused] = flags;
        MemberSeen { status, grant, process, failures, retry_at: None, full, refused }
    });
    prop::collection::vec((wish, seen, prop::bool::weighted(0.9)), 0..4)
}

fn world() -> impl Strategy<Value = World> {
    let goal = prop::sample::select(vec![Goal::Run, Goal::Stop, Goal::Delete]);
    let lost = prop_oneof![
        Just(Access::Held),
        (0..20_u64).prop_map(|days| Access::Lost { since: NOW.minus(Duration::from_secs(days * 86_400)) })
    ];
    let status = prop::sample::select(ClusterStatus::ALL.to_vec());
    let flags = any::<[bool; 5]>();
    (goal, lost, status, flags, members()).prop_map(|(goal, access, status, flags, list)| {
        let [initialised, volume, grant, snapshots_pending, restored] = flags;
        let list: Vec<_> = list.into_iter().zip(0..).collect();
        // The API takes one instance that stays; others may be on their way out, or known to nobody.
        let kept = list.iter().position(|((wish, _, known), _)| *known && !wish.delete);
        let wishes =
            list.iter().enumerate().filter(|(_, ((.., known), _))| *known).map(|(n, ((wish, ..), i))| {
                (id(*i), MemberSpec { delete: wish.delete || Some(n) != kept, ..*wish })
            });
        let spec = ClusterSpec {
            goal,
            access,
            recoverable_for: WEEK,
            restart_at: None,
            restored,
            members: wishes.collect(),
        };
        let members: BTreeMap<_, _> = list.iter().map(|((_, seen, _), n)| (id(*n), *seen)).collect();
        World {
            spec,
            seen: ClusterSeen {
                status,
                initialised,
                volume,
                remains: true,
                grant,
                snapshots_pending,
                members,
            },
            gone: false,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_converges_whatever_dies_on_the_way(
        mut world in world(),
        dice in prop::collection::vec(any::<(u8, u8)>(), 0..60),
    ) {
        // Troubled times: any one of the planned actions is done or none, things drift, processes die.
        for (choice, luck) in dice {
            if world.gone {
                break;
            }
            let actions = plan(&world.spec, &world.seen, NOW);
            if let Some(action) = actions.get(usize::from(choice) % (actions.len() + 1)) {
                world.act(action);
            }
            world.drift(luck);
            if luck > 230 {
                world.accident(choice);
            }
        }
        // Quiet times: it must come to rest, and at the wish.
        for _ in 0..80 {
            if world.gone {
                break;
            }
            world.settle();
            // Processes nobody knows of leave the sight when they are gone.
            let spec = &world.spec;
            world.seen.members.retain(|id, m| spec.members.contains_key(id) || m.process != Process::Absent);
            match plan(&world.spec, &world.seen, NOW).first() {
                Some(action) => world.act(action),
                None => break,
            }
        }
        prop_assert!(world.fulfilled(), "{world:#?}");
        prop_assert!(world.gone || plan(&world.spec, &world.seen, NOW).is_empty());
    }

    #[test]
    fn losing_the_key_shuts_every_process_before_anything_else(mut world in world()) {
        world.spec.access = Access::Lost { since: NOW };
        world.spec.goal = Goal::Run;
        let open = world.seen.members.values().filter(|m| m.process != Process::Absent).count();
        let actions = plan(&world.spec, &world.seen, NOW);
        let ends = actions.iter().filter(|a| matches!(a, Action::Lock(_) | Action::Kill(_))).count();
        prop_assert!(open == 0 || (ends == actions.len() && ends > 0));
    }
}

#[test]
fn a_lost_key_becomes_terminal_after_the_recoverable_days_and_stays_so() {
    let mut world = World {
        spec: ClusterSpec {
            goal: Goal::Run,
            access: Access::Lost { since: NOW },
            recoverable_for: WEEK,
            restart_at: None,
            restored: false,
            members: BTreeMap::new(),
        },
        seen: ClusterSeen {
            status: ClusterStatus::Available,
            initialised: true,
            volume: true,
            remains: true,
            grant: true,
            snapshots_pending: false,
            members: BTreeMap::new(),
        },
        gone: false,
    };
    let step = |world: &mut World, now| {
        let action = plan(&world.spec, &world.seen, now).into_iter().next()?;
        world.act(&action);
        Some(action)
    };
    assert!(matches!(
        step(&mut world, NOW),
        Some(Action::SetCluster { to: ClusterStatus::InaccessibleRecoverable, events }) if events.len() == 2
    ));
    assert_eq!(step(&mut world, NOW.plus(WEEK - Duration::from_millis(1))), None);
    assert!(matches!(
        step(&mut world, NOW.plus(WEEK)),
        Some(Action::SetCluster { to: ClusterStatus::Inaccessible, events }) if events.is_empty()
    ));
    world.spec.access = Access::Held;
    assert_eq!(step(&mut world, NOW), None);
}

#[test]
fn a_cluster_stopped_for_too_long_starts_by_itself() {
    let spec = ClusterSpec {
        goal: Goal::Stop,
        access: Access::Held,
        recoverable_for: WEEK,
        restart_at: Some(NOW),
        restored: false,
        members: BTreeMap::new(),
    };
    let seen = ClusterSeen {
        status: ClusterStatus::Stopped,
        initialised: true,
        volume: true,
        remains: true,
        grant: true,
        snapshots_pending: false,
        members: BTreeMap::new(),
    };
    assert!(plan(&spec, &seen, NOW.minus(Duration::from_secs(1))).is_empty());
    assert_eq!(plan(&spec, &seen, NOW), [Action::Restart]);
}
