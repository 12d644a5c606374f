//! Random histories over a disk that breaks. `STRONGROOM_SEED=n` replays one seed and tells what happened;
//! `STRONGROOM_SEEDS=n` runs so many.

mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::history::History;

const STEPS: usize = 150;
const SEEDS: u64 = 1000;

/// Bytes that the cleaner moved.
fn run(seed: u64, tell: bool) -> u64 {
    let mut history = History::new(seed);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..STEPS {
            history.step();
        }
        history.finish();
    }));
    if let Err(panic) = ran {
        if tell {
            eprintln!("{}", history.told.join("\n"));
        }
        eprintln!("replay with STRONGROOM_SEED={seed}");
        std::panic::resume_unwind(panic);
    }
    history.cleaned
}

#[test]
fn a_volume_agrees_with_a_plain_array_whatever_breaks() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("STRONGROOM_SEED") {
        run(seed, true);
        return;
    }
    let seeds = number("STRONGROOM_SEEDS").unwrap_or(SEEDS);
    let lane = |lane| move || (lane..seeds).step_by(2).map(|seed| run(seed, false)).sum::<u64>();
    let cleaned: u64 = std::thread::scope(|scope| {
        let lanes = [scope.spawn(lane(0)), scope.spawn(lane(1))];
        lanes.into_iter().map(|lane| lane.join().expect("a seed failed")).sum()
    });
    eprintln!("the cleaner moved {cleaned} bytes");
    assert!(seeds < 100 || cleaned > 0, "the cleaner had nothing to do");
}
