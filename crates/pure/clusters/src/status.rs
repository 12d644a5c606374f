//! Statuses as the API shows them, and which calls each admits (spec/rds.md §6, §7).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// No status has this name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is not a status")]
pub struct UnknownStatus(pub String);

macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident { $($(#[$arm_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name { $($(#[$arm_doc])* $variant),+ }

        impl $name {
            /// Every status there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As the API writes it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownStatus;
            fn from_str(text: &str) -> Result<Self, UnknownStatus> {
                Self::ALL.iter().copied().find(|s| s.as_str() == text).ok_or_else(|| UnknownStatus(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownStatus;
            fn try_from(text: String) -> Result<Self, UnknownStatus> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(status: $name) -> String {
                status.as_str().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

statuses!(
    /// Status of a cluster.
    ClusterStatus {
        Available = "available",
        Creating = "creating",
        Deleting = "deleting",
        /// The key cannot be reached, for good: nothing leads out of it but deletion.
        Inaccessible = "inaccessible-encryption-credentials",
        /// The key cannot be reached; StartDBCluster recovers the cluster once it can.
        InaccessibleRecoverable = "inaccessible-encryption-credentials-recoverable",
        Starting = "starting",
        Stopped = "stopped",
        Stopping = "stopping",
    }
);

statuses!(
    /// Status of an instance.
    InstanceStatus {
        Available = "available",
        Creating = "creating",
        Deleting = "deleting",
        /// It did not start, several times over.
        Failed = "failed",
        Inaccessible = "inaccessible-encryption-credentials",
        InaccessibleRecoverable = "inaccessible-encryption-credentials-recoverable",
        Rebooting = "rebooting",
        Starting = "starting",
        Stopped = "stopped",
        Stopping = "stopping",
        /// It serves, and finds no room for more.
        StorageFull = "storage-full",
    }
);

statuses!(
    /// Status of a cluster snapshot.
    SnapshotStatus {
        Available = "available",
        Copying = "copying",
        Creating = "creating",
        Deleting = "deleting",
        Failed = "failed",
    }
);

impl ClusterStatus {
    /// Is this one of the two states without access to the key?
    pub const fn is_inaccessible(self) -> bool {
        matches!(self, Self::Inaccessible | Self::InaccessibleRecoverable)
    }

    /// May StartDBCluster be called in this state?
    pub const fn may_start(self) -> bool {
        matches!(self, Self::Stopped | Self::InaccessibleRecoverable)
    }

    /// May an instance be added, or the cluster be stopped?
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Available)
    }
}

impl SnapshotStatus {
    /// Is it still being made?
    pub const fn is_unfinished(self) -> bool {
        matches!(self, Self::Copying | Self::Creating)
    }
}

impl InstanceStatus {
    /// Is this one of the two states without access to the key?
    pub const fn is_inaccessible(self) -> bool {
        matches!(self, Self::Inaccessible | Self::InaccessibleRecoverable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_reads_back_from_its_text() {
        for status in ClusterStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        for status in InstanceStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert!("Available".parse::<SnapshotStatus>().is_err());
    }
}
