//! The listening socket: plain HTTP on loopback, TLS anywhere else.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    http::{Endpoint, Peer},
    seats::{Seat, Seats},
};

/// Connections held at once.
const MOST_CONNECTIONS: usize = 1024;
const SLOWEST_HEAD: Duration = Duration::from_secs(15);
const SLOWEST_HANDSHAKE: Duration = Duration::from_secs(10);

/// Why the server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{0} is not a loopback address: give a certificate and its key (`tls_certificate`, `tls_key`)")]
    NeedsTls(SocketAddr),
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// [`ServerError::NeedsTls`] for anything but loopback without TLS, before the port is opened.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Result<Self, ServerError> {
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(ServerError::NeedsTls(address));
        }
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?;
        Ok(Self { listener, tls: tls.map(TlsAcceptor::from) })
    }

    /// Where it listens: the port that the system chose, if port 0 was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether clients must use `https`.
    pub const fn secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `stop` turns true, then lets the calls under way end.
    pub async fn run(self, endpoint: Arc<Endpoint>, mut stop: watch::Receiver<bool>) {
        let seats = Seats::new(MOST_CONNECTIONS);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to be given back.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let seat = tokio::select! {
                seat = seats.take() => seat,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Some(seat) = seat else { break };
            let (endpoint, tls, stop) = (Arc::clone(&endpoint), self.tls.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = connection(stream, address, tls, endpoint, stop, &seat) => {}
                    () = seat.is_needed() => tracing::debug!(%address, "a silent connection made room"),
                }
            });
        }
        drop(self.listener);
        endpoint.drained().await;
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    endpoint: Arc<Endpoint>,
    stop: watch::Receiver<bool>,
    seat: &Arc<Seat>,
) {
    let _ = stream.set_nodelay(true);
    let peer = Peer { address: address.ip(), secure: tls.is_some() };
    match tls {
        None => requests(stream, peer, endpoint, stop, seat).await,
        Some(tls) => match tokio::time::timeout(SLOWEST_HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, peer, endpoint, stop, seat).await,
            Ok(Err(error)) => tracing::debug!(%error, %address, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%address, "a TLS handshake was too slow"),
        },
    }
}

async fn requests<S>(
    stream: S,
    peer: Peer,
    endpoint: Arc<Endpoint>,
    mut stop: watch::Receiver<bool>,
    seat: &Arc<Seat>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (endpoint, seat) = (Arc::clone(&endpoint), Arc::clone(seat));
        async move {
            let reply = endpoint.answer(request, peer, &seat).await;
            seat.falls_silent();
            Ok::<_, std::convert::Infallible>(reply)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => return log_end(ended),
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    log_end(connection.await);
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
