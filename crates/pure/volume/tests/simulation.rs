//! Random histories over a disk that breaks. `STRONGROOM_SEEDS=n` runs so many, from `STRONGROOM_FIRST_SEED` on.
//!
//! A seed that fails is shortened: the fewest steps after which the volume is found to be wrong, a crash and a look at
//! everything included. `STRONGROOM_SEED=n STRONGROOM_STEPS=n` replays exactly that, and tells what happened.

mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::history::History;

const STEPS: usize = 150;
const SEEDS: u64 = 1000;

/// Bytes that the cleaner moved, copies that were refused, and generations that were dropped; or what happened, if the
/// volume is wrong.
fn replay(seed: u64, steps: usize) -> Result<[u64; 3], Vec<String>> {
    let mut history = History::new(seed);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            history.step();
        }
        history.finish();
    }));
    match ran {
        Ok(()) => Ok([history.cleaned, history.refused, history.renewed]),
        Err(_) => Err(history.told),
    }
}

fn run(seed: u64) -> [u64; 3] {
    replay(seed, STEPS).unwrap_or_else(|_| {
        eprintln!("seed {seed} fails; shorter histories of it:");
        let steps = (0..STEPS).find(|steps| replay(seed, *steps).is_err()).unwrap_or(STEPS);
        panic!("replay with STRONGROOM_SEED={seed} STRONGROOM_STEPS={steps}");
    })
}

#[test]
fn a_volume_agrees_with_a_plain_array_whatever_breaks() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("STRONGROOM_SEED") {
        let steps = number("STRONGROOM_STEPS").map_or(STEPS, |steps| steps as usize);
        if let Err(told) = replay(seed, steps) {
            panic!("seed {seed}, {steps} steps:\n{}", told.join("\n"));
        }
        return;
    }
    let seeds = number("STRONGROOM_SEEDS").unwrap_or(SEEDS);
    let first = number("STRONGROOM_FIRST_SEED").unwrap_or(0);
    let add = |a: [u64; 3], b: [u64; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
    let lane = |lane| move || (lane..seeds).step_by(2).map(|seed| run(first + seed)).fold([0; 3], add);
    let [cleaned, refused, renewed] = std::thread::scope(|scope| {
        let lanes = [scope.spawn(lane(0)), scope.spawn(lane(1))];
        lanes.into_iter().map(|lane| lane.join().expect("a seed failed")).fold([0; 3], add)
    });
    eprintln!("the cleaner moved {cleaned} bytes, {refused} old copies were refused, {renewed} keys retired");
    assert!(seeds < 100 || cleaned > 0, "the cleaner had nothing to do");
    assert!(seeds < 100 || refused > 0, "no copy was old");
    assert!(seeds < 100 || renewed > 0, "no renewal came to its end");
}
