//! axum in front: each request becomes a job, each reply a response.

use std::{
    collections::HashMap,
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, bail};
use axum::{Router, body::Body, extract::State};
use http::{Response, StatusCode, request::Parts};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    task::yield_now,
};

use crate::{
    LANE, MAILBOX,
    frames::{Args, Headers, Job, Reply},
    redis::{Answer, Redis},
};

/// What the requests share with the two tasks that speak to Redis.
#[derive(Default)]
struct Front {
    state: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    /// Jobs to be pushed.
    frames: Vec<Vec<u8>>,
    requests: HashMap<u64, oneshot::Sender<Response<Body>>>,
}

pub(crate) async fn serve(port: u16, redis: u16) -> anyhow::Result<()> {
    let front = Arc::new(Front::default());
    let push = tokio::spawn(front.clone().push(Redis::connect(redis).await?));
    let read = tokio::spawn(front.clone().read(Redis::connect(redis).await?));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot listen; is PORT taken?")?;
    let app = Router::new().fallback(answer).with_state(front);
    tokio::select! {
        ended = push => ended?,
        ended = read => ended?,
        ended = axum::serve(listener, app) => Ok(ended?),
    }
}

async fn answer(State(front): State<Arc<Front>>, request: Parts) -> Result<Response<Body>, StatusCode> {
    let reply = front.ask(request).map_err(|_| StatusCode::BAD_REQUEST)?;
    reply.await.map_err(|_| StatusCode::BAD_GATEWAY)
}

impl Front {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: Parts) -> serde_json::Result<oneshot::Receiver<Response<Body>>> {
        let (tell, told) = oneshot::channel();
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        let (mut id, url) = (itoa::Buffer::new(), request.uri.to_string().into());
        let args = Args { method: request.method.as_str(), url, headers: Headers(request.headers) };
        let job = Job { action: "url", id: id.format(number), args, reply_to: MAILBOX };
        let frame = serde_json::to_vec(&job)?;
        state.requests.insert(number, tell);
        state.frames.push(frame);
        if state.frames.len() == 1 {
            self.ready.notify_one();
        }
        Ok(told)
    }

    /// Pushes what was gathered while the last push was under way.
    async fn push(self: Arc<Self>, mut redis: Redis) -> anyhow::Result<()> {
        loop {
            self.ready.notified().await;
            yield_now().await; // whoever is ready to ask does so first
            let frames = take(&mut self.state().frames);
            redis.push(LANE, &frames);
            redis.send().await?;
            redis.answer().await?;
        }
    }

    /// Hands replies on, and removes them only then; the wait for more leaves in the same write.
    async fn read(self: Arc<Self>, mut redis: Redis) -> anyhow::Result<()> {
        let mut handed = 0;
        loop {
            if handed > 0 {
                redis.command(&["LTRIM", MAILBOX, itoa::Buffer::new().format(handed), "-1"]);
                redis.command(&["LRANGE", MAILBOX, "0", "127"]);
            }
            redis.command(&["BLMOVE", MAILBOX, MAILBOX, "LEFT", "LEFT", "2"]);
            redis.send().await?;
            if handed > 0 {
                redis.answer().await?;
                let Answer::Several(count) = redis.answer().await? else { bail!("LRANGE gives a list") };
                for _ in 0..count {
                    self.hand_on(&redis.answer().await?)?;
                }
                handed = count;
            }
            let first = redis.answer().await?;
            if handed == 0 && matches!(first, Answer::Value(_)) {
                self.hand_on(&first)?;
                handed = 1;
            }
        }
    }

    fn hand_on(&self, reply: &Answer) -> anyhow::Result<()> {
        let Answer::Value(frame) = reply else { bail!("a reply is a value") };
        let Reply { id, status, headers, body } = serde_json::from_slice(frame)?;
        let mut response = Response::new(Body::from(body));
        (*response.status_mut(), *response.headers_mut()) = (StatusCode::from_u16(status)?, headers.0);
        if let Some(request) = self.state().requests.remove(&id.parse()?) {
            drop(request.send(response)); // who has gone away does not care
        }
        Ok(())
    }
}
