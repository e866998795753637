//! `tempest queues drain`: waits until a queue is empty. Changes nothing.

use std::time::Duration;

use tempest_broker::Broker;
use tokio::time::Instant;

use crate::{args::DrainArgs, failure::Failure, output::print, signals::Signals};

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is said how far it is.
const SAY: Duration = Duration::from_secs(2);

/// What is still to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Left {
    waiting: u64,
    running: u64,
}

pub(super) async fn run(args: &DrainArgs) -> Result<(), Failure> {
    let broker = super::super::connect(&args.flags).await?;
    let signals = Signals::listen()?;
    if broker.limits(&args.queue).await?.paused {
        eprintln!("tempest: queue {0} is paused, nothing is claimed: tempest queues resume {0}", args.queue);
    }
    let until = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut said: Option<(Left, Instant)> = None;
    loop {
        let left = look(args, &broker).await?;
        if left == (Left { waiting: 0, running: 0 }) {
            return print(format!("{}: nothing waits, nothing runs\n", args.queue).as_bytes());
        }
        let is_news = said.is_none_or(|(before, at)| before != left && at.elapsed() >= SAY);
        if is_news {
            eprintln!("tempest: {left}");
            said = Some((left, Instant::now()));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(Failure::new(format!("not drained in time: {left}")));
        }
        if signals.stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return Err(Failure::new(format!("interrupted: {left}")));
        }
    }
}

async fn look(args: &DrainArgs, broker: &Broker) -> Result<Left, Failure> {
    let Some(state) = broker.queue_state(&args.queue).await? else {
        return Err(Failure::new(format!("a key of queue {} has a wrong type", args.queue)));
    };
    let waiting = state.waiting.iter().map(|load| load.jobs).sum::<u64>();
    Ok(Left { waiting: waiting + broker.set_aside(&args.queue).await?, running: state.running })
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "waiting {}, running {}", self.waiting, self.running)
    }
}
