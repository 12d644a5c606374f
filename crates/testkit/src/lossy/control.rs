//! The store as a program: `lossy-store BACKING MOUNTPOINT`, then one order a line, one answer a line.
//!
//! | Order | |
//! |---|---|
//! | `cut` | the power fails now |
//! | `cut-in N OPERATIONS` | it fails in the middle of one of these, after `N` more of them |
//! | `power` | `on` or `off` |
//! | `restart SEED` | the power is back; faults are over; how the cut treated what was not synced |
//! | `fail OPERATIONS AFTER TIMES ERRNO` | after so many, so many fail |
//! | `slow OPERATIONS MICROSECONDS` | each takes so much longer |
//! | `capacity BYTES` | files may take up so much; 0: no limit |
//! | `heal` | faults and delays are over |
//! | `counts` | operations, struck ones, bytes in use |
//! | `recent FILE` | writes what was done last into a file |
//!
//! The mount goes when standard input ends.

use std::{
    fmt::Write,
    io::{self, BufRead},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    disk::Disk,
    faults::{Effect, Operations},
    mount::Mount,
};

/// The store, as its users share it.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mounts a store and obeys until standard input ends.
#[allow(clippy::print_stdout, reason = "the answers")]
pub fn run(arguments: &[String]) -> ExitCode {
    let [backing, target] = arguments else {
        eprintln!("usage: lossy-store BACKING MOUNTPOINT");
        return ExitCode::from(64);
    };
    let shared = Shared(Arc::new(Mutex::new(Disk::new(backing.into()))));
    let mount = match Mount::new(shared.clone(), Path::new(target)) {
        Ok(mount) => mount,
        Err(error) => {
            println!("error {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("ready");
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        match obey(&mut shared.disk(), &words) {
            Ok(answer) => println!("ok {answer}"),
            Err(error) => println!("error {error}"),
        }
    }
    mount.end();
    ExitCode::SUCCESS
}

fn obey(disk: &mut Disk, words: &[&str]) -> Result<String, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("no number: {text}"));
    match words {
        ["cut"] => disk.cut(),
        ["cut-in", after, operations] => {
            disk.faults.add(operations.parse::<Operations>()?, number(after)?, 1, Effect::Cut);
        }
        ["power"] => return Ok(if disk.is_on() { "on" } else { "off" }.into()),
        ["restart", seed] => return disk.restart(number(seed)?).map_err(|error| error.to_string()),
        ["fail", operations, after, times, errno] => {
            let effect = Effect::Fail(number(errno)? as i32);
            disk.faults.add(operations.parse::<Operations>()?, number(after)?, number(times)?, effect);
        }
        ["slow", operations, by] => {
            disk.faults.slow(operations.parse::<Operations>()?, Duration::from_micros(number(by)?));
        }
        ["capacity", bytes] => {
            disk.capacity = Some(number(bytes)?).filter(|bytes| *bytes > 0).unwrap_or(u64::MAX);
        }
        ["heal"] => disk.faults.clear(),
        ["counts"] => {
            let (operations, struck) = disk.counts();
            return Ok(format!("{operations} {struck} {}", disk.used()));
        }
        ["recent", file] => {
            let mut text = String::new();
            disk.recent().for_each(|line| _ = writeln!(text, "{line}"));
            std::fs::write(file, text).map_err(|error| error.to_string())?;
        }
        other => return Err(format!("no such order: {other:?}")),
    }
    Ok(String::new())
}
