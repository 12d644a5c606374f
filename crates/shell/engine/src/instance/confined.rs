//! A program that cannot outlive us, nor can anything that it starts.
//!
//! It is the first process of a PID namespace of its own: when that process dies, the kernel kills every other process
//! in the namespace, however deep and whatever it does. It dies with us by its parent-death signal, which the kernel
//! sends when the *thread* that started it ends; so each program has a keeper thread that starts it, waits for it, and
//! ends only after it. An IPC namespace of its own keeps its System V shared memory from staying behind, and a `/proc`
//! of its own shows it no other process: the databases of all instances run as one user, and must not find each other.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
        unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
    unistd::Pid,
};

use super::{account::Account, apart};
use crate::pidfd::PidFd;

/// A program that runs, or ran.
#[derive(Clone, Debug)]
pub struct Confined {
    process: Arc<PidFd>,
    end: Arc<End>,
}

#[derive(Debug, Default)]
struct End {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Confined {
    /// Starts a program as a user without rights. Its standard output and error go to the file `log`, which is made
    /// anew; it and all that it starts keep the instance's lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        mut command: Command,
        account: &Account,
        log: PathBuf,
        lock: BorrowedFd<'static>,
    ) -> io::Result<Self> {
        command.stdin(Stdio::null());
        let account = *account;
        let end = Arc::new(End::default());
        let keepers_end = Arc::clone(&end);
        let (started, when_started) = mpsc::sync_channel(1);
        let (known, when_known) = mpsc::sync_channel::<()>(1);
        thread::Builder::new().name("program".into()).spawn(move || {
            match spawn(&mut command, account, log, lock.as_raw_fd()) {
                Err(error) => drop(started.send(Err(error))),
                Ok(mut child) => {
                    drop(started.send(Ok(child.id())));
                    // Until it is waited for, its id is its own. The descriptor has to be made by the thread that asked
                    // for the program: this one's files are no one else's.
                    let _ = when_known.recv();
                    keepers_end.tell(child.wait().unwrap_or_default());
                }
            }
        })?;
        let pid = when_started.recv().map_err(|_| io::Error::other("the keeper of the program ended"))??;
        let pid = i32::try_from(pid).map_err(|_| io::Error::from(Errno::ESRCH))?;
        let process = PidFd::open(Pid::from_raw(pid))?;
        drop(known);
        Ok(Self { process: Arc::new(process), end })
    }

    /// Sends a signal to the program's first process.
    ///
    /// # Errors
    /// What the system says.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    /// Waits for the end of the program and of all that it started; `None`: not within `patience`.
    pub fn wait(&self, patience: Option<Duration>) -> Option<ExitStatus> {
        let begun = Instant::now();
        let mut status = self.end.status.lock().unwrap_or_else(PoisonError::into_inner);
        while status.is_none() {
            status = match patience.map(|patience| patience.checked_sub(begun.elapsed())) {
                None => self.end.changed.wait(status).unwrap_or_else(PoisonError::into_inner),
                Some(None) => return None,
                Some(Some(left)) => {
                    self.end.changed.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *status
    }
}

impl End {
    fn tell(&self, status: ExitStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        self.changed.notify_all();
    }
}

/// Starts the program from this thread.
fn spawn(command: &mut Command, account: Account, log: PathBuf, lock: RawFd) -> io::Result<Child> {
    apart::part_files(Some(lock))?;
    let log = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(log)?;
    command.stdout(log.try_clone()?).stderr(log);
    // Only this thread's children go there.
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC)?;
    let us = PidFd::open(Pid::this())?;
    let us_raw = us.as_fd().as_raw_fd();
    // SAFETY: `confine` may run between fork and exec, and the descriptors are open until `spawn` has returned.
    unsafe { command.pre_exec(move || confine(us_raw, lock, account)) };
    command.spawn()
}

/// What the first process of the namespace does before it becomes the program. `us`: the process that starts it.
///
/// INVARIANT: it is called between fork and exec in a copy of a process that has more threads: it makes system calls
/// only, allocates nothing and takes no lock.
fn confine(us: RawFd, lock: RawFd, account: Account) -> io::Result<()> {
    let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
    let proc = c"proc".as_ptr();
    let none = std::ptr::null();
    // SAFETY: strings end with 0, pointers are null where the call allows that, and buffers are as long as is said.
    unsafe {
        // Our own process serves the volume, and is killed last when memory runs out; this is no reason to spare others.
        let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if score >= 0 {
            libc::write(score, c"0".as_ptr().cast(), 1);
            libc::close(score);
        }
        Errno::result(libc::unshare(libc::CLONE_NEWNS))?;
        Errno::result(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE, none.cast()))?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        Errno::result(libc::mount(proc, c"/proc".as_ptr(), proc, flags, none.cast()))?;
        Errno::result(libc::setgroups(0, std::ptr::null()))?;
        Errno::result(libc::setresgid(gid, gid, gid))?;
        Errno::result(libc::setresuid(uid, uid, uid))?;
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        // After the change of user, which would clear it.
        Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        // Did we die before that?
        let mut us = libc::pollfd { fd: us, events: libc::POLLIN, revents: 0 };
        if Errno::result(libc::poll(&raw mut us, 1, 0))? > 0 {
            return Err(Errno::ESRCH.into());
        }
        Errno::result(libc::fcntl(lock, libc::F_SETFD, 0))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::fd::{FromRawFd as _, OwnedFd},
        path::Path,
    };

    use super::*;
    use crate::{instance_dir::InstanceDir, testing::needs_root};

    fn nobody() -> Account {
        Account::named("nobody").unwrap()
    }

    fn start(script: &str, dir: &Path) -> (Confined, BorrowedFd<'static>) {
        let lock = InstanceDir::at(dir).lock(Duration::ZERO).unwrap().keep();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        (Confined::start(command, &nobody(), dir.join("log"), lock).unwrap(), lock)
    }

    #[test]
    fn a_confined_program_has_no_rights_and_no_company() {
        if !needs_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (program, _lock) =
            start("echo $$ $(id -u) $(id -G) $(ls /proc/self/fd | wc -l); exit 3", dir.path());
        assert_eq!(program.wait(None).unwrap().code(), Some(3));
        let account = nobody();
        // Standard input, output, error, the lock, and the directory that `ls` reads.
        let expected = format!("1 {} {} 5\n", account.uid, account.gid);
        assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), expected);
    }

    #[test]
    fn killing_the_first_process_ends_all_that_it_started() {
        if !needs_root() {
            return;
        }
        let temporary = tempfile::tempdir().unwrap();
        let script = "setsid sh -c 'trap \"\" TERM INT HUP; echo up; sleep 600' & sleep 600";
        let (program, lock) = start(script, temporary.path());
        while fs::read_to_string(temporary.path().join("log")).unwrap().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: nobody uses our copy any more.
        drop(unsafe { OwnedFd::from_raw_fd(lock.as_raw_fd()) });
        let dir = InstanceDir::at(temporary.path());
        assert!(!dir.is_deserted().unwrap(), "the programs keep the lock");
        assert!(program.wait(Some(Duration::ZERO)).is_none());
        program.signal(Signal::SIGKILL).unwrap();
        // The kernel reports the first process only after all others.
        assert!(program.wait(None).is_some());
        assert!(dir.wait_until_deserted(Duration::from_secs(60)).unwrap());
    }
}
