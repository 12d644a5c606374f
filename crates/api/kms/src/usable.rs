//! Whether a key can be used as asked, in the order of AWS: state, usage, algorithm (spec/kms.md §1, §6).

use kms::{KeyUsage, Row, permits};
use wire::Fault;

use crate::{fault, target::Target};

/// A use of a key.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// `Encrypt`
    pub operation: &'static str,
    pub usage: KeyUsage,
    /// As the request names it.
    pub algorithm: &'a str,
}

/// Checks that the state of a key permits cryptography.
///
/// # Errors
/// As the table of states says.
pub fn check_state(target: &Target) -> Result<(), Fault> {
    permits(Row::Cryptography, target.key().state).map_err(|state| fault::blocked(target.name(), state))
}

/// Checks a use of a key.
///
/// # Errors
/// As the table of states says; `InvalidKeyUsageException` for another usage or the algorithm of another spec.
pub fn check_use(target: &Target, wanted: Use<'_>) -> Result<(), Fault> {
    check_state(target)?;
    let key = target.key();
    if key.usage != wanted.usage {
        return Err(fault::wrong_usage(key, wanted.operation));
    }
    if !key.algorithms().contains(&wanted.algorithm) {
        return Err(fault::wrong_algorithm(wanted.algorithm, key.spec));
    }
    Ok(())
}
