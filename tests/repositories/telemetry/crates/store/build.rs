//! Joins the schema's parts, in the order of their names.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=schema");
    let mut parts: Vec<_> = fs::read_dir("schema").unwrap().map(|entry| entry.unwrap().path()).collect();
    parts.sort();
    let schema: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("schema.sql"), schema).unwrap();
}
