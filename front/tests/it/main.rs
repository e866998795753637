//! A front as its clients and workers see it: real sockets, a private redis-server, and workers made of nothing but
//! Redis commands.

#[path = "../../../broker/tests/support/proxy.rs"]
mod proxy;
#[path = "../../../broker/tests/support/server.rs"]
mod server;

mod client;
mod event_source;
mod scene;

mod access_log;
mod admin;
mod background;
mod binding;
mod cancelling;
mod changes;
mod connections;
mod crowds;
mod doubt;
mod events;
mod files;
mod forms;
mod framing;
mod http2;
mod job_status;
mod listening;
mod metrics;
mod overload;
mod policies;
mod proxies;
mod refusals;
mod reloading;
mod request_ids;
mod requests;
mod responses;
mod restart;
mod routes;
mod server_timing;
mod slowness;
mod state;
mod stopping;
mod takeover;
mod tls;
mod topics;
mod unregistered;
