//! Readings in an SQLite file.

use anyhow::{Context, Result};
use rusqlite::{params, Connection};
use telemetry_wire::Reading;

const SCHEMA: &str = include_str!(concat!(env!("OUT_DIR"), "/schema.sql"));

pub struct Store(Connection);

impl Store {
    /// Opens the file, and creates the tables if they do not exist.
    pub fn open(path: &str) -> Result<Self> {
        let connection = Connection::open(path).with_context(|| format!("cannot open {path}"))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    pub fn add(&self, reading: &Reading) -> Result<()> {
        let sensor = reading.sensor.clone().unwrap_or_default();
        self.0.execute(
            "INSERT INTO readings VALUES (?1, ?2, ?3, ?4)",
            params![sensor.name, sensor.unit, reading.value, reading.time_ms as i64],
        )?;
        Ok(())
    }

    pub fn count(&self) -> Result<i64> {
        Ok(self.0.query_row("SELECT count(*) FROM readings", [], |row| row.get(0))?)
    }
}

/// Returns the version of the SQLite library.
pub fn library() -> &'static str {
    rusqlite::version()
}
