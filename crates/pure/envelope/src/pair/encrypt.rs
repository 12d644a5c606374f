//! Encryption for the owner of an RSA key: OAEP with the hash function for MGF1 too and no label (RFC 8017, §7.1).

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey,
};

use super::{BadKey, PrivateKey, Read};
use crate::{sealed::DoesNotOpen, secret::SecretBytes};

/// The hash function of an OAEP encryption.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Oaep {
    Sha1,
    Sha256,
}

impl Oaep {
    const fn algorithm(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha1 => &OAEP_SHA1_MGF1SHA1,
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
        }
    }

    /// Longest plaintext under a key with such a modulus, in bytes.
    pub const fn longest(self, modulus_bits: usize) -> usize {
        let hash = match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        };
        modulus_bits / 8 - 2 * hash - 2
    }
}

impl PrivateKey {
    /// Encrypts with the public key.
    ///
    /// # Errors
    /// [`BadKey`] for a plaintext longer than [`Oaep::longest`] too.
    pub fn oaep_encrypt(&self, oaep: Oaep, plaintext: &[u8]) -> Result<Vec<u8>, BadKey> {
        let Read::Rsa { opening, .. } = self.read()? else { return Err(BadKey) };
        let key = OaepPublicEncryptingKey::new(opening.public_key()).map_err(|_| BadKey)?;
        let mut ciphertext = vec![0; key.ciphertext_size()];
        key.encrypt(oaep.algorithm(), plaintext, &mut ciphertext, None).map_err(|_| BadKey)?;
        Ok(ciphertext)
    }

    /// Decrypts.
    ///
    /// # Errors
    /// [`DoesNotOpen`], whatever is wrong: telling more would help to find out the plaintext.
    pub fn oaep_decrypt(&self, oaep: Oaep, ciphertext: &[u8]) -> Result<SecretBytes, DoesNotOpen> {
        let Ok(Read::Rsa { opening, .. }) = self.read() else { return Err(DoesNotOpen) };
        let key = OaepPrivateDecryptingKey::new(opening.clone()).map_err(|_| DoesNotOpen)?;
        let mut plaintext = SecretBytes::new(vec![0; key.min_output_size()]);
        let opened = key.decrypt(oaep.algorithm(), ciphertext, plaintext.expose_mut(), None);
        let length = opened.map_err(|_| DoesNotOpen)?.len();
        plaintext.truncate(length);
        Ok(plaintext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PairSpec;

    #[test]
    fn the_longest_plaintext_is_as_long_as_the_table_says() {
        let table = [(2048, 214, 190), (3072, 342, 318), (4096, 470, 446)];
        for (bits, sha1, sha256) in table {
            assert_eq!((Oaep::Sha1.longest(bits), Oaep::Sha256.longest(bits)), (sha1, sha256));
        }
        let key = PrivateKey::generate(PairSpec::Rsa2048).unwrap();
        for oaep in [Oaep::Sha1, Oaep::Sha256] {
            let plaintext = vec![7; oaep.longest(2048)];
            let made = key.oaep_encrypt(oaep, &plaintext).unwrap();
            assert_eq!(key.oaep_decrypt(oaep, &made).unwrap().expose(), plaintext);
            assert!(key.oaep_encrypt(oaep, &[&plaintext[..], b"x"].concat()).is_err());
            let other = if oaep == Oaep::Sha1 { Oaep::Sha256 } else { Oaep::Sha1 };
            assert!(key.oaep_decrypt(other, &made).is_err());
            for bad in [&made[1..], b"", &[0xff; 256]] {
                assert!(key.oaep_decrypt(oaep, bad).is_err());
            }
        }
    }
}
