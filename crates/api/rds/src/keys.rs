//! The one door to the key service (design.md §2). The binary answers it over the operations of KMS, so that every
//! use passes the same authorization and lands in the trail; tests answer it from a script.

use std::{collections::BTreeMap, future::Future, pin::Pin};

use front::Call;
use ids::{AccountId, Region};
use volume::VolumeKey;

/// Pairs that bind a wrapped key to what it is for.
pub type EncryptionContext = BTreeMap<String, String>;

/// What a key service answers, in time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyFault>> + Send + 'a>>;

/// On whose authority the key service is asked.
#[derive(Clone, Copy, Debug)]
pub enum Authority<'a> {
    /// The caller of an RDS operation, through RDS: `kms:ViaService` is `rds.<region>.amazonaws.com`
    /// ([`Call::forwarded`] with `rds`).
    Caller(&'a Call),
    /// RDS itself, which may only what a grant lets it, for a resource of an account.
    Service { region: &'a Region, account: &'a AccountId, source_arn: Option<&'a str> },
}

/// Why the key service did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyFault {
    /// It said no: denied, disabled, pending deletion, not found, wrong ciphertext. Trying again changes nothing.
    #[error("the key service refused: {0}")]
    Refused(String),
    /// It could not answer. Nothing follows for the key.
    #[error("the key service failed: {0}")]
    Failed(String),
}

/// What DescribeKey says, as far as clusters care.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyDescription {
    pub arn: String,
    /// `KeyState` is `Enabled`.
    pub enabled: bool,
    /// `SYMMETRIC_DEFAULT` for `ENCRYPT_DECRYPT`.
    pub symmetric: bool,
}

/// The grant that RDS wants for one resource: grantee and retiring principal are `rds.<region>.amazonaws.com`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantRequest {
    /// Makes a repeated request find the same grant.
    pub name: String,
    /// `EncryptionContextSubset`.
    pub context: EncryptionContext,
}

impl GrantRequest {
    /// `Operations` of every grant of RDS (spec/rds.md §5).
    pub const OPERATIONS: [&'static str; 9] = [
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
        "CreateGrant",
        "RetireGrant",
        "DescribeKey",
    ];
}

/// The key service, as far as clusters need it. Keys are named by id, ARN, alias name or alias ARN where a user named
/// them, by ARN otherwise.
pub trait KeyService: Send + Sync {
    /// DescribeKey.
    fn describe<'a>(&'a self, by: Authority<'a>, key: &'a str) -> Answer<'a, KeyDescription>;

    /// ARN of `aws/rds` of an account in a region, which is made if it is not there yet.
    fn default_key<'a>(&'a self, region: &'a Region, account: &'a AccountId) -> Answer<'a, String>;

    /// CreateGrant: the id of the grant.
    fn create_grant<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        grant: GrantRequest,
    ) -> Answer<'a, String>;

    /// GenerateDataKeyWithoutPlaintext, AES_256.
    fn generate_wrapped_key<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        context: &'a EncryptionContext,
    ) -> Answer<'a, Vec<u8>>;

    /// Encrypt, for a volume key that was sealed without a KMS key so far.
    fn encrypt<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        plaintext: &'a VolumeKey,
        context: &'a EncryptionContext,
    ) -> Answer<'a, Vec<u8>>;

    /// Decrypt.
    fn decrypt<'a>(
        &'a self,
        by: Authority<'a>,
        key_arn: &'a str,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> Answer<'a, VolumeKey>;

    /// ReEncrypt, from one key and context to another.
    fn re_encrypt<'a>(
        &'a self,
        by: Authority<'a>,
        wrapped: &'a [u8],
        from: (&'a str, &'a EncryptionContext),
        to: (&'a str, &'a EncryptionContext),
    ) -> Answer<'a, Vec<u8>>;

    /// RetireGrant, by key ARN and grant id. A grant or key that is gone already is no fault.
    fn retire_grant<'a>(&'a self, by: Authority<'a>, key_arn: &'a str, grant_id: &'a str) -> Answer<'a, ()>;
}
