//! The shop's API.

use axum::{routing::get, Json, Router};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = Router::new()
        .route("/articles", get(|| async { Json(catalog::articles()) }))
        .route("/health", get(|| async { "ok" }));
    #[cfg(feature = "metrics")]
    let app = app.route("/metrics", get(|| async { "up 1" }));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:9000").await?;
    let cheapest = &catalog::articles()[0];
    println!("selling {} for {}, metrics: {}", cheapest.name, cheapest.cents, cfg!(feature = "metrics"));
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopped = async move {
        terminated.recv().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    Ok(())
}
