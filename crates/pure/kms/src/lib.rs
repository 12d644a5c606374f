//! The rules of KMS: names, states, rotation, deletion, grants, tags. Pure; the time is an argument. What
//! carries them out is crate `api-kms`. Source: spec/kms.md.

mod alias;
mod external;
mod grant;
mod id;
mod import;
mod key;
mod key_store;
mod multi_region;
mod policy;
mod spec;
mod state;
mod tags;

pub use alias::{BadAlias, check_alias};
pub use external::ExternalKey;
pub use grant::{Constraints, Grant, User, grantable, root_of};
pub use id::{AliasName, BadName, InvalidKeyId, KeyId, KeyName, Named, read_name};
pub use import::{Import, LONGEST_IMPORT, Origin};
pub use key::{DELETION_WINDOW, Key, Manager, Material, ROTATION_PERIOD, Refusal, Rotation, RotationType};
pub use key_store::{Connection, ConnectionError, KeyStore, KeyStoreName, StoreUpdate, WrongConnection};
pub use multi_region::{MultiRegion, must_follow, rotates_together};
pub use policy::{default_policy, rds_policy};
pub use spec::{BadSpec, KeySpec, KeyUsage, read_spec};
pub use state::{Blocked, KeyState, Row, permits};
pub use tags::{BadTags, MOST_TAGS, with_tags};
