//! An app with answers in a row, a clock that only the test moves, and a cache before both.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use common::policy::CachePolicy;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use response_cache::{Answer, Ask, Cache, FetchError, Fetched, Outcome, Unanswered};
use tokio::sync::Semaphore;

/// An answer of the app: status, fields, body; a negative status is no answer at all.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    pub body: Vec<&'static str>,
    /// How many permits of the gate are taken before the head, and before each piece of the body.
    pub gated: bool,
    /// Whether it breaks off after its body.
    pub breaks: bool,
}

pub fn reply(cache_control: &str, body: &'static str) -> Reply {
    Reply {
        status: 200,
        fields: vec![("cache-control", cache_control.to_owned())],
        body: vec![body],
        gated: false,
        breaks: false,
    }
}

impl Reply {
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub fn gated(mut self) -> Self {
        self.gated = true;
        self
    }
}

/// A cache, an app and a clock.
#[derive(Clone)]
pub struct World {
    pub cache: Cache,
    pub policy: CachePolicy,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// The fields of the requests that reached the app.
    pub seen: Arc<Mutex<Vec<HeaderMap>>>,
    pub gate: Arc<Semaphore>,
    now: Arc<Mutex<SystemTime>>,
}

impl World {
    pub fn new() -> Self {
        Self::with_policy(CachePolicy::default())
    }

    pub fn with_policy(policy: CachePolicy) -> Self {
        let now = Arc::new(Mutex::new(UNIX_EPOCH + Duration::from_secs(1_795_600_000)));
        let clock = Arc::clone(&now);
        Self {
            cache: Cache::new(64 << 20, Arc::new(move || *clock.lock().unwrap())),
            policy,
            replies: Arc::default(),
            seen: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            now,
        }
    }

    pub fn replies(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    pub fn pass(&self, seconds: u64) {
        *self.now.lock().unwrap() += Duration::from_secs(seconds);
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits until so many requests have reached the app.
    pub async fn reached(&self, count: usize) {
        while self.requests() < count {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until nothing that could run has anything left to do.
    pub async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub async fn ask(&self, method: Method, target: &str, fields: &[(&str, &str)]) -> Result<Outcome, FetchError> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let ask = ask(&method, target, &headers, self.policy);
        let app = self.clone();
        self.cache.handle(&ask, |fields| app.fetch(fields)).await
    }

    pub async fn get(&self, fields: &[(&str, &str)]) -> Got {
        match self.ask(Method::GET, "/", fields).await.unwrap() {
            Outcome::Answer(answer) => Got::read(answer).await,
            other => panic!("no answer: {other:?}"),
        }
    }

    /// What `/` answers, in one word and its status: what was done, and the body.
    pub async fn get_text(&self) -> String {
        self.get(&[]).await.text
    }

    pub async fn fetch(self, fields: HeaderMap) -> Result<Fetched, FetchError> {
        self.seen.lock().unwrap().push(fields);
        let reply = self.replies.lock().unwrap().pop_front().expect("the app has no answer left");
        let wait = |gate: Arc<Semaphore>| async move { gate.acquire().await.unwrap().forget() };
        if reply.gated {
            wait(Arc::clone(&self.gate)).await;
        }
        if reply.status == 0 {
            return Err(FetchError::new(Unanswered::Broken, &"the app is not there"));
        }
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = StatusCode::from_u16(reply.status).unwrap();
        for (name, value) in &reply.fields {
            head.headers.append(*name, value.parse().unwrap());
        }
        let end = reply.breaks.then(|| Err(FetchError::new(Unanswered::Broken, &"broken off")));
        let pieces = reply.body.into_iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).chain(end);
        let gate = self.gate;
        let body = futures::stream::iter(pieces).then(move |piece| {
            let gate = Arc::clone(&gate);
            async move {
                if reply.gated {
                    gate.acquire().await.unwrap().forget();
                }
                piece
            }
        });
        Ok(Fetched { head, body: body.boxed() })
    }
}

pub fn ask<'a>(method: &'a Method, target: &'a str, headers: &'a HeaderMap, policy: CachePolicy) -> Ask<'a> {
    Ask {
        project: "shop",
        deployment: "dep_1",
        scheme: "https",
        host: "shop.example",
        port: None,
        target,
        method,
        headers,
        policy,
    }
}

/// An answer that was read.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub whole: bool,
}

impl Got {
    pub async fn read(mut answer: Answer) -> Self {
        let mut text = String::new();
        let whole = loop {
            match answer.body.next().await {
                Ok(Some(piece)) => text += std::str::from_utf8(&piece).unwrap(),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        Self { status: answer.head.status.as_u16(), headers: answer.head.headers, text, whole }
    }

    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// `Cache-Status` without the cache's name.
    pub fn cache(&self) -> &str {
        self.field("cache-status").strip_prefix("AstroCloud; ").unwrap()
    }
}
