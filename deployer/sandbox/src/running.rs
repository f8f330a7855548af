//! The handle on a running command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::{Notify, watch};

use crate::Exit;

/// A command in its sandbox. Dropping this kills every process of it.
#[derive(Debug)]
pub struct Running {
    /// The command's stdout; take it to read it. What is not read blocks the command once the pipe is full.
    pub stdout: Option<ChildStdout>,
    /// The command's stderr; likewise.
    pub stderr: Option<ChildStderr>,
    pub(crate) pid: u32,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    pub(crate) killer: Killer,
}

impl Running {
    /// Waits until every process of the sandbox is gone, and tells how the command ended. Cancel-safe; may be called
    /// again, with the same answer. A process that the command left in the background is killed when it ends.
    ///
    /// What was written to stdout and stderr stays readable to the last byte.
    pub async fn wait(&mut self) -> Exit {
        match self.exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(Exit::Killed),
            // The runtime is shutting down; what watched the sandbox has killed it in going.
            Err(_) => Exit::Killed,
        }
    }

    /// Asks the command to end: SIGTERM to the process group that it was started as, not to the sandbox around it.
    pub fn terminate(&self) {
        self.killer.terminate();
    }

    /// Kills every process of the sandbox. [`wait`](Self::wait) tells when they are gone.
    pub fn kill(&self) {
        self.killer.kill();
    }

    /// A handle to end the command with while [`wait`](Self::wait) is pending elsewhere.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// The outermost process of the sandbox, by its number on the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.killer.kill();
    }
}

/// Ends a command from elsewhere. Does nothing once the command has ended.
#[derive(Clone, Debug, Default)]
pub struct Killer {
    asked: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    kill: AtomicBool,
    terminate: AtomicBool,
    wake: Notify,
}

impl Killer {
    /// See [`Running::kill`].
    pub fn kill(&self) {
        self.asked.kill.store(true, Ordering::Release);
        self.asked.wake.notify_one();
    }

    /// See [`Running::terminate`].
    pub fn terminate(&self) {
        self.asked.terminate.store(true, Ordering::Release);
        self.asked.wake.notify_one();
    }

    /// Waits for something to be asked. For the one supervisor.
    pub(crate) async fn asked(&self) -> Request {
        loop {
            if self.asked.kill.load(Ordering::Acquire) {
                return Request::Kill;
            }
            if self.asked.terminate.swap(false, Ordering::AcqRel) {
                return Request::Terminate;
            }
            self.asked.wake.notified().await;
        }
    }
}

/// What a supervisor is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Kill,
    Terminate,
}
