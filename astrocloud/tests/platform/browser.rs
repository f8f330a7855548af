//! Headless Chromium, and what a visitor would notice in it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use chromiumoxide::browser::{Browser as Chromium, BrowserConfig, BrowserConfigBuilder};
use chromiumoxide::cdp::browser_protocol::log::EventEntryAdded;
use chromiumoxide::cdp::js_protocol::runtime::EventExceptionThrown;
use chromiumoxide::page::Page;
use futures::StreamExt as _;
use tempfile::TempDir;

use crate::support::{PATIENCE, until, within};

pub struct Browser {
    chromium: Chromium,
    _profile: TempDir,
}

/// An open page, with the errors that its console showed.
pub struct Tab {
    pub page: Page,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Browser {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One with further flags.
    pub async fn start_with(flags: &[&'static str]) -> Self {
        Self::launch(BrowserConfig::builder(), flags).await
    }

    /// One that trusts nobody but whom it is told to in this home.
    pub async fn start_strict(home: &Path) -> Self {
        Self::launch(BrowserConfig::builder().respect_https_errors().env("HOME", home.to_str().unwrap()), &[]).await
    }

    async fn launch(config: BrowserConfigBuilder, flags: &[&'static str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let config = config
            .no_sandbox()
            .user_data_dir(profile.path())
            .args(["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            .args(flags.iter().copied())
            .build()
            .unwrap();
        let (chromium, mut events) = within(PATIENCE, Chromium::launch(config)).await.unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        Self { chromium, _profile: profile }
    }

    /// Opens an address, and waits until it is loaded.
    pub async fn open(&self, url: &str) -> Tab {
        let page = self.chromium.new_page("about:blank").await.unwrap();
        let errors: Arc<Mutex<Vec<String>>> = Arc::default();
        page.enable_log().await.unwrap();
        page.enable_runtime().await.unwrap();
        let mut entries = page.event_listener::<EventEntryAdded>().await.unwrap();
        let mut exceptions = page.event_listener::<EventExceptionThrown>().await.unwrap();
        let seen = errors.clone();
        tokio::spawn(async move {
            loop {
                let error = tokio::select! {
                    Some(event) = entries.next() => {
                        let entry = &event.entry;
                        (entry.level.as_ref() == "error").then(|| format!("{} ({:?})", entry.text, entry.url))
                    }
                    Some(event) = exceptions.next() => Some(format!("{:?}", event.exception_details)),
                    else => break,
                };
                seen.lock().unwrap().extend(error);
            }
        });
        within(PATIENCE, page.goto(url)).await.unwrap();
        within(PATIENCE, page.wait_for_navigation()).await.unwrap();
        Tab { page, errors }
    }

    /// Whether it opens an address only to say that it does not trust it.
    pub async fn refuses(&self, url: &str) -> bool {
        let page = self.chromium.new_page("about:blank").await.unwrap();
        let refused = within(PATIENCE, page.goto(url)).await;
        refused.is_err_and(|e| e.to_string().contains("ERR_CERT_AUTHORITY_INVALID"))
    }

    pub async fn close(mut self) {
        let _ = self.chromium.close().await;
        let _ = self.chromium.wait().await;
    }
}

impl Tab {
    /// The page's text, as a visitor reads it; nothing while it goes from one page to the next.
    pub async fn text(&self) -> String {
        match self.page.evaluate("document.body.innerText").await {
            Ok(text) => text.into_value().unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page's text holds this.
    pub async fn says(&self, wanted: &str) -> String {
        until(&format!("the page says {wanted:?}"), || async {
            let text = self.text().await;
            text.contains(wanted).then_some(text)
        })
        .await
    }

    /// Errors of the console: exceptions, and files that could not be loaded.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }
}
