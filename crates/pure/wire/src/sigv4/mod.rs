//! AWS Signature Version 4, header and presigned form (spec/policy.md §10).
//!
//! [`Signature::parse`] reads who claims to have signed; the caller looks the secret up; then
//! [`Signature::verify`] proves it. Nothing of a request is believed before.

mod canonical;
mod signing;
mod time;

use std::fmt;

use ids::Timestamp;

pub use signing::{SigningKey, sign};
pub use time::check_time;

use crate::{
    fault::{Audience, Fault},
    model::ServiceId,
};

/// The parts of an HTTP request that a signature covers.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As received, before any decoding.
    pub path: &'a str,
    /// As received, without the question mark.
    pub query: &'a str,
    /// Names in lower case, in the order received.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

impl Request<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What a request says of its signature. Not yet proven.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    pub access_key_id: String,
    /// `yyyymmdd` of the scope.
    pub date: String,
    pub region: String,
    pub service: String,
    /// When it was signed.
    pub signed_at: Timestamp,
    /// The text of that instant, as sent.
    signed_at_text: String,
    /// Seconds for which a presigned request holds.
    pub expires: Option<u32>,
    pub security_token: Option<String>,
    signed_headers: Vec<String>,
    signature: [u8; 32],
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} {}/{}/{})", self.access_key_id, self.date, self.region, self.service)
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Seven days.
const LONGEST_EXPIRY: u32 = 604_800;

impl Signature {
    /// Reads the signature of a request, from the `Authorization` header or the query.
    ///
    /// # Errors
    /// `MissingAuthenticationToken…` where there is none, `IncompleteSignature…` where it is malformed,
    /// in the spelling of `audience`.
    pub fn parse(request: &Request<'_>, audience: Audience) -> Result<Self, Fault> {
        let mut authorizations = request.headers.iter().filter(|(name, _)| name == "authorization");
        match (authorizations.next(), authorizations.next()) {
            (Some(_), Some(_)) => Err(incomplete(audience, "The request has several Authorization headers.")),
            (Some((_, text)), None) => Self::from_header(request, text, audience),
            (None, _) if request.query.contains("X-Amz-Signature=") => Self::from_query(request, audience),
            (None, _) => Err(missing(audience)),
        }
    }

    fn from_header(request: &Request<'_>, text: &str, audience: Audience) -> Result<Self, Fault> {
        let fail = |what: &str| incomplete(audience, &format!("{what} Authorization={}", presentable(text)));
        let Some(rest) = text.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' ')) else {
            return Err(fail("Unsupported signing algorithm."));
        };
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=').unwrap_or((part, ""));
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return Err(fail("Authorization header has an unknown parameter.")),
            };
            if slot.replace(value).is_some() {
                return Err(fail("Authorization header has a parameter twice."));
            }
        }
        let wanted = |name: &str| fail(&format!("Authorization header requires '{name}' parameter."));
        let credential = credential.ok_or_else(|| wanted("Credential"))?;
        let signature = signature.ok_or_else(|| wanted("Signature"))?;
        let headers = headers.ok_or_else(|| wanted("SignedHeaders"))?;
        let date = request.header("x-amz-date").or_else(|| request.header("date")).ok_or_else(|| {
            fail("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        })?;
        let token = request.header("x-amz-security-token").map(str::to_owned);
        Self::assemble(&Parts { credential, headers, signature, date }, None, token)
            .ok_or_else(|| fail("The parameters of the Authorization header are malformed."))
    }

    fn from_query(request: &Request<'_>, audience: Audience) -> Result<Self, Fault> {
        let fail = |what: &str| incomplete(audience, what);
        let pairs = canonical::query_pairs(request.query);
        let find = |name: &str| -> Result<Option<&str>, Fault> {
            let mut found = pairs.iter().filter(|(n, _)| n == name);
            let first = found.next().map(|(_, value)| value.as_str());
            if found.next().is_some() {
                Err(fail(&format!("The query has {name} twice.")))
            } else {
                Ok(first)
            }
        };
        let need = |name: &str| {
            find(name)?.ok_or_else(|| fail(&format!("AWS query-string parameters must include '{name}'.")))
        };
        if need("X-Amz-Algorithm")? != ALGORITHM {
            return Err(fail("Unsupported signing algorithm."));
        }
        let parts = Parts {
            credential: need("X-Amz-Credential")?,
            headers: need("X-Amz-SignedHeaders")?,
            signature: need("X-Amz-Signature")?,
            date: need("X-Amz-Date")?,
        };
        let expires: u32 = need("X-Amz-Expires")?
            .parse()
            .ok()
            .filter(|seconds| (1..=LONGEST_EXPIRY).contains(seconds))
            .ok_or_else(|| fail("X-Amz-Expires must be between 1 and 604800."))?;
        let token = find("X-Amz-Security-Token")?.map(str::to_owned);
        Self::assemble(&parts, Some(expires), token)
            .ok_or_else(|| fail("The query-string parameters are malformed."))
    }

    fn assemble(parts: &Parts<'_>, expires: Option<u32>, security_token: Option<String>) -> Option<Self> {
        let scope: Vec<&str> = parts.credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = scope[..] else { return None };
        if [access_key_id, date, region, service].iter().any(|part| part.is_empty()) {
            return None;
        }
        let mut signature = [0; 32];
        hex::decode_to_slice(parts.signature, &mut signature).ok()?;
        let signed_headers: Vec<String> = parts.headers.split(';').map(str::to_owned).collect();
        let sorted = signed_headers.windows(2).all(|pair| pair[0] < pair[1]);
        let lower = signed_headers.iter().all(|name| !name.is_empty() && *name == name.to_ascii_lowercase());
        let signed_at = Timestamp::parse(parts.date).ok()?;
        (sorted && lower && parts.date.len() == 16).then(|| Self {
            access_key_id: access_key_id.into(),
            date: date.into(),
            region: region.into(),
            service: service.into(),
            signed_at,
            signed_at_text: parts.date.into(),
            expires,
            security_token,
            signed_headers,
            signature,
        })
    }

    /// Proves that whoever made the request knows the secret: recomputes the signature and compares in
    /// constant time.
    ///
    /// # Errors
    /// `InvalidSignatureException` or `SignatureDoesNotMatch`.
    pub fn verify(&self, request: &Request<'_>, key: &SigningKey, audience: Audience) -> Result<(), Fault> {
        // `host` binds the request to this server; unsigned x-amz-* headers could be changed on the way.
        let must_be_signed = |name: &str| name == "host" || name.starts_with("x-amz-");
        let all_signed = request
            .headers
            .iter()
            .filter(|(name, _)| must_be_signed(name))
            .all(|(name, _)| self.signed_headers.contains(name));
        let host_signed = self.signed_headers.iter().any(|name| name == "host");
        if !(all_signed && host_signed && self.body_hash_holds(request)) {
            return Err(mismatch(audience));
        }
        let canonical = canonical::request(request, &self.signed_headers, self.expires.is_some());
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let to_sign = canonical::string_to_sign(&self.signed_at_text, &scope, &canonical);
        if key.verify(to_sign.as_bytes(), &self.signature) { Ok(()) } else { Err(mismatch(audience)) }
    }

    /// The hash that some clients send of the body must be that of the body.
    fn body_hash_holds(&self, request: &Request<'_>) -> bool {
        request.header("x-amz-content-sha256").is_none_or(|sent| sent == canonical::hex_sha256(request.body))
    }

    /// Whether the scope names a service that is here, and its own date.
    ///
    /// # Errors
    /// `InvalidSignatureException` or `SignatureDoesNotMatch` in the words of the spec.
    pub fn check_scope(&self, service: ServiceId) -> Result<(), Fault> {
        let audience = service.audience();
        if self.service != service.name() {
            let text = format!("Credential should be scoped to correct service: '{}'. ", service.name());
            return Err(invalid(audience, text.trim_end()));
        }
        if self.region.parse::<ids::Region>().is_err() {
            return Err(other_region(audience, &self.region));
        }
        if !self.signed_at_text.starts_with(&self.date) {
            let text =
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP";
            return Err(invalid(audience, text));
        }
        Ok(())
    }
}

struct Parts<'a> {
    credential: &'a str,
    headers: &'a str,
    signature: &'a str,
    date: &'a str,
}

/// No signature at all.
pub fn missing(audience: Audience) -> Fault {
    match audience {
        Audience::Json => {
            Fault::client("MissingAuthenticationTokenException", "Missing Authentication Token")
        }
        Audience::Query => {
            Fault::client("MissingAuthenticationToken", "Request is missing Authentication Token")
                .with_status(403)
        }
    }
}

/// An access key that does not exist or is not active, or a wrong session token.
pub fn unknown_key(audience: Audience) -> Fault {
    let text = "The security token included in the request is invalid.";
    match audience {
        Audience::Json => Fault::client("UnrecognizedClientException", text),
        Audience::Query => Fault::client("InvalidClientTokenId", text).with_status(403),
    }
}

/// A session whose time is over.
pub fn expired_session(audience: Audience) -> Fault {
    let text = "The security token included in the request is expired";
    match audience {
        Audience::Json => Fault::client("ExpiredTokenException", text),
        Audience::Query => Fault::client("ExpiredToken", text).with_status(403),
    }
}

/// A scope with a region that is none, or that is not served.
pub fn other_region(audience: Audience, region: &str) -> Fault {
    let text = format!("Credential should be scoped to a valid region, not '{}'.", presentable(region));
    invalid(audience, &text)
}

fn incomplete(audience: Audience, message: &str) -> Fault {
    match audience {
        Audience::Json => Fault::client("IncompleteSignatureException", message),
        Audience::Query => Fault::client("IncompleteSignature", message),
    }
}

fn invalid(audience: Audience, message: &str) -> Fault {
    match audience {
        Audience::Json => Fault::client("InvalidSignatureException", message),
        Audience::Query => Fault::client("SignatureDoesNotMatch", message).with_status(403),
    }
}

fn mismatch(audience: Audience) -> Fault {
    invalid(
        audience,
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.",
    )
}

fn presentable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(512).collect()
}
