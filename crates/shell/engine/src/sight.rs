//! Looking at instances and volumes beside a running server: nothing is changed, nor cleared away.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use clusters::{InstanceResourceId, VolumeId};
use volume::{Header, VolumeError};

use crate::{Address, HostFault, Sighting, client::Client, protocol::State};

/// What the files of a volume tell without a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VolumeFiles {
    /// Bytes of the device.
    pub size: u64,
    /// Bytes that the files take up on the host.
    pub stored: u64,
    /// The generations of its key that it needs.
    pub generations: Vec<u32>,
}

impl From<State> for Sighting {
    fn from(state: State) -> Self {
        let State { process, port, failure, refused, open, .. } = state;
        Self { process, address: port.map(Address::Tcp), failure, refused, open }
    }
}

/// The process of an instance of a home, if there is one.
///
/// # Errors
/// [`HostFault`].
pub fn sight(home: &Path, id: &InstanceResourceId) -> Result<Option<Sighting>, HostFault> {
    let fault = |error: crate::client::ClientFault| HostFault { order: "observe", detail: error.to_string() };
    let client = Client::of(&home.join("instances"), id);
    if !client.dir().is_there() {
        return Ok(None);
    }
    Ok(client.observe().map_err(fault)?.map(Sighting::from))
}

/// The files of a volume of a home, if they are there.
///
/// # Errors
/// [`HostFault`], also for a header that cannot be read.
pub fn volume_files(home: &Path, id: &VolumeId) -> Result<Option<VolumeFiles>, HostFault> {
    const BLOCK: u64 = 8192;
    let fault = |detail: String| HostFault { order: "look at a volume", detail };
    let dir = home.join("volumes").join(id.as_str());
    let bytes = match fs::read(dir.join("header")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| fault(error.to_string()))?,
    };
    let header = Header::parse(&bytes).map_err(|error: VolumeError| fault(error.to_string()))?;
    Ok(Some(VolumeFiles {
        size: header.blocks * BLOCK,
        stored: stored(&dir).map_err(|error| fault(error.to_string()))?,
        generations: header.generations.iter().map(|row| row.generation).collect(),
    }))
}

/// Bytes that the files below a directory take up. Files may come and go meanwhile.
fn stored(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += stored(&entry.path())?,
            Ok(metadata) => bytes += metadata.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
