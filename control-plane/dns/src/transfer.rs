//! Zones for secondaries: AXFR (RFC 5936), IXFR answered by the whole zone (RFC 1995 4).

use std::sync::Arc;

use crate::{
    answer::{Answers, IXFR},
    query::Query,
    reply::{Code, Reply, Section},
    tsig::Exchange,
    whole,
    zone::Zone,
};

/// Bytes of a transfer's message after which the next is begun: well below 64 KiB, whatever the next record is.
const MESSAGE: usize = 32 * 1024;
/// The zone that a transfer asks for.
///
/// # Errors
/// The code to answer with.
pub(crate) fn begin(answers: &Answers, query: &Query<'_>, allowed: bool) -> Result<Arc<Zone>, Code> {
    answers.zone(&query.name().to_ascii_lowercase()).filter(|_| allowed).ok_or(Code::Refused)
}

/// The messages of a transfer, each behind two bytes for its length, at `now` in seconds since 1970; signed ones when
/// the question was. A signed zone's signatures are made here, all of them: call it where that may take its time.
///
/// # Errors
/// The code to answer with.
pub(crate) fn messages(
    answers: &Answers,
    zone: &Zone,
    query: &Query<'_>,
    mut exchange: Option<Exchange>,
    now: u64,
) -> Result<Vec<Vec<u8>>, Code> {
    let mut lines = whole::lines(answers, zone, now).map_err(|error| {
        tracing::error!(%error, "a zone can't be signed for a transfer");
        Code::ServFail
    })?;
    if query.kind == IXFR && query.serial == Some(zone.serial()) {
        // A secondary that has this serial gets the SOA alone (RFC 1995 2).
        lines.truncate(1);
    } else {
        lines.extend(lines.first().cloned());
    }
    let mut lines = lines.iter().peekable();
    let mut messages = Vec::new();
    while lines.peek().is_some() {
        let mut out = vec![0, 0];
        let mut reply = Reply::new(&mut out, query, zone.apex(), false);
        let mut bytes = 0;
        while bytes < MESSAGE
            && let Some(line) = lines.next()
        {
            reply.record(Section::Answer, &line.owner, line.kind, line.ttl, &line.data);
            bytes += line.owner.len() + line.data.len() + 10;
        }
        reply.finish(query, Code::NoError, true);
        if let Some(exchange) = &mut exchange {
            exchange.sign(&mut out, 2, now);
        }
        messages.push(out);
    }
    Ok(messages)
}
