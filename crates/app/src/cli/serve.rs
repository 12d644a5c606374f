//! `strongroom serve`: the server, until it is told to stop. Databases live on when it ends.

use std::{fs, net::SocketAddr};

use clap::Args;
use custody::Custody;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, HomeOption, read_config};
use crate::{
    config::Config,
    harden,
    home::{Home, write_private},
    wiring::Services,
};

/// Run the server.
#[derive(Args, Debug)]
pub struct Serve {
    #[command(flatten)]
    home: HomeOption,
    /// Listen here instead of where `config.toml` says.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// What to log, such as `info` or `warn,api_rds=debug`; to standard error.
    #[arg(long, env = "STRONGROOM_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

impl Serve {
    pub fn run(self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)
            .map_err(|error| Failure::usage(format!("--log {}: {error}", self.log)))?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        let home = self.home.home();
        let mut config = read_config(&home)?;
        config.listen = self.listen.unwrap_or(config.listen);
        let tls = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(front::server_config(certificate, key).map_err(Failure::usage)?)
            }
            _ => None,
        };
        if tls.is_none() && !config.listen.ip().is_loopback() {
            return Err(Failure::usage(front::ServerError::NeedsTls(config.listen)));
        }
        let _lock = home.lock().map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                Failure::usage(format!("a server runs on {} already", home.path().display()))
            }
            _ => error.into(),
        })?;
        harden::lock_memory();
        // Before anything is opened for writing: a wrong key must change nothing.
        let custody = Custody::open(&config.root_key(&home)).map_err(Failure::usage)?;
        let snapshots = config.snapshots.location();
        let snapshots = snapshots.map_err(|error| Failure::usage(format!("snapshots.store: {error}")))?;
        super::runtime()?.block_on(serve(&home, &config, custody, snapshots, tls))
    }
}

async fn serve(
    home: &Home,
    config: &Config,
    custody: Custody,
    snapshots: Option<archive::Location>,
    tls: Option<std::sync::Arc<rustls::ServerConfig>>,
) -> Result<(), Failure> {
    // Watched from here on, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let services = Services::start(home, config, custody, snapshots).await?;
    let server = front::Server::bind(config.listen, tls).await?;
    let url = config.endpoint(server.address()?);
    write_private(&home.pid(), format!("{}\n", std::process::id()).as_bytes())?;
    write_private(&home.endpoint(), format!("{url}\n").as_bytes())?;
    tell_accounts(home, &services)?;
    tracing::info!(endpoint = %url, home = %home.path().display(), "serving");

    let (stop, stopping) = tokio::sync::watch::channel(false);
    let listener = tokio::spawn(server.run(services.endpoint(), stopping));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // `strongroom account create` has made an account in the state of this server.
            _ = hangup.recv() => match services.iam().reload().await {
                Ok(()) => tell_accounts(home, &services)?,
                Err(error) => tracing::error!(%error, "accounts were not loaded again"),
            },
        }
    }
    tracing::info!("stopping; databases keep running");
    stop.send_replace(true);
    listener.await?;
    services.stop().await;
    for file in [home.admin(), home.endpoint(), home.pid(), home.served_accounts()] {
        let _ = fs::remove_file(file);
    }
    Ok(())
}

/// Tells other commands which accounts are served now.
fn tell_accounts(home: &Home, services: &Services) -> Result<(), Failure> {
    let accounts: String = services.iam().accounts().iter().map(|account| format!("{account}\n")).collect();
    Ok(write_private(&home.served_accounts(), accounts.as_bytes())?)
}
