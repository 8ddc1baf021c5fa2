//! `GET /events`: completed actions as server-sent events.

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
    routing::get,
    Router,
};
use common::model::ActionMessage;
use futures_util::{Stream, StreamExt};
use tokio::sync::broadcast::Sender;
use tokio_stream::wrappers::{errors::BroadcastStreamRecvError, BroadcastStream};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Feed {
    subscribers: Sender<ActionMessage>,
    shutdown: CancellationToken,
}

/// The route. Its streams end on `shutdown`; otherwise the shutdown would wait until every client disconnects.
pub fn router(subscribers: Sender<ActionMessage>, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/events", get(stream))
        .with_state(Feed {
            subscribers,
            shutdown,
        })
}

async fn stream(State(feed): State<Feed>) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let events = BroadcastStream::new(feed.subscribers.subscribe())
        .map(event)
        .take_until(feed.shutdown.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn event(message: Result<ActionMessage, BroadcastStreamRecvError>) -> Result<Event, axum::Error> {
    match message {
        Ok(message) => Event::default().event("completed").json_data(message),
        Err(BroadcastStreamRecvError::Lagged(missed)) => {
            Ok(Event::default().event("missed").data(missed.to_string()))
        }
    }
}
