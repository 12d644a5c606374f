//! Work that ends, whatever becomes of whoever waits for it.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs where it is awaited. Dropped before its end, it goes on as a task of its own: a client that goes away must not
/// stop a call half way. Its panics are answers.
#[must_use = "nothing runs before it is awaited"]
pub(crate) struct Unbroken<T: Send + 'static>(Option<Work<T>>);

/// The work panicked.
#[derive(Debug)]
pub(crate) struct BrokeOff(Box<dyn Any + Send>);

impl fmt::Display for BrokeOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self
            .0
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| self.0.downcast_ref::<String>().map(String::as_str));
        write!(f, "panicked: {}", text.unwrap_or("no text"))
    }
}

impl<T: Send + 'static> Unbroken<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Unbroken<T> {
    type Output = Result<T, BrokeOff>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let work = self.0.as_mut().expect("no future is polled after its end");
        // What a panic leaves behind is not looked at again.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(BrokeOff(panic)),
        };
        self.0 = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for Unbroken<T> {
    fn drop(&mut self) {
        // Without a runtime everything ends.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_ends_though_nobody_waits_any_more() {
        let (go_on, told) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let work = Unbroken::new(async move {
            told.await.unwrap();
            done.send("done").unwrap();
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        go_on.send(()).unwrap();
        assert_eq!(ended.await, Ok("done"));
    }

    #[tokio::test]
    async fn what_was_never_awaited_runs_too() {
        let (done, ended) = oneshot::channel();
        drop(Unbroken::new(async move { done.send(1).unwrap() }));
        assert_eq!(ended.await, Ok(1));
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let told = Unbroken::new(async { panic!("on purpose") }).await;
        assert_eq!(told.map(|(): ()| ()).unwrap_err().to_string(), "panicked: on purpose");
        assert_eq!(Unbroken::new(async { 7 }).await.ok(), Some(7));
    }
}
