//! executor: splits an accepted action into steps and sends them to the worker.

use common::{
    broker::{parse, Broker, Failure, Queue},
    db::PgPool,
    model::{ActionMessage, StepMessage},
    service::{self, broker_check, database_check, Context, Identity},
    store,
};
use std::{process::ExitCode, sync::Arc};

const IDENTITY: Identity = Identity {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Splits an accepted action into steps and sends them to the worker",
};

fn main() -> ExitCode {
    service::main(IDENTITY, |context| Box::pin(run(context)))
}

async fn run(context: Context) -> anyhow::Result<()> {
    let database = context.database().await?;
    let broker = context.broker().await?;
    let checks = vec![database_check(&database), broker_check(&broker)];
    let publisher = broker.clone();
    let handler = Box::new(move |body: Vec<u8>| {
        let (database, publisher) = (database.clone(), publisher.clone());
        Box::pin(async move { dispatch(&database, &publisher, &body).await }) as _
    });
    tokio::try_join!(
        context.serve(axum::Router::new(), checks),
        broker.consume(Queue::Actions, handler, context.shutdown.clone()),
    )?;
    Ok(())
}

async fn dispatch(database: &PgPool, broker: &Arc<Broker>, body: &[u8]) -> Result<(), Failure> {
    let ActionMessage { action_id } = parse(body)?;
    let Some(positions) = store::dispatch(database, IDENTITY.name, action_id).await? else {
        return Err(Failure::Lasting(anyhow::anyhow!("no action {action_id}")));
    };
    // Published after the commit and before the acknowledgement: if this is interrupted, the message is delivered
    // again, and the steps that are still open are published again.
    for position in positions {
        let step = StepMessage {
            action_id,
            position,
        };
        broker.publish(Queue::Steps, &step).await?;
    }
    metrics::counter!("actions_dispatched_total").increment(1);
    tracing::info!(%action_id, "dispatched");
    Ok(())
}
