//! Why a build ended without a result.

use detect::Refusal;
use logs::Bounds;
use sandbox::{Exit, LimitHit};
use toolchain::ToolError;

/// Longest command that is quoted in a message, in characters.
const QUOTED: usize = 200;

/// Why a build ended without a result. Each message says what was wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The project can't be built as it is.
    #[error("{0}.")]
    Refused(#[from] Refusal),
    /// The dependencies could not be installed.
    #[error(
        "Installing the dependencies failed: `{}` {}{}",
        quoted(command),
        how(exit),
        why(cause.as_deref())
    )]
    Install {
        /// The last command that was tried.
        command: String,
        /// How it ended.
        exit: Exit,
        /// The line that names the cause, where one is known to.
        cause: Option<String>,
    },
    /// The build command failed.
    #[error("The build failed: `{}` {}{}", quoted(command), how(exit), why(cause.as_deref()))]
    Build {
        /// The command.
        command: String,
        /// How it ended.
        exit: Exit,
        /// The line that names the cause, where one is known to.
        cause: Option<String>,
    },
    /// A limit was reached.
    #[error("`{}` was ended because {hit}. {}", quoted(command), advice(hit))]
    Limit {
        /// The command that was running.
        command: String,
        /// Which limit.
        hit: LimitHit,
    },
    /// More was printed than is kept.
    #[error(
        "`{}` was ended because it printed more than {} lines or {}. Let the build print less.",
        quoted(command),
        bounds.lines,
        logs::size(bounds.bytes)
    )]
    TooMuchOutput {
        /// The command that was running.
        command: String,
        /// What may be printed.
        bounds: Bounds,
    },
    /// Node or the package manager can't be had.
    #[error("A tool that the build needs can't be had: {0}.")]
    Tool(#[from] ToolError),
    /// The platform's fault.
    #[error("AstroCloud could not run the build: {detail}. Deploy again; if it stays so, tell the operator.")]
    Internal {
        /// What went wrong.
        detail: String,
    },
}

impl BuildError {
    /// Stable word for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Install { .. } => "install_failed",
            Self::Build { .. } => "build_failed",
            Self::Limit { hit, .. } => match hit {
                LimitHit::WallTime(_) => "limit_time",
                LimitHit::Memory(_) => "limit_memory",
                LimitHit::Processes(_) => "limit_processes",
                LimitHit::Disk(_) => "limit_disk",
                LimitHit::FileSize(_) => "limit_file_size",
            },
            Self::TooMuchOutput { .. } => "limit_output",
            Self::Tool(_) => "tool_unavailable",
            Self::Internal { .. } => "internal",
        }
    }

    pub(crate) fn internal(detail: impl ToString) -> Self {
        Self::Internal { detail: detail.to_string() }
    }
}

/// How a command ended, to go on from its name.
fn how(exit: &Exit) -> String {
    let text = exit.to_string();
    text.strip_prefix("it ").unwrap_or(&text).to_owned()
}

fn why(cause: Option<&str>) -> String {
    match cause {
        Some(line) => format!(": {line}. The log says more."),
        None => ". The last lines of the log say why.".to_owned(),
    }
}

fn quoted(command: &str) -> String {
    match command.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{} …", &command[..end]),
        None => command.to_owned(),
    }
}

fn advice(hit: &LimitHit) -> &'static str {
    match hit {
        LimitHit::WallTime(_) => {
            "That is the time for install and build together: look in the log for what does not end or takes long, or ask the operator for more time."
        }
        LimitHit::Memory(_) => {
            "Let the build do less at once (fewer workers, no source maps), or ask the operator for more memory."
        }
        LimitHit::Processes(_) => {
            "Look for a script that starts itself, let the build use fewer workers, or ask the operator for more."
        }
        LimitHit::Disk(_) => {
            "Source, dependencies and output count together: leave out what the site does not need, or ask the operator for more."
        }
        LimitHit::FileSize(_) => "Split the file or keep it elsewhere, or ask the operator for a higher limit.",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_is_named_with_the_command_and_what_to_do() {
        let hit = LimitHit::WallTime(Duration::from_secs(1200));
        let error = BuildError::Limit { command: "npm run build".into(), hit };
        assert_eq!(error.code(), "limit_time");
        let text = error.to_string();
        assert!(text.starts_with("`npm run build` was ended because it ran longer than 20 minutes."), "{text}");
    }

    #[test]
    fn a_refusal_keeps_its_message_and_its_code() {
        let error = BuildError::from(Refusal::NoStart { path: "package.json".into() });
        assert_eq!(error.code(), "no_start");
        assert!(error.to_string().contains("start command"));
    }
}
