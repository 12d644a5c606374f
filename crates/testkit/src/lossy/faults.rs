//! What goes wrong, when, and how often.

use std::{str::FromStr, time::Duration};

/// A kind of operation on the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    Read,
    Write,
    Sync,
    Create,
    Allocate,
    Truncate,
    Rename,
    Link,
    Remove,
    SyncDirectory,
}

const NAMES: [(&str, Operation); 10] = [
    ("read", Operation::Read),
    ("write", Operation::Write),
    ("sync", Operation::Sync),
    ("create", Operation::Create),
    ("allocate", Operation::Allocate),
    ("truncate", Operation::Truncate),
    ("rename", Operation::Rename),
    ("link", Operation::Link),
    ("remove", Operation::Remove),
    ("sync-directory", Operation::SyncDirectory),
];

/// Which operations: a name, several with `+` between them, `change` (all but reads) or `any`.
#[derive(Clone, Debug)]
pub struct Operations(Vec<Operation>);

impl FromStr for Operations {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = NAMES.iter().map(|(_, operation)| *operation);
        match text {
            "any" => Ok(Self(all.collect())),
            "change" => Ok(Self(all.filter(|operation| *operation != Operation::Read).collect())),
            _ => text
                .split('+')
                .map(|part| named(part).ok_or(format!("no operation {part}")))
                .collect::<Result<_, _>>()
                .map(Self),
        }
    }
}

fn named(text: &str) -> Option<Operation> {
    NAMES.iter().find(|(name, _)| *name == text).map(|(_, operation)| *operation)
}

/// What happens to an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It fails with this number, having done a part of its work.
    Fail(i32),
    /// The power fails in the middle of it.
    Cut,
}

#[derive(Clone, Debug)]
struct Rule<T> {
    operations: Operations,
    /// So many of them go well first.
    after: u64,
    /// So many are struck then.
    times: u64,
    effect: T,
}

impl<T: Copy> Rule<T> {
    fn strike(&mut self, operation: Operation) -> Option<T> {
        if !self.operations.0.contains(&operation) {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.effect)
    }
}

#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<Rule<Effect>>,
    delays: Vec<Rule<Duration>>,
    /// How often anything but a delay has struck.
    pub struck: u64,
}

impl Faults {
    /// Strikes `times` operations after the next `after` ones.
    pub fn add(&mut self, operations: Operations, after: u64, times: u64, effect: Effect) {
        self.rules.push(Rule { operations, after, times, effect });
    }

    /// Makes operations slow until [`Faults::clear`].
    pub fn slow(&mut self, operations: Operations, by: Duration) {
        self.delays.push(Rule { operations, after: 0, times: u64::MAX, effect: by });
    }

    pub fn clear(&mut self) {
        self.rules.clear();
        self.delays.clear();
    }

    /// What happens to an operation.
    pub fn strike(&mut self, operation: Operation) -> Option<Effect> {
        let effect = self.rules.iter_mut().find_map(|rule| rule.strike(operation));
        self.struck += u64::from(effect.is_some());
        effect
    }

    /// How long an operation is delayed.
    pub fn strike_delay(&mut self, operation: Operation) -> Duration {
        self.delays.iter_mut().filter_map(|rule| rule.strike(operation)).sum()
    }
}
