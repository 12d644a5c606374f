//! Which key a new cluster is sealed under, and grants on it for as long as they are needed (spec/rds.md §4, §5).

use front::Call;
use ids::{AccountId, Region};
use wire::Fault;

use crate::{
    faults,
    keys::{Authority, EncryptionContext, KeyFault},
    records::{Cluster, Encryption},
    service::Rds,
    volume_keys,
};

/// What CreateDBCluster asks for.
///
/// # Errors
/// InvalidParameterCombination, KMSKeyNotAccessibleFault.
pub async fn of_new_cluster(
    rds: &Rds,
    call: &Call,
    encrypted: bool,
    key: Option<&str>,
) -> Result<Encryption, Fault> {
    match (encrypted, key) {
        (false, None) => Ok(Encryption::SseRds),
        (false, Some(_)) => Err(faults::combination(format!(
            "You must enable StorageEncrypted when you specify KmsKeyId for DB engine {}",
            Cluster::ENGINE
        ))),
        (true, Some(key)) => usable_key(rds, call, key).await,
        (true, None) => {
            let made = rds.keys.default_key(&call.region, call.account()).await;
            let key = made.map_err(|error| faults::key_fault(&error, "alias/aws/rds"))?;
            usable_key(rds, call, &key).await
        }
    }
}

/// The KMS key that a caller names: it is there, enabled, symmetric, and the caller may see it through RDS.
///
/// # Errors
/// KMSKeyNotAccessibleFault.
pub async fn usable_key(rds: &Rds, call: &Call, named: &str) -> Result<Encryption, Fault> {
    let described = rds.keys.describe(Authority::Caller(call), named).await;
    let key = described.map_err(|error| faults::key_fault(&error, named))?;
    if !key.enabled || !key.symmetric {
        return Err(faults::key_inaccessible(&key.arn));
    }
    Ok(Encryption::SseKms { key_arn: key.arn })
}

/// A grant that was just made; [`NewGrant::give_back`] if what it was for fails.
#[derive(Debug)]
pub struct NewGrant {
    encryption: Encryption,
    pub id: Option<String>,
}

impl NewGrant {
    /// Asks for the grant as the caller. `name` is that of one attempt: a repeated call finds the same grant.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn ask(
        rds: &Rds,
        call: &Call,
        encryption: &Encryption,
        name: &str,
        context: EncryptionContext,
    ) -> Result<Self, KeyFault> {
        let id = volume_keys::grant(&*rds.keys, Authority::Caller(call), encryption, name, context).await?;
        Ok(Self { encryption: encryption.clone(), id })
    }

    /// Retires it again.
    pub async fn give_back(&self, rds: &Rds, call: &Call) {
        retire(rds, &call.region, call.account(), &self.encryption, self.id.as_deref()).await;
    }
}

/// Retires a grant that nothing needs any more; a failure leaves it behind, unused, and is logged.
pub async fn retire(
    rds: &Rds,
    region: &Region,
    account: &AccountId,
    encryption: &Encryption,
    grant: Option<&str>,
) {
    if let Err(error) = rds.volume_keys(region, account).retire(encryption, grant).await {
        tracing::warn!(key = encryption.key_arn(), grant, %error, "a grant was not retired");
    }
}
