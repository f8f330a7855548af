//! Which addresses of a site need a login.

use common::policy::Credential;
use common::site_rules::Login;
use common::site_rules::pattern::Pattern;

use super::index::Index;
use super::{Ask, Depends, Unusable, scope::Scope};

/// A site's logins.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    index: Index,
    rules: Vec<Rule>,
    memory: usize,
}

#[derive(Debug)]
struct Rule {
    scope: Scope,
    weight: usize,
    users: Vec<Credential>,
}

impl Logins {
    pub(super) fn new(list: Vec<Login>) -> Result<Self, Unusable> {
        let mut all = Self::default();
        for (position, login) in list.into_iter().enumerate() {
            all.index.add(position, &login.on.path)?;
            let weight = Pattern::parse(&login.on.path).map_err(|e| Unusable::new(&login.on.path, e))?.weight();
            let scope = Scope::of(&login.on);
            all.memory += login.users.iter().map(|u| size_of_val(u) + u.user.len() + u.hash.len()).sum::<usize>();
            all.rules.push(Rule { scope, weight, users: login.users });
        }
        Ok(all)
    }

    pub(super) const fn memory(&self) -> usize {
        self.memory + self.index.memory()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Who may pass at an address, and how many characters of the path say so: of several rules the one with the
    /// most counts, and of equal ones the last. `None` when everybody may.
    pub(crate) fn of(&self, ask: &Ask<'_>) -> Option<(usize, &[Credential])> {
        let mut depends = Depends::default();
        let rules = self.index.fitting(ask.path).filter_map(|(at, _)| self.rules.get(at));
        let rule = rules.filter(|rule| rule.scope.includes(ask, &mut depends)).max_by_key(|rule| rule.weight)?;
        Some((rule.weight, &rule.users))
    }
}
