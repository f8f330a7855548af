//! From the spool to Kafka, in order.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connect::{Broker, said};
use crate::message::{Head, partition};
use crate::spool::{Spool, Waiting};
use crate::status::{Context, RECONNECT, Status};

/// What is on its way to the broker at one time, bytes: several full requests to each of some brokers.
const WINDOW: u64 = 16 << 20;
/// Read from the spool at once, bytes.
const READ: u64 = 1 << 20;
/// After so long without a confirmation the broker is said to be away.
const STALL: Duration = Duration::from_secs(3);
/// First pause after something that the broker refused; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Sends what is in the spool, and what comes, until `stop`.
pub(crate) async fn run(broker: Broker, spool: Arc<Spool>, status: Arc<Status>, stop: CancellationToken) {
    let mut pause = PAUSE_FIRST;
    loop {
        let before = spool.levels().borrow().delivered;
        let ended = tokio::select! {
            ended = send(&broker, &spool, &status) => ended,
            () = stop.cancelled() => return,
        };
        let Err(reason) = ended;
        if spool.levels().borrow().delivered > before {
            pause = PAUSE_FIRST;
        }
        status.fails(reason, pause);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

type Sent = (u64, u64, Result<(), KafkaError>);

/// Sends until something fails; then everything that is not confirmed is to be sent again.
async fn send(broker: &Broker, spool: &Arc<Spool>, status: &Arc<Status>) -> Result<std::convert::Infallible, String> {
    broker.topics(status).await?;
    let producer: FutureProducer<Context> =
        broker.producer().create_with_context(Context(status.clone())).map_err(|e| e.to_string())?;
    let mut levels = spool.levels();
    let mut at = levels.borrow().delivered;
    let mut on_the_way: FuturesOrdered<BoxFuture<'static, Sent>> = FuturesOrdered::new();
    let mut bytes = 0;
    let mut confirmed = Instant::now();
    loop {
        let more = levels.borrow_and_update().written > at;
        if more && bytes < WINDOW {
            for Waiting { end, bytes: message } in read(spool, at).await? {
                if on_the_way.is_empty() {
                    confirmed = Instant::now();
                }
                bytes += end - at;
                on_the_way.push_back(start(broker, &producer, end, end - at, &message));
                at = end;
            }
        }
        tokio::select! {
            Some((end, size, result)) = on_the_way.next() => {
                result.map_err(|e| refused(&e))?;
                bytes -= size;
                confirmed = Instant::now();
                status.works();
                // Several at once: a file is touched for all that are confirmed by now.
                let mut last = end;
                while let Some(Some((end, size, result))) = futures::FutureExt::now_or_never(on_the_way.next()) {
                    if let Err(e) = result {
                        delivered(spool, last).await?;
                        return Err(refused(&e));
                    }
                    bytes -= size;
                    last = end;
                }
                delivered(spool, last).await?;
            }
            _ = levels.changed(), if bytes < WINDOW => {}
            () = tokio::time::sleep_until(confirmed + STALL), if !on_the_way.is_empty() => {
                let silent = KafkaError::MessageProduction(RDKafkaErrorCode::RequestTimedOut);
                status.fails(said(status, &silent), RECONNECT);
                confirmed = Instant::now();
            }
        }
    }
}

async fn read(spool: &Arc<Spool>, at: u64) -> Result<Vec<Waiting>, String> {
    let spool = spool.clone();
    let read = tokio::task::spawn_blocking(move || spool.read(at, READ)).await;
    let waiting = read.map_err(|e| e.to_string())?.map_err(|e| format!("the spool of log lines can't be read: {e}"))?;
    if waiting.is_empty() { Err("the spool of log lines lost a file".to_owned()) } else { Ok(waiting) }
}

async fn delivered(spool: &Arc<Spool>, end: u64) -> Result<(), String> {
    let spool = spool.clone();
    let noted = tokio::task::spawn_blocking(move || spool.deliver(end)).await;
    noted.map_err(|e| e.to_string())?.map_err(|e| format!("the spool of log lines can't be emptied: {e}"))
}

/// Hands a message to the library, which keeps the order of these calls.
fn start(
    broker: &Broker,
    producer: &FutureProducer<Context>,
    end: u64,
    size: u64,
    message: &[u8],
) -> BoxFuture<'static, Sent> {
    let head: Head = match serde_json::from_slice(message) {
        Ok(head) => head,
        Err(e) => {
            // The disk gave back something else than was written; what follows it is whole.
            tracing::error!(error = %e, bytes = message.len(), "a damaged message of the spool is left out");
            return Box::pin(async move { (end, size, Ok(())) });
        }
    };
    let topic = broker.topic(head.kind);
    let record = FutureRecord::to(&topic)
        .partition(i32::try_from(partition(&head.deployment, broker.partitions)).unwrap_or(0))
        .key(head.deployment.as_str())
        .payload(message);
    match producer.send_result(record) {
        Ok(delivery) => Box::pin(async move {
            let result = match delivery.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err((e, _))) => Err(e),
                Err(_) => Err(KafkaError::Canceled),
            };
            (end, size, result)
        }),
        Err((e, _)) => Box::pin(async move { (end, size, Err(e)) }),
    }
}

/// What a broker's refusal means to an operator.
fn refused(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "Kafka refused a message as too large: set message.max.bytes of the topics to 1 MB or more".to_owned()
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            "Kafka does not allow this user to write to the topics: allow Write and IdempotentWrite".to_owned()
        }
        _ => format!("Kafka refused a message: {error}"),
    }
}
