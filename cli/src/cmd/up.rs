//! `tempest up`: Redis, front and workers as one, and the order in which they end.

mod rolling;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tempest_broker::Broker;
use tempest_front::{Front, Handle};
use tempest_protocol::Queue;
use tempest_supervisor::{Spawner, Supervisor};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    args::UpArgs,
    cluster::{Addresses, Claimed},
    config::{Config, Origin, Sources},
    failure::Failure,
    given::Given,
    log::{self, Log},
    orders::{Answering, Orders},
    output::{print, printer},
    private_redis::{PrivateRedis, Wish},
    reload::{Reloader, write_schedules},
    service,
    signals::{Signals, Told},
    traces::Traces,
    watch::Watch,
};
use rolling::{Rolling, Wanted};

/// How long a Redis may read its data at the start.
const LOADING: Duration = Duration::from_secs(120);
/// How long to wait for the first workers before the addresses are said.
const FIRST_WORKERS: Duration = Duration::from_secs(3);

/// What the cluster runs with, from its first moment on.
struct Start<'a> {
    load: &'a (dyn Fn() -> Result<Config, Failure> + Sync),
    log: Log,
    signals: Signals,
    /// Whether workers are restarted when their files change.
    watches: bool,
}

pub(crate) async fn run(args: &UpArgs, given: Given) -> Result<(), Failure> {
    let load = || {
        let file = args.file.config.as_deref();
        Config::load(&Sources { flags: args.flags.given(), file, ..Sources::default() })
    };
    let config = load()?;
    let log = log::start(&config, false);
    crate::open_files::raise();
    let start = Start { load: &load, log, signals: Signals::listen()?, watches: args.watch };
    let traces = Traces::start(&config)?;
    let served = start.signals.guard(Box::pin(up(config, &start, given))).await;
    traces.end().await;
    served
}

async fn up(config: Config, start: &Start<'_>, given: Given) -> Result<(), Failure> {
    let claimed = Claimed::claim()?;
    let spawner = Arc::new(Spawner::start());
    let redis =
        if config.names_redis() { None } else { Some(start_redis(&config, &claimed, spawner).await?) };
    let served = Box::pin(serve(config, &claimed, redis.as_ref(), start, given)).await;
    drop(claimed);
    if let Some(redis) = redis {
        redis.stop().await;
        print(b"redis: stopped, its data is kept\n")?;
    }
    served
}

async fn start_redis(
    config: &Config,
    claimed: &Claimed,
    spawner: Arc<Spawner>,
) -> Result<PrivateRedis, Failure> {
    let port = u16::try_from(config.number("redis.port")).unwrap_or_default();
    let named = config.value("redis.port").origin != Origin::Default;
    let redis = PrivateRedis::start(&claimed.redis_folder()?, Wish { port, named }, spawner).await?;
    if !named && redis.port() != port {
        let taken = format!(
            "port {port} is taken, so the private Redis is on port {}; to use what runs there: --redis-url redis://127.0.0.1:{port}\n",
            redis.port()
        );
        print(taken.as_bytes())?;
    }
    Ok(redis)
}

async fn serve(
    config: Config,
    claimed: &Claimed,
    redis: Option<&PrivateRedis>,
    start: &Start<'_>,
    given: Given,
) -> Result<(), Failure> {
    let signals = &start.signals;
    let (sockets, waiting) = given.split();
    let watch = || Watch::start(&config.workers, config.file.as_deref());
    let watch = start.watches.then(watch).transpose()?;
    let broker = Broker::connect(config.broker(redis.map(PrivateRedis::url), "tempest up")).await?;
    loaded(&broker).await?;
    let front = Front::bind_with(broker.clone(), config.front(), sockets).await?;
    write_schedules(&config, &broker).await?;
    let (urls, admin, handle) = (front.urls(), front.admin_urls(), front.handle());

    let (front_stop, workers_stop) = (CancellationToken::new(), CancellationToken::new());
    let mut front = tokio::spawn(front.run(front_stop.clone()));
    let width = config.workers.iter().map(|worker| worker.name.len() + 3).max().unwrap_or_default();
    let (lines, printing) = printer(width);
    let supervisor = Supervisor::new(broker.clone(), config.workers.clone(), config.supervisor());
    let rolling =
        Rolling { workers: supervisor.orders(), orders: Orders::listen(&claimed.control())?, watch };
    let workers = tokio::spawn(supervisor.run(lines, workers_stop.clone()));

    signals.stop.run_until_cancelled(first_workers(&broker, &config)).await;
    announce(&config, claimed, &broker, &urls)?;
    print(say(&broker, redis, [&urls, &admin], &config).as_bytes())?;
    waiting.ready();
    let early = tokio::select! {
        () = start.obey(config, handle, broker.clone(), rolling) => None,
        ended = &mut front => Some(ended),
    };
    service::stopping();

    print(b"stopping: the front finishes what it holds, then the workers; once more ends at once\n")?;
    front_stop.cancel();
    let front = match early {
        Some(ended) => ended,
        None => front.await,
    };
    let front = front.map_err(|error| Failure::new(format!("the front failed: {error}")));
    workers_stop.cancel();
    let workers = workers.await.map_err(|error| Failure::new(format!("the supervisor failed: {error}")));
    printing.await.ok();
    broker.close().await;
    print(format!("{}\n{}\n", front?, workers?).as_bytes())
}

impl Start<'_> {
    /// Does what signals, changed files and commands say until the cluster has to stop.
    async fn obey(&self, config: Config, front: Handle, broker: Broker, mut rolling: Rolling) {
        let workers = Some(rolling.workers.clone());
        let mut reloader = Reloader { config, load: self.load, front, broker, log: &self.log, workers };
        loop {
            tokio::select! {
                biased;
                told = self.signals.told() => match told {
                    Told::Stop => return,
                    Told::Reload => rolling.reload(&mut reloader, Vec::new(), Answering::nobody()).await,
                    Told::Replace => error!(
                        "SIGUSR2: only tempest front can be replaced while it serves; a whole cluster is stopped and started"
                    ),
                },
                wanted = rolling.next() => match wanted {
                    Wanted::Asked(asked) => rolling.obey(&mut reloader, asked).await,
                    Wanted::Changed(changed) => rolling.follow(&mut reloader, changed).await,
                },
            }
        }
    }
}

/// Waits until a Redis that reads its data takes commands.
async fn loaded(broker: &Broker) -> Result<(), Failure> {
    let until = Instant::now() + LOADING;
    loop {
        match broker.queues().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                tokio::time::timeout_at(until.into(), broker.up()).await.ok();
            }
        }
    }
}

/// Waits until every queue of a worker has one, but not for long: a worker may have no lease at all.
async fn first_workers(broker: &Broker, config: &Config) {
    let started = config.workers.iter().filter(|worker| worker.count > 0);
    let wanted: BTreeSet<&Queue> = started.flat_map(|worker| &worker.queues).collect();
    let until = Instant::now() + FIRST_WORKERS;
    while Instant::now() < until {
        let states = broker.worker_states().await.unwrap_or_default();
        let served = |queue: &Queue| states.iter().any(|state| state.queue == *queue && state.is_alive());
        if wanted.iter().all(|queue| served(queue)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn announce(config: &Config, claimed: &Claimed, broker: &Broker, urls: &[String]) -> Result<(), Failure> {
    let settings = broker.settings();
    claimed.announce(&Addresses {
        front: urls.first().map_or("", String::as_str),
        redis_url: &settings.url,
        redis_tls: settings.tls.clone(),
        prefix: settings.prefix.as_str(),
        topic_prefix: &config.broker(None, "").topic_prefix,
    })
}

/// Where everything is.
fn say(
    broker: &Broker,
    redis: Option<&PrivateRedis>,
    [front, admin]: [&[String]; 2],
    config: &Config,
) -> String {
    let mut text = String::new();
    for (what, urls) in [("front", front), ("admin", admin)] {
        urls.iter().for_each(|url| text += &format!("{what} {url}\n"));
    }
    text += &format!("redis {}", broker.settings().shown_url());
    if let Some(redis) = redis {
        text += &format!("  (redis-cli -p {})", redis.port());
    }
    if config.workers.is_empty() {
        text += "\nno workers: list them in tempest.toml (tempest init writes one), or start some by hand";
    }
    text + "\n"
}
