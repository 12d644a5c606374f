//! `strongroom instance`: the process of one database instance. `serve` starts it; it outlives `serve`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

/// Run one database instance (started by `serve`).
#[derive(Args, Debug)]
pub struct Instance {
    /// The instance's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Instance {
    /// Before any thread starts: the process moves into namespaces of its own.
    pub fn run(self) -> ExitCode {
        tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
        engine::run_instance(&self.dir)
    }
}
