//! The ciphertext of Decrypt and ReEncrypt, and the key that it names.

use front::Call;
use serde::Deserialize;
use wire::Fault;

use crate::{
    crypt::key_of,
    fault,
    registry::Kms,
    target::{Accept, Target, found, resolve},
};

/// What a dry run leaves out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum DryRunModifier {
    /// Only whether the caller may, with a key; the ciphertext may be absent.
    #[serde(rename = "IGNORE_CIPHERTEXT")]
    IgnoreCiphertext,
}

/// The key of a ciphertext.
#[derive(Debug)]
pub struct Source {
    pub key: Target,
    /// The request named no key; changes the text of a denial.
    pub from_ciphertext: bool,
}

/// Finds the key that a request names for its ciphertext, or that the ciphertext names itself.
///
/// # Errors
/// As [`resolve`]; `InvalidCiphertextException` for what is no ciphertext; the words of a denial for the
/// ciphertext of a key that is not there.
pub async fn source(
    kms: &Kms,
    call: &Call,
    key_id: Option<&str>,
    ciphertext: &[u8],
    action: &str,
) -> Result<Source, Fault> {
    if let Some(key_id) = key_id {
        let key = resolve(kms, call, key_id, Accept::KeysAndAliases, action).await?;
        return Ok(Source { key, from_ciphertext: false });
    }
    let hidden = |_| fault::hidden_by_ciphertext(&call.caller.arn(), action);
    let name = key_of(ciphertext, &call.region)?.ok_or(()).map_err(hidden)?;
    let key = found(kms, call, &name, Accept::Keys, action).map_err(|_| hidden(()))?;
    Ok(Source { key, from_ciphertext: true })
}

/// Checks which of a ciphertext and a key a request must have.
///
/// # Errors
/// `ValidationException`
pub fn check_presence(
    ciphertext: bool,
    key: (bool, &str),
    dry_run: bool,
    modifiers: &[DryRunModifier],
) -> Result<(), Fault> {
    let ignored = modifiers.contains(&DryRunModifier::IgnoreCiphertext);
    match key {
        _ if ignored && !dry_run => Err(fault::validation("DryRunModifiers can only be used with DryRun.")),
        (false, member) if ignored => Err(fault::missing(member)),
        _ if !ignored && !ciphertext => Err(fault::missing("ciphertextBlob")),
        _ => Ok(()),
    }
}
