//! Background tasks by name, at most one each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use archive::Progress;
use tokio::{sync::watch, task::JoinHandle};

use super::Headway;

/// Tells a job that it is to end.
pub type Cancelled = watch::Receiver<bool>;

/// What is under way. When this goes, so do its jobs.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<HashMap<String, Job>>);

#[derive(Debug)]
struct Job {
    progress: Arc<Progress>,
    cancel: watch::Sender<bool>,
    task: JoinHandle<Result<(), String>>,
}

impl Jobs {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a job unless it is under way. One that has ended tells how, once.
    ///
    /// # Errors
    /// What the job failed with.
    pub async fn drive<F: Future<Output = Result<(), String>> + Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(Arc<Progress>, Cancelled) -> F + Send,
    ) -> Result<Headway, String> {
        if let Some(headway) = self.look(name).await? {
            return Ok(headway);
        }
        self.map().entry(name.into()).or_insert_with(|| {
            let progress = Arc::new(Progress::default());
            let (cancel, cancelled) = watch::channel(false);
            let task = tokio::spawn(work(Arc::clone(&progress), cancelled));
            Job { progress, cancel, task }
        });
        Ok(Headway::Running { percent: 0 })
    }

    /// Looks at a job; `None` if it is not under way. One that has ended tells how, once.
    ///
    /// # Errors
    /// What the job failed with.
    pub async fn look(&self, name: &str) -> Result<Option<Headway>, String> {
        let ended = {
            let mut jobs = self.map();
            match jobs.get(name) {
                None => return Ok(None),
                Some(job) if !job.task.is_finished() => {
                    return Ok(Some(Headway::Running { percent: job.progress.percent() }));
                }
                Some(_) => jobs.remove(name),
            }
        };
        match ended {
            None => Ok(None),
            Some(job) => job.task.await.map_err(|error| error.to_string())?.map(|()| Some(Headway::Done)),
        }
    }

    /// Ends a job, if it is under way, and waits for its end.
    pub async fn cancel(&self, name: &str) {
        let job = self.map().remove(name);
        if let Some(job) = job {
            job.cancel.send_replace(true);
            // How it ended does not matter any more.
            let _ = job.task.await;
        }
    }

    /// How far a job is, while it is under way.
    pub fn percent(&self, name: &str) -> Option<u8> {
        self.map().get(name).filter(|job| !job.task.is_finished()).map(|job| job.progress.percent())
    }
}

/// `work`, unless it is cancelled before it ends.
///
/// # Errors
/// Of the work.
pub async fn unless<T>(
    mut cancelled: Cancelled,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let cancelled = async move {
        // An error means that whoever could cancel is gone.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    };
    tokio::select! {
        done = work => done,
        () = cancelled => Err("it was cancelled".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn outcome(jobs: &Jobs, result: Result<(), String>) -> Result<Headway, String> {
        loop {
            let result = result.clone();
            match jobs.drive("a", |_, _| async { result }).await {
                Ok(Headway::Running { .. }) => tokio::task::yield_now().await,
                ended => return ended,
            }
        }
    }

    #[tokio::test]
    async fn a_job_runs_once_and_tells_how_it_ended_once() {
        let jobs = Jobs::default();
        assert_eq!(outcome(&jobs, Ok(())).await, Ok(Headway::Done));
        assert_eq!(outcome(&jobs, Err("broken".into())).await, Err("broken".into()));
        assert_eq!(jobs.percent("a"), None);
    }

    #[tokio::test]
    async fn a_cancelled_job_has_ended_when_that_returns() {
        let jobs = Jobs::default();
        let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let work = |progress: Arc<Progress>, cancelled| async move {
            progress.expect(100);
            progress.add(40);
            let waited = unless(cancelled, async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(())
            });
            let waited = waited.await;
            told.send(waited.is_err()).unwrap();
            waited
        };
        assert_eq!(jobs.drive("a", work).await, Ok(Headway::Running { percent: 0 }));
        while jobs.percent("a") != Some(40) {
            tokio::task::yield_now().await;
        }
        jobs.cancel("a").await;
        assert_eq!(ended.try_recv(), Ok(true));
        jobs.cancel("a").await;
    }
}
