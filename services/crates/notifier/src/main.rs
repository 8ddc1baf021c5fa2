//! notifier: records completed actions and notifies all subscribers.

mod events;

use common::{
    broker::{parse, Failure, Queue},
    db::PgPool,
    model::ActionMessage,
    service::{self, broker_check, database_check, Context, Identity},
    store,
};
use std::process::ExitCode;
use tokio::sync::broadcast;

const IDENTITY: Identity = Identity {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Records completed actions and notifies all subscribers",
};
/// Events buffered for a slow subscriber. If it falls further behind, it is informed how many events it missed.
const BACKLOG: usize = 256;

fn main() -> ExitCode {
    service::main(IDENTITY, |context| Box::pin(run(context)))
}

async fn run(context: Context) -> anyhow::Result<()> {
    let database = context.database().await?;
    let broker = context.broker().await?;
    let checks = vec![database_check(&database), broker_check(&broker)];
    let (subscribers, _) = broadcast::channel(BACKLOG);
    let routes = events::router(subscribers.clone(), context.shutdown.clone());
    let handler = Box::new(move |body: Vec<u8>| {
        let (database, subscribers) = (database.clone(), subscribers.clone());
        Box::pin(async move { notify(&database, &subscribers, &body).await }) as _
    });
    tokio::try_join!(
        context.serve(routes, checks),
        broker.consume(Queue::Completions, handler, context.shutdown.clone()),
    )?;
    Ok(())
}

async fn notify(
    database: &PgPool,
    subscribers: &broadcast::Sender<ActionMessage>,
    body: &[u8],
) -> Result<(), Failure> {
    let message: ActionMessage = parse(body)?;
    if store::notify(database, IDENTITY.name, message.action_id).await? {
        metrics::counter!("notifications_total").increment(1);
        // An error only means that there are no subscribers.
        let listeners = subscribers.send(message).unwrap_or(0);
        tracing::info!(action_id = %message.action_id, listeners, "notified");
    }
    Ok(())
}
