//! Which volume a command is for, and its key: from the running server, or from the home itself while none runs. Either
//! way the key is opened by the key service, as RDS, and the trail has a record of it.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process, thread,
};

use ::volume::{Anchor, Header, MAX_HEADER, VolumeKey};
use api_rds::RenewalWish;
use clap::Args;
use custody::Custody;
use nix::unistd::Uid;
use zeroize::Zeroizing;

use super::COULD_NOT;
use crate::{
    admin::{self, Answer, Request, Row},
    cli::{Failure, HomeOption, read_config},
    harden,
    home::{Home, HomeLock},
    wiring::Core,
};

/// The volume that a command is for.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Named {
    /// The cluster or snapshot: its identifier, ARN or resource id; or the id of a volume.
    name: Option<String>,
    /// A directory with the files of a volume or a snapshot, such as a copy of one of this server's.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A volume, found.
pub struct Sealed {
    pub id: String,
    pub dir: PathBuf,
    /// What its log has to contain. Not known of a directory that somebody names: a copy may be as old as it is.
    pub anchor: Option<Anchor>,
    /// Its files are where this server keeps those of a volume, so that an instance may have it open.
    own: bool,
    arn: String,
    source: Source,
}

/// Where its key comes from.
enum Source {
    Server(PathBuf),
    Home(Box<(Core, tokio::runtime::Runtime, HomeLock)>),
}

impl Source {
    fn of(home: &Home) -> Result<Self, Failure> {
        let config = read_config(home)?;
        let lock = match home.lock() {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Self::Server(home.admin())),
            Err(error) => return Err(error.into()),
        };
        harden::lock_memory();
        let custody = Custody::open(&config.root_key(home)).map_err(Failure::usage)?;
        let runtime = crate::cli::runtime()?;
        let core = runtime.block_on(Core::open(home, &config, custody, None))?;
        Ok(Self::Home(Box::new((core, runtime, lock))))
    }

    fn find(&self, name: &str) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Server(socket) => Ok(ask(socket, &Request::Find { name: name.into() })?.0),
            Self::Home(home) => {
                let (core, runtime, _) = &**home;
                let sealed = runtime.block_on(core.rds().sealed_volumes(name)).map_err(key_fault)?;
                Ok(sealed.iter().map(Row::from).collect())
            }
        }
    }
}

impl Named {
    /// A cluster or snapshot of this server.
    pub const fn by_name(name: String) -> Self {
        Self { name: Some(name), dir: None }
    }

    /// Finds the volume; by its directory through what the header says.
    pub fn find(&self, home: &HomeOption) -> Result<Sealed, Failure> {
        let source = Source::of(&home.home())?;
        let (name, dir) = match (&self.name, &self.dir) {
            (_, Some(dir)) => (volume_in(dir)?, Some(dir.clone())),
            (Some(name), None) => (name.clone(), None),
            (None, None) => return Err(Failure::usage("name a cluster, a snapshot or a directory")),
        };
        let mut rows = source.find(&name)?;
        // Snapshots are of the volume of their cluster, and have its id.
        rows.retain(|row| dir.is_some() || row.volume != name || row.dir.ends_with(&name));
        match rows.as_slice() {
            [] => Err(Failure::usage(format!("this server has nothing named {name}"))),
            [first, rest @ ..] if rest.is_empty() || dir.is_some() => {
                let Row { arn, volume, dir: kept, anchor } = first.clone();
                let own = dir.is_none() && kept.ends_with(&volume);
                let anchor = anchor.filter(|_| dir.is_none());
                let anchor = anchor.as_deref().map(Anchor::from_bytes).transpose()?;
                Ok(Sealed { id: volume, dir: dir.unwrap_or(kept), anchor, own, arn, source })
            }
            several => {
                let listed: Vec<_> = several.iter().map(|row| format!("\n  {}", row.arn)).collect();
                let listed = listed.concat();
                Err(Failure::usage(format!("several are named {name}: give one by its ARN{listed}")))
            }
        }
    }
}

impl Sealed {
    /// Whether an instance may have it open.
    pub const fn may_be_open(&self) -> bool {
        self.own
    }

    /// Whether a server is running.
    pub const fn has_server(&self) -> bool {
        matches!(self.source, Source::Server(_))
    }

    /// Has its key renewed.
    pub fn renew_key(&self, reason: Option<&str>) -> Result<(), Failure> {
        let reason = reason.map(str::to_owned);
        match &self.source {
            Source::Server(socket) => {
                ask(socket, &Request::RenewKey { arn: self.arn.clone(), reason }).map(drop)
            }
            Source::Home(home) => {
                let (core, runtime, _) = &**home;
                let wish = RenewalWish { operator: admin::user_name(Uid::current().as_raw()), reason };
                let renewed = runtime.block_on(core.rds().renew_volume_key(&self.arn, &wish));
                runtime.block_on(core.close());
                renewed.map_err(|fault| Failure { text: fault.to_string(), status: COULD_NOT })
            }
        }
    }

    /// Opens its keys. If the server takes access to them away, this process ends.
    pub fn open_keys(&self) -> Result<Vec<VolumeKey>, Failure> {
        match &self.source {
            Source::Server(socket) => {
                let (_, mut connection) = ask(socket, &Request::Open { arn: self.arn.clone() })?;
                let mut count = [0];
                connection.read_exact(&mut count)?;
                let mut keys = Vec::new();
                for _ in 0..count[0] {
                    let mut bytes = Zeroizing::new([0; 32]);
                    connection.read_exact(&mut *bytes)?;
                    keys.push(VolumeKey::copy_from(&*bytes).expect("32 bytes, as a key has"));
                }
                thread::Builder::new().name("access".into()).spawn(move || {
                    // Nothing more comes: the end is all there is to be read.
                    let _ = connection.read(&mut [0]);
                    eprintln!("strongroom: the server has ended this command: it stops, or access to the key is lost");
                    process::exit(COULD_NOT.into());
                })?;
                Ok(keys)
            }
            Source::Home(home) => {
                let (core, runtime, _) = &**home;
                let opened = runtime.block_on(async {
                    let mut sealed = core.rds().sealed_volumes(&self.arn).await?;
                    let sealed = sealed
                        .pop()
                        .ok_or_else(|| api_rds::KeyFault::Failed(format!("{} is gone", self.arn)))?;
                    core.rds().open_sealed(&sealed).await
                });
                // No use of a key without its record: it is durable now.
                runtime.block_on(core.close());
                opened.map_err(key_fault)
            }
        }
    }
}

/// Asks the server. What follows the answer has not been read from the connection: it is a key, and no buffer's.
fn ask(socket: &Path, request: &Request) -> Result<(Vec<Row>, UnixStream), Failure> {
    let failed = |error: io::Error| Failure::from(error).with("the server does not answer");
    let mut connection = UnixStream::connect(socket).map_err(failed)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    connection.write_all(&line).map_err(failed)?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        connection.read_exact(&mut byte).map_err(failed)?;
        line.extend(byte);
    }
    match serde_json::from_slice(&line)? {
        Answer::Volumes(rows) => Ok((rows, connection)),
        Answer::Error(text) => Err(Failure { text, status: COULD_NOT }),
    }
}

fn key_fault(fault: api_rds::KeyFault) -> Failure {
    Failure { text: fault.to_string(), status: COULD_NOT }
}

/// The id of the volume in a directory, as its header says, or the copy of that.
fn volume_in(dir: &Path) -> Result<String, Failure> {
    let read = |name| {
        let mut bytes = Vec::new();
        fs::File::open(dir.join(name))?.take(MAX_HEADER as u64).read_to_end(&mut bytes)?;
        Ok::<_, Failure>(Header::parse(&bytes)?.volume)
    };
    read("header").or_else(|error| read("header.copy").map_err(|_| error.with(dir.display())))
}

impl Failure {
    /// Says what it is about.
    fn with(self, about: impl std::fmt::Display) -> Self {
        Self { text: format!("{about}: {}", self.text), ..self }
    }
}
