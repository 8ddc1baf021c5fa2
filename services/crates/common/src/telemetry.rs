//! Logs on stderr and counters at `/metrics`.

use crate::config::Environment;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt, EnvFilter, Layer,
};

/// What is logged unless `RUST_LOG` says otherwise. PostgreSQL's notices only say that the schema is there already.
const DEFAULT_FILTER: &str = "info,sqlx::postgres::notice=warn";

/// Starts logging. `RUST_LOG` chooses what is logged, `LOG_FORMAT=json` one JSON object a line.
pub fn start_logging(environment: &Environment) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(environment.text_or("RUST_LOG", DEFAULT_FILTER))
        .map_err(|_| anyhow::anyhow!("RUST_LOG is not a log filter"))?;
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if environment.text_or("LOG_FORMAT", "text") == "json" {
        lines.json().boxed()
    } else {
        // No colours: container logs are read through `docker logs`, files and CI.
        lines.with_ansi(false).boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines.with_filter(filter_fn(|event| !may_hold_secrets(event))))
        .try_init()?;
    Ok(())
}

/// lapin's trace shows whole frames, and the one that logs in holds the password.
fn may_hold_secrets(event: &Metadata<'_>) -> bool {
    event.target().starts_with("lapin") && *event.level() == Level::TRACE
}

/// Starts counting; the handle renders the counters for Prometheus.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}
