//! Landlock: the kernel refuses every path that is not listed.

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use super::{Doing, Problem};
use crate::wire::{Landlock, Paths};

/// The newest rules that we know; an older kernel keeps those that it knows.
const RULES: ABI = ABI::V6;

/// Restricts this process, and every program it starts. Keeps it from signalling processes outside and from their
/// abstract sockets in any case, where the kernel can.
pub(super) fn restrict(landlock: &Landlock) -> Result<(), Problem> {
    let (paths, required) = match landlock {
        Landlock::Nothing => return Ok(()),
        Landlock::Scope => (None, false),
        Landlock::Paths(paths) => (Some(paths), false),
        Landlock::PathsOrNothing(paths) => (Some(paths), true),
    };
    let status = apply(paths).doing(|| "restrict the command with landlock".into())?;
    if required && status == RulesetStatus::NotEnforced {
        return Err(Problem("this kernel has no landlock".into()));
    }
    Ok(())
}

fn apply(paths: Option<&Paths>) -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default().scope(Scope::from_all(RULES))?;
    if paths.is_some() {
        rules = rules.handle_access(AccessFs::from_all(RULES))?;
    }
    let mut rules = rules.create()?;
    if let Some(paths) = paths {
        rules = rules
            .add_rules(path_beneath_rules(&paths.read, AccessFs::from_read(RULES)))?
            .add_rules(path_beneath_rules(&paths.write, AccessFs::from_all(RULES)))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}
