//! A PostgreSQL server on a directory, and pgbench against it over its socket.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User},
};

use crate::Failure;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server; stopped when dropped.
pub struct Postgres {
    child: Child,
    bin: PathBuf,
    sockets: tempfile::TempDir,
    user: User,
}

/// What pgbench measured.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub per_second: f64,
    pub transactions: f64,
}

/// One transaction, or one write.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// When it ended, microseconds since 1970.
    pub at: u64,
    pub took: Duration,
}

/// Seconds from which only a tenth of the transactions is noted.
const LONG: u64 = 900;

/// The newest PostgreSQL of Debian's packages.
///
/// # Errors
/// If there is none.
pub fn installed() -> Result<PathBuf, Failure> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .collect();
    found.sort();
    Ok(found.pop().ok_or("no PostgreSQL is installed")?.1)
}

impl Postgres {
    /// Makes a database directory below `parent` and starts a server on it with these settings.
    ///
    /// # Errors
    /// What initdb or postgres could not do.
    pub fn start(bin: &Path, parent: &Path, settings: &[(&str, String)]) -> Result<Self, Failure> {
        let user = User::from_name("postgres")?.ok_or("there is no user postgres")?;
        let data = parent.join("pgdata");
        fs::create_dir_all(&data)?;
        let sockets = tempfile::Builder::new().prefix("bench-").tempdir_in("/tmp")?;
        for dir in [&data, sockets.path()] {
            chown(dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let mut initdb = as_user(&bin.join("initdb"), &user);
        initdb
            .args(["--data-checksums", "--no-sync", "--auth=trust", "--username=postgres", "--pgdata"])
            .arg(&data);
        done("initdb", initdb.stdout(Stdio::null()).status()?)?;
        let mut postgres = as_user(&bin.join("postgres"), &user);
        postgres.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c", "logging_collector=off"]);
        postgres.arg("-c").arg(format!("unix_socket_directories={}", sockets.path().display()));
        for (name, value) in settings {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        let log = fs::File::create(sockets.path().join("log"))?;
        let child = postgres.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let server = Self { child, bin: bin.into(), sockets, user };
        let begun = Instant::now();
        while !server.tool("pg_isready").stdout(Stdio::null()).status()?.success() {
            if begun.elapsed() > PATIENCE {
                return Err(fs::read_to_string(server.sockets.path().join("log"))?.into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = as_user(&self.bin.join(name), &self.user);
        command.arg("-h").arg(self.sockets.path()).args(["-U", "postgres"]);
        command
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// If it fails.
    pub fn sql(&self, statement: &str) -> Result<(), Failure> {
        let mut psql = self.tool("psql");
        psql.args(["-qc", statement, "postgres"]).stdout(Stdio::null());
        done("psql", psql.status()?)
    }

    /// `pgbench -i`: how long it took.
    ///
    /// # Errors
    /// If pgbench fails.
    pub fn load(&self, scale: u32) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let mut pgbench = self.tool("pgbench");
        pgbench.args(["-i", "-q", "-s", &scale.to_string(), "postgres"]);
        done("pgbench -i", pgbench.stdout(Stdio::null()).stderr(Stdio::null()).status()?)?;
        Ok(begun.elapsed())
    }

    /// One run of pgbench.
    ///
    /// # Errors
    /// If pgbench fails, or says nothing that can be read.
    pub fn pgbench(&self, clients: u32, seconds: u64, select_only: bool) -> Result<Run, Failure> {
        let mut pgbench = self.tool("pgbench");
        pgbench.args([
            "-n",
            "-M",
            "prepared",
            "-j",
            "2",
            "-c",
            &clients.to_string(),
            "-T",
            &seconds.to_string(),
        ]);
        if select_only {
            pgbench.arg("-S");
        }
        let output = pgbench.arg("postgres").stderr(Stdio::null()).output()?;
        done("pgbench", output.status)?;
        let text = String::from_utf8(output.stdout)?;
        let number = |prefix: &str| -> Result<f64, Failure> {
            let line =
                text.lines().find_map(|line| line.strip_prefix(prefix)).ok_or("pgbench said nothing")?;
            let digits = line.trim().split([' ', '/']).next().unwrap_or_default();
            Ok(digits.parse()?)
        };
        Ok(Run {
            per_second: number("tps = ")?,
            transactions: number("number of transactions actually processed: ")?,
        })
    }

    /// One run of TPC-B at `rate` transactions a second, or as fast as it goes if that is 0: how long each took, or each
    /// tenth in a run of more than a quarter of an hour.
    ///
    /// # Errors
    /// If pgbench fails.
    pub fn pgbench_latencies(&self, clients: u32, seconds: u64, rate: u32) -> Result<Vec<Latency>, Failure> {
        let logs = tempfile::Builder::new().prefix("pgbench-").tempdir_in(self.sockets.path())?;
        chown(logs.path(), Some(self.user.uid.as_raw()), Some(self.user.gid.as_raw()))?;
        let mut pgbench = self.tool("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-l"]);
        pgbench.arg(format!("--log-prefix={}/t", logs.path().display()));
        pgbench.args(["-c", &clients.to_string(), "-T", &seconds.to_string()]);
        if seconds > LONG {
            pgbench.arg("--sampling-rate=0.1");
        }
        if rate > 0 {
            pgbench.args(["-R", &rate.to_string()]);
        }
        done("pgbench", pgbench.arg("postgres").stdout(Stdio::null()).stderr(Stdio::null()).status()?)?;
        let mut latencies = Vec::new();
        for log in fs::read_dir(logs.path())? {
            // client, number, microseconds, script, second of its end, microsecond of that, lag
            latencies.extend(fs::read_to_string(log?.path())?.lines().filter_map(|line| {
                let fields: Vec<u64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
                let at = fields.get(4)? * 1_000_000 + fields.get(5)?;
                Some(Latency { at, took: Duration::from_micros(*fields.get(2)?) })
            }));
        }
        Ok(latencies)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.child.wait();
    }
}

fn as_user(program: &Path, user: &User) -> Command {
    let mut command = Command::new(program);
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/").env_remove("PGHOST");
    command
}

fn done(what: &str, status: std::process::ExitStatus) -> Result<(), Failure> {
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}").into()) }
}
