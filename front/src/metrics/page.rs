//! The page a scraper gets: everything that is counted anywhere, put under the names of the table.

use std::time::Duration;

use tempest_broker::{Load, Stats};
use tempest_protocol::{Lane, Queue};

use super::{Metrics, RouteName, Traffic, process::Process, samples::Samples, table::Name};
use crate::{Cluster, admin::Unready};

/// Queues that are shown.
const QUEUES_MAX: usize = 1_000;
/// How long a scrape waits for Redis.
const REDIS: Duration = Duration::from_millis(500);
/// What was seen of the cluster is shown for so long.
const FRESH: Duration = Duration::from_secs(10);

/// All metrics, as text. Asks Redis once, and goes without its answer if that does not come soon.
pub(crate) async fn page(cluster: &Cluster) -> String {
    let mut samples = Samples::default();
    let shared = &cluster.shared;
    add_requests(&mut samples, &shared.metrics);
    add_streams(&mut samples, cluster);
    add_jobs(&mut samples, cluster);
    add_queues(&mut samples, cluster).await;
    add_bus(&mut samples, shared.broker.stats());
    add_readiness(&mut samples, cluster);
    add_process(&mut samples, cluster);
    samples.into_text()
}

fn add_requests(samples: &mut Samples, metrics: &Metrics) {
    for traffic in metrics.all_traffic() {
        add_traffic(samples, &traffic);
    }
    for (code, count) in metrics.refusals().filter(|(_, count)| *count > 0) {
        samples.add(Name::Refusals, &[code.as_str()], count);
    }
    for (carries, tls, count) in metrics.connections.open() {
        samples.add(Name::Connections, &[carries, if tls { "yes" } else { "no" }], count);
    }
    samples.add(Name::ConnectionsAccepted, &[], metrics.connections.accepted.value());
}

fn add_traffic(samples: &mut Samples, traffic: &Traffic) {
    let RouteName { route, target, queue } = &traffic.route;
    for (method, status, count) in traffic.counted() {
        samples.add(Name::Requests, &[route, target, queue, method, &status], count);
    }
    // What finds no route is answered at once.
    if !target.is_empty() {
        samples.add(Name::RequestsInFlight, &[route, target, queue], traffic.in_flight());
    }
    let measured = traffic.duration.measured();
    if measured.count > 0 {
        samples.add(Name::RequestDuration, &[route, target, queue], measured);
    }
    let parts = [
        ("front", &traffic.front),
        ("queue", &traffic.queue),
        ("worker", &traffic.worker),
        ("reply", &traffic.reply),
    ];
    for (part, durations) in parts {
        let measured = durations.measured();
        if measured.count > 0 {
            samples.add(Name::RequestPart, &[route, target, queue, part], measured);
        }
    }
}

fn add_streams(samples: &mut Samples, cluster: &Cluster) {
    let (topics, stats) = (&cluster.shared.topics, cluster.shared.broker.stats());
    samples.add(Name::Streams, &[], cluster.streams());
    samples.add(Name::StreamsCut, &[], topics.overruns());
    samples.add(Name::Topics, &[], topics.subscribed());
    samples.add(Name::EventsHeard, &[], stats.events_heard.value());
    samples.add(Name::EventsDelivered, &[], stats.events_delivered.value());
}

fn add_jobs(samples: &mut Samples, cluster: &Cluster) {
    for (queue, state) in cluster.shared.queues().into_iter().take(QUEUES_MAX) {
        for (outcome, count) in state.jobs.counted() {
            samples.add(Name::Jobs, &[queue.as_str(), outcome], count);
        }
        for (outcome, count) in state.pushes.counted() {
            samples.add(Name::JobsPushed, &[queue.as_str(), outcome], count);
        }
    }
    samples.add(Name::JobsAwaited, &[], cluster.waiting());
}

/// What was last seen of the queues, if that is not long ago.
async fn add_queues(samples: &mut Samples, cluster: &Cluster) {
    let broker = &cluster.shared.broker;
    let presence = broker.presence();
    if presence.seen().is_none_or(|seen| seen.elapsed() > FRESH) {
        return;
    }
    let mut queues: Vec<&Queue> = presence.queues().collect();
    queues.sort_unstable();
    queues.truncate(QUEUES_MAX);
    let mut waiting = Vec::new();
    for queue in &queues {
        let name = queue.as_str();
        samples.add(Name::JobsRunning, &[name], presence.running(queue));
        samples.add(Name::JobsLater, &[name], presence.later(queue));
        samples.add(Name::JobsDead, &[name], presence.dead(queue));
        samples.add(Name::Workers, &[name], presence.workers(queue));
        samples.add(Name::WorkerSlots, &[name], u64::from(presence.slots(queue)));
        for lane in Lane::ALL {
            let (jobs, bytes) = (presence.depth(queue, lane), presence.bytes(queue, lane));
            samples.add(Name::JobsWaiting, &[name, lane.as_str()], jobs);
            samples.add(Name::JobsWaitingBytes, &[name, lane.as_str()], bytes);
            waiting.push((*queue, lane, Load { jobs, bytes }));
        }
    }
    add_oldest(samples, cluster, waiting).await;
}

async fn add_oldest(samples: &mut Samples, cluster: &Cluster, lanes: Vec<(&Queue, Lane, Load)>) {
    let oldest = tokio::time::timeout(REDIS, cluster.shared.broker.oldest(&lanes)).await;
    let Ok(Ok(ages)) = oldest else { return };
    for ((queue, lane, _), age) in lanes.into_iter().zip(ages) {
        if let Some(age) = age {
            samples.add(Name::JobsOldest, &[queue.as_str(), lane.as_str()], age);
        }
    }
}

fn add_bus(samples: &mut Samples, stats: &Stats) {
    let recovered = &stats.recovered;
    for (outcome, counter) in [
        ("requeued", &recovered.requeued),
        ("answered", &recovered.answered),
        ("buried", &recovered.buried),
        ("dropped", &recovered.dropped),
    ] {
        samples.add(Name::JobsRecovered, &[outcome], counter.value());
    }
    let deaths = &stats.deaths;
    for (cause, counter) in [
        ("signal", &deaths.signal),
        ("exit", &deaths.exit),
        ("lease", &deaths.lease),
        ("other", &deaths.other),
    ] {
        samples.add(Name::WorkerDeaths, &[cause], counter.value());
    }
    let reconnects = &stats.reconnects;
    for (connection, counter) in
        [("commands", &reconnects.commands), ("mailbox", &reconnects.mailbox), ("topics", &reconnects.topics)]
    {
        samples.add(Name::RedisReconnects, &[connection], counter.value());
    }
    for (fault, count) in stats.faults.counts() {
        samples.add(Name::RedisFaults, &[fault], count);
    }
    for (command, count) in stats.commands.sent().filter(|(_, count)| *count > 0) {
        samples.add(Name::RedisCommands, &[command], count);
    }
    samples.add(Name::RedisRoundTrip, &[], stats.round_trip.measured());
    samples.add(Name::FramesMalformed, &["reply"], stats.bad_replies.value());
    samples.add(Name::FramesMalformed, &["job"], stats.bad_jobs.value());
    samples.add(Name::RepliesLate, &[], stats.late_replies.value());
}

fn add_readiness(samples: &mut Samples, cluster: &Cluster) {
    let reasons = Unready::of(cluster);
    samples.add(Name::Ready, &[], reasons.is_empty());
    for (reason, _) in Unready::WORDS {
        let holds = reasons.iter().any(|unready| unready.reason == reason);
        samples.add(Name::Unready, &[reason], holds);
    }
    samples.add(Name::RedisUp, &[], cluster.shared.broker.up_since().is_some());
}

fn add_process(samples: &mut Samples, cluster: &Cluster) {
    let process = Process::now();
    samples.add(Name::BuildInfo, &[env!("CARGO_PKG_VERSION")], true);
    samples.add(Name::Uptime, &[], cluster.shared.opened.elapsed());
    if let Some(cpu) = process.cpu {
        samples.add(Name::ProcessCpu, &[], cpu);
    }
    for (name, value) in [
        (Name::ProcessMemory, process.resident_bytes),
        (Name::ProcessOpenFiles, process.open_files),
        (Name::ProcessOpenFilesMax, process.open_files_max),
        (Name::ProcessThreads, process.threads),
    ] {
        if let Some(value) = value {
            samples.add(name, &[], value);
        }
    }
}
