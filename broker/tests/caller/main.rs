//! The broker side of a caller against a private redis-server: setup, push, mailboxes, live topics, control.

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/server.rs"]
mod server;

mod backlog;
mod control;
mod faults;
mod harness;
mod inbox;
mod parts;
mod push;
mod restart;
mod setup;
mod tls;
mod together;
mod topics;
mod topics_rebuilt;
mod trouble;
