//! Instances: one process each, which holds the volume key, the mount and the postgres child (`design.md` §1, §6).

mod host;

pub use host::{Address, CloneOrder, Host, HostFault, Initial, OpenOrder, Sighting, Work};
