//! The client against a proxy that verifies, encrypts and misbehaves, over TLS.

use std::collections::BTreeMap;

use ids::{Region, Timestamp};
use testkit::xks::{ACCESS_KEY_ID, Fault, HOST, KEY, Key, PATH, Proxy, SECRET};
use wire::Secret;
use xks::{Failure, Link, Place, Proxies, RequestMetadata, Settings};

const NOW: Timestamp = Timestamp::from_millis(1_767_607_872_191);

struct World {
    proxy: Proxy,
    proxies: Proxies,
    link: Link,
    endpoint: String,
    secret: Secret,
    region: Region,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(10_000).await
    }

    async fn with(timeout_ms: u64) -> Self {
        let proxy = Proxy::start().await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, &proxy.authority).unwrap();
        let addresses = BTreeMap::from([HOST, "other.test"].map(|host| (host.to_owned(), proxy.address)));
        let settings = Settings {
            authorities_file: Some(file),
            timeout_ms,
            addresses,
            most_requests: 1,
            ..Default::default()
        };
        let proxies = Proxies::new(&settings).unwrap();
        let link = proxies.link(NOW);
        let (endpoint, secret) = (format!("https://{HOST}"), Secret::new(SECRET.into()));
        Self { proxy, proxies, link, endpoint, secret, region: "us-west-2".parse().unwrap(), _dir: dir }
    }

    fn place(&self) -> Place<'_> {
        Place {
            endpoint: &self.endpoint,
            path: PATH,
            access_key_id: ACCESS_KEY_ID,
            secret: &self.secret,
            region: &self.region,
            link: &self.link,
            now: NOW,
        }
    }

    async fn health(&self) -> Result<(), Failure> {
        self.proxies.health(self.place(), &metadata("ConnectCustomKeyStore")).await
    }

    async fn encrypt(&self, plaintext: &[u8]) -> Result<xks::Ciphertext, Failure> {
        self.proxies.encrypt(self.place(), KEY, &metadata("Encrypt"), plaintext, b"aad").await
    }
}

fn metadata(operation: &'static str) -> RequestMetadata {
    let (kms_operation, kms_request_id) = (operation, "4112f4d6".to_owned());
    RequestMetadata { kms_operation, kms_request_id, ..Default::default() }
}

#[tokio::test]
async fn an_external_key_encrypts_and_decrypts_over_tls_with_signed_requests() {
    let world = World::new().await;
    world.health().await.unwrap();
    let known = world.proxies.describe(world.place(), KEY, &metadata("CreateKey")).await.unwrap();
    assert_eq!((known.key_spec.as_str(), known.key_status.as_str()), ("AES_256", "ENABLED"));
    let made = world.encrypt(b"hello").await.unwrap();
    assert_ne!(made.bytes, b"hello");
    let decrypt = |aad: &'static [u8]| {
        let made = made.clone();
        async { world.proxies.decrypt(world.place(), KEY, &metadata("Decrypt"), made, aad).await }
    };
    assert_eq!(decrypt(b"aad").await.unwrap(), b"hello");
    assert_eq!(decrypt(b"AAD").await.unwrap_err(), Failure::InvalidCiphertext);
    let largest = world.encrypt(&[7; 4300]).await.unwrap();
    assert_eq!(largest.bytes.len(), 4300);
}

#[tokio::test]
async fn every_way_to_misbehave_has_its_failure() {
    let world = World::with(2000).await;
    let answers = |status, body: &str| Fault::Answers(status, body.into());
    for (fault, failure) in [
        (Fault::Hangs, Failure::TimedOut),
        (Fault::Garbage, Failure::Malformed),
        (Fault::WrongIntegrityValue, Failure::Malformed),
        (Fault::WrongTag, Failure::Malformed),
        (answers(200, "no JSON"), Failure::Malformed),
        (answers(200, "{}"), Failure::Malformed),
        (answers(200, &" ".repeat(20_000)), Failure::Malformed),
        (answers(502, "<html>bad gateway</html>"), Failure::Malformed),
        (answers(302, ""), Failure::Malformed),
        (answers(500, "{\"errorName\": \"Unheard\"}"), Failure::Malformed),
        (Fault::Refuses(400, "ValidationException"), Failure::Malformed),
        (Fault::Refuses(400, "InvalidStateException"), Failure::InvalidState),
        (Fault::Refuses(400, "InvalidKeyUsageException"), Failure::InvalidKeyUsage),
        (Fault::Refuses(401, "AuthenticationFailedException"), Failure::AuthenticationFailed),
        (Fault::Refuses(403, "AccessDeniedException"), Failure::AccessDenied),
        (Fault::Refuses(404, "KeyNotFoundException"), Failure::KeyNotFound),
        (Fault::Refuses(404, "InvalidUriPathException"), Failure::InvalidUriPath),
        (Fault::Refuses(429, "ThrottlingException"), Failure::Throttled),
        (Fault::Refuses(501, "UnsupportedOperationException"), Failure::Unsupported),
        (Fault::Refuses(503, "DependencyTimeoutException"), Failure::DependencyTimeout),
        (Fault::Refuses(500, "InternalException"), Failure::Internal),
    ] {
        world.proxy.breaks(fault.clone());
        assert_eq!(world.encrypt(b"x").await.unwrap_err(), failure, "{fault:?}");
    }
    world.proxy.breaks(Fault::Unhealthy);
    assert_eq!(world.health().await, Err(Failure::Unhealthy));
    world.proxy.breaks(None);
    world.health().await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_told() {
    let mut world = World::new().await;
    let place = world.place();
    for key in ["other", ".", ".."] {
        let told = world.proxies.describe(place, key, &metadata("CreateKey")).await;
        assert_eq!(told.unwrap_err(), Failure::KeyNotFound, "{key}");
    }
    let disabled = Key { status: "DISABLED", ..Key::default() };
    world.proxy.state().keys.insert("off".into(), disabled);
    let told = world.proxies.describe(world.place(), "off", &metadata("CreateKey")).await.unwrap();
    assert_eq!(told.key_status, "DISABLED");
    world.secret = Secret::new("another".into());
    assert_eq!(world.health().await, Err(Failure::AuthenticationFailed));
}

#[tokio::test]
async fn a_certificate_must_be_of_the_host_and_of_an_authority_that_is_trusted() {
    let mut world = World::new().await;
    world.endpoint = "https://other.test".into();
    assert_eq!(world.health().await, Err(Failure::Tls), "another host");
    let addresses = BTreeMap::from([(HOST.to_owned(), world.proxy.address)]);
    world.endpoint = format!("https://{HOST}");
    world.proxies = Proxies::new(&Settings { addresses, timeout_ms: 10_000, ..Default::default() }).unwrap();
    assert_eq!(world.health().await, Err(Failure::Tls), "another authority");
}

#[tokio::test]
async fn only_what_the_settings_name_may_be_private() {
    let mut world = World::new().await;
    for endpoint in ["https://localhost", "https://127.0.0.1", "https://2130706433", "https://xks.invalid"] {
        world.endpoint = endpoint.into();
        assert_eq!(world.health().await, Err(Failure::Unreachable), "{endpoint}");
    }
    assert!(world.proxy.state().seen.is_empty());
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_unreachable_and_silence_is_noticed() {
    let mut world = World::new().await;
    world.health().await.unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = BTreeMap::from([(HOST.to_owned(), listener.local_addr().unwrap())]);
    drop(listener);
    let silence_seconds = 300;
    let settings = Settings { addresses, timeout_ms: 10_000, silence_seconds, ..Default::default() };
    world.proxies = Proxies::new(&settings).unwrap();
    assert_eq!(world.health().await, Err(Failure::Unreachable));
    let later = |seconds| NOW.plus(std::time::Duration::from_secs(seconds));
    assert!(!world.proxies.is_silent(&world.link, later(299)));
    assert!(world.proxies.is_silent(&world.link, later(300)));
}

#[tokio::test]
async fn no_more_requests_than_may_be_are_under_way() {
    let world = World::with(60_000).await;
    let impatient = Proxies::new(&Settings { timeout_ms: 100, ..Default::default() }).unwrap();
    world.proxy.breaks(Fault::Hangs);
    // The first takes the only place, and keeps it for longer than the second waits.
    let told = tokio::select! {
        biased;
        answer = world.health() => panic!("{answer:?}"),
        told = async { impatient.health(world.place(), &metadata("ConnectCustomKeyStore")).await } => told,
    };
    assert_eq!(told, Err(Failure::Busy));
    world.proxy.breaks(None);
    world.health().await.unwrap();
}

#[test]
fn a_file_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    for content in ["", "nonsense"] {
        std::fs::write(&file, content).unwrap();
        let refused = Proxies::new(&Settings { authorities_file: Some(file.clone()), ..Default::default() });
        assert!(refused.unwrap_err().to_string().contains("authorities_file"));
    }
}
