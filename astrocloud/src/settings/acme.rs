//! Settings of certificate authorities: which are asked, in which order, and for what.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acme::authority::{Authority as Asked, ExternalAccount};
use acme::limits::{Limit, Limits};
use acme::manager::LEASE;
use common::secret::Secret;
use control_plane::IssuingAuthority;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::exit::Usage;

/// Directory of ZeroSSL, which needs an external account.
const ZEROSSL: &str = "https://acme.zerossl.com/v2/DV90";
/// Directory of Google Trust Services, which needs an external account.
const GOOGLE: &str = "https://dv.acme-v02.api.pki.goog/directory";
/// Ids that stand for an authority without more words.
const PRESETS: [&str; 4] = ["lets-encrypt", "lets-encrypt-staging", "zerossl", "google"];
/// Shortest lease: it is extended three times within it, and a database may take a moment.
const LEAST_LEASE: Duration = Duration::from_secs(3);
/// Longest id: it is part of keys in the database.
const MAX_ID: usize = 40;

/// Who is asked for certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Acme {
    pub authorities: Vec<Authority>,
    #[serde(with = "span")]
    pub lease: Duration,
}

impl Default for Acme {
    fn default() -> Self {
        Self { authorities: Vec::new(), lease: LEASE }
    }
}

/// One authority: an id that is known, or a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Authority(Table);

/// What can be said of an authority; what is not said is as the preset of this id has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<Url>,
    /// Its staging side, where attempts are rehearsed after failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    staging: Option<Url>,
    /// Mail addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contact: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eab_id: Option<String>,
    /// File with the HMAC key in base64url: a file, so that settings hold no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    eab_key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_chain: Option<String>,
    /// Roots in PEM that its API is trusted by, in place of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    root_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Rates>,
}

/// What an authority limits, as it publishes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rates {
    #[serde(skip_serializing_if = "Option::is_none")]
    orders: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_domain: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_names: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<Rate>,
    renewals_are_free: bool,
}

/// So many in such a time, like `50/168h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    number: u32,
    time: Duration,
}

impl<'de> Deserialize<'de> for Authority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Said;
        impl<'de> Visitor<'de> for Said {
            type Value = Authority;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "one of {} or a table with an id and a directory", PRESETS.join(", "))
            }

            fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Authority, E> {
                Ok(Authority(Table { id: id.to_owned(), ..Table::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Authority, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map)).map(Authority)
            }
        }
        deserializer.deserialize_any(Said)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("`{text}` is no limit: it looks like 50/168h"));
        let (number, time) = text.split_once('/').ok_or_else(wrong)?;
        let number: u32 = number.trim().parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        let time: jiff::SignedDuration = time.trim().parse().map_err(|_| wrong())?;
        let time = Duration::try_from(time).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)?;
        Ok(Self { number, time })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}s", self.number, self.time.as_secs()))
    }
}

impl Rate {
    fn limit(self) -> Limit {
        Limit { burst: self.number, refill: self.time / self.number }
    }
}

impl Rates {
    fn limits(self) -> Limits {
        let limit = |rate: Option<Rate>| rate.map(Rate::limit);
        Limits {
            orders: limit(self.orders),
            registered_domain: limit(self.registered_domain),
            same_names: limit(self.same_names),
            failures: limit(self.failures),
            renewals_are_free: self.renewals_are_free,
        }
    }
}

impl Acme {
    /// The authorities as the control plane takes them.
    ///
    /// # Errors
    /// When one can't be meant so, or a file that is named can't be read.
    pub fn issuing(&self) -> anyhow::Result<Vec<IssuingAuthority>> {
        let mut authorities: Vec<IssuingAuthority> = Vec::with_capacity(self.authorities.len());
        for Authority(table) in &self.authorities {
            if authorities.iter().any(|other| other.authority.id == table.id) {
                return Err(table.wrong("it is there twice"));
            }
            authorities.push(table.issuing()?);
        }
        Ok(authorities)
    }

    /// How long an order rests whose process died.
    ///
    /// # Errors
    /// When it is too short to be kept up.
    pub fn lease(&self) -> anyhow::Result<Duration> {
        if self.lease < LEAST_LEASE {
            let least = LEAST_LEASE.as_secs();
            return Err(Usage::new(format!(
                "acme.lease is at least {least} s: orders would be taken from who works on them"
            ))
            .into());
        }
        Ok(self.lease)
    }
}

impl Table {
    fn wrong(&self, what: impl fmt::Display) -> anyhow::Error {
        Usage::new(format!("acme.authorities, `{}`: {what}", self.id)).into()
    }

    fn issuing(&self) -> anyhow::Result<IssuingAuthority> {
        let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.id.is_empty() || self.id.len() > MAX_ID || !self.id.bytes().all(is_good) {
            return Err(self.wrong(format!("an id has 1 to {MAX_ID} letters, digits and `-`, in lower case")));
        }
        let mut authority = self.preset()?;
        if let Some(url) = &self.directory {
            authority.directory = self.https("directory", url)?;
        }
        for address in &self.contact {
            if !address.contains('@') || address.contains(':') {
                return Err(self.wrong(format!("`{address}` is no mail address")));
            }
            authority.contacts.push(format!("mailto:{address}"));
        }
        authority.external_account = match (&self.eab_id, &self.eab_key_file) {
            (Some(id), Some(file)) => {
                Some(ExternalAccount { id: id.clone(), key: Secret::new(self.read("eab_key_file", file)?.trim()) })
            }
            (None, None) if ["zerossl", "google"].contains(&self.id.as_str()) => {
                return Err(self
                    .wrong("it needs an external account: set eab_id and eab_key_file to what it gave you for that"));
            }
            (None, None) => None,
            _ => return Err(self.wrong("eab_id and eab_key_file belong together")),
        };
        authority.profile.clone_from(&self.profile);
        authority.preferred_chain.clone_from(&self.preferred_chain);
        if let Some(file) = &self.root_file {
            authority.api_roots = Some(self.read("root_file", file)?);
        }
        if let Some(rates) = self.limits {
            authority.limits = rates.limits();
        }
        let staging = match &self.staging {
            Some(url) => Some(Asked::new(format!("{}-staging", self.id), self.https("staging", url)?)),
            None if self.id == "lets-encrypt" && self.directory.is_none() => Some(Asked::lets_encrypt_staging()),
            None => None,
        };
        // Everything else is as with the authority itself, but the limits, which are far wider.
        let rehearsal = staging.map(|staging| Asked {
            limits: Limits::default(),
            id: staging.id,
            directory: staging.directory,
            ..authority.clone()
        });
        Ok(IssuingAuthority { authority, rehearsal })
    }

    fn preset(&self) -> anyhow::Result<Asked> {
        Ok(match (self.id.as_str(), &self.directory) {
            ("lets-encrypt", None) => Asked::lets_encrypt(),
            ("lets-encrypt-staging", None) => Asked::lets_encrypt_staging(),
            ("zerossl", None) => Asked::new("zerossl", ZEROSSL),
            ("google", None) => Asked::new("google", GOOGLE),
            (id, Some(directory)) => Asked::new(id, directory.as_str()),
            (_, None) => {
                return Err(self.wrong(format!("say its directory, or take one of {}", PRESETS.join(", "))));
            }
        })
    }

    fn https(&self, key: &str, url: &Url) -> anyhow::Result<String> {
        if url.scheme() != "https" {
            return Err(self.wrong(format!("{key} is an address with https")));
        }
        Ok(url.to_string())
    }

    fn read(&self, key: &str, path: &Path) -> anyhow::Result<String> {
        std::fs::read_to_string(path).map_err(|e| self.wrong(format!("{key} {} can't be read: {e}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn issuing(text: &str) -> anyhow::Result<Vec<IssuingAuthority>> {
        toml::from_str::<Acme>(text)?.issuing()
    }

    #[test]
    fn an_id_that_is_known_says_enough() {
        let [first] = &issuing("authorities = ['lets-encrypt']").unwrap()[..] else { unreachable!("one authority") };
        assert_eq!(first.authority.directory, acme::authority::LETS_ENCRYPT);
        assert!(first.authority.limits.orders.is_some());
        assert_eq!(first.rehearsal.as_ref().unwrap().directory, acme::authority::LETS_ENCRYPT_STAGING);
        assert!(first.rehearsal.as_ref().unwrap().limits.orders.is_none());
    }

    #[test]
    fn authorities_are_asked_as_they_are_set_and_in_this_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "a2V5\n").unwrap();
        let text = format!(
            "[[authorities]]\nid = 'own'\ndirectory = 'https://ca.example/dir'\ncontact = ['ops@example.com']\n\
             profile = 'short'\npreferred_chain = 'Root X'\nroot_file = '{0}'\nstaging = 'https://ca.example/staging'\n\
             limits = {{ orders = '300/3h', failures = '5/1h' }}\n[[authorities]]\nid = 'zerossl'\neab_id = 'kid'\n\
             eab_key_file = '{0}'\n",
            file.display()
        );
        let [own, zerossl] = &issuing(&text).unwrap()[..] else { unreachable!("two authorities") };
        assert_eq!(own.authority.contacts, ["mailto:ops@example.com"]);
        assert_eq!(own.authority.limits.orders, Some(Limit { burst: 300, refill: Duration::from_secs(36) }));
        assert_eq!((own.authority.limits.failures.unwrap().burst, own.authority.limits.same_names), (5, None));
        let rehearsal = own.rehearsal.as_ref().unwrap();
        assert_eq!((&*rehearsal.id, &*rehearsal.directory), ("own-staging", "https://ca.example/staging"));
        assert_eq!(rehearsal.api_roots.as_deref(), Some("a2V5\n"));
        assert_eq!(zerossl.authority.external_account.as_ref().unwrap().key.reveal(), "a2V5");
        assert!(zerossl.rehearsal.is_none());
        let settings: Acme = toml::from_str(&text).unwrap();
        assert_eq!(toml::from_str::<Acme>(&toml::to_string(&settings).unwrap()).unwrap(), settings);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("authorities = ['letsencrypt']", "lets-encrypt"),
            ("authorities = ['zerossl']", "eab_id"),
            ("authorities = ['google', 'google']", "eab_id"),
            ("authorities = ['lets-encrypt', 'lets-encrypt']", "twice"),
            ("authorities = [{ id = 'A', directory = 'https://x/' }]", "lower case"),
            ("authorities = [{ id = 'a', directory = 'http://x/' }]", "https"),
            ("authorities = [{ id = 'a', directory = 'https://x/', contact = ['me'] }]", "mail"),
            ("authorities = [{ id = 'a', directory = 'https://x/', eab_id = 'k' }]", "eab_key_file"),
            ("authorities = [{ id = 'a', directory = 'https://x/', root_file = '/nowhere/x' }]", "/nowhere/x"),
            ("authorities = [{ id = 'a', directory = 'https://x/', limits = { orders = '5' } }]", "50/168h"),
            ("authorities = [{ id = 'a', dir = 'https://x/' }]", "directory"),
            ("authorities = [7]", "lets-encrypt"),
        ] {
            let error = format!("{:#}", issuing(text).unwrap_err());
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
