//! `sqlx::migrate!` reads a directory, which cargo cannot see from the source: a new migration must rebuild the crate.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
