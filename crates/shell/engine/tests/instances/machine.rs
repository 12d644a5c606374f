//! A home of its own for each test, and ways to look at what is left of an instance.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use clusters::{
    DatabaseName, InstanceResourceId, MasterUsername, Process, SnapshotResourceId, SpaceLimits, VolumeId,
};
use engine::{
    Address, CloneOrder, Host, HostFault, Initial, LocalHost, Memory, OpenOrder, Settings, Sighting, Wrapped,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls};
use volume::VolumeKey;
use wire::Secret;

/// What nobody waits longer for: a machine that is busy with other tests is slow.
const PATIENCE: Duration = Duration::from_secs(120);
pub const PASSWORD: &str = "correct-horse-1";
pub const KEY: [u8; 32] = *b"0123456789ABCDEF-the-volume-key-";
const VOLUME_SIZE: u64 = 2 << 30;

pub struct Machine {
    pub runtime: Runtime,
    pub host: LocalHost,
    pub id: InstanceResourceId,
    pub volume: VolumeId,
    kept: RefCell<Option<Vec<u8>>>,
    home: TempDir,
}

impl Drop for Machine {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.home.path().join("instances")).into_iter().flatten().flatten() {
            if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                let _ = self.runtime.block_on(self.host.kill(&id));
            }
        }
    }
}

/// The newest PostgreSQL that Debian has installed.
pub fn postgres_bin_dir() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let bins = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").exists());
    bins.max_by_key(|bin| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok())
}

impl Machine {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let unique = home
            .path()
            .to_string_lossy()
            .bytes()
            .fold(7_u64, |hash, byte| hash.wrapping_mul(1_099_511_628_211) ^ u64::from(byte));
        Self {
            host: LocalHost::new(settings(home.path(), &[])),
            id: format!("db-{unique:X}").parse().unwrap(),
            volume: "vol-0123456789abcdef0".parse().unwrap(),
            kept: RefCell::default(),
            home,
            runtime,
        }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A server that starts anew on the same home, with volumes of other sizes.
    pub fn with_space(&mut self, space: SpaceLimits) {
        self.host = LocalHost::new(Settings { space, ..settings(self.home.path(), &[]) });
    }

    /// A server that starts anew on the same home.
    pub fn restart_server(&mut self, parameters: &[(&str, &str)]) {
        self.host = LocalHost::new(settings(self.home.path(), parameters));
    }

    pub fn order(&self) -> OpenOrder {
        OpenOrder {
            volume: self.volume.clone(),
            volume_may_be_new: true,
            key: VolumeKey::copy_from(&KEY).unwrap(),
            wrapped_key: b"wrapped".to_vec(),
            older_keys: Vec::new(),
            postgres_bin_dir: postgres_bin_dir().unwrap(),
            initial: Initial {
                master_username: MasterUsername::parse("dba").unwrap(),
                master_password: Some(Secret::new(PASSWORD.into())),
                database_name: Some(DatabaseName::parse("orders").unwrap()),
            },
            host_names: vec!["localhost".into(), "127.0.0.1".into()],
            anchor: None,
        }
    }

    /// Spawns the instance and orders it to open.
    pub fn open(&self, order: OpenOrder) {
        self.open_as(&self.id, order);
    }

    pub fn open_as(&self, id: &InstanceResourceId, order: OpenOrder) {
        self.runtime.block_on(self.host.spawn(id)).unwrap();
        self.runtime.block_on(self.host.open(id, order)).unwrap();
    }

    pub fn sight(&self) -> Sighting {
        self.sight_of(&self.id)
    }

    /// Looks, and keeps the anchor that is told, as the server does.
    pub fn sight_of(&self, id: &InstanceResourceId) -> Sighting {
        let sight = self.runtime.block_on(self.host.observe()).unwrap().remove(id).unwrap_or_default();
        if let Some(anchor) = &sight.open.anchor
            && *self.kept.borrow() != Some(anchor.clone())
        {
            // It may have ended meanwhile.
            let _ = self.runtime.block_on(self.host.anchored(id, anchor.clone()));
            *self.kept.borrow_mut() = Some(anchor.clone());
        }
        sight
    }

    /// The anchor that was kept last.
    pub fn kept(&self) -> Option<Vec<u8>> {
        self.kept.borrow().clone()
    }

    pub fn wait_for(&self, process: Process) -> Sighting {
        self.wait_for_of(&self.id, process)
    }

    pub fn wait_for_of(&self, id: &InstanceResourceId, process: Process) -> Sighting {
        let begun = Instant::now();
        loop {
            let sight = self.sight_of(id);
            if sight.process == process {
                return sight;
            }
            let broken = process != Process::Broken && sight.process == Process::Broken;
            assert!(!broken && begun.elapsed() < PATIENCE, "{process:?} was expected, and it is {sight:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Opens, with the default order, and waits until the database serves.
    pub fn serve(&self) -> u16 {
        self.open(self.order());
        port(&self.wait_for(Process::Serving))
    }

    pub fn stop(&self) {
        self.runtime.block_on(self.host.stop(&self.id)).unwrap();
        self.wait_for(Process::Absent);
    }

    pub fn lock(&self) {
        self.runtime.block_on(self.host.lock(&self.id)).unwrap();
    }

    /// A session as the master user.
    pub fn session(&self, port: u16) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user("dba").password(PASSWORD).dbname("orders");
        let (client, connection) = self.runtime.block_on(config.connect(NoTls))?;
        self.runtime.spawn(connection);
        Ok(client)
    }

    /// Runs statements as the master user.
    pub fn run(&self, port: u16, statements: &str) {
        let client = self.session(port).unwrap();
        self.runtime.block_on(client.batch_execute(statements)).unwrap();
    }

    pub fn count(&self, port: u16, table: &str) -> i64 {
        let client = self.session(port).unwrap();
        let row =
            self.runtime.block_on(client.query_one(&format!("SELECT count(*) FROM {table}"), &[])).unwrap();
        row.get(0)
    }

    pub fn snapshot(&self, snapshot: &SnapshotResourceId, through: bool) -> Result<(), HostFault> {
        let through = through.then_some(&self.id);
        self.runtime.block_on(self.host.take_snapshot(snapshot, &self.volume, through))
    }

    pub fn has_snapshot(&self, snapshot: &SnapshotResourceId) -> bool {
        self.runtime.block_on(self.host.has_snapshot(snapshot)).unwrap()
    }

    pub fn has_volume(&self) -> bool {
        self.runtime.block_on(self.host.has_volume(&self.volume)).unwrap()
    }

    pub fn clone(&self, snapshot: &SnapshotResourceId, volume: &VolumeId) -> Result<(), HostFault> {
        self.runtime.block_on(self.host.clone_volume(CloneOrder {
            snapshot: snapshot.clone(),
            source: self.volume.clone(),
            volume: volume.clone(),
            keys: vec![Wrapped { key: VolumeKey::copy_from(&KEY).unwrap(), wrapped: b"wrapped".to_vec() }],
            own: None,
        }))
    }

    pub fn psql(&self, port: u16, user: &str, options: &str, sql: &str) -> Output {
        let ca = self.home().join("ca/ca.pem");
        Command::new(postgres_bin_dir().unwrap().join("psql"))
            .arg(format!(
                "host=localhost port={port} user={user} dbname=orders sslrootcert={} {options}",
                ca.display()
            ))
            .args(["-Atqc", sql])
            .env_clear()
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap()
    }

    /// The process of the instance.
    pub fn instance_process(&self) -> Pid {
        let dir = self.home().join("instances").join(self.id.as_str());
        let mine = self.processes().into_iter().find(|(_, line)| line.ends_with(&*dir.to_string_lossy()));
        mine.expect("an instance process").0
    }

    /// Processes that name the instance in their command line, or whose name says that they are its database's.
    pub fn processes(&self) -> Vec<(Pid, String)> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
            let mounts = fs::read_to_string(entry.path().join("mounts")).unwrap_or_default();
            if line.contains(self.id.as_str()) || mounts.contains(self.id.as_str()) {
                found.push((Pid::from_raw(pid), line));
            }
        }
        found
    }

    /// Nothing of the instance is left: no process, so no mount, which only its processes see; no loop device; no
    /// socket.
    pub fn assert_nothing_is_left(&self) {
        assert_eq!(self.processes(), [], "processes");
        let stage = Path::new("/run/strongroom").join(self.id.as_str());
        assert_eq!(attach::find_leftovers(&stage).unwrap(), Vec::<PathBuf>::new(), "loop devices");
        assert!(!fs::read_to_string("/proc/mounts").unwrap().contains(self.id.as_str()), "mounts");
        assert!(!self.home().join("instances").join(self.id.as_str()).exists(), "the instance's directory");
    }

    pub fn logs(&self) -> String {
        let instances = fs::read_dir(self.home().join("instances")).into_iter().flatten().flatten();
        instances
            .map(|entry| fs::read_to_string(entry.path().join("instance.log")).unwrap_or_default())
            .collect()
    }
}

fn settings(home: &Path, parameters: &[(&str, &str)]) -> Settings {
    let mut all = BTreeMap::from([("shared_buffers".to_owned(), "32MB".to_owned())]);
    all.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Settings {
        home: home.into(),
        program: std::env::current_exe().unwrap(),
        postgres_user: "postgres".into(),
        space: SpaceLimits { first: VOLUME_SIZE, ..SpaceLimits::default() },
        memory: Memory::default(),
        parameters: all,
    }
}

pub fn port(sighting: &Sighting) -> u16 {
    match sighting.address {
        Some(Address::Tcp(port)) => port,
        ref other => panic!("the database serves at {other:?}"),
    }
}

pub fn signal(process: Pid, signal: Signal) {
    kill(process, signal).unwrap();
}

/// Every file below a directory, with its content.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}
