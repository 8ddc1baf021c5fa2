//! All queries. They are checked against `.sqlx` when the program is compiled.

use sqlx::PgPool;

pub struct Entry {
    pub name: String,
    pub message: String,
}

pub async fn newest(pool: &PgPool) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(Entry, "SELECT name, message FROM entries ORDER BY id DESC LIMIT 50").fetch_all(pool).await
}

pub async fn add(pool: &PgPool, name: &str, message: &str) -> sqlx::Result<()> {
    sqlx::query!("INSERT INTO entries (name, message) VALUES ($1, $2)", name, message).execute(pool).await?;
    Ok(())
}

pub async fn count(pool: &PgPool) -> sqlx::Result<i64> {
    Ok(sqlx::query_scalar!("SELECT count(*) FROM entries").fetch_one(pool).await?.unwrap_or(0))
}
