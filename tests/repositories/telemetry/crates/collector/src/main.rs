//! Receives readings and stores them.

use anyhow::Result;
use clap::Parser;
use futures_util::StreamExt;
use telemetry_store::Store;
use telemetry_units::Unit;
use telemetry_wire::Readings;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::FramedRead;

#[derive(Unit)]
struct Kelvin;

#[derive(Parser)]
struct Options {
    /// The file with the readings.
    #[arg(long, env = "TELEMETRY_FILE", default_value = "/var/lib/telemetry/readings.db")]
    file: String,
    /// Only check that a running collector accepts connections.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if options.check {
        TcpStream::connect("127.0.0.1:7070").await?;
        return Ok(());
    }
    let store = Store::open(&options.file)?;
    let listener = TcpListener::bind("0.0.0.0:7070").await?;
    println!("collecting {} with SQLite {}", Kelvin::NAME, telemetry_store::library());
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = terminated.recv() => return Ok(()),
            accepted = listener.accept() => {
                let mut readings = FramedRead::new(accepted?.0, Readings::default());
                while let Some(reading) = readings.next().await {
                    store.add(&reading?)?;
                    println!("{} readings", store.count()?);
                }
            }
        }
    }
}
