//! From a signed request to a proven caller (spec/policy.md §10).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ids::{Region, Regions, Timestamp};
use subtle::ConstantTimeEq;
use wire::{
    Audience, Fault, ServiceId,
    sigv4::{self, Request, Signature, SigningKey, check_time},
};

use crate::{caller::Caller, directory::Directory};

/// A signing key is derived once a day for each key, region and service. Past this many, all are dropped.
const CACHED_KEYS: usize = 4096;

/// Where global services are signed for, whatever region their client is for.
const GLOBAL: &str = "us-east-1";

/// Proves who sent a request.
pub(crate) struct Authenticator {
    directory: Arc<dyn Directory>,
    regions: Regions,
    keys: Mutex<HashMap<Scope, Arc<SigningKey>>>,
}

const fn is_role(caller: &Caller) -> bool {
    matches!(caller, Caller::Session(_))
}

/// Access key id, date, region, service.
type Scope = (String, String, String, String);

/// Who signed, and for which service and region.
pub(crate) struct Proven {
    pub caller: Caller,
    pub service: ServiceId,
    pub region: Region,
}

impl Authenticator {
    pub(crate) fn new(directory: Arc<dyn Directory>, regions: Regions) -> Self {
        Self { directory, regions, keys: Mutex::default() }
    }

    /// # Errors
    /// In the order of AWS: no or malformed signature, scope, unknown key, signature, time, session.
    pub(crate) fn prove(
        &self,
        request: &Request<'_>,
        guess: Audience,
        now: Timestamp,
    ) -> Result<Proven, Fault> {
        let signature = Signature::parse(request, guess)?;
        let service = ServiceId::from_name(&signature.service).unwrap_or(match guess {
            Audience::Json => ServiceId::Kms,
            Audience::Query => ServiceId::Rds,
        });
        let audience = service.audience();
        signature.check_scope(service)?;
        let region = self.served(&signature, service)?;
        let credential = self.directory.credential(&signature.access_key_id).filter(|found| found.active);
        let credential = credential.ok_or_else(|| sigv4::unknown_key(audience))?;
        let key = self.signing_key(&signature, credential.secret.expose());
        signature.verify(request, &key, audience)?;
        check_time(&signature, now, audience)?;
        let token_holds = match (&credential.session_token, &signature.security_token) {
            (None, None) => true,
            (Some(held), Some(sent)) => held.expose().as_bytes().ct_eq(sent.as_bytes()).into(),
            _ => false,
        };
        if !token_holds {
            return Err(sigv4::unknown_key(audience));
        }
        if credential.expires.is_some_and(|end| end <= now) {
            return Err(sigv4::expired_session(audience));
        }
        // What a user lends, or has for a while without a second factor, is nothing to manage identities with
        // (spec/policy.md §13).
        if service == ServiceId::Iam && credential.session_token.is_some() && !is_role(&credential.caller) {
            return Err(sigv4::unknown_key(audience));
        }
        Ok(Proven { caller: credential.caller, service, region })
    }

    /// The region of a signature, if it is one that is served.
    fn served(&self, signature: &Signature, service: ServiceId) -> Result<Region, Fault> {
        let global = matches!(service, ServiceId::Iam | ServiceId::Sts) && signature.region == GLOBAL;
        let region = signature.region.parse().ok().filter(|region| global || self.regions.serve(region));
        region.ok_or_else(|| sigv4::other_region(service.audience(), &signature.region))
    }

    fn signing_key(&self, signature: &Signature, secret: &str) -> Arc<SigningKey> {
        let Signature { access_key_id, date, region, service, .. } = signature;
        let scope = (access_key_id.clone(), date.clone(), region.clone(), service.clone());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&scope) {
            return Arc::clone(key);
        }
        if keys.len() >= CACHED_KEYS {
            keys.clear();
        }
        let key = Arc::new(SigningKey::derive(secret, date, region, service));
        keys.insert(scope, Arc::clone(&key));
        key
    }
}
