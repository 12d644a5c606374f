//! The ciphertext blob of a key in an external key store: sealed here under the key's own material, then encrypted
//! once more by the external key (double encryption). Neither side opens it alone.
//!
//! ```text
//! 0    4  magic "SRX1"
//! 4    2  length of the key ARN, little-endian
//! 6    n  key ARN
//! ..  32  id of the key material
//! ..   1  length of the metadata, 0 to 20
//! ..   k  metadata, as the external key store proxy returned it
//! ..   1  length of the initialization vector, 12 or 16
//! ..   v  initialization vector
//! ..  16  authentication tag
//! ..   m  ciphertext of the external key; its plaintext: sealed bytes (sealed.rs), whose associated data are the
//!         header up to the id, and the canonical encryption context
//! ```
//!
//! The associated data of the external key are the SHA-256 of the inner ones: 32 bytes, however large the context, which
//! binds the outer layer to the same key, material and context. Source: AWS KMS External Key Store Proxy API
//! Specification (Encrypt, Decrypt).

use aws_lc_rs::digest;
use ids::Entropy;

use crate::{
    blob::{Blob, MaterialId, header},
    context::{EncryptionContext, canonical},
    sealed::{self, DoesNotOpen},
    secret::{KeyMaterial, SecretBytes},
};

pub(crate) const MAGIC: &[u8; 4] = b"SRX1";
const PURPOSE: &[u8] = b"strongroom/kms/external/v1";
/// Most bytes of metadata that a proxy may return.
pub const MOST_METADATA: usize = 20;
/// Lengths of an initialization vector.
pub const IV_LENGTHS: [usize; 2] = [12, 16];
/// Length of an authentication tag.
pub const TAG: usize = 16;

/// The inner layer, which is yet to be encrypted by the external key.
#[derive(Debug)]
pub struct Inner {
    header: Vec<u8>,
    /// What the external key is to encrypt. No secret: it is sealed.
    pub sealed: Vec<u8>,
    /// Its associated data.
    pub aad: [u8; 32],
}

/// The outer layer: what the external key has made of the inner one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outer<'a> {
    /// At most [`MOST_METADATA`] bytes.
    pub metadata: &'a [u8],
    /// 12 or 16 bytes.
    pub iv: &'a [u8],
    pub tag: &'a [u8; TAG],
    pub ciphertext: &'a [u8],
}

/// Makes the inner layer.
pub fn seal(
    material: &KeyMaterial,
    material_id: &MaterialId,
    key_arn: &str,
    context: &EncryptionContext,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Inner {
    let header = header(MAGIC, material_id, key_arn, 0);
    let aad = [&header[..], &canonical(context)].concat();
    let sealed = sealed::seal(material.expose(), PURPOSE, &aad, plaintext, entropy);
    Inner { header, sealed, aad: outer_aad(&aad) }
}

impl Inner {
    /// The blob, with its outer layer.
    ///
    /// # Panics
    /// For metadata or an initialization vector of a length that there is not; whoever asked the proxy has checked.
    pub fn into_blob(self, outer: &Outer<'_>) -> Vec<u8> {
        assert!(
            outer.metadata.len() <= MOST_METADATA && IV_LENGTHS.contains(&outer.iv.len()),
            "checked before"
        );
        let mut blob = self.header;
        for part in [outer.metadata, outer.iv] {
            blob.push(u8::try_from(part.len()).expect("checked above"));
            blob.extend_from_slice(part);
        }
        blob.extend_from_slice(outer.tag);
        blob.extend_from_slice(outer.ciphertext);
        blob
    }
}

impl<'a> Outer<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, DoesNotOpen> {
        let (metadata, rest) = short(bytes)?;
        let (iv, rest) = short(rest)?;
        let (tag, ciphertext) = rest.split_first_chunk::<TAG>().ok_or(DoesNotOpen)?;
        if metadata.len() > MOST_METADATA || !IV_LENGTHS.contains(&iv.len()) {
            return Err(DoesNotOpen);
        }
        Ok(Self { metadata, iv, tag, ciphertext })
    }
}

impl Blob<'_> {
    /// The associated data of the outer layer in a context.
    pub fn outer_aad(&self, context: &EncryptionContext) -> [u8; 32] {
        outer_aad(&[self.header, &canonical(context)].concat())
    }

    /// Opens the inner layer, which the external key has given back.
    ///
    /// # Errors
    /// [`DoesNotOpen`] for any other material or context, or changed bytes.
    pub fn decrypt_inner(
        &self,
        material: &KeyMaterial,
        context: &EncryptionContext,
        sealed: &[u8],
    ) -> Result<SecretBytes, DoesNotOpen> {
        let aad = [self.header, &canonical(context)].concat();
        sealed::open(material.expose(), PURPOSE, &aad, sealed)
    }
}

fn outer_aad(inner: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, inner);
    digest.as_ref().try_into().expect("the length of SHA-256")
}

/// Bytes behind their length, one byte.
fn short(bytes: &[u8]) -> Result<(&[u8], &[u8]), DoesNotOpen> {
    let (length, rest) = bytes.split_first().ok_or(DoesNotOpen)?;
    rest.split_at_checked(usize::from(*length)).ok_or(DoesNotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    const ARN: &str = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    /// Most bytes of plaintext that every proxy takes.
    const PROXY_TAKES: usize = 4300;

    /// An "external key" that turns every bit.
    fn turned(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().map(|byte| !byte).collect()
    }

    fn context(value: &str) -> EncryptionContext {
        EncryptionContext::from([("Dept".into(), value.into())])
    }

    #[test]
    fn both_layers_are_bound_to_key_material_and_context() {
        let material = KeyMaterial::generate(&SystemEntropy);
        let inner = seal(&material, &[7; 32], ARN, &context("it"), b"secret", &SystemEntropy);
        let (aad, ciphertext) = (inner.aad, turned(&inner.sealed));
        for (metadata, iv) in [(&b""[..], &[1; 12][..]), (&[2; MOST_METADATA][..], &[1; 16][..])] {
            let inner = Inner { header: inner.header.clone(), sealed: inner.sealed.clone(), aad };
            let outer = Outer { metadata, iv, tag: &[3; TAG], ciphertext: &ciphertext };
            let bytes = inner.into_blob(&outer);
            let blob = Blob::parse(&bytes).unwrap();
            assert_eq!((blob.key_arn, blob.material, blob.outer()), (ARN, [7; 32], Some(&outer)));
            assert_eq!(blob.outer_aad(&context("it")), aad);
            assert_ne!(blob.outer_aad(&context("IT")), aad);
            let opened = |material: &KeyMaterial, value: &str| {
                blob.decrypt_inner(material, &context(value), &turned(blob.outer().unwrap().ciphertext))
            };
            assert_eq!(opened(&material, "it").unwrap().expose(), b"secret");
            assert!(opened(&material, "IT").is_err());
            assert!(opened(&KeyMaterial::generate(&SystemEntropy), "it").is_err());
            assert!(blob.decrypt(&material, &context("it")).is_err(), "not without the external key");
        }
    }

    #[test]
    fn an_outer_layer_of_odd_lengths_is_none() {
        let head = header(MAGIC, &[7; 32], ARN, 0);
        let blob = |metadata: u8, iv: u8| {
            let (metadata, iv) = (vec![metadata; usize::from(metadata) + 1], vec![iv; usize::from(iv) + 1]);
            [head.clone(), metadata, iv, vec![0; TAG]].concat()
        };
        assert!(Blob::parse(&blob(20, 12)).is_ok());
        for (metadata, iv) in [(21, 12), (0, 11), (0, 0), (0, 17)] {
            assert!(Blob::parse(&blob(metadata, iv)).is_err(), "{metadata} {iv}");
        }
        let whole = blob(0, 12);
        for cut in 0..whole.len() {
            assert!(Blob::parse(&whole[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn the_largest_plaintext_fits_the_proxy_and_the_largest_blob() {
        let material = KeyMaterial::generate(&SystemEntropy);
        let inner = seal(&material, &[0; 32], ARN, &context(""), &[0; 4096], &SystemEntropy);
        assert!(inner.sealed.len() <= PROXY_TAKES);
        let ciphertext = inner.sealed.clone();
        let outer = Outer { metadata: &[0; 20], iv: &[0; 16], tag: &[0; TAG], ciphertext: &ciphertext };
        assert!(inner.into_blob(&outer).len() <= 6144);
    }
}
