//! `kms:ReEncrypt` (spec/kms.md §4): a ciphertext of one key becomes one of another, and the plaintext never
//! leaves. Two permissions: `kms:ReEncryptFrom` on the source, `kms:ReEncryptTo` on the destination.
//! Grantable, across accounts. Trail: management event, read, with both keys.

use envelope::EncryptionContext;
use front::{Ask, Authorized, Call, Effect, Operation};
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{
    ciphertext::{DryRunModifier, Source, check_presence, source},
    crypt::{check_context, check_decrypts, check_encrypts, check_length, decrypt_by, encrypt_by, symmetric},
    external::{By, note},
    fault,
    registry::Kms,
    target::{Accept, Target, ask_use, resolve},
    token,
};

const FROM: &str = "kms:ReEncryptFrom";
const TO: &str = "kms:ReEncryptTo";

/// Encrypts anew.
pub struct ReEncrypt;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    ciphertext_blob: Option<Blob>,
    source_key_id: Option<String>,
    #[serde(default)]
    source_encryption_context: EncryptionContext,
    #[serde(default = "symmetric")]
    source_encryption_algorithm: String,
    destination_key_id: String,
    #[serde(default)]
    destination_encryption_context: EncryptionContext,
    #[serde(default = "symmetric")]
    destination_encryption_algorithm: String,
    #[serde(default)]
    grant_tokens: Vec<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    dry_run_modifiers: Vec<DryRunModifier>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    ciphertext_blob: Blob,
    source_key_id: String,
    key_id: String,
    source_encryption_algorithm: String,
    destination_encryption_algorithm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_key_material_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_key_material_id: Option<String>,
}

/// The key that opens the ciphertext, and the one that seals it again.
#[derive(Debug)]
pub struct Keys {
    source: Source,
    destination: Target,
}

impl Operation for ReEncrypt {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "ReEncrypt";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &[
        "DestinationEncryptionAlgorithm",
        "DestinationEncryptionContext",
        "DestinationKeyId",
        "SourceEncryptionAlgorithm",
        "SourceEncryptionContext",
        "SourceKeyId",
    ];
    type State = Kms;
    type Request = Request;
    type Target = Keys;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Keys, Fault> {
        for (member, given) in [
            ("SourceEncryptionAlgorithm", &request.source_encryption_algorithm),
            ("DestinationEncryptionAlgorithm", &request.destination_encryption_algorithm),
        ] {
            call.records_request(member, given.as_str());
        }
        let key = (request.source_key_id.is_some(), "sourceKeyId");
        check_presence(request.ciphertext_blob.is_some(), key, request.dry_run, &request.dry_run_modifiers)?;
        check_context(&request.source_encryption_context)?;
        check_context(&request.destination_encryption_context)?;
        token::check(kms, call, &request.grant_tokens)?;
        let ciphertext = request.ciphertext_blob.as_ref().map_or(&[][..], |blob| &blob.0);
        let source = source(kms, call, request.source_key_id.as_deref(), ciphertext, FROM).await?;
        let destination = resolve(kms, call, &request.destination_key_id, Accept::KeysAndAliases, TO).await?;
        Ok(Keys { source, destination })
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, keys: &Keys) -> Vec<Ask> {
        let Keys { source, destination } = keys;
        let same = (source.key.name() == destination.name()).to_string();
        let from = ask_use(kms, call, FROM, &source.key, &request.source_encryption_context)
            .with("kms:EncryptionAlgorithm", [request.source_encryption_algorithm.clone()])
            .with("kms:ReEncryptOnSameKey", [same.clone()]);
        let to = ask_use(kms, call, TO, destination, &request.destination_encryption_context)
            .with("kms:EncryptionAlgorithm", [request.destination_encryption_algorithm.clone()])
            .with("kms:ReEncryptOnSameKey", [same]);
        vec![if source.from_ciphertext { from.from_ciphertext() } else { from }, to]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        keys: Authorized<Keys>,
    ) -> Result<Response, Fault> {
        let (source, destination) = (&keys.source.key, &keys.destination);
        note(call, source.key(), "source");
        note(call, destination.key(), "destination");
        let by = By { kms, call, operation: Self::NAME };
        let ignored = request.dry_run_modifiers.contains(&DryRunModifier::IgnoreCiphertext);
        let ciphertext = request.ciphertext_blob.filter(|_| !ignored);
        let given = ciphertext.as_ref().map(|blob| &blob.0[..]);
        let from = (&request.source_encryption_algorithm, &request.source_encryption_context);
        let to = (&request.destination_encryption_algorithm, &request.destination_encryption_context);
        check_decrypts(source, Self::NAME, from.0, from.1, given)?;
        check_encrypts(destination, Self::NAME, to.0, to.1)?;
        let Some(ciphertext) = ciphertext else {
            return Err(fault::dry_run());
        };
        let opened = decrypt_by(by, source, from.0, from.1, ciphertext).await?;
        check_length(destination, to.0, opened.bytes.expose().len())?;
        if request.dry_run {
            return Err(fault::dry_run());
        }
        let made = encrypt_by(by, destination, to.0, to.1, opened.bytes).await?;
        for (name, id) in
            [("sourceKeyMaterialId", &opened.material_id), ("destinationKeyMaterialId", &made.material_id)]
        {
            if let Some(id) = id {
                call.adds(name, id.as_str());
            }
        }
        Ok(Response {
            ciphertext_blob: made.blob,
            source_key_id: source.arn(),
            key_id: destination.arn(),
            source_encryption_algorithm: request.source_encryption_algorithm,
            destination_encryption_algorithm: request.destination_encryption_algorithm,
            source_key_material_id: opened.material_id,
            destination_key_material_id: made.material_id,
        })
    }
}
