//! How the edges treat each project's visitors: what was said of a project's policy, over the installation's defaults.
//!
//! Kept is only what was said, so that a default that changes counts for all who said nothing of it. A password comes
//! in plain, and only its hash is kept.

use std::sync::Arc;

use common::api::{EdgePolicy, PathUser, ProtectedPath};
use common::id::ProjectId;
use common::password::{self, PasswordError};
use common::policy::{Credential, HttpsPolicy, Policy, Protection};
use common::route::default_policy;
use guard::Problem;
use serde::Deserialize as _;
use serde_json::Value;

use crate::store::{Store, StoreError};

mod document;

use document::{merge, unknown_keys};

/// Most users of all protected paths together: hashing a password takes tens of milliseconds, and each request without
/// a login is checked against them.
const MAX_USERS: usize = 50;
/// How often a change is tried when others change the same policy at the same time.
const TRIES: usize = 5;

/// Why a policy was not set.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It makes no sense.
    #[error("the policy makes no sense")]
    Wrong(Vec<Problem>),
    /// The project is gone.
    #[error("the project is gone")]
    NoProject,
    /// Others change it all the time.
    #[error("the policy is being changed by others")]
    Busy,
    /// A password can't be hashed.
    #[error("a password can't be hashed: {0}")]
    Hash(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether what is given replaces all that was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Replace,
    /// It is laid over it (JSON merge patch, RFC 7396).
    Merge,
}

/// The installation's defaults. Cheap to clone.
#[derive(Clone)]
pub struct Policies(Arc<Defaults>);

struct Defaults {
    /// The policy of projects of which nothing was said: one for all, because there are many.
    policy: Arc<Policy>,
    document: Value,
}

impl Policies {
    /// Policies of an installation that leads visitors to HTTPS unless a project says otherwise, or does not.
    pub fn new(https_redirect: bool) -> Self {
        let https = HttpsPolicy { redirect: https_redirect, ..HttpsPolicy::default() };
        let policy = Policy { https, ..Policy::default() };
        let document = serde_json::json!({ "https": { "redirect": https_redirect } });
        let policy = if policy.is_default() { default_policy() } else { Arc::new(policy) };
        Self(Arc::new(Defaults { policy, document }))
    }

    /// The policy that counts, from what is stored.
    ///
    /// # Errors
    /// When it can't be read: a policy that protects must not be taken for none.
    pub fn effective(&self, stored: Option<&str>) -> Result<Arc<Policy>, StoreError> {
        match stored {
            None | Some("{}") => Ok(Arc::clone(&self.0.policy)),
            Some(text) => self.over_defaults(parse(text)?).map(Arc::new).map_err(|e| unreadable(&e)),
        }
    }

    fn over_defaults(&self, said: Value) -> serde_json::Result<Policy> {
        Policy::deserialize(merge(self.0.document.clone(), said))
    }

    /// Sets a project's policy; gives the one that counts from now on.
    ///
    /// # Errors
    /// When it makes no sense, or can't be stored.
    pub async fn set(
        &self,
        store: &Store,
        project: &ProjectId,
        given: &Value,
        mode: Mode,
    ) -> Result<Policy, PolicyError> {
        for _ in 0..TRIES {
            let stored = store.policy(project).await?.ok_or(PolicyError::NoProject)?;
            let before = parse(&stored)?;
            let (said, policy) = self.take(&before, given, mode).await?;
            if store.set_policy(project, &stored, &said.to_string()).await? {
                return Ok(policy);
            }
        }
        Err(PolicyError::Busy)
    }

    /// Checks what is given, and hashes its passwords: what is to be stored, and what it amounts to.
    async fn take(&self, before: &Value, given: &Value, mode: Mode) -> Result<(Value, Policy), PolicyError> {
        let wrong = |path: String, message: String| PolicyError::Wrong(vec![Problem { path, message }]);
        if !given.is_object() {
            return Err(wrong(String::new(), "A policy is a JSON object.".to_owned()));
        }
        let unknown = unknown_keys(given);
        if !unknown.is_empty() {
            return Err(PolicyError::Wrong(unknown));
        }
        let hashes = protection(before)?;
        let base = match mode {
            Mode::Replace => Value::Object(serde_json::Map::new()),
            Mode::Merge => shown(before.clone(), &hashes),
        };
        let mut said = merge(base, given.clone());
        let document: EdgePolicy = serde_path_to_error::deserialize(&said)
            .map_err(|e| wrong(e.path().to_string(), format!("{}.", sentence(&e.inner().to_string()))))?;
        let mut policy = self
            .over_defaults(without_protection(said.clone()))
            .map_err(|e| wrong(String::new(), format!("{}.", sentence(&e.to_string()))))?;
        let mut problems = Vec::new();
        let wanted: Vec<(ProtectedPath, Vec<Kept>)> = document
            .protection
            .into_iter()
            .enumerate()
            .map(|(i, path)| {
                let logins = path.users.iter().enumerate().map(|(j, user)| {
                    kept(user, &path.path, &hashes).unwrap_or_else(|message| {
                        problems.push(Problem { path: format!("protection[{i}].users[{j}]"), message });
                        Kept::Nothing
                    })
                });
                let logins = logins.collect();
                (path, logins)
            })
            .collect();
        let users: usize = wanted.iter().map(|(_, logins)| logins.len()).sum();
        if users > MAX_USERS {
            let message = format!("There may be at most {MAX_USERS} users in all; these are {users}.");
            problems.push(Problem { path: "protection".to_owned(), message });
        }
        // Everything else is checked before passwords are hashed, which takes long.
        policy.protection = wanted.iter().map(|(path, _)| unhashed(path)).collect();
        problems.extend(guard::check(&policy).err().into_iter().flatten());
        problems.extend(twice(&policy.protection));
        if !problems.is_empty() {
            return Err(PolicyError::Wrong(problems));
        }
        if !wanted.is_empty() {
            policy.protection = hash(wanted).await?;
            if let Some(said) = said.as_object_mut() {
                let stored = serde_json::to_value(&policy.protection).map_err(|e| unreadable(&e))?;
                said.insert("protection".to_owned(), stored);
            }
        }
        Ok((said, policy))
    }
}

/// Where a user's hash comes from.
enum Kept {
    Hash(String),
    Password(common::secret::Secret),
    Nothing,
}

/// The error is a sentence.
fn kept(user: &PathUser, path: &str, hashes: &[Protection]) -> Result<Kept, String> {
    match (&user.password, &user.hash) {
        (Some(_), Some(_)) => Err("Give `password` or `hash`, not both.".to_owned()),
        (Some(password), None) => match password.reveal().len() {
            1..=password::MAX_PASSWORD => Ok(Kept::Password(password.clone())),
            _ => Err(format!("{}.", sentence(&PasswordError::Length.to_string()))),
        },
        (None, Some(hash)) => match password::check(hash.reveal()) {
            Ok(()) => Ok(Kept::Hash(hash.reveal().to_owned())),
            Err(e) => Err(format!("{}.", sentence(&e.to_string()))),
        },
        (None, None) => hashes
            .iter()
            .filter(|protection| protection.path == path)
            .flat_map(|protection| &protection.users)
            .find(|credential| credential.user == user.user)
            .map(|credential| Kept::Hash(credential.hash.clone()))
            .ok_or_else(|| "This user has no password yet: give `password`.".to_owned()),
    }
}

fn unhashed(path: &ProtectedPath) -> Protection {
    let users = path.users.iter().map(|user| Credential { user: user.user.clone(), hash: String::new() }).collect();
    Protection { path: path.path.clone(), on: path.on, users }
}

/// Users that a path names twice: only one of their passwords would count.
fn twice(protection: &[Protection]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (i, protection) in protection.iter().enumerate() {
        for (j, user) in protection.users.iter().enumerate() {
            if protection.users[..j].iter().any(|before| before.user == user.user) {
                let path = format!("protection[{i}].users[{j}].user");
                problems.push(Problem { path, message: "This path has a user of this name already.".to_owned() });
            }
        }
    }
    problems
}

/// Hashes passwords, off the threads that others wait for.
async fn hash(wanted: Vec<(ProtectedPath, Vec<Kept>)>) -> Result<Vec<Protection>, PolicyError> {
    let work = move || -> Result<Vec<Protection>, PasswordError> {
        let hashed = |(path, kept): (ProtectedPath, Vec<Kept>)| {
            let users = path.users.into_iter().zip(kept).map(|(user, kept)| {
                let hash = match kept {
                    Kept::Hash(hash) => hash,
                    Kept::Password(password) => password::hash(password.reveal())?,
                    Kept::Nothing => return Err(PasswordError::Length),
                };
                Ok(Credential { user: user.user, hash })
            });
            Ok(Protection { path: path.path, on: path.on, users: users.collect::<Result<_, _>>()? })
        };
        wanted.into_iter().map(hashed).collect()
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| PolicyError::Hash(e.to_string()))?;
    done.map_err(|e| PolicyError::Hash(e.to_string()))
}

fn unreadable(e: &serde_json::Error) -> StoreError {
    StoreError::Unreadable { what: "policy", detail: e.to_string() }
}

fn parse(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|e| unreadable(&e))
}

/// The protected paths of a stored document, with hashes.
fn protection(stored: &Value) -> Result<Vec<Protection>, StoreError> {
    match stored.get("protection") {
        Some(protection) => Vec::deserialize(protection).map_err(|e| unreadable(&e)),
        None => Ok(Vec::new()),
    }
}

/// A stored document as people see it.
fn shown(mut stored: Value, hashes: &[Protection]) -> Value {
    if let Some(protection) = stored.get_mut("protection") {
        let paths: Vec<ProtectedPath> = hashes.iter().cloned().map(ProtectedPath::from).collect();
        *protection = serde_json::to_value(paths).unwrap_or_default();
    }
    stored
}

fn without_protection(mut document: Value) -> Value {
    document.as_object_mut().map(|object| object.remove("protection"));
    document
}

/// A message as a sentence begins.
fn sentence(text: &str) -> String {
    let mut text = text.trim_end_matches('.').to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    async fn take(before: &Value, given: Value, mode: Mode) -> Result<(Value, Policy), Vec<Problem>> {
        Policies::new(false).take(before, &given, mode).await.map_err(|e| match e {
            PolicyError::Wrong(problems) => problems,
            other => vec![Problem { path: String::new(), message: other.to_string() }],
        })
    }

    #[tokio::test]
    async fn a_password_is_kept_as_its_hash_and_stays_until_another_is_given() {
        let path = |user: Value| json!({ "protection": [{ "path": "/", "users": [user] }] });
        let (first, policy) =
            take(&json!({}), path(json!({ "user": "ada", "password": "lovelace" })), Mode::Replace).await.unwrap();
        assert!(!first.to_string().contains("lovelace"));
        let hash = &policy.protection[0].users[0].hash;
        assert!(password::verify(hash, b"lovelace").unwrap());
        let told = serde_json::to_value(EdgePolicy::from(policy.clone())).unwrap();
        assert_eq!(told["protection"][0]["users"], json!([{ "user": "ada", "password_set": true }]));

        for (mode, given) in [
            (Mode::Replace, told.clone()),
            (Mode::Merge, json!({ "cache": { "enabled": true } })),
            (Mode::Replace, path(json!({ "user": "ada" }))),
        ] {
            let (again, policy) = take(&first, given, mode).await.unwrap();
            assert_eq!(policy.protection[0].users[0].hash, *hash, "{again}");
        }
        let (_, other) = take(&first, path(json!({ "user": "ada", "password": "byron" })), Mode::Merge).await.unwrap();
        assert!(password::verify(&other.protection[0].users[0].hash, b"byron").unwrap());
        let (_, imported) = take(&first, path(json!({ "user": "eve", "hash": hash })), Mode::Replace).await.unwrap();
        assert_eq!(imported.protection[0].users[0].hash, *hash);
        let nobody = take(&first, path(json!({ "user": "bob" })), Mode::Merge).await.unwrap_err();
        assert_eq!(nobody[0].path, "protection[0].users[0]");
        let (none, policy) = take(&first, json!({ "protection": null }), Mode::Merge).await.unwrap();
        assert!(none.get("protection").is_none() && policy.is_default());
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_where_it_stands() {
        for (given, path, hint) in [
            (json!({ "htps": {} }), "htps", "`https`"),
            (json!({ "https": { "hsts": { "max_age": 1 } } }), "https.hsts.max_age", "`max_age_s`"),
            (json!({ "limits": { "client": { "requests": 1 } } }), "limits.client.requests", "`requests_per_s`"),
            (json!({ "rules": [{ "name": "a", "iff": {}, "then": "log" }] }), "rules[0].iff", "`if`"),
            (
                json!({ "rules": [{ "name": "a", "then": { "deny": { "code": 1 } } }] }),
                "rules[0].then.deny.code",
                "`status`",
            ),
            (json!({ "limits": { "client": { "requests_per_s": -1 } } }), "limits.client.requests_per_s", "-1"),
            (json!({ "access": { "deny": ["10.0.0.0/33"] } }), "access.deny[0]", "."),
            (json!({ "trailing_slash": "maybe" }), "trailing_slash", "always"),
            (
                json!({ "rules": [{ "name": "a", "then": { "deny": { "status": 500 } } }] }),
                "rules[0].then.deny.status",
                "400",
            ),
            (json!([]), "", "object"),
            (
                json!({ "protection": [{ "path": "/", "users": [{ "user": "a", "password": "" }] }] }),
                "protection[0].users[0]",
                "bytes",
            ),
            (
                json!({ "protection": [{ "path": "/", "users": [{ "user": "a", "hash": "plain" }] }] }),
                "protection[0].users[0]",
                "Argon2id",
            ),
        ] {
            let problems = take(&json!({}), given.clone(), Mode::Replace).await.unwrap_err();
            assert_eq!(problems[0].path, path, "{given}: {problems:?}");
            assert!(problems[0].message.contains(hint), "{given}: {problems:?}");
        }
        let user = |name: &str| json!({ "user": name, "hash": password::hash("x").unwrap() });
        let twice = json!({ "protection": [{ "path": "/", "users": [user("a"), user("a")] }] });
        assert_eq!(take(&json!({}), twice, Mode::Replace).await.unwrap_err()[0].path, "protection[0].users[1].user");
    }

    #[tokio::test]
    async fn a_project_that_says_nothing_follows_the_installation() {
        let (plain, led) = (Policies::new(false), Policies::new(true));
        assert!(Arc::ptr_eq(&plain.effective(Some("{}")).unwrap(), &default_policy()));
        assert!(led.effective(None).unwrap().https.redirect);
        let said = r#"{"compression": "off"}"#;
        assert!(led.effective(Some(said)).unwrap().https.redirect);
        assert!(!led.effective(Some(r#"{"https": {"redirect": false}}"#)).unwrap().https.redirect);
        assert!(!plain.effective(Some(said)).unwrap().https.redirect);
        assert!(plain.effective(Some("[")).is_err());
    }
}
