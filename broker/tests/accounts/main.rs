//! Accounts with the rights of a part of Tempest, in a private redis-server: each does its work, and nothing else.

#[path = "../support/server.rs"]
mod server;

mod denied;
mod scene;
mod upkeep;
mod work;
