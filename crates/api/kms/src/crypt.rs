//! Encryption under a key and back: what every cryptographic operation shares.

use envelope::{EncryptionContext, KeyMaterial, SecretBytes, SystemEntropy, blob};
use kms::{KeyName, Named, Row, SYMMETRIC, permits};
use wire::{Blob, Fault};

use crate::{entries::Entry, fault, target::Target};

/// The one algorithm of symmetric keys: AES-256-GCM.
pub const ALGORITHM: &str = "SYMMETRIC_DEFAULT";
/// Longest encryption context, in bytes of its JSON form (spec/kms.md §7).
const LONGEST_CONTEXT: usize = 8192;

/// A ciphertext and the material it was made with.
pub struct Encrypted {
    pub blob: Blob,
    pub material_id: String,
}

/// A plaintext and the material of its ciphertext.
pub struct Decrypted {
    pub plaintext: SecretBytes,
    pub material_id: String,
}

/// Checks what a key is to be used for: its state, then the algorithm.
///
/// # Errors
/// As the table of states says; `InvalidKeyUsageException`.
pub fn check_use(target: &Target, algorithm: Option<&str>) -> Result<(), Fault> {
    permits(Row::Cryptography, target.key().state).map_err(|state| fault::blocked(target.name(), state))?;
    match algorithm {
        None | Some(ALGORITHM) => Ok(()),
        Some(other) => {
            let text = format!("Algorithm {other} is incompatible with key spec {}.", SYMMETRIC.0);
            Err(Fault::client("InvalidKeyUsageException", text))
        }
    }
}

/// Checks the size of an encryption context.
///
/// # Errors
/// `ValidationException`
pub fn check_context(context: &EncryptionContext) -> Result<(), Fault> {
    // {"key":"value",…}: six characters around each pair besides the braces, before escapes.
    let size: usize = 2 + context.iter().map(|(key, value)| key.len() + value.len() + 6).sum::<usize>();
    if size <= LONGEST_CONTEXT {
        return Ok(());
    }
    Err(fault::validation(format!("The encryption context is longer than {LONGEST_CONTEXT} bytes.")))
}

/// Encrypts under the current material of a key.
///
/// # Errors
/// An internal fault if the key has lost its material.
pub fn encrypt(entry: &Entry, context: &EncryptionContext, plaintext: &[u8]) -> Result<Encrypted, Fault> {
    let arn = entry.key.name.to_string();
    let material_id = entry.key.current_material().to_owned();
    let lost = || Fault::internal(format!("{arn} has no current material"));
    let material = entry.materials.get(&material_id).ok_or_else(lost)?;
    let mut id = [0; 32];
    hex::decode_to_slice(&material_id, &mut id).map_err(|_| lost())?;
    let blob = blob::encrypt(material, &id, &arn, context, plaintext, &SystemEntropy);
    Ok(Encrypted { blob: Blob(blob), material_id })
}

/// Decrypts with the material that the blob names, current or not.
///
/// # Errors
/// `InvalidCiphertextException` without a text for anything that does not open; `IncorrectKeyException` for
/// the blob of another key.
pub fn decrypt(entry: &Entry, context: &EncryptionContext, blob: &[u8]) -> Result<Decrypted, Fault> {
    let read = blob::Blob::parse(blob).map_err(|_| invalid_ciphertext())?;
    if read.key_arn != entry.key.name.to_string() {
        let text = "The key ID in the request does not identify a CMK that can perform this operation.";
        return Err(Fault::client("IncorrectKeyException", text));
    }
    let material_id = hex::encode(read.material);
    let material: &KeyMaterial = entry.materials.get(&material_id).ok_or_else(invalid_ciphertext)?;
    let plaintext = read.decrypt(material, context).map_err(|_| invalid_ciphertext())?;
    Ok(Decrypted { plaintext, material_id })
}

/// The key that a blob names; `None` for the key of another region.
///
/// # Errors
/// `InvalidCiphertextException` for what is no blob.
pub fn key_of(blob: &[u8], region: &ids::Region) -> Result<Option<KeyName>, Fault> {
    let read = blob::Blob::parse(blob).map_err(|_| invalid_ciphertext())?;
    let arn: ids::Arn = read.key_arn.parse().map_err(|_| invalid_ciphertext())?;
    let account = arn.account.parse().map_err(|_| invalid_ciphertext())?;
    match kms::read_name(read.key_arn, &account, region) {
        // As written here, and not only as read: another partition would name the same key.
        Ok(Named::Key(name)) if name.to_string() == read.key_arn => Ok(Some(name)),
        Err(kms::BadName::OtherRegion(_)) => Ok(None),
        _ => Err(invalid_ciphertext()),
    }
}

fn invalid_ciphertext() -> Fault {
    Fault::bare("InvalidCiphertextException")
}
