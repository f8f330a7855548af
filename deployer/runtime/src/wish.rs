//! What is wanted of an app now.

use tokio::sync::watch;
use tokio::time::Instant;

/// What is wanted of an app. The newest wish counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Counts the wishes for this app, so that one can be answered and not an older one like it.
    pub(crate) number: u64,
    pub(crate) want: Want,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// It is to run.
    Run,
    /// It is to end in an orderly way.
    Stop,
    /// It is to end at once; what is left of it at this time is killed.
    End(Instant),
}

/// The side that wishes.
#[derive(Clone, Debug)]
pub(crate) struct Wisher(watch::Sender<Wish>);

/// The side of the app's life.
#[derive(Clone, Debug)]
pub(crate) struct Wishes(watch::Receiver<Wish>);

/// An app that is to run, from the start.
pub(crate) fn channel() -> (Wisher, Wishes) {
    let (wisher, wishes) = watch::channel(Wish { number: 0, want: Want::Run });
    (Wisher(wisher), Wishes(wishes))
}

impl Wisher {
    pub(crate) fn now(&self) -> Wish {
        *self.0.borrow()
    }

    /// Wishes for something new, if what is wanted now is `instead_of`.
    pub(crate) fn change(&self, instead_of: Want, want: Want) {
        self.0.send_if_modified(|wish| {
            let changes = wish.want == instead_of;
            if changes {
                *wish = Wish { number: wish.number + 1, want };
            }
            changes
        });
    }

    /// The last wish.
    pub(crate) fn end(&self, at: Instant) {
        self.0.send_modify(|wish| *wish = Wish { number: wish.number + 1, want: Want::End(at) });
    }
}

impl Wishes {
    pub(crate) fn now(&self) -> Wish {
        *self.0.borrow()
    }

    /// Returns once a wish holds for which `held` is true.
    pub(crate) async fn until(&self, held: impl Fn(Wish) -> bool) {
        let mut wishes = self.0.clone();
        if wishes.wait_for(|wish| held(*wish)).await.is_err() {
            // Nobody can wish anything any more.
            std::future::pending::<()>().await;
        }
    }

    /// Returns once everything is to end, with the time at which the rest is killed.
    pub(crate) async fn until_end(&self) -> Instant {
        loop {
            self.until(|wish| matches!(wish.want, Want::End(_))).await;
            if let Want::End(at) = self.now().want {
                return at;
            }
        }
    }

    /// Returns at `at`, or earlier when everything is to be gone earlier.
    pub(crate) async fn patience(&self, at: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(at) => {}
            () = async { tokio::time::sleep_until(self.until_end().await).await } => {}
        }
    }
}
