//! From a mounted volume to a database that serves.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::BorrowedFd,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use envelope::SecretBytes;
use tokio::net::TcpSocket;

use super::{
    account::Account,
    apart::apart,
    confined::Confined,
    marker::{self, NotTheVolume},
    stage::{Stage, make_servers_dir, write_for_server},
};
use crate::{
    postgres::{
        ADMIN,
        config::{self, Config},
        parameters::{self, InvalidParameter},
        roles::{self, Initial, Socket},
    },
    protocol::Open,
};

/// How often a database that starts is asked whether it is up.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a database does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseFault {
    #[error(transparent)]
    NotTheVolume(#[from] NotTheVolume),
    #[error(transparent)]
    Parameter(#[from] InvalidParameter),
    #[error("the volume holds no database")]
    NoDatabase,
    #[error("{program} ended with {status}: {said}")]
    Ended { program: &'static str, status: ExitStatus, said: String },
    #[error("the roles of the database could not be made")]
    Roles(#[from] tokio_postgres::Error),
    #[error("the files of the database")]
    Io(#[from] io::Error),
}

/// A database about to be started on a mounted volume.
#[derive(Debug)]
pub struct Database<'a> {
    pub stage: &'a Stage,
    pub order: &'a Open,
    pub account: Account,
    pub lock: BorrowedFd<'static>,
    /// Blocks of the file system are as large as the database's pages.
    pub atomic_pages: bool,
}

/// A port on the loopback interface that is ours: bound, so that nobody else is given it, and not listened on, so that
/// the database can bind it as well (both with `SO_REUSEADDR`).
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _reserved: TcpSocket,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Errors
    /// What the system says.
    pub fn reserve() -> io::Result<Self> {
        let reserved = TcpSocket::new_v4()?;
        reserved.set_reuseaddr(true)?;
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let number = reserved.local_addr()?.port();
        Ok(Self { number, _reserved: reserved })
    }
}

impl Database<'_> {
    /// Checks that the mounted file system is the volume, and lays out what the database needs. Returns whether the
    /// volume holds a database.
    ///
    /// # Errors
    /// [`DatabaseFault`].
    pub fn prepare(&self, server_key: SecretBytes, port: u16) -> Result<bool, DatabaseFault> {
        parameters::check(&self.order.parameters)?;
        let config = Config { port, memory: config::memory(), parameters: &self.order.parameters };
        let server_files = [
            ("postgresql.conf", config.postgresql_conf()),
            ("pg_hba.conf", config.pg_hba_conf()),
            ("pg_ident.conf", Config::pg_ident_conf()),
        ];
        let (stage, account, certificates) =
            (self.stage.clone(), self.account, self.order.certificates.clone());
        let (volume, origin) = (self.order.volume.clone(), self.order.origin.clone());
        let may_be_new = self.order.new_size.is_some();
        apart(move || {
            marker::check(&stage.mount(), &volume, origin.as_ref(), may_be_new)?;
            for dir in [stage.server(), stage.log(), stage.tls()] {
                make_servers_dir(&dir, &account)?;
            }
            for (name, text) in server_files {
                write_for_server(&stage.server().join(name), text.as_bytes(), &account)?;
            }
            write_for_server(&stage.tls().join("server.crt"), certificates.as_bytes(), &account)?;
            write_for_server(&stage.tls().join("server.key"), server_key.expose(), &account)?;
            let there = stage.data().join("PG_VERSION").exists();
            if !there {
                if !may_be_new {
                    return Err(DatabaseFault::NoDatabase);
                }
                // What an earlier run began and did not finish.
                remove_all(&half_made(&stage))?;
                make_servers_dir(&half_made(&stage), &account)?;
            }
            Ok(there)
        })
    }

    /// Starts `initdb`, which makes a data directory beside the place where it will be.
    ///
    /// # Errors
    /// What the system says.
    pub fn start_initdb(&self) -> io::Result<Confined> {
        let mut command = self.command("initdb");
        command.arg("--pgdata").arg(half_made(self.stage)).arg(format!("--username={ADMIN}")).args([
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
        ]);
        Confined::start(command, &self.account, self.words("initdb"), self.lock)
    }

    /// Puts the data directory in its place, once `initdb` has ended well.
    ///
    /// # Errors
    /// [`DatabaseFault`].
    pub fn finish_initdb(&self, status: ExitStatus) -> Result<(), DatabaseFault> {
        if !status.success() {
            return Err(self.ended("initdb", status));
        }
        let stage = self.stage.clone();
        apart(move || {
            // It has flushed all its files.
            fs::rename(half_made(&stage), stage.data())?;
            Ok(fs::File::open(stage.mount())?.sync_all()?)
        })
    }

    /// Starts the database.
    ///
    /// # Errors
    /// What the system says.
    pub fn start_postgres(&self) -> io::Result<Confined> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.stage.data());
        let server = self.stage.server();
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let files = [
            ("config_file", path(&server.join("postgresql.conf"))),
            ("hba_file", path(&server.join("pg_hba.conf"))),
            ("ident_file", path(&server.join("pg_ident.conf"))),
            ("unix_socket_directories", path(&server)),
        ];
        let fixed = config::fixed(self.atomic_pages);
        for (name, value) in files.into_iter().chain(fixed.map(|(name, value)| (name, value.to_owned()))) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        Confined::start(command, &self.account, self.words("postgres"), self.lock)
    }

    /// Waits until the database accepts connections (recovery may take long), and makes the roles that it lacks.
    ///
    /// # Errors
    /// [`DatabaseFault::Ended`] if it ended instead.
    pub fn wait_until_up(
        &self,
        postgres: &Confined,
        port: u16,
        verifier: &SecretBytes,
    ) -> Result<(), DatabaseFault> {
        let initial = Initial {
            master: &self.order.master_username,
            verifier: Some(verifier).filter(|verifier| !verifier.expose().is_empty()),
            database: self.order.database_name.as_ref(),
        };
        let server = self.stage.server();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        loop {
            if let Some(status) = postgres.wait(Some(PAUSE)) {
                return Err(self.ended("postgres", status));
            }
            let socket = Socket { dir: &server, port };
            match runtime.block_on(roles::ensure(&socket, &initial)) {
                Err(error) if roles::is_not_up(&error) => {}
                ensured => return Ok(ensured?),
            }
        }
    }

    /// Why a program ended, in its own words where it has any.
    pub fn ended(&self, program: &'static str, status: ExitStatus) -> DatabaseFault {
        let said = fs::read_to_string(self.words(program)).unwrap_or_default();
        DatabaseFault::Ended { program, status, said: last_words(&said) }
    }

    /// Where a program says what it has to say: for the database, until its log begins.
    fn words(&self, program: &str) -> std::path::PathBuf {
        self.stage.path().join(format!("{program}.said"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.order.postgres_bin_dir.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
        command
    }
}

fn half_made(stage: &Stage) -> std::path::PathBuf {
    stage.mount().join("data.new")
}

fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What matters of what a program said: its last error and what led to it, else its last lines.
fn last_words(said: &str) -> String {
    const LINES: usize = 3;
    const LONGEST: usize = 1000;
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| ["FATAL:", "PANIC:", "error:"].iter().any(|word| line.contains(word));
    let end = lines.iter().rposition(is_error).map_or(lines.len(), |last| last + 1);
    let words = lines[end.saturating_sub(LINES)..end].join("; ");
    if words.is_empty() { "it said nothing".into() } else { words.chars().take(LONGEST).collect() }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_is_the_databases_and_nobody_answers_on_it_before() {
        let port = Port::reserve().unwrap();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port.number)).is_err());
        // As PostgreSQL does, this sets SO_REUSEADDR.
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number)).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port.number)).unwrap();
    }

    #[test]
    fn the_last_error_of_a_program_is_told() {
        let said = "LOG: starting\nLOG: bad value\n\nFATAL:  wrong\nLOG: shut down\n";
        assert_eq!(last_words(said), "LOG: starting; LOG: bad value; FATAL:  wrong");
        assert_eq!(last_words("one\n\ntwo\nthree\nfour\n"), "two; three; four");
        assert_eq!(last_words(""), "it said nothing");
        assert_eq!(last_words(&"FATAL:é".repeat(1000)).chars().count(), 1000);
    }
}
