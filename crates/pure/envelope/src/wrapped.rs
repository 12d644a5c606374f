//! Key material that comes wrapped for an RSA key of ours (spec/kms.md §13): OAEP alone, or OAEP of an AES key that
//! wraps the material (AES-KWP, SP 800-38F; RFC 5649).

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};

use crate::{
    pair::{Oaep, PrivateKey},
    sealed::DoesNotOpen,
    secret::SecretBytes,
};

/// How material is wrapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrapping {
    Oaep(Oaep),
    /// The ciphertext of a 256-bit AES key, then the material wrapped under that.
    AesKeyWrap(Oaep),
}

/// Opens wrapped material.
///
/// # Errors
/// [`DoesNotOpen`], whatever is wrong.
pub fn unwrap(key: &PrivateKey, wrapping: Wrapping, wrapped: &[u8]) -> Result<SecretBytes, DoesNotOpen> {
    let oaep = match wrapping {
        Wrapping::Oaep(oaep) => return key.oaep_decrypt(oaep, wrapped),
        Wrapping::AesKeyWrap(oaep) => oaep,
    };
    let length = key.spec().rsa_bits().ok_or(DoesNotOpen)? / 8;
    let (wrapped_key, wrapped_material) = wrapped.split_at_checked(length).ok_or(DoesNotOpen)?;
    let key = key.oaep_decrypt(oaep, wrapped_key)?;
    let key = AesKek::new(&AES_256, key.expose()).map_err(|_| DoesNotOpen)?;
    let mut material = SecretBytes::new(vec![0; wrapped_material.len()]);
    let unwrapped = key.unwrap_with_padding(wrapped_material, material.expose_mut());
    let length = unwrapped.map_err(|_| DoesNotOpen)?.len();
    material.truncate(length);
    Ok(material)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PairSpec;

    #[test]
    fn any_length_is_padded_and_comes_back() {
        let kek = || AesKek::new(&AES_256, &[7; 32]).unwrap();
        for length in [1, 7, 8, 20, 32, 1217] {
            let mut wrapped = vec![0; length + 16];
            let wrapped = kek().wrap_with_padding(&vec![9; length], &mut wrapped).unwrap();
            assert_eq!(wrapped.len(), length.next_multiple_of(8) + 8);
            let mut opened = vec![0; wrapped.len()];
            assert_eq!(kek().unwrap_with_padding(wrapped, &mut opened).unwrap(), vec![9; length]);
        }
    }

    #[test]
    fn material_opens_as_it_was_wrapped_and_not_when_changed() {
        let key = PrivateKey::generate(PairSpec::Rsa2048).unwrap();
        for oaep in [Oaep::Sha1, Oaep::Sha256] {
            let plain = key.oaep_encrypt(oaep, &[9; 32]).unwrap();
            assert_eq!(unwrap(&key, Wrapping::Oaep(oaep), &plain).unwrap().expose(), [9; 32]);
            let mut material = vec![0; 1300];
            let kek = AesKek::new(&AES_256, &[7; 32]).unwrap();
            let material = kek.wrap_with_padding(&[9; 1217], &mut material).unwrap();
            let both = [&key.oaep_encrypt(oaep, &[7; 32]).unwrap()[..], material].concat();
            let way = Wrapping::AesKeyWrap(oaep);
            assert_eq!(unwrap(&key, way, &both).unwrap().expose(), [9; 1217]);
            for bad in [&both[1..], &both[..both.len() - 1], &both[..256], &both[..10], b""] {
                assert!(unwrap(&key, way, bad).is_err());
            }
            let mut changed = both.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert!(unwrap(&key, way, &changed).is_err());
            let short = [&key.oaep_encrypt(oaep, &[7; 16]).unwrap()[..], material].concat();
            assert!(unwrap(&key, way, &short).is_err(), "a 128-bit key");
        }
    }
}
