//! An external key store proxy: TLS by an authority of its own, signatures verified, AES-256-GCM for real. It can
//! misbehave. Source: AWS KMS External Key Store Proxy API Specification.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use wire::{Audience, sigv4};

/// The host name in the certificate.
pub const HOST: &str = "xks.test";
pub const PATH: &str = "/kms/xks/v1";
/// What may stand before the path: nothing or this, as for another tenant.
pub const PREFIX: &str = "/b";
pub const ACCESS_KEY_ID: &str = "XKSACCESSKEYIDOFTESTS";
pub const SECRET: &str = "xksSecret/xksSecret/xksSecret/xksSecret/xksS";
/// The key that is there from the beginning.
pub const KEY: &str = "external-key-1";

/// What is wrong with the proxy.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It takes a request and says nothing.
    Hangs,
    /// An error of the API.
    Refuses(u16, &'static str),
    /// A status with a body that is no error of the API.
    Answers(u16, String),
    /// A bit of the tag is another than it was.
    WrongTag,
    WrongIntegrityValue,
    /// Something else than what was encrypted.
    WrongPlaintext,
    /// No HTTP at all.
    Garbage,
    /// No key manager works.
    Unhealthy,
}

/// An external key.
#[derive(Clone, Debug)]
pub struct Key {
    pub material: [u8; 32],
    pub spec: &'static str,
    pub usage: Vec<&'static str>,
    pub status: &'static str,
}

impl Default for Key {
    fn default() -> Self {
        let mut material = [0; 32];
        rand::fill(&mut material).expect("the system has entropy");
        Self { material, spec: "AES_256", usage: vec!["ENCRYPT", "DECRYPT", "WRAP"], status: "ENABLED" }
    }
}

/// What it knows and has seen.
#[derive(Debug, Default)]
pub struct State {
    pub keys: HashMap<String, Key>,
    pub fault: Option<Fault>,
    /// The secret that signatures are verified with.
    pub secret: String,
    /// Path and body of every request that was signed as it should be.
    pub seen: Vec<(String, Value)>,
}

/// A running proxy, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    /// The certificate of its authority, PEM.
    pub authority: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If it cannot.
    pub async fn start() -> Self {
        let (authority, config) = certified(HOST);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let keys = HashMap::from([(KEY.to_owned(), Key::default())]);
        let state = State { keys, secret: SECRET.into(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let server = tokio::spawn(serve(listener, TlsAcceptor::from(config), Arc::clone(&state)));
        Self { address, authority, state, server }
    }

    /// What it knows and has seen, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets it misbehave, or behave.
    pub fn breaks(&self, fault: impl Into<Option<Fault>>) {
        self.state().fault = fault.into();
    }

    /// The body of the last request for an operation.
    ///
    /// # Panics
    /// If there was none.
    pub fn last(&self, operation: &str) -> Value {
        let state = self.state();
        let last = state.seen.iter().rfind(|(path, _)| path.ends_with(operation));
        last.expect("the proxy was asked").1.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An authority, PEM, and a server with a certificate of it.
fn certified(host: &str) -> (String, Arc<ServerConfig>) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new([host.to_owned()]).expect("a host name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a pair");
    (authority.pem(), Arc::new(config))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(stream).await else { return };
            if matches!(lock(&state).fault, Some(Fault::Garbage)) {
                let _ = stream.write_all(b"220 smtp.example.com ESMTP\r\n").await;
                let _ = stream.shutdown().await;
                return;
            }
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(request, &state).await) }
            });
            // One request a connection: a fault never strikes the connection of an earlier one.
            let _ =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let fault = lock(state).fault.clone();
    if matches!(fault, Some(Fault::Hangs)) {
        std::future::pending::<()>().await;
    }
    let (status, told) = told(&parts, &body, &mut lock(state), fault);
    let mut response = Response::new(Full::new(Bytes::from(told)));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
    response
}

fn error(status: u16, name: &str) -> (u16, String) {
    (status, json!({"errorName": name, "errorMessage": "the test says so"}).to_string())
}

fn told(
    parts: &hyper::http::request::Parts,
    body: &[u8],
    state: &mut State,
    fault: Option<Fault>,
) -> (u16, String) {
    let path = parts.uri.path();
    if parts.method != "POST" || !is_signed(parts, body, &state.secret) {
        return error(401, "AuthenticationFailedException");
    }
    match &fault {
        Some(Fault::Refuses(status, name)) => return error(*status, name),
        Some(Fault::Answers(status, body)) => return (*status, body.clone()),
        _ => {}
    }
    let Some(route) = path.strip_prefix(PREFIX).unwrap_or(path).strip_prefix(PATH) else {
        return error(404, "InvalidUriPathException");
    };
    let Ok(input) = serde_json::from_slice::<Value>(body) else { return error(400, "ValidationException") };
    state.seen.push((path.to_owned(), input.clone()));
    let segments: Vec<&str> = route.split('/').collect();
    match segments[..] {
        ["", "health"] => {
            let status = if matches!(fault, Some(Fault::Unhealthy)) { "UNAVAILABLE" } else { "ACTIVE" };
            let manager = json!({"id": "1", "model": "test", "healthStatus": status});
            let health = json!({
                "xksProxyFleetSize": 1, "xksProxyVendor": "test", "xksProxyModel": "test", "ekmVendor": "test",
                "ekmFleetDetails": [manager],
            });
            (200, health.to_string())
        }
        ["", "keys", id, operation] => {
            let Some(key) = state.keys.get(id) else { return error(404, "KeyNotFoundException") };
            match operation {
                "metadata" => {
                    let told = json!({"keySpec": key.spec, "keyUsage": key.usage, "keyStatus": key.status});
                    (200, told.to_string())
                }
                _ if key.status != "ENABLED" => error(400, "InvalidStateException"),
                "encrypt" => encrypt(key, &input, fault.as_ref()),
                "decrypt" => decrypt(key, &input, fault.as_ref()),
                _ => error(404, "InvalidUriPathException"),
            }
        }
        _ => error(404, "InvalidUriPathException"),
    }
}

fn is_signed(parts: &hyper::http::request::Parts, body: &[u8], secret: &str) -> bool {
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers: Vec<_> = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let request = sigv4::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: "",
        headers: &headers,
        body,
    };
    let Ok(signature) = sigv4::Signature::parse(&request, Audience::Json) else { return false };
    let scope = (signature.access_key_id.as_str(), signature.service.as_str());
    let key = sigv4::SigningKey::derive(secret, &signature.date, &signature.region, &signature.service);
    scope == (ACCESS_KEY_ID, "kms-xks-proxy") && signature.verify(&request, &key, Audience::Json).is_ok()
}

fn bytes(input: &Value, member: &str) -> Vec<u8> {
    let text = input[member].as_str().unwrap_or_default();
    STANDARD.decode(text).expect("base64")
}

/// The associated data of the key manager: those of the request and the metadata, each behind its length.
fn bound(aad: &[u8], metadata: &[u8]) -> Vec<u8> {
    let mut all = u16::try_from(aad.len()).expect("short").to_be_bytes().to_vec();
    all.extend_from_slice(aad);
    all.push(u8::try_from(metadata.len()).expect("short"));
    all.extend_from_slice(metadata);
    all
}

fn cipher(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key.material).expect("32 bytes"))
}

fn encrypt(key: &Key, input: &Value, fault: Option<&Fault>) -> (u16, String) {
    let (aad, metadata) = (bytes(input, "additionalAuthenticatedData"), b"version=1");
    let mut iv = [0; NONCE_LEN];
    rand::fill(&mut iv).expect("the system has entropy");
    let mut text = bytes(input, "plaintext");
    let nonce = Nonce::assume_unique_for_key(iv);
    let sealed = cipher(key).seal_in_place_separate_tag(nonce, Aad::from(bound(&aad, metadata)), &mut text);
    let mut tag = sealed.expect("short").as_ref().to_vec();
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [&aad[..], metadata, &iv, &text, &tag] {
        hash.update(part);
    }
    let mut integrity = hash.finish().as_ref().to_vec();
    match fault {
        Some(Fault::WrongTag) => tag[0] ^= 1,
        Some(Fault::WrongIntegrityValue) => integrity[0] ^= 1,
        _ => {}
    }
    let told = json!({
        "ciphertext": STANDARD.encode(text), "ciphertextMetadata": STANDARD.encode(metadata),
        "initializationVector": STANDARD.encode(iv), "authenticationTag": STANDARD.encode(tag),
        "ciphertextDataIntegrityValue": STANDARD.encode(integrity),
    });
    (200, told.to_string())
}

fn decrypt(key: &Key, input: &Value, fault: Option<&Fault>) -> (u16, String) {
    let (aad, metadata) = (bytes(input, "additionalAuthenticatedData"), bytes(input, "ciphertextMetadata"));
    let iv = bytes(input, "initializationVector");
    let mut text = [bytes(input, "ciphertext"), bytes(input, "authenticationTag")].concat();
    let nonce = Nonce::try_assume_unique_for_key(&iv).expect("12 bytes");
    let aad = Aad::from(bound(&aad, &metadata));
    let Ok(plaintext) = cipher(key).open_in_place(nonce, aad, &mut text) else {
        return error(400, "InvalidCiphertextException");
    };
    if matches!(fault, Some(Fault::WrongPlaintext)) {
        plaintext[0] ^= 1;
    }
    (200, json!({"plaintext": STANDARD.encode(plaintext)}).to_string())
}
