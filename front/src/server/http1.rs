//! HTTP/1 on a connection, until it ends or an event stream takes its socket over.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use http::Request;
use http_body::Body as _;
use hyper::{
    body::Incoming,
    server::conn::http1::{self, Parts},
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tempest_protocol::Code;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Serving,
    connection::Peer,
    goodbye,
    owed::Owed,
    patience::{Patience, Wait},
    takeover::{Taken, Takeover},
    watched::{Hold, Watched, bare_refusal},
};
use crate::{Refusal, access_log, config::HttpConfig, exchange};

/// hyper reads that many without memory of their own.
const FIELDS_INLINE: usize = 100;

/// How a connection ended.
enum End {
    /// An event stream takes the socket.
    Taken(Box<Taken>),
    /// hyper is done with it.
    Done(hyper::Result<()>),
    /// The client was waited for in vain.
    TooSlow(Wait),
}

/// Serves requests until the connection ends, or until an event stream takes the socket over.
pub(super) async fn serve<IO>(
    serving: Arc<Serving>,
    socket: IO,
    peer: Peer,
    shutdown: CancellationToken,
) -> Option<(Taken, IO)>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (takeover, owed) = (Takeover::default(), Owed::default());
    let config = serving.cluster.shared.config.load().http.clone();
    let watched = Watched::new(socket, owed.clone(), takeover.clone());
    let hold = watched.hold();
    let shared = serving.cluster.shared.clone();
    let said = |code| {
        shared.metrics.refused(code);
        access_log::unread(peer, code, shared.config.load().access_log);
        let refusal = Refusal::new(code);
        serving.recent.note(&refusal, Some(&peer.address.ip().to_canonical()), None, None);
        refusal.last_words()
    };
    let left = AtomicUsize::new(match config.keep_alive_requests_max {
        0 => usize::MAX,
        max => max,
    });
    let service = service_fn(|request: Request<Incoming>| {
        let (serving, debt) = (serving.clone(), owed.one());
        let request = request.map(whole);
        // What takes a socket over writes plaintext.
        let takeover = (!peer.is_tls).then(|| takeover.clone());
        let is_last = left.fetch_sub(1, Ordering::Relaxed) <= 1;
        Box::pin(async move {
            let answered = exchange::answer(&serving, request, peer, takeover).await;
            Ok::<_, Infallible>(debt.with(if is_last { answered.closing() } else { answered }))
        })
    });
    let mut connection = builder(&config).serve_connection(TokioIo::new(watched), service);
    let mut driver = Driver {
        takeover: takeover.clone(),
        owed: owed.clone(),
        hold,
        patience: Patience::new(&config),
        stopping: false,
    };
    let mut stopping = pin!(shutdown.cancelled());
    let end = std::future::poll_fn(|context| {
        if !driver.stopping && stopping.as_mut().poll(context).is_ready() {
            driver.stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        driver.poll(&mut connection, context)
    })
    .await;
    let Parts { io, read_buf, .. } = connection.into_parts();
    let (socket, held) = io.into_inner().into_parts();
    let (ended, last) = match end {
        End::Taken(taken) => return Some((*taken, socket)),
        End::TooSlow(Wait::Head) if !read_buf.is_empty() => (Ok(()), said(Code::SlowRequest)),
        End::TooSlow(_) => (Ok(()), held),
        End::Done(ended) => {
            let unread = ended.as_ref().err().filter(|error| error.is_parse());
            let code = unread.and_then(|_| bare_refusal(&held)).map(|(_, code)| code);
            (ended, code.map_or(held, said))
        }
    };
    if let Err(error) = ended {
        debug!(peer = %peer.address, %error, "a connection ended early");
    }
    goodbye::say(socket, &last).await;
    None
}

/// A body as the routes take it; most requests have none.
fn whole(body: Incoming) -> Body {
    if body.is_end_stream() { Body::empty() } else { Body::new(body) }
}

fn builder(config: &HttpConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The clock is `Patience`, which tells an idle client from a slow one.
    builder.header_read_timeout(None).max_header_size(config.header_bytes_max);
    if config.header_fields_max != FIELDS_INLINE {
        builder.max_headers(config.header_fields_max);
    }
    builder
}

/// What moves a connection on.
struct Driver {
    takeover: Takeover,
    owed: Owed,
    hold: Hold,
    patience: Patience,
    stopping: bool,
}

impl Driver {
    fn poll<IO, S, B>(
        &mut self,
        connection: &mut http1::Connection<TokioIo<Watched<IO>>, S>,
        context: &mut Context<'_>,
    ) -> Poll<End>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        S: HttpService<Incoming, ResBody = B, Error = Infallible, Future: Unpin> + Unpin,
        B: http_body::Body<Error: Into<axum::BoxError>> + 'static,
    {
        loop {
            if let Poll::Ready(ended) = connection.poll_without_shutdown(context) {
                return Poll::Ready(End::Done(ended));
            }
            if !self.hold.let_go() {
                break;
            }
        }
        if let Some(taken) = self.takeover.taken() {
            return Poll::Ready(End::Taken(Box::new(taken)));
        }
        // hyper would wait for the rest of a head.
        if self.stopping && self.owed.nothing() && self.takeover.is_flushed() {
            return Poll::Ready(End::Done(Ok(())));
        }
        self.patience.poll(context, &self.owed).map(End::TooSlow)
    }
}
