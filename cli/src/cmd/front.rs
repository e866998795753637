//! `tempest front`

use std::net::SocketAddr;

use tempest_broker::Broker;
use tempest_front::Front;

use crate::{
    args::FrontArgs,
    config::{Config, Sources},
    failure::Failure,
    log,
    output::print,
    signals::Signals,
};

pub(crate) async fn run(args: &FrontArgs) -> Result<(), Failure> {
    let sources = Sources {
        flags: args.flags.given(),
        file: args.file.config.as_deref(),
        up: super::running(),
        only_connects: false,
    };
    let config = Config::load(&sources)?;
    log::start(&config, false);
    crate::open_files::raise();
    let signals = Signals::listen()?;
    signals.guard(Box::pin(serve(&config, &signals))).await
}

async fn serve(config: &Config, signals: &Signals) -> Result<(), Failure> {
    let broker = Broker::connect(config.broker(None, "tempest front")).await?;
    let front = Front::bind(broker.clone(), config.front()).await?;
    for url in urls(&config.front().listen, front.addresses()) {
        print(format!("front {url}\n").as_bytes())?;
    }
    let shown = broker.settings().shown_url();
    print(format!("redis {shown}\n").as_bytes())?;
    let report = front.run(signals.stop.clone()).await;
    broker.close().await;
    print(format!("{report}\n").as_bytes())
}

/// Where people reach a front: as it was told, with the port it was given.
pub(super) fn urls(listen: &[String], addresses: &[SocketAddr]) -> Vec<String> {
    match listen {
        [one] => {
            let host = one.rsplit_once(':').map_or(one.as_str(), |(host, _)| host);
            addresses.first().map(|address| format!("http://{host}:{}", address.port())).into_iter().collect()
        }
        _ => addresses.iter().map(|address| format!("http://{address}")).collect(),
    }
}
