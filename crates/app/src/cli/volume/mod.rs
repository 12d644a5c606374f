//! `strongroom volume`: what an operator does with volumes: look at them, check them, renew their keys, save what is left of a damaged
//! one.
//! One file a subcommand.

mod accept;
mod check;
mod named;
mod renew_key;
mod report;
mod salvage;
mod sealed;
mod status;

use clap::{Args, Subcommand, ValueEnum};

use super::Failure;

/// Exit status of a command that found something.
const FOUND: u8 = 1;
/// And of one that could not do what it was to do.
const COULD_NOT: u8 = 2;

/// Look at sealed volumes, check them, renew their keys, and save what is left of damaged ones.
#[derive(Args, Debug)]
pub struct Volume {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Status),
    Accept(accept::Accept),
    Check(check::Check),
    Salvage(salvage::Salvage),
    RenewKey(renew_key::RenewKey),
}

/// How a command tells what came of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

impl Volume {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Status(command) => command.run(),
            Command::Accept(command) => command.run(),
            Command::Check(check) => check.run(),
            Command::Salvage(salvage) => salvage.run(),
            Command::RenewKey(command) => command.run(),
        }
    }
}

impl Failure {
    /// Marks what keeps a command from its work, but for bad usage.
    fn could_not(self) -> Self {
        if self.status == super::BAD_USAGE { self } else { Self { status: COULD_NOT, ..self } }
    }
}
