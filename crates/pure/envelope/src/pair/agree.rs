//! Key agreement: ECDH over the NIST curves (SP 800-56A, the cofactor is 1). The secret is the x coordinate as it is.

use aws_lc_rs::agreement::{self, Algorithm, ParsedPublicKeyFormat, UnparsedPublicKey, agree};

use super::{BadKey, PairSpec, PrivateKey, Read};
use crate::secret::SecretBytes;

/// Why no secret comes out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Disagreement {
    /// Not a SubjectPublicKeyInfo of a point on the same curve.
    #[error("the public key is not one of the same curve")]
    PublicKey,
    #[error(transparent)]
    Private(#[from] BadKey),
}

pub(super) const fn algorithm(spec: PairSpec) -> Option<&'static Algorithm> {
    match spec {
        PairSpec::P256 => Some(&agreement::ECDH_P256),
        PairSpec::P384 => Some(&agreement::ECDH_P384),
        PairSpec::P521 => Some(&agreement::ECDH_P521),
        _ => None,
    }
}

impl PrivateKey {
    /// The secret that this key shares with the owner of a public key.
    ///
    /// # Errors
    /// [`Disagreement`]
    pub fn agree(&self, public_key: &[u8]) -> Result<SecretBytes, Disagreement> {
        let Read::Curve { agreeing: Some(own), .. } = self.read()? else { return Err(BadKey.into()) };
        let bad = |_| Disagreement::PublicKey;
        let unparsed = UnparsedPublicKey::new(own.algorithm(), public_key);
        let peer: agreement::ParsedPublicKey = (&unparsed).try_into().map_err(bad)?;
        if peer.format() != ParsedPublicKeyFormat::X509 {
            return Err(Disagreement::PublicKey);
        }
        agree(own, peer, Disagreement::PublicKey, |secret| Ok(SecretBytes::new(secret.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_the_same_secret() {
        for (spec, length) in [(PairSpec::P256, 32), (PairSpec::P384, 48), (PairSpec::P521, 66)] {
            let (a, b) = (PrivateKey::generate(spec).unwrap(), PrivateKey::generate(spec).unwrap());
            let ours = a.agree(&b.public_key().unwrap()).unwrap();
            assert_eq!(ours.expose(), b.agree(&a.public_key().unwrap()).unwrap().expose());
            assert_eq!(ours.expose().len(), length);
        }
    }

    #[test]
    fn keys_of_other_curves_and_what_is_no_key_are_refused() {
        let own = PrivateKey::generate(PairSpec::P256).unwrap();
        let other = PrivateKey::generate(PairSpec::P384).unwrap().public_key().unwrap();
        let whole = PrivateKey::generate(PairSpec::P256).unwrap().public_key().unwrap();
        let mut off_curve = whole.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        // The last 65 bytes are the bare point.
        for bad in [&other[..], &off_curve, &whole[whole.len() - 65..], &whole[1..], b""] {
            assert_eq!(own.agree(bad).unwrap_err(), Disagreement::PublicKey);
        }
    }
}
