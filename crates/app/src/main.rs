//! `strongroom`: the key service, the cluster service, the audit trail and their command line in one binary.

mod admin;
mod certificate;
mod cli;
mod config;
mod credentials;
mod harden;
mod home;
mod key_service;
mod system;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    harden::process();
    cli::Cli::parse().run()
}
