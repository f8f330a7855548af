//! What the doctor is told of a domain.

use common::domain::{Expected as Records, RecordKind};
use common::signs;
use common::time::Timestamp;
use doctor::expected::ProofKind;
use doctor::{EdgeSigns, Expected, Proof, Report};
use lookup::Name;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::{DomainError, Domains, certificate};
use crate::certificates::Certificates;
use crate::store::domains::DomainRow;

impl Domains {
    /// Names what is wrong with a domain, and the records that mend it. It changes nothing.
    pub(crate) async fn examine(&self, certificates: &Certificates, row: &DomainRow) -> Result<Report, DomainError> {
        if row.name.is_local() {
            return Ok(Report::healthy(row.name.as_str()));
        }
        let expected = self.expected(certificates, row).await?;
        Ok(Box::pin(self.0.examiners.doctor.examine(row.name.as_str(), &expected)).await)
    }

    async fn expected(&self, certificates: &Certificates, row: &DomainRow) -> Result<Expected, DomainError> {
        let records = self.records(row);
        let methods = certificate::methods(&row.name);
        Ok(Expected {
            targets: vec![format!("{}.{}", row.project_name, self.0.base_domain)],
            addresses: self.0.config.addresses.clone(),
            proofs: proof(&records).into_iter().collect(),
            authorities: self.0.issuing.in_caa(&methods).await,
            edge: Some(EdgeSigns { server: signs::SERVER.to_owned(), header: signs::DEPLOYMENT.to_owned() }),
            certificates: self.fingerprints(certificates, row).await?,
        })
    }

    /// SHA-256 of the certificate that edges have for a domain; none while they have none.
    async fn fingerprints(
        &self,
        certificates: &Certificates,
        row: &DomainRow,
    ) -> Result<Option<Vec<String>>, DomainError> {
        let Some(id) = self.0.hub.certificate_of(row.name.as_str()).await else { return Ok(None) };
        let certificate = match certificates.issued(&id).await? {
            Some(issued) => Some(issued),
            None => certificates.contents(&id, row.name.as_str(), Timestamp::now()).await?,
        };
        let first = certificate.and_then(|it| CertificateDer::from_pem_slice(it.chain_pem.as_bytes()).ok());
        Ok(first.map(|der| vec![Sha256::digest(&der).iter().map(|byte| format!("{byte:02x}")).collect()]))
    }
}

/// The text that shows whose the name is, where it is required.
fn proof(records: &Records) -> Option<Proof> {
    let record = records.prove.as_ref().filter(|_| records.prove_required)?;
    let kind = match record.kind {
        RecordKind::Txt => ProofKind::Txt,
        RecordKind::Cname => ProofKind::Cname,
        RecordKind::A | RecordKind::Aaaa => return None,
    };
    Some(Proof {
        name: Name::from_ascii(format!("{}.", record.name)).ok()?,
        kind,
        value: record.value.clone(),
        purpose: "shows that the name is yours, which is asked for because another account holds it or one above it"
            .to_owned(),
    })
}
