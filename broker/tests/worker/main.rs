//! The broker side of a worker against a private redis-server: leases, claims, settling, control.

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/server.rs"]
mod server;

mod claim;
mod control;
mod harness;
mod lease;
mod place;
mod settle;
mod whereabouts;
