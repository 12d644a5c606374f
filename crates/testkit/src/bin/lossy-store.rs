//! `lossy-store BACKING MOUNTPOINT`: see `testkit::lossy`.

use std::process::ExitCode;

fn main() -> ExitCode {
    testkit::lossy::run(&std::env::args().skip(1).collect::<Vec<_>>())
}
