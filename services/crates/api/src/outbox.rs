//! Publishes actions. An action is first stored and then published, and the service may crash in between, so a periodic
//! sweep publishes lost actions again.

use common::{
    broker::{Broker, Queue},
    db::PgPool,
    model::ActionMessage,
    store,
};
use std::time::Duration;
use tokio::time::{interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Time between two sweeps.
const PAUSE: Duration = Duration::from_secs(5);
/// An action that has not been published after this time is published again. If it was only slow, it is published
/// twice, which executor can handle.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// Heartbeats older than this are deleted.
const HEARTBEATS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Sweeps until `shutdown`. If a sweep fails, it is only logged, because the next one does the same work.
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

/// Sends the action to executor and records that it was sent.
pub async fn publish(database: &PgPool, broker: &Broker, action_id: Uuid) -> anyhow::Result<()> {
    broker
        .publish(Queue::Actions, &ActionMessage { action_id })
        .await?;
    Ok(store::published(database, action_id).await?)
}

async fn sweep(database: &PgPool, broker: &Broker) -> anyhow::Result<()> {
    for action_id in store::unpublished(database, LOST_AFTER).await? {
        publish(database, broker, action_id).await?;
        tracing::info!(%action_id, "published again");
    }
    store::forget_heartbeats(database, HEARTBEATS_KEPT).await?;
    Ok(())
}
