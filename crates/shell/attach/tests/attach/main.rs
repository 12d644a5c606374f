//! Attaching with real kernel parts, in real processes: this program is the list of tests, and is also started
//! again by them as an instance process (`instance`) and as a user of the mounted files (`files`).
//!
//! Needs root. Without it, or where the kernel lacks a part, the tests say why and are skipped, unless
//! `STRONGROOM_REQUIRE_ROOT_TESTS=1`.

#![allow(clippy::print_stdout, reason = "the report of the tests and the protocol of the processes")]

mod crash;
mod file_device;
mod files;
mod forbidden;
mod growth;
mod instance;
mod instance_process;
mod lifecycle;
mod locking;
mod memory;
mod refusals;
mod sealed;
mod space;
mod uring;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

/// A name, which is a sentence, and the test.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("instance") => instance_process::run(&arguments[1..]),
        Some("sealed") => sealed::run(&arguments[1..]),
        Some("files") => files::run(&arguments[1..]),
        _ => run_tests(&arguments),
    }
}

fn run_tests(arguments: &[String]) -> ExitCode {
    let carried = [
        lifecycle::TESTS,
        crash::TESTS,
        locking::TESTS,
        growth::TESTS,
        space::TESTS,
        memory::TESTS,
        sealed::TESTS,
    ]
    .concat();
    if arguments.iter().any(|argument| argument == "--list") {
        carried.iter().chain(refusals::TESTS).for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = attach::kernel_support().missing() {
        println!("attach tests skipped: {missing}");
        let required = std::env::var("STRONGROOM_REQUIRE_ROOT_TESTS").is_ok_and(|value| value == "1");
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).map(String::as_str);
    let mut failed = run_each(&carried, filter, "/dev/fuse") + run_each(refusals::TESTS, filter, "/dev/fuse");
    match uring::Offered::by_the_kernel() {
        Err(why) => println!("tests over io_uring skipped: {why}"),
        Ok(_offered) => {
            instance::OVER_URING.store(true, Relaxed);
            failed += run_each(&[&carried, uring::TESTS].concat(), filter, "io_uring");
        }
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns how many failed.
fn run_each(tests: &[Test], filter: Option<&str>, carrier: &str) -> usize {
    let mut failed = 0;
    for (name, test) in tests.iter().filter(|(name, _)| filter.is_none_or(|part| name.contains(part))) {
        println!("test {name} ({carrier}) ...");
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ({carrier}) ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    failed
}
