//! A word that many connections wait for, which costs a connection nothing until it falls.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Says to all who wait that something ends. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    ended: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Ending {
    /// It ends now, for ever.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Whether it has ended.
    pub(crate) fn has_come(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// A place to wait for the end.
    pub(crate) fn wait(&self) -> Wait {
        Wait { ended: Arc::clone(&self.ended), token: Box::pin(self.token.clone().cancelled_owned()), waker: None }
    }
}

/// Waits for the end. A connection polls this at each of its requests, so it looks at the token, whose lock all
/// connections share, only once a task.
#[derive(Debug)]
pub(crate) struct Wait {
    ended: Arc<AtomicBool>,
    token: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Who is woken at the end.
    waker: Option<Waker>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if self.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        // The flag is set before the token is cancelled, so no end between the two is missed.
        let result = self.token.as_mut().poll(cx);
        self.waker = Some(cx.waker().clone());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_woken_whenever_it_ends() {
        let ending = Ending::default();
        assert!(!ending.has_come());
        let waits: Vec<_> = (0..3).map(|_| tokio::spawn(ending.wait())).collect();
        tokio::task::yield_now().await;
        ending.end();
        for wait in waits {
            assert!(wait.await.is_ok());
        }
        ending.wait().await;
        assert!(ending.has_come());
    }
}
