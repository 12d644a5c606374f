//! Signed, authorized, durably recorded KMS calls against a bare HTTP server that only answers: same client,
//! same machine, alternating in one run.
//!
//! `cargo run --release -p bench --bin kms -- --strongroom target/release/strongroom`
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bench::{
    Failure,
    client::{Client, Identity, Load, load},
    figures::{median, percentile},
    many::Many,
};
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ACCOUNT: &str = "111122223333";
const REGION: &str = "us-west-2";

/// KMS operations per second beside a bare HTTP server.
#[derive(Parser)]
struct Options {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/strongroom")]
    strongroom: PathBuf,
    /// Connections at once.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds; each measures everything once, and medians are told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Keys that are there already; the first one is used.
    #[arg(long, default_value_t = 0)]
    keys: usize,
    /// Grants on them.
    #[arg(long, default_value_t = 0)]
    grants: usize,
    /// Different policies of them.
    #[arg(long, default_value_t = 1)]
    policies: usize,
}

impl Options {
    fn many(&self) -> Option<Many> {
        let Self { keys, grants, policies, .. } = *self;
        (keys > 0).then_some(Many { keys, grants, policies })
    }
}

/// The server under test; stopped and its home removed when dropped.
struct Served {
    child: Child,
    address: SocketAddr,
    identity: Identity,
    /// A key that was there before it started.
    key: Option<String>,
    _home: tempfile::TempDir,
}

impl Served {
    /// Processor time that the server has used: `utime` and `stime` of `/proc/PID/stat`.
    fn cpu(&self) -> Result<Duration, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit_once(')').ok_or("no stat of the server")?.1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
        // A tick is a hundredth of a second wherever Linux runs (`USER_HZ`).
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Memory that the server has, in KiB: `VmRSS` of `/proc/PID/status`.
    fn memory(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS of the server")?.parse()?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let bare = bare_server().await?;
    let many = options.many();
    let served = start(&options.strongroom, many).await?;
    let mut client = Client::connect(served.address, served.identity.clone()).await?;
    let key = match &served.key {
        Some(key) => json!(key),
        None => client.call("CreateKey", &json!({})).await?["KeyMetadata"]["KeyId"].clone(),
    };
    let context = json!({"aws:rds:db-id": "db-BENCH"});
    let sealed = client
        .call("Encrypt", &json!({"KeyId": key, "Plaintext": "aGVsbG8=", "EncryptionContext": context}))
        .await?;
    let encrypt = ("Encrypt", json!({"KeyId": key, "Plaintext": "aGVsbG8=", "EncryptionContext": context}));
    let decrypt =
        ("Decrypt", json!({"CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": context}));
    let generate =
        ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context}));
    let mut works: Vec<(&str, Vec<(&'static str, Value)>)> = vec![
        ("Decrypt", vec![decrypt.clone()]),
        ("Encrypt / Decrypt / GenerateDataKey", vec![encrypt, decrypt, generate]),
        ("DescribeKey", vec![("DescribeKey", json!({"KeyId": key}))]),
    ];
    if many.is_some() {
        let retiring = format!("arn:aws:iam::{ACCOUNT}:user/app-1");
        works.extend([
            ("ListGrants", vec![("ListGrants", json!({"KeyId": key, "Limit": 100}))]),
            (
                "ListRetirableGrants",
                vec![("ListRetirableGrants", json!({"RetiringPrincipal": retiring, "Limit": 100}))],
            ),
            ("ListKeys", vec![("ListKeys", json!({"Limit": 100}))]),
        ]);
    }
    let span = Duration::from_secs(options.seconds);
    println!(
        "{} connections, {} rounds of {} s, medians\n",
        options.connections, options.rounds, options.seconds
    );
    println!(
        "| Work | strongroom, calls/s | bare server, calls/s | ratio | p50 | p99 | server's CPU, ms a call |\n\
         |---|---|---|---|---|---|---|"
    );
    for (name, calls) in works {
        let calls = Arc::new(calls);
        let (mut ours, mut theirs, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        let mut cpu = Duration::ZERO;
        for _ in 0..options.rounds {
            let measure =
                |address| load(address, &served.identity, options.connections, span, Arc::clone(&calls));
            let before = served.cpu()?;
            let Load { calls_per_second, latencies: seen } = measure(served.address).await?;
            cpu += served.cpu()? - before;
            ours.push(calls_per_second);
            latencies.extend(seen);
            theirs.push(measure(bare).await?.calls_per_second);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let (p50, p99) = (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99));
        #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
        let cpu = cpu.as_secs_f64() * 1000.0 / latencies.len() as f64;
        println!(
            "| {name} | {ours:.0} | {theirs:.0} | {:.2} | {p50:.2?} | {p99:.2?} | {cpu:.3} |",
            ours / theirs
        );
    }
    println!("\nthe server has {} MiB", served.memory()? / 1024);
    Ok(())
}

/// Reads each request and answers `{}`.
async fn bare_server() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|request: Request<Incoming>| async move {
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

async fn start(binary: &Path, many: Option<Many>) -> Result<Served, Failure> {
    let home = tempfile::tempdir()?;
    let secret_file = home.path().join("secret");
    let secret = "benchmarkbenchmarkbenchmarkbenchmark0000";
    fs::write(&secret_file, secret)?;
    let dir = home.path().join("home");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.args(arguments).arg("--home").arg(&dir).stdout(Stdio::null());
        command
    };
    let secret_path = secret_file.to_string_lossy().into_owned();
    let initialized = run(&[
        "init",
        "--account-id",
        ACCOUNT,
        "--region",
        REGION,
        "--access-key-id",
        "AKIABENCHBENCHBENCH0",
        "--secret-access-key-file",
        &secret_path,
    ])
    .status()?;
    if !initialized.success() {
        return Err("strongroom init failed".into());
    }
    let mut key = None;
    if let Some(many) = many {
        let begun = Instant::now();
        key = Some(many.fill(&dir, &ACCOUNT.parse()?, &REGION.parse()?).await?);
        let Many { keys, grants, policies } = many;
        let took = begun.elapsed();
        println!("{keys} keys, {grants} grants, {policies} policies: written in {took:.1?}");
    }
    let begun = Instant::now();
    let child = run(&["serve", "--listen", "127.0.0.1:0", "--log", "warn"]).spawn()?;
    let identity = Identity {
        access_key_id: "AKIABENCHBENCHBENCH0".into(),
        secret: secret.into(),
        region: REGION.into(),
    };
    let mut served = Served { child, address: ([127, 0, 0, 1], 0).into(), identity, key, _home: home };
    for _ in 0..18_000 {
        if let Ok(url) = fs::read_to_string(dir.join("run/endpoint")) {
            served.address =
                url.trim().trim_start_matches("http://").replace("localhost", "127.0.0.1").parse()?;
            println!("serves after {:.2?}, with {} MiB", begun.elapsed(), served.memory()? / 1024);
            return Ok(served);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("strongroom serve did not come up".into())
}
