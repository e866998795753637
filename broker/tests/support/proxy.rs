//! A TCP proxy in front of a Redis that cuts or stalls a connection at a chosen byte.
//!
//! Include it with `#[path = "../support/proxy.rs"] mod proxy;`. It needs a tokio runtime of more than one thread if
//! the test blocks.
#![allow(dead_code, unreachable_pub)] // every test target uses another part of it

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// Where a connection is cut or stalled. It happens once, on the first connection that comes to the place.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which way the bytes are counted.
    pub way: Way,
    /// Armed when the client has sent this; the count begins behind it. Empty: at once.
    pub after: Vec<u8>,
    /// How many bytes still pass.
    pub bytes: usize,
    pub act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to Redis.
    Request,
    /// From Redis to the client.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Both sides see the connection close.
    Cut,
    /// Nothing passes any more that way, but the connection stays open.
    Stall,
}

impl Fault {
    /// The command that contains `after` arrives and is carried out; its answer is cut before the first byte.
    pub fn lose_answer(after: impl Into<Vec<u8>>) -> Self {
        Self { way: Way::Answer, after: after.into(), bytes: 0, act: Act::Cut }
    }

    /// The command that contains `after` arrives only up to `bytes` behind it.
    pub fn cut_request(after: impl Into<Vec<u8>>, bytes: usize) -> Self {
        Self { way: Way::Request, after: after.into(), bytes, act: Act::Cut }
    }
}

/// A proxy on a loopback port of its own.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    to: u16,
    faults: Mutex<Vec<Fault>>,
    /// How many faults have happened.
    happened: watch::Sender<usize>,
    /// Raised by each [`Proxy::cut_all`].
    generation: watch::Sender<u64>,
    stalled: watch::Sender<bool>,
    /// New connections are closed at once.
    closed: watch::Sender<bool>,
    /// One in how many reads of an answer is cut; 0: none.
    chaos: watch::Sender<u32>,
}

impl Proxy {
    /// Begins to listen, in front of the Redis at port `to`.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let shared = Arc::new(Shared {
            to,
            faults: Mutex::default(),
            happened: watch::Sender::new(0),
            generation: watch::Sender::new(0),
            stalled: watch::Sender::new(false),
            closed: watch::Sender::new(false),
            chaos: watch::Sender::new(0),
        });
        let task = tokio::spawn(listen(listener, shared.clone()));
        Self { port, shared, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Prepares a fault.
    pub fn prepare(&self, fault: Fault) {
        self.shared.faults.lock().expect("no panic under the lock").push(fault);
    }

    /// Waits until `count` prepared faults have happened in all.
    pub async fn happened(&self, count: usize) {
        self.shared.happened.subscribe().wait_for(|happened| *happened >= count).await.expect("alive");
    }

    /// Cuts every connection that is open now.
    pub fn cut_all(&self) {
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Lets nothing pass in either direction, without closing anything, until it is called with false.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    /// Closes new connections at once, until it is called with false.
    pub fn close(&self, closed: bool) {
        self.shared.closed.send_replace(closed);
    }

    /// Cuts one in `one_in` reads of an answer; 0 ends it.
    pub fn chaos(&self, one_in: u32) {
        self.shared.chaos.send_replace(one_in);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_all();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if !*shared.closed.borrow() {
            tokio::spawn(connection(client, shared.clone()));
        }
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let Ok(redis) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.to)).await else { return };
    client.set_nodelay(true).ok();
    redis.set_nodelay(true).ok();
    let ((from_client, to_client), (from_redis, to_redis)) = (client.into_split(), redis.into_split());
    let armed = watch::Sender::new(None::<Fault>);
    let mut generation = shared.generation.subscribe();
    generation.mark_unchanged();
    tokio::select! {
        () = requests(from_client, to_redis, &shared, &armed) => {}
        () = answers(from_redis, to_client, &shared, &armed) => {}
        _ = generation.changed() => {}
    }
}

/// Bytes of requests kept for a pattern that comes in two reads.
const TAIL: usize = 256;

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    armed: &watch::Sender<Option<Fault>>,
) {
    let mut seen = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let known = seen.len();
        seen.extend_from_slice(&buffer[..read]);
        let limit = arm(shared, armed, &seen, known);
        flow(shared).await;
        let pass = limit.unwrap_or(read).min(read);
        if to.write_all(&buffer[..pass]).await.is_err() {
            return;
        }
        if limit.is_some() {
            return happen(shared, armed).await;
        }
        seen.drain(..seen.len().saturating_sub(TAIL));
    }
}

/// Looks for the place of a fault. For one on requests: how many bytes of this read still pass.
fn arm(shared: &Shared, armed: &watch::Sender<Option<Fault>>, seen: &[u8], known: usize) -> Option<usize> {
    if armed.borrow().is_some() {
        return None;
    }
    let mut faults = shared.faults.lock().expect("no panic under the lock");
    let mut found = None;
    for (index, fault) in faults.iter().enumerate() {
        let end = match fault.after.len() {
            0 => Some(known),
            length => {
                // Only a place that ends in this read: the kept tail may hold the same words once more.
                let start = known.saturating_sub(length - 1);
                let found = seen[start..].windows(length).position(|bytes| bytes == fault.after);
                found.map(|at| start + at + length)
            }
        };
        if let Some(end) = end {
            found = Some((index, end));
            break;
        }
    }
    let (index, end) = found?;
    let fault = faults.remove(index);
    let limit = (fault.way == Way::Request).then(|| end - known + fault.bytes);
    armed.send_replace(Some(fault));
    limit
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    armed: &watch::Sender<Option<Fault>>,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        flow(shared).await;
        let left = match armed.borrow().as_ref() {
            Some(fault) if fault.way == Way::Answer => Some(fault.bytes.saturating_sub(passed)),
            _ => None,
        };
        let pass = left.unwrap_or(read).min(read);
        if to.write_all(&buffer[..pass]).await.is_err() {
            return;
        }
        if left.is_some() {
            passed += pass;
            if pass < read {
                return happen(shared, armed).await;
            }
        }
        let one_in = *shared.chaos.borrow();
        if one_in > 0 && fastrand::u32(0..one_in) == 0 {
            return;
        }
    }
}

async fn happen(shared: &Shared, armed: &watch::Sender<Option<Fault>>) {
    let stall = armed.borrow().as_ref().is_some_and(|fault| fault.act == Act::Stall);
    shared.happened.send_modify(|happened| *happened += 1);
    if stall {
        std::future::pending::<()>().await;
    }
}

/// Waits while the proxy is stalled.
async fn flow(shared: &Shared) {
    shared.stalled.subscribe().wait_for(|stalled| !stalled).await.ok();
}
