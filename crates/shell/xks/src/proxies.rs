//! The client: one for all proxies, with their connections kept open between requests.

use std::{collections::BTreeMap, error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use ids::{Region, Timestamp};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};
use wire::{Secret, sigv4};

use crate::{
    failure::{Failure, Told},
    link::Link,
    names::Names,
    settings::{BadSettings, Settings},
    shapes::{
        Ciphertext, DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, ExternalKeyMetadata,
        Health, Plain, RequestMetadata,
    },
    trust,
};

const SERVICE: &str = "kms-xks-proxy";
const HTTPS: u16 = 443;
/// Bytes of the largest answer: a ciphertext of 4300 bytes in base64 and a little around it has less than half of this.
const LONGEST_ANSWER: usize = 16 * 1024;
/// Connections without a request that are kept for each host, and for how long: less than servers keep them, so that none
/// goes just as it is used.
const MOST_IDLE: usize = 8;
const LONGEST_IDLE: Duration = Duration::from_secs(4);

/// The way to a proxy, and who signs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `https://` and a host name.
    pub endpoint: &'a str,
    /// Ends with `/kms/xks/v1`.
    pub path: &'a str,
    pub access_key_id: &'a str,
    pub secret: &'a Secret,
    /// The region that the request is signed for.
    pub region: &'a Region,
    pub link: &'a Link,
    /// When the call was made that needs the proxy.
    pub now: Timestamp,
}

/// All proxies.
#[derive(Debug)]
pub struct Proxies {
    client: Client,
    addresses: Arc<BTreeMap<String, SocketAddr>>,
    timeout: Duration,
    silence: Duration,
    most_requests: usize,
}

impl Proxies {
    /// A client with these settings.
    ///
    /// # Errors
    /// [`BadSettings`] names the one that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, BadSettings> {
        settings.check()?;
        let addresses = Arc::new(settings.addresses.clone());
        let client = Client::builder()
            .tls_backend_preconfigured(trust::client_config(settings.authorities_file.as_deref())?)
            .dns_resolver(Names::new(Arc::clone(&addresses)))
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .pool_max_idle_per_host(MOST_IDLE)
            .pool_idle_timeout(LONGEST_IDLE)
            .build()
            .map_err(|error| BadSettings::Client(chain(&error)))?;
        let (timeout, silence) = (settings.timeout(), settings.silence());
        Ok(Self { client, addresses, timeout, silence, most_requests: settings.most_requests })
    }

    /// The line to a key store's proxy, as the settings have it.
    pub fn link(&self, now: Timestamp) -> Link {
        Link::new(self.most_requests, now)
    }

    /// Whether a proxy has been out of reach for so long that it counts as a refusal.
    pub fn is_silent(&self, link: &Link, now: Timestamp) -> bool {
        link.silent_for(self.silence, now)
    }

    /// GetHealthStatus: whether the proxy is there, takes the signature, and has a key manager that works.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn health(&self, place: Place<'_>, metadata: &RequestMetadata) -> Result<(), Failure> {
        let answer = self.post::<Health>(place, "/health", &Plain { request_metadata: metadata }).await;
        settled(place, answer.and_then(|health| health.check()))
    }

    /// GetKeyMetadata: what kind of key an external key is.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn describe(
        &self,
        place: Place<'_>,
        key: &str,
        metadata: &RequestMetadata,
    ) -> Result<ExternalKeyMetadata, Failure> {
        let route = route(key, "metadata")?;
        let answer =
            self.post::<ExternalKeyMetadata>(place, &route, &Plain { request_metadata: metadata }).await;
        settled(place, answer.and_then(ExternalKeyMetadata::check))
    }

    /// Encrypt: the ciphertext, whose integrity value has been checked.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn encrypt(
        &self,
        place: Place<'_>,
        key: &str,
        metadata: &RequestMetadata,
        plaintext: &[u8],
        aad: &[u8],
    ) -> Result<Ciphertext, Failure> {
        let request = EncryptRequest::new(metadata, plaintext, aad);
        let answer = self.post::<EncryptResponse>(place, &route(key, "encrypt")?, &request).await;
        settled(place, answer.and_then(|made| made.check(plaintext, aad)))
    }

    /// Decrypt: the plaintext, which has the length of the ciphertext.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn decrypt(
        &self,
        place: Place<'_>,
        key: &str,
        metadata: &RequestMetadata,
        ciphertext: Ciphertext,
        aad: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let length = ciphertext.bytes.len();
        let request = DecryptRequest::new(metadata, ciphertext, aad);
        let answer = self.post::<DecryptResponse>(place, &route(key, "decrypt")?, &request).await;
        let plaintext = answer.map(|opened| opened.plaintext.take());
        settled(
            place,
            plaintext.and_then(|p| if p.len() == length { Ok(p) } else { Err(Failure::Malformed) }),
        )
    }

    async fn post<T: DeserializeOwned>(
        &self,
        place: Place<'_>,
        route: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|_| Failure::Malformed)?;
        let until = Instant::now() + self.timeout;
        let _permit = match timeout_at(until, place.link.room.acquire()).await {
            Ok(permit) => permit.map_err(|_| Failure::Busy)?,
            Err(_) => return Err(Failure::Busy),
        };
        let answer = match timeout_at(until, self.send(place, route, body)).await {
            Ok(answer) => answer?,
            Err(_) => {
                tracing::warn!(endpoint = place.endpoint, route, "an external key store proxy was too slow");
                return Err(Failure::TimedOut);
            }
        };
        serde_json::from_slice(&answer).map_err(|error| {
            tracing::warn!(endpoint = place.endpoint, route, %error, "a proxy's answer is not one of its API");
            Failure::Malformed
        })
    }

    /// Sends a signed request; the body of its good answer.
    async fn send(&self, place: Place<'_>, route: &str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let unreachable = |detail: &str| {
            tracing::warn!(endpoint = place.endpoint, detail, "an external key store proxy cannot be called");
            Failure::Unreachable
        };
        let url = self.url(place, route).ok_or_else(|| unreachable("the endpoint names no host"))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(unreachable("the endpoint names no host")),
        };
        let signed_at = place.now.basic();
        let headers = [("host".to_owned(), host.clone()), ("x-amz-date".to_owned(), signed_at.clone())];
        let request =
            sigv4::Request { method: "POST", path: url.path(), query: "", headers: &headers, body: &body };
        let (region, secret) = (place.region.as_str(), place.secret.expose());
        let authorization = sigv4::sign(&request, place.access_key_id, secret, region, SERVICE, place.now);
        let request = self
            .client
            .post(url)
            .header("host", host)
            .header("x-amz-date", signed_at)
            .header("authorization", authorization)
            .header("content-type", "application/json")
            .body(body);
        let answer = request.send().await.map_err(|error| broken(place, route, &error))?;
        let status = answer.status();
        let body = bounded(answer)
            .await
            .map_err(|failure| failure.unwrap_or_else(|error| broken(place, route, &error)))?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        let told = serde_json::from_slice::<Told>(&body).ok();
        let said = told.as_ref().map(Told::shown).unwrap_or_default();
        tracing::warn!(endpoint = place.endpoint, route, %status, said, "an external key store proxy refused");
        Err(told.map_or(Failure::Malformed, |told| told.failure()))
    }

    /// Where a request goes: the port is 443 unless the settings say where the host is.
    fn url(&self, place: Place<'_>, route: &str) -> Option<Url> {
        if !crate::names_a_host(place.endpoint) {
            return None;
        }
        let mut url = Url::parse(&format!("{}{}{route}", place.endpoint, place.path)).ok()?;
        let known = self.addresses.get(url.host_str()?);
        url.set_port(known.map(SocketAddr::port).filter(|port| *port != HTTPS)).ok()?;
        Some(url)
    }
}

/// The path of an operation on a key. Ids that a URL takes for something else name no key.
fn route(key: &str, operation: &str) -> Result<String, Failure> {
    match key {
        "." | ".." => Err(Failure::KeyNotFound),
        _ => Ok(format!("/keys/{key}/{operation}")),
    }
}

/// Notes that the proxy has said yes or no, if it has.
fn settled<T>(place: Place<'_>, outcome: Result<T, Failure>) -> Result<T, Failure> {
    if outcome.as_ref().err().is_none_or(|failure| !failure.is_transient()) {
        place.link.answered(place.now);
    }
    outcome
}

/// The body of an answer, unless it is too long.
async fn bounded(mut answer: Response) -> Result<Vec<u8>, Result<Failure, reqwest::Error>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(Err)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(Ok(Failure::Malformed));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a request that got no answer has come to grief by.
fn broken(place: Place<'_>, route: &str, error: &reqwest::Error) -> Failure {
    let failure = if causes(error).any(|cause| cause.is::<rustls::Error>()) {
        Failure::Tls
    } else if causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
    {
        Failure::Malformed
    } else {
        Failure::Unreachable
    };
    tracing::warn!(
        endpoint = place.endpoint,
        route,
        error = chain(error),
        "an external key store proxy cannot be called"
    );
    failure
}

/// Errors below an error, those inside of `io::Error` too.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match inside {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
