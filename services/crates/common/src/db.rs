//! The connection to PostgreSQL and its schema.

use crate::{config::DatabaseConfig, retry};
use anyhow::Context;
use sqlx::{
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::time::Duration;

pub use sqlx::PgPool;

/// Maximum number of connections per service; five services stay far below PostgreSQL's default of 100.
const MAX_CONNECTIONS: u32 = 8;
/// How long a query waits for a connection before it fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The migrations, compiled into every service.
pub fn migrations() -> Migrator {
    let mut migrator = sqlx::migrate!();
    // Services are rebuilt one at a time, so an older one must work with a schema that a newer one has extended.
    migrator.set_ignore_missing(true);
    migrator
}

/// Waits for PostgreSQL and brings the schema up to date. Any service may start first: sqlx takes an advisory lock, so
/// exactly one service applies a migration.
pub async fn connect(config: &DatabaseConfig, service: &str) -> anyhow::Result<PgPool> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&config.host)
        .port(config.port)
        .username(&config.user)
        .password(config.password.expose())
        .database(&config.database)
        .application_name(service);
    let pool = PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options);
    retry::until_ready("PostgreSQL", || async {
        // Not `acquire`, which hides a refused connection behind its own timeout.
        ping(&pool).await
    })
    .await
    .context("PostgreSQL is unreachable")?;
    migrations()
        .run(&pool)
        .await
        .context("could not migrate the schema")?;
    Ok(pool)
}

/// Checks that the database responds.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(pool).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let versions: Vec<i64> = migrations().iter().map(|m| m.version).collect();
        assert!(!versions.is_empty());
        assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>());
    }
}
