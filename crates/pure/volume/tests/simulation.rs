//! Random histories over a disk that breaks. `STRONGROOM_SEED=n` replays one seed and tells what happened;
//! `STRONGROOM_SEEDS=n` runs so many.

mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::history::History;

const STEPS: usize = 150;
const SEEDS: u64 = 1000;

fn run(seed: u64, tell: bool) {
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
}

#[test]
fn a_volume_agrees_with_a_plain_array_whatever_breaks() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("STRONGROOM_SEED") {
        return run(seed, true);
    }
    let seeds = number("STRONGROOM_SEEDS").unwrap_or(SEEDS);
    std::thread::scope(|scope| {
        for lane in 0..2 {
            scope.spawn(move || (lane..seeds).step_by(2).for_each(|seed| run(seed, false)));
        }
    });
}
