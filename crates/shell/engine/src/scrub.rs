//! The scrub of a volume through the instance that has it open.

use std::{io, ops::ControlFlow, path::Path, time::Duration};

use clusters::{InstanceResourceId, Process, VolumeId};
use volume::{Finding, Flaw, Observe, Observed, Place, Progress};

use crate::{
    HostFault,
    client::Client,
    protocol::{Order, Reply, Request, ScrubNews, VERSION, read_message, write_message},
};

/// How long an instance may be silent: a piece of a slow disk's, and as much rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Checks a volume through the instance below `instances` that serves it, if one does. [`ControlFlow::Break`] ends it.
/// May block for as long as it takes to read the volume.
///
/// # Errors
/// [`HostFault`].
pub fn scrub_open(
    instances: &Path,
    volume: &VolumeId,
    observe: &mut Observe<'_>,
) -> Result<Option<(Progress, ControlFlow<()>)>, HostFault> {
    let fault = |error: io::Error| HostFault { order: "check a volume", detail: error.to_string() };
    let Some(client) = find(instances, volume).map_err(fault)? else { return Ok(None) };
    scrub(&client, observe).map(Some).map_err(fault)
}

fn find(instances: &Path, volume: &VolumeId) -> io::Result<Option<Client>> {
    let entries = match std::fs::read_dir(instances) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<InstanceResourceId>().ok()) else {
            continue;
        };
        let client = Client::of(instances, &id);
        let state = client.observe().map_err(io::Error::other)?;
        let serves = |process| process == Process::Serving;
        if state.is_some_and(|state| state.volume.as_ref() == Some(volume) && serves(state.process)) {
            return Ok(Some(client));
        }
    }
    Ok(None)
}

fn scrub(client: &Client, observe: &mut Observe<'_>) -> io::Result<(Progress, ControlFlow<()>)> {
    let mut connection = client.dir().connect(PATIENCE)?;
    write_message(&mut connection, &Request { version: VERSION, order: Order::Scrub })?;
    let mut progress = Progress::default();
    loop {
        let flow = match read_message(&mut connection)? {
            Reply::Scrub(ScrubNews::Step(step)) => {
                let crate::protocol::Step { blocks, of, nodes, bytes, damage, findings } = step;
                progress = Progress { blocks, of, nodes, bytes, damage, findings };
                observe(Observed::Step(&progress))
            }
            Reply::Scrub(ScrubNews::Found(found)) => {
                let flaw = Flaw::ALL.into_iter().find(|flaw| flaw.name() == found.flaw);
                let place = found.segment.zip(found.offset);
                let finding = Finding {
                    // Of an instance that knows more kinds: damage, in any case.
                    flaw: flaw.unwrap_or(Flaw::Log),
                    place: place.map(|(segment, offset)| Place { segment, offset }),
                    blocks: found.first_block..found.first_block.saturating_add(found.blocks),
                    what: found.what,
                };
                observe(Observed::Found(&finding))
            }
            Reply::Done { .. } => return Ok((progress, ControlFlow::Continue(()))),
            Reply::Refused { detail, .. } => return Err(io::Error::other(detail)),
            Reply::State(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        if flow.is_break() {
            return Ok((progress, flow));
        }
    }
}
