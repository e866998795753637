//! The admin listener: what operators, probes and scrapers ask, apart from clients. Plain HTTP/1, one request a
//! connection, and no part in the order of stopping but to tell of it until the end.

mod change;
mod jobs;
mod page;
mod readiness;
mod state;
mod token;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    routing::{get, post},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tempest_broker::Rarely;
use tempest_protocol::Code;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    AdminConfig, Error, Inherited, Refusal, Spoken, metrics,
    refusal::Form,
    server::{Listening, Serving},
};

use jobs::JobLists;
pub(crate) use readiness::Unready;
use state::Asked;
use token::Guard;

/// Connections at a time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long one may take from its first byte to its last.
const CONNECTION: Duration = Duration::from_secs(15);
/// How long to wait when the system has no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// The largest change that can be asked for, in bytes.
const CHANGE_BYTES_MAX: usize = 4096;
/// The longest text of others that is shown.
const TEXT_CHARS_MAX: usize = 100;

/// Listens where it is told to; on any free port, if that does as well.
///
/// Errors: [`Error::Bind`], [`Error::Inherited`].
pub(crate) async fn listen(inherited: &mut Inherited, config: &AdminConfig) -> Result<Vec<Listening>, Error> {
    match inherited.or_listen(Spoken::Admin, &config.listen).await {
        Err(Error::Bind { address, source })
            if config.any_port && source.kind() == std::io::ErrorKind::AddrInUse =>
        {
            warn!(%address, "the address of the admin listener is taken, so it is on a free port");
            let hosts = config.listen.iter().filter_map(|address| address.rsplit_once(':'));
            let free: Vec<_> = hosts.map(|(host, _)| format!("{host}:0")).collect();
            inherited.or_listen(Spoken::Admin, &free).await
        }
        listening => listening,
    }
}

/// Serves until `closing`; then what was begun is answered.
pub(crate) async fn serve(serving: Arc<Serving>, listening: Vec<Listening>, closing: CancellationToken) {
    let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let pages = pages(Arc::new(Asked::new(serving)));
    for Listening { listener, .. } in listening {
        let accepting = accept(listener, pages.clone(), places.clone(), tasks.clone());
        let closing = closing.clone();
        tasks.spawn(closing.run_until_cancelled_owned(accepting));
    }
    tasks.close();
    tasks.wait().await;
}

async fn accept(listener: Arc<TcpListener>, pages: Router, places: Arc<Semaphore>, tasks: TaskTracker) {
    // It is never closed.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((socket, _)) => drop(tasks.spawn(answer(socket, pages.clone(), place))),
            Err(error) => {
                warn!(%error, "a connection to the admin listener was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(socket: TcpStream, pages: Router, _place: OwnedSemaphorePermit) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(CONNECTION).keep_alive(false);
    let connection = builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(pages));
    match tokio::time::timeout(CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to the admin listener ended early"),
        Err(_) => debug!("a connection to the admin listener took too long"),
    }
}

/// What the pages are made from.
#[derive(Clone)]
struct Admin {
    asked: Arc<Asked>,
    jobs: Arc<JobLists>,
    guard: Arc<Guard>,
    barred: Arc<Rarely>,
    scrapes: Arc<Semaphore>,
}

fn pages(asked: Arc<Asked>) -> Router {
    let refuse = |refusal: Refusal| async { refusal.respond(Form::Text, None) };
    let guard = Guard::new(&asked.serving().cluster.shared.config.load().admin.token);
    let admin = Admin {
        asked,
        jobs: Arc::default(),
        guard: Arc::new(guard),
        barred: Arc::default(),
        scrapes: Arc::new(Semaphore::new(1)),
    };
    Router::new()
        .route("/", get(page::page))
        .route("/api/state", get(state))
        .route("/api/jobs", get(jobs))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .method_not_allowed_fallback(move || refuse(Refusal::method_not_allowed("GET, HEAD".into())))
        .fallback(move || refuse(Refusal::new(Code::NotFound)))
        .route(
            "/api/change",
            post(change).fallback(move || refuse(Refusal::method_not_allowed("POST".into()))),
        )
        .with_state(admin)
}

/// The process lives and its runtime turns: else nobody would answer.
async fn health() -> Response<String> {
    page(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// Whether new requests should be sent here, and if not, why.
async fn ready(State(admin): State<Admin>) -> Response<String> {
    let reasons = Unready::of(&admin.asked.serving().cluster);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    page(status, "application/json", readiness::to_json(&reasons))
}

/// Everything that is counted. One scrape at a time: each asks Redis.
async fn scrape(State(admin): State<Admin>) -> Response<String> {
    // It is never closed.
    let _turn = admin.scrapes.acquire().await;
    page(StatusCode::OK, metrics::CONTENT_TYPE, metrics::page(&admin.asked.serving().cluster).await)
}

/// What the first page shows.
async fn state(State(admin): State<Admin>) -> Response<String> {
    page(StatusCode::OK, "application/json", admin.asked.state(admin.guard.is_set()).await)
}

/// The lists of background jobs it shows.
async fn jobs(State(admin): State<Admin>) -> Response<String> {
    let broker = &admin.asked.serving().cluster.shared.broker;
    page(StatusCode::OK, "application/json", admin.jobs.of(broker).await)
}

/// Changes something for whoever sends the token. No page of elsewhere can have a browser send it.
async fn change(State(admin): State<Admin>, request: Request<Body>) -> Response<String> {
    if let Err(barred) = admin.guard.admit(request.headers()) {
        admin
            .barred
            .say(|unsaid| warn!(?barred, unsaid, "somebody may not change anything on the admin page"));
        let mut response = page(barred.status(), "application/json", barred.to_string());
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let body = to_bytes(request.into_body(), CHANGE_BYTES_MAX).await.unwrap_or_default();
    let (status, told) = change::change(&admin.asked.serving().cluster.shared.broker, &body).await;
    admin.jobs.forget().await;
    admin.asked.forget().await;
    page(status, "application/json", told)
}

/// What others call themselves, as far as it is shown.
fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(TEXT_CHARS_MAX).collect()
}

/// Whole milliseconds.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What was true a moment ago is kept by nobody.
fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
