//! Logs on stderr and counters at `/metrics`.

use crate::config::Environment;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io;
use tracing_subscriber::{fmt, layer::SubscriberExt, util::SubscriberInitExt, EnvFilter};

/// Starts logging. `RUST_LOG` chooses what is logged (default `info`), `LOG_FORMAT=json` one JSON object a line.
pub fn start_logging(environment: &Environment) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(environment.text_or("RUST_LOG", "info"))
        .map_err(|_| anyhow::anyhow!("RUST_LOG is not a log filter"))?;
    let registry = tracing_subscriber::registry().with(filter);
    if environment.text_or("LOG_FORMAT", "text") == "json" {
        registry
            .with(fmt::layer().json().with_writer(io::stderr))
            .try_init()?;
    } else {
        // No colours: container logs are read through `docker logs`, files and CI.
        registry
            .with(fmt::layer().with_ansi(false).with_writer(io::stderr))
            .try_init()?;
    }
    Ok(())
}

/// Starts counting; the handle renders the counters for Prometheus.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}
