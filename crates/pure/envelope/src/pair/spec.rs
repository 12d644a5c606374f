//! Which pairs of keys there are.

/// Algorithm and strength of a pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PairSpec {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    /// NIST P-256, and so on (SP 800-186).
    P256,
    P384,
    P521,
    /// secp256k1 (SEC 2).
    P256K1,
    /// RFC 8032.
    Ed25519,
    /// FIPS 204.
    MlDsa44,
    MlDsa65,
    MlDsa87,
    /// FIPS 203.
    MlKem512,
    MlKem768,
    MlKem1024,
}

impl PairSpec {
    /// Bits of the modulus of an RSA key.
    pub const fn rsa_bits(self) -> Option<usize> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            _ => None,
        }
    }
}
