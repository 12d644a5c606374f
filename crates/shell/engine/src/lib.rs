//! Instances: one process each, which holds the volume key, the mount and the postgres child (`design.md` §1, §6).
//!
//! [`LocalHost`] is the server's side: it starts processes, finds those of an earlier server, and gives them orders
//! over their sockets (`protocol.rs`). [`run_instance`] is the process itself (`instance/`), which outlives the server.

mod certificates;
mod client;
mod host;
mod instance;
mod instance_dir;
mod local;
mod pidfd;
mod postgres;
mod protocol;
mod scram;
mod scrub;
mod settings;
mod sight;
mod stop_all;
#[cfg(test)]
mod testing;
mod transfers;

pub use host::{
    Address, CloneOrder, Counters, Host, HostFault, Initial, OpenOrder, Sighting, VolumeState, Work, Wrapped,
};
pub use instance::run_instance;
pub use local::LocalHost;
pub use postgres::parameters::{InvalidParameter, check as check_parameters};
pub use scrub::scrub_open;
pub use settings::{Memory, Settings, SpaceLimits};
pub use sight::{VolumeFiles, sight, volume_files};
pub use stop_all::stop_all;
pub use transfers::{CopyOrder, Headway, LocalTransfers, Reseal, Transfers};
