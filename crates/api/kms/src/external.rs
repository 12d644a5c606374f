//! Uses of external keys: what this side has sealed is encrypted once more by the proxy of the key's store, and back
//! (envelope, double.rs).

use std::sync::Arc;

use envelope::{
    EncryptionContext, KeyMaterial, SecretBytes, SystemEntropy,
    blob::{Blob, MaterialId},
    double::{Outer, seal},
};
use front::{Call, Caller};
use ids::Timestamp;
use kms::{ExternalKey, Key, KeyStoreName};
use wire::Fault;
use xks::{Ciphertext, Failure, RequestMetadata};

use crate::{fault, key_store::Store, registry::Kms};

/// Who uses a key, and in which operation.
#[derive(Clone, Copy)]
pub struct By<'a> {
    pub kms: &'a Kms,
    pub call: &'a Call,
    /// `Encrypt`
    pub operation: &'static str,
}

/// Adds to the trail's record of a use that the key is in a key store. `side` is that of a ReEncrypt.
pub fn note(call: &Call, key: &Key, side: &str) {
    let Some(external) = &key.external else { return };
    for (name, value) in [("customKeyStoreId", &external.store), ("xksKeyId", &external.id)] {
        let name = match side {
            "" => name.to_owned(),
            _ => format!("{side}{}{}", name[..1].to_uppercase(), &name[1..]),
        };
        call.adds(&name, value.as_str());
    }
}

impl By<'_> {
    /// Encrypts: the whole blob.
    ///
    /// # Errors
    /// `KMSInvalidStateException` with AWS's text for what the proxy says; `ThrottlingException` for too many at once.
    pub async fn encrypt(
        &self,
        (key, external): (&Key, &ExternalKey),
        (material, id): (&KeyMaterial, &MaterialId),
        context: &EncryptionContext,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let inner = seal(material, id, &key.name.to_string(), context, plaintext, &SystemEntropy);
        let store = self.store_of(key, external)?;
        let place = store.place(self.call.now);
        let metadata = self.metadata(Some(key));
        let made = self.kms.proxies.encrypt(place, &external.id, &metadata, &inner.sealed, &inner.aad).await;
        let made = made.map_err(|failure| self.unusable(&store, failure))?;
        let Ciphertext { bytes, metadata, iv, tag } = &made;
        Ok(inner.into_blob(&Outer { metadata, iv, tag, ciphertext: bytes }))
    }

    /// Decrypts.
    ///
    /// # Errors
    /// As [`By::encrypt`].
    pub async fn decrypt(
        &self,
        (key, external): (&Key, &ExternalKey),
        material: &KeyMaterial,
        context: &EncryptionContext,
        (blob, outer): (&Blob<'_>, &Outer<'_>),
    ) -> Result<SecretBytes, Fault> {
        let store = self.store_of(key, external)?;
        let place = store.place(self.call.now);
        let ciphertext = Ciphertext {
            bytes: outer.ciphertext.to_vec(),
            metadata: outer.metadata.to_vec(),
            iv: outer.iv.to_vec(),
            tag: *outer.tag,
        };
        let (metadata, aad) = (self.metadata(Some(key)), blob.outer_aad(context));
        let opened = self.kms.proxies.decrypt(place, &external.id, &metadata, ciphertext, &aad).await;
        let sealed = opened.map_err(|failure| self.unusable(&store, failure))?;
        blob.decrypt_inner(material, context, &sealed).map_err(|_| fault::bad_inner_ciphertext())
    }

    /// What the proxy is told of the call.
    pub fn metadata(&self, key: Option<&Key>) -> RequestMetadata {
        let call = self.call;
        let principal = match &call.caller {
            Caller::Session(session) => session.role_arn.clone(),
            Caller::Service(service) => service.name.clone(),
            caller => caller.arn(),
        };
        RequestMetadata {
            aws_principal_arn: Some(principal),
            kms_key_arn: key.map(|key| key.name.to_string()),
            kms_operation: self.operation,
            kms_request_id: call.request_id.clone(),
            kms_via_service: call.via.as_ref().map(|via| via.principal(&call.region)),
        }
    }

    fn store_of(&self, key: &Key, external: &ExternalKey) -> Result<Arc<Store>, Fault> {
        let (account, region) = (key.name.account.clone(), key.name.region.clone());
        let name = KeyStoreName { account, region, id: external.store.clone() };
        self.kms
            .key_store(&name)
            .ok_or_else(|| Fault::internal(format!("{} has lost its key store", key.name)))
    }

    /// What a failure of the proxy means for a use of a key.
    fn unusable(&self, store: &Store, failure: Failure) -> Fault {
        let told = fault::unusable(failure);
        if is_passing(self.kms, store, failure, self.call.now) { told.transient() } else { told }
    }
}

/// Whether nothing follows from a failure for the key: the proxy could not tell, and has not been out of reach for long.
fn is_passing(kms: &Kms, store: &Store, failure: Failure, now: Timestamp) -> bool {
    failure == Failure::Busy || failure.is_transient() && !kms.proxies.is_silent(&store.link, now)
}

/// The store that a new key is to be in, if it is connected and the external key has no other key there.
///
/// # Errors
/// `CustomKeyStoreNotFoundException`, `CustomKeyStoreInvalidStateException`, `XksKeyAlreadyInUseException`
pub fn free_in_store(kms: &Kms, call: &Call, external: &ExternalKey) -> Result<Arc<Store>, Fault> {
    let (account, region) = (call.account().clone(), call.region.clone());
    let name = KeyStoreName { account, region, id: external.store.clone() };
    let store = kms.key_store(&name).ok_or_else(fault::no_store)?;
    store.store.check_connected().map_err(|_| fault::store_not_connected())?;
    let taken = |other: &ExternalKey| other.id == external.id;
    if kms.keys_of_store(&name).iter().any(|entry| entry.key.external.as_ref().is_some_and(taken)) {
        return Err(fault::external_key_in_use());
    }
    Ok(store)
}

/// Checks with the proxy that an external key can stand behind a new key.
///
/// # Errors
/// As [`free_in_store`]; what the proxy says; `XksKeyInvalidConfigurationException`
pub async fn check_external_key(by: By<'_>, external: &ExternalKey) -> Result<(), Fault> {
    let store = free_in_store(by.kms, by.call, external)?;
    let place = store.place(by.call.now);
    let told = by.kms.proxies.describe(place, &external.id, &by.metadata(None)).await;
    let told = told.map_err(fault::no_external_key)?;
    let usage = &told.key_usage;
    let refused = if told.key_spec != "AES_256" {
        let spec = &told.key_spec;
        format!(
            "The key spec of the external key must be AES_256. The key spec of specified external key is {spec}."
        )
    } else if told.key_status != "ENABLED" {
        let status = &told.key_status;
        format!(
            "The status of the external key must be ENABLED. The status of specified external key is {status}."
        )
    } else if ["ENCRYPT", "DECRYPT"].iter().any(|wanted| !usage.iter().any(|known| known == wanted)) {
        let usage = usage.join(", ");
        format!(
            "The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external key \
             is {usage}."
        )
    } else {
        return Ok(());
    };
    Err(fault::external_key(refused))
}
