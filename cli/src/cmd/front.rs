//! `tempest front`: alone, with a configuration that can change and a front that can take its place.

use tempest_broker::Broker;
use tempest_front::{Front, Handle};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    args::FrontArgs,
    config::{Config, Sources},
    failure::Failure,
    given::Given,
    log::{self, Log},
    output::print,
    reload::{Reloader, write_schedules},
    service,
    signals::{Signals, Told},
    successor::Origin,
    traces::Traces,
};

/// What the front runs with, from its first moment on.
struct Start<'a> {
    load: &'a (dyn Fn() -> Result<Config, Failure> + Sync),
    origin: Origin,
    log: Log,
    signals: Signals,
}

pub(crate) async fn run(args: &FrontArgs, given: Given) -> Result<(), Failure> {
    let origin = Origin::of_this_process();
    let load = || {
        Config::load(&Sources {
            flags: args.flags.given(),
            file: args.file.config.as_deref(),
            up: super::running(),
            only_connects: false,
        })
    };
    let config = load()?;
    let log = log::start(&config, false);
    crate::open_files::raise();
    let start = Start { load: &load, origin, log, signals: Signals::listen()? };
    let traces = Traces::start(&config)?;
    let served = start.signals.guard(Box::pin(start.serve(config, given))).await;
    traces.end().await;
    served
}

impl Start<'_> {
    async fn serve(&self, config: Config, given: Given) -> Result<(), Failure> {
        let (sockets, waiting) = given.split();
        let broker = Broker::connect(config.broker(None, "tempest front")).await?;
        let front = Front::bind_with(broker.clone(), config.front(), sockets).await?;
        write_schedules(&config, &broker).await?;
        for url in front.urls() {
            print(format!("front {url}\n").as_bytes())?;
        }
        for url in front.admin_urls() {
            print(format!("admin {url}\n").as_bytes())?;
        }
        let shown = broker.settings().shown_url();
        print(format!("redis {shown}\n").as_bytes())?;

        let (handle, stop) = (front.handle(), CancellationToken::new());
        let mut running = tokio::spawn(front.run(stop.clone()));
        waiting.ready();
        tokio::select! {
            () = self.obey(config, handle, broker.clone()) => {}
            ended = &mut running => {
                ended.map_err(|error| Failure::new(format!("the front failed: {error}")))?;
                return Err(Failure::new("the front has ended by itself"));
            }
        }
        stop.cancel();
        let report = running.await.map_err(|error| Failure::new(format!("the front failed: {error}")))?;
        broker.close().await;
        print(format!("{report}\n").as_bytes())
    }

    /// Does what signals say until this front has to stop.
    async fn obey(&self, config: Config, front: Handle, broker: Broker) {
        let (load, log) = (self.load, &self.log);
        let mut reloader = Reloader { config, load, front: front.clone(), broker, log, workers: None };
        loop {
            match self.signals.told().await {
                Told::Reload => drop(reloader.reload().await), // it was said how that went
                Told::Replace => match self.replace(&front).await {
                    Ok(pid) => return print_replaced(pid),
                    Err(_) if self.signals.stop.is_cancelled() => {}
                    Err(why) => error!("no new front: {why}; this one serves on"),
                },
                Told::Stop => return service::stopping(),
            }
        }
    }

    /// Starts a front that takes the place of this one. Gives its process id when it serves.
    async fn replace(&self, front: &Handle) -> Result<u32, String> {
        let sockets = front.sockets().map_err(|error| error.to_string())?;
        let pid = self.origin.succeed(sockets, &self.signals.stop).await?;
        front.replaced();
        // From here on this process is not the service: that it ends is nobody's concern.
        service::is_now(pid);
        Ok(pid)
    }
}

fn print_replaced(pid: u32) {
    // Nobody may read it; that hinders nothing.
    print(format!("process {pid} takes the place of this front, which finishes what it holds\n").as_bytes())
        .ok();
}
