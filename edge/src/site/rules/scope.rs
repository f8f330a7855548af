//! Which host and scheme a rule is for.

use common::site_rules::Source;

use super::{Ask, Depends};

/// The part of a rule's source in front of its path.
#[derive(Debug)]
pub(super) struct Scope {
    https: Option<bool>,
    host: Option<Box<str>>,
}

impl Scope {
    pub(super) fn of(source: &Source) -> Self {
        Self { https: source.https, host: source.host.as_deref().map(Into::into) }
    }

    /// Whether the request's address is in it. Notes that this was decided by host and scheme.
    pub(super) fn includes(&self, ask: &Ask<'_>, depends: &mut Depends) -> bool {
        depends.origin |= self.https.is_some() || self.host.is_some();
        self.https.is_none_or(|https| https == ask.secure) && self.host.as_deref().is_none_or(|host| host == ask.host)
    }
}
