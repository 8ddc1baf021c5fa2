//! Logs on stderr and counters at `/metrics`.

use crate::config::Environment;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt, EnvFilter, Layer,
};

/// The default for `RUST_LOG`. PostgreSQL's notices only report that the schema already exists.
const DEFAULT_FILTER: &str = "info,sqlx::postgres::notice=warn";

/// Starts logging. `RUST_LOG` selects what is logged; `LOG_FORMAT=json` prints one JSON object per line.
pub fn start_logging(environment: &Environment) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(environment.text_or("RUST_LOG", DEFAULT_FILTER))
        .map_err(|_| anyhow::anyhow!("RUST_LOG is not a log filter"))?;
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if environment.text_or("LOG_FORMAT", "text") == "json" {
        lines.json().boxed()
    } else {
        // No colors, because container logs are read with `docker logs`, in files and in CI.
        lines.with_ansi(false).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines.with_filter(filter_fn(|event| !may_hold_secrets(event))))
        .try_init()?;
    Ok(())
}

/// lapin's trace level logs whole frames, and the login frame contains the password.
fn may_hold_secrets(event: &Metadata<'_>) -> bool {
    event.target().starts_with("lapin") && *event.level() == Level::TRACE
}

/// Starts the metrics; the handle renders the counters for Prometheus.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}
