//! Schedules, against a private redis-server: what is written, and who fires it.

#[path = "../support/server.rs"]
mod server;

mod firing;
mod scene;
mod stored;
