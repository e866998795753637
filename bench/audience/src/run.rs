//! A run, from the first connection to the last event.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    args::Args,
    crowd::{Account, Crowd, Progress},
    echo::Opening,
    figures::{Figures, Published},
    probe,
    publisher::{Form, Publisher},
    stamp::{Clock, HELLO, data},
};

/// How long clients may take to be subscribed once they are connected.
const GREETING: Duration = Duration::from_secs(30);
/// Between two events that only greet.
const GREET_EACH: Duration = Duration::from_millis(200);
/// Between the greeting and the first event, and at the end: something late or twice would come by then.
const QUIET: Duration = Duration::from_millis(300);

pub(crate) fn run(args: &Args) -> anyhow::Result<Figures> {
    raise_open_files()?;
    let (mut publisher, server, crowds) = open(args)?;
    let progress = Arc::new(Progress {
        clock: Clock::start(),
        heard: AtomicU64::new(0),
        greeted: AtomicU64::new(0),
        wake_at: AtomicU64::new(u64::MAX),
        over: AtomicBool::new(false),
        waiting: thread::current(),
    });
    let readers: Vec<_> =
        crowds.into_iter().map(|crowd| reader(crowd, args.pause(), progress.clone())).collect();
    let published = greet(args, &mut publisher, &progress).and_then(|()| {
        let probe = args.ask.clone().map(|path| {
            let progress = progress.clone();
            thread::spawn(move || probe::ask(server, &path, &progress))
        });
        thread::sleep(QUIET);
        let published = publish(args, &mut publisher, &progress)?;
        thread::sleep(QUIET);
        Ok((published, probe))
    });
    progress.over.store(true, Ordering::Relaxed);
    let accounts: Vec<Account> = readers.into_iter().map(joined).collect::<anyhow::Result<_>>()?;
    let (published, probe) = published?;
    let asked = probe.map(joined).transpose()?;
    Figures::new(args, &published, publisher.end(), &accounts, asked.as_ref())
}

fn open(args: &Args) -> anyhow::Result<(Publisher, SocketAddr, Vec<Crowd>)> {
    let clients = usize::try_from(args.clients)?;
    if args.echo.is_some() {
        let opening = Opening::listen(clients)?;
        let server = opening.address;
        let crowds = crowds(args, server, clients)?;
        return Ok((Publisher::Echo(opening.opened()?), server, crowds));
    }
    let server = args.subscribe.context("nobody to subscribe to")?;
    let publisher = match (args.redis, args.post) {
        (Some(redis), _) => Publisher::connect(redis, Form::Redis(args.to.clone()))?,
        (_, Some(post)) => Publisher::connect(post, Form::Http(args.to.clone(), post))?,
        _ => bail!("nowhere to publish: give --redis or --post"),
    };
    Ok((publisher, server, crowds(args, server, clients)?))
}

fn crowds(args: &Args, server: SocketAddr, clients: usize) -> anyhow::Result<Vec<Crowd>> {
    let threads = usize::try_from(args.threads)?;
    (0..threads)
        .map(|thread| {
            let (first, end) = (clients * thread / threads, clients * (thread + 1) / threads);
            Crowd::open(server, &args.path, first, end - first)
        })
        .collect()
}

/// A crowd's thread. One that fails ends the wait for events that will not come.
fn reader(crowd: Crowd, pause: Duration, progress: Arc<Progress>) -> JoinHandle<anyhow::Result<Account>> {
    thread::spawn(move || {
        let account = crowd.read(pause, &progress);
        if account.is_err() {
            progress.over.store(true, Ordering::Relaxed);
        }
        account
    })
}

fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().ok().context("a thread has panicked")?
}

/// Publishes until every client has heard something: only then all are certainly subscribed.
fn greet(args: &Args, publisher: &mut Publisher, progress: &Progress) -> anyhow::Result<()> {
    let end = Instant::now() + GREETING;
    while progress.greeted.load(Ordering::Relaxed) < u64::from(args.clients) {
        if Instant::now() > end || progress.over.load(Ordering::Relaxed) {
            let greeted = progress.greeted.load(Ordering::Relaxed);
            bail!("{greeted} of {} clients have heard anything within {GREETING:?}", args.clients);
        }
        publisher.publish(&[data(HELLO, 0, usize::try_from(args.bytes)?)])?;
        thread::sleep(GREET_EACH);
    }
    Ok(())
}

fn publish(args: &Args, publisher: &mut Publisher, progress: &Progress) -> anyhow::Result<Published> {
    let begun = progress.clock.nanos();
    let events = match args.burst {
        Some(burst) => in_bursts(args, burst, publisher, progress)?,
        None => at_a_rate(args, publisher, progress)?,
    };
    let sent = progress.clock.nanos();
    await_heard(args, u64::from(events), progress);
    Ok(Published {
        events,
        publishing: Duration::from_nanos(sent - begun),
        // The last may have been heard while it was sent.
        hearing: Duration::from_nanos(progress.clock.nanos() - begun),
    })
}

/// How many events there were.
fn at_a_rate(args: &Args, publisher: &mut Publisher, progress: &Progress) -> anyhow::Result<u32> {
    let begun = progress.clock.nanos();
    let bytes = usize::try_from(args.bytes)?;
    let together = args.echo.unwrap_or(1).max(1);
    let (mut number, mut waiting) = (0, Vec::new());
    loop {
        let gone = Duration::from_secs_f64(f64::from(number) / args.rate);
        if gone >= args.publishing() || progress.over.load(Ordering::Relaxed) {
            break;
        }
        let due = begun + u64::try_from(gone.as_nanos())?;
        thread::sleep(progress.clock.at(due).saturating_duration_since(Instant::now()));
        waiting.push(data(number, due, bytes));
        number += 1;
        if number % together == 0 {
            publisher.publish(&std::mem::take(&mut waiting))?;
        }
    }
    publisher.publish(&waiting)?;
    Ok(number)
}

fn in_bursts(args: &Args, burst: u32, publisher: &mut Publisher, progress: &Progress) -> anyhow::Result<u32> {
    let end = Instant::now() + args.publishing();
    let bytes = usize::try_from(args.bytes)?;
    let together = usize::try_from(args.echo.unwrap_or(burst).max(1))?;
    let mut number = 0;
    while Instant::now() < end && !progress.over.load(Ordering::Relaxed) {
        let due = progress.clock.nanos();
        let events: Vec<_> = (number..number + burst).map(|number| data(number, due, bytes)).collect();
        number += burst;
        events.chunks(together).try_for_each(|some| publisher.publish(some))?;
        if !await_heard(args, u64::from(number), progress) {
            break;
        }
    }
    Ok(number)
}

/// Waits until everybody has heard so many events. False if nothing comes any more.
fn await_heard(args: &Args, events: u64, progress: &Progress) -> bool {
    let expected = events * u64::from(args.clients);
    progress.wake_at.store(expected, Ordering::Relaxed);
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let heard = progress.heard.load(Ordering::Relaxed);
        if heard >= expected || progress.over.load(Ordering::Relaxed) {
            return heard >= expected;
        }
        if heard > last {
            (last, since) = (heard, Instant::now());
        }
        if since.elapsed() > args.patience() {
            return false;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// As many open files as this process may have.
fn raise_open_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).context("open files")
}
