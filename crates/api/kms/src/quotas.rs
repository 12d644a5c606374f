//! How much of everything there may be (spec/kms.md §7). What a configuration does not name is as in AWS.

use serde::{Deserialize, Serialize};

/// Most bytes of a key policy that the API can carry.
const POLICY_ON_THE_WIRE: usize = 131_072;

/// Quotas. What is there already stays when one is lowered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Customer managed keys of an account in a region, in any state.
    pub keys: usize,
    /// Aliases of a key.
    pub aliases_per_key: usize,
    /// Grants of a key.
    pub grants_per_key: usize,
    /// Length of a key policy.
    pub policy_bytes: usize,
    /// On-demand rotations of a key.
    pub on_demand_rotations: usize,
    /// Custom key stores of an account in a region.
    pub custom_key_stores: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            keys: 100_000,
            aliases_per_key: 50,
            grants_per_key: 50_000,
            policy_bytes: 32_768,
            on_demand_rotations: 25,
            custom_key_stores: 10,
        }
    }
}

impl Quotas {
    /// Checks that they can be kept.
    ///
    /// # Errors
    /// Names the one that cannot.
    pub fn check(&self) -> Result<(), String> {
        match self.policy_bytes {
            0..=POLICY_ON_THE_WIRE => Ok(()),
            _ => Err(format!("policy_bytes must be no more than {POLICY_ON_THE_WIRE}")),
        }
    }
}
