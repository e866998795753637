//! Workers in the words of the domain, against a private redis-server.

#[path = "../../../broker/tests/support/proxy.rs"]
mod proxy;
#[path = "../../../broker/tests/support/server.rs"]
mod server;

mod background;
mod cancel;
mod cluster;
mod crash;
mod drain;
mod failure;
mod handlers;
mod hooks;
mod lanes;
mod limits;
