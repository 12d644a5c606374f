//! ML-KEM (FIPS 203), and its keys as DER: `aws-lc-rs` has their bytes only.
//!
//! A private key is the `expandedKey` of RFC 9935: the decapsulation key of FIPS 203, which holds the encapsulation key.

use aws_lc_rs::kem::{
    Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768, ML_KEM_1024,
};
use zeroize::Zeroizing;

use super::{BadKey, PairSpec, PrivateKey, Read};
use crate::secret::SecretBytes;

/// A secret, and the ciphertext that gives it to the owner of the key.
#[derive(Debug)]
pub struct Encapsulated {
    pub secret: SecretBytes,
    pub ciphertext: Vec<u8>,
}

/// Sizes by FIPS 203, table 3: bytes of the encapsulation key, and of 384 bytes times the rank before it.
struct Shape {
    algorithm: &'static Algorithm,
    encapsulation: usize,
    decapsulation: usize,
    /// Last arc of the object identifier 2.16.840.1.101.3.4.4.
    arc: u8,
}

const fn shape(spec: PairSpec) -> Option<Shape> {
    let (algorithm, rank, arc) = match spec {
        PairSpec::MlKem512 => (&ML_KEM_512, 2, 1),
        PairSpec::MlKem768 => (&ML_KEM_768, 3, 2),
        PairSpec::MlKem1024 => (&ML_KEM_1024, 4, 3),
        _ => return None,
    };
    Some(Shape { algorithm, encapsulation: 384 * rank + 32, decapsulation: 768 * rank + 96, arc })
}

/// A key that opens what was encapsulated for it.
#[derive(Debug)]
pub(super) struct Decapsulator {
    key: DecapsulationKey,
    encapsulation: Vec<u8>,
    arc: u8,
}

pub(super) fn generate(spec: PairSpec) -> Result<SecretBytes, BadKey> {
    let shape = shape(spec).ok_or(BadKey)?;
    let key = DecapsulationKey::generate(shape.algorithm).map_err(|_| BadKey)?;
    let bytes = key.key_bytes().map_err(|_| BadKey)?;
    Ok(SecretBytes::new(pkcs8(shape.arc, bytes.as_ref())))
}

impl Decapsulator {
    pub(super) fn of(spec: PairSpec, der: &[u8]) -> Option<Self> {
        let shape = shape(spec)?;
        let bytes = &der[der.len().checked_sub(shape.decapsulation)?..];
        // The one way to write it is the way we write it.
        if *Zeroizing::new(pkcs8(shape.arc, bytes)) != der {
            return None;
        }
        let key = DecapsulationKey::new(shape.algorithm, bytes).ok()?;
        // decapsulation key = inner private key, encapsulation key, its hash, the value for what does not open
        let end = shape.decapsulation - 64;
        let encapsulation = bytes[end - shape.encapsulation..end].to_vec();
        EncapsulationKey::new(shape.algorithm, &encapsulation).ok()?;
        Some(Self { key, encapsulation, arc: shape.arc })
    }

    pub(super) fn public_key(&self) -> Vec<u8> {
        let bits = tagged(0x03, &[&[0], &self.encapsulation]);
        tagged(0x30, &[&algorithm(self.arc), &bits])
    }
}

impl PrivateKey {
    /// A new secret for the owner of this key.
    ///
    /// # Errors
    /// [`BadKey`]
    pub fn encapsulate(&self) -> Result<Encapsulated, BadKey> {
        let Read::MlKem(Decapsulator { key, encapsulation, .. }) = self.read()? else { return Err(BadKey) };
        let key = EncapsulationKey::new(key.algorithm(), encapsulation).map_err(|_| BadKey)?;
        let (ciphertext, secret) = key.encapsulate().map_err(|_| BadKey)?;
        let secret = SecretBytes::new(secret.as_ref().to_vec());
        Ok(Encapsulated { secret, ciphertext: ciphertext.as_ref().to_vec() })
    }

    /// The secret of a ciphertext. One that was made for another key, or changed, gives a secret that nobody knows:
    /// that is how ML-KEM refuses (FIPS 203, §6.3).
    ///
    /// # Errors
    /// [`BadKey`] for bytes of another length than a ciphertext has.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<SecretBytes, BadKey> {
        let Read::MlKem(Decapsulator { key, .. }) = self.read()? else { return Err(BadKey) };
        let secret = key.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| BadKey)?;
        Ok(SecretBytes::new(secret.as_ref().to_vec()))
    }
}

fn algorithm(arc: u8) -> Vec<u8> {
    tagged(0x30, &[&tagged(0x06, &[&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, arc]])])
}

/// Written into one buffer of the right size, so that no copy of the key is left behind.
fn pkcs8(arc: u8, key: &[u8]) -> Vec<u8> {
    let algorithm = algorithm(arc);
    let inner = header(0x04, key.len());
    let outer = header(0x04, inner.len() + key.len());
    let before = [&[0x02, 0x01, 0x00], &algorithm[..], &outer, &inner].concat();
    let whole = header(0x30, before.len() + key.len());
    let mut der = Vec::with_capacity(whole.len() + before.len() + key.len());
    for part in [&whole[..], &before, key] {
        der.extend_from_slice(part);
    }
    der
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [header(tag, content.len()), content].concat()
}

/// Tag and length (X.690, §8.1): short below 128, else as few bytes as it takes.
fn header(tag: u8, length: usize) -> Vec<u8> {
    match length {
        0..128 => vec![tag, length.to_le_bytes()[0]],
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            let count = 0x80 | bytes.len().to_le_bytes()[0];
            [&[tag, count], &bytes[..]].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [PairSpec; 3] = [PairSpec::MlKem512, PairSpec::MlKem768, PairSpec::MlKem1024];

    #[test]
    fn what_is_encapsulated_is_for_the_owner_of_the_key() {
        for (spec, length) in ALL.into_iter().zip([768, 1088, 1568]) {
            let key = PrivateKey::generate(spec).unwrap();
            let made = key.encapsulate().unwrap();
            assert_eq!((made.secret.expose().len(), made.ciphertext.len()), (32, length));
            assert_eq!(key.decapsulate(&made.ciphertext).unwrap().expose(), made.secret.expose());
            let other = PrivateKey::generate(spec).unwrap();
            assert_ne!(other.decapsulate(&made.ciphertext).unwrap().expose(), made.secret.expose());
            let mut changed = made.ciphertext.clone();
            changed[0] ^= 1;
            assert_ne!(key.decapsulate(&changed).unwrap().expose(), made.secret.expose());
            assert!(key.decapsulate(&changed[1..]).is_err());
            assert!(key.decapsulate(b"").is_err());
        }
    }

    #[test]
    fn a_key_is_read_only_as_it_was_written() {
        let key = PrivateKey::generate(PairSpec::MlKem768).unwrap();
        let der = key.pkcs8().expose();
        let again = PrivateKey::import(PairSpec::MlKem768, SecretBytes::new(der.to_vec())).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert!(PrivateKey::import(PairSpec::MlKem512, SecretBytes::new(der.to_vec())).is_err());
        for bad in [&der[1..], &der[..der.len() - 1], b""] {
            assert!(PrivateKey::import(PairSpec::MlKem768, SecretBytes::new(bad.to_vec())).is_err());
        }
    }
}
