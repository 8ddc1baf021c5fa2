//! The routes of the api.

use crate::outbox;
use axum::{
    extract::{rejection::JsonRejection, Path, Query, State},
    http::{header::LOCATION, StatusCode},
    response::IntoResponse,
    routing::{get, post},
    Json, Router,
};
use common::{
    broker::Broker,
    db::PgPool,
    http::{fault, refusal, Refusal},
    model::{self, Action, NewAction},
    store::{self, Filter},
};
use serde::Deserialize;
use serde_json::{json, Value};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Default and maximum length of a list.
const LIMIT: (i64, i64) = (20, 100);

#[derive(Clone)]
struct Api {
    database: PgPool,
    broker: Arc<Broker>,
}

/// The routes, using this database and broker.
pub fn router(database: PgPool, broker: Arc<Broker>) -> Router {
    Router::new()
        .route("/actions", post(create).get(list))
        .route("/actions/{id}", get(show))
        .with_state(Api { database, broker })
}

async fn create(
    State(api): State<Api>,
    body: Result<Json<NewAction>, JsonRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Json(action) = body.map_err(|error| refusal(error.status(), error.body_text()))?;
    action
        .validate()
        .map_err(|words| refusal(StatusCode::UNPROCESSABLE_ENTITY, words))?;
    let action_id = store::accept(&api.database, crate::IDENTITY.name, &action)
        .await
        .map_err(fault)?;
    metrics::counter!("actions_accepted_total").increment(1);
    // Only the row matters: if the message is not delivered now, it is sent again later.
    if let Err(error) = outbox::publish(&api.database, &api.broker, action_id).await {
        tracing::warn!(%action_id, "not published yet: {error:#}");
    }
    Ok((
        StatusCode::ACCEPTED,
        [(LOCATION, format!("/actions/{action_id}"))],
        Json(json!({"id": action_id, "state": model::State::Accepted})),
    ))
}

async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Action>, Refusal> {
    let nothing = || refusal(StatusCode::NOT_FOUND, "no such action");
    let id = Uuid::parse_str(&id).map_err(|_| nothing())?;
    let action = store::get(&api.database, id).await.map_err(fault)?;
    action.map(Json).ok_or_else(nothing)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    source: Option<String>,
    state: Option<model::State>,
    max_age_seconds: Option<u32>,
    limit: Option<i64>,
}

impl From<ListQuery> for Filter {
    fn from(query: ListQuery) -> Self {
        Self {
            source: query.source,
            state: query.state,
            max_age: query
                .max_age_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
            limit: query.limit.unwrap_or(LIMIT.0).clamp(1, LIMIT.1),
        }
    }
}

async fn list(
    State(api): State<Api>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let Query(query) = query.map_err(|error| refusal(error.status(), error.body_text()))?;
    let actions = store::list(&api.database, &query.into())
        .await
        .map_err(fault)?;
    Ok(Json(json!({ "actions": actions })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limit: Option<i64>) -> i64 {
        Filter::from(ListQuery {
            source: None,
            state: None,
            max_age_seconds: None,
            limit,
        })
        .limit
    }

    #[test]
    fn a_list_is_never_longer_than_the_limit() {
        assert_eq!(limit(None), 20);
        assert_eq!(limit(Some(0)), 1);
        assert_eq!(limit(Some(1_000_000)), 100);
    }
}
