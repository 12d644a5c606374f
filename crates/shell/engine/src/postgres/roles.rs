//! Roles and databases of a new cluster, as RDS lays them out: the superuser is ours ([`ADMIN`]), the owner's master
//! user is strong but no superuser.
//!
//! Every statement may be repeated. The database [`ADMIN`] is made last; where it is, everything before it is.

use std::path::Path;

use clusters::{DatabaseName, MasterUsername};
use envelope::SecretBytes;
use tokio_postgres::{Client, Config, Error, NoTls, error::SqlState};
use zeroize::Zeroizing;

use super::ADMIN;

/// Roles of PostgreSQL that the master user may use and pass on, where the version has them.
const PASSED_ON: [&str; 6] = [
    "pg_monitor",
    "pg_signal_backend",
    "pg_checkpoint",
    "pg_create_subscription",
    "pg_use_reserved_connections",
    "pg_maintain",
];

/// What a cluster begins with.
#[derive(Debug)]
pub struct Initial<'a> {
    pub master: &'a MasterUsername,
    /// SCRAM verifier; `None`: leave the password as it is.
    pub verifier: Option<&'a SecretBytes>,
    pub database: Option<&'a DatabaseName>,
}

/// The database's private socket.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a> {
    pub dir: &'a Path,
    /// Names the socket.
    pub port: u16,
}

/// Makes what is not there yet, and sets the master user's password if one is given.
///
/// # Errors
/// What the database says; [`is_not_up`] tells when to try again.
pub async fn ensure(socket: &Socket<'_>, initial: &Initial<'_>) -> Result<(), Error> {
    match Session::open(socket, ADMIN).await {
        Ok(session) => {
            if initial.verifier.is_some() {
                session.run(&master_role(initial)).await?;
            }
            session.close().await
        }
        Err(error) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) => {
            let session = Session::open(socket, "postgres").await?;
            session.make(initial).await?;
            session.close().await
        }
        Err(error) => Err(error),
    }
}

/// Takes a checkpoint at once, after which the log before it is not needed any more.
///
/// # Errors
/// What the database says.
pub async fn checkpoint(socket: &Socket<'_>) -> Result<(), Error> {
    let session = Session::open(socket, ADMIN).await?;
    session.run("CHECKPOINT").await?;
    session.close().await
}

/// The database does not accept connections yet: it is not there, or it starts or recovers.
pub fn is_not_up(error: &Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::CANNOT_CONNECT_NOW,
        None => true,
    }
}

/// A connection as [`ADMIN`], through the private socket.
struct Session {
    client: Client,
    driver: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Session {
    async fn open(socket: &Socket<'_>, database: &str) -> Result<Self, Error> {
        let mut config = Config::new();
        config
            .host_path(socket.dir)
            .port(socket.port)
            .user(ADMIN)
            .dbname(database)
            .application_name("strongroom");
        let (client, connection) = config.connect(NoTls).await?;
        let session = Self { client, driver: tokio::spawn(connection) };
        // Statements here hold a verifier: they stay out of the log, even where the owner logs all.
        session
            .run(
                "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_duration = off; \
                 SET log_min_error_statement = 'panic'; SET client_min_messages = 'error'",
            )
            .await?;
        Ok(session)
    }

    async fn close(self) -> Result<(), Error> {
        drop(self.client);
        self.driver.await.unwrap_or(Ok(()))
    }

    async fn run(&self, statements: &str) -> Result<(), Error> {
        self.client.batch_execute(statements).await
    }

    async fn there_is(&self, query: &str, name: &str) -> Result<bool, Error> {
        Ok(self.client.query_opt(query, &[&name]).await?.is_some())
    }

    async fn make(&self, initial: &Initial<'_>) -> Result<(), Error> {
        let master = quoted(initial.master.as_str());
        for role in ["rds_superuser", initial.master.as_str()] {
            if !self.there_is("SELECT FROM pg_roles WHERE rolname = $1", role).await? {
                self.run(&format!("CREATE ROLE {}", quoted(role))).await?;
            }
        }
        for role in PASSED_ON {
            if self.there_is("SELECT FROM pg_roles WHERE rolname = $1", role).await? {
                self.run(&format!("GRANT {role} TO rds_superuser WITH ADMIN OPTION")).await?;
            }
        }
        self.close_ways_out().await?;
        self.run(&master_role(initial)).await?;
        self.run(&format!("GRANT rds_superuser TO {master}")).await?;
        for database in ["postgres", "template1"] {
            self.run(&format!("ALTER DATABASE {database} OWNER TO {master}")).await?;
        }
        if let Some(database) = initial.database {
            self.make_database(database.as_str(), &master).await?;
        }
        self.make_database(ADMIN, ADMIN).await
    }

    async fn make_database(&self, name: &str, owner: &str) -> Result<(), Error> {
        if self.there_is("SELECT FROM pg_database WHERE datname = $1", name).await? {
            return Ok(());
        }
        self.run(&format!("CREATE DATABASE {} OWNER {owner}", quoted(name))).await
    }

    /// Before PostgreSQL 16, who may create roles may also grant those that run programs and touch files of the
    /// server. Marked as superusers, which they still do not make anyone, only a superuser can grant them.
    async fn close_ways_out(&self) -> Result<(), Error> {
        self.run(
            "UPDATE pg_authid SET rolsuper = true \
             WHERE current_setting('server_version_num')::int < 160000 AND rolname IN \
             ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')",
        )
        .await
    }
}

/// The statement that gives the master user its rights and, if there is one, its password.
fn master_role(initial: &Initial<'_>) -> Zeroizing<String> {
    let verifier = initial.verifier.and_then(|verifier| std::str::from_utf8(verifier.expose()).ok());
    let password = Zeroizing::new(verifier.map(|text| format!(" PASSWORD '{text}'")).unwrap_or_default());
    let master = quoted(initial.master.as_str());
    Zeroizing::new(format!("ALTER ROLE {master} LOGIN CREATEDB CREATEROLE{}", *password))
}

/// A name as an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_left_alone_where_none_is_given() {
        let master = MasterUsername::parse("Dba").unwrap();
        let mut initial = Initial { master: &master, verifier: None, database: None };
        assert_eq!(*master_role(&initial), "ALTER ROLE \"Dba\" LOGIN CREATEDB CREATEROLE");
        let verifier = SecretBytes::new(b"SCRAM-SHA-256$4096:c2FsdA==$a:b".to_vec());
        initial.verifier = Some(&verifier);
        assert!(master_role(&initial).ends_with(" PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a:b'"));
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("user"), "\"user\"");
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
    }
}
