//! `sqlx::migrate!` reads a directory that cargo does not know about, but a new migration must rebuild the crate.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
