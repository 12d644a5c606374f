//! `strongroom account`: the accounts of a server. A running server takes a new one in at once.
#![allow(clippy::print_stdout, reason = "accounts and profiles are the command's output")]

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use api_iam::{CreateError, Iam, NewKey};
use clap::{Args, Subcommand};
use custody::Custody;
use ids::{AccountId, Timestamp};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use store::sqlx::{self, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use wire::Secret;
use zeroize::Zeroizing;

use super::{Failure, HomeOption, init::random_account, read_config};
use crate::{
    credentials,
    home::{Home, write_private},
    system::SystemClock,
};

/// How long a running server may take to take an account in.
const PATIENCE: Duration = Duration::from_secs(30);

/// Make and list accounts.
#[derive(Args, Debug)]
pub struct Account {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    List(List),
}

/// Make an account; its administrator's credentials become a profile of the home's credentials file.
#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    home: HomeOption,
    /// Id of the account, twelve digits [default: a random one]
    #[arg(long, value_name = "ID")]
    account_id: Option<AccountId>,
    /// Access key id of the administrator [default: a new one]
    #[arg(long, value_name = "ID", requires = "secret_access_key_file")]
    access_key_id: Option<String>,
    /// File with the administrator's secret access key [default: a new one]
    #[arg(long, value_name = "FILE", requires = "access_key_id")]
    secret_access_key_file: Option<PathBuf>,
}

/// List the accounts and when they were made.
#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    home: HomeOption,
}

impl Account {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Create(create) => create.run(),
            Command::List(list) => list.run(),
        }
    }
}

impl Create {
    fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        let config = read_config(&home)?;
        // Held until the end where no server runs, so that none starts half way.
        let lock = match home.lock() {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => return Err(error.into()),
        };
        let key = self.key()?;
        let account = self.account_id.unwrap_or_else(random_account);
        let custody = Custody::open(&config.root_key(&home)).map_err(Failure::usage)?;
        let profile = format!("account-{account}");
        super::runtime()?.block_on(create(&home, custody, &account, &profile, key))?;
        if lock.is_none() {
            tell_server(&home, &account)?;
        }
        println!("account  {account}");
        println!("profile  {profile} in {}", home.credentials().display());
        Ok(())
    }

    fn key(&self) -> Result<NewKey, Failure> {
        let (Some(id), Some(file)) = (&self.access_key_id, &self.secret_access_key_file) else {
            return Ok(NewKey::generate());
        };
        let named = |error: io::Error| Failure::usage(format!("{}: {error}", file.display()));
        let text = Zeroizing::new(fs::read_to_string(file).map_err(named)?);
        Ok(NewKey { access_key_id: id.clone(), secret: Arc::new(Secret::new(text.trim().to_owned())) })
    }
}

/// The credentials are on disk before the account is there: an account without its administrator's secret would
/// be lost.
async fn create(
    home: &Home,
    custody: Custody,
    account: &AccountId,
    profile: &str,
    key: NewKey,
) -> Result<(), Failure> {
    let store = store::Store::open(&home.state()).await?;
    let iam = Iam::load(store.clone(), Arc::new(custody), Arc::new(SystemClock)).await?;
    if iam.accounts().contains(account) {
        return Err(Failure::usage(CreateError::AccountExists(account.clone())));
    }
    let path = home.credentials();
    let before = read_secret(&path)?;
    let after = with_profile(&before, profile, &key);
    write_private(&path, after.as_bytes())?;
    if let Err(error) = iam.create_account_with(account.clone(), key).await {
        write_private(&path, before.as_bytes())?;
        return Err(match error {
            CreateError::Store(error) => error.into(),
            given => Failure::usage(given),
        });
    }
    store.close().await;
    Ok(())
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Zeroizing::default()),
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))),
    }
}

/// A credentials file with one profile added, or put in the place of an older one of its name.
fn with_profile(file: &str, profile: &str, key: &NewKey) -> Zeroizing<String> {
    let section = credentials::file(profile, &key.access_key_id, &key.secret);
    // As large as it gets, so that no unwiped piece is left behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(file.len() + section.len() + 2));
    let heading = format!("[{profile}]");
    let mut skipping = false;
    for line in file.lines() {
        if line.trim_start().starts_with('[') {
            skipping = line.trim() == heading;
        }
        if !skipping {
            text.push_str(line);
            text.push('\n');
        }
    }
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    text.push_str(&section);
    text
}

/// Lets the running server load its accounts again, and waits until it knows the new one.
fn tell_server(home: &Home, account: &AccountId) -> Result<(), Failure> {
    let begun = Instant::now();
    let known = || {
        let served = fs::read_to_string(home.served_accounts()).unwrap_or_default();
        served.lines().any(|line| line == account.as_str())
    };
    // A server that is only starting has no pid yet; one that has ended loads everything when it starts.
    while !known() {
        if home.lock().is_ok() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::usage(
                "the account is made, but the server does not take it in: restart it",
            ));
        }
        if let Some(pid) = server(home) {
            let _ = kill(pid, Signal::SIGHUP);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The process of the running server: a number that a crash left behind may be another program's by now.
fn server(home: &Home) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(home.pid()).ok()?.trim().parse().ok()?;
    let running = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let own = fs::read("/proc/self/comm").ok()?;
    (running == own).then(|| Pid::from_raw(pid))
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        read_config(&home)?;
        for (account, created) in super::runtime()?.block_on(accounts(&home.state()))? {
            println!("{account}  {}", created.iso8601_seconds());
        }
        Ok(())
    }
}

/// The accounts in a state database, which is only read.
async fn accounts(state: &Path) -> Result<Vec<(String, Timestamp)>, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(state).read_only(true);
    let mut sql = SqliteConnection::connect_with(&options).await?;
    let rows = sqlx::query("SELECT id, created FROM iam_accounts ORDER BY id").fetch_all(&mut sql).await?;
    sql.close().await?;
    Ok(rows.iter().map(|row| (row.get(0), Timestamp::from_millis(row.get(1)))).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use custody::Source;

    use super::*;

    fn key(secret: &str) -> NewKey {
        let secret = Arc::new(Secret::new(secret.repeat(40)));
        NewKey { access_key_id: "AKIAAAAAAAAAAAAAAAAA".into(), secret }
    }

    #[test]
    fn a_profile_is_added_or_replaced_and_the_others_stay() {
        let one = with_profile("[default]\na = 1\n", "account-1", &key("x"));
        assert!(one.starts_with("[default]\na = 1\n\n[account-1]\n"), "{}", *one);
        let two = with_profile(&one, "account-2", &key("y"));
        let three = with_profile(&two, "account-1", &key("z"));
        assert_eq!(three.matches("[account-1]").count(), 1);
        assert!(
            three.contains(&"y".repeat(40))
                && three.contains(&"z".repeat(40))
                && !three.contains(&"x".repeat(40))
        );
        assert!(with_profile("", "p", &key("x")).starts_with("[p]\n"));
    }

    #[tokio::test]
    async fn an_account_is_there_with_its_credentials_or_neither_is() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.create().unwrap();
        let root_key = || Source::File(home.root_key());
        Custody::create(&root_key()).unwrap();
        let custody = || Custody::open(&root_key()).unwrap();
        let account: AccountId = "111122223333".parse().unwrap();
        create(&home, custody(), &account, "account-111122223333", key("x")).await.unwrap();
        let file = fs::read_to_string(home.credentials()).unwrap();
        assert!(file.contains("[account-111122223333]\naws_access_key_id = AKIAAAAAAAAAAAAAAAAA\n"));
        assert_eq!(fs::metadata(home.credentials()).unwrap().permissions().mode() & 0o777, 0o600);
        let other: AccountId = "444455556666".parse().unwrap();
        for account in [&account, &other] {
            // The account exists; the key exists.
            assert!(create(&home, custody(), account, "account-x", key("y")).await.is_err());
            assert_eq!(fs::read_to_string(home.credentials()).unwrap(), file, "nothing has changed");
        }
        let listed = accounts(&home.state()).await.unwrap();
        assert_eq!(listed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["111122223333"]);
    }
}
