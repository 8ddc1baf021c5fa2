//! The HTTP server of every service.

use anyhow::Context;
use axum::{extract::DefaultBodyLimit, http::StatusCode, routing::get, Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use std::{future::IntoFuture, net::Ipv4Addr, time::Duration};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tower_http::trace::TraceLayer;

/// Maximum size of a request body, in bytes: the largest action, plus room for its punctuation.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// How long open requests may take while the service is stopping.
const GRACE: Duration = Duration::from_secs(3);

/// An error as the client sees it: a status and `{"error": "…"}`.
pub type Refusal = (StatusCode, Json<ErrorBody>);

/// The body of a [`Refusal`].
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    error: String,
}

/// Refuses a request, with a message for the caller.
pub fn refusal(status: StatusCode, words: impl Into<String>) -> Refusal {
    let error = words.into();
    (status, Json(ErrorBody { error }))
}

/// An internal error: the reason is logged and not sent to the caller.
pub fn fault(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a request failed");
    refusal(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal error, see the log",
    )
}

/// Serves `routes` and `/metrics` on `port` until `shutdown`, then waits for open requests.
pub async fn serve(
    port: u16,
    routes: Router,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let routes = routes
        .route("/metrics", get(move || async move { metrics.render() }))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(TraceLayer::new_for_http());
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .with_context(|| format!("port {port} cannot be used"))?;
    tracing::info!(port, "listening");
    let stopping = shutdown.clone();
    let server = axum::serve(listener, routes)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .into_future();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => ended?,
        () = shutdown.cancelled() => {
            if timeout(GRACE, server).await.is_err() {
                tracing::warn!("open requests were aborted");
            }
        }
    }
    Ok(())
}
