//! Signatures (spec/kms.md §6): RSA (RFC 8017), ECDSA in DER (FIPS 186-5), Ed25519 and Ed25519ph (RFC 8032), ML-DSA
//! (FIPS 204).

use aws_lc_rs::{
    digest::Digest,
    rand::SystemRandom,
    signature::{self, RsaEncoding, UnparsedPublicKey, VerificationAlgorithm},
};

use super::{BadKey, PairSpec, PrivateKey, Read, low};
use crate::hash::Hash;

/// How a message is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SigningAlgorithm {
    /// RSASSA-PSS; the salt is as long as the digest.
    Pss(Hash),
    Pkcs1(Hash),
    Ecdsa(Hash),
    Ed25519,
    /// Ed25519ph with an empty context: of a SHA-512 digest.
    Ed25519Ph,
    /// With an empty context.
    MlDsa,
}

/// What is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// A message.
    Raw(&'a [u8]),
    /// The digest of a message.
    Digest(&'a [u8]),
    /// The 64 bytes µ of ML-DSA, made of the public key and the message (FIPS 204, §5.2, step 6 of algorithm 7).
    ExternalMu(&'a [u8]),
}

/// Why something is not signed, or a signature is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unsigned {
    /// Such messages are not for this algorithm.
    #[error("the algorithm does not sign such messages")]
    Kind,
    /// A digest or µ of another length.
    #[error("the digest has another length")]
    Length,
    #[error("the signature is not that of the message")]
    Signature,
    #[error(transparent)]
    Key(#[from] BadKey),
}

/// Bytes of µ.
const MU: usize = 64;

impl SigningAlgorithm {
    const NAMES: [(Self, &'static str); 12] = [
        (Self::Pss(Hash::Sha256), "RSASSA_PSS_SHA_256"),
        (Self::Pss(Hash::Sha384), "RSASSA_PSS_SHA_384"),
        (Self::Pss(Hash::Sha512), "RSASSA_PSS_SHA_512"),
        (Self::Pkcs1(Hash::Sha256), "RSASSA_PKCS1_V1_5_SHA_256"),
        (Self::Pkcs1(Hash::Sha384), "RSASSA_PKCS1_V1_5_SHA_384"),
        (Self::Pkcs1(Hash::Sha512), "RSASSA_PKCS1_V1_5_SHA_512"),
        (Self::Ecdsa(Hash::Sha256), "ECDSA_SHA_256"),
        (Self::Ecdsa(Hash::Sha384), "ECDSA_SHA_384"),
        (Self::Ecdsa(Hash::Sha512), "ECDSA_SHA_512"),
        (Self::Ed25519, "ED25519_SHA_512"),
        (Self::Ed25519Ph, "ED25519_PH_SHA_512"),
        (Self::MlDsa, "ML_DSA_SHAKE_256"),
    ];

    /// The algorithm that AWS calls so.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(algorithm, _)| *algorithm)
    }

    /// Checks that a message is of a kind and a length that the algorithm takes.
    ///
    /// # Errors
    /// [`Unsigned::Kind`] and [`Unsigned::Length`]
    pub fn check(self, message: Message<'_>) -> Result<(), Unsigned> {
        let (given, wanted) = match (self, message) {
            (Self::Ed25519Ph, Message::Raw(_)) => return Err(Unsigned::Kind),
            (_, Message::Raw(_)) => return Ok(()),
            (Self::Pss(hash) | Self::Pkcs1(hash) | Self::Ecdsa(hash), Message::Digest(digest)) => {
                (digest, hash.length())
            }
            (Self::Ed25519Ph, Message::Digest(digest)) => (digest, Hash::Sha512.length()),
            (Self::MlDsa, Message::ExternalMu(mu)) => (mu, MU),
            _ => return Err(Unsigned::Kind),
        };
        if given.len() == wanted { Ok(()) } else { Err(Unsigned::Length) }
    }
}

impl PrivateKey {
    /// Signs.
    ///
    /// # Errors
    /// [`Unsigned`]; [`BadKey`] for an algorithm of other keys too.
    pub fn sign(&self, algorithm: SigningAlgorithm, message: Message<'_>) -> Result<Vec<u8>, Unsigned> {
        use SigningAlgorithm as A;
        algorithm.check(message)?;
        let key = self.read()?;
        let failed = |_| Unsigned::Key(BadKey);
        match (key, algorithm, message) {
            (Read::Rsa { signing, .. }, A::Pss(hash) | A::Pkcs1(hash), _) => {
                let encoding = rsa_encoding(algorithm).ok_or(BadKey)?;
                let mut made = vec![0; signing.public_modulus_len()];
                match message {
                    Message::Digest(digest) => {
                        signing.sign_digest(encoding, &imported(hash, digest)?, &mut made)
                    }
                    Message::Raw(bytes) | Message::ExternalMu(bytes) => {
                        signing.sign(encoding, &SystemRandom::new(), bytes, &mut made)
                    }
                }
                .map_err(failed)?;
                Ok(made)
            }
            (Read::Curve { signing, .. }, A::Ecdsa(hash), _) if verifying(self.spec, algorithm).is_some() => {
                let made = match message {
                    Message::Digest(digest) => signing.sign_digest(&imported(hash, digest)?),
                    Message::Raw(bytes) | Message::ExternalMu(bytes) => {
                        signing.sign(&SystemRandom::new(), bytes)
                    }
                };
                Ok(made.map_err(failed)?.as_ref().to_vec())
            }
            (Read::Ed25519(key), A::Ed25519, Message::Raw(bytes)) => {
                Ok(key.try_sign(bytes).map_err(failed)?.as_ref().to_vec())
            }
            (Read::Ed25519(key), A::Ed25519Ph, Message::Digest(digest)) => {
                Ok(low::sign_prehashed(key, digest)?)
            }
            (Read::MlDsa(key), A::MlDsa, Message::Raw(bytes)) => {
                let mut made = vec![0; key.algorithm().signature_len()];
                key.sign(bytes, &mut made).map_err(failed)?;
                Ok(made)
            }
            (Read::MlDsa(key), A::MlDsa, Message::ExternalMu(mu)) => Ok(low::sign_mu(self.spec, key, mu)?),
            _ => Err(BadKey.into()),
        }
    }

    /// Verifies a signature by this key.
    ///
    /// # Errors
    /// [`Unsigned`]
    pub fn verify(
        &self,
        algorithm: SigningAlgorithm,
        message: Message<'_>,
        signature: &[u8],
    ) -> Result<(), Unsigned> {
        use SigningAlgorithm as A;
        algorithm.check(message)?;
        let genuine = match (self.read()?, algorithm, message) {
            (Read::Ed25519(key), A::Ed25519Ph, Message::Digest(digest)) => {
                low::verify_prehashed(key, digest, signature)
            }
            (Read::MlDsa(key), A::MlDsa, Message::ExternalMu(mu)) => {
                low::verify_mu(self.spec, key, mu, signature)?
            }
            _ => {
                let public = UnparsedPublicKey::new(
                    verifying(self.spec, algorithm).ok_or(BadKey)?,
                    self.public_key()?,
                );
                match (algorithm, message) {
                    (A::Pss(hash) | A::Pkcs1(hash) | A::Ecdsa(hash), Message::Digest(digest)) => {
                        public.verify_digest(&imported(hash, digest)?, signature)
                    }
                    (_, Message::Raw(bytes) | Message::Digest(bytes) | Message::ExternalMu(bytes)) => {
                        public.verify(bytes, signature)
                    }
                }
                .is_ok()
            }
        };
        if genuine { Ok(()) } else { Err(Unsigned::Signature) }
    }
}

/// The caller answers for what the digest is of: that is what signing a digest means.
fn imported(hash: Hash, digest: &[u8]) -> Result<Digest, Unsigned> {
    Digest::import_less_safe(digest, hash.digest()).map_err(|_| Unsigned::Length)
}

fn rsa_encoding(algorithm: SigningAlgorithm) -> Option<&'static dyn RsaEncoding> {
    use SigningAlgorithm::{Pkcs1, Pss};
    Some(match algorithm {
        Pss(Hash::Sha256) => &signature::RSA_PSS_SHA256,
        Pss(Hash::Sha384) => &signature::RSA_PSS_SHA384,
        Pss(Hash::Sha512) => &signature::RSA_PSS_SHA512,
        Pkcs1(Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
        Pkcs1(Hash::Sha384) => &signature::RSA_PKCS1_SHA384,
        Pkcs1(Hash::Sha512) => &signature::RSA_PKCS1_SHA512,
        _ => return None,
    })
}

fn verifying(spec: PairSpec, algorithm: SigningAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    use PairSpec as P;
    use SigningAlgorithm::{Ecdsa, Ed25519, MlDsa, Pkcs1, Pss};
    Some(match (spec, algorithm) {
        (P::Rsa2048 | P::Rsa3072 | P::Rsa4096, Pss(Hash::Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
        (P::Rsa2048 | P::Rsa3072 | P::Rsa4096, Pss(Hash::Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
        (P::Rsa2048 | P::Rsa3072 | P::Rsa4096, Pss(Hash::Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
        (P::Rsa2048 | P::Rsa3072 | P::Rsa4096, Pkcs1(Hash::Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (P::Rsa2048 | P::Rsa3072 | P::Rsa4096, Pkcs1(Hash::Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (P::Rsa2048 | P::Rsa3072 | P::Rsa4096, Pkcs1(Hash::Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (P::P256, Ecdsa(Hash::Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (P::P384, Ecdsa(Hash::Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (P::P521, Ecdsa(Hash::Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
        (P::P256K1, Ecdsa(Hash::Sha256)) => &signature::ECDSA_P256K1_SHA256_ASN1,
        (P::Ed25519, Ed25519) => &signature::ED25519,
        (P::MlDsa44, MlDsa) => &signature::ML_DSA_44,
        (P::MlDsa65, MlDsa) => &signature::ML_DSA_65,
        (P::MlDsa87, MlDsa) => &signature::ML_DSA_87,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    use super::*;
    use crate::secret::SecretBytes;

    /// Every spec that signs, with every algorithm that it has.
    const PAIRS: [(PairSpec, SigningAlgorithm); 14] = {
        use SigningAlgorithm as A;
        [
            (PairSpec::Rsa2048, A::Pss(Hash::Sha256)),
            (PairSpec::Rsa2048, A::Pss(Hash::Sha384)),
            (PairSpec::Rsa2048, A::Pss(Hash::Sha512)),
            (PairSpec::Rsa2048, A::Pkcs1(Hash::Sha256)),
            (PairSpec::Rsa2048, A::Pkcs1(Hash::Sha384)),
            (PairSpec::Rsa2048, A::Pkcs1(Hash::Sha512)),
            (PairSpec::P256, A::Ecdsa(Hash::Sha256)),
            (PairSpec::P384, A::Ecdsa(Hash::Sha384)),
            (PairSpec::P521, A::Ecdsa(Hash::Sha512)),
            (PairSpec::P256K1, A::Ecdsa(Hash::Sha256)),
            (PairSpec::Ed25519, A::Ed25519),
            (PairSpec::MlDsa44, A::MlDsa),
            (PairSpec::MlDsa65, A::MlDsa),
            (PairSpec::MlDsa87, A::MlDsa),
        ]
    };

    #[test]
    fn a_signature_is_that_of_one_message_by_one_key() {
        let mut kept: Option<PrivateKey> = None;
        for (spec, algorithm) in PAIRS {
            let key = match kept.take() {
                Some(key) if key.spec() == spec => key,
                _ => PrivateKey::generate(spec).unwrap(),
            };
            let message = Message::Raw(b"message");
            let made = key.sign(algorithm, message).unwrap();
            assert_eq!(key.verify(algorithm, message, &made), Ok(()), "{spec:?} {algorithm:?}");
            let none = Err(Unsigned::Signature);
            assert_eq!(key.verify(algorithm, Message::Raw(b"massage"), &made), none, "{spec:?}");
            assert_eq!(key.verify(algorithm, message, &made[1..]), none, "{spec:?}");
            assert_eq!(key.verify(algorithm, message, b""), none, "{spec:?}");
            let mut changed = made.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert_eq!(key.verify(algorithm, message, &changed), none, "{spec:?}");
            if spec != PairSpec::Rsa2048 {
                let other = PrivateKey::generate(spec).unwrap();
                assert_eq!(other.verify(algorithm, message, &made), none, "{spec:?}");
            }
            let again = PrivateKey::import(spec, SecretBytes::new(key.pkcs8().expose().to_vec())).unwrap();
            assert_eq!(again.verify(algorithm, message, &made), Ok(()), "{spec:?}");
            kept = Some(key);
        }
    }

    #[test]
    fn a_digest_is_signed_as_its_message_is() {
        let mut kept: Option<PrivateKey> = None;
        for (spec, algorithm) in PAIRS {
            use SigningAlgorithm::{Ecdsa, Pkcs1, Pss};
            let (Pss(hash) | Pkcs1(hash) | Ecdsa(hash)) = algorithm else { continue };
            let key = match kept.take() {
                Some(key) if key.spec() == spec => key,
                _ => PrivateKey::generate(spec).unwrap(),
            };
            let digest = digest::digest(hash.digest(), b"message");
            let by_digest = key.sign(algorithm, Message::Digest(digest.as_ref())).unwrap();
            assert_eq!(key.verify(algorithm, Message::Raw(b"message"), &by_digest), Ok(()), "{spec:?}");
            let by_message = key.sign(algorithm, Message::Raw(b"message")).unwrap();
            let digest = Message::Digest(digest.as_ref());
            assert_eq!(key.verify(algorithm, digest, &by_message), Ok(()), "{spec:?}");
            let short = Message::Digest(b"short");
            assert_eq!(key.sign(algorithm, short), Err(Unsigned::Length));
            assert_eq!(key.verify(algorithm, short, &by_message), Err(Unsigned::Length));
            assert_eq!(key.sign(algorithm, Message::ExternalMu(&[0; 64])), Err(Unsigned::Kind));
            kept = Some(key);
        }
    }

    #[test]
    fn an_algorithm_of_other_keys_is_refused() {
        let key = PrivateKey::generate(PairSpec::P256).unwrap();
        for (_, algorithm) in
            PAIRS.into_iter().filter(|(spec, _)| !matches!(spec, PairSpec::P256 | PairSpec::P256K1))
        {
            let message = Message::Raw(b"message");
            assert_eq!(key.sign(algorithm, message), Err(Unsigned::Key(BadKey)), "{algorithm:?}");
            assert_eq!(key.verify(algorithm, message, b"x"), Err(Unsigned::Key(BadKey)), "{algorithm:?}");
        }
    }

    fn ed25519(seed: &str) -> PrivateKey {
        // RFC 8410, §7: the key as PKCS#8.
        let der = hex::decode(format!("302e020100300506032b657004220420{seed}")).unwrap();
        PrivateKey::import(PairSpec::Ed25519, SecretBytes::new(der)).unwrap()
    }

    #[test]
    fn ed25519_is_that_of_rfc_8032() {
        // §7.1, test 3.
        let key = ed25519("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
        let made = key.sign(SigningAlgorithm::Ed25519, Message::Raw(&[0xaf, 0x82])).unwrap();
        assert_eq!(
            hex::encode(made),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
             4a7c15e9716ed28dc027beceea1ec40a"
                .replace(' ', "")
        );
        assert_eq!(key.sign(SigningAlgorithm::Ed25519, Message::Digest(&[0; 64])), Err(Unsigned::Kind));
    }

    #[test]
    fn ed25519ph_is_that_of_rfc_8032() {
        // §7.3: the message is "abc".
        let key = ed25519("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
        let digest = digest::digest(&digest::SHA512, b"abc");
        let message = Message::Digest(digest.as_ref());
        let made = key.sign(SigningAlgorithm::Ed25519Ph, message).unwrap();
        assert_eq!(
            hex::encode(&made),
            "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aa\
             a10b8c61e636062aaad11c2a26083406"
        );
        assert_eq!(key.verify(SigningAlgorithm::Ed25519Ph, message, &made), Ok(()));
        let other = [7; 64];
        for (digest, made) in
            [(&other[..], &made[..]), (digest.as_ref(), &made[1..]), (digest.as_ref(), &[7; 64])]
        {
            let verified = key.verify(SigningAlgorithm::Ed25519Ph, Message::Digest(digest), made);
            assert_eq!(verified, Err(Unsigned::Signature));
        }
        assert_eq!(key.sign(SigningAlgorithm::Ed25519Ph, Message::Raw(b"abc")), Err(Unsigned::Kind));
        assert_eq!(key.sign(SigningAlgorithm::Ed25519Ph, Message::Digest(b"abc")), Err(Unsigned::Length));
    }

    #[test]
    fn a_message_and_its_mu_are_signed_alike() {
        for spec in [PairSpec::MlDsa44, PairSpec::MlDsa65, PairSpec::MlDsa87] {
            let key = PrivateKey::generate(spec).unwrap();
            let mu = low::mu_of(&key, b"message");
            let by_mu = key.sign(SigningAlgorithm::MlDsa, Message::ExternalMu(&mu)).unwrap();
            assert_eq!(
                key.verify(SigningAlgorithm::MlDsa, Message::Raw(b"message"), &by_mu),
                Ok(()),
                "{spec:?}"
            );
            let by_message = key.sign(SigningAlgorithm::MlDsa, Message::Raw(b"message")).unwrap();
            let verify =
                |mu: &[u8]| key.verify(SigningAlgorithm::MlDsa, Message::ExternalMu(mu), &by_message);
            assert_eq!(verify(&mu), Ok(()), "{spec:?}");
            assert_eq!(verify(&[7; 64]), Err(Unsigned::Signature));
            assert_eq!(verify(&mu[1..]), Err(Unsigned::Length));
            assert_eq!(key.sign(SigningAlgorithm::MlDsa, Message::Digest(&[0; 64])), Err(Unsigned::Kind));
        }
    }

    #[test]
    fn what_is_no_key_or_another_key_is_not_imported() {
        let small = PrivateKey::generate(PairSpec::P256).unwrap();
        let der = || small.pkcs8().expose().to_vec();
        for spec in
            [PairSpec::P384, PairSpec::P256K1, PairSpec::Rsa2048, PairSpec::Ed25519, PairSpec::MlDsa44]
        {
            assert_eq!(PrivateKey::import(spec, SecretBytes::new(der())).unwrap_err(), BadKey, "{spec:?}");
        }
        let mut shortened = der();
        shortened.pop();
        assert!(PrivateKey::import(PairSpec::P256, SecretBytes::new(shortened)).is_err());
    }
}
