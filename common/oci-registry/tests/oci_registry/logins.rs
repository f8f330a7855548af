//! Who asks, and what an adapter must do whoever asks.

use std::path::Path;
use std::sync::Arc;

use common::registry::{ImageRegistry as _, Registry, RegistryError, conformance};
use common::secret::Secret;
use oci_registry::Login;
use testkit::registry::USER;

use crate::kit::{App, push_small_base, registry};

fn login(password: &str) -> Login {
    Login::Password { username: USER.0.to_owned(), password: Secret::new(password) }
}

fn credentials() -> String {
    format!("{}:{}", USER.0, USER.1)
}

#[tokio::test]
async fn an_open_registry_conforms() {
    let server = testkit::registry::Registry::start();
    push_small_base(&server.host(), None);
    let adapter: Registry = Arc::new(registry(&server.host(), &server.host(), Login::Anonymous));
    conformance(&adapter).await.unwrap();
}

#[tokio::test]
async fn a_registry_with_tokens_conforms() {
    let server = testkit::registry::Registry::with_tokens();
    push_small_base(&server.host(), Some(&credentials()));
    let before = server.tokens();
    let adapter: Registry = Arc::new(registry(&server.host(), &server.host(), login(USER.1)));
    conformance(&adapter).await.unwrap();
    let given = server.tokens() - before;
    // One for each thing that is done to each repository, however many requests it takes.
    assert!((1..10).contains(&given), "{given} tokens");
}

#[tokio::test]
async fn a_registry_with_a_password_conforms() {
    let server = testkit::registry::Registry::with_password();
    push_small_base(&server.host(), Some(&credentials()));
    let adapter: Registry = Arc::new(registry(&server.host(), &server.host(), login(USER.1)));
    conformance(&adapter).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_not_shown() {
    for server in [testkit::registry::Registry::with_tokens(), testkit::registry::Registry::with_password()] {
        let adapter = registry(&server.host(), &server.host(), login("hunter2"));
        let error = App::new("x", 10).push(&adapter).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, RegistryError::Refused(_)) && text.contains("checks the login"), "{text}");
        assert!(!text.contains("hunter2") && !format!("{adapter:?}").contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn an_image_of_another_registry_is_not_looked_for_here() {
    let server = testkit::registry::Registry::start();
    let adapter = registry(&server.host(), &server.host(), Login::Anonymous);
    let reference = format!("other.example/apps/shop@sha256:{}", "a".repeat(64));
    let pulled = adapter.pull(&reference, Path::new("/nowhere")).await;
    assert!(matches!(pulled, Err(RegistryError::NotFound(_))), "{pulled:?}");
    adapter.remove(&reference).await.unwrap();
}
