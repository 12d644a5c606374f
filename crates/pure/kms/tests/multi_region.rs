//! Whatever happens to related keys, in whatever order: one of them leads, the others share what it has, and a key that
//! can be used has all its material.

use std::{collections::BTreeMap, time::Duration};

use ids::{Region, Timestamp};
use kms::{
    Import, Key, KeyId, KeyName, KeySpec, KeyState, KeyUsage, Manager, MultiRegion, Origin, RotationType,
    Row, must_follow, permits, rotates_together,
};
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PLACES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// From the primary to a place.
    Replicate(usize),
    Settle,
    Move(usize),
    Rotate,
    Schedule(usize),
    Cancel(usize),
    Switch(usize, bool),
    EnableRotation(usize),
    Import(usize, u8, bool),
    DeleteMaterial(usize, u8),
    Days(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || 0..PLACES;
    let step = prop_oneof![
        3 => place().prop_map(Step::Replicate),
        3 => Just(Step::Settle),
        2 => place().prop_map(Step::Move),
        2 => Just(Step::Rotate),
        1 => place().prop_map(Step::Schedule),
        1 => place().prop_map(Step::Cancel),
        2 => (place(), any::<bool>()).prop_map(|(at, on)| Step::Switch(at, on)),
        1 => place().prop_map(Step::EnableRotation),
        4 => (place(), 0..3_u8, any::<bool>()).prop_map(|(at, which, new)| Step::Import(at, which, new)),
        1 => (place(), 0..3_u8).prop_map(|(at, which)| Step::DeleteMaterial(at, which)),
        1 => (1..40_u32).prop_map(Step::Days),
    ];
    prop::collection::vec(step, 0..60)
}

/// Related keys by their place, and the day.
struct Set {
    keys: BTreeMap<usize, Key>,
    now: Timestamp,
    made: u32,
}

fn region(place: usize) -> Region {
    ["eu-west-1", "us-west-2", "ap-south-1"][place].parse().unwrap()
}

impl Set {
    fn new(origin: Origin) -> Self {
        let name = KeyName {
            account: "111122223333".parse().unwrap(),
            region: region(0),
            id: KeyId::multi_region_from_random([9; 16]),
        };
        let (kind, now) = ((KeySpec::Symmetric, KeyUsage::EncryptDecrypt), Timestamp::from_millis(0));
        let mut key = match origin {
            Origin::AwsKms => Key::new(name, kind, Manager::Customer, now, String::new(), "own-0".into()),
            Origin::External => Key::external(name, kind, now, String::new()),
            Origin::ExternalKeyStore => unreachable!("keys in key stores have one region"),
        };
        key.multi_region = Some(MultiRegion::Primary);
        Self { keys: BTreeMap::from([(0, key)]), now, made: 0 }
    }

    fn lead(&self) -> Option<usize> {
        self.keys.iter().find(|(_, key)| !key.is_replica()).map(|(place, _)| *place)
    }

    /// Changes a key, and its replicas where they have to follow.
    fn change<T>(&mut self, place: usize, change: impl FnOnce(&mut Key) -> T) -> Option<T> {
        let before = self.keys.get(&place)?.clone();
        let mut after = before.clone();
        let told = change(&mut after);
        if must_follow(&before, &after) {
            let others = self.keys.iter_mut().filter(|(other, _)| **other != place);
            others.for_each(|(_, key)| key.adopt(&after));
        }
        self.keys.insert(place, after);
        Some(told)
    }

    fn step(&mut self, step: Step) {
        let (now, lead) = (self.now, self.lead());
        match step {
            Step::Replicate(place) => {
                let Some(primary) = lead.map(|lead| &self.keys[&lead]) else { return };
                let replica = primary.replicate(&region(place), now, String::new());
                if let Ok(replica) = replica {
                    self.keys.entry(place).or_insert(replica);
                }
            }
            Step::Settle => self.keys.values_mut().for_each(Key::settle),
            Step::Move(place) => {
                let Some(lead) = lead.filter(|lead| *lead != place) else { return };
                let (mut down, Some(mut up)) = (self.keys[&lead].clone(), self.keys.get(&place).cloned())
                else {
                    return;
                };
                if down.step_down().is_ok() && up.step_up().is_ok() {
                    self.keys.extend([(lead, down), (place, up)]);
                }
            }
            Step::Rotate => {
                let Some(lead) = lead else { return };
                let may = self.keys[&lead].may_rotate_on_demand(25).is_ok();
                if !may || !rotates_together(self.keys.values()) {
                    return;
                }
                self.made += 1;
                let id = format!("own-{}", self.made);
                self.change(lead, |key| match key.origin {
                    Origin::AwsKms => key.rotate(id, RotationType::OnDemand, now),
                    Origin::External => key.rotate_to_pending(now).unwrap(),
                    Origin::ExternalKeyStore => unreachable!("keys in key stores have no rotations"),
                });
            }
            Step::Schedule(place) => {
                let has_replicas = lead == Some(place) && self.keys.len() > 1;
                let _ = self.change(place, |key| key.schedule_deletion(Some(7), has_replicas, now));
            }
            Step::Cancel(place) => drop(self.change(place, Key::cancel_deletion)),
            Step::Switch(place, on) => {
                let _ = self.change(place, |key| if on { key.enable() } else { key.disable() });
            }
            Step::EnableRotation(place) => drop(self.change(place, |key| key.enable_rotation(None, now))),
            Step::Import(place, which, new) => {
                let import = Import { expires: None, description: None, present: true };
                let _ = self.change(place, |key| key.import(&format!("import-{which}"), import, new));
            }
            Step::DeleteMaterial(place, which) => {
                let _ = self.change(place, |key| key.delete_material(Some(&format!("import-{which}"))));
            }
            Step::Days(days) => {
                self.now = now.plus(DAY * days);
                let due: Vec<_> = self.keys.iter().filter(|(_, key)| key.deletion_due(self.now)).collect();
                let due: Vec<usize> = due.into_iter().map(|(place, _)| *place).collect();
                for place in due {
                    assert!(self.keys[&place].is_replica() || self.keys.len() == 1, "a primary goes last");
                    self.keys.remove(&place);
                    if let [last] = self.keys.values_mut().collect::<Vec<_>>().as_mut_slice() {
                        last.replicas_are_gone(self.now);
                    }
                }
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let Some(lead) = self.lead() else {
            prop_assert!(self.keys.is_empty(), "replicas without a primary");
            return Ok(());
        };
        let primary = &self.keys[&lead];
        let ids = |key: &Key| {
            let rotated = key.materials.iter().map(|m| (m.id.clone(), m.rotated)).collect::<Vec<_>>();
            (rotated, key.pending.as_ref().map(|m| m.id.clone()))
        };
        for (place, key) in &self.keys {
            prop_assert_eq!(&key.name, &primary.name.in_region(&region(*place)));
            prop_assert_eq!(key.is_replica(), *place != lead, "one leads");
            prop_assert_eq!(key.rotation, primary.rotation);
            prop_assert_eq!(ids(key), ids(primary));
            prop_assert_eq!((key.kind(), key.origin), (primary.kind(), primary.origin));
            let usable = permits(Row::Cryptography, key.state).is_ok();
            prop_assert!(!usable || key.is_complete() || key.state == KeyState::Updating);
            prop_assert_eq!(key.deletion.is_some(), key.state == KeyState::PendingDeletion);
            prop_assert_eq!(key.deletion_window.is_some(), key.state == KeyState::PendingReplicaDeletion);
            let waits = key.state == KeyState::PendingReplicaDeletion;
            prop_assert!(!waits || *place == lead && self.keys.len() > 1);
            prop_assert!(!key.is_replica() || !key.rotation_due(self.now.plus(DAY * 4000)));
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn one_key_leads_and_the_others_share_what_it_has(
        origin in prop::sample::select(vec![Origin::AwsKms, Origin::External]),
        steps in steps(),
    ) {
        let mut set = Set::new(origin);
        for step in steps {
            set.step(step);
            set.check()?;
        }
    }
}
