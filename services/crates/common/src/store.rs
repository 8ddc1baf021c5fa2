//! Every query of the sample, as plain functions. Messages are delivered at least once. Every update is therefore
//! idempotent, and in either case returns what the caller has to publish.

use crate::model::{Action, Event, NewAction, State, Step, Summary};
use sqlx::{postgres::PgPool, types::Json, PgConnection};
use std::time::Duration;
use uuid::Uuid;

/// The columns of [`Summary`].
const SUMMARY: &str = "a.id, a.kind, a.source, a.state, n.action_id IS NOT NULL AS notified, a.created_at, a.updated_at
    FROM actions a LEFT JOIN notifications n ON n.action_id = a.id";

/// Filters for a list; a field that is `None` matches everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only actions from this source.
    pub source: Option<String>,
    /// Only actions in this state.
    pub state: Option<State>,
    /// Only actions newer than this.
    pub max_age: Option<Duration>,
    /// Maximum number of actions.
    pub limit: i64,
}

async fn record(
    connection: &mut PgConnection,
    id: Uuid,
    service: &str,
    event: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO history (action_id, service, event) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(id)
        .bind(service)
        .bind(event)
        .execute(connection)
        .await
        .map(drop)
}

/// Locks the action for the rest of the transaction; `None` if no action has this id.
async fn lock(connection: &mut PgConnection, id: Uuid) -> Result<Option<State>, sqlx::Error> {
    sqlx::query_scalar("SELECT state FROM actions WHERE id = $1 FOR UPDATE")
        .bind(id)
        .fetch_optional(connection)
        .await
}

async fn set_state(
    connection: &mut PgConnection,
    id: Uuid,
    state: State,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE actions SET state = $2, updated_at = clock_timestamp() WHERE id = $1")
        .bind(id)
        .bind(state)
        .execute(connection)
        .await
        .map(drop)
}

/// Stores a new action, which must be valid, and returns its id.
pub async fn accept(pool: &PgPool, service: &str, action: &NewAction) -> Result<Uuid, sqlx::Error> {
    let id = Uuid::now_v7();
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT INTO actions (id, kind, source, items) VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(action.kind)
        .bind(&action.source)
        .bind(Json(&action.items))
        .execute(&mut *transaction)
        .await?;
    record(&mut transaction, id, service, "accepted").await?;
    transaction.commit().await?;
    Ok(id)
}

/// Splits the action into steps and returns the positions of those not completed yet; `None` if the action does not
/// exist.
pub async fn dispatch(
    pool: &PgPool,
    service: &str,
    id: Uuid,
) -> Result<Option<Vec<i32>>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let Some(state) = lock(&mut transaction, id).await? else {
        return Ok(None);
    };
    if state == State::Accepted {
        sqlx::query(
            "INSERT INTO steps (action_id, position, input)
             SELECT a.id, item.position - 1, item.value
             FROM actions a, jsonb_array_elements_text(a.items) WITH ORDINALITY AS item (value, position)
             WHERE a.id = $1",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        set_state(&mut transaction, id, State::Dispatched).await?;
        record(&mut transaction, id, service, "dispatched").await?;
    }
    let open = sqlx::query_scalar(
        "SELECT position FROM steps WHERE action_id = $1 AND result IS NULL ORDER BY position",
    )
    .bind(id)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Some(open))
}

/// The action's kind and the item of a step; `None` if the step does not exist.
pub async fn step(
    pool: &PgPool,
    id: Uuid,
    position: i32,
) -> Result<Option<(crate::model::Kind, String)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT a.kind, s.input FROM steps s JOIN actions a ON a.id = s.action_id
         WHERE s.action_id = $1 AND s.position = $2",
    )
    .bind(id)
    .bind(position)
    .fetch_optional(pool)
    .await
}

/// Stores the result of a step; true if the action is completed, either by this step or by an earlier delivery.
pub async fn finish_step(
    pool: &PgPool,
    service: &str,
    id: Uuid,
    position: i32,
    result: &str,
) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // The lock serializes workers: if two of them finish the last two steps at the same time, each would still see the
    // other's step as open.
    let Some(state) = lock(&mut transaction, id).await? else {
        return Ok(false);
    };
    if state == State::Completed {
        return Ok(true);
    }
    sqlx::query(
        "UPDATE steps SET result = $3 WHERE action_id = $1 AND position = $2 AND result IS NULL",
    )
    .bind(id)
    .bind(position)
    .bind(result)
    .execute(&mut *transaction)
    .await?;
    let open: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM steps WHERE action_id = $1 AND result IS NULL)",
    )
    .bind(id)
    .fetch_one(&mut *transaction)
    .await?;
    if !open {
        set_state(&mut transaction, id, State::Completed).await?;
        record(&mut transaction, id, service, "completed").await?;
    }
    transaction.commit().await?;
    Ok(!open)
}

/// Records that subscribers were notified; false if that was already recorded.
pub async fn notify(pool: &PgPool, service: &str, id: Uuid) -> Result<bool, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    if lock(&mut transaction, id).await?.is_none() {
        return Ok(false);
    }
    let inserted =
        sqlx::query("INSERT INTO notifications (action_id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(id)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
    record(&mut transaction, id, service, "notified").await?;
    transaction.commit().await?;
    Ok(inserted == 1)
}

/// The action with its steps and history; `None` if no action has this id.
pub async fn get(pool: &PgPool, id: Uuid) -> Result<Option<Action>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    // One snapshot for all three queries, so that a state is never shown without the history that led to it.
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *transaction)
        .await?;
    let Some(summary) = sqlx::query_as::<_, Summary>(&format!("SELECT {SUMMARY} WHERE a.id = $1"))
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?
    else {
        return Ok(None);
    };
    let steps: Vec<Step> =
        sqlx::query_as("SELECT input, result FROM steps WHERE action_id = $1 ORDER BY position")
            .bind(id)
            .fetch_all(&mut *transaction)
            .await?;
    let history: Vec<Event> = sqlx::query_as(
        "SELECT service, event, at FROM history WHERE action_id = $1 ORDER BY sequence",
    )
    .bind(id)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Some(Action {
        summary,
        steps,
        history,
    }))
}

/// Actions that match, newest first.
pub async fn list(pool: &PgPool, filter: &Filter) -> Result<Vec<Summary>, sqlx::Error> {
    sqlx::query_as(&format!(
        "SELECT {SUMMARY}
         WHERE ($1::text IS NULL OR a.source = $1)
           AND ($2::text IS NULL OR a.state = $2)
           AND ($3::float8 IS NULL OR a.created_at > now() - make_interval(secs => $3))
         ORDER BY a.created_at DESC LIMIT $4"
    ))
    .bind(&filter.source)
    .bind(filter.state)
    .bind(filter.max_age.map(|age| age.as_secs_f64()))
    .bind(filter.limit)
    .fetch_all(pool)
    .await
}

/// Records that the broker has taken responsibility for the action's message.
pub async fn published(pool: &PgPool, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE actions SET published_at = clock_timestamp() WHERE id = $1")
        .bind(id)
        .execute(pool)
        .await
        .map(drop)
}

/// Actions accepted longer than `age` ago whose message was lost, oldest first, at most 100.
pub async fn unpublished(pool: &PgPool, age: Duration) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM actions
         WHERE published_at IS NULL AND created_at < now() - make_interval(secs => $1)
         ORDER BY created_at LIMIT 100",
    )
    .bind(age.as_secs_f64())
    .fetch_all(pool)
    .await
}

/// Deletes heartbeats older than `age`, which would otherwise accumulate forever, and returns how many it deleted.
pub async fn forget_heartbeats(pool: &PgPool, age: Duration) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "DELETE FROM actions WHERE kind = 'heartbeat' AND created_at < now() - make_interval(secs => $1)",
    )
    .bind(age.as_secs_f64())
    .execute(pool)
    .await
    .map(|done| done.rows_affected())
}
