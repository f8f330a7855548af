use chromiumoxide::cdp::browser_protocol::network::{EnableParams, EventWebSocketHandshakeResponseReceived};
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::browser::Browser;
use crate::support::{PATIENCE, Platform, folder, within};

/// An app whose page opens a WebSocket to it when it is asked to, and which sends back what comes.
fn echo() -> tempfile::TempDir {
    folder(&[
        (
            "package.json",
            r#"{ "name": "echo", "scripts": { "start": "node server.js" }, "dependencies": { "ws": "^8.18.0" } }"#,
        ),
        (
            "server.js",
            r#"
const page = `<!doctype html><title>Echo</title><body>ready</body><script>
function speak() {
  const socket = new WebSocket("wss://" + location.host + "/");
  socket.onopen = () => socket.send("over and out");
  socket.onmessage = (event) => { document.body.innerText = "echo: " + event.data; socket.close(); };
  socket.onerror = () => { document.body.innerText = "it does not open"; };
}
</script>`;
const { WebSocketServer } = require("ws");
const http = require("http").createServer((_, answer) => {
  answer.setHeader("content-type", "text/html");
  answer.end(page);
});
const server = new WebSocketServer({ server: http });
server.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
http.listen(process.env.PORT);
"#,
        ),
    ])
}

#[tokio::test]
async fn a_websocket_echoes_through_the_edge() {
    let platform = Platform::start().await;
    platform.deploy_live(echo().path(), "echo", &[]).await;
    let port = platform.ready.http_url.port().unwrap();
    let mut request = format!("ws://127.0.0.1:{port}/").into_client_request().unwrap();
    request.headers_mut().insert("host", format!("echo.localhost:{port}").parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    for text in ["hello", "grüße", &"x".repeat(100_000)] {
        socket.send(Message::text(text)).await.unwrap();
        let echoed = within(PATIENCE, socket.next()).await.unwrap().unwrap();
        assert_eq!(echoed.into_text().unwrap(), text);
    }
}

/// A browser that has a connection of HTTP/2 opens it on a stream of that (RFC 8441): the answer is 200 then, not 101.
#[tokio::test]
#[ignore = "on a machine under load, the echo of one in ten does not arrive; the cause is not known yet"]
async fn a_browser_opens_a_websocket_on_a_stream_of_its_connection() {
    let platform = Platform::start().await;
    platform.deploy_live(echo().path(), "echo", &[]).await;
    let browser = Browser::start_with(&["--ignore-certificate-errors"]).await;
    let port = platform.ready.https_url.port().unwrap();
    let tab = browser.open(&format!("https://echo.localhost:{port}/")).await;
    tab.says("ready").await;
    tab.page.execute(EnableParams::default()).await.unwrap();
    let mut opened = tab.page.event_listener::<EventWebSocketHandshakeResponseReceived>().await.unwrap();
    tab.page.evaluate("speak()").await.unwrap();
    tab.says("echo: over and out").await;
    assert_eq!(within(PATIENCE, opened.next()).await.unwrap().response.status, 200);
    assert!(tab.errors().is_empty(), "{:?}", tab.errors());
    browser.close().await;
}
