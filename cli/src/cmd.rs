//! The commands, a file each; and how those that only speak to Redis find it.

pub(crate) mod acl;
pub(crate) mod cancel;
pub(crate) mod config;
pub(crate) mod dead;
pub(crate) mod doctor;
pub(crate) mod front;
pub(crate) mod init;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod later;
pub(crate) mod publish;
pub(crate) mod push;
pub(crate) mod queues;
pub(crate) mod reload;
pub(crate) mod scale;
pub(crate) mod schedules;
mod shelf;
pub(crate) mod up;
pub(crate) mod workers;

use tempest_broker::Broker;
use tempest_protocol::Queue;

use crate::{
    cluster::UpFile,
    config::{Config, Sources},
    failure::Failure,
    flags::Flags,
    log,
    setting::used,
};

/// Connects a command that asks or says one thing.
async fn connect(flags: &Flags<{ used::CONNECT }>) -> Result<Broker, Failure> {
    let sources = Sources { flags: flags.given(), file: None, up: running(), only_connects: true };
    let config = Config::load(&sources)?;
    log::start(&config, true);
    Ok(Broker::connect(config.broker(None, "tempest")).await?)
}

/// This queue, or every one that was used.
async fn queues(broker: &Broker, queue: Option<&Queue>) -> Result<Vec<Queue>, Failure> {
    match queue {
        Some(queue) => Ok(vec![queue.clone()]),
        None => Ok(broker.queues().await?),
    }
}

/// The cluster that runs in this folder or one above.
fn running() -> Option<UpFile> {
    UpFile::find(&std::env::current_dir().ok()?)
}
