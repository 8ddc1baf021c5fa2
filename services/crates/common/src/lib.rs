//! What the five services share. Code that is slow to compile (queries, message loops, the HTTP server) is here, behind
//! plain functions, so that a service's own crate stays small and compiles quickly after an edit.

pub mod broker;
pub mod config;
pub mod db;
pub mod health;
pub mod http;
pub mod model;
pub mod retry;
pub mod service;
pub mod store;
pub mod telemetry;
