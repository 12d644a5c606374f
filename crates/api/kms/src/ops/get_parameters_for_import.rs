//! `kms:GetParametersForImport` (spec/kms.md §13): a public key to wrap material with, and the token that goes with
//! it. Trail: management event, read; the token is not recorded.

use front::{Ask, Authorized, Call, Effect, Operation};
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{Blob, Fault, ServiceId};

use crate::{
    fault,
    import::{Parameters, VALID, token},
    pair,
    registry::Kms,
    target::{Accept, Target, ask, resolve},
};

const ACTION: &str = "kms:GetParametersForImport";

/// Begins an import.
pub struct GetParametersForImport;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    key_id: String,
    wrapping_algorithm: String,
    wrapping_key_spec: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    key_id: String,
    import_token: Blob,
    /// SubjectPublicKeyInfo in DER.
    public_key: Blob,
    parameters_valid_to: Timestamp,
}

impl Operation for GetParametersForImport {
    const SERVICE: ServiceId = ServiceId::Kms;
    const NAME: &'static str = "GetParametersForImport";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["KeyId", "WrappingAlgorithm", "WrappingKeySpec"];
    type State = Kms;
    type Request = Request;
    type Target = Target;
    type Response = Response;

    async fn resolve(kms: &Kms, call: &Call, request: &Request) -> Result<Target, Fault> {
        resolve(kms, call, &request.key_id, Accept::OwnKeys, ACTION).await
    }

    fn asks(kms: &Kms, call: &Call, request: &Request, target: &Target) -> Vec<Ask> {
        let ask = ask(kms, call, ACTION, target)
            .with("kms:WrappingAlgorithm", [request.wrapping_algorithm.clone()])
            .with("kms:WrappingKeySpec", [request.wrapping_key_spec.clone()]);
        vec![ask]
    }

    async fn act(
        kms: &Kms,
        call: &Call,
        request: Request,
        target: Authorized<Target>,
    ) -> Result<Response, Fault> {
        let key = target.key();
        key.check_import().map_err(|refusal| fault::refused(&key.name, &refusal))?;
        let parameters = Parameters::read(&request.wrapping_algorithm, &request.wrapping_key_spec, key.spec)?;
        let wrapping_key = pair::generate(parameters.key_spec()).await?;
        let parameters_valid_to = call.now.plus(VALID);
        let token = token(kms, &key.name, &parameters, &wrapping_key, parameters_valid_to);
        Ok(Response {
            key_id: target.arn(),
            import_token: Blob(token),
            public_key: Blob(wrapping_key.public_key().map_err(Fault::internal)?),
            parameters_valid_to,
        })
    }
}
