//! The control socket: takes orders of processes of the same user. It answers whatever the database and the volume do,
//! as no thread here ever waits for either, but for a snapshot's, a scrub's and a renewal's.

use std::{
    io,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::socket::{getsockopt, sockopt},
    unistd::geteuid,
};

use super::{life::Life, scrub::scrub};
use crate::protocol::{Order, Reply, Request, read_key, read_message, read_secrets, write_message};

/// Connections served at the same time; more are closed at once.
const MOST: usize = 32;
/// How long the other side may take for a step of the exchange.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers connections until the process ends.
pub fn serve(listener: &UnixListener, life: &Arc<Life>) {
    let open = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        let taken = connection.and_then(|connection| {
            let seat = Seat::take(&open).ok_or_else(|| io::Error::other("too many connections"))?;
            let life = Arc::clone(life);
            thread::Builder::new().name("control".into()).spawn(move || {
                let _seat = seat;
                if let Err(error) = answer(connection, &life) {
                    tracing::warn!(%error, "an order was not understood");
                }
            })
        });
        if let Err(error) = taken {
            tracing::warn!(%error, "a connection was not taken");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Room for one connection.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let seat = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::Relaxed) < MOST).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(mut connection: UnixStream, life: &Arc<Life>) -> io::Result<()> {
    let peer = getsockopt(&connection, sockopt::PeerCredentials)?;
    if peer.uid() != geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let request: Request = match read_message(&mut connection) {
        Ok(request) => request,
        // It only looked whether somebody listens.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Err(error) => {
            write_message(&mut connection, &Reply::refused(error.to_string()))?;
            return Err(error);
        }
    };
    let done = |outcome: Result<(), super::life::Refused>| match outcome {
        Ok(()) => Reply::done(),
        Err(refused) => Reply::refused(refused.to_string()),
    };
    let reply = match request.order {
        Order::Observe => Reply::State(life.state()),
        Order::Open(order) => {
            let secrets = read_secrets(&mut connection, &order)?;
            done(life.open(*order, secrets))
        }
        Order::RenewKey { wrapped_key } => done(life.renew_key(read_key(&mut connection)?, &wrapped_key)),
        Order::Snapshot { to } => done(life.snapshot(&to)),
        Order::Scrub => return scrub(&mut connection, life),
        Order::Anchored { anchor } => {
            life.report().kept(anchor);
            Reply::done()
        }
        Order::Stop => {
            // The answer first: an idle process ends at once.
            let sent = write_message(&mut connection, &Reply::done());
            life.stop();
            return sent;
        }
        Order::Lock => {
            life.lock();
            let sent = write_message(&mut connection, &Reply::done());
            life.end(0);
            return sent;
        }
    };
    write_message(&mut connection, &reply)
}
