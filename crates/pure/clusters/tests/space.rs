//! What a file system promises, the host can store, whatever happens to either.

use clusters::{SpaceLimits, SpaceSeen, plan_space};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn limits() -> impl Strategy<Value = SpaceLimits> {
    (1..64_u64, 1..32_u64, 1..2048_u64, 0..4096_u64).prop_map(|(first, step, largest, reserve)| SpaceLimits {
        first: first * GIB,
        step: step * GIB,
        largest: largest * GIB,
        reserve: reserve * MIB,
    })
}

fn seen() -> impl Strategy<Value = SpaceSeen> {
    let size = 0..512 * GIB;
    (size.clone(), size.clone(), size.clone(), size, 0..9_u64, any::<bool>()).prop_map(
        |(used, free, held, host_free, volumes, full)| SpaceSeen {
            device: (used + free) / (64 * MIB) * (64 * MIB),
            used,
            free,
            held,
            host_free,
            volumes,
            full,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_that_is_promised_can_be_stored_beside_the_reserve(limits in limits(), seen in seen()) {
        let plan = plan_space(&limits, &seen);
        prop_assert!(plan.withhold <= seen.free);
        let promised = seen.free - plan.withhold + seen.used.saturating_sub(seen.held);
        // What was promised before cannot be taken back.
        let before = seen.used.saturating_sub(seen.held);
        let storable = seen.host_free.saturating_sub(limits.reserve) / seen.volumes.max(1);
        prop_assert!(promised <= storable.max(before), "{plan:?}");
    }

    #[test]
    fn a_device_grows_within_its_limit_and_by_what_the_host_has(limits in limits(), seen in seen()) {
        if let Some(size) = plan_space(&limits, &seen).grow_to {
            prop_assert!(size > seen.device && size <= limits.largest);
            prop_assert!(size - seen.device <= limits.step.max(seen.device / 8));
            prop_assert!(size - seen.device <= seen.host_free.saturating_sub(limits.reserve));
        }
    }

    #[test]
    fn several_volumes_that_take_all_they_may_leave_the_reserve(
        limits in limits(),
        host in 0..64 * GIB,
        takes in prop::collection::vec((0..4_usize, any::<u8>()), 0..60),
    ) {
        const VOLUMES: usize = 4;
        let mut host_free = host;
        let mut used = [0_u64; VOLUMES];
        for (volume, part) in takes {
            // Every volume looks, and then one writes as much as it then may, or less.
            let seen = SpaceSeen {
                device: limits.first,
                used: used[volume],
                free: limits.first.saturating_sub(used[volume]),
                held: used[volume],
                host_free,
                volumes: VOLUMES as u64,
                full: false,
            };
            let taken = (seen.free - plan_space(&limits, &seen).withhold) / 255 * u64::from(part);
            used[volume] += taken;
            host_free -= taken;
        }
        prop_assert!(host_free >= limits.reserve.min(host));
    }

    #[test]
    fn a_volume_that_fills_its_host_ends_full_and_goes_on_once_there_is_space(
        limits in limits(),
        host in 1..32 * GIB,
        bursts in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut seen = SpaceSeen { device: limits.first, free: limits.first, volumes: 1, ..SpaceSeen::default() };
        seen.host_free = limits.reserve + host;
        for burst in bursts.into_iter().chain([255; 400]) {
            let plan = plan_space(&limits, &seen);
            seen.full = plan.full;
            if let Some(size) = plan.grow_to {
                seen.free += size - seen.device;
                seen.device = size;
                continue;
            }
            let taken = ((seen.free - plan.withhold) / 4 * u64::from(burst) / 255).max(1).min(seen.free);
            seen.used += taken;
            seen.free -= taken;
            seen.held = seen.used;
            seen.host_free -= taken.min(seen.host_free);
        }
        prop_assert!(seen.full, "{seen:?}");
        seen.host_free += 4 * GIB;
        let plan = plan_space(&limits, &seen);
        let at_its_limit = seen.device >= limits.largest / (64 * MIB) * (64 * MIB) && seen.free < 32 * MIB;
        prop_assert!(!plan.full || at_its_limit, "{plan:?} {seen:?}");
    }
}
