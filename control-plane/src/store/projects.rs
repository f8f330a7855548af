//! Rows of projects.

use common::id::{DeploymentId, ProjectId};
use common::name::ProjectName;
use common::project::Settings;
use common::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, json, parsed, to_json};

/// The account that everything belongs to while there are no others.
pub const OWNER: &str = "owner";

/// A project's row.
#[derive(Clone, Debug)]
pub struct ProjectRow {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// Whose it is.
    pub account: String,
    /// How it is built and run.
    pub settings: Settings,
    /// The deployment that visitors get.
    pub live_deployment: Option<DeploymentId>,
    /// When it was created.
    pub created_at: Timestamp,
}

fn read(row: &AnyRow) -> Result<ProjectRow, StoreError> {
    let live: Option<String> = row.try_get("live_deployment")?;
    Ok(ProjectRow {
        id: parsed(row, "id")?,
        name: parsed(row, "name")?,
        account: row.try_get("account")?,
        settings: json(row, "settings")?,
        live_deployment: live.and_then(|id| id.parse().ok()),
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
    })
}

impl Store {
    /// Adds a project. A name that is taken, also by a deployment's own host, is told by
    /// [`StoreError::is_duplicate`] or `false`.
    ///
    /// # Errors
    /// When the database failed or the name is taken.
    pub async fn insert_project(&self, project: &ProjectRow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO projects (id, name, settings, created_at, account) SELECT $1, $2, $3, $4, $5 \
             WHERE NOT EXISTS (SELECT 1 FROM deployments WHERE label = $2)",
        )
        .bind(project.id.as_str())
        .bind(project.name.as_str())
        .bind(to_json("settings", &project.settings)?)
        .bind(project.created_at.as_millis())
        .bind(project.account.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The project with this name or id.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn project(&self, name_or_id: &str) -> Result<Option<ProjectRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM projects WHERE name = $1 OR id = $1")
            .bind(name_or_id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Up to `limit` projects in order of name, after the name `after`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn projects(&self, after: &str, limit: u32) -> Result<Vec<ProjectRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM projects WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    /// Replaces a project's settings.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_settings(&self, project: &ProjectId, settings: &Settings) -> Result<(), StoreError> {
        sqlx::query("UPDATE projects SET settings = $2 WHERE id = $1")
            .bind(project.as_str())
            .bind(to_json("settings", settings)?)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes a project with its deployments and variables; its images are noted as unneeded.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn delete_project(&self, project: &ProjectId, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        Self::note_images_of(&mut tx, project, now).await?;
        sqlx::query("DELETE FROM projects WHERE id = $1").bind(project.as_str()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }
}
