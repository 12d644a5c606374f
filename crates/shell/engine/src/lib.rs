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
mod settings;
mod stop_all;
#[cfg(test)]
mod testing;

pub use host::{Address, CloneOrder, Host, HostFault, Initial, OpenOrder, Sighting, Work};
pub use instance::run_instance;
pub use local::LocalHost;
pub use postgres::parameters::{InvalidParameter, check as check_parameters};
pub use settings::Settings;
pub use stop_all::stop_all;
