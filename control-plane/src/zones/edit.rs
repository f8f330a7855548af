//! Edits of zones: made to the newest version, all of them or none, kept in the history, and taken back.

use common::zone::{NewZoneEdit, ZoneDifference, ZoneEdit, ZoneEdited};
use dns::edit::{Change, EditError};
use dns::zone::Zone;
use dns::{Name, edit, master};

use super::row::{self, read};
use super::{ZoneError, Zones, input};
use crate::store::zones::{EditRow, NewEdit, Signing, ZoneRow};

/// How often an edit is made anew because others were faster.
const TRIES: usize = 8;

/// What is to become of a zone.
pub(super) struct Next {
    pub(super) zone: Zone,
    pub(super) signing: Signing,
    pub(super) edit: Option<NewEdit>,
}

impl Zones {
    /// A zone's row.
    pub(super) async fn row(&self, name: &str) -> Result<ZoneRow, ZoneError> {
        let key = row::key_of(&row::whole(name)?);
        let found = self.0.store.zone(&self.0.key, &key).await?;
        found.ok_or_else(|| ZoneError::NoZone(name.trim_end_matches('.').to_owned()))
    }

    /// Makes the edit, and returns when the name servers answer accordingly. There is no edit when the zone was so already.
    ///
    /// # Errors
    /// When it can't be made; nothing has changed then.
    pub async fn edit(&self, name: &str, new: &NewZoneEdit, actor: &str) -> Result<Option<ZoneEdited>, ZoneError> {
        input::check_note(&new.note)?;
        let ttl = self.0.config.ttl;
        let done = self.replace(name, |row, zone| {
            if new.serial.is_some_and(|serial| serial != zone.serial()) {
                return Err(ZoneError::Changed(zone.serial()));
            }
            let changes = input::changes(zone, &new.changes, ttl)?;
            if changes.is_empty() {
                return Ok(None);
            }
            let edit = NewEdit {
                actor: actor.to_owned(),
                note: new.note.clone(),
                changes: row::lines(&changes),
                undoes: None,
            };
            Ok(Some(Next { zone: edit::apply(zone, &changes)?, signing: row.signing.clone(), edit: Some(edit) }))
        });
        if !done.await? {
            return Ok(None);
        }
        self.edited(name).await.map(Some)
    }

    /// Takes an edit back, the newest that still stands when no number is given, and returns when the name servers answer
    /// accordingly. Undoing is an edit of its own, so it can be undone too.
    ///
    /// # Errors
    /// When there is no such edit, or later ones changed the same records.
    pub async fn undo(&self, name: &str, number: Option<i64>, actor: &str) -> Result<ZoneEdited, ZoneError> {
        let key = self.row(name).await?.name;
        for _ in 0..TRIES {
            let undone = self.undoable(&key, number).await?;
            let changes = edit::inverse(&row::changes(&undone.changes)?);
            let edit = NewEdit {
                actor: actor.to_owned(),
                note: format!("Undoes edit {}", undone.number),
                changes: row::lines(&changes),
                undoes: Some(undone.number),
            };
            let row = self.row(name).await?;
            let zone = edit::apply(&read(&row)?, &changes).map_err(|e| ZoneError::Overtaken(undone.number, e))?;
            let next = Next { zone, signing: row.signing.clone(), edit: Some(edit) };
            if self.write(row, &next).await? {
                return self.edited(name).await;
            }
        }
        Err(ZoneError::Busy)
    }

    async fn undoable(&self, zone: &str, number: Option<i64>) -> Result<EditRow, ZoneError> {
        let found = self.0.store.zone_edit(zone, number).await?;
        let edit = found.ok_or(match number {
            Some(number) => ZoneError::NoEdit(number),
            None => ZoneError::NothingToUndo,
        })?;
        match edit.undone_by {
            _ if edit.number == 1 => Err(ZoneError::First),
            Some(by) => Err(ZoneError::Undone(edit.number, by)),
            None => Ok(edit),
        }
    }

    /// Makes of the newest version of a zone what `make` says, or nothing, and tells which; anew when others were faster.
    pub(super) async fn replace(
        &self,
        name: &str,
        make: impl Fn(&ZoneRow, &Zone) -> Result<Option<Next>, ZoneError>,
    ) -> Result<bool, ZoneError> {
        for _ in 0..TRIES {
            let row = self.row(name).await?;
            let zone = read(&row)?;
            let Some(next) = make(&row, &zone)? else { return Ok(false) };
            if self.write(row, &next).await? {
                return Ok(true);
            }
        }
        Err(ZoneError::Busy)
    }

    /// Gives the zone the next serial, so that servers and secondaries take it anew.
    pub(super) async fn touch(&self, name: &str) -> Result<bool, ZoneError> {
        self.replace(name, |row, zone| {
            Ok(Some(Next { zone: touched(zone)?, signing: row.signing.clone(), edit: None }))
        })
        .await
    }

    async fn write(&self, row: ZoneRow, next: &Next) -> Result<bool, ZoneError> {
        let row = ZoneRow { records: master::write(&next.zone, true), signing: next.signing.clone(), ..row };
        let done = self.0.store.replace_zone(&self.0.key, &row, next.zone.serial(), next.edit.as_ref()).await?;
        Ok(done)
    }

    /// The newest edit of a zone, once the name servers answer accordingly.
    pub(super) async fn edited(&self, name: &str) -> Result<ZoneEdited, ZoneError> {
        let arrived = self.arrived().await?;
        let row = self.row(name).await?;
        let zone = read(&row)?;
        let newest = self.0.store.zone_edits(&row.name, i64::MAX, 1).await?.pop();
        let edit = newest.ok_or_else(|| ZoneError::NoEdit(1))?;
        Ok(ZoneEdited {
            edit: shown(edit, zone.origin())?,
            servers: arrived.servers,
            late: arrived.late,
            warnings: zone.warnings().iter().map(ToString::to_string).collect(),
        })
    }

    /// A zone's edits, newest first.
    ///
    /// # Errors
    /// When there is no such zone, or the database failed.
    pub async fn edits(&self, name: &str, before: i64, limit: u32) -> Result<Vec<ZoneEdit>, ZoneError> {
        let row = self.row(name).await?;
        let origin = row::whole(&row.name)?;
        let rows = self.0.store.zone_edits(&row.name, before, limit).await?;
        rows.into_iter().map(|edit| shown(edit, &origin)).collect()
    }
}

/// The same zone with the next serial.
pub(super) fn touched(zone: &Zone) -> Result<Zone, EditError> {
    edit::apply(zone, &[])
}

fn shown(edit: EditRow, origin: &Name) -> Result<ZoneEdit, ZoneError> {
    let differences = row::changes(&edit.changes)?.into_iter().map(|change| match change {
        Change::Add(record) => ZoneDifference::Added(input::shown(&record, origin)),
        Change::Remove(record) => ZoneDifference::Removed(input::shown(&record, origin)),
    });
    Ok(ZoneEdit {
        number: edit.number,
        made_at: edit.made_at,
        actor: edit.actor,
        note: edit.note,
        serial: edit.serial,
        differences: differences.collect(),
        undoes: edit.undoes,
        undone_by: edit.undone_by,
    })
}
