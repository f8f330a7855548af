//! DNS zones.

use common::zone::{NewZone, NewZoneEdit, SetDnssec, UndoZoneEdit, Zone, ZoneEdit, ZoneEdited, ZoneRecord};
use reqwest::{Method, StatusCode};

use super::{Client, ClientError, Result};

impl Client {
    /// All zones by name.
    pub async fn zones(&self) -> Result<Vec<Zone>> {
        self.list(&["zones"], usize::MAX).await
    }

    /// A zone.
    pub async fn zone(&self, name: &str) -> Result<Zone> {
        self.get(&["zones", name]).await
    }

    /// Creates a zone; returns when the name servers answer for it.
    pub async fn create_zone(&self, new: &NewZone) -> Result<Zone> {
        self.post(&["zones"], new).await
    }

    /// Deletes a zone with its history.
    pub async fn remove_zone(&self, name: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, &["zones", name])).await.map(drop)
    }

    /// A zone as a master file; `portable` when other servers are to take it.
    pub async fn export_zone(&self, name: &str, portable: bool) -> Result<String> {
        let request = self.request(Method::GET, &["zones", name, "master"]).query(&[("portable", portable)]);
        self.send(request).await?.text().await.map_err(|e| self.failed(e))
    }

    /// Turns DNSSEC on or off.
    pub async fn set_dnssec(&self, name: &str, set: SetDnssec) -> Result<Zone> {
        self.call(self.request(Method::PUT, &["zones", name, "dnssec"]).json(&set)).await
    }

    /// A zone's records, of a name and of a type when these are given.
    pub async fn records(&self, zone: &str, name: Option<&str>, kind: Option<&str>) -> Result<Vec<ZoneRecord>> {
        let request = self.request(Method::GET, &["zones", zone, "records"]);
        let page: common::api::Page<ZoneRecord> = self.call(request.query(&[("name", name), ("type", kind)])).await?;
        Ok(page.items)
    }

    /// Edits a zone; nothing comes back when it was so already.
    pub async fn edit_zone(&self, zone: &str, edit: &NewZoneEdit) -> Result<Option<ZoneEdited>> {
        let response = self.send(self.request(Method::PATCH, &["zones", zone, "records"]).json(edit)).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            status => response.json().await.map(Some).map_err(|e| match e.is_decode() {
                true => ClientError::Strange { api: self.login.api.clone(), status },
                false => self.failed(e),
            }),
        }
    }

    /// A zone's edits, newest first, at most `most`.
    pub async fn zone_edits(&self, zone: &str, most: usize) -> Result<Vec<ZoneEdit>> {
        self.list(&["zones", zone, "edits"], most).await
    }

    /// Takes an edit back.
    pub async fn undo_zone_edit(&self, zone: &str, undo: UndoZoneEdit) -> Result<ZoneEdited> {
        self.post(&["zones", zone, "undo"], &undo).await
    }
}
