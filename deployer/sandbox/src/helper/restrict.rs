//! Landlock: the kernel refuses every path that is not listed.

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use super::{Doing, Problem};
use crate::wire::Paths;

/// The newest rules that we know; an older kernel keeps those that it knows.
const RULES: ABI = ABI::V6;

/// Restricts this process, and every program it starts, to `paths`. Also keeps it from signalling processes outside
/// and from their abstract sockets, where the kernel can.
pub(super) fn restrict(paths: &Paths) -> Result<(), Problem> {
    let apply = || -> Result<_, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(RULES))?
            .scope(Scope::from_all(RULES))?
            .create()?
            .add_rules(path_beneath_rules(&paths.read, AccessFs::from_read(RULES)))?
            .add_rules(path_beneath_rules(&paths.write, AccessFs::from_all(RULES)))?
            .restrict_self()
    };
    let status = apply().doing(|| "restrict the command with landlock".into())?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(Problem("this kernel has no landlock".into()));
    }
    Ok(())
}
