//! worker: runs the steps and completes the action.

mod work;

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
    about: "Runs the steps and completes the action",
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
        Box::pin(async move { do_step(&database, &publisher, &body).await }) as _
    });
    tokio::try_join!(
        context.serve(axum::Router::new(), checks),
        broker.consume(Queue::Steps, handler, context.shutdown.clone()),
    )?;
    Ok(())
}

async fn do_step(database: &PgPool, broker: &Arc<Broker>, body: &[u8]) -> Result<(), Failure> {
    let StepMessage {
        action_id,
        position,
    } = parse(body)?;
    let Some((kind, input)) = store::step(database, action_id, position).await? else {
        return Err(Failure::Lasting(anyhow::anyhow!(
            "no step {position} of action {action_id}"
        )));
    };
    let result = work::result(kind, &input);
    let completed =
        store::finish_step(database, IDENTITY.name, action_id, position, &result).await?;
    metrics::counter!("steps_done_total").increment(1);
    if completed {
        broker
            .publish(Queue::Completions, &ActionMessage { action_id })
            .await?;
        tracing::info!(%action_id, "completed");
    }
    Ok(())
}
