//! gRPC: apps that speak HTTP/2 without TLS, with trailers and streams in both directions.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use common::id::DeploymentId;
use common::policy::Policy;
use common::route::{Route, Target};
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::testkit::{World, route, soon};

/// A request as the app got it, and the way back.
type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// An app whose requests the test answers.
struct App {
    addr: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok(request)) = connection.accept().await {
                        // The test may be over.
                        let _ = tell.send(request);
                    }
                });
            }
        });
        Self { addr, asked }
    }

    async fn asked(&mut self) -> Asked {
        soon(self.asked.recv()).await.unwrap()
    }
}

async fn world() -> (World, App, SendRequest<Bytes>) {
    let world = World::start().await;
    let app = App::start().await;
    let policy: Policy = serde_json::from_str(r#"{"app": {"protocol": "h2c"}}"#).unwrap();
    let target = Target::App { upstreams: vec![app.addr], unavailable: None, wakes: false };
    world.tell(vec![Route { policy: Arc::new(policy), ..route("app", &DeploymentId::new(), target) }]).await;
    let socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    (world, app, client)
}

fn call() -> Request<()> {
    Request::post("http://app.localhost/shop.Orders/Watch")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "10S")
        .body(())
        .unwrap()
}

fn started() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

/// A message as gRPC frames it.
fn message(text: &str) -> Bytes {
    let mut framed = vec![0];
    framed.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    framed.extend(text.as_bytes());
    framed.into()
}

fn send(stream: &mut SendStream<Bytes>, text: &str) {
    stream.send_data(message(text), false).unwrap();
}

/// The next message of a body.
async fn next(body: &mut RecvStream, expected: &str) {
    let mut framed = Vec::new();
    while framed.len() < expected.len() + 5 {
        let piece = soon(body.data()).await.unwrap().unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        framed.extend_from_slice(&piece);
    }
    assert_eq!(framed, message(expected));
}

fn status(code: &str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

#[tokio::test]
async fn messages_pass_in_both_directions_while_both_go_on_and_the_status_comes_last() {
    let (_world, mut app, client) = world().await;
    let (answer, mut upload) = soon(client.ready()).await.unwrap().send_request(call(), false).unwrap();
    let (request, mut respond) = app.asked().await;
    assert_eq!(request.uri().path(), "/shop.Orders/Watch");
    assert_eq!(request.headers()["te"], "trailers", "without it a server takes the edge for unfit");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["grpc-timeout"], "10S");
    let mut received = request.into_body();
    let mut download = respond.send_response(started(), false).unwrap();
    let (head, mut body) = soon(answer).await.unwrap().into_parts();
    assert_eq!((head.status.as_u16(), head.headers["content-type"].to_str().unwrap()), (200, "application/grpc"));
    for text in ["one", "two", "three"] {
        send(&mut upload, text);
        next(&mut received, text).await;
        send(&mut download, text);
        next(&mut body, text).await;
    }
    upload.send_data(Bytes::new(), true).unwrap();
    assert!(soon(received.data()).await.is_none_or(|piece| piece.unwrap().is_empty()));
    download.send_trailers(status("0")).unwrap();
    assert!(soon(body.data()).await.is_none_or(|piece| piece.unwrap().is_empty()));
    assert_eq!(soon(body.trailers()).await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn an_error_without_any_message_arrives_with_its_status() {
    let (_world, mut app, client) = world().await;
    let (answer, _) = soon(client.ready()).await.unwrap().send_request(call(), true).unwrap();
    let (_, mut respond) = app.asked().await;
    let mut head = started();
    head.headers_mut().extend(status("12"));
    respond.send_response(head, true).unwrap();
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12");
    assert!(answer.body().is_end_stream() || soon(answer.into_body().data()).await.is_none());
}

#[tokio::test]
async fn a_call_that_the_visitor_gives_up_ends_at_the_app() {
    let (_world, mut app, client) = world().await;
    let (answer, mut upload) = soon(client.ready()).await.unwrap().send_request(call(), false).unwrap();
    send(&mut upload, "one");
    let (request, _respond) = app.asked().await;
    let mut received = request.into_body();
    next(&mut received, "one").await;
    upload.send_reset(Reason::CANCEL);
    drop(answer);
    assert!(soon(received.data()).await.is_none_or(|piece| piece.is_err()));
}

#[tokio::test]
async fn a_call_that_the_app_breaks_off_is_seen_to_be_broken() {
    let (_world, mut app, client) = world().await;
    let (answer, _upload) = soon(client.ready()).await.unwrap().send_request(call(), false).unwrap();
    let (_request, mut respond) = app.asked().await;
    let mut download = respond.send_response(started(), false).unwrap();
    send(&mut download, "one");
    let mut body = soon(answer).await.unwrap().into_body();
    next(&mut body, "one").await;
    download.send_reset(Reason::INTERNAL_ERROR);
    assert!(soon(body.data()).await.unwrap().is_err());
}

#[tokio::test]
async fn calls_at_once_do_not_wait_for_each_other() {
    let (_world, mut app, client) = world().await;
    let mut calls = Vec::new();
    for text in ["a", "b", "c"] {
        let (answer, mut upload) = soon(client.clone().ready()).await.unwrap().send_request(call(), false).unwrap();
        send(&mut upload, text);
        let (request, respond) = app.asked().await;
        let mut received = request.into_body();
        next(&mut received, text).await;
        calls.push((answer, upload, respond, text));
    }
    for (answer, _upload, mut respond, text) in calls.into_iter().rev() {
        let mut download = respond.send_response(started(), false).unwrap();
        send(&mut download, text);
        download.send_trailers(status("0")).unwrap();
        let mut body = soon(answer).await.unwrap().into_body();
        next(&mut body, text).await;
    }
}
