//! Attaching with real kernel parts, in real processes: this program is the list of tests, and is also started
//! again by them as an instance process (`instance`) and as a user of the mounted files (`files`).
//!
//! Needs root. Without it, or where the kernel lacks a part, the tests say why and are skipped, unless
//! `STRONGROOM_REQUIRE_ROOT_TESTS=1`.

#![allow(clippy::print_stdout, reason = "the report of the tests and the protocol of the processes")]

mod crash;
mod file_device;
mod files;
mod instance;
mod instance_process;
mod lifecycle;
mod locking;
mod refusals;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A name, which is a sentence, and the test.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("instance") => instance_process::run(&arguments[1..]),
        Some("files") => files::run(&arguments[1..]),
        _ => run_tests(&arguments),
    }
}

fn run_tests(arguments: &[String]) -> ExitCode {
    let tests: Vec<Test> = [lifecycle::TESTS, crash::TESTS, locking::TESTS, refusals::TESTS]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = attach::kernel_support().missing() {
        println!("attach tests skipped: {missing}");
        let required = std::env::var("STRONGROOM_REQUIRE_ROOT_TESTS").is_ok_and(|value| value == "1");
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let mut failed = 0;
    for (name, test) in tests {
        if filter.is_none_or(|part| name.contains(part.as_str())) {
            println!("test {name} ...");
            let passed = catch_unwind(test).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            failed += usize::from(!passed);
        }
    }
    println!("\ntest result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
