//! sensor: posts a heartbeat action at an interval.

use anyhow::Context as _;
use common::{
    health::Check,
    model::{Kind, NewAction},
    retry,
    service::{self, Context, Identity},
};
use reqwest::Client;
use std::{
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    time::Duration,
};

const IDENTITY: Identity = Identity {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Posts a heartbeat action at an interval",
};
/// Seconds between two heartbeats, unless `SENSOR_INTERVAL_SECONDS` is set.
const INTERVAL_SECONDS: u64 = 30;
/// Timeout for one request.
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    service::main(IDENTITY, |context| Box::pin(run(context)))
}

async fn run(context: Context) -> anyhow::Result<()> {
    let api = context.environment.text("API_URL")?;
    let url = format!("{}/actions", api.trim_end_matches('/'));
    let seconds = context
        .environment
        .number_or("SENSOR_INTERVAL_SECONDS", INTERVAL_SECONDS)?;
    let interval = Duration::from_secs(seconds.max(1));
    // The api is in the same network: never use a company proxy for it.
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let heard = Arc::new(AtomicBool::new(false));
    let checks = vec![api_check(heard.clone())];
    let emit = async {
        let mut retry_pause = retry::FIRST_PAUSE;
        loop {
            let outcome = emit(&client, &url).await;
            heard.store(outcome.is_ok(), Ordering::Relaxed);
            let pause = match outcome {
                Ok(()) => {
                    retry_pause = retry::FIRST_PAUSE;
                    interval
                }
                Err(error) => {
                    tracing::warn!("heartbeat failed: {error:#}");
                    let pause = retry_pause;
                    retry_pause = retry::next_pause(pause);
                    pause
                }
            };
            tokio::select! {
                () = context.shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => (),
            }
        }
    };
    tokio::try_join!(context.serve(axum::Router::new(), checks), emit)?;
    Ok(())
}

/// Healthy as long as the last heartbeat was delivered.
fn api_check(heard: Arc<AtomicBool>) -> Check {
    Check::new("api", move || {
        let heard = heard.load(Ordering::Relaxed);
        Box::pin(async move {
            anyhow::ensure!(heard, "the last heartbeat was not delivered");
            Ok(())
        })
    })
}

async fn emit(client: &Client, url: &str) -> anyhow::Result<()> {
    let action = NewAction {
        kind: Kind::Heartbeat,
        items: vec![reading()?],
        source: IDENTITY.name.to_owned(),
    };
    client
        .post(url)
        .json(&action)
        .send()
        .await?
        .error_for_status()?;
    metrics::counter!("heartbeats_total").increment(1);
    Ok(())
}

/// What the sensor measures: the load of the machine.
fn reading() -> anyhow::Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    Ok(one_minute(&load)?.to_owned())
}

fn one_minute(load: &str) -> anyhow::Result<&str> {
    load.split(' ')
        .next()
        .filter(|word| word.parse::<f64>().is_ok())
        .context("/proc/loadavg does not start with a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reading_is_the_load_of_the_last_minute() {
        assert_eq!(one_minute("0.42 0.36 0.30 2/345 6789\n").unwrap(), "0.42");
        assert!(one_minute("").is_err());
        assert!(one_minute("much").is_err());
    }
}
