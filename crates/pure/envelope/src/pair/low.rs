//! What aws-lc has and `aws-lc-rs` does not: Ed25519ph, and ML-DSA of an external µ. The only foreign calls of this
//! crate; decision 541 says why.

use std::{ffi::c_int, ptr};

use aws_lc_rs::{
    encoding::{AsBigEndian as _, AsRawBytes as _},
    signature::{Ed25519KeyPair, KeyPair as _, PqdsaKeyPair},
};
use aws_lc_sys as aws_lc;
use zeroize::Zeroizing;

use super::{BadKey, PairSpec};

const DIGEST: usize = 64;
const SIGNATURE: usize = 64;

/// Ed25519ph of a SHA-512 digest with an empty context.
pub(super) fn sign_prehashed(key: &Ed25519KeyPair, digest: &[u8]) -> Result<Vec<u8>, BadKey> {
    if digest.len() != DIGEST {
        return Err(BadKey);
    }
    let seed = key.seed().map_err(|_| BadKey)?.as_be_bytes().map_err(|_| BadKey)?;
    // BoringSSL's form of a private key: the seed, then the public key.
    let mut private = Zeroizing::new([0; 64]);
    private[..32].copy_from_slice(seed.as_ref());
    private[32..].copy_from_slice(key.public_key().as_ref());
    let mut signature = vec![0; SIGNATURE];
    // SAFETY: digest, private key and signature have 64 bytes each; an empty context is never read.
    let done = unsafe {
        aws_lc::ED25519ph_sign_digest(
            signature.as_mut_ptr(),
            digest.as_ptr(),
            private.as_ptr(),
            ptr::null(),
            0,
        )
    };
    if done == 1 { Ok(signature) } else { Err(BadKey) }
}

pub(super) fn verify_prehashed(key: &Ed25519KeyPair, digest: &[u8], signature: &[u8]) -> bool {
    let public = key.public_key().as_ref();
    if digest.len() != DIGEST || signature.len() != SIGNATURE || public.len() != 32 {
        return false;
    }
    // SAFETY: digest and signature have 64 bytes, the public key 32; an empty context is never read.
    let done = unsafe {
        aws_lc::ED25519ph_verify_digest(digest.as_ptr(), signature.as_ptr(), public.as_ptr(), ptr::null(), 0)
    };
    done == 1
}

/// ML-DSA of µ: what `EVP_PKEY_sign` does for these keys, where `EVP_DigestSign` takes a message.
pub(super) fn sign_mu(spec: PairSpec, key: &PqdsaKeyPair, mu: &[u8]) -> Result<Vec<u8>, BadKey> {
    let raw = key.private_key().as_raw_bytes().map_err(|_| BadKey)?;
    let raw = raw.as_ref();
    let nid = nid(spec).ok_or(BadKey)?;
    // SAFETY: the pointer and the length are those of `raw`; the key is copied out of it.
    let key_made =
        Key::new(unsafe { aws_lc::EVP_PKEY_pqdsa_new_raw_private_key(nid, raw.as_ptr(), raw.len()) })?;
    let context = Context::of(&key_made)?;
    let mut signature = vec![0; key.algorithm().signature_len()];
    let mut length = signature.len();
    // SAFETY: the context is alive; `length` is that of the buffer, and `mu` is read within its own.
    let done = unsafe {
        aws_lc::EVP_PKEY_sign_init(context.0) == 1
            && aws_lc::EVP_PKEY_sign(
                context.0,
                signature.as_mut_ptr(),
                &raw mut length,
                mu.as_ptr(),
                mu.len(),
            ) == 1
    };
    if done && length == signature.len() { Ok(signature) } else { Err(BadKey) }
}

/// # Errors
/// [`BadKey`] if the library cannot make the key; a wrong signature is `false`.
pub(super) fn verify_mu(
    spec: PairSpec,
    key: &PqdsaKeyPair,
    mu: &[u8],
    signature: &[u8],
) -> Result<bool, BadKey> {
    let raw = key.public_key().as_ref();
    let nid = nid(spec).ok_or(BadKey)?;
    // SAFETY: as above.
    let key = Key::new(unsafe { aws_lc::EVP_PKEY_pqdsa_new_raw_public_key(nid, raw.as_ptr(), raw.len()) })?;
    let context = Context::of(&key)?;
    // SAFETY: the context is alive; both buffers are read within their lengths.
    Ok(unsafe {
        aws_lc::EVP_PKEY_verify_init(context.0) == 1
            && aws_lc::EVP_PKEY_verify(context.0, signature.as_ptr(), signature.len(), mu.as_ptr(), mu.len())
                == 1
    })
}

const fn nid(spec: PairSpec) -> Option<c_int> {
    match spec {
        PairSpec::MlDsa44 => Some(aws_lc::NID_MLDSA44),
        PairSpec::MlDsa65 => Some(aws_lc::NID_MLDSA65),
        PairSpec::MlDsa87 => Some(aws_lc::NID_MLDSA87),
        _ => None,
    }
}

/// A key of the library's; freeing wipes it.
struct Key(*mut aws_lc::EVP_PKEY);

impl Key {
    fn new(made: *mut aws_lc::EVP_PKEY) -> Result<Self, BadKey> {
        if made.is_null() { Err(BadKey) } else { Ok(Self(made)) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: not null, and ours alone.
        unsafe { aws_lc::EVP_PKEY_free(self.0) }
    }
}

/// An operation with a key, which it keeps a reference to.
struct Context(*mut aws_lc::EVP_PKEY_CTX);

impl Context {
    fn of(key: &Key) -> Result<Self, BadKey> {
        // SAFETY: the key is alive; there is no engine.
        let made = unsafe { aws_lc::EVP_PKEY_CTX_new(key.0, ptr::null_mut()) };
        if made.is_null() { Err(BadKey) } else { Ok(Self(made)) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: not null, and ours alone.
        unsafe { aws_lc::EVP_PKEY_CTX_free(self.0) }
    }
}

/// µ of a message with an empty context (FIPS 204, algorithms 2 and 7).
#[cfg(test)]
pub(super) fn mu_of(key: &super::PrivateKey, message: &[u8]) -> [u8; 64] {
    let super::Read::MlDsa(key) = key.read().unwrap() else { panic!("an ML-DSA key") };
    let hash = shake256(&[key.public_key().as_ref()]);
    shake256(&[&hash, &[0, 0], message])
}

#[cfg(test)]
fn shake256(parts: &[&[u8]]) -> [u8; 64] {
    let mut hash = [0; 64];
    // SAFETY: the context is made, used and freed here; every buffer is read or written within its length.
    unsafe {
        let context = aws_lc::EVP_MD_CTX_new();
        assert_eq!(aws_lc::EVP_DigestInit_ex(context, aws_lc::EVP_shake256(), ptr::null_mut()), 1);
        for part in parts {
            assert_eq!(aws_lc::EVP_DigestUpdate(context, part.as_ptr().cast(), part.len()), 1);
        }
        assert_eq!(aws_lc::EVP_DigestFinalXOF(context, hash.as_mut_ptr(), hash.len()), 1);
        aws_lc::EVP_MD_CTX_free(context);
    }
    hash
}
