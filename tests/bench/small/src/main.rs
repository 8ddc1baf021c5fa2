//! Reads a release from JSON and prints what comes next.

use semver::Version;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
struct Release {
    name: String,
    version: Version,
    platforms: Vec<String>,
}

fn main() -> Result<(), serde_json::Error> {
    let text = r#"{"name": "small", "version": "1.2.3", "platforms": ["amd64", "arm64"]}"#;
    let mut release: Release = serde_json::from_str(text)?;
    release.version.minor += 1;
    println!("{}", serde_json::to_string_pretty(&release)?);
    Ok(())
}
