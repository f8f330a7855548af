//! The control plane over HTTPS.

use std::net::SocketAddr;
use std::sync::Arc;

use edge::Config;
use futures::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::testkit::{World, file, soon, start_edge};

/// Puts TLS in front of the world's control plane; gives the certificate, and counts handshakes that the edge broke off.
fn secure(config: &mut Config) -> (String, watch::Receiver<u32>) {
    let behind: SocketAddr = config.feed.socket_addrs(|| None).unwrap()[0];
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    config.feed = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let (tell, refused) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            tokio::spawn(async move {
                let mut to = TcpStream::connect(behind).await.unwrap();
                match acceptor.accept(socket).await {
                    Ok(mut from) => drop(tokio::io::copy_bidirectional(&mut from, &mut to).await),
                    Err(_) => tell.send_modify(|count| *count += 1),
                }
            });
        }
    });
    (made.cert.pem(), refused)
}

#[tokio::test]
async fn routes_come_over_https_from_a_control_plane_whose_ca_is_named() {
    let trusted = tempfile::tempdir().unwrap();
    let ca = trusted.path().join("ca.pem");
    let world = World::start_with(|config| {
        std::fs::write(&ca, secure(config).0).unwrap();
        config.feed_ca = Some(ca.clone());
    })
    .await;
    world.site("shop", vec![file("/index.html", "shop")], false).await;
    assert_eq!(world.get("shop", "/").send().await.unwrap().text().await.unwrap(), "shop");
}

#[tokio::test]
async fn a_control_plane_that_nobody_vouches_for_is_not_believed() {
    let world = World::start().await;
    let mut config = world.config();
    let (_, mut refused) = secure(&mut config);
    config.folder = world.folder.path().join("other");
    let edge = start_edge(config, &world.store);
    // It tries again, and is never connected.
    soon(refused.wait_for(|count| *count >= 2)).await.unwrap();
    assert!(edge.connected().now_or_never().is_none());
}
