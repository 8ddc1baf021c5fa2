//! Puts right what got lost: an action is written first and published second, and between the two anything may happen.

use common::{
    broker::{Broker, Queue},
    db::PgPool,
    model::ActionMessage,
    store,
};
use std::time::Duration;
use tokio::time::{interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Pause between two sweeps.
const PAUSE: Duration = Duration::from_secs(5);
/// An accepted action that executor has not touched for so long is published again; executor copes with doubles.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// Heartbeats older than this are deleted.
const HEARTBEATS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Sweeps until `shutdown`. A sweep that fails is logged: the next one does the same work.
pub async fn run(
    database: &PgPool,
    broker: &Broker,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => (),
        }
        if let Err(error) = sweep(database, broker).await {
            tracing::warn!("sweep: {error:#}");
        }
    }
}

async fn sweep(database: &PgPool, broker: &Broker) -> anyhow::Result<()> {
    for action_id in store::forgotten(database, FORGOTTEN_AFTER).await? {
        broker
            .publish(Queue::Actions, &ActionMessage { action_id })
            .await?;
        tracing::info!(%action_id, "published again");
    }
    store::forget_heartbeats(database, HEARTBEATS_KEPT).await?;
    Ok(())
}
