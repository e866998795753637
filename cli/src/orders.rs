//! Orders to a running `tempest up`: a socket in its `.tempest`, one line of JSON each way; lines that tell how it goes
//! come before the last.

use std::{io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::{cluster::UpFile, failure::Failure, output::print};

/// An order is a line of at most this length.
const ORDER_BYTES_MAX: u64 = 64 << 10;
/// Whoever connects says what he wants within this time.
const SAID: Duration = Duration::from_secs(5);
/// Orders that wait to be obeyed.
const WAITING: usize = 16;

/// What a running cluster can be told.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Order {
    /// Read the configuration again, then replace the children of these workers, of all without names.
    Reload { workers: Vec<String> },
    /// So many children of this worker from now on.
    Scale { worker: String, count: usize },
}

/// A line of the answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// How it goes.
    Said(String),
    /// The last line: it is done.
    Done(String),
    /// The last line: why not.
    Failed(String),
}

/// An order, and how to answer it.
pub(crate) struct Asked {
    pub(crate) order: Order,
    pub(crate) answer: Answering,
}

/// How to tell whoever gave an order what becomes of it. He may be gone; that hinders nothing.
#[derive(Clone)]
pub(crate) struct Answering(mpsc::UnboundedSender<Answer>);

impl Answering {
    /// Nobody who gave an order hears it.
    pub(crate) fn nobody() -> Self {
        Self(mpsc::unbounded_channel().0)
    }

    pub(crate) fn said(&self, line: impl Into<String>) {
        self.0.send(Answer::Said(line.into())).ok();
    }

    pub(crate) fn done(&self, line: impl Into<String>) {
        self.0.send(Answer::Done(line.into())).ok();
    }

    pub(crate) fn failed(&self, line: impl Into<String>) {
        self.0.send(Answer::Failed(line.into())).ok();
    }
}

/// Orders that come in, for as long as this lives.
pub(crate) struct Orders {
    asked: mpsc::Receiver<Asked>,
    _listening: AbortOnDropHandle<()>,
}

impl Orders {
    /// Listens at a socket that only this user can reach.
    ///
    /// Errors: it cannot be made.
    pub(crate) fn listen(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: io::Error| {
            Failure::new(format!("cannot listen for orders at {}: {error}", path.display()))
        };
        let listener = UnixListener::bind(path).map_err(cannot)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(cannot)?;
        let (sender, asked) = mpsc::channel(WAITING);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(hear(stream, sender.clone()));
            }
        });
        Ok(Self { asked, _listening: AbortOnDropHandle::new(listening) })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await, // nobody can connect any more
        }
    }
}

async fn hear(stream: UnixStream, orders: mpsc::Sender<Asked>) {
    if let Err(error) = obeyed(stream, orders).await {
        debug!(%error, "whoever gave an order is gone");
    }
}

async fn obeyed(mut stream: UnixStream, orders: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    tokio::time::timeout(SAID, BufReader::new(read.take(ORDER_BYTES_MAX)).read_line(&mut line)).await??;
    let (answer, mut answers) = mpsc::unbounded_channel();
    let answer = Answering(answer);
    match serde_json::from_str(&line) {
        Ok(order) => drop(orders.send(Asked { order, answer }).await),
        Err(error) => {
            answer.failed(format!("this is no order that this version knows: {error}"));
            drop(answer);
        }
    }
    while let Some(answer) = answers.recv().await {
        let line = serde_json::to_string(&answer).map_err(io::Error::other)? + "\n";
        write.write_all(line.as_bytes()).await?;
    }
    Ok(())
}

/// Gives an order to the cluster that runs in this folder or one above, and prints what becomes of it.
///
/// Errors: none runs; it could not do it.
pub(crate) async fn give(order: &Order) -> Result<(), Failure> {
    let folder = std::env::current_dir().map_err(|error| Failure::new(format!("no folder: {error}")))?;
    let none = || Failure::new("no `tempest up` runs in this folder or one above");
    let up = UpFile::find(&folder).ok_or_else(none)?;
    let cannot = |error: io::Error| Failure::new(format!("the running tempest up does not answer: {error}"));
    let mut stream = UnixStream::connect(short(&folder, &up.control())).await.map_err(cannot)?;
    let order = serde_json::to_string(order).map_err(|error| Failure::new(error.to_string()))? + "\n";
    stream.write_all(order.as_bytes()).await.map_err(cannot)?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.map_err(cannot)? {
        match serde_json::from_str(&line) {
            Ok(Answer::Said(line)) => print(format!("{line}\n").as_bytes())?,
            Ok(Answer::Done(line)) => return print(format!("{line}\n").as_bytes()),
            Ok(Answer::Failed(line)) => return Err(Failure::new(line)),
            Err(error) => return Err(Failure::new(format!("the running tempest up says {line:?}: {error}"))),
        }
    }
    Err(Failure::new("the running tempest up has ended before it was done"))
}

/// The way from a folder to a path in it or above: the system allows no more than a hundred characters for a socket.
fn short(from: &Path, path: &Path) -> std::path::PathBuf {
    let above = from.ancestors().position(|folder| path.starts_with(folder));
    let rest = above.and_then(|steps| path.strip_prefix(from.ancestors().nth(steps)?).ok());
    match (above, rest) {
        (Some(steps), Some(rest)) => {
            std::iter::repeat_n("..", steps).collect::<std::path::PathBuf>().join(rest)
        }
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_socket_is_short() {
        let way = |from: &str, path: &str| short(Path::new(from), Path::new(path)).display().to_string();
        assert_eq!(way("/a/b", "/a/b/.tempest/control"), ".tempest/control");
        assert_eq!(way("/a/b/c/d", "/a/b/.tempest/control"), "../../.tempest/control");
    }

    #[test]
    fn orders_are_lines_of_json() {
        let order = Order::Scale { worker: "web".into(), count: 3 };
        let line = serde_json::to_string(&order).unwrap();
        assert_eq!(line, r#"{"do":"scale","worker":"web","count":3}"#);
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        assert!(serde_json::from_str::<Order>(r#"{"do":"dance"}"#).is_err());
    }
}
