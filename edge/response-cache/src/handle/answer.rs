//! The answer that a visitor gets, in the form that the request asks for.

use std::time::SystemTime;

use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{Answer, Request};
use crate::body::Body;
use crate::entry::Entry;
use crate::fill::{Reader, Streaming};
use crate::range::{self, Part};
use crate::status::{Forward, Status};
use crate::validate;

impl Request<'_> {
    pub(super) fn hit(&self, entry: &Entry, now: SystemTime) -> Answer {
        self.answer_of(entry, Status::hit(entry.head.life.ttl(now)), now)
    }

    /// The answer out of a kept one, in the form that the request asks for.
    pub(super) fn answer_of(&self, entry: &Entry, status: Status, now: SystemTime) -> Answer {
        let mut head = parts(entry.head.status, entry.head.headers.clone());
        head.headers.insert(header::AGE, entry.head.life.age(now).as_secs().into());
        status.add_to(&mut head.headers);
        if head.status.is_success() && validate::is_unmodified(self.ask.headers, &entry.head.headers, now) {
            return not_modified(head, status);
        }
        let mut part = 0..entry.length;
        if head.status == StatusCode::OK && *self.ask.method == Method::GET {
            match range::asked(self.ask.headers, &entry.head.headers, entry.length) {
                Part::Whole => {}
                Part::Bytes(asked) => {
                    head.status = StatusCode::PARTIAL_CONTENT;
                    head.headers.insert(header::CONTENT_RANGE, range::content_range(Some(&asked), entry.length));
                    part = asked;
                }
                Part::Unsatisfiable => {
                    head.status = StatusCode::RANGE_NOT_SATISFIABLE;
                    head.headers.insert(header::CONTENT_RANGE, range::content_range(None, entry.length));
                    part = 0..0;
                }
            }
        }
        if head.status != StatusCode::NO_CONTENT {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
        }
        let is_head = *self.ask.method == Method::HEAD;
        let body = if is_head { Body::empty() } else { Body::kept(&entry.body, part) };
        Answer { head, body, status }
    }

    /// The answer out of one that is being read.
    pub(super) fn answer_of_stream(
        &self,
        streaming: &Streaming,
        reader: Reader,
        why: Forward,
        collapsed: bool,
    ) -> Answer {
        let now = self.cache.now();
        let shared = streaming.kept.as_ref().filter(|_| collapsed);
        let headers = shared.map_or(&streaming.headers, |head| &head.headers);
        let mut head = parts(streaming.status, headers.clone());
        let forward_status = (streaming.status == StatusCode::NOT_MODIFIED).then_some(304);
        let life = streaming.kept.as_ref().map(|head| &head.life);
        let ttl = life.map(|life| life.ttl(now));
        let status = Status { stored: life.is_some(), collapsed, ttl, forward_status, ..Status::forwarded(why) };
        if let Some(age) = life.map(|life| life.age(now).as_secs()).filter(|age| *age > 0) {
            head.headers.insert(header::AGE, age.into());
        }
        status.add_to(&mut head.headers);
        if head.status.is_success() && validate::is_unmodified(self.ask.headers, &streaming.headers, now) {
            return not_modified(head, Status { forward_status: Some(streaming.status.as_u16()), ..status });
        }
        Answer { head, body: Body::growing(reader), status }
    }
}

fn not_modified(mut head: Parts, status: Status) -> Answer {
    head.status = StatusCode::NOT_MODIFIED;
    validate::strip_for_304(&mut head.headers);
    Answer { head, body: Body::empty(), status }
}

fn parts(status: StatusCode, headers: HeaderMap) -> Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = status;
    head.headers = headers;
    head
}
