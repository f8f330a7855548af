//! The helper: the stages between the platform and the untrusted command. See the crate's documentation.

mod bubblewrap;
mod command;
mod connect;
mod filter;
mod init;
mod namespaces;
pub(crate) mod outer;
mod restrict;

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;

use crate::wire::Report;

/// The exit code when the sandbox itself could not be set up. The reason is on stderr.
pub const SET_UP_FAILED: i32 = 125;

/// The exit code when the command was found but could not be run.
pub const NOT_RUNNABLE: i32 = 126;

/// The exit code when there is no such command.
pub const NOT_FOUND: i32 = 127;

/// The word that the platform's executable is called with to become the helper.
pub(crate) const VERB: &str = "sandbox-exec";

/// The argument that tells `init` that mounts were placed in the staging folder.
const STAGED: &str = "staged";

/// The program that runs this very process: where the next stage comes from, also where the file system around us has
/// changed.
const SELF: &str = "/proc/self/exe";

/// Runs one stage of the helper. Call this first thing in `main`, before any thread is started, when the first
/// argument is `sandbox-exec`; `args` are the arguments from there on (with or without that word).
///
/// Prints the reason on stderr and returns [`SET_UP_FAILED`] when the sandbox cannot be set up.
pub fn helper_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.map(|arg| arg.to_string_lossy().into_owned()).skip_while(|arg| arg == VERB).collect();
    let mut args = args.iter().map(String::as_str);
    let (stage, argument) = (args.next(), args.next());
    close_inherited();
    let result = match (stage, argument) {
        (Some("outer"), None) => outer::run(),
        (Some("init"), staged) => init::run_second(staged == Some(STAGED)),
        (Some("command"), None) => command::run(),
        (Some("connect"), Some(plan)) => connect::run(plan),
        _ => Err(Problem("this command is for the platform's own use".into())),
    };
    result.unwrap_or_else(|Problem(text)| {
        eprintln!("sandbox: {text}");
        ExitCode::from(u8::try_from(SET_UP_FAILED).unwrap_or(1))
    })
}

/// Why a stage cannot go on, as a sentence for the build log.
pub(crate) struct Problem(String);

/// Says what was being done when an error occurred.
pub(crate) trait Doing<T> {
    /// Turns the error into "cannot {what}: {error}".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Problem>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Problem> {
        self.map_err(|error| Problem(format!("cannot {}: {error}", what())))
    }
}

/// Closes whatever was handed down to this process besides its stdin, stdout and stderr: files that the platform left
/// open, and what bubblewrap was given. The command must find none of them.
fn close_inherited() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    // Collected first: the folder itself is open while it is read.
    let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}

/// The control socket, which is stdin. Not `std::io::stdin`: that reads ahead, and the next stage reads on.
fn control() -> Result<File, Problem> {
    let control = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).doing(|| "use the control socket".into())?;
    Ok(File::from(control))
}

/// Tells the platform. If it is gone, there is nobody to tell.
fn report(report: Report) {
    let line = report.line();
    let _ = rustix::io::write(std::io::stdin(), line.as_bytes());
}
