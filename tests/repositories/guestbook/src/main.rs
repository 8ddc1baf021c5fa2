//! A guestbook: entries in PostgreSQL, pages from templates, styles from a directory next to the program.

mod entries;
mod pages;

use anyhow::Context;
use axum::{routing::get, Router};
use sqlx::postgres::PgPoolOptions;
use tower_http::{services::ServeDir, trace::TraceLayer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.context("no connection to the database")?;
    sqlx::migrate!().run(&pool).await.context("the migrations failed")?;
    let styles = std::fs::read_dir("static").context("static/ is missing")?.count();
    let app = Router::new()
        .route("/", get(pages::index).post(pages::sign))
        .route("/healthz", get(|| async { "ok" }))
        .nest_service("/static", ServeDir::new("static"))
        .layer(TraceLayer::new_for_http())
        .with_state(pool.clone());
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    println!("{} is open: {} entries, {styles} files", pages::heading()?, entries::count(&pool).await?);
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

/// Waits for docker to stop the container, or for Ctrl-C.
async fn stopped() {
    use tokio::signal::unix::{signal, SignalKind};
    let mut terminated = signal(SignalKind::terminate()).expect("a signal handler");
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
