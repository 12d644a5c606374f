//! Writes are answered when they are durable (decision 0216). So the kernel needs no FSYNC, which would be a second
//! trip through it for every commit of the database.
//!
//! Who brings a write makes it durable, with all that came before it, unless as many others are at that already as can
//! keep the disk busy: then one of those answers it, and its thread is free for the next request.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells the kernel how a write went.
pub(crate) type Answer = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Threads that wait for the disk at once: while one writes, the next one seals.
const MOST_LEADERS: usize = 2;

/// The writes of a device that wait to be durable.
#[derive(Clone, Default)]
pub(crate) struct Durable(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    answers: Vec<Answer>,
    leaders: usize,
}

impl Durable {
    /// Has `answer` called once a flush that began after this call has ended: by this thread or by another.
    pub fn answer(&self, answer: Answer, flush: impl Fn() -> io::Result<()>) {
        let mut waiting = self.lock();
        waiting.answers.push(answer);
        if waiting.leaders == MOST_LEADERS {
            return;
        }
        waiting.leaders += 1;
        drop(waiting);
        let _leader = Leader(self);
        while let Some(answers) = self.take() {
            let done = flush();
            for answer in answers {
                answer(copy(&done));
            }
        }
    }

    /// What waits now; `None` ends the lead, in the same moment, so that nobody is left behind.
    fn take(&self) -> Option<Vec<Answer>> {
        let mut waiting = self.lock();
        if waiting.answers.is_empty() {
            waiting.leaders -= 1;
            return None;
        }
        Some(std::mem::take(&mut waiting.answers))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the place of a leader up that panics; the kernel is told of a failure where answers are dropped.
struct Leader<'a>(&'a Durable);

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().leaders -= 1;
        }
    }
}

fn copy(done: &io::Result<()>) -> io::Result<()> {
    done.as_ref().copied().map_err(|error| match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn every_write_is_answered_by_a_flush_that_began_after_it() {
        let durable = Durable::default();
        let (begun, ended, answered) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let flush = || {
            let number = begun.fetch_add(1, SeqCst) + 1;
            thread::yield_now();
            ended.fetch_max(number, SeqCst);
            Ok(())
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let (before, ended, answered) = (begun.load(SeqCst), ended.clone(), answered.clone());
                        let answer = move |done: io::Result<()>| {
                            done.unwrap();
                            assert!(ended.load(SeqCst) > before, "no flush since then has ended");
                            answered.fetch_add(1, SeqCst);
                        };
                        durable.answer(Box::new(answer), flush);
                    }
                });
            }
        });
        assert_eq!(answered.load(SeqCst), 800);
        assert_eq!(durable.lock().leaders, 0);
    }

    #[test]
    fn who_meets_busy_leaders_goes_on_and_is_answered_all_the_same() {
        let durable = Durable::default();
        let (told, heard) = channel();
        let (release, released) = channel::<()>();
        let released = Mutex::new(released);
        thread::scope(|scope| {
            for _ in 0..MOST_LEADERS {
                scope.spawn(|| {
                    durable.answer(Box::new(|_| ()), || {
                        let _ = released.lock().unwrap().recv();
                        Err(io::ErrorKind::StorageFull.into())
                    });
                });
            }
            while durable.lock().leaders < MOST_LEADERS || !durable.lock().answers.is_empty() {
                thread::yield_now();
            }
            let told = told.clone();
            durable.answer(
                Box::new(move |done| told.send(done.unwrap_err().kind()).unwrap()),
                || unreachable!(),
            );
            assert!(heard.try_recv().is_err(), "nobody has flushed");
            drop(release);
        });
        assert_eq!(heard.recv().unwrap(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_leader_that_panics_leaves_its_place_to_others() {
        let durable = Durable::default();
        for _ in 0..MOST_LEADERS {
            let fell = thread::scope(|scope| {
                scope.spawn(|| durable.answer(Box::new(|_| ()), || panic!("on purpose"))).join().is_err()
            });
            assert!(fell);
        }
        assert_eq!(durable.lock().leaders, 0);
    }
}
