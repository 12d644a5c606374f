//! HTTP to calls: reads the body, proves the caller, finds the operation, writes the answer.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use ids::Regions;
use tokio::sync::watch;
use wire::{
    Audience, Fault, ServiceId, json,
    query::{self, Form},
    sigv4,
};

use crate::{
    authenticate::{Authenticator, Proven},
    call::{Call, Origin},
    pipeline::Pipeline,
    router::{Answer, Router},
    seats::Seat,
    unbroken::Unbroken,
};

/// Larger than any request of the services here.
const LARGEST_BODY: usize = 1024 * 1024;
const SLOWEST_BODY: Duration = Duration::from_secs(30);
/// Comes with every denial: what `sts:DecodeAuthorizationMessage` takes.
pub const AUTHORIZATION_MESSAGE: &str = "x-strongroom-authorization-message";

/// The one endpoint of all services.
pub struct Endpoint {
    pipeline: Arc<Pipeline>,
    router: Router,
    authenticator: Authenticator,
    /// Every call under way holds a receiver, so that a shutdown can wait for all of them.
    under_way: watch::Sender<()>,
}

/// An answer to HTTP.
pub(crate) type Reply = Response<Full<Bytes>>;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub address: IpAddr,
    pub secure: bool,
}

impl Endpoint {
    /// An endpoint that serves the operations of `router` in some regions.
    pub fn new(pipeline: Arc<Pipeline>, router: Router, regions: Regions) -> Self {
        let authenticator = Authenticator::new(Arc::clone(&pipeline.directory), regions);
        Self { pipeline, router, authenticator, under_way: watch::Sender::new(()) }
    }

    /// Waits until every call under way has ended.
    pub(crate) async fn drained(&self) {
        self.under_way.closed().await;
    }

    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        seat: &Seat,
    ) -> Reply {
        let presigned = request.uri().query().unwrap_or_default().contains("X-Amz-");
        if request.method() == Method::GET
            && !presigned
            && let Some(reply) = self.page(request.uri().path())
        {
            return reply;
        }
        let (parts, body) = request.into_parts();
        let read = tokio::time::timeout(SLOWEST_BODY, Limited::new(body, LARGEST_BODY).collect()).await;
        let body = match read {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(_)) => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large or was cut off.\n");
            }
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "The request was too slow.\n"),
        };
        seat.asks();
        let held = self.under_way.subscribe();
        let call = Unbroken::new(async move {
            let reply = self.serve(&parts, &body, peer).await;
            drop(held);
            reply
        });
        call.await.unwrap_or_else(|broke_off| {
            tracing::error!(error = %broke_off, "a call broke off");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "internal failure\n")
        })
    }

    fn page(&self, path: &str) -> Option<Reply> {
        match path {
            "/healthz" | "/readyz" => Some(plain(StatusCode::OK, "ok\n")),
            "/metrics" => Some(plain(StatusCode::OK, &self.pipeline.metrics.text())),
            _ => None,
        }
    }

    async fn serve(&self, parts: &Parts, body: &[u8], peer: Peer) -> Reply {
        let guess = guess_audience(&parts.headers);
        let request_id = || uuid::Uuid::new_v4().to_string();
        let headers = match lower_headers(&parts.headers) {
            Ok(headers) => headers,
            Err(fault) => return fault_reply(guess_service(guess), &fault, &request_id()),
        };
        let signed = sigv4::Request {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &headers,
            body,
        };
        let now = self.pipeline.clock.now();
        let Proven { caller, service, region } = match self.authenticator.prove(&signed, guess, now) {
            Ok(proven) => proven,
            Err(fault) => {
                tracing::warn!(code = %fault.code, peer = %peer.address, "a request was not authenticated");
                let claimed = claimed_service(&signed, guess);
                return fault_reply(claimed, &fault, &request_id());
            }
        };
        let agent =
            parts.headers.get(header::USER_AGENT).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let origin = Origin {
            source_ip: peer.address.to_string(),
            user_agent: agent.unwrap_or_default().chars().take(1024).collect(),
            secure: peer.secure,
        };
        let call = Call::new(caller, region, now, origin);
        match self.dispatch(service, parts, body, &call).await {
            Ok(answer) => ok_reply(service, answer, &call.request_id),
            Err(fault) => {
                let mut reply = fault_reply(service, &fault, &call.request_id);
                let denied = fault.code.starts_with("AccessDenied");
                let message = denied.then(|| self.pipeline.directory.authorization_message(&call.event_id));
                if let Some(message) = message.flatten().and_then(|text| HeaderValue::from_str(&text).ok()) {
                    reply.headers_mut().insert(AUTHORIZATION_MESSAGE, message);
                }
                reply
            }
        }
    }

    async fn dispatch(
        &self,
        service: ServiceId,
        parts: &Parts,
        body: &[u8],
        call: &Call,
    ) -> Result<Answer, Fault> {
        let (name, decoded) = match service.audience() {
            Audience::Json => {
                let name = json_operation(service, &parts.headers);
                let decoded = json::decode(service, &name, body);
                (name, decoded)
            }
            Audience::Query => {
                let form = if parts.method == Method::GET {
                    Form::parse(parts.uri.query().unwrap_or_default().as_bytes())
                } else {
                    Form::parse(body)
                };
                match form {
                    Ok(form) => (
                        query_operation(service, &form),
                        query::decode(service, form.get("Action").unwrap_or_default(), &form),
                    ),
                    Err(fault) => ("Unknown".into(), Err(fault)),
                }
            }
        };
        let Some(handler) = self.router.find(service, &name) else {
            let fault = if name == "Unknown" { decoded.err() } else { None };
            let fault = fault.unwrap_or_else(|| unknown_operation(service, &name));
            return Err(self.pipeline.refuse(service, &name, call, fault).await);
        };
        match decoded {
            Ok(input) => handler.run(&self.pipeline, call, input).await,
            Err(fault) => Err(self.pipeline.refuse(service, &name, call, fault).await),
        }
    }
}

/// `TrentService.DisableKey` → `DisableKey`; empty unless the target is of the service.
fn json_operation(service: ServiceId, headers: &HeaderMap) -> String {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (prefix, name) = target.rsplit_once('.').unwrap_or_default();
    let wanted = &service.model().metadata.target_prefix;
    // CloudTrail's clients send its long prefix or the last part of it (spec/trail.md §5).
    let last = wanted.rsplit('.').next().unwrap_or(wanted);
    let fits = !prefix.is_empty() && (prefix == wanted || prefix == last);
    if fits { name.into() } else { String::new() }
}

fn query_operation(service: ServiceId, form: &Form) -> String {
    let version = form.get("Version").unwrap_or_default();
    let fits = version == service.model().metadata.api_version;
    if fits { form.get("Action").unwrap_or_default().into() } else { String::new() }
}

fn unknown_operation(service: ServiceId, name: &str) -> Fault {
    let known = service.model().known.contains(name);
    match service.audience() {
        Audience::Json if known => {
            Fault::client("UnsupportedOperationException", format!("{name} is not supported."))
        }
        Audience::Json => Fault::bare("UnknownOperationException"),
        Audience::Query => {
            let version = &service.model().metadata.api_version;
            let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(128).collect();
            Fault::client("InvalidAction", format!("Could not find operation {name} for version {version}"))
        }
    }
}

/// Names in lower case; a value that is not text cannot have been signed by any client.
fn lower_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, Fault> {
    let lower = headers.iter().map(|(name, value)| {
        let text = value
            .to_str()
            .map_err(|_| Fault::client("SerializationException", "A header is not ASCII text"))?;
        Ok((name.as_str().to_owned(), text.to_owned()))
    });
    lower.collect()
}

fn guess_audience(headers: &HeaderMap) -> Audience {
    let json_type = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().starts_with(b"application/x-amz-json"));
    if json_type || headers.contains_key("x-amz-target") { Audience::Json } else { Audience::Query }
}

const fn guess_service(audience: Audience) -> ServiceId {
    match audience {
        Audience::Json => ServiceId::Kms,
        Audience::Query => ServiceId::Sts,
    }
}

/// The service whose clients will read an error: from the unproven scope where there is one, else from the version of
/// its API that a form names.
fn claimed_service(request: &sigv4::Request<'_>, guess: Audience) -> ServiceId {
    let claimed = sigv4::Signature::parse(request, guess).ok();
    let scope = claimed.and_then(|signature| ServiceId::from_name(&signature.service));
    let by_version = || {
        let sent = if request.method == "GET" { request.query.as_bytes() } else { request.body };
        let form = Form::parse(sent).ok().filter(|_| guess == Audience::Query)?;
        let version = form.get("Version")?;
        [ServiceId::Rds, ServiceId::Iam, ServiceId::Sts]
            .into_iter()
            .find(|service| service.model().metadata.api_version == version)
    };
    scope.or_else(by_version).unwrap_or(guess_service(guess))
}

fn ok_reply(service: ServiceId, mut answer: Answer, request_id: &str) -> Reply {
    // The transport needs bytes of its own; ours are wiped where they were.
    let body = Bytes::copy_from_slice(&answer);
    zeroize::Zeroize::zeroize(&mut *answer);
    reply(StatusCode::OK, content_type(service), body, request_id)
}

fn fault_reply(service: ServiceId, fault: &Fault, request_id: &str) -> Reply {
    let body = match service.audience() {
        Audience::Json => json::encode_fault(fault),
        Audience::Query => query::encode_fault(service, fault, request_id),
    };
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = reply(status, content_type(service), body.into(), request_id);
    if let Ok(code) = HeaderValue::from_str(&fault.code) {
        reply.headers_mut().insert("x-amzn-errortype", code);
    }
    reply
}

fn content_type(service: ServiceId) -> &'static str {
    match service.audience() {
        Audience::Json => "application/x-amz-json-1.1",
        Audience::Query => "text/xml",
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes, request_id: &str) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate, private"),
    );
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    reply
}

fn plain(status: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}
