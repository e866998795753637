//! The server: sockets, one task a connection, and the order of stopping. What a request is answered with is the
//! business of `exchange` and what it calls.

mod accept;
mod connection;
mod goodbye;
mod http1;
mod http2;
mod listen;
mod owed;
mod patience;
mod proxy_header;
mod reload;
mod sockets;
mod stop;
mod takeover;
mod tls;
mod watched;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use tempest_broker::Broker;
use tokio_util::sync::CancellationToken;

use crate::{Cluster, Error, FrontConfig, admin, limits::Census, recent::Recent, router::Router};
use sockets::Estate;
use tls::Tls;

pub(crate) use connection::Peer;
pub use listen::BACKLOG;
pub use reload::{Handle, Reloaded};
pub(crate) use sockets::Listening;
pub use sockets::{Inherited, Spoken};
pub use stop::Report;
pub(crate) use takeover::Takeover;
pub use tls::Validity;

/// How long the last answers of the admin listener may take when the front has stopped.
const ADMIN_END: Duration = Duration::from_secs(1);

/// A front that listens.
pub struct Front {
    serving: Arc<Serving>,
    listening: Vec<Listening>,
    admin: Vec<Listening>,
    addresses: Vec<SocketAddr>,
}

/// What all connections of a front share.
pub(crate) struct Serving {
    pub(crate) cluster: Cluster,
    /// A request keeps the table it began with.
    pub(crate) router: ArcSwap<Router>,
    /// TLS, if it is spoken anywhere.
    pub(crate) tls: Option<Tls>,
    /// Where requests in plaintext are sent to, if they are: the port of TLS.
    pub(crate) tls_port: Option<u16>,
    /// What was refused lately.
    pub(crate) recent: Recent,
    /// Connections that are open.
    pub(crate) connections: Arc<Census>,
    /// New connections are no longer taken, and each response is the last of its connection.
    pub(crate) closing: AtomicBool,
    /// Another front serves on the same sockets.
    pub(crate) replaced: AtomicBool,
    /// The admin listener closes.
    pub(crate) silent: CancellationToken,
}

impl Front {
    /// Checks the routes, listens, and opens the mailbox.
    ///
    /// Errors: [`Error::Routes`], [`Error::Bind`], [`Error::Bus`].
    pub async fn bind(broker: Broker, config: FrontConfig) -> Result<Self, Error> {
        Self::bind_with(broker, config, Inherited::default()).await
    }

    /// The same on sockets that somebody else has opened, as far as there are any.
    ///
    /// Errors: [`Error::Routes`], [`Error::Bind`], [`Error::Inherited`], [`Error::Bus`].
    pub async fn bind_with(
        broker: Broker,
        config: FrontConfig,
        mut inherited: Inherited,
    ) -> Result<Self, Error> {
        config.checked_routes().map_err(Error::Routes)?;
        let mut listening = inherited.or_listen(Spoken::Http, &config.listen).await?;
        let secured = inherited.or_listen(Spoken::Https, &config.tls.listen).await?;
        let tls_port = secured.first().map(|it| it.address.port());
        let tls = match tls_port {
            Some(_) => Some(Tls::new(&config.tls.certificates).map_err(Error::Certificates)?),
            None => None,
        };
        let admin = admin::listen(&mut inherited, &config.admin).await?;
        inherited.say_unused();
        listening.extend(secured);
        let addresses = listening.iter().map(|it| it.address).collect();
        let cluster = Cluster::open(broker, config).await?;
        let router = Router::new(&cluster, &cluster.shared.config.load())?;
        cluster.announce(router.queues().to_vec());
        let serving = Arc::new(Serving {
            cluster,
            router: ArcSwap::from_pointee(router),
            tls,
            tls_port,
            recent: Recent::default(),
            connections: Arc::default(),
            closing: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            silent: CancellationToken::new(),
        });
        Ok(Self { serving, listening, admin, addresses })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where people reach it: hosts as they were named, with the ports it was given.
    pub fn urls(&self) -> Vec<String> {
        urls(&self.listening)
    }

    /// Where operators and probes reach it.
    pub fn admin_urls(&self) -> Vec<String> {
        urls(&self.admin)
    }

    /// Where it listens for them.
    pub fn admin_addresses(&self) -> Vec<SocketAddr> {
        self.admin.iter().map(|it| it.address).collect()
    }

    /// What its services share.
    pub fn cluster(&self) -> &Cluster {
        &self.serving.cluster
    }

    /// What can be done with it while it runs.
    pub fn handle(&self) -> Handle {
        Handle::new(self.serving.clone(), Estate::of(self.listening.iter().chain(&self.admin)))
    }

    /// Serves until `shutdown`, then stops in order: it is no longer ready, but serves for `stop_delay_ms`; no new
    /// connections; event streams end with a hint to reconnect; replies in flight are waited for up to `drain_ms`;
    /// the rest is cut.
    pub async fn run(self, shutdown: CancellationToken) -> Report {
        if let Some(tls) = self.serving.tls.clone() {
            let (stopping, watching) = (self.serving.cluster.shared.stopping.clone(), tls.watch());
            let tasks = &self.serving.cluster.shared.tasks;
            tasks.spawn(stopping.run_until_cancelled_owned(watching));
        }
        let silent = self.serving.silent.clone();
        // Also when nobody waits for the end.
        let _guard = silent.clone().drop_guard();
        let admin = tokio::spawn(admin::serve(self.serving.clone(), self.admin, silent.clone()));
        let report = stop::run(self.serving, self.listening, shutdown).await;
        silent.cancel();
        tokio::time::timeout(ADMIN_END, admin).await.ok();
        report
    }
}

fn urls(listening: &[Listening]) -> Vec<String> {
    let mut urls: Vec<String> = listening.iter().map(Listening::url).collect();
    // A name may stand for several addresses.
    urls.dedup();
    urls
}
