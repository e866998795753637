//! A cluster on one machine: a private Redis, fronts, and a worker whose every step is taken by the test itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tempest_broker::{
    Broker, Settings,
    acl::{self, Role, Scope},
};
use tempest_front::{
    AdminConfig, Cluster, Error, Front, FrontConfig, Handle, HttpConfig, Inherited, Report, Route,
};
use tempest_protocol::{Content, Failure, Headers, HttpRequest, Job, Keys, Queue, Reply};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, Response},
    event_source::EventSource,
    proxy::Proxy,
    server::{Answer, Server, eventually},
};

/// The queue of most tests.
pub(crate) const LANE: &str = "tempest:{default}";

/// A cluster.
pub(crate) struct Scene {
    pub(crate) redis: Server,
    runtime: Runtime,
    /// How a front reaches Redis, as its account.
    url: String,
}

/// A front that needs another right fails whatever it does besides.
impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let denied = self.redis.denied("front");
            assert!(denied.is_empty(), "Redis has denied {denied:?} to a front; see broker/src/rights.rs");
        }
    }
}

/// A front with everything at its default but a free port.
pub(crate) fn config() -> FrontConfig {
    let admin = AdminConfig { listen: Vec::new(), any_port: false, ..AdminConfig::default() };
    FrontConfig { listen: vec!["127.0.0.1:0".into()], drain_ms: 5_000, admin, ..FrontConfig::default() }
}

/// The same with routes of its own.
pub(crate) fn routes(routes: Vec<Route>) -> FrontConfig {
    FrontConfig { routes, ..config() }
}

/// The same with other limits of connections.
pub(crate) fn limited(http: HttpConfig) -> FrontConfig {
    FrontConfig { http, ..config() }
}

impl Scene {
    /// A cluster in which somebody with a lease works on the queue `default`: [`Scene::claim`] takes its jobs.
    pub(crate) fn new() -> Self {
        let scene = Self::without_worker(Server::start());
        scene.attend("default");
        scene
    }

    /// A cluster in which nobody works. The front has the rights of one, and nothing else.
    pub(crate) fn without_worker(mut redis: Server) -> Self {
        let rules = acl::rules(&Settings::new(redis.url(), "front"), Role::Front, &Scope::default());
        let url = redis.account("front", &rules);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self { redis, runtime, url }
    }

    /// Registers a worker for a queue, with a lease that outlives the test.
    pub(crate) fn attend(&self, queue: &str) {
        self.redis.run(&["SADD", "tempest:queues", queue]);
        self.redis.run(&["SADD", &format!("tempest:{{{queue}}}:workers"), "hand-1-a.0"]);
        self.redis.run(&["SET", &format!("tempest:{{{queue}}}:lease:hand-1-a"), "{}", "PX", "600000"]);
    }

    /// A front with default routes.
    pub(crate) fn front(&self) -> Running {
        self.front_with(config())
    }

    /// A front that knows of every worker that was registered before.
    pub(crate) fn front_with(&self, config: FrontConfig) -> Running {
        self.front_at(&self.url, config)
    }

    /// The same, reaching Redis under another address.
    pub(crate) fn front_at(&self, url: &str, config: FrontConfig) -> Running {
        let front = self.try_front(url, config).expect("the front starts");
        self.wait_for_presence(&front);
        front
    }

    /// A front that may refuse to start.
    pub(crate) fn try_front(&self, url: &str, config: FrontConfig) -> Result<Running, Error> {
        self.try_front_on(url, config, Inherited::default())
    }

    /// The same on sockets that were opened elsewhere.
    pub(crate) fn try_front_on(
        &self,
        url: &str,
        config: FrontConfig,
        sockets: Inherited,
    ) -> Result<Running, Error> {
        let shutdown = CancellationToken::new();
        self.runtime.block_on(async {
            let broker = Broker::connect(Settings::new(url, "front")).await?;
            let front = Front::bind_with(broker.clone(), config, sockets).await?;
            let (address, cluster) = (front.addresses()[0], front.cluster().clone());
            let tls = front.addresses().get(1).copied();
            let admin = front.admin_addresses().first().copied();
            let handle = Some(front.handle());
            let ended = Some(tokio::spawn(front.run(shutdown.clone())));
            Ok(Running {
                address,
                tls,
                admin,
                cluster,
                broker,
                shutdown,
                ended,
                handle,
                runtime: self.handle(),
            })
        })
    }

    /// `work` and `sub` in an axum application, served by axum: streams are response bodies there.
    pub(crate) fn embedded(&self, config: FrontConfig) -> Running {
        let shutdown = CancellationToken::new();
        let running = self.runtime.block_on(async {
            let broker =
                Broker::connect(Settings::new(self.url.clone(), "embedded")).await.expect("a broker");
            let cluster = Cluster::open(broker.clone(), config).await.expect("a cluster");
            let app = axum::Router::new()
                .nest_service("/sub", cluster.sub())
                .fallback_service(cluster.work("default").expect("a queue"))
                .into_make_service_with_connect_info::<SocketAddr>();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let (stop, streams) = (shutdown.clone(), cluster.clone());
            let ended = tokio::spawn(async move {
                let stopped = async move {
                    stop.cancelled().await;
                    streams.end_streams();
                };
                axum::serve(listener, app).with_graceful_shutdown(stopped).await.expect("served");
                Report::default()
            });
            let (ended, runtime) = (Some(ended), self.handle());
            Running {
                address,
                tls: None,
                admin: None,
                cluster,
                broker,
                shutdown,
                ended,
                handle: None,
                runtime,
            }
        });
        self.wait_for_presence(&running);
        running
    }

    fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    fn wait_for_presence(&self, front: &Running) {
        let queues = self.redis.cli("SMEMBERS tempest:queues").list();
        let attended = |queue: &[u8]| {
            let workers = format!("tempest:{{{}}}:workers", String::from_utf8_lossy(queue));
            self.redis.run(&["EXISTS", &workers]).integer() == 1
        };
        for queue in queues.into_iter().filter(|queue| attended(queue)) {
            let queue = Queue::new(String::from_utf8_lossy(&queue)).expect("a name");
            eventually("the front knows of the worker", || front.broker.presence().is_served(&queue));
        }
    }

    /// A proxy before this cluster's Redis.
    pub(crate) fn proxy(&self) -> Proxy {
        self.runtime.block_on(Proxy::start(self.redis.port()))
    }

    /// Waits for something the proxy or the front does.
    pub(crate) fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            let patient = tokio::time::timeout(Duration::from_secs(20), future);
            patient.await.unwrap_or_else(|_| panic!("never happened: {what}"))
        })
    }

    /// Takes the next job of the queue `default` off its lane, as `redis-cli` would.
    #[track_caller]
    pub(crate) fn claim(&self) -> Claim {
        self.claim_from(&[LANE])
    }

    /// The next job of these lanes.
    #[track_caller]
    pub(crate) fn claim_from(&self, lanes: &[&str]) -> Claim {
        let command: Vec<_> = ["BLPOP"].iter().chain(lanes).chain(&["19"]).copied().collect();
        match self.redis.run(&command) {
            Answer::List(taken) => Claim::of(taken[1].bytes(), taken[0].text()),
            other => panic!("no job came: {other:?}"),
        }
    }

    /// Answers every job of the queue `default` while this runs: 200 and `done`.
    pub(crate) fn answering<T>(&self, run: impl FnOnce() -> T) -> T {
        let done = CancellationToken::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.is_cancelled() {
                    if let Answer::List(taken) = self.redis.run(&["BLPOP", LANE, "0.1"]) {
                        let claim = Claim::of(taken[1].bytes(), taken[0].text());
                        self.answer(&claim, 200, &[], b"done");
                    }
                }
            });
            // Also when the test fails, or the thread would go on for ever.
            let _guard = done.drop_guard_ref();
            run()
        })
    }

    /// Sends a reply frame to whoever waits for the job.
    pub(crate) fn send(&self, claim: &Claim, frame: &[u8]) {
        let mailbox = claim.job.envelope.reply_to.as_deref().expect("somebody waits");
        self.redis.run(&[b"RPUSH".as_slice(), mailbox.as_bytes(), frame]);
    }

    /// Answers a job.
    pub(crate) fn answer(&self, claim: &Claim, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        self.send(claim, &claim.reply(status, headers, body));
    }

    /// Answers a job with an error.
    pub(crate) fn fail(&self, claim: &Claim, code: &str, message: &str) {
        let failure = Failure { code: code.into(), message: message.into() };
        self.send(claim, &claim.encode(Content::Error(failure)));
    }

    /// One request, whose job is taken and answered with 200 and this body.
    #[track_caller]
    pub(crate) fn exchange(&self, front: &Running, request: impl AsRef<[u8]>) -> (Claim, Response) {
        let mut client = front.client();
        client.send(request);
        let claim = self.claim();
        self.answer(&claim, 200, &[], b"done");
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "done"));
        (claim, response)
    }
}

/// A front that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS, if it does.
    pub(crate) tls: Option<SocketAddr>,
    /// Where operators ask, if they can.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) cluster: Cluster,
    broker: Broker,
    shutdown: CancellationToken,
    ended: Option<JoinHandle<Report>>,
    /// None for one that is part of somebody's axum.
    handle: Option<Handle>,
    runtime: tokio::runtime::Handle,
}

impl Running {
    /// A new connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A GET on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Response {
        let mut client = self.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: example\r\n\r\n"));
        client.response()
    }

    /// What the admin listener answers.
    pub(crate) fn asked(&self, path: &str) -> Response {
        let mut client = Client::connect(self.admin.expect("it has an admin listener"));
        client.send(format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n"));
        client.response()
    }

    /// Redis time, in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.broker.now_ms()
    }

    /// An event stream.
    pub(crate) fn events(&self, path: &str) -> EventSource {
        EventSource::open(self.address, path)
    }

    /// What can be done with it while it runs.
    pub(crate) fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("a front of its own")
    }

    /// Tells it to stop.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits until it has stopped.
    pub(crate) fn ended(&mut self) -> Report {
        let ended = self.ended.take().expect("asked once");
        let patient = async { tokio::time::timeout(Duration::from_secs(20), ended).await };
        self.runtime.block_on(patient).expect("the front stops").expect("no panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A job as a worker got it.
pub(crate) struct Claim {
    pub(crate) job: Job,
    /// The lane it came from.
    pub(crate) lane: String,
}

impl Claim {
    fn of(frame: Vec<u8>, lane: String) -> Self {
        let job = Job::decode(Bytes::from(frame), &Keys::default()).expect("a job");
        Self { job, lane }
    }

    /// The request in it.
    pub(crate) fn request(&self) -> HttpRequest {
        HttpRequest::decode(self.job.args()).expect("a request")
    }

    /// The values of a header, as text.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let headers = self.request().headers;
        headers.all(name).map(|value| Headers::latin1(value).into_owned()).collect()
    }

    pub(crate) fn id(&self) -> String {
        self.job.envelope.id.as_ref().expect("an id").to_string()
    }

    /// A final HTTP reply in the encoding of the job.
    pub(crate) fn reply(&self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Bytes {
        let mut fields = Headers::new();
        headers.iter().for_each(|(name, value)| fields.push(*name, *value));
        self.encode(Content::Http { status, headers: fields, body: body.to_vec().into() })
    }

    fn encode(&self, content: Content) -> Bytes {
        let envelope = &self.job.envelope;
        let reply = Reply::last(envelope.id.clone().expect("an id"), envelope.attempt, content);
        reply.encode(self.job.encoding()).expect("an encodable reply")
    }
}

/// Measures what a closure takes.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed())
}
