//! Proofs for certificate authorities (RFC 8555 section 8.4) in zones held here: no part of the zone's history, but they
//! survive a restart.

use dns::zone::Zone;
use dns::{Name, RecordType, name};

use super::row::{key_of, read, whole, with_proofs};
use super::{ZoneError, Zones};

impl Zones {
    /// The zone held here that a name lies in.
    pub(super) async fn around(&self, name: &Name) -> Result<Option<String>, ZoneError> {
        let suffixes: Vec<String> = (1..=name.iter().count()).rev().map(|count| key_of(&name.trim_to(count))).collect();
        Ok(self.0.store.first_zone(&suffixes).await?)
    }

    /// The same, when the name is really this zone's to answer: not below a delegation, and no CNAME stands there.
    async fn holder(&self, record: &str) -> Result<Option<String>, ZoneError> {
        let name = whole(record)?;
        let Some(holder) = self.around(&name).await? else { return Ok(None) };
        let zone = read(&self.row(&holder).await?)?;
        Ok(is_own(&zone, &name).then_some(holder))
    }

    /// Whether a proof can be set at this name.
    pub async fn serves_proof(&self, record: &str) -> bool {
        match self.holder(record).await {
            Ok(holder) => holder.is_some(),
            Err(error) => {
                tracing::warn!(record, %error, "whether a proof can be set in a zone is not known");
                false
            }
        }
    }

    /// Sets a proof, and returns when every server that an authority may ask answers with it.
    ///
    /// # Errors
    /// Why it is not there, or who does not answer with it.
    pub async fn set_proof(&self, record: &str, value: &str) -> Result<(), String> {
        let failed = |e: ZoneError| e.to_string();
        let owner = key_of(&whole(record).map_err(|e| e.to_string())?);
        let holder = self.holder(record).await.map_err(failed)?;
        let holder = holder.ok_or_else(|| format!("`{record}` lies in no zone held here"))?;
        let zone = read(&self.row(&holder).await.map_err(failed)?).map_err(failed)?;
        with_proofs(&zone, &[(owner.clone(), value.to_owned())]).map_err(failed)?;
        let added = self.0.store.add_zone_text(&holder, &owner, value).await.map_err(|e| failed(e.into()))?;
        if added {
            self.touch(&holder).await.map_err(failed)?;
        }
        self.everywhere(&holder).await
    }

    /// Takes a proof away; one that is not there is no error.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn remove_proof(&self, record: &str, value: &str) -> Result<(), ZoneError> {
        let name = whole(record)?;
        let Some(holder) = self.around(&name).await? else { return Ok(()) };
        if self.0.store.remove_zone_text(&holder, &key_of(&name), value).await? {
            self.touch(&holder).await?;
            self.refresh().await?;
        }
        Ok(())
    }
}

/// Whether a name's TXT records are this zone's to answer.
pub(super) fn is_own(zone: &Zone, owner: &Name) -> bool {
    let at =
        |at: &Name, kind: RecordType| zone.node(&name::wire(at)).is_some_and(|node| node.set(kind.into()).is_some());
    let apex = zone.origin().iter().count();
    let delegated = (apex + 1..=owner.iter().count()).any(|count| at(&owner.trim_to(count), RecordType::NS));
    !delegated && !at(owner, RecordType::CNAME)
}
