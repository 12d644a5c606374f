//! SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), in the form in which PostgreSQL stores them. The server makes them,
//! so that no password leaves it: neither an instance process nor its database ever has one in the clear.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::SecretBytes;
use zeroize::Zeroizing;

/// PostgreSQL's default (`scram_iterations`).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not 0");

/// The verifier of a password: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. The password is printable
/// ASCII (spec/rds.md §8), which SASLprep leaves as it is.
pub fn verifier(password: &str, salt: &[u8; 16]) -> SecretBytes {
    let mut salted = Zeroizing::new([0; digest::SHA256_OUTPUT_LEN]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password.as_bytes(), &mut *salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let client_key = hmac::sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&salted, b"Server Key");
    let text = format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    );
    SecretBytes::new(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The salt and password of RFC 7677 §3. Its exchange checks the keys: the server signature that it shows is made
    /// by the server key, and the client proof by the key behind the stored key.
    #[test]
    fn the_example_of_the_rfc_verifies_against_the_verifier() {
        let salt: [u8; 16] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = verifier("pencil", &salt);
        let text = std::str::from_utf8(verifier.expose()).unwrap();
        let keys = text.strip_prefix("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$").unwrap();
        let (stored_key, server_key) = keys.split_once(':').unwrap();
        let exchange = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,\
                        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), exchange.as_bytes());
        let signature = sign(&STANDARD.decode(server_key).unwrap());
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let stored_key = STANDARD.decode(stored_key).unwrap();
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(sign(&stored_key).as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), stored_key);
    }
}
