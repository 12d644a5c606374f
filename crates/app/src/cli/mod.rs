//! The command line: one file a subcommand.

mod account;
mod env;
mod explain;
mod init;
mod instance;
mod serve;
mod stop;
mod volume;
mod why;

use std::{fmt::Display, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{config::Config, home::Home};

/// Exit status for bad usage and bad settings (`EX_USAGE`).
pub const BAD_USAGE: u8 = 64;

/// Database clusters sealed under keys that their owner holds.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Serve(serve::Serve),
    Env(env::Env),
    Stop(stop::Stop),
    Why(why::Why),
    Explain(explain::Explain),
    Account(account::Account),
    Volume(volume::Volume),
    #[command(hide = true)]
    Instance(instance::Instance),
}

/// Where the server keeps everything.
#[derive(Args, Debug)]
pub struct HomeOption {
    /// Home directory of the server.
    #[arg(long, env = "STRONGROOM_HOME", default_value = "/var/lib/strongroom", value_name = "DIR")]
    home: PathBuf,
}

impl HomeOption {
    fn home(&self) -> Home {
        Home::at(&self.home)
    }
}

/// Why a subcommand ends with an error: what the user reads, and the exit status.
#[derive(Debug)]
pub struct Failure {
    text: String,
    status: u8,
}

impl Failure {
    /// The user's mistake: arguments, settings, wrong passphrase.
    pub fn usage(text: impl Display) -> Self {
        Self { text: text.to_string(), status: BAD_USAGE }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            source = inner.source();
        }
        Self { text, status: 1 }
    }
}

impl Cli {
    /// Runs the subcommand.
    pub fn run(self) -> ExitCode {
        let ended = match self.command {
            Command::Init(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::Env(command) => command.run(),
            Command::Stop(command) => command.run(),
            Command::Why(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Account(command) => command.run(),
            Command::Volume(command) => command.run(),
            Command::Instance(command) => return command.run(),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure { text, status }) => {
                eprintln!("strongroom: {text}");
                ExitCode::from(status)
            }
        }
    }
}

/// The settings of an initialised home.
fn read_config(home: &Home) -> Result<Config, Failure> {
    if !home.config().exists() {
        let shown = home.path().display();
        return Err(Failure::usage(format!(
            "{shown} is no home of a server: make one with `strongroom init --home {shown}`"
        )));
    }
    Config::read(&home.config()).map_err(Failure::usage)
}

/// A runtime for the short-lived subcommands.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
