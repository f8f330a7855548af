//! Runs untrusted commands in the strongest sandbox this host offers, within limits.
//!
//! What comes in: a [`Spec`] (the command, its whole environment, what of the host it may see, its limits).
//! What goes out: a [`Running`] with the command's stdout and stderr, and in the end one [`Exit`], which names
//! the limit that ended the command, if one did.
//!
//! How it works: [`Sandbox::detect`] finds the strongest [`Level`] by running a canary in each. [`Sandbox::spawn`]
//! starts the *helper* (the platform's own executable, called as `helper sandbox-exec …`, see [`helper_main`]), which
//! goes through up to three stages, each a program start, because this crate has no unsafe code and so never forks:
//!
//! 1. `outer`, on the host: joins the cgroup, gives the writable mounts to the unprivileged user, becomes that user,
//!    and makes the namespaces, or becomes bubblewrap, which does;
//! 2. `init`, inside: process 1 of the sandbox, or its subreaper. Starts the command, reaps orphans, passes signals
//!    on, reports the end, and ends everything when the platform is gone;
//! 3. `command`: takes the limits, landlock and the system call filter upon itself and becomes the command.
//!
//! A program that connects a sandbox's network is started by the helper too, so that it does not run as root.
//!
//! The platform and the stages talk over one socket, the helper's stdin: the plan goes in, the report comes out, and
//! its end of file tells each side that the other has died.
//!
//! What it must never do: let anything of the platform's environment into a command, follow a link that a command
//! made, leave a process behind, or put a secret on a command line, where every user of the host can read it.

mod cgroup;
mod detect;
mod disk;
mod exit;
mod family;
mod helper;
mod level;
mod network;
mod procs;
mod running;
mod sample;
mod spawn;
mod spec;
mod supervise;
mod view;
mod walk;
mod wire;
mod work;

pub use detect::{Options, Sandbox};
pub use exit::{Exit, LimitHit};
pub use helper::{NOT_FOUND, NOT_RUNNABLE, SET_UP_FAILED, helper_main};
pub use level::Level;
pub use running::{Killer, Running};
pub use spawn::SpawnError;
pub use spec::{Limits, Mount, Network, Spec};
