//! Message authentication codes: HMAC over SHA-2 (RFC 2104, FIPS 198-1).

use aws_lc_rs::{constant_time, hmac};

use crate::{hash::Hash, secret::SecretBytes};

/// A code is not that of the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the code is not that of the message")]
pub struct WrongMac;

const fn algorithm(hash: Hash) -> hmac::Algorithm {
    match hash {
        Hash::Sha224 => hmac::HMAC_SHA224,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    }
}

/// The code of a message; as long as the digest.
pub fn generate(hash: Hash, key: &SecretBytes, message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm(hash), key.expose()), message).as_ref().to_vec()
}

/// Compares in constant time. A shortened code is a wrong one.
///
/// # Errors
/// [`WrongMac`]
pub fn verify(hash: Hash, key: &SecretBytes, message: &[u8], mac: &[u8]) -> Result<(), WrongMac> {
    constant_time::verify_slices_are_equal(&generate(hash, key, message), mac).map_err(|_| WrongMac)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 2 and 6: a key shorter and one longer than a block.
    #[test]
    fn codes_are_those_of_rfc_4231() {
        type Case<'a> = (&'a [u8], &'a [u8], [(Hash, &'a str); 4]);
        let long = [0xaa; 131];
        let cases: [Case<'_>; 2] = [
            (
                b"Jefe",
                b"what do ya want for nothing?",
                [
                    (Hash::Sha224, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
                    (Hash::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
                    (
                        Hash::Sha384,
                        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
                    ),
                    (
                        Hash::Sha512,
                        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
                         caeab1a34d4a6b4b636e070a38bce737",
                    ),
                ],
            ),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                [
                    (Hash::Sha224, "95e9a0db962095adaebe9b2d6f0dbce2d499f112f2d2b7273fa6870e"),
                    (Hash::Sha256, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
                    (
                        Hash::Sha384,
                        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
                    ),
                    (
                        Hash::Sha512,
                        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e52\
                         95e64f73f63f0aec8b915a985d786598",
                    ),
                ],
            ),
        ];
        for (key, message, codes) in cases {
            let key = SecretBytes::new(key.to_vec());
            for (hash, code) in codes {
                let code: String = code.split_whitespace().collect();
                assert_eq!(hex::encode(generate(hash, &key, message)), code, "{hash:?}");
                let mut mac = hex::decode(&code).unwrap();
                assert_eq!(verify(hash, &key, message, &mac), Ok(()));
                assert_eq!(verify(hash, &key, message, &mac[..mac.len() - 1]), Err(WrongMac));
                mac[0] ^= 1;
                assert_eq!(verify(hash, &key, message, &mac), Err(WrongMac));
            }
        }
    }
}
