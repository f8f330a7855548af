//! Where a repository is, and the credentials for it, kept apart.

use std::fmt;

use common::secret::Secret;
use logs::Mask;
use percent_encoding::percent_decode_str;
use url::Url;

use super::GitError;

/// The variables that carry the credentials to git.
const USER: &str = "SOURCE_GIT_USER";
const PASSWORD: &str = "SOURCE_GIT_PASSWORD";

/// A program for git's shell that answers with the credentials. It holds only the variables' names, so they are on no
/// command line.
const HELPER: &str = concat!(
    r#"!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$SOURCE_GIT_USER" "$SOURCE_GIT_PASSWORD"; "#,
    "}; f"
);

/// A repository's address. Shows without credentials.
pub(super) struct Address {
    url: Url,
    login: Option<Login>,
    mask: Mask,
}

struct Login {
    user: Secret,
    password: Secret,
}

impl Address {
    /// Takes the credentials out of `url`.
    pub(super) fn new(url: &Url) -> Result<Self, GitError> {
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(GitError::Address { why: "Only addresses that begin with https:// or http:// can be fetched" });
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            // A line break would let the credentials say more to git than credentials.
            (!text.contains(char::is_control)).then(|| Secret::new(text))
        };
        let wrong = GitError::Address {
            why: "The user name or password in the repository's address has a character that can't be used",
        };
        let (Some(user), Some(password)) = (decoded(url.username()), decoded(url.password().unwrap_or_default()))
        else {
            return Err(wrong);
        };
        // Alone, what stands in the user's place is a token; beside a password it is a name, often part of the path.
        let secret = if password.reveal().is_empty() { &user } else { &password };
        let raw = Secret::new(url.password().unwrap_or_else(|| url.username()));
        let mask = Mask::new([secret, &raw]);
        let login = (!user.reveal().is_empty() || !password.reveal().is_empty()).then_some(Login { user, password });
        let mut url = url.clone();
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(wrong);
        }
        Ok(Self { url, login, mask })
    }

    /// The address without credentials.
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// What git said, without credentials.
    pub(super) fn masked(&self, text: &str) -> String {
        self.mask.apply(text).into_owned()
    }

    /// Whether there are credentials.
    pub(super) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// Settings that give git the credentials, for this very host only: not for one that it redirects to, nor for a
    /// submodule's elsewhere.
    pub(super) fn settings(&self) -> Option<(String, String)> {
        let origin = self.url.origin().ascii_serialization();
        self.login.as_ref().map(|_| (format!("credential.{origin}.helper"), HELPER.to_owned()))
    }

    /// The variables that the settings refer to.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        let login = self.login.iter();
        let pairs = login.flat_map(|login| [(USER, &login.user), (PASSWORD, &login.password)]);
        pairs.map(|(name, value)| (name.to_owned(), value.reveal().to_owned())).collect()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.url())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(url: &str) -> Address {
        Address::new(&Url::parse(url).unwrap()).ok().unwrap()
    }

    #[test]
    fn credentials_are_in_the_environment_and_nowhere_else() {
        let address = address("https://ann:p%40ss-word@example.test:8443/ann/site.git");
        assert_eq!(address.to_string(), "https://example.test:8443/ann/site.git");
        let (key, value) = address.settings().unwrap();
        assert_eq!(key, "credential.https://example.test:8443.helper");
        assert!(!value.contains("p@ss-word") && !value.contains("ann"));
        let env = address.env();
        assert_eq!(env[0].1, "ann");
        assert_eq!(env[1].1, "p@ss-word");
        assert_eq!(address.masked("bad p@ss-word, p%40ss-word for ann/site"), "bad ***, *** for ann/site");
    }

    #[test]
    fn a_token_in_the_users_place_is_a_secret() {
        let address = address("https://t0k3n-value@example.test/x");
        assert_eq!(address.masked("t0k3n-value"), "***");
        assert!(address.has_login());
    }

    #[test]
    fn without_credentials_there_is_nothing_to_set() {
        let address = address("https://example.test/x");
        assert!(address.settings().is_none() && address.env().is_empty() && !address.has_login());
    }

    #[test]
    fn other_ways_to_reach_a_repository_are_refused() {
        for url in ["file:///etc", "ssh://git@example.test/x", "git://example.test/x", "https://a:b%0Ac@example.test/"]
        {
            assert!(Address::new(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
    }
}
