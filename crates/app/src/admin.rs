//! The socket on which the server serves the commands of its own operator: the keys of volumes that they check or
//! salvage, and the renewal of keys. Only processes of the server's own user get an answer, and every key that is opened is
//! a record in the trail.
//!
//! ```text
//! request   a line of JSON: {"order": "find", "name": …}, {"order": "open", "arn": …}
//!           or {"order": "renew_key", "arn": …, "reason": …}
//! answer    a line of JSON: {"volumes": […]} or {"error": …}; after "open", the volume's keys: how many (1 byte), and
//!           32 bytes for each
//! ```
//!
//! After "open" the connection stays until the command ends. The server ends it when access to the KMS key is lost, and
//! the command ends with it: a key that was taken away is nowhere any more.

use std::{io, path::PathBuf, sync::Arc};

use api_kms::KeyChange;
use api_rds::{KeyFault, Rds, RenewalWish, SealedVolume};
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    task::JoinSet,
};

/// Bytes of the longest request.
const LONGEST: u64 = 64 << 10;

/// What a command wants.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Request {
    /// Which volumes and snapshots have this name?
    Find { name: String },
    /// Open the keys of this one.
    Open { arn: String },
    /// Renew the key of this one.
    RenewKey { arn: String, reason: Option<String> },
}

/// The answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Volumes(Vec<Row>),
    Error(String),
}

/// A volume or snapshot.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    pub arn: String,
    pub volume: String,
    pub dir: PathBuf,
    /// What its log has to contain, if that is known ([`volume::Anchor`]).
    pub anchor: Option<Vec<u8>>,
}

impl From<&SealedVolume> for Row {
    fn from(sealed: &SealedVolume) -> Self {
        Self {
            arn: sealed.arn.clone(),
            volume: sealed.volume.to_string(),
            dir: sealed.dir.clone(),
            anchor: sealed.anchor.clone(),
        }
    }
}

/// Serves until told to stop.
pub async fn serve(
    listener: UnixListener,
    rds: Arc<Rds>,
    changes: impl Fn() -> Receiver<KeyChange> + Send + 'static,
    mut stop: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            connection = listener.accept() => match connection {
                Ok((connection, _)) => {
                    let (rds, changes) = (Arc::clone(&rds), changes());
                    open.spawn(async move {
                        if let Err(error) = answer(connection, &rds, changes).await {
                            tracing::warn!(%error, "an operator's command was not answered");
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "no command can be answered");
                    return;
                }
            },
            Some(_) = open.join_next() => {}
            _ = stop.wait_for(|stop| *stop) => return, // and with it every connection ends
        }
    }
}

async fn answer(mut connection: UnixStream, rds: &Rds, mut changes: Receiver<KeyChange>) -> io::Result<()> {
    let user = connection.peer_cred()?.uid();
    if user != nix::unistd::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut line = String::new();
    BufReader::new((&mut connection).take(LONGEST)).read_line(&mut line).await?;
    let fault = |fault: KeyFault| Answer::Error(fault.to_string());
    let (answer, opened) = match serde_json::from_str(&line) {
        Err(error) => (Answer::Error(error.to_string()), None),
        Ok(Request::Find { name }) => match rds.sealed_volumes(&name).await {
            Ok(sealed) => (Answer::Volumes(sealed.iter().map(Row::from).collect()), None),
            Err(error) => (fault(error), None),
        },
        Ok(Request::Open { arn }) => match open(rds, &arn).await {
            Ok((sealed, keys)) => (Answer::Volumes(vec![Row::from(&sealed)]), Some((sealed, keys))),
            Err(error) => (fault(error), None),
        },
        Ok(Request::RenewKey { arn, reason }) => {
            let wish = RenewalWish { operator: user_name(user), reason };
            match rds.renew_volume_key(&arn, &wish).await {
                Ok(()) => (Answer::Volumes(Vec::new()), None),
                Err(error) => (Answer::Error(error.to_string()), None),
            }
        }
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    connection.write_all(&line).await?;
    let Some((sealed, keys)) = opened else { return Ok(()) };
    connection.write_u8(u8::try_from(keys.len()).map_err(io::Error::other)?).await?;
    for key in keys {
        connection.write_all(key.expose()).await?;
    }
    let mut nothing = [0];
    loop {
        tokio::select! {
            // The command has ended.
            _ = connection.read(&mut nothing) => return Ok(()),
            change = changes.recv() => {
                let concerned = match change {
                    Ok(change) => sealed.key_arn() == Some(&change.key_arn),
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return Ok(()),
                };
                if concerned && !rds.may_keep_open(&sealed).await {
                    tracing::warn!(volume = %sealed.volume, "ending a command: access to its key is lost");
                    return Ok(());
                }
            }
        }
    }
}

async fn open(rds: &Rds, arn: &str) -> Result<(SealedVolume, Vec<api_rds::VolumeKey>), KeyFault> {
    let mut sealed = rds.sealed_volumes(arn).await?;
    let sealed = sealed.pop().ok_or_else(|| KeyFault::Refused(format!("there is no {arn}")))?;
    let keys = rds.open_sealed(&sealed).await?;
    Ok((sealed, keys))
}

/// The name of a user of the operating system, or the number of one without.
pub fn user_name(user: u32) -> String {
    let known = User::from_uid(Uid::from_raw(user)).ok().flatten();
    known.map_or_else(|| user.to_string(), |user| user.name)
}
