//! Work with pairs of keys: RSA takes milliseconds, and its keys up to seconds, so none of it is done on the
//! runtime's threads.

use std::sync::Arc;

use envelope::{PairSpec, PrivateKey};
use tokio::task::spawn_blocking;
use wire::Fault;

use crate::{material::Material, target::Target};

/// Makes a key.
///
/// # Errors
/// An internal fault if the library fails.
pub async fn generate(spec: PairSpec) -> Result<PrivateKey, Fault> {
    let made = spawn_blocking(move || PrivateKey::generate(spec)).await;
    made.map_err(Fault::internal)?.map_err(Fault::internal)
}

/// Does something with the private key of a target.
///
/// # Errors
/// An internal fault if it has none.
pub async fn with_private_key<T: Send + 'static>(
    target: &Target,
    work: impl FnOnce(&PrivateKey) -> T + Send + 'static,
) -> Result<T, Fault> {
    let material = Arc::clone(target.entry.current()?);
    let done = spawn_blocking(move || match &*material {
        Material::Pair(key) => Some(work(key)),
        Material::Symmetric(_) | Material::Mac(_) => None,
    });
    let none = || Fault::internal(format!("{} has no private key", target.name()));
    done.await.map_err(Fault::internal)?.ok_or_else(none)
}
