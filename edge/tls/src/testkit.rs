//! Certificates, a source of them, and visitors.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::certificate::Certificate;
use common::secret::{MasterKey, Secret};
use common::time::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio::sync::Semaphore;

use crate::certificates::{Certificates, Source, SourceError};
use crate::settings::Settings;
use crate::tickets::TicketKeeper;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority that visitors trust.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(&self, id: &str, names: &[&str]) -> Certificate {
        self.issue_for(id, names, &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    pub(crate) fn issue_for(&self, id: &str, names: &[&str], key: &KeyPair) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = CertificateParams::new(names).unwrap().signed_by(key, &self.0).unwrap();
        Certificate {
            id: id.to_owned(),
            chain_pem: own.pem(),
            key_pem: Secret::new(key.serialize_pem()),
            not_after: Timestamp::now().after(DAY),
            ocsp: None,
        }
    }

    pub(crate) fn der(&self) -> rustls::pki_types::CertificateDer<'static> {
        self.0.der().clone()
    }
}

/// A source out of memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) all: Mutex<HashMap<String, Certificate>>,
    pub(crate) fetches: AtomicUsize,
    /// Answers pass one by one; closed while all pass.
    pub(crate) gate: Semaphore,
}

impl Memory {
    pub(crate) fn new(certificates: Vec<Certificate>) -> Arc<Self> {
        let gate = Semaphore::new(0);
        gate.close();
        let all = certificates.into_iter().map(|c| (c.id.clone(), c)).collect();
        Arc::new(Self { all: Mutex::new(all), fetches: AtomicUsize::new(0), gate })
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    pub(crate) fn put(&self, certificate: Certificate) {
        self.all.lock().unwrap().insert(certificate.id.clone(), certificate);
    }

    pub(crate) fn take(&self, id: &str) {
        self.all.lock().unwrap().remove(id);
    }
}

#[async_trait]
impl Source for Memory {
    async fn fetch(&self, id: &str) -> Result<Certificate, SourceError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        if let Ok(pass) = self.gate.acquire().await {
            pass.forget();
        }
        self.all.lock().unwrap().get(id).cloned().ok_or(SourceError::Unknown)
    }
}

pub(crate) fn settings(folder: &Path) -> Settings {
    let keeper = TicketKeeper::open(folder.to_owned(), master(folder)).unwrap();
    Settings::new(keeper.tickets())
}

pub(crate) fn master(folder: &Path) -> MasterKey {
    MasterKey::load_or_create(&folder.join("key")).unwrap()
}

/// Certificates of a folder and a source.
pub(crate) fn certificates(folder: &Path, source: &Arc<Memory>) -> Certificates {
    let source = Arc::<Memory>::clone(source);
    Certificates::open(folder.join("certificates"), master(folder), source, settings(folder), 1 << 20).unwrap()
}

/// A response in base64 that says `good` until some time, as short as the form allows.
pub(crate) fn ocsp_response(until: Option<Timestamp>) -> String {
    let der = |tag: u8, parts: &[&[u8]]| {
        let value = parts.concat();
        [&[tag, u8::try_from(value.len()).ok().filter(|l| *l < 128).unwrap()], &value[..]].concat()
    };
    let text = |time: Timestamp| {
        let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap();
        der(0x18, &[time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
    };
    let now = text(Timestamp::now());
    let until = until.map_or(Vec::new(), |until| der(0xA0, &[&text(until)]));
    let answer = der(0x30, &[&der(0x30, &[]), &[0x80, 0], &now, &until]);
    let data = der(0x30, &[&der(0xA2, &[&[4, 0]]), &now, &der(0x30, &[&answer])]);
    let basic = der(0x30, &[&data, &der(0x30, &[]), &[3, 1, 0]]);
    // id-pkix-ocsp-basic
    let kind = [6, 9, 0x2B, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let whole = der(0x30, &[&[0x0A, 1, 0], &der(0xA0, &[&der(0x30, &[&kind, &der(4, &[&basic])])])]);
    STANDARD.encode(whole)
}
