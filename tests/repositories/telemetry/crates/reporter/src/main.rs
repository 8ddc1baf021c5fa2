//! Sends one reading every few seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use futures_util::SinkExt;
use telemetry_units::Unit;
use telemetry_wire::{Reading, Readings, Sensor};
use tokio::net::TcpStream;
use tokio_util::codec::FramedWrite;

#[derive(Unit)]
struct Kelvin;

#[derive(Parser)]
struct Options {
    #[arg(long, env = "COLLECTOR", default_value = "collector:7070")]
    collector: String,
    #[arg(long, env = "SENSOR", default_value = "roof")]
    sensor: String,
}

async fn report(options: &Options) -> Result<()> {
    let mut out = FramedWrite::new(TcpStream::connect(&options.collector).await?, Readings::default());
    let time_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let sensor = Some(Sensor { name: options.sensor.clone(), unit: Kelvin::NAME.into() });
    out.send(Reading { sensor, value: 281.0, time_ms }).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    println!("reporting {} of {}", Kelvin::NAME, options.sensor);
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        if let Err(error) = report(&options).await {
            eprintln!("not sent: {error:#}");
        }
        tokio::select! {
            _ = terminated.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}
