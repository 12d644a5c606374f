//! An instance process: attaches a plain file and obeys lines on its standard input, answering each with a line.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use attach::{AttachError, MountOptions, Mounted};
use nix::mount::{MsFlags, mount};

use crate::file_device::FileDevice;
use crate::forbidden;

pub fn run(arguments: &[String]) -> ExitCode {
    let [image, dir, flags @ ..] = arguments else { panic!("an image and a directory") };
    let device = Arc::new(FileDevice::open(Path::new(image)).expect("the image is there"));
    match start(&device, Path::new(dir), flags) {
        Err(error) => {
            println!("error {error}");
            ExitCode::FAILURE
        }
        Ok(mounted) => {
            println!("ready {} {:?} {}", mounted.block_size(), mounted.carrier(), mounted.path().display());
            obey(&device, mounted);
            ExitCode::SUCCESS
        }
    }
}

fn start(device: &Arc<FileDevice>, dir: &Path, flags: &[String]) -> Result<Mounted, AttachError> {
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    if has("threaded") {
        std::thread::spawn(std::thread::park);
    }
    if !has("shared-namespace") {
        attach::enter_private_namespace()?;
    }
    if has("no-fuse") {
        leave_only(&["loop-control", "null"], dir);
    }
    if has("no-loop") {
        leave_only(&["fuse", "null"], dir);
    }
    if has("no-loop-nodes") {
        leave_only(&["fuse", "loop-control", "null"], dir);
    }
    if has("no-mkfs") {
        mount_tmpfs(Path::new("/usr/sbin"));
        mount_tmpfs(Path::new("/sbin"));
    }
    let _ = attach::harden_io_process();
    if has("no-io-uring") {
        forbidden::io_uring();
    }
    if has("no-free-loop") {
        forbidden::free_loop_device();
    }
    if has("busy-loops") {
        forbidden::quiet_loop_devices();
    }
    if let Some(group) = flags.iter().find_map(|flag| flag.strip_prefix("cgroup=")) {
        std::fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string()).expect("moved");
    }
    let options = MountOptions {
        large_blocks: !has("small-blocks"),
        uring: !has("device-only"),
        ..MountOptions::default()
    };
    Mounted::mount(Arc::clone(device) as _, dir, &options)
}

/// A `/dev` with these nodes only.
fn leave_only(nodes: &[&str], dir: &Path) {
    let bare = dir.join("dev");
    std::fs::create_dir_all(&bare).expect("made");
    mount_tmpfs(&bare);
    for node in nodes {
        let inner = bare.join(node);
        File::create(&inner).expect("made");
        let outer = Path::new("/dev").join(node);
        mount(Some(&outer), &inner, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("root may bind");
    }
    mount(Some(&bare), "/dev", None::<&str>, MsFlags::MS_MOVE, None::<&str>).expect("root may move");
}

fn mount_tmpfs(target: &Path) {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("root may mount");
}

fn obey(device: &FileDevice, mounted: Mounted) {
    let root: PathBuf = mounted.path().into();
    let aborter = mounted.aborter();
    let mut mounted = Some(mounted);
    let mut background = Vec::new();
    while let Some(order) = next_order() {
        let words: Vec<&str> = order.split(' ').collect();
        let answer = match words.as_slice() {
            ["files", rest @ ..] => {
                let status = files(&root, rest, Stdio::null()).wait().expect("waited");
                if status.success() { "ok".into() } else { format!("error {status}") }
            }
            ["background", rest @ ..] => {
                let child = files(&root, rest, Stdio::piped());
                let id = child.id();
                background.push(child);
                id.to_string()
            }
            ["counters"] => {
                let counters = &device.counters;
                let values = [
                    &counters.reads,
                    &counters.writes,
                    &counters.flushes,
                    &counters.discarded,
                    &counters.torn,
                ];
                values.map(|value| value.load(Relaxed).to_string()).join(" ")
            }
            ["grow", mebibytes] => {
                device.grow(mebibytes.parse::<u64>().expect("a number") << 20);
                match mounted.as_ref().expect("mounted").grow() {
                    Ok(()) => "ok".into(),
                    Err(error) => format!("error {error}"),
                }
            }
            // As if the process had died in between.
            ["grow-device", mebibytes] => {
                device.grow(mebibytes.parse::<u64>().expect("a number") << 20);
                "ok".into()
            }
            ["hang"] => {
                device.hang();
                "ok".into()
            }
            ["full", full] => {
                device.full.store(full.parse().expect("true or false"), Relaxed);
                "ok".into()
            }
            ["waits-for-space"] => {
                mounted.as_ref().is_some_and(|mounted| mounted.waiting_for_space().is_some()).to_string()
            }
            ["fail"] => {
                device.failing.store(true, Relaxed);
                "ok".into()
            }
            ["abort"] => {
                mounted.as_ref().map_or_else(|| aborter.abort(), Mounted::abort);
                "ok".into()
            }
            ["abort-after", milliseconds] => {
                let aborter = aborter.clone();
                let delay = std::time::Duration::from_millis(milliseconds.parse().expect("a number"));
                std::thread::spawn(move || {
                    std::thread::sleep(delay);
                    aborter.abort();
                });
                "ok".into()
            }
            ["unmount"] => match mounted.take().expect("mounted").unmount() {
                Ok(()) => "ok".into(),
                Err(error) => format!("error {error}"),
            },
            ["unmount-later"] => {
                let mounted = mounted.take().expect("mounted");
                std::thread::spawn(|| mounted.unmount());
                "ok".into()
            }
            other => panic!("no such order: {other:?}"),
        };
        // Who gave the order may be gone.
        if writeln!(io::stdout(), "{answer}").is_err() {
            return;
        }
    }
}

/// The next line that is whole; `None` once whoever gives orders is gone, be it in the middle of one.
fn next_order() -> Option<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).expect("text");
    line.strip_suffix('\n').map(str::to_owned)
}

/// Starts a process on the mounted files; its first answer comes once it runs.
fn files(root: &Path, arguments: &[&str], output: Stdio) -> Child {
    Command::new("/proc/self/exe")
        .arg("files")
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(output)
        .spawn()
        .expect("started")
}
