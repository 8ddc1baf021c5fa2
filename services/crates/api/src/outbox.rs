//! Publishes actions. One is written first and published second, and between the two anything may happen: a sweep at an
//! interval publishes what got lost.

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

/// Pause between two sweeps.
const PAUSE: Duration = Duration::from_secs(5);
/// An action that is not published for so long is published again. One that just took its time goes out twice, which
/// executor copes with.
const LOST_AFTER: Duration = Duration::from_secs(10);
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

/// Hands the action to executor and remembers that it did.
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
