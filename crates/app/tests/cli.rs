//! The command line as its user meets it: help and exports are golden files (rewritten with `UPDATE_GOLDEN=1`), and
//! every mistake ends with its reason and exit status, with nothing changed.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

const SECRET: &str = "cliTestSecret/cliTestSecret/cliTestSec01";

struct Workplace {
    dir: TempDir,
}

impl Workplace {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(arguments).env_clear().env("STRONGROOM_HOME", self.home()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn init(&self, more: &[&str]) -> Output {
        let secret = self.dir.path().join("secret");
        fs::write(&secret, format!("{SECRET}\n")).unwrap();
        let fixed = ["init", "--account-id", "111122223333", "--access-key-id", "AKIACLITESTCLITEST00"];
        let file = ["--secret-access-key-file", secret.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        self.run(&[&fixed[..], &file[..], more].concat())
    }

    fn serve(&self) -> Serving {
        let mut child =
            self.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = child.stderr.take().unwrap();
        // Read to the end, so that the server never waits for a full pipe.
        let log =
            thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>());
        let begun = Instant::now();
        while !self.home().join("run/endpoint").exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not start");
            assert!(child.try_wait().unwrap().is_none(), "the server ended: {:?}", log.join());
            thread::sleep(Duration::from_millis(20));
        }
        Serving { child, log: Some(log) }
    }

    /// Every file of the home with its content.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn collect(dir: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, into);
                } else {
                    into.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        let mut all = BTreeMap::new();
        collect(&self.home(), &mut all);
        all
    }
}

struct Serving {
    child: Child,
    log: Option<thread::JoinHandle<Vec<String>>>,
}

impl Serving {
    fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let status = self.child.wait().unwrap();
        (status.code(), self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn assert_fails(output: &Output, status: i32, reason: &str) {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{told}");
    assert!(told.contains(reason), "{reason:?} is not in {told:?}");
}

fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, golden, "{name} differs: look at it, then rewrite it with UPDATE_GOLDEN=1");
}

#[test]
fn help_is_as_in_the_golden_files() {
    let place = Workplace::new();
    for subcommand in ["", "init", "serve", "env", "stop", "why", "explain", "account", "volume"] {
        let arguments: Vec<_> = [subcommand, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let mut command = place.command(&arguments);
        // What the environment sets is shown as well.
        let output = command.env_remove("STRONGROOM_HOME").output().unwrap();
        assert!(output.status.success());
        let name = if subcommand.is_empty() { "help.txt".into() } else { format!("help-{subcommand}.txt") };
        assert_golden(&name, &text(&output.stdout));
    }
}

#[test]
fn a_new_home_is_told_and_its_exports_are_as_in_the_golden_files() {
    let place = Workplace::new();
    let made = place.init(&[]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let plain = |bytes: &[u8]| text(bytes).replace(place.home().to_str().unwrap(), "HOME");
    assert_golden("init.txt", &plain(&made.stdout));
    assert_golden("env.txt", &plain(&place.run(&["env"]).stdout));
    assert_golden("config.toml", &plain(&fs::read(place.home().join("config.toml")).unwrap()));
}

#[test]
fn secrets_are_in_private_files_and_never_printed() {
    let place = Workplace::new();
    let made = place.init(&[]);
    for output in [&made, &place.run(&["env"])] {
        assert!(!text(&output.stdout).contains(SECRET) && !text(&output.stderr).contains(SECRET));
    }
    for file in ["root.key", "credentials", "config.toml"] {
        let mode = fs::metadata(place.home().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(fs::read_to_string(place.home().join("credentials")).unwrap().contains(SECRET));
    let state = place.content().remove(&place.home().join("state.db")).unwrap();
    assert!(
        !state.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()),
        "it is sealed in the state"
    );
}

#[test]
fn without_arguments_everything_is_made_up_and_differs_from_home_to_home() {
    let made: Vec<_> = (0..2)
        .map(|_| {
            let place = Workplace::new();
            assert!(place.run(&["init"]).status.success());
            fs::read_to_string(place.home().join("credentials")).unwrap()
        })
        .collect();
    assert!(made[0].contains("aws_access_key_id = AKIA"));
    assert_ne!(made[0], made[1]);
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let place = Workplace::new();
    assert!(place.init(&[]).status.success());
    let before = place.content();
    assert_fails(&place.init(&[]), 64, "is a home already");
    assert_eq!(place.content(), before);
}

#[test]
fn half_a_credential_is_refused_and_nothing_is_made() {
    let place = Workplace::new();
    assert_fails(&place.run(&["init", "--access-key-id", "AKIACLITESTCLITEST00"]), 64, "give both");
    let mut command = place.command(&["init"]);
    assert_fails(&command.env("STRONGROOM_SECRET_ACCESS_KEY", SECRET).output().unwrap(), 64, "give both");
    assert_fails(&place.init(&["--passphrase-file", "/nonexistent"]), 64, "/nonexistent");
    assert!(!place.home().exists());
}

#[test]
fn what_a_crashed_init_left_does_not_stop_the_next_one() {
    let place = Workplace::new();
    fs::create_dir_all(place.dir.path().join(".home.init/trail")).unwrap();
    fs::write(place.dir.path().join(".home.init/root.key"), "half").unwrap();
    assert!(place.init(&[]).status.success());
    let entries = fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!entries.into_iter().any(|name| name == ".home.init"));
}

#[test]
fn a_directory_that_is_no_home_is_told() {
    let place = Workplace::new();
    for subcommand in ["serve", "env"] {
        assert_fails(&place.run(&[subcommand]), 64, "strongroom init");
    }
}

#[test]
fn a_bad_setting_names_its_key_before_any_port_opens() {
    let place = Workplace::new();
    assert!(place.init(&[]).status.success());
    let config = place.home().join("config.toml");
    let good = fs::read_to_string(&config).unwrap();
    for (change, key) in [
        (("127.0.0.1:0", "nowhere"), "listen"),
        (("key_check_seconds = 60", "key_check_seconds = 0"), "key_check_seconds"),
        (("127.0.0.1:0", "0.0.0.0:0"), "tls_certificate"),
        (("policy_bytes = 32768", "policy_bytes = 131073"), "quotas.policy_bytes"),
        (
            ("timeout_ms = 250", "authorities_file = \"none.pem\""),
            "external_key_stores.authorities_file: none.pem",
        ),
    ] {
        fs::write(&config, good.replacen(change.0, change.1, 1)).unwrap();
        assert_fails(&place.run(&["serve"]), 64, key);
    }
    assert!(!place.home().join("run/endpoint").exists());
}

#[test]
fn another_root_key_is_refused_and_nothing_is_written() {
    let place = Workplace::new();
    assert!(place.init(&[]).status.success());
    let other = Workplace::new();
    assert!(other.init(&[]).status.success());
    fs::copy(other.home().join("root.key"), place.home().join("root.key")).unwrap();
    let before = place.content();
    let refused = place.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("root key"), "{}", text(&refused.stderr));
    let after = place.content();
    let changed =
        |path: &&PathBuf| before.get(*path) != after.get(*path) && !path.ends_with("run/serve.lock");
    let changed: Vec<_> = before.keys().chain(after.keys()).filter(changed).collect();
    assert!(changed.is_empty(), "{changed:?}");
}

#[test]
fn a_wrong_passphrase_is_refused_and_the_right_one_serves() {
    let place = Workplace::new();
    let file = place.dir.path().join("passphrase");
    fs::write(&file, "correct horse\n").unwrap();
    assert!(place.init(&["--passphrase-file", file.to_str().unwrap()]).status.success());
    fs::write(&file, "wrong horse\n").unwrap();
    assert_fails(&place.run(&["serve"]), 64, "passphrase");
    fs::write(&file, "correct horse\n").unwrap();
    let serving = place.serve();
    assert!(place.run(&["stop"]).status.success());
    assert_eq!(serving.wait().0, Some(0));
}

#[test]
fn one_home_has_one_server_which_stops_in_order() {
    let place = Workplace::new();
    assert!(place.init(&[]).status.success());
    let serving = place.serve();
    assert_fails(&place.run(&["serve"]), 64, "already");
    let exports = text(&place.run(&["env"]).stdout);
    let url = fs::read_to_string(place.home().join("run/endpoint")).unwrap();
    assert!(exports.contains(&format!("AWS_ENDPOINT_URL='{}'", url.trim())), "{exports}");
    assert!(place.run(&["stop"]).status.success());
    let (status, log) = serving.wait();
    assert_eq!(status, Some(0), "{log:?}");
    assert!(!log.iter().any(|line| line.contains(SECRET)), "the log holds the secret");
    for file in ["endpoint", "serve.pid"] {
        assert!(!place.home().join("run").join(file).exists(), "{file}");
    }
    assert!(place.run(&["stop"]).status.success(), "stopping what does not run is no mistake");
}

#[test]
fn beyond_loopback_a_certificate_is_made_and_clients_are_told() {
    let place = Workplace::new();
    let made = place.run(&["init", "--listen", "0.0.0.0:0", "--host-name", "localhost"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let serving = place.serve();
    let exports = text(&place.run(&["env"]).stdout);
    assert!(exports.contains("AWS_ENDPOINT_URL='https://localhost:"), "{exports}");
    assert!(exports.contains("AWS_CA_BUNDLE="), "{exports}");
    assert!(place.run(&["stop"]).status.success());
    assert_eq!(serving.wait().0, Some(0));
}
