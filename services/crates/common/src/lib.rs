//! What the five services share.
//!
//! Whatever is heavy to compile (queries, message loops, the HTTP server) lives here behind plain functions, so that a
//! service's own crate stays small and an edit in it is compiled quickly.

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
