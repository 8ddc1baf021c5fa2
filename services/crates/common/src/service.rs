//! The life cycle of a service: command line, startup, shutdown.

use crate::{
    broker::Broker,
    config::{BrokerConfig, DatabaseConfig, Environment},
    db,
    health::{self, Check},
    http, telemetry,
};
use axum::Router;
use clap::Command;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use std::{
    future::Future,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    signal::unix::{signal, SignalKind},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Shown at the end of every service's `--help`.
const SAMPLE: &str =
    "Part of the buildkit-sample stack. Settings come from the environment: see .env.example.";
/// Default port of a service, unless `PORT` is set.
const DEFAULT_PORT: u16 = 8080;
/// Maximum time from the signal to the exit; compose kills the container after 10 s.
const GRACE: Duration = Duration::from_secs(5);

/// The identity of a service.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its name in logs, the history and `/health`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// One sentence for `--help`.
    pub about: &'static str,
}

/// What a running service has access to.
#[derive(Clone)]
pub struct Context {
    /// Its identity.
    pub identity: Identity,
    /// Its settings.
    pub environment: Arc<Environment>,
    /// Cancelled when the service has to stop.
    pub shutdown: CancellationToken,
    metrics: PrometheusHandle,
    broker: Arc<OnceLock<Arc<Broker>>>,
}

impl Context {
    /// Connects to the database and migrates its schema.
    pub async fn database(&self) -> anyhow::Result<PgPool> {
        let config = DatabaseConfig::from_environment(&self.environment)?;
        self.unless_stopped(db::connect(&config, self.identity.name))
            .await
    }

    /// Connects to the broker and declares all queues.
    pub async fn broker(&self) -> anyhow::Result<Arc<Broker>> {
        let config = BrokerConfig::from_environment(&self.environment)?;
        let broker = self
            .unless_stopped(Broker::connect(config, self.identity.name))
            .await?;
        Ok(self.broker.get_or_init(|| broker).clone())
    }

    /// Serves `/health`, `/metrics` and the service's own routes until the service stops.
    pub async fn serve(&self, routes: Router, checks: Vec<Check>) -> anyhow::Result<()> {
        let health = health::router(self.identity.name, self.identity.version, checks);
        http::serve(
            port(&self.environment)?,
            routes.merge(health),
            self.metrics.clone(),
            self.shutdown.clone(),
        )
        .await
    }

    async fn unless_stopped<T>(
        &self,
        start: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            result = start => result,
            () = self.shutdown.cancelled() => anyhow::bail!("stopped while starting"),
        }
    }
}

/// Checks that the database responds.
pub fn database_check(pool: &PgPool) -> Check {
    let pool = pool.clone();
    Check::new("postgres", move || {
        let pool = pool.clone();
        Box::pin(async move { Ok(db::ping(&pool).await?) })
    })
}

/// Checks that the broker responds.
pub fn broker_check(broker: &Arc<Broker>) -> Check {
    let broker = broker.clone();
    Check::new("rabbitmq", move || {
        let broker = broker.clone();
        Box::pin(async move { broker.check().await })
    })
}

/// What a service does from startup to shutdown.
pub type Run = fn(Context) -> BoxFuture<'static, anyhow::Result<()>>;

/// A service's `main`: runs the service, or queries the running one with the subcommand `health` (exit code 0 or 1).
pub fn main(identity: Identity, run: Run) -> ExitCode {
    let environment = Environment::of_process();
    match command(identity).get_matches().subcommand_name() {
        Some("health") => ask_health(&environment),
        _ => start(identity, environment, run),
    }
}

fn command(identity: Identity) -> Command {
    Command::new(identity.name)
        .version(identity.version)
        .about(identity.about)
        .after_help(SAMPLE)
        .subcommand(
            Command::new("health").about("Queries the running service; fails if it is not healthy"),
        )
}

fn port(environment: &Environment) -> anyhow::Result<u16> {
    Ok(environment.number_or("PORT", DEFAULT_PORT)?)
}

fn ask_health(environment: &Environment) -> ExitCode {
    let answer = port(environment).and_then(|port| Ok(health::ask(port)?));
    match answer {
        Ok((well, body)) => {
            println!("{body}");
            if well {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            println!("no response: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(identity: Identity, environment: Environment, run: Run) -> ExitCode {
    let outcome = telemetry::start_logging(&environment)
        .and_then(|()| telemetry::start_metrics())
        .and_then(|metrics| {
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(live(
                    Context {
                        identity,
                        environment: Arc::new(environment),
                        shutdown: CancellationToken::new(),
                        metrics,
                        broker: Arc::default(),
                    },
                    run,
                ))
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not to the log: RUST_LOG may be the cause, or may hide everything.
            eprintln!("{}: {error:#}", identity.name);
            ExitCode::FAILURE
        }
    }
}

async fn live(context: Context, run: Run) -> anyhow::Result<()> {
    let Identity { name, version, .. } = context.identity;
    tracing::info!(name, version, "starting");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let service = run(context.clone());
    tokio::pin!(service);
    let outcome = tokio::select! {
        outcome = &mut service => outcome,
        _ = terminate.recv() => stop(&context, &mut service).await,
        _ = interrupt.recv() => stop(&context, &mut service).await,
    };
    if let Some(broker) = context.broker.get() {
        broker.close().await;
    }
    outcome
}

/// Asks the service to stop and waits for it; errors no longer matter.
async fn stop(
    context: &Context,
    service: &mut (impl Future<Output = anyhow::Result<()>> + Unpin),
) -> anyhow::Result<()> {
    tracing::info!("stopping");
    context.shutdown.cancel();
    match timeout(GRACE, service).await {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::info!("stopped: {error:#}"),
        Err(_) => tracing::warn!("stopped before all work was finished"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        name: "probe",
        version: "1.2.3",
        about: "Probes.",
    };

    #[test]
    fn the_command_line_is_consistent_and_tells_the_version() {
        command(IDENTITY).debug_assert();
        assert_eq!(command(IDENTITY).render_version(), "probe 1.2.3\n");
    }
}
