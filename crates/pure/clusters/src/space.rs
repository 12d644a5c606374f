//! How much of a volume its file system may promise to the database (design.md §7): only what the host can store. What
//! the host cannot store is withheld from the file system, so that a full host is `ENOSPC` to whoever asks for more
//! room, and never a write that was promised and fails. Sizes are bytes.

use serde::{Deserialize, Serialize};

/// What an operator allows a volume.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SpaceLimits {
    /// Size of a new volume's device.
    pub first: u64,
    /// By how much a device grows: no more than its size, no less than an eighth of it.
    pub step: u64,
    /// The largest that a device becomes.
    pub largest: u64,
    /// What stays free on the host: overwritten blocks take space until the cleaner has given theirs back.
    pub reserve: u64,
}

impl Default for SpaceLimits {
    fn default() -> Self {
        Self { first: 64 << 30, step: 16 << 30, largest: 64 << 40, reserve: 1 << 30 }
    }
}

/// What is seen of a volume and of the host that it lies on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpaceSeen {
    /// Size of the device.
    pub device: u64,
    /// What the file system has given to files.
    pub used: u64,
    /// What it has not, what is withheld from it included.
    pub free: u64,
    /// What the device holds: it is on the host already.
    pub held: u64,
    /// What is free on the host.
    pub host_free: u64,
    /// Volumes that lie on the host, this one included.
    pub volumes: u64,
    /// It was full at the last look.
    pub full: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpacePlan {
    /// What the file system must not give away.
    pub withhold: u64,
    /// The size to which the device grows, first.
    pub grow_to: Option<u64>,
    /// The database finds no room for more.
    pub full: bool,
}

/// Sizes to which devices grow are multiples of it.
const UNIT: u64 = 64 << 20;
/// With less than this the volume counts as full, until there is twice as much.
const FULL: u64 = 16 << 20;

/// What the file system may still give away is what the host can store beyond what was given away already and has not
/// been written yet. It is shared with the other volumes of the host, and a sixteenth of it is for the nodes of the
/// tree, heads of records and checkpoints.
pub fn plan_space(limits: &SpaceLimits, seen: &SpaceSeen) -> SpacePlan {
    let storable = seen.host_free.saturating_sub(limits.reserve) / seen.volumes.max(1) / 16 * 15;
    let room = storable.saturating_sub(seen.used.saturating_sub(seen.held));
    let grow_to = grow_to(limits, seen, room);
    let withhold = seen.free.saturating_sub(room);
    let least = if seen.full { 2 * FULL } else { FULL };
    let full = grow_to.is_none() && seen.free - withhold < least;
    SpacePlan { withhold, grow_to, full }
}

/// The device grows when the file system runs short of space that the host has.
fn grow_to(limits: &SpaceLimits, seen: &SpaceSeen, room: u64) -> Option<u64> {
    let step = limits.step.min(seen.device).max(seen.device / 8);
    if seen.free > step / 2 {
        return None;
    }
    let wished = seen.device.saturating_add(step.min(room.saturating_sub(seen.free)));
    let size = wished.min(limits.largest) / UNIT * UNIT;
    (size > seen.device).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn seen(used: u64, free: u64, held: u64, host_free: u64) -> SpaceSeen {
        SpaceSeen { device: used + free, used, free, held, host_free, volumes: 1, full: false }
    }

    fn plan(seen: &SpaceSeen) -> SpacePlan {
        plan_space(&SpaceLimits::default(), seen)
    }

    #[test]
    fn with_space_on_the_host_nothing_is_withheld() {
        let done = plan(&seen(10 * GIB, 54 * GIB, 10 * GIB, 1000 * GIB));
        assert_eq!(done, SpacePlan::default());
    }

    #[test]
    fn what_was_given_away_and_not_written_yet_counts_as_taken() {
        let written = plan(&seen(10 * GIB, 54 * GIB, 10 * GIB, 17 * GIB));
        let unwritten = plan(&seen(10 * GIB, 54 * GIB, 4 * GIB, 17 * GIB));
        assert_eq!(written.withhold, 54 * GIB - 15 * GIB);
        assert_eq!(unwritten.withhold, 54 * GIB - 9 * GIB);
    }

    #[test]
    fn a_host_without_space_is_a_full_volume_until_there_is_some_again() {
        let mut host = seen(10 * GIB, 54 * GIB, 10 * GIB, GIB + MIB);
        assert!(plan(&host).full);
        host.full = true;
        host.host_free = GIB + 24 * MIB;
        assert!(plan(&host).full);
        host.host_free = GIB + 64 * MIB;
        assert!(!plan(&host).full);
    }

    #[test]
    fn a_device_grows_in_steps_and_no_further_than_the_host_has_space() {
        assert_eq!(plan(&seen(60 * GIB, 4 * GIB, 60 * GIB, 1000 * GIB)).grow_to, Some(80 * GIB));
        assert_eq!(plan(&seen(798 * GIB, 2 * GIB, 798 * GIB, 1000 * GIB)).grow_to, Some(900 * GIB));
        let short = plan(&seen(60 * GIB, 4 * GIB, 60 * GIB, 9 * GIB));
        assert_eq!(short.grow_to, Some(64 * GIB + 3 * GIB + 512 * MIB));
        assert_eq!(plan(&seen(60 * GIB, 4 * GIB, 60 * GIB, 5 * GIB)).grow_to, None);
    }
}
