//! A client that signs KMS calls and keeps its connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use ids::Timestamp;
use serde_json::Value;
use tokio::net::TcpStream;
use wire::sigv4;

/// Who signs, and for where.
#[derive(Clone, Debug)]
pub struct Identity {
    pub access_key_id: String,
    pub secret: String,
    pub region: String,
}

/// One kept connection.
pub struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
    identity: Identity,
}

/// What a load of many connections brought.
pub struct Load {
    pub calls_per_second: f64,
    pub latencies: Vec<Duration>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the system or the server says.
    pub async fn connect(address: SocketAddr, identity: Identity) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string(), identity })
    }

    /// Makes one signed call.
    ///
    /// # Errors
    /// Anything but an answer of status 200.
    pub async fn call(&mut self, operation: &str, input: &Value) -> Result<Value, Failure> {
        let body = serde_json::to_vec(input)?;
        let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = Timestamp::from_millis(i64::try_from(millis)?);
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("host".to_owned(), self.host.clone()),
            ("x-amz-date".to_owned(), now.basic()),
            ("x-amz-target".to_owned(), format!("TrentService.{operation}")),
        ];
        let signed = sigv4::Request { method: "POST", path: "/", query: "", headers: &headers, body: &body };
        let Identity { access_key_id, secret, region } = &self.identity;
        let authorization = sigv4::sign(&signed, access_key_id, secret, region, "kms", now);
        headers.push(("authorization".into(), authorization));
        let mut request = Request::post("/");
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body.into()))?).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{operation}: {status}: {}", String::from_utf8_lossy(&bytes)).into());
        }
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

/// Keeps `connections` busy with calls for a while.
///
/// # Errors
/// The first failed call.
pub async fn load(
    address: SocketAddr,
    identity: &Identity,
    connections: usize,
    span: Duration,
    calls: Arc<Vec<(&'static str, Value)>>,
) -> Result<Load, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for number in 0..connections {
        let mut client = Client::connect(address, identity.clone()).await?;
        let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            let mut turn = number;
            while !stop.load(Ordering::Relaxed) {
                let (operation, input) = &calls[turn % calls.len()];
                let started = Instant::now();
                client.call(operation, input).await?;
                latencies.push(started.elapsed());
                turn += 1;
            }
            Ok::<_, Failure>(latencies)
        }));
    }
    let started = Instant::now();
    tokio::time::sleep(span).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    let calls_per_second = latencies.len() as f64 / started.elapsed().as_secs_f64();
    Ok(Load { calls_per_second, latencies })
}
