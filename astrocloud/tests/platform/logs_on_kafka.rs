//! Logs on Kafka, from a build to who watches it.

use std::time::Instant;

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::Value;
use testkit::tansu::Tansu;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::{Platform, until};

/// A site whose build prints so many lines.
fn chatty(lines: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let build = format!(
        "let text=''; for (let n=1;n<={lines};n++) text+=`line ${{n}} of what a build says\\n`; \
         require('fs').writeSync(1, text); require('fs').mkdirSync('dist'); \
         require('fs').writeFileSync('dist/index.html', 'built');"
    );
    std::fs::write(folder.path().join("build.cjs"), build).unwrap();
    let package = r#"{"name":"chatty","private":true,"scripts":{"build":"node build.cjs"}}"#;
    std::fs::write(folder.path().join("package.json"), package).unwrap();
    folder
}

/// Builds a deployment's source again and follows the log over a WebSocket: the new deployment, and lines a second between
/// the first and the last that the build says.
async fn followed(platform: &Platform, deployment: &str, lines: u64) -> (String, f64) {
    let asked = platform.api(Method::POST, &format!("/deployments/{deployment}/redeploy")).await;
    let id = asked["id"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let mut url = platform.ready.api_url.join(&format!("/api/v1/deployments/{id}/logs")).unwrap();
    url.set_scheme("ws").unwrap();
    let mut request = url.as_str().into_client_request().unwrap();
    let token = format!("Bearer {}", platform.ready.api_token);
    request.headers_mut().insert("authorization", token.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let (mut texts, mut began, mut ended) = (Vec::<String>::new(), None, Instant::now());
    loop {
        let message: Value = match socket.next().await.unwrap().unwrap() {
            tokio_tungstenite::tungstenite::Message::Text(text) => serde_json::from_str(&text).unwrap(),
            _ => continue,
        };
        if message["type"] == "end" {
            break;
        }
        for record in message["records"].as_array().into_iter().flatten() {
            assert_eq!(record["seq"].as_u64().unwrap(), texts.len() as u64 + 1);
            let text = record["text"].as_str().unwrap();
            if text.ends_with("of what a build says") {
                began.get_or_insert_with(Instant::now);
                ended = Instant::now();
            }
            texts.push(text.to_owned());
        }
    }
    let said = texts.into_iter().filter(|text| text.ends_with("of what a build says"));
    assert!(said.eq((1..=lines).map(|n| format!("line {n} of what a build says"))));
    (id, lines as f64 / ended.duration_since(began.unwrap()).as_secs_f64())
}

fn on_kafka(broker: &Tansu) -> String {
    format!("kafka://{}/astrocloud", broker.address())
}

#[tokio::test]
async fn a_build_on_kafka_is_followed_to_its_end_and_read_after_a_restart() {
    let broker = Tansu::start();
    let platform = Platform::start_with(&[("ASTROCLOUD_LOGS_URL", &on_kafka(&broker))]).await;
    let site = chatty(3000);
    let first = platform.deploy_live(site.path(), "chatty", &[]).await;
    let (second, _) = followed(&platform, first["deployment"].as_str().unwrap(), 3000).await;
    // What a kill took of the copy is read from the broker again, and then history needs no broker.
    let platform = platform.kill_and_restart().await;
    let whole = |log: &str| log.contains("line 3000 of what a build says") && log.contains("Live at");
    until("the log is there again", || async { whole(&platform.build_log(&second).await).then_some(()) }).await;
    broker.kill();
    assert!(whole(&platform.build_log(&second).await));
}

/// Prints how many lines a second get from a build to a client, on Kafka and on files, in turns.
#[tokio::test]
#[ignore = "a measurement"]
async fn lines_a_second_from_a_build_to_a_client() {
    const LINES: u64 = 100_000;
    let broker = Tansu::start();
    let url = on_kafka(&broker);
    let kafka = Platform::start_with(&[("ASTROCLOUD_LOGS_URL", &url)]).await;
    let files = Platform::start().await;
    let site = chatty(LINES);
    let deployed = async |platform: &Platform| {
        platform.deploy_live(site.path(), "chatty", &[]).await["deployment"].as_str().unwrap().to_owned()
    };
    let (first_on_kafka, first_on_files) = (deployed(&kafka).await, deployed(&files).await);
    for round in 1..=3 {
        let on_kafka = followed(&kafka, &first_on_kafka, LINES).await.1;
        let on_files = followed(&files, &first_on_files, LINES).await.1;
        println!("round {round}: Kafka {on_kafka:.0}/s, files {on_files:.0}/s, ratio {:.2}", on_kafka / on_files);
    }
}
