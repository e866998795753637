//! What becomes of the jobs of workers that are gone, against a private redis-server.

#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/server.rs"]
mod server;

mod forced;
mod keeper;
mod presence;
mod records;
mod rest;
mod rivals;
mod scene;
mod silent;
