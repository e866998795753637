//! Children that live, die, are judged and are stopped, against a private redis-server.

#[path = "../../../broker/tests/support/server.rs"]
mod server;

mod limits;
mod lives;
mod orders;
mod scene;
mod told;
