//! The endpoint of a cluster: a TCP port that is open while the writer is available, and closed otherwise.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
};

use engine::Address;

use crate::live::Live;

/// Between two tries to take a port that something else holds.
const RETRY: Duration = Duration::from_secs(1);

/// Forwards connections on `listen` to wherever the writer answers, until the future is dropped.
pub async fn forward(listen: SocketAddr, live: Arc<Live>) {
    let mut target = live.target.subscribe();
    loop {
        let Some(address) = target.borrow_and_update().clone() else {
            if target.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            // Whatever was connected ends with it: the set of connections is dropped.
            () = serve(listen, &address) => {}
            changed = changed_from(&mut target, &address) => if changed.is_err() { return },
        }
    }
}

async fn changed_from(
    target: &mut watch::Receiver<Option<Address>>,
    address: &Address,
) -> Result<(), watch::error::RecvError> {
    target.wait_for(|now| now.as_ref() != Some(address)).await.map(drop)
}

async fn serve(listen: SocketAddr, address: &Address) {
    let listener = loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(%listen, %error, "the endpoint's port is not free");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(relay(client, address.clone()));
                }
                Err(error) => {
                    tracing::warn!(%listen, %error, "a connection could not be accepted");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn relay(mut client: TcpStream, address: Address) {
    // A connection that breaks is its ends' affair; here it just ends.
    let result = match address {
        Address::Tcp(port) => match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(mut server) => {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                copy_bidirectional(&mut client, &mut server).await
            }
            Err(error) => Err(error),
        },
        Address::Unix(path) => match UnixStream::connect(path).await {
            Ok(mut server) => {
                let _ = client.set_nodelay(true);
                copy_bidirectional(&mut client, &mut server).await
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a database connection broke");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_port_is_open_only_while_there_is_a_target() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Address::Tcp(server.local_addr().unwrap().port());
        // A port that was free a moment ago.
        let listen = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let live = Arc::new(Live::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(listen, live.clone()));
        assert!(TcpStream::connect(listen).await.is_err());

        live.point_to(Some(target));
        let mut client = loop {
            match TcpStream::connect(listen).await {
                Ok(client) => break client,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (mut peer, _) = server.accept().await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");

        live.point_to(None);
        let ended = client.read(&mut read).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "an open connection ends");
        while TcpStream::connect(listen).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
