//! The tests' side of an instance process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What hangs for this long hangs for ever.
pub const FOREVER: Duration = Duration::from_secs(180);

/// Whether instances are to be carried over io_uring, or over `/dev/fuse`.
pub static OVER_URING: AtomicBool = AtomicBool::new(false);

/// A volume (a sparse plain file) and the directory of its instance.
pub struct Volume {
    scratch: TempDir,
}

impl Volume {
    pub fn new() -> Self {
        let scratch = TempDir::new().expect("a scratch directory");
        let volume = Self { scratch };
        fs::create_dir(volume.dir()).expect("made");
        fs::File::create(volume.image()).and_then(|file| file.set_len(512 << 20)).expect("made");
        volume
    }

    pub fn image(&self) -> PathBuf {
        self.scratch.path().join("image")
    }

    pub fn dir(&self) -> PathBuf {
        self.scratch.path().join("instance")
    }

    /// A path outside the volume.
    pub fn outside(&self, name: &str) -> String {
        self.scratch.path().join(name).to_str().expect("text").into()
    }

    pub fn start(&self, flags: &[&str]) -> Result<Instance, String> {
        Instance::start(&self.image(), &self.dir(), flags)
    }

    pub fn attach(&self) -> Instance {
        self.start(&[]).expect("attached")
    }

    /// Starts an instance and kills it, wherever it has got to.
    pub fn start_and_kill_after(&self, delay: Duration) {
        self.run_and_kill_after(&[], delay);
    }

    /// Starts an instance with orders, and kills it wherever it has got to.
    pub fn run_and_kill_after(&self, orders: &[String], delay: Duration) {
        let mut child = spawn(&self.image(), &self.dir(), &[]);
        let mut input = child.stdin.take().expect("piped");
        let lines: String = orders.iter().map(|order| format!("{order}\n")).collect();
        input.write_all(lines.as_bytes()).expect("a pipe holds them");
        thread::sleep(delay);
        child.kill().expect("killed");
        wait(&mut child);
        assert_no_device_left(&self.dir());
    }
}

pub struct Instance {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    pub block_size: u32,
    /// Number of the FUSE connection.
    connection: String,
    dir: PathBuf,
}

impl Instance {
    fn start(image: &Path, dir: &Path, flags: &[&str]) -> Result<Self, String> {
        let mut child = spawn(image, dir, flags);
        let orders = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        let first = answers.recv_timeout(FOREVER).expect("the process answers");
        let words: Vec<&str> = first.split(' ').collect();
        match words.as_slice() {
            ["ready", block_size, carrier, _] => {
                let fallback = flags.contains(&"no-io-uring");
                let expected = OVER_URING.load(Relaxed) && !fallback;
                assert_eq!(*carrier, if expected { "Uring" } else { "Device" });
                let block_size = block_size.parse().expect("a number");
                let connection = connection_of(child.id(), &dir.join("device"));
                Ok(Self { child, orders, answers, block_size, connection, dir: dir.into() })
            }
            _ => {
                child.wait().expect("waited");
                Err(first)
            }
        }
    }

    pub fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").expect("the process listens");
    }

    pub fn answer(&self) -> String {
        self.answers.recv_timeout(FOREVER).expect("the process answers")
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.order(line);
        self.answer()
    }

    /// Orders, and expects success.
    pub fn must(&mut self, line: &str) {
        assert_eq!(self.ask(line), "ok", "{line}");
    }

    pub fn counters(&mut self) -> Counters {
        let line = self.ask("counters");
        let values: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
        let [reads, writes, flushes, discarded, torn] = values.try_into().expect("five counters");
        Counters { reads, writes, flushes, discarded, torn }
    }

    /// Mounts of the instance that lie under its directory.
    pub fn mounts(&self) -> usize {
        mounts_under(&self.child.id().to_string(), &self.dir)
    }

    pub fn unmount(mut self) {
        self.must("unmount");
        assert_eq!(self.mounts(), 0, "nothing stays mounted");
        assert_nothing_left(&self.dir, &self.connection);
        self.end();
    }

    /// Ends the process in order; it has nothing attached any more.
    pub fn end(mut self) {
        drop(self.orders);
        assert!(wait(&mut self.child).success());
        assert_nothing_left(&self.dir, &self.connection);
    }

    /// SIGKILL; returns when the kernel has taken the whole process down.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        wait(&mut self.child);
        assert_nothing_left(&self.dir, &self.connection);
    }

    /// SIGKILL, while another process still uses the volume.
    pub fn kill_in_use(mut self) {
        self.child.kill().expect("killed");
        wait(&mut self.child);
    }

    pub fn assert_nothing_left(&self) {
        assert_nothing_left(&self.dir, &self.connection);
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Counters {
    pub reads: u64,
    pub writes: u64,
    pub flushes: u64,
    pub discarded: u64,
    pub torn: u64,
}

/// Whether a process has a file of this name open.
pub fn is_open(process: i32, name: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|path| path.ends_with(name)))
}

/// Whether a process is in this state (`proc(5)`): `D`, it waits for I/O; `Z`, it has ended.
pub fn is_in_state(process: i32, state: char) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.contains(&format!(") {state} ")))
}

pub fn kill_process(process: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), nix::sys::signal::Signal::SIGKILL)
        .expect("killed");
}

fn spawn(image: &Path, dir: &Path, flags: &[&str]) -> Child {
    Command::new("/proc/self/exe")
        .arg("instance")
        .args([image, dir])
        .args(flags)
        .args((!OVER_URING.load(Relaxed)).then_some("device-only"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started")
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + FOREVER;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let mut status = None;
    eventually("the process ends", || {
        status = child.try_wait().expect("waited");
        status.is_some()
    });
    status.expect("ended")
}

/// No mount, no loop device and no FUSE connection of an instance.
fn assert_nothing_left(dir: &Path, connection: &str) {
    assert_no_device_left(dir);
    eventually("the connection is gone", || !connections().contains(&connection.to_owned()));
}

pub fn assert_no_device_left(dir: &Path) {
    assert_eq!(mounts_under("self", dir), 0, "nobody else sees the mounts");
    eventually("the loop device is free", || attach::find_leftovers(dir).expect("listed").is_empty());
}

fn mounts_under(process: &str, dir: &Path) -> usize {
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    let mount_point = |line: &str| line.split(' ').nth(4).map(PathBuf::from);
    table.lines().filter_map(mount_point).filter(|path| path.starts_with(dir)).count()
}

/// The connection's number is the minor number of the mount's device.
fn connection_of(process: u32, device: &Path) -> String {
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).expect("the process runs");
    let line = table
        .lines()
        .find(|line| line.split(' ').nth(4).map(Path::new) == Some(device))
        .expect("the device file is mounted");
    let number = line.split(' ').nth(2).and_then(|device| device.strip_prefix("0:")).expect("a number");
    number.into()
}

/// Numbers of all FUSE connections, from a fusectl file system that only the asking shell sees.
fn connections() -> Vec<String> {
    let script = "mount -t fusectl fusectl /sys/fs/fuse/connections && ls /sys/fs/fuse/connections";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .output()
        .expect("unshare is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}
