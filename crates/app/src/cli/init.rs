//! `strongroom init`: makes a home, with its root key, its first account and the account's administrator.
//!
//! INVARIANT: the home appears whole or not at all. Everything is made in a directory beside it, which takes the
//! home's name as the last step; what a crash leaves of that directory, the next run empties.
#![allow(clippy::print_stdout, reason = "the client settings are the command's output")]

use std::{
    env,
    fs::{self, DirBuilder, File},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use api_iam::{CreateError, Iam, NewKey};
use clap::Args;
use custody::Custody;
use ids::{AccountId, Entropy as _, Region};
use nix::fcntl::{Flock, FlockArg};
use wire::Secret;
use zeroize::Zeroizing;

use super::{Failure, HomeOption};
use crate::{
    certificate,
    config::Config,
    credentials,
    home::{Home, write_private},
    system::SystemClock,
};

/// The environment variable for the administrator's secret access key; a secret is no argument.
const SECRET_VARIABLE: &str = "STRONGROOM_SECRET_ACCESS_KEY";

/// Make a new home: root key, first account, administrator.
#[derive(Args, Debug)]
pub struct Init {
    #[command(flatten)]
    home: HomeOption,
    /// Id of the first account, twelve digits [default: a random one]
    #[arg(long, env = "STRONGROOM_ACCOUNT_ID", value_name = "ID")]
    account_id: Option<AccountId>,
    /// The server's own region, which clients are told.
    #[arg(long, env = "STRONGROOM_REGION", default_value = "us-west-2", value_name = "NAME")]
    region: Region,
    /// Access key id of the administrator [default: a new one]
    #[arg(long, env = "STRONGROOM_ACCESS_KEY_ID", value_name = "ID")]
    access_key_id: Option<String>,
    /// File with the administrator's secret access key; or give STRONGROOM_SECRET_ACCESS_KEY in the environment
    /// [default: a new one]
    #[arg(long, value_name = "FILE")]
    secret_access_key_file: Option<PathBuf>,
    /// Derive the root key from the passphrase in this file, which the server reads at every start, instead of
    /// keeping the key in a file.
    #[arg(long, env = "STRONGROOM_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Address and port of the endpoint. Beyond loopback it gets a TLS certificate.
    #[arg(long, env = "STRONGROOM_LISTEN", default_value = "127.0.0.1:7800", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The name by which clients reach the endpoint beyond loopback [default: this machine's name]
    #[arg(long, env = "STRONGROOM_HOST_NAME", value_name = "NAME")]
    host_name: Option<String>,
}

impl Init {
    pub fn run(self) -> Result<(), Failure> {
        let home = Home::at(std::path::absolute(self.home.home().path())?);
        let credential = self.credential()?;
        let account = self.account_id.clone().unwrap_or_else(random_account);
        let config = self.config(&home)?;
        let staging = Staging::begin(&home)?;
        if !config.listen.ip().is_loopback() {
            let names = certificate_names(&config);
            certificate::create(&staging.home, &names)?;
        }
        let NewKey { access_key_id, secret } =
            super::runtime()?.block_on(administrator(&staging.home, &config, &account, credential))?;
        let text = credentials::file("default", &access_key_id, &secret);
        write_private(&staging.home.credentials(), text.as_bytes())?;
        write_private(&staging.home.config(), config.to_text().as_bytes())?;
        staging.publish(&home)?;
        print!("{}", welcome(&home, &config, &account, &access_key_id));
        Ok(())
    }

    /// The administrator's access key, if it is given: both parts or none.
    fn credential(&self) -> Result<Option<(String, Secret)>, Failure> {
        let secret = match (&self.secret_access_key_file, env::var(SECRET_VARIABLE)) {
            (Some(file), _) => {
                let named = |error: io::Error| Failure::usage(format!("{}: {error}", file.display()));
                let text = Zeroizing::new(fs::read_to_string(file).map_err(named)?);
                Some(Secret::new(text.trim().to_owned()))
            }
            (None, Ok(text)) => Some(Secret::new(text)),
            (None, Err(_)) => None,
        };
        match (&self.access_key_id, secret) {
            (None, None) => Ok(None),
            (Some(id), Some(secret)) => Ok(Some((id.clone(), secret))),
            _ => Err(Failure::usage(format!(
                "give both --access-key-id and --secret-access-key-file (or {SECRET_VARIABLE}), or none"
            ))),
        }
    }

    fn config(&self, home: &Home) -> Result<Config, Failure> {
        let mut config = Config { listen: self.listen, region: self.region.clone(), ..Config::default() };
        config.passphrase_file = self.passphrase_file.as_ref().map(std::path::absolute).transpose()?;
        if !config.listen.ip().is_loopback() {
            let own = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
            config.host_name = self.host_name.clone().or_else(own);
            config.tls_certificate = Some(home.tls_certificate());
            config.tls_key = Some(home.tls_key());
        }
        Ok(config)
    }
}

/// Makes the root key and, under it, the account and its root user's access key.
async fn administrator(
    home: &Home,
    config: &Config,
    account: &AccountId,
    credential: Option<(String, Secret)>,
) -> Result<NewKey, Failure> {
    let custody = Arc::new(Custody::create(&config.root_key(home)).map_err(Failure::usage)?);
    let store = store::Store::open(&home.state()).await?;
    let iam = Iam::load(store.clone(), custody, Arc::new(SystemClock)).await?;
    let made = iam.create_account(account.clone(), credential).await.map_err(|error| match error {
        CreateError::Store(error) => error.into(),
        given => Failure::usage(given),
    })?;
    store.close().await;
    Ok(made)
}

pub(super) fn random_account() -> AccountId {
    let mut bytes = [0; 8];
    envelope::SystemEntropy.fill(&mut bytes);
    // Without a leading zero, which spreadsheets and shells lose.
    let number = 100_000_000_000 + u64::from_be_bytes(bytes) % 900_000_000_000;
    number.to_string().parse().expect("twelve digits")
}

/// What the certificate has to cover: the endpoint's name, its address, and loopback for clients on this machine.
fn certificate_names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = config.host_name.iter().cloned().collect();
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    names.extend(["localhost".into(), "127.0.0.1".into()]);
    names.dedup();
    names
}

fn welcome(home: &Home, config: &Config, account: &AccountId, access_key_id: &str) -> String {
    let shown = home.path().display();
    let option = if home.path() == Path::new("/var/lib/strongroom") {
        String::new()
    } else {
        format!(" --home {shown}")
    };
    let root_key = home.root_key();
    let root_key = root_key.display();
    let secret_is = config.passphrase_file.as_ref().map_or("", |_| " and your passphrase");
    format!(
        "Made a home in {shown}\n\
         \n\
         account        {account}\n\
         region         {region}\n\
         administrator  access key {access_key_id}, secret in {credentials}\n\
         root key       {root_key}\n\
         \n\
         Back up {root_key}{secret_is} now, apart from the rest: nothing can be read without it.\n\
         \n\
         Start the server:         strongroom serve{option}\n\
         Point AWS clients at it:  eval \"$(strongroom env{option})\"\n",
        region = config.region,
        credentials = home.credentials().display(),
    )
}

/// A home in the making, beside the place where it will be.
struct Staging {
    home: Home,
    /// Held until the home is published: two runs at once must not mix.
    _lock: Flock<File>,
}

impl Staging {
    fn begin(target: &Home) -> Result<Self, Failure> {
        refuse_occupied(target)?;
        let path = target.path();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Failure::usage(format!("{} cannot be a home", path.display())));
        };
        fs::create_dir_all(parent)?;
        let staging = parent.join(format!(".{}.init", name.to_string_lossy()));
        match DirBuilder::new().mode(0o700).create(&staging) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let lock = Flock::lock(File::open(&staging)?, FlockArg::LockExclusiveNonblock).map_err(|_| {
            Failure::usage(format!("another `strongroom init` makes {} right now", path.display()))
        })?;
        for entry in fs::read_dir(&staging)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?
            } else {
                fs::remove_file(entry.path())?
            }
        }
        let home = Home::at(staging);
        home.create()?;
        Ok(Self { home, _lock: lock })
    }

    fn publish(self, target: &Home) -> Result<(), Failure> {
        File::open(self.home.path())?.sync_all()?;
        fs::rename(self.home.path(), target.path()).map_err(|error| {
            Failure::usage(format!(
                "{} cannot become the home: {error} (a mount point cannot: name a directory below it)",
                target.path().display()
            ))
        })?;
        let parent = target.path().parent().unwrap_or(Path::new("/"));
        Ok(File::open(parent)?.sync_all()?)
    }
}

/// Only a path where nothing is, or an empty directory, becomes a home.
fn refuse_occupied(target: &Home) -> Result<(), Failure> {
    let shown = target.path().display();
    if target.config().exists() {
        return Err(Failure::usage(format!("{shown} is a home already: nothing was changed")));
    }
    let occupied = match fs::read_dir(target.path()) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Failure::usage(format!("{shown}: {error}"))),
    };
    if occupied {
        return Err(Failure::usage(format!(
            "{shown} is not empty and no home of a server: nothing was changed"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_made_up_has_twelve_digits_and_no_leading_zero() {
        for _ in 0..100 {
            assert!(!random_account().as_str().starts_with('0'));
        }
    }

    #[test]
    fn what_a_crash_left_is_emptied_and_a_home_is_published_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = Home::at(dir.path().join("home"));
        let crashed = Staging::begin(&target).unwrap();
        fs::write(crashed.home.root_key(), "half").unwrap();
        assert!(Staging::begin(&target).is_err(), "while another run makes it");
        drop(crashed);
        let again = Staging::begin(&target).unwrap();
        assert!(!again.home.root_key().exists());
        assert!(!target.path().exists());
        fs::write(again.home.config(), "").unwrap();
        again.publish(&target).unwrap();
        assert!(target.config().exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(Staging::begin(&target).is_err(), "a home is never made anew");
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        let refused = Staging::begin(&Home::at(dir.path())).err().unwrap();
        assert!(refused.text.contains("not empty"), "{}", refused.text);
    }
}
