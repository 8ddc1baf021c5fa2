//! api: accepts actions over HTTP and shows what became of them.

mod outbox;
mod routes;

use common::service::{self, broker_check, database_check, Context, Identity};
use std::process::ExitCode;

const IDENTITY: Identity = Identity {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Accepts actions over HTTP and shows what became of them",
};

fn main() -> ExitCode {
    service::main(IDENTITY, |context| Box::pin(run(context)))
}

async fn run(context: Context) -> anyhow::Result<()> {
    let database = context.database().await?;
    let broker = context.broker().await?;
    let checks = vec![database_check(&database), broker_check(&broker)];
    let routes = routes::router(database.clone(), broker.clone());
    tokio::try_join!(
        context.serve(routes, checks),
        outbox::run(&database, &broker, &context.shutdown),
    )?;
    Ok(())
}
