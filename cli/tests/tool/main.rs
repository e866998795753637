//! The binary `tempest` as people meet it: each command against a private redis-server.

#[path = "../../../broker/tests/support/server.rs"]
mod server;

mod acl;
mod cancel;
mod config;
mod dead;
mod docs;
mod doctor;
mod find;
mod inspect;
mod jobs;
mod log;
mod mistakes;
mod publish;
mod push;
mod queues;
mod rolling;
mod schedules;
mod shop;
mod signals;
mod up;
mod watch;
