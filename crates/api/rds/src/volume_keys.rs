//! Volume keys, wrapped: under a KMS key by the key service, or under the server's own root key (spec/rds.md §5).
//!
//! Every wrapped copy is bound to a context: the cluster's to its resource id, an instance's to its own and the volume.

use ids::{AccountId, Entropy, Region};
use volume::VolumeKey;

use crate::{
    keys::{Authority, EncryptionContext, GrantRequest, KeyFault, KeyService},
    records::{Bytes, Cluster, Encryption, Instance, Record, Snapshot, WrappedKeys},
    seal::Sealer,
};

/// One wrapped copy: what wraps it and what it is bound to.
#[derive(Clone, Debug)]
pub struct Slot<'a> {
    pub encryption: &'a Encryption,
    pub context: EncryptionContext,
    /// The ARN of the cluster or snapshot whose copy it is.
    pub arn: String,
}

impl<'a> Slot<'a> {
    /// The cluster's copy.
    pub fn of_cluster(cluster: &'a Cluster) -> Self {
        Self { encryption: &cluster.encryption, context: cluster.context(), arn: cluster.arn() }
    }

    /// The instance's copy.
    pub fn of_instance(cluster: &'a Cluster, instance: &Instance) -> Self {
        let context = instance.context(&cluster.volume);
        Self { encryption: &cluster.encryption, context, arn: cluster.arn() }
    }

    /// The snapshot's copy.
    pub fn of_snapshot(snapshot: &'a Snapshot) -> Self {
        Self { encryption: &snapshot.encryption, context: snapshot.context(), arn: snapshot.arn() }
    }

    /// Where a copy without a KMS key is sealed for.
    fn place(&self) -> String {
        let pairs: Vec<_> = self.context.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("rds/volume-key/{}", pairs.join("/"))
    }
}

/// A volume's keys in the clear.
#[derive(Debug)]
pub struct OpenKeys {
    pub newest: VolumeKey,
    /// Oldest first.
    pub older: Vec<VolumeKey>,
}

impl OpenKeys {
    /// All of them, oldest first.
    pub fn all(self) -> Vec<VolumeKey> {
        let Self { newest, mut older } = self;
        older.push(newest);
        older
    }
}

/// Makes, moves and opens wrapped volume keys as RDS itself, on behalf of an account.
#[derive(Clone, Copy)]
pub struct VolumeKeys<'a> {
    pub service: &'a dyn KeyService,
    pub sealer: &'a dyn Sealer,
    pub entropy: &'a dyn Entropy,
    pub region: &'a Region,
    pub account: &'a AccountId,
}

impl VolumeKeys<'_> {
    const fn by<'b>(&'b self, source_arn: Option<&'b str>) -> Authority<'b> {
        Authority::Service { region: self.region, account: self.account, source_arn }
    }

    /// Makes a new volume key, of which only the wrapped copy is ever seen here.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn make(&self, slot: &Slot<'_>) -> Result<Vec<u8>, KeyFault> {
        match slot.encryption {
            Encryption::SseKms { key_arn } => {
                self.service.generate_wrapped_key(self.by(Some(&slot.arn)), key_arn, &slot.context).await
            }
            Encryption::SseRds => {
                let key = VolumeKey::generate(self.entropy);
                Ok(self.sealer.seal(&slot.place(), key.expose()))
            }
        }
    }

    /// Opens all copies of a holder.
    ///
    /// # Errors
    /// [`KeyFault`], if one of them does not open.
    pub async fn open(&self, slot: &Slot<'_>, wrapped: &WrappedKeys) -> Result<OpenKeys, KeyFault> {
        let newest = self.open_one(slot, &wrapped.newest.0).await?;
        let mut older = Vec::new();
        for wrapped in &wrapped.older {
            older.push(self.open_one(slot, &wrapped.0).await?);
        }
        Ok(OpenKeys { newest, older })
    }

    /// Opens a wrapped copy.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn open_one(&self, slot: &Slot<'_>, wrapped: &[u8]) -> Result<VolumeKey, KeyFault> {
        match slot.encryption {
            Encryption::SseKms { key_arn } => {
                self.service.decrypt(self.by(Some(&slot.arn)), key_arn, wrapped, &slot.context).await
            }
            Encryption::SseRds => {
                let opened = self.sealer.open(&slot.place(), wrapped);
                let opened = opened.map_err(|error| KeyFault::Failed(error.to_string()))?;
                VolumeKey::copy_from(&opened)
                    .ok_or_else(|| KeyFault::Failed("a volume key has 32 bytes".into()))
            }
        }
    }

    /// Wraps the same volume keys for another slot.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn rewrap(
        &self,
        from: &Slot<'_>,
        wrapped: &WrappedKeys,
        to: &Slot<'_>,
    ) -> Result<WrappedKeys, KeyFault> {
        let newest = Bytes(self.rewrap_one(from, &wrapped.newest.0, to).await?);
        let mut older = Vec::new();
        for wrapped in &wrapped.older {
            older.push(Bytes(self.rewrap_one(from, &wrapped.0, to).await?));
        }
        Ok(WrappedKeys { newest, older })
    }

    /// Wraps a volume key for another slot.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn rewrap_one(
        &self,
        from: &Slot<'_>,
        wrapped: &[u8],
        to: &Slot<'_>,
    ) -> Result<Vec<u8>, KeyFault> {
        match (from.encryption, to.encryption) {
            (Encryption::SseKms { key_arn: source }, Encryption::SseKms { key_arn: target }) => {
                let by = self.by(Some(&to.arn));
                let (from, to) = ((source.as_str(), &from.context), (target.as_str(), &to.context));
                self.service.re_encrypt(by, wrapped, from, to).await
            }
            (_, Encryption::SseKms { key_arn }) => {
                let key = self.open_one(from, wrapped).await?;
                self.service.encrypt(self.by(Some(&to.arn)), key_arn, &key, &to.context).await
            }
            (_, Encryption::SseRds) => {
                let key = self.open_one(from, wrapped).await?;
                Ok(self.sealer.seal(&to.place(), key.expose()))
            }
        }
    }

    /// Checks that the copies of a holder can be opened now: DescribeKey, and Decrypt for each. The keys are wiped at once.
    ///
    /// # Errors
    /// [`KeyFault::Refused`]: access to the key is lost.
    pub async fn check(&self, slot: &Slot<'_>, wrapped: &WrappedKeys) -> Result<(), KeyFault> {
        if let Encryption::SseKms { key_arn } = slot.encryption {
            let key = self.service.describe(self.by(Some(&slot.arn)), key_arn).await?;
            if !key.enabled {
                return Err(KeyFault::Refused(format!("{key_arn} is not enabled")));
            }
        }
        self.open(slot, wrapped).await.map(drop)
    }

    /// Gives a grant back, if there is a KMS key at all.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub async fn retire(&self, encryption: &Encryption, grant: Option<&str>) -> Result<(), KeyFault> {
        match (encryption, grant) {
            (Encryption::SseKms { key_arn }, Some(grant)) => {
                self.service.retire_grant(self.by(None), key_arn, grant).await
            }
            _ => Ok(()),
        }
    }
}

/// The grant for a resource; `None` without a KMS key. `name` is unique to the resource.
///
/// # Errors
/// [`KeyFault`].
pub async fn grant(
    service: &dyn KeyService,
    by: Authority<'_>,
    encryption: &Encryption,
    name: &str,
    context: EncryptionContext,
) -> Result<Option<String>, KeyFault> {
    match encryption {
        Encryption::SseRds => Ok(None),
        Encryption::SseKms { key_arn } => {
            let request = GrantRequest { name: name.into(), context };
            service.create_grant(by, key_arn, request).await.map(Some)
        }
    }
}
