//! `strongroom stop`: ends a running server; its database instances live on unless asked otherwise.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use clap::Args;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Failure, HomeOption};
use crate::home::Home;

/// How long a server may take to finish the calls under way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stop the server. Databases keep running unless --instances is given.
#[derive(Args, Debug)]
pub struct Stop {
    #[command(flatten)]
    home: HomeOption,
    /// Stop the database instances as well, in order.
    #[arg(long)]
    instances: bool,
}

impl Stop {
    pub fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        if let Some(pid) = fs::read_to_string(home.pid()).ok().and_then(|text| text.trim().parse().ok()) {
            end(&home, Pid::from_raw(pid))?;
        }
        if self.instances {
            let run = home.path().join("instances");
            super::runtime()?.block_on(engine::stop_all(&run))?;
        }
        Ok(())
    }
}

/// The lock tells a living server from a file that one left behind.
fn end(home: &Home, pid: Pid) -> Result<(), Failure> {
    if home.lock().is_ok() {
        return Ok(());
    }
    match kill(pid, Signal::SIGTERM) {
        Ok(()) => {}
        Err(Errno::ESRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    let begun = Instant::now();
    while home.lock().is_err() {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::usage(format!("the server (process {pid}) does not end")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
