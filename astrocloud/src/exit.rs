//! Exit codes, which scripts rely on, and the errors that they come from.

use std::process::ExitCode;

/// It worked; for `deploy`, the deployment is live.
pub const DONE: u8 = 0;
/// It did not work: a build or start failed, or the platform refused or can't be reached.
pub const FAILED: u8 = 1;
/// The arguments are wrong; nothing was done. The same code that the argument parser uses.
pub const USAGE: u8 = 2;
/// Interrupted with Ctrl-C, as shells count it: 128 and SIGINT.
pub const INTERRUPTED: u8 = 130;

/// The codes, for `--help`.
pub const HELP: &str = "\
Exit codes:
  0    done; for `deploy` and `redeploy`: the deployment is live, or ready while a newer one is live
  1    failed: a build or start failed, or the platform refused or can't be reached
  2    wrong arguments; nothing was done
  130  interrupted with Ctrl-C; a deployment that was being followed goes on";

/// A mistake in the arguments that their grammar does not show.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

impl Usage {
    /// The mistake, and what to do, in a sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Tells the error on stderr and gives its code. A reader of our output that went away is no error.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let gone = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    if gone.into_iter().any(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::from(DONE);
    }
    crate::output::error(&sentence(error));
    ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
}

/// The error with its causes, except those that it tells itself.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("disk full").context("can't write x: disk full").context("no login");
        assert_eq!(sentence(&error), "no login: can't write x: disk full");
    }
}
