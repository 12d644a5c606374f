//! Encryption under a key and back: what every cryptographic operation shares.

use envelope::{EncryptionContext, Oaep, SecretBytes, SystemEntropy, blob};
use kms::{KeyName, KeySpec, KeyUsage, Named};
use wire::{Blob, Fault};

use crate::{
    entries::Entry,
    external::By,
    fault,
    material::Material,
    pair::with_private_key,
    target::Target,
    usable::{Use, check_state, check_use},
};

/// The one algorithm of symmetric keys: AES-256-GCM.
pub const ALGORITHM: &str = "SYMMETRIC_DEFAULT";
/// The algorithm that a request means by naming none.
pub fn symmetric() -> String {
    ALGORITHM.into()
}

/// Longest encryption context, in bytes of its JSON form (spec/kms.md §7).
const LONGEST_CONTEXT: usize = 8192;

/// A ciphertext, and the material it was made with: only symmetric keys tell that, and not those in key stores.
pub struct Ciphertext {
    pub blob: Blob,
    pub material_id: Option<String>,
}

/// A plaintext, and the material of its ciphertext.
pub struct Plaintext {
    pub bytes: SecretBytes,
    pub material_id: Option<String>,
}

/// Checks that a key can encrypt with an algorithm.
///
/// # Errors
/// As [`check_use`].
pub fn check_encrypts(
    target: &Target,
    operation: &'static str,
    algorithm: &str,
    context: &EncryptionContext,
) -> Result<(), Fault> {
    check_use(target, Use { operation, usage: KeyUsage::EncryptDecrypt, algorithm })?;
    if target.key().spec != KeySpec::Symmetric && !context.is_empty() {
        return Err(fault::validation("EncryptionContext is only valid for symmetric encryption KMS keys."));
    }
    Ok(())
}

/// Checks that a plaintext is not longer than an algorithm takes.
///
/// # Errors
/// `ValidationException`
pub fn check_length(target: &Target, algorithm: &str, length: usize) -> Result<(), Fault> {
    let KeySpec::Pair(spec) = target.key().spec else { return Ok(()) };
    let (Some(oaep), Some(bits)) = (oaep(algorithm), spec.rsa_bits()) else { return Ok(()) };
    let longest = oaep.longest(bits);
    if length <= longest {
        return Ok(());
    }
    let spec = target.key().spec;
    let text =
        format!("Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {longest} bytes.");
    Err(fault::validation(text))
}

fn oaep(algorithm: &str) -> Option<Oaep> {
    match algorithm {
        "RSAES_OAEP_SHA_1" => Some(Oaep::Sha1),
        "RSAES_OAEP_SHA_256" => Some(Oaep::Sha256),
        _ => None,
    }
}

/// Encrypts with an algorithm that the key has.
///
/// # Errors
/// An internal fault if the key has lost its material; as [`By::encrypt`].
pub async fn encrypt_by(
    by: By<'_>,
    target: &Target,
    algorithm: &str,
    context: &EncryptionContext,
    plaintext: SecretBytes,
) -> Result<Ciphertext, Fault> {
    let Some(oaep) = oaep(algorithm) else {
        return encrypt(by, &target.entry, context, plaintext.expose()).await;
    };
    let made = with_private_key(target, move |key| key.oaep_encrypt(oaep, plaintext.expose())).await?;
    Ok(Ciphertext { blob: Blob(made.map_err(Fault::internal)?), material_id: None })
}

/// Decrypts with an algorithm that the key has.
///
/// # Errors
/// As [`decrypt`].
pub async fn decrypt_by(
    by: By<'_>,
    target: &Target,
    algorithm: &str,
    context: &EncryptionContext,
    ciphertext: Blob,
) -> Result<Plaintext, Fault> {
    let Some(oaep) = oaep(algorithm) else {
        return decrypt(by, &target.entry, context, &ciphertext.0).await;
    };
    let opened = with_private_key(target, move |key| key.oaep_decrypt(oaep, &ciphertext.0)).await?;
    Ok(Plaintext { bytes: opened.map_err(|_| invalid_ciphertext())?, material_id: None })
}

/// Checks that a key can decrypt a ciphertext with an algorithm.
///
/// # Errors
/// As [`check_use`]; `IncorrectKeyException` for the blob of a symmetric key next to a key of another kind.
pub fn check_decrypts(
    target: &Target,
    operation: &'static str,
    algorithm: &str,
    context: &EncryptionContext,
    ciphertext: Option<&[u8]>,
) -> Result<(), Fault> {
    let of_symmetric = algorithm == ALGORITHM && ciphertext.is_some_and(|b| blob::Blob::parse(b).is_ok());
    if of_symmetric && target.key().spec != KeySpec::Symmetric {
        check_state(target)?;
        return Err(fault::incorrect_key());
    }
    check_encrypts(target, operation, algorithm, context)
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

/// Encrypts under the current material of a symmetric key.
///
/// # Errors
/// An internal fault if the key has lost its material; as [`By::encrypt`].
pub async fn encrypt(
    by: By<'_>,
    entry: &Entry,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<Ciphertext, Fault> {
    let arn = entry.key.name.to_string();
    let material_id = entry.key.current_material().to_owned();
    let lost = || Fault::internal(format!("{arn} has no current material"));
    let Material::Symmetric(material) = &**entry.current()? else { return Err(lost()) };
    let mut id = [0; 32];
    hex::decode_to_slice(&material_id, &mut id).map_err(|_| lost())?;
    if let Some(external) = &entry.key.external {
        let blob = by.encrypt((&entry.key, external), (material, &id), context, plaintext).await?;
        return Ok(Ciphertext { blob: Blob(blob), material_id: None });
    }
    let blob = blob::encrypt(material, &id, &arn, context, plaintext, &SystemEntropy);
    Ok(Ciphertext { blob: Blob(blob), material_id: Some(material_id) })
}

/// Decrypts with the material that the blob names, current or not.
///
/// # Errors
/// `InvalidCiphertextException` without a text for anything that does not open; `IncorrectKeyException` for
/// the blob of a key that is not related; as [`By::decrypt`].
async fn decrypt(
    by: By<'_>,
    entry: &Entry,
    context: &EncryptionContext,
    blob: &[u8],
) -> Result<Plaintext, Fault> {
    let read = blob::Blob::parse(blob).map_err(|_| invalid_ciphertext())?;
    if !entry.key.name.is_related_to(read.key_arn) {
        return Err(fault::incorrect_key());
    }
    let material_id = hex::encode(read.material);
    let material = entry.materials.get(&material_id).ok_or_else(invalid_ciphertext)?;
    let Material::Symmetric(material) = &**material else { return Err(invalid_ciphertext()) };
    if let Some(external) = &entry.key.external {
        let outer = read.outer().ok_or_else(invalid_ciphertext)?;
        let bytes = by.decrypt((&entry.key, external), material, context, (&read, outer)).await?;
        return Ok(Plaintext { bytes, material_id: None });
    }
    let bytes = read.decrypt(material, context).map_err(|_| invalid_ciphertext())?;
    Ok(Plaintext { bytes, material_id: Some(material_id) })
}

/// The key of a region that a blob names: for that of a multi-Region key the one related to it here. `None` for any
/// other key of another region.
///
/// # Errors
/// `InvalidCiphertextException` for what is no blob.
pub fn key_of(blob: &[u8], region: &ids::Region) -> Result<Option<KeyName>, Fault> {
    let read = blob::Blob::parse(blob).map_err(|_| invalid_ciphertext())?;
    let arn: ids::Arn = read.key_arn.parse().map_err(|_| invalid_ciphertext())?;
    let account = arn.account.parse().map_err(|_| invalid_ciphertext())?;
    let sealed_in = arn.region.parse().map_err(|_| invalid_ciphertext())?;
    match kms::read_name(read.key_arn, &account, &sealed_in) {
        // As written here, and not only as read: another partition would name the same key.
        Ok(Named::Key(name)) if name.to_string() == read.key_arn => {
            let is_here = name.region == *region || name.id.is_multi_region();
            Ok(is_here.then(|| name.in_region(region)))
        }
        _ => Err(invalid_ciphertext()),
    }
}

fn invalid_ciphertext() -> Fault {
    Fault::bare("InvalidCiphertextException")
}
