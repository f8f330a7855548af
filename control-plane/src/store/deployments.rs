//! Rows of deployments, and the pointer flip that makes one live.

use common::deployment::{Failure, Kind, State};
use common::id::{ClaimId, DeployerId, DeploymentId, ProjectId};
use common::ledger::Facts;
use common::name::ProjectName;
use common::project::Settings;
use common::revision::RevisionStatus;
use common::source::Source;
use common::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::edges::LateEdges;
use super::{Store, StoreError, json, optional, optional_json, parsed, to_json};

/// A deployment's row, with its project's name.
#[derive(Clone, Debug)]
pub struct DeploymentRow {
    /// Its id.
    pub id: DeploymentId,
    /// First label of its own host.
    pub label: String,
    /// Its project.
    pub project: ProjectId,
    /// Its project's name.
    pub project_name: ProjectName,
    /// Whose its project is.
    pub account: String,
    /// Whether it is the project's live one.
    pub live: bool,
    /// Since when edges are being told what is live in its project; nothing once they have it or are late.
    pub activating_since: Option<Timestamp>,
    /// Edges that were late when its project's live deployment became so.
    pub late_edges: Option<LateEdges>,
    /// Where it is.
    pub state: State,
    /// What it is built from.
    pub source: Source,
    /// Login of its repository, sealed.
    pub source_login: Option<String>,
    /// How: the project's settings, overlaid by what was given for this deployment.
    pub settings: Settings,
    /// What was given for this deployment alone.
    pub given: Settings,
    /// What it is.
    pub kind: Option<Kind>,
    /// What was detected.
    pub framework: Option<String>,
    /// How its build was isolated.
    pub isolation: Option<String>,
    /// Reference of its image.
    pub image: Option<String>,
    /// What its app does now.
    pub revision: Option<RevisionStatus>,
    /// Whether a rollback to it waits for its app.
    pub activation_wanted: bool,
    /// Why the last such start did not work.
    pub activation_failure: Option<String>,
    /// The deployer that is to run its app.
    pub placed_on: Option<DeployerId>,
    /// The deployer whose word its revision is.
    pub runs_on: Option<DeployerId>,
    /// Until when its app runs because visitors asked for it.
    pub wanted_until: Option<Timestamp>,
    /// How often a deployer took it.
    pub attempts: i64,
    /// The claim of the deployer that works on it, or did last.
    pub claim: Option<ClaimId>,
    /// Which deployer that is.
    pub deployer: Option<DeployerId>,
    /// Until when nobody else may take it.
    pub claimed_until: Option<Timestamp>,
    /// When it last stopped being live.
    pub live_until: Option<Timestamp>,
    /// The later one of the same branch that took its place while it waited.
    pub superseded_by: Option<DeploymentId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When a deployer took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl DeploymentRow {
    /// Whether its app answers now.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.revision.as_ref().is_some_and(|revision| revision.endpoints().is_some())
    }

    /// The claim that counts, as its column is compared; empty when there is none.
    #[must_use]
    pub fn held_by(&self) -> &str {
        self.claim.as_ref().map_or("", ClaimId::as_str)
    }
}

/// How many deployments are before a queued one.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Those that wait for a deployer, of all projects.
    pub queued: i64,
    /// Those of its own project that have not ended: they come first.
    pub own: i64,
}

/// A deployment to add.
#[derive(Clone, Debug)]
pub struct NewRow {
    /// Its id.
    pub id: DeploymentId,
    /// First label of its own host.
    pub label: String,
    /// Its project.
    pub project: ProjectId,
    /// What it is built from.
    pub source: Source,
    /// Login of its repository, sealed.
    pub source_login: Option<String>,
    /// What was given for this deployment alone.
    pub given: Settings,
}

/// Everything a [`DeploymentRow`] needs; conditions follow.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.*, p.name AS project_name, p.account, p.settings AS project_settings, \
             p.activating_since, p.late_edges, \
             CASE WHEN p.live_deployment = d.id THEN 1 ELSE 0 END AS live \
             FROM deployments d JOIN projects p ON p.id = d.project ",
            $rest
        )
    };
}

pub(super) use select;

fn read(row: &AnyRow) -> Result<DeploymentRow, StoreError> {
    let time = |column: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
    };
    let word: String = row.try_get("state")?;
    let code: Option<String> = row.try_get("failure_code")?;
    let message: Option<String> = row.try_get("failure_message")?;
    let failure = code.map(|code| Failure { code, message: message.unwrap_or_default() });
    let state = State::from_stored(&word, failure)
        .ok_or_else(|| StoreError::Unreadable { what: "state", detail: format!("`{word}` is no state") })?;
    let kind: Option<String> = row.try_get("kind")?;
    let given: Settings = json(row, "settings")?;
    Ok(DeploymentRow {
        id: parsed(row, "id")?,
        label: row.try_get("label")?,
        project: parsed(row, "project")?,
        project_name: parsed(row, "project_name")?,
        account: row.try_get("account")?,
        live: row.try_get::<i64, _>("live")? == 1,
        activating_since: time("activating_since")?,
        late_edges: optional_json(row, "late_edges")?,
        state,
        source: json(row, "source")?,
        source_login: row.try_get("source_login")?,
        settings: json::<Settings>(row, "project_settings")?.overlaid(given.clone()),
        given,
        kind: match kind.as_deref() {
            Some("static") => Some(Kind::Static),
            Some("node") => Some(Kind::Node),
            _ => None,
        },
        framework: row.try_get("framework")?,
        isolation: row.try_get("isolation")?,
        image: row.try_get("image")?,
        revision: optional_json(row, "revision")?,
        activation_wanted: row.try_get::<i64, _>("activation_wanted")? == 1,
        activation_failure: row.try_get("activation_failure")?,
        placed_on: optional(row, "placed_on")?,
        runs_on: optional(row, "runs_on")?,
        wanted_until: time("wanted_until")?,
        attempts: row.try_get("attempts")?,
        claim: optional(row, "claim")?,
        deployer: optional(row, "deployer")?,
        claimed_until: time("claimed_until")?,
        live_until: time("live_until")?,
        superseded_by: match row.try_get::<Option<&str>, _>("superseded_by")? {
            Some(_) => Some(parsed(row, "superseded_by")?),
            None => None,
        },
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
    })
}

pub(super) fn read_all(rows: &[AnyRow]) -> Result<Vec<DeploymentRow>, StoreError> {
    rows.iter().map(read).collect()
}

impl Store {
    /// Adds a queued deployment. `false` when its label is a project's name; a label of another
    /// deployment is told by [`StoreError::is_duplicate`].
    ///
    /// # Errors
    /// When the database failed or the label is taken.
    pub async fn insert_deployment(&self, new: &NewRow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO deployments (id, label, project, state, source, source_login, settings, created_at) \
             SELECT $1, $2, $3, 'queued', $4, $5, $6, $7 WHERE NOT EXISTS (SELECT 1 FROM projects WHERE name = $2)",
        )
        .bind(new.id.as_str())
        .bind(new.label.as_str())
        .bind(new.project.as_str())
        .bind(to_json("source", &new.source)?)
        .bind(new.source_login.as_deref())
        .bind(to_json("settings", &new.given)?)
        .bind(Timestamp::now().as_millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The deployment with this id.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn deployment(&self, id: &DeploymentId) -> Result<Option<DeploymentRow>, StoreError> {
        let row = sqlx::query(select!("WHERE d.id = $1")).bind(id.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// Up to `limit` deployments of a project, newest first, older than `before`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn deployments(
        &self,
        project: &ProjectId,
        before: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        let rows = sqlx::query(select!("WHERE d.project = $1 AND d.id < $2 ORDER BY d.id DESC LIMIT $3"))
            .bind(project.as_str())
            // Every id is smaller than a text that begins with `e`.
            .bind(before.map_or("e", DeploymentId::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        read_all(&rows)
    }

    /// Every deployment that has not ended, oldest first.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn unfinished_deployments(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        let rows =
            sqlx::query(select!("WHERE d.state IN ('queued', 'building', 'publishing', 'starting') ORDER BY d.id"))
                .fetch_all(&self.pool)
                .await?;
        read_all(&rows)
    }

    /// Every ready deployment: of one project, or of all when `None`; newest first.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn ready_deployments(&self, project: Option<&ProjectId>) -> Result<Vec<DeploymentRow>, StoreError> {
        let rows = sqlx::query(select!("WHERE d.state = 'ready' AND ($1 = '' OR d.project = $1) ORDER BY d.id DESC"))
            .bind(project.map_or("", ProjectId::as_str))
            .fetch_all(&self.pool)
            .await?;
        read_all(&rows)
    }

    /// The newest deployment before `than` that was live and can be again.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn live_before(
        &self,
        project: &ProjectId,
        than: &DeploymentId,
    ) -> Result<Option<DeploymentRow>, StoreError> {
        let row = sqlx::query(select!(
            "WHERE d.project = $1 AND d.id < $2 AND d.state = 'ready' AND d.live_since IS NOT NULL \
             ORDER BY d.id DESC LIMIT 1"
        ))
        .bind(project.as_str())
        .bind(than.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// What is before a queued deployment.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn before(&self, row: &DeploymentRow) -> Result<Before, StoreError> {
        let counted = sqlx::query(
            "SELECT COUNT(CASE WHEN state = 'queued' THEN 1 END) AS queued, \
             COUNT(CASE WHEN project = $2 THEN 1 END) AS own FROM deployments \
             WHERE state IN ('queued', 'building', 'publishing', 'starting') AND id < $1",
        )
        .bind(row.id.as_str())
        .bind(row.project.as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(Before { queued: counted.try_get("queued")?, own: counted.try_get("own")? })
    }

    /// Stores the transition of a row to state `to`. `false` when the row is in its state, or its deployer's, no more:
    /// somebody else was faster.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn transition(&self, row: &DeploymentRow, to: &State) -> Result<bool, StoreError> {
        transition(&mut *self.pool.acquire().await?, row, to).await
    }

    /// Stores that a deployment ended well, with its image and where its app answers if it is one, and makes it live: all
    /// or nothing. `Some(false)` when it is not live, because one that was asked for later has been; `None` when the row
    /// is in its state, or its deployer's, no more.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn succeed(
        &self,
        row: &DeploymentRow,
        ready: &State,
        app: Option<(&str, &RevisionStatus, &DeployerId)>,
    ) -> Result<Option<bool>, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, &row.project).await?;
        if !transition(&mut tx, row, ready).await? {
            return Ok(None);
        }
        if let Some((image, revision, deployer)) = app {
            sqlx::query("UPDATE deployments SET image = $2, revision = $3, placed_on = $4, runs_on = $4 WHERE id = $1")
                .bind(row.id.as_str())
                .bind(image)
                .bind(to_json("revision", revision)?)
                .bind(deployer.as_str())
                .execute(&mut *tx)
                .await?;
        }
        let live = flip(&mut tx, &row.project, &row.id, true).await?;
        tx.commit().await?;
        Ok(Some(live))
    }

    /// Records what was found out; the commit becomes part of the source, so that a redeploy builds the
    /// same one.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_facts(&self, row: &DeploymentRow, facts: Facts) -> Result<(), StoreError> {
        let mut source = row.source.clone();
        if let (Source::Git { commit, .. }, Some(found)) = (&mut source, facts.commit) {
            *commit = Some(found);
        }
        sqlx::query(
            "UPDATE deployments SET kind = COALESCE($2, kind), framework = COALESCE($3, framework), source = $4 \
             WHERE id = $1 AND COALESCE(claim, '') = $5",
        )
        .bind(row.id.as_str())
        .bind(facts.kind.map(Kind::as_str))
        .bind(facts.framework)
        .bind(to_json("source", &source)?)
        .bind(row.held_by())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The pointer flip: makes a ready deployment live.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn activate(&self, project: &ProjectId, id: &DeploymentId) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        lock(&mut tx, project).await?;
        flip(&mut tx, project, id, false).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Stores a transition; see [`Store::transition`].
async fn transition(connection: &mut AnyConnection, row: &DeploymentRow, to: &State) -> Result<bool, StoreError> {
    let failure = match to {
        State::Failed(why) | State::Canceled(why) => Some(why),
        _ => None,
    };
    let done = sqlx::query(
        "UPDATE deployments SET state = $3, failure_code = $4, failure_message = $5, \
         finished_at = CASE WHEN $7 = 1 THEN $6 ELSE NULL END \
         WHERE id = $1 AND state = $2 AND COALESCE(claim, '') = $8",
    )
    .bind(row.id.as_str())
    .bind(row.state.as_str())
    .bind(to.as_str())
    .bind(failure.map(|f| f.code.as_str()))
    .bind(failure.map(|f| f.message.as_str()))
    .bind(Timestamp::now().as_millis())
    .bind(i64::from(to.is_final()))
    .bind(row.held_by())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets no one else flip the project's pointer until the transaction ends. It writes, because that is what locks on both
/// engines: SQLite's transaction has the write lock from the start, Postgres's the row.
async fn lock(connection: &mut AnyConnection, project: &ProjectId) -> Result<(), StoreError> {
    sqlx::query("UPDATE projects SET live_deployment = live_deployment WHERE id = $1")
        .bind(project.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes a ready deployment live, within a transaction that holds the [`lock`]. With `unless_newer`, `false` and no change when a deployment
/// that was asked for later has been live already.
async fn flip(
    connection: &mut AnyConnection,
    project: &ProjectId,
    id: &DeploymentId,
    unless_newer: bool,
) -> Result<bool, StoreError> {
    let now = Timestamp::now().as_millis();
    let flipped = sqlx::query(
        "UPDATE deployments SET live_since = $3, live_until = NULL, activation_wanted = 0, activation_failure = NULL \
         WHERE id = $2 AND ($4 = 0 OR NOT EXISTS \
         (SELECT 1 FROM deployments WHERE project = $1 AND id > $2 AND live_since IS NOT NULL))",
    )
    .bind(project.as_str())
    .bind(id.as_str())
    .bind(now)
    .bind(i64::from(unless_newer))
    .execute(&mut *connection)
    .await?;
    if flipped.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE deployments SET live_until = $2 \
         WHERE id = (SELECT live_deployment FROM projects WHERE id = $1) AND id <> $3",
    )
    .bind(project.as_str())
    .bind(now)
    .bind(id.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE projects SET live_deployment = $2, activating_since = $3, late_edges = NULL WHERE id = $1")
        .bind(project.as_str())
        .bind(id.as_str())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(true)
}
