//! What others bring to a key: wrapped material, private keys to be imported, public keys to agree with.
//!
//! The first byte says what it is read as: a private key of one of the specs, a public key, or wrapped material.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use envelope::{Oaep, PairSpec, PrivateKey, SecretBytes, Wrapping};
use libfuzzer_sys::fuzz_target;

const SPECS: [PairSpec; 14] = [
    PairSpec::P256,
    PairSpec::P384,
    PairSpec::P521,
    PairSpec::P256K1,
    PairSpec::Ed25519,
    PairSpec::Rsa2048,
    PairSpec::Rsa3072,
    PairSpec::Rsa4096,
    PairSpec::MlDsa44,
    PairSpec::MlDsa65,
    PairSpec::MlDsa87,
    PairSpec::MlKem512,
    PairSpec::MlKem768,
    PairSpec::MlKem1024,
];

static AGREEING: LazyLock<PrivateKey> = LazyLock::new(|| new(PairSpec::P256));
/// A wrapping key, and the wrapped AES key that goes before material.
static WRAPPING: LazyLock<(PrivateKey, Vec<u8>)> = LazyLock::new(|| {
    let key = new(PairSpec::Rsa2048);
    let wrapped = key.oaep_encrypt(Oaep::Sha256, &AES_KEY).expect("32 bytes fit");
    (key, wrapped)
});
const AES_KEY: [u8; 32] = [7; 32];

fn new(spec: PairSpec) -> PrivateKey {
    PrivateKey::generate(spec).expect("a key")
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let kind = usize::from(*kind);
    if let Some(spec) = SPECS.get(kind) {
        let Ok(key) = PrivateKey::import(*spec, SecretBytes::new(bytes.to_vec())) else { return };
        key.public_key().expect("whoever is a private key has a public one");
        return;
    }
    let (wrapping, aes) = &*WRAPPING;
    match kind - SPECS.len() {
        0 => drop(AGREEING.agree(bytes)),
        1 => assert!(envelope::unwrap(wrapping, Wrapping::Oaep(Oaep::Sha256), bytes).is_err()),
        2 => assert!(envelope::unwrap(wrapping, Wrapping::AesKeyWrap(Oaep::Sha1), bytes).is_err()),
        // As it comes, and as somebody would wrap it who may.
        3 => drop(unwrapped([aes, bytes].concat())),
        4 if !bytes.is_empty() => {
            let mut space = vec![0; bytes.len() + 16];
            let kek = AesKek::new(&AES_256, &AES_KEY).expect("an AES key");
            let wrapped = kek.wrap_with_padding(bytes, &mut space).expect("it fits");
            let opened = unwrapped([aes, &*wrapped].concat()).expect("it was wrapped so");
            assert_eq!(opened.expose(), bytes);
        }
        _ => {}
    }

    fn unwrapped(wrapped: Vec<u8>) -> Option<SecretBytes> {
        envelope::unwrap(&WRAPPING.0, Wrapping::AesKeyWrap(Oaep::Sha256), &wrapped).ok()
    }
});
