//! What others tell workers and supervisors while they work: cancel, kill and drain (SPEC "Cancel", "Drain").

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tempest_protocol::{JobId, Queue, WorkerId};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use crate::{Broker, Error, link::within};

/// What is in trouble while control channels are not heard.
const PART: &str = "control";
/// How often the connection is asked whether it still hears.
const PING: Duration = Duration::from_secs(30);
/// Lines that may wait; a worker that does not read loses further ones, and those jobs run to their end.
const WAITING_MAX: usize = 10_000;
/// The longest a `kill` may let pass; one that names more is no control line.
const KILL_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Something to do at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nobody waits for this job any more: stop it if it runs, drop it if it comes.
    Cancel(JobId),
    /// To supervisors: if a worker of yours still holds this job after that time, end the worker. It was cancelled, so it
    /// is recovered with [`crate::Mode::Drop`]. Workers ignore it.
    Kill(JobId, Duration),
    /// Finish what runs, take nothing new, end: this worker, or all of the queue.
    Drain(Option<WorkerId>),
    /// The limits of the queue have changed: read them again.
    Limits,
}

impl Control {
    /// Reads a line: `cancel <id>`, `kill <id> <ms>`, `drain`, `drain <worker>` or `limits`; anything else is nothing.
    pub fn of(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.split_ascii_whitespace();
        let control = match (words.next()?, words.next(), words.next()) {
            ("cancel", Some(id), None) => Self::Cancel(JobId::new(id).ok()?),
            ("kill", Some(id), Some(after)) => Self::Kill(JobId::new(id).ok()?, kill_after(after)?),
            ("drain", None, _) => Self::Drain(None),
            ("limits", None, _) => Self::Limits,
            ("drain", Some(worker), None) => Self::Drain(Some(WorkerId::new(worker).ok()?)),
            _ => return None,
        };
        words.next().is_none().then_some(control)
    }
}

/// Milliseconds in digits, nothing else.
fn kill_after(ms: &str) -> Option<Duration> {
    let digits = ms.bytes().all(|byte| byte.is_ascii_digit());
    let after = Duration::from_millis(ms.parse().ok().filter(|_| digits)?);
    (after <= KILL_AFTER_MAX).then_some(after)
}

/// Listens to the control channels of some queues, for ever. Dropping it ends that.
pub struct Controls {
    lines: mpsc::Receiver<Control>,
    _listening: DropGuard,
}

impl Controls {
    /// The next thing to do. Cancel-safe.
    pub async fn next(&mut self) -> Control {
        match self.lines.recv().await {
            Some(control) => control,
            None => std::future::pending().await, // the broker is closed: nobody says anything any more
        }
    }
}

impl Broker {
    /// Listens to the control channels of these queues on a connection of its own that comes back by itself. Returns
    /// once Redis has confirmed the subscription, or after a second if it has not yet.
    pub async fn controls(&self, queues: &[Queue]) -> Controls {
        let (sender, lines) = mpsc::channel(WAITING_MAX);
        let (ready, confirmed) = tokio::sync::oneshot::channel();
        let listening = CancellationToken::new();
        let channels = queues.iter().map(|queue| self.keys().control(queue)).collect();
        let listener = Listener { broker: self.clone(), channels, sender, ready: Some(ready) };
        let stop = listening.clone();
        self.spawn(async move {
            stop.run_until_cancelled(listener.listen()).await;
        });
        tokio::time::timeout(Duration::from_secs(1), confirmed).await.ok();
        Controls { lines, _listening: listening.drop_guard() }
    }
}

struct Listener {
    broker: Broker,
    channels: Vec<String>,
    sender: mpsc::Sender<Control>,
    ready: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Listener {
    async fn listen(mut self) {
        let mut failures = 0;
        loop {
            let error = match self.broker.link().pubsub().await {
                Ok(pubsub) => {
                    let (sink, stream) = pubsub.split();
                    self.hear(sink, stream, &mut failures).await
                }
                Err(error) => error,
            };
            failures += 1;
            self.broker.stats().faults.failed(PART, &error);
            tokio::time::sleep(error.trouble().pause(failures)).await;
        }
    }

    /// Hears one connection until it breaks or stays silent.
    async fn hear(&mut self, mut sink: PubSubSink, mut stream: PubSubStream, failures: &mut u32) -> Error {
        if let Err(error) = within(sink.subscribe(&self.channels)).await {
            return error;
        }
        *failures = 0;
        self.broker.stats().faults.well(PART);
        if let Some(ready) = self.ready.take() {
            ready.send(()).ok(); // whoever waited has given up
        }
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.pass_on(message.get_payload_bytes()),
                    None => return Error::Away("Redis closed the control connection".into()),
                },
                _ = ping.tick() => {
                    if let Err(error) = within(sink.ping::<redis::Value>()).await {
                        return error;
                    }
                }
            }
        }
    }

    fn pass_on(&self, line: &[u8]) {
        match Control::of(line) {
            Some(control) => {
                if let Control::Cancel(id) = &control {
                    self.broker.cancelled().note(id);
                }
                if self.sender.try_send(control).is_err() {
                    debug!("a control line was dropped: too many wait");
                }
            }
            None => debug!(line = %String::from_utf8_lossy(line), "not a control line; ignored"),
        }
    }
}
