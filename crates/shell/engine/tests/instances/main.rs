//! Real instances: real volumes, real mounts, real PostgreSQL. As root only; otherwise the tests are skipped, or fail if
//! `STRONGROOM_REQUIRE_ROOT_TESTS=1`.
//!
//! This program is also the one that a [`engine::LocalHost`] starts, so it has its own `main`: `instance --dir <dir>`
//! runs an instance, anything else runs the tests whose names contain the first argument.

mod beginning;
mod ending;
mod machine;
mod renewal;
mod snapshots;
mod volumes;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
};

use machine::{Machine, postgres_bin_dir};

type Test = (&'static str, fn(&mut Machine));

#[expect(clippy::print_stdout, reason = "this is a test runner")]
fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    if let [_, command, option, dir] = arguments.as_slice()
        && (command.as_str(), option.as_str()) == ("instance", "--dir")
    {
        tracing_subscriber::fmt().with_ansi(false).init();
        return engine::run_instance(Path::new(dir));
    }
    let tests: Vec<Test> =
        [beginning::TESTS, ending::TESTS, renewal::TESTS, snapshots::TESTS, volumes::TESTS].concat();
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = cannot_run() {
        let required = env::var_os("STRONGROOM_REQUIRE_ROOT_TESTS").is_some_and(|value| value == "1");
        println!("{} tests {}: {reason}", tests.len(), if required { "failed" } else { "skipped" });
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let filter = arguments.get(1).filter(|argument| !argument.starts_with('-'));
    let mut failed = Vec::new();
    for (name, test) in
        tests.into_iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str())))
    {
        let mut machine = Machine::new();
        let passed = catch_unwind(AssertUnwindSafe(|| test(&mut machine))).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            println!("{}", machine.logs());
            failed.push(name);
        }
    }
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cannot_run() -> Option<String> {
    if let Some(missing) = attach::kernel_support().missing() {
        return Some(missing.to_string());
    }
    if postgres_bin_dir().is_none() {
        return Some("PostgreSQL is not installed".into());
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let there = users.lines().any(|line| line.starts_with("postgres:"));
    (!there).then(|| "there is no user postgres".into())
}
