//! Waits for the API, then compares its articles with the catalog.

use std::time::Duration;

use anyhow::{ensure, Result};
use catalog::Article;
use clap::Parser;

#[derive(Parser)]
struct Options {
    #[arg(long, env = "API_URL", default_value = "http://api:9000")]
    url: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    loop {
        match reqwest::get(format!("{}/articles", options.url)).await {
            Ok(answer) => {
                ensure!(answer.json::<Vec<Article>>().await? == catalog::articles(), "the catalogs differ");
                println!("the catalogs agree");
                return Ok(());
            }
            Err(error) => eprintln!("waiting: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
