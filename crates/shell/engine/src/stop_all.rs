//! Stopping every instance of a home, without a server.

use std::{fs, io, path::Path, time::Duration};

use clusters::InstanceResourceId;
use tokio::task::JoinSet;

use crate::{
    HostFault,
    client::{Client, ClientFault},
};

/// A database may take a minute to shut down in order; then it is shut down at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shuts every instance with a directory below `instances` down in order, and waits until all are gone.
///
/// # Errors
/// The first that did not stop; the others are stopped all the same.
pub async fn stop_all(instances: &Path) -> Result<(), HostFault> {
    let fault = |detail: String| HostFault { order: "stop all instances", detail };
    let entries = match fs::read_dir(instances) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| fault(error.to_string()))?,
    };
    let mut stopping = JoinSet::new();
    for entry in entries.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<InstanceResourceId>().ok())
        else {
            continue;
        };
        let client = Client::of(instances, &id);
        stopping.spawn_blocking(move || stop(&client).map_err(|error| format!("{id}: {error}")));
    }
    let mut first = Ok(());
    while let Some(stopped) = stopping.join_next().await {
        let stopped = stopped.unwrap_or_else(|error| Err(error.to_string()));
        first = first.and(stopped);
    }
    first.map_err(fault)
}

fn stop(client: &Client) -> Result<(), ClientFault> {
    client.stop()?;
    client.clear(PATIENCE)
}
