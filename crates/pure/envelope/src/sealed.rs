//! AES-256-GCM under a key that is made for one message: HKDF-SHA256 of the long-lived key with a random salt.
//!
//! ```text
//! 0   16  salt of HKDF
//! 16  12  nonce
//! 28   n  ciphertext
//! ..  16  tag
//! ```
//!
//! Source: RFC 5869, NIST SP 800-38D. A fresh key for every message keeps random nonces safe for any number of
//! messages under one long-lived key.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use ids::Entropy;
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

const SALT: usize = 16;
const TAG: usize = 16;
/// What sealing adds to the length of a plaintext.
pub const OVERHEAD: usize = SALT + NONCE_LEN + TAG;

/// The bytes were not sealed under this key with this associated data, or were changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the sealed bytes do not open")]
pub struct DoesNotOpen;

/// Seals under a long-lived key. `purpose` keeps keys for different uses apart; `aad` binds the place.
pub fn seal(key: &[u8; 32], purpose: &[u8], aad: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut sealed = vec![0; SALT + NONCE_LEN];
    entropy.fill(&mut sealed);
    let message_key = message_key(key, &sealed[..SALT], purpose);
    let nonce = Nonce::try_assume_unique_for_key(&sealed[SALT..]).expect("the length of a nonce");
    // Sealed in place, in a buffer that is wiped should anything fail.
    let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG));
    body.extend_from_slice(plaintext);
    message_key
        .seal_in_place_append_tag(nonce, Aad::from(aad), &mut *body)
        .expect("AES-GCM takes up to 64 GiB");
    sealed.extend_from_slice(&body);
    sealed
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`DoesNotOpen`], which does not say why.
pub fn open(key: &[u8; 32], purpose: &[u8], aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, DoesNotOpen> {
    if sealed.len() < OVERHEAD {
        return Err(DoesNotOpen);
    }
    let (salt, rest) = sealed.split_at(SALT);
    let (nonce, body) = rest.split_at(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
    let mut body = Zeroizing::new(body.to_vec());
    let opened = message_key(key, salt, purpose).open_in_place(nonce, Aad::from(aad), &mut body);
    let length = opened.map_err(|_| DoesNotOpen)?.len();
    let mut plaintext = SecretBytes::new(std::mem::take(&mut *body));
    plaintext.truncate(length);
    Ok(plaintext)
}

fn message_key(key: &[u8; 32], salt: &[u8], purpose: &[u8]) -> LessSafeKey {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    let info = [purpose];
    let expanded = extracted.expand(&info, &AES_256_GCM).expect("one block of output");
    LessSafeKey::new(UnboundKey::from(expanded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn hkdf_is_that_of_rfc_5869() {
        // Appendix A.1.
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(&[0x0b; 22]);
        let mut output = [0; 42];
        extracted.expand(&[&info], Length(42)).unwrap().fill(&mut output).unwrap();
        assert_eq!(
            hex::encode(output),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }

    #[test]
    fn aes_gcm_is_that_of_nist() {
        // GCM specification, test case 14: zero key, zero nonce, 16 zero bytes.
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0; 32]).unwrap());
        let mut body = vec![0; 16];
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).unwrap();
        assert_eq!(hex::encode(body), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }

    #[test]
    fn the_same_plaintext_is_never_sealed_alike() {
        let seal = || seal(&[1; 32], b"p", b"a", b"text", &SystemEntropy);
        assert_ne!(seal(), seal());
    }

    proptest! {
        #[test]
        fn sealed_bytes_open_with_the_same_key_purpose_and_place_only(
            plaintext in proptest::collection::vec(any::<u8>(), 0..64), flip: prop::sample::Index,
        ) {
            let sealed = seal(&[1; 32], b"p", b"a", &plaintext, &SystemEntropy);
            let opened = open(&[1; 32], b"p", b"a", &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &plaintext[..]);
            prop_assert!(open(&[2; 32], b"p", b"a", &sealed).is_err());
            prop_assert!(open(&[1; 32], b"q", b"a", &sealed).is_err());
            prop_assert!(open(&[1; 32], b"p", b"b", &sealed).is_err());
            let mut changed = sealed.clone();
            let bit = flip.index(changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open(&[1; 32], b"p", b"a", &changed).is_err());
            prop_assert!(open(&[1; 32], b"p", b"a", &sealed[..sealed.len() - 1]).is_err());
        }
    }
}
