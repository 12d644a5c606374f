//! Errors as callers of the RDS API read them: codes, texts and HTTP statuses (spec/rds.md §8, §10, §11), spelled here
//! and nowhere else.

use std::fmt::Display;

use wire::Fault;

use crate::{keys::KeyFault, records};

pub fn value(message: impl Into<String>) -> Fault {
    Fault::client("InvalidParameterValue", message)
}

pub fn combination(message: impl Into<String>) -> Fault {
    Fault::client("InvalidParameterCombination", message)
}

pub fn missing(parameter: &str) -> Fault {
    Fault::client("MissingParameter", format!("The request must contain the parameter {parameter}."))
}

pub fn invalid_identifier(parameter: &str) -> Fault {
    value(format!("The parameter {parameter} {}", clusters::InvalidIdentifier(String::new())))
}

pub fn cluster_not_found(name: impl Display) -> Fault {
    Fault::client("DBClusterNotFoundFault", format!("DBCluster {name} not found.")).with_status(404)
}

pub fn instance_not_found(name: impl Display) -> Fault {
    Fault::client("DBInstanceNotFound", format!("DBInstance {name} not found.")).with_status(404)
}

pub fn snapshot_not_found(name: impl Display) -> Fault {
    Fault::client("DBClusterSnapshotNotFoundFault", format!("DBClusterSnapshot {name} not found."))
        .with_status(404)
}

pub fn cluster_exists() -> Fault {
    Fault::client("DBClusterAlreadyExistsFault", "DB Cluster already exists")
}

pub fn instance_exists() -> Fault {
    Fault::client("DBInstanceAlreadyExists", "DB instance already exists")
}

pub fn snapshot_exists(name: impl Display) -> Fault {
    let text =
        format!("Cannot create the snapshot because a snapshot with the identifier {name} already exists.");
    Fault::client("DBClusterSnapshotAlreadyExistsFault", text)
}

pub fn cluster_state(message: impl Into<String>) -> Fault {
    Fault::client("InvalidDBClusterStateFault", message)
}

pub fn instance_state(message: impl Into<String>) -> Fault {
    Fault::client("InvalidDBInstanceState", message)
}

pub fn snapshot_state(message: impl Into<String>) -> Fault {
    Fault::client("InvalidDBClusterSnapshotStateFault", message)
}

/// The cluster is in a state that an operation does not admit.
pub fn unexpected_state(name: impl Display, state: impl Display, expected: &str) -> Fault {
    cluster_state(format!("DbCluster {name} is in {state} state but expected it to be one of {expected}."))
}

/// The one instance that a cluster has for now is there.
pub fn instance_quota() -> Fault {
    Fault::client("InstanceQuotaExceeded", "This server runs one DB instance, the writer, in a DB cluster.")
}

pub fn parameter_group_not_found(name: impl Display) -> Fault {
    let text = format!("DBClusterParameterGroup not found: {name}");
    Fault::client("DBClusterParameterGroupNotFound", text).with_status(404)
}

pub fn instance_parameter_group_not_found(name: impl Display) -> Fault {
    Fault::client("DBParameterGroupNotFound", format!("DBParameterGroup not found: {name}")).with_status(404)
}

pub fn subnet_group_not_found(name: impl Display) -> Fault {
    Fault::client("DBSubnetGroupNotFoundFault", format!("DB subnet group '{name}' does not exist."))
        .with_status(404)
}

/// The key cannot be used; the reason is deliberately not told.
pub fn key_inaccessible(key: &str) -> Fault {
    Fault::client(
        "KMSKeyNotAccessibleFault",
        format!(
            "The specified KMS key [{key}] does not exist, is not enabled or you do not have permissions to access it."
        ),
    )
}

/// The key of the snapshot that is to be restored cannot be used.
pub fn source_key_inaccessible(key: &str) -> Fault {
    Fault::client(
        "KMSKeyNotAccessibleFault",
        format!(
            "The source snapshot KMS key [{key}] does not exist, is not enabled or you do not have permissions to \
             access it."
        ),
    )
}

/// A refusal by the key service, about the key of a snapshot; its failure is ours.
pub fn source_key_fault(error: &KeyFault, key: &str) -> Fault {
    match error {
        KeyFault::Refused(detail) => source_key_inaccessible(key).with_detail(detail),
        KeyFault::Failed(detail) => Fault::internal(detail),
    }
}

/// A refusal by the key service, about the key as the caller named it; its failure is ours.
pub fn key_fault(error: &KeyFault, key: &str) -> Fault {
    match error {
        KeyFault::Refused(detail) => key_inaccessible(key).with_detail(detail),
        KeyFault::Failed(detail) => Fault::internal(detail),
    }
}

impl From<records::Error> for Fault {
    fn from(error: records::Error) -> Self {
        Self::internal(error)
    }
}
