//! The part of the tests' kubelet that tells logs, as the API server asks a node for them:
//! `GET /containerLogs/NAMESPACE/POD/CONTAINER?follow=true&previous=true&timestamps=true&sinceTime=…&tailLines=…`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// The logs of all pods.
#[derive(Default)]
pub struct Logs {
    pods: Mutex<HashMap<String, Containers>>,
}

/// A pod's containers, one after the other.
struct Containers {
    name: String,
    all: Vec<(u32, Out)>,
}

/// What one container said.
#[derive(Clone)]
pub struct Out(Arc<watch::Sender<Said>>);

#[derive(Default)]
struct Said {
    lines: Vec<(jiff::Timestamp, String)>,
    ended: bool,
}

impl Out {
    pub fn line(&self, text: String) {
        self.0.send_modify(|said| said.lines.push((jiff::Timestamp::now(), text)));
    }
}

impl Logs {
    pub fn begin(&self, pod: &Pod, number: u32) -> Out {
        let out = Out(Arc::new(watch::Sender::new(Said::default())));
        let mut pods = self.pods.lock().unwrap();
        let name = format!("{}/{}", pod.namespace().unwrap(), pod.name_any());
        let containers = pods.entry(pod.uid().unwrap()).or_insert_with(|| Containers { name, all: Vec::new() });
        containers.all.push((number, out.clone()));
        out
    }

    pub fn end(&self, uid: &str, number: u32) {
        if let Some((_, out)) =
            self.pods.lock().unwrap().get(uid).and_then(|c| c.all.iter().find(|(n, _)| *n == number))
        {
            out.0.send_modify(|said| said.ended = true);
        }
    }

    pub fn close(&self, uid: &str) {
        if let Some(containers) = self.pods.lock().unwrap().get(uid) {
            containers.all.iter().for_each(|(_, out)| out.0.send_modify(|said| said.ended = true));
        }
    }

    /// The present container's log, or the one's before it.
    fn of(&self, pod: &str, previous: bool) -> Option<Out> {
        let pods = self.pods.lock().unwrap();
        let containers = pods.values().find(|containers| containers.name == pod)?;
        let from_end = usize::from(previous);
        // While a pod waits for its next container the last one is the present one; it counts as previous too.
        let (_, last) = containers.all.last()?;
        if previous && last.0.borrow().ended {
            return Some(last.clone());
        }
        containers.all.iter().rev().nth(from_end).map(|(_, out)| out.clone())
    }
}

/// Serves the logs; returns the port.
pub async fn serve(logs: Arc<Logs>, tls: &Path) -> u16 {
    let certificate = CertificateDer::from_pem_file(tls.join("tls.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(tls.join("tls.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (logs, acceptor) = (logs.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let _ = answer(&logs, &target, &mut stream).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

async fn answer(logs: &Logs, target: &str, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let url = url::Url::parse(&format!("https://node{target}")).unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let is = |name: &str| query.get(name).is_some_and(|value| value == "true");
    let path: Vec<&str> = url.path().trim_matches('/').split('/').collect();
    let out = match path[..] {
        ["containerLogs", namespace, pod, _] => logs.of(&format!("{namespace}/{pod}"), is("previous")),
        _ => None,
    };
    let Some(out) = out else {
        return to
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 12\r\n\r\nno such log\n")
            .await;
    };
    to.write_all(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await?;
    let since: Option<jiff::Timestamp> = query.get("sinceTime").and_then(|time| time.parse().ok());
    let mut said = out.0.subscribe();
    let tail = query.get("tailLines").and_then(|lines| lines.parse::<usize>().ok());
    let mut from = tail.map_or(0, |tail| said.borrow().lines.len().saturating_sub(tail));
    loop {
        let (text, ended) = {
            let said = said.borrow_and_update();
            let new = said.lines[from..].iter().filter(|(time, _)| since.is_none_or(|since| *time >= since));
            let text: String = new
                .map(|(time, line)| if is("timestamps") { format!("{time:.9} {line}\n") } else { format!("{line}\n") })
                .collect();
            from = said.lines.len();
            (text, said.ended)
        };
        if !text.is_empty() {
            to.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await?;
            to.flush().await?;
        }
        if ended || !is("follow") || said.changed().await.is_err() {
            return to.write_all(b"0\r\n\r\n").await;
        }
    }
}
