//! The ciphertext blob of Encrypt and GenerateDataKey: says itself which key opens it (spec/kms.md §12).
//!
//! ```text
//! 0    4  magic "SRK1"
//! 4    2  length of the key ARN, little-endian
//! 6    n  key ARN
//! ..  32  id of the key material
//! ..   m  sealed bytes (sealed.rs); associated data: everything before, and the canonical encryption context
//! ```

use ids::Entropy;

use crate::{
    context::{EncryptionContext, canonical},
    double::{self, Outer},
    sealed::{self, DoesNotOpen, OVERHEAD},
    secret::{KeyMaterial, SecretBytes},
};

const MAGIC: &[u8; 4] = b"SRK1";
const PURPOSE: &[u8] = b"strongroom/kms/v1";
/// ARNs are far shorter; the bound keeps a blob for 4096 bytes below 6144.
const LONGEST_ARN: usize = 512;

/// Id of one material of a key: 32 bytes, written as 64 hex digits.
pub type MaterialId = [u8; 32];

/// A blob, read but not opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Blob<'a> {
    pub key_arn: &'a str,
    pub material: MaterialId,
    pub(crate) header: &'a [u8],
    body: Body<'a>,
}

/// What a blob holds behind its header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Body<'a> {
    Sealed(&'a [u8]),
    /// Encrypted once more by an external key (double.rs).
    Double(Outer<'a>),
}

/// Encrypts under one material of a key.
///
/// # Panics
/// If the ARN is longer than any ARN is.
pub fn encrypt(
    material: &KeyMaterial,
    material_id: &MaterialId,
    key_arn: &str,
    context: &EncryptionContext,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let mut blob = header(MAGIC, material_id, key_arn, plaintext.len() + OVERHEAD);
    let aad = [&blob[..], &canonical(context)].concat();
    let sealed = sealed::seal(material.expose(), PURPOSE, &aad, plaintext, entropy);
    blob.extend_from_slice(&sealed);
    blob
}

/// The header of a blob, with room for what follows.
pub(crate) fn header(magic: &[u8; 4], material_id: &MaterialId, key_arn: &str, room: usize) -> Vec<u8> {
    assert!(key_arn.len() <= LONGEST_ARN, "a key ARN is short");
    let mut header = Vec::with_capacity(4 + 2 + key_arn.len() + 32 + room);
    header.extend_from_slice(magic);
    header.extend_from_slice(&u16::try_from(key_arn.len()).expect("checked above").to_le_bytes());
    header.extend_from_slice(key_arn.as_bytes());
    header.extend_from_slice(material_id);
    header
}

impl<'a> Blob<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DoesNotOpen`] for bytes that are no blob.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DoesNotOpen> {
        let (magic, rest) = bytes.split_first_chunk::<4>().ok_or(DoesNotOpen)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(DoesNotOpen)?;
        let length = usize::from(u16::from_le_bytes(*length));
        if length > LONGEST_ARN {
            return Err(DoesNotOpen);
        }
        let (arn, rest) = rest.split_at_checked(length).ok_or(DoesNotOpen)?;
        let key_arn = std::str::from_utf8(arn).map_err(|_| DoesNotOpen)?;
        let (material, rest) = rest.split_first_chunk::<32>().ok_or(DoesNotOpen)?;
        let header = &bytes[..bytes.len() - rest.len()];
        let body = match magic {
            MAGIC => Body::Sealed(rest),
            double::MAGIC => Body::Double(Outer::parse(rest)?),
            _ => return Err(DoesNotOpen),
        };
        Ok(Self { key_arn, material: *material, header, body })
    }

    /// The outer layer of a blob that an external key has encrypted once more.
    pub const fn outer(&self) -> Option<&Outer<'a>> {
        match &self.body {
            Body::Sealed(_) => None,
            Body::Double(outer) => Some(outer),
        }
    }

    /// Decrypts with the material that the blob names.
    ///
    /// # Errors
    /// [`DoesNotOpen`] for any other material or context, changed bytes, and a blob with an outer layer.
    pub fn decrypt(
        &self,
        material: &KeyMaterial,
        context: &EncryptionContext,
    ) -> Result<SecretBytes, DoesNotOpen> {
        let Body::Sealed(sealed) = self.body else { return Err(DoesNotOpen) };
        let aad = [self.header, &canonical(context)].concat();
        sealed::open(material.expose(), PURPOSE, &aad, sealed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entropy::SystemEntropy;

    const ARN: &str = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_blob_opens_with_its_own_context_only() {
        let material = KeyMaterial::generate(&SystemEntropy);
        let bound = context(&[("aws:rds:db-id", "db-1"), ("b", "2")]);
        let blob = encrypt(&material, &[7; 32], ARN, &bound, b"secret", &SystemEntropy);
        let read = Blob::parse(&blob).unwrap();
        assert_eq!((read.key_arn, read.material), (ARN, [7; 32]));
        assert_eq!(read.decrypt(&material, &bound).unwrap().expose(), b"secret");
        for other in [
            &[][..],
            &[("aws:rds:db-id", "db-1")],
            &[("aws:rds:db-id", "db-1"), ("b", "2"), ("c", "3")],
            &[("aws:rds:DB-id", "db-1"), ("b", "2")],
            &[("aws:rds:db-id", "db-2"), ("b", "2")],
        ] {
            assert!(read.decrypt(&material, &context(other)).is_err(), "{other:?}");
        }
        assert!(read.decrypt(&KeyMaterial::generate(&SystemEntropy), &bound).is_err());
    }

    #[test]
    fn the_largest_plaintext_fits_the_largest_blob() {
        let material = KeyMaterial::generate(&SystemEntropy);
        assert!(encrypt(&material, &[0; 32], ARN, &context(&[]), &[0; 4096], &SystemEntropy).len() <= 6144);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut with_magic = MAGIC.to_vec();
            with_magic.extend_from_slice(&bytes);
            let with_other = [&double::MAGIC[..], &bytes[..]].concat();
            for bytes in [&bytes, &with_magic, &with_other] {
                if let Ok(blob) = Blob::parse(bytes) {
                    let material = KeyMaterial::copy_from(&[1; 32]).unwrap();
                    prop_assert!(blob.decrypt(&material, &EncryptionContext::new()).is_err());
                }
            }
        }

        #[test]
        fn any_changed_bit_is_found(flip: prop::sample::Index) {
            let material = KeyMaterial::copy_from(&[1; 32]).unwrap();
            let mut blob = encrypt(&material, &[7; 32], ARN, &EncryptionContext::new(), b"secret", &SystemEntropy);
            let bit = flip.index(blob.len() * 8);
            blob[bit / 8] ^= 1 << (bit % 8);
            let opened = Blob::parse(&blob).and_then(|b| b.decrypt(&material, &EncryptionContext::new()));
            prop_assert!(opened.is_err());
        }
    }
}
