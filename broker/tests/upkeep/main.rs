//! Looking after background jobs against a private redis-server: dead and delayed jobs, limits, single jobs, purges.

#[path = "../support/server.rs"]
mod server;

mod groups;
mod limits;
mod lineup;
mod purge;
mod scene;
mod shelf;
mod sighting;
