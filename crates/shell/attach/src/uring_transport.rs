//! The transport over io_uring (Linux 6.14, where the FUSE module's `enable_uring` is set), beside `/dev/fuse`.
//!
//! The kernel has a queue a processor, and puts a request into the queue of the processor that it arose on. Each of
//! our threads offers one buffer to one queue, so a request never waits behind another that waits for the disk. The
//! kernel says in INIT whether it can; where it cannot, or where a ring cannot be made, or a buffer is refused,
//! `/dev/fuse` carries everything.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use crate::apart;
use crate::fuse::{Carrier, DeviceFile, Serving, Transport};
use crate::fuser_transport::{FuserTransport, open_session};
use crate::locked::Aborter;
use crate::memory::mark_io_thread;
use crate::uring_worker::{Queue, Worker};

/// Buffers of all queues together, as long as each queue has one: each is 1 MiB of locked memory.
const MOST_BUFFERS: usize = 32;

pub(crate) struct UringTransport;

impl Transport for UringTransport {
    fn serve(
        &self,
        connection: OwnedFd,
        file: DeviceFile,
        workers: usize,
        aborter: &Aborter,
    ) -> io::Result<Serving> {
        // All that can fail is done before INIT, after which the kernel waits for buffers.
        let crew = Crew {
            connection: Arc::new(connection.try_clone()?),
            file: file.clone(),
            aborter: aborter.clone(),
        };
        let pool = match Pool::start(&crew, workers) {
            Ok(pool) => pool,
            Err(error) => {
                tracing::info!(%error, "no io_uring for the device; /dev/fuse it is");
                return FuserTransport.serve(connection, file, workers, aborter);
            }
        };
        drop(crew);
        let (session, over_uring) = open_session(connection, file, workers, true)?;
        let carrier = if over_uring { Carrier::Uring } else { Carrier::Device };
        let notifier = session.notifier();
        let run = move || {
            if !mark_io_thread() {
                tracing::warn!("without CAP_SYS_RESOURCE, serving can hang in a memory cgroup that is full");
            }
            // Otherwise they end, and their buffers go.
            let threads = if over_uring { pool.serve() } else { Vec::new() };
            let served = session.run();
            for thread in threads {
                let _ = thread.join(); // what it met, it has told and acted on
            }
            served
        };
        let thread = thread::Builder::new().name("device".into()).spawn(run)?;
        Ok(Serving { thread, carrier, notifier })
    }
}

/// Threads that have made their rings and buffers, and wait for the word to offer them.
struct Pool(Vec<(SyncSender<()>, JoinHandle<()>)>);

impl Pool {
    fn start(crew: &Crew, workers: usize) -> io::Result<Self> {
        let processors = possible_processors()?;
        let each = workers.min(MOST_BUFFERS / processors.max(1)).max(1);
        let (report, ready) = sync_channel(processors * each);
        let mut threads = Vec::with_capacity(processors * each);
        for number in 0..processors * each {
            let queue = Queue(u16::try_from(number % processors).map_err(io::Error::other)?);
            let (word, heard) = sync_channel(1);
            let report = report.clone();
            let until_told = move |made: io::Result<()>| report.send(made).is_ok() && heard.recv().is_ok();
            threads.push((word, crew.spawn(queue, until_told, Box::new(|| ()))?));
        }
        drop(report);
        for _ in &threads {
            ready.recv().map_err(io::Error::other)??;
        }
        Ok(Self(threads))
    }

    /// Gives the word.
    fn serve(self) -> Vec<JoinHandle<()>> {
        let give = |(word, thread): (SyncSender<()>, _)| {
            let _ = word.send(()); // a thread that does not listen has aborted
            thread
        };
        self.0.into_iter().map(give).collect()
    }
}

/// What is done once the kernel knows of a thread's buffer.
type Offered = Box<dyn FnOnce() + Send>;

/// What each thread works on.
#[derive(Clone)]
struct Crew {
    connection: Arc<OwnedFd>,
    file: DeviceFile,
    aborter: Aborter,
}

impl Crew {
    /// Starts a thread that makes a worker, says whether it could, and serves if the answer is yes.
    fn spawn(
        &self,
        queue: Queue,
        may_serve: impl FnOnce(io::Result<()>) -> bool + Send + 'static,
        offered: Offered,
    ) -> io::Result<JoinHandle<()>> {
        let crew = self.clone();
        thread::Builder::new().name(format!("uring-{}", queue.0)).spawn(move || {
            let _ = mark_io_thread(); // the thread of the session warns
            stay_on(queue);
            match Worker::new(Arc::clone(&crew.connection), queue) {
                Err(error) => drop(may_serve(Err(error))),
                Ok(worker) if may_serve(Ok(())) => crew.serve(worker, queue, offered),
                Ok(_) => {}
            }
        })
    }

    fn serve(&self, worker: Worker, queue: Queue, offered: Offered) {
        let mut last_line = AbortUnlessDone { aborter: &self.aborter, done: false };
        // Nobody waits for those who stand in; they end with the connection.
        let stand_in = || {
            let device = self.aborter.device();
            let offered = Box::new(move || pull(device));
            if let Err(error) = self.spawn(queue, |made| made.is_ok(), offered) {
                tracing::warn!(%error, "nobody stands in for a thread that waits for space");
            }
        };
        match worker.serve(&self.file, offered, stand_in) {
            Ok(()) => last_line.done = true,
            Err(error) => tracing::error!(%error, "a thread that serves the device cannot go on"),
        }
    }
}

/// Makes the kernel hand out what waits in the queue of this processor. A buffer that is offered anew only gets what comes
/// after it, but one that answers something gets what has waited longest: so something is asked.
fn pull(device: PathBuf) {
    let asked = apart::spawn("pull", move |parted| {
        if parted.is_ok() {
            let _ = statvfs(&device);
        }
    });
    if let Err(error) = asked {
        tracing::warn!(%error, "requests of the device may wait until others come");
    }
}

/// A queue that nobody serves would keep its requests for ever.
struct AbortUnlessDone<'a> {
    aborter: &'a Aborter,
    done: bool,
}

impl Drop for AbortUnlessDone<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.aborter.abort();
        }
    }
}

/// A request arises on this processor, and its data are in its caches. A processor that is not there yet, or that the
/// process may not use, is no reason to fail.
fn stay_on(queue: Queue) {
    let mut processors = CpuSet::new();
    if processors.set(queue.0.into()).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &processors);
    }
}

/// How many queues the kernel has: one for each processor that may ever be there.
fn possible_processors() -> io::Result<usize> {
    let list = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    count(list.trim()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, list))
}

/// Counts a list such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (last.parse::<usize>().ok()? + 1).checked_sub(first.parse().ok()?)
    };
    list.split(',').map(range).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_from_a_list_of_ranges() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-1"), Some(2));
        assert_eq!(count("0-3,8-11,15"), Some(9));
        assert_eq!(count(""), None);
        assert_eq!(count("3-1"), None);
    }
}
