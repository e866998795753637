//! The clients of one thread: opened in small groups, then read until the end.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::Thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

use crate::{
    hearing::{Ear, Heard, Hearing, Order},
    stamp::Clock,
};

/// Clients that connect before the next are begun: fewer than any server lets wait.
const GROUP: usize = 200;
/// One address of ours has no more ports than this to spare.
const PER_ADDRESS: usize = 20_000;
/// Sockets that are learned of at once.
const EVENTS: usize = 1_024;
const READ_BYTES: usize = 64 << 10;
/// How long a group may take to be answered.
const ANSWER: Duration = Duration::from_secs(30);
/// How often a reader asks whether it should end.
const ASK: Duration = Duration::from_millis(50);

/// What the threads of a run tell each other.
pub(crate) struct Progress {
    pub(crate) clock: Clock,
    /// Events heard by anybody.
    pub(crate) heard: AtomicU64,
    /// Clients that have heard an event without a number.
    pub(crate) greeted: AtomicU64,
    /// Whoever waits for `heard` is woken when it reaches this.
    pub(crate) wake_at: AtomicU64,
    pub(crate) over: AtomicBool,
    pub(crate) waiting: Thread,
}

/// What a thread's clients have heard.
pub(crate) struct Account {
    /// Nanoseconds from when events were due.
    pub(crate) latency: Histogram<u64>,
    pub(crate) out_of_order: u64,
    pub(crate) duplicate: u64,
    pub(crate) streams_ended: u64,
    /// Processor time of the thread since its clients were there.
    pub(crate) cpu: Duration,
}

struct Client {
    socket: TcpStream,
    hearing: Hearing,
    greeted: bool,
}

/// Clients that are connected, to be read by one thread.
pub(crate) struct Crowd {
    poll: Poll,
    clients: Vec<Client>,
    ear: Ear,
}

impl Crowd {
    /// Opens clients numbered from `first`; returns when the server has answered all of them.
    pub(crate) fn open(server: SocketAddr, path: &str, first: usize, count: usize) -> anyhow::Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nAccept: text/event-stream\r\n\r\n");
        let mut crowd = Self { poll: Poll::new()?, clients: Vec::with_capacity(count), ear: Ear::new() };
        while crowd.clients.len() < count {
            let begin = crowd.clients.len();
            for number in begin..count.min(begin + GROUP) {
                let socket = connect(server, first + number)
                    .with_context(|| format!("client {} cannot connect to {server}", first + number))?;
                crowd.enter(socket, request.as_bytes())?;
            }
            crowd.answered(begin)?;
        }
        Ok(crowd)
    }

    fn enter(&mut self, mut socket: TcpStream, request: &[u8]) -> anyhow::Result<()> {
        socket.write_all(request)?;
        self.poll.registry().register(&mut socket, Token(self.clients.len()), Interest::READABLE)?;
        self.clients.push(Client { socket, hearing: Hearing::default(), greeted: false });
        Ok(())
    }

    /// Waits until the clients from `begin` on have the heads of their responses.
    fn answered(&mut self, begin: usize) -> anyhow::Result<()> {
        let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; READ_BYTES]);
        let (mut waiting, end) = (self.clients.len() - begin, Instant::now() + ANSWER);
        while waiting > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{waiting} clients were not answered within {ANSWER:?}");
            }
            poll(&mut self.poll, &mut events, left)?;
            for event in &events {
                let client = &mut self.clients[event.token().0];
                let open = client.read(&self.ear, &mut buffer, |heard| {
                    waiting -= usize::from(heard == Heard::Head);
                })?;
                if !open {
                    bail!("a stream ended before its first event");
                }
            }
        }
        Ok(())
    }

    /// Reads until the run is over.
    pub(crate) fn read(mut self, pause: Duration, progress: &Arc<Progress>) -> anyhow::Result<Account> {
        let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; READ_BYTES]);
        let begun = thread_cpu();
        let mut account = Account {
            latency: times()?,
            out_of_order: 0,
            duplicate: 0,
            streams_ended: 0,
            cpu: Duration::ZERO,
        };
        while !progress.over.load(Ordering::Relaxed) {
            poll(&mut self.poll, &mut events, ASK)?;
            let mut heard = 0;
            for event in &events {
                let client = &mut self.clients[event.token().0];
                let mut greeted = false;
                let mut now = None;
                let open = client.read(&self.ear, &mut buffer, |what| match what {
                    Heard::Head => {}
                    Heard::Hello => greeted = true,
                    Heard::Event { due_nanos, order } => {
                        // Read together, heard together.
                        let now = *now.get_or_insert_with(|| progress.clock.nanos());
                        heard += u64::from(account.count(now.saturating_sub(due_nanos), order));
                    }
                })?;
                if greeted && !std::mem::replace(&mut client.greeted, true) {
                    progress.greeted.fetch_add(1, Ordering::Relaxed);
                }
                if !open {
                    account.streams_ended += 1;
                    self.poll.registry().deregister(&mut client.socket)?;
                }
            }
            progress.add(heard);
            if events.iter().count() < EVENTS {
                std::thread::sleep(pause);
            }
        }
        account.cpu = thread_cpu().saturating_sub(begun);
        Ok(account)
    }
}

impl Client {
    /// Reads what is there. False when the stream has ended.
    fn read(&mut self, ear: &Ear, buffer: &mut [u8], mut heard: impl FnMut(Heard)) -> anyhow::Result<bool> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    ear.hear(&mut self.hearing, &buffer[..count], &mut heard).map_err(anyhow::Error::msg)?;
                    // Less than there was room for: nothing is left, and the next piece raises a new event.
                    if count < buffer.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Account {
    /// Counts an event; true if it was not heard before.
    fn count(&mut self, latency_nanos: u64, order: Order) -> bool {
        match order {
            Order::Again => {
                self.duplicate += 1;
                return false;
            }
            Order::Late => self.out_of_order += 1,
            Order::Next => {}
        }
        self.latency.saturating_record(latency_nanos);
        true
    }
}

impl Progress {
    fn add(&self, heard: u64) {
        if heard > 0 {
            let before = self.heard.fetch_add(heard, Ordering::Relaxed);
            let wake_at = self.wake_at.load(Ordering::Relaxed);
            if before < wake_at && before + heard >= wake_at {
                self.waiting.unpark();
            }
        }
    }
}

/// An empty histogram of nanoseconds, up to an hour.
pub(crate) fn times() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?)
}

fn poll(poll: &mut Poll, events: &mut Events, limit: Duration) -> anyhow::Result<()> {
    match poll.poll(events, Some(limit)) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        done => Ok(done?),
    }
}

/// Connects from one of our addresses: one alone has too few ports for a large crowd.
fn connect(server: SocketAddr, number: usize) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    let address = u8::try_from(number / PER_ADDRESS).context("too many clients")?;
    if address > 0 && server.ip() == Ipv4Addr::LOCALHOST {
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + address), 0)).into())?;
    }
    socket.connect(&server.into())?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// Processor time of this thread so far.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}
