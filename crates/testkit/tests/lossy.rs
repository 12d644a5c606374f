//! The lossy store as programs see it, through the kernel. Needs root; without it the test says so and is skipped, unless
//! `STRONGROOM_REQUIRE_ROOT_TESTS=1`.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

struct Store {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    dir: TempDir,
}

impl Store {
    /// Nothing where it cannot be mounted.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["backing", "store"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_lossy-store"))
            .args([dir.path().join("backing"), dir.path().join("store")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut store = Self { child, orders, answers, dir };
        let first = store.answer();
        if first == "ready" {
            return Some(store);
        }
        let required = std::env::var("STRONGROOM_REQUIRE_ROOT_TESTS").is_ok_and(|value| value == "1");
        assert!(!required, "{first}");
        eprintln!("skipped: {first}");
        None
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    fn order(&mut self, line: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{line}").unwrap();
        let answer = self.answer();
        answer.strip_prefix("ok ").or((answer == "ok").then_some("")).expect(&answer).into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("store").join(name)
    }

    fn sync_root(&self) {
        File::open(self.path("")).unwrap().sync_all().unwrap();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.orders.take();
        self.child.wait().unwrap();
    }
}

fn direct() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_DIRECT | libc::O_DSYNC);
    options
}

/// A buffer fit for direct I/O lies in here.
#[repr(align(4096))]
struct Page([u8; 4096]);

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    let Some(mut store) = Store::mount() else { return };
    let mut lost = [0, 0, 0];
    for seed in 0..40_u64 {
        let name = |what: &str| store.path(&format!("{what}-{seed}"));
        let (kept, direct_file, unsynced, unnamed, old) =
            (name("kept"), name("direct"), name("unsynced"), name("unnamed"), name("old"));
        for path in [&kept, &unsynced, &old] {
            fs::write(path, [1; 9000]).unwrap();
            File::open(path).unwrap().sync_all().unwrap();
        }
        let file = direct().open(&direct_file).unwrap();
        file.write_all_at(&Page([2; 4096]).0, 4096).unwrap();
        store.sync_root();
        File::options().write(true).open(&unsynced).unwrap().write_all_at(&[3; 9000], 0).unwrap();
        fs::write(&unnamed, [4; 100]).unwrap();
        File::open(&unnamed).unwrap().sync_all().unwrap();
        fs::hard_link(&kept, name("link")).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().nlink(), 2);
        fs::remove_file(&old).unwrap();
        assert!(fs::read(&unsynced).unwrap() == [3; 9000]);
        drop(file);
        let link = name("link");
        store.order("cut");
        assert_eq!(store.order("power"), "off");
        assert_eq!(fs::read(&kept).unwrap_err().raw_os_error(), Some(libc::EIO));
        store.order(&format!("restart {seed}"));
        assert!(fs::read(&kept).unwrap() == [1; 9000]);
        assert!(fs::read(&direct_file).unwrap() == [[0; 4096], [2; 4096]].concat());
        assert_eq!(fs::metadata(&kept).unwrap().nlink(), 1 + u64::from(link.exists()));
        let found = fs::read(&unsynced).unwrap();
        assert!(
            found.len() == 9000 && found.chunks(512).all(|sector| sector.iter().all(|b| *b == sector[0]))
        );
        if unnamed.exists() {
            assert!(fs::read(&unnamed).unwrap() == [4; 100]);
        }
        if old.exists() {
            assert!(fs::read(&old).unwrap() == [1; 9000]);
        }
        lost[0] += usize::from(!unnamed.exists());
        lost[1] += usize::from(old.exists());
        lost[2] += usize::from(found != [3; 9000]);
    }
    assert!(lost.iter().all(|times| *times > 5 && *times < 40), "{lost:?}");
}

#[test]
fn chosen_operations_fail_and_space_can_run_out() {
    let Some(mut store) = Store::mount() else { return };
    let path = store.path("file");
    let file = direct().open(&path).unwrap();
    store.sync_root();
    store.order(&format!("fail write 1 2 {}", libc::EIO));
    let write = || file.write_all_at(&Page([1; 4096]).0, 0).map_err(|error| error.raw_os_error());
    assert_eq!([write(), write(), write(), write()], [Ok(()), Err(Some(5)), Err(Some(5)), Ok(())]);
    store.order(&format!("fail sync 0 1 {}", libc::EIO));
    assert!(file.sync_all().is_err());
    file.sync_all().unwrap();
    store.order("capacity 8192");
    let full = file.write_all_at(&vec![1; 16384], 4096).map_err(|error| error.raw_os_error());
    assert!(matches!(full, Err(Some(libc::ENOSPC | libc::EINVAL))), "{full:?}");
    store.order("capacity 0");
    store.order("cut-in 1 change");
    assert!(write().is_ok() && write().is_err() && write().is_err());
    drop(file);
    store.order("restart 1");
    assert_eq!(fs::read(&path).unwrap().len() % 512, 0);
    fs::create_dir_all(store.path("a/b")).unwrap();
    fs::write(store.path("a/b/c"), "text").unwrap();
    fs::rename(store.path("a"), store.path("z")).unwrap();
    assert_eq!(fs::read_to_string(store.path("z/b/c")).unwrap(), "text");
    fs::remove_dir_all(store.path("z")).unwrap();
    fs::remove_file(&path).unwrap();
    store.sync_root();
    // The kernel tells of a closed file a little later.
    let backing = store.dir.path().join("backing");
    let left = || fs::read_dir(&backing).unwrap().count();
    for _ in 0..1000 {
        if left() == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} files are kept of what is gone for good", left());
}
