//! What a project is and how to get it online, from the files in its folder.
//!
//! In: a folder with a stranger's source, what its developer set ([`common::project::Settings`]), and what
//! the host has to build with ([`Toolchain`]). Out: a [`Plan`] that says which commands to run where, with
//! which tools and what to expect of them, or a [`Refusal`] that says what is wrong and what to do.
//! After the build, [`resolve_output`] finds the folder that it left.
//!
//! It must never run anything of the project, follow a link out of the source, wait for or read without
//! bound what lies there, or panic, whatever the files hold.

// The words for what comes in and what goes out.
mod plan;
mod range;
mod refusal;
mod version;

// From the folder to the plan.
mod planner;

// What lies in the source.
mod evidence;
mod locate;
mod lockfile;
mod manifest;
mod project;
mod script;
mod tree;
mod workspace;

// What it is.
mod framework;
mod manager;
mod node;
mod settle;

// What follows for the install.
mod cache;
mod environment;
mod ladder;

// What the build left.
mod output;

pub use framework::Framework;
pub use output::resolve_output;
pub use plan::{BuildRetry, InstallStep, Level, NodeChoice, Note, PackageManager, Plan, Tool, Toolchain};
pub use planner::plan;
pub use range::Range;
pub use refusal::Refusal;
pub use version::{NotAVersion, Version};
