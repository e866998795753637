//! Many event streams at once: bursts, heartbeats, and the stop of a front.

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tempest_front::FrontConfig;

use crate::{
    event_source::EventSource,
    scene::{Running, Scene, config},
    server::eventually,
};

const CROWD: usize = 100;
const BURST: usize = 10_000;

fn crowd(front: &Running) -> Vec<EventSource> {
    (0..CROWD).map(|_| front.events("/sub/t")).collect()
}

/// Publishes as fast as Redis takes it, without waiting for answers.
fn publish_all(scene: &Scene, payloads: impl Iterator<Item = String>) {
    let mut redis = TcpStream::connect(("127.0.0.1", scene.redis.port())).expect("Redis listens");
    let mut calls = Vec::new();
    for payload in payloads {
        calls.extend_from_slice(
            format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n${}\r\n{payload}\r\n", payload.len()).as_bytes(),
        );
    }
    redis.write_all(&calls).expect("Redis reads");
    redis.shutdown(std::net::Shutdown::Write).expect("still connected");
    std::io::copy(&mut redis, &mut std::io::sink()).expect("answered to the end");
}

#[test]
fn a_burst_reaches_every_stream_whole_and_in_order() {
    let scene = Scene::new();
    let front = scene.front();
    let mut streams = crowd(&front);
    publish_all(&scene, (0..BURST).map(|n| n.to_string()));
    for stream in &mut streams {
        for n in 0..BURST {
            assert_eq!(stream.event(), Some(format!("data: {n}")));
        }
    }
    assert_eq!(front.cluster.streams(), CROWD);
}

/// Events are written by one task and heartbeats by another, and sockets take large ones in pieces.
#[test]
fn heartbeats_and_events_do_not_cut_each_other_in_two() {
    const EVENTS: usize = 100;
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { heartbeat_ms: 20, ..config() });
    let streams: Vec<EventSource> = (0..CROWD / 4).map(|_| front.events("/sub/t")).collect();
    let large = |n: usize| format!("{n} {}", "x".repeat(20_000));
    std::thread::scope(|scope| {
        for mut stream in streams {
            scope.spawn(move || {
                let (mut next, mut beats) = (0, 0);
                while next < EVENTS {
                    let block = stream.block().expect("it stays open");
                    if block == ":" || block.starts_with("retry:") {
                        beats += usize::from(block == ":");
                        continue;
                    }
                    assert!(block == format!("data: {}", large(next)), "event {next}: {} bytes", block.len());
                    next += 1;
                }
                assert!(beats > 0);
            });
        }
        for n in 0..EVENTS / 10 {
            publish_all(&scene, (n * 10..(n + 1) * 10).map(large));
            std::thread::sleep(Duration::from_millis(10)); // so that heartbeats fall between them
        }
    });
}

/// Streams that were opened at the same moment would otherwise all be called at the same moment, for ever. A machine that
/// stood still for a moment calls many at once afterwards: in one of a few turns it does not.
#[test]
fn heartbeats_are_spread_over_their_period() {
    const PERIOD: Duration = Duration::from_secs(3);
    const TURNS: usize = 4;
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { heartbeat_ms: 3_000, ..config() });
    let streams = crowd(&front);
    let begun = Instant::now();
    let beats: Vec<[Duration; TURNS]> = std::thread::scope(|scope| {
        let readers = streams.into_iter().map(|mut stream| {
            scope.spawn(move || {
                [(); TURNS].map(|()| {
                    while stream.block().expect("it stays open") != ":" {}
                    begun.elapsed()
                })
            })
        });
        let readers: Vec<_> = readers.collect();
        readers.into_iter().map(|reader| reader.join().expect("read")).collect()
    });
    let last = beats.iter().map(|of_stream| of_stream[0]).max();
    assert!(last < Some(PERIOD * 3), "each in its turn: {last:?}");
    let crowded = |turn: usize| {
        let mut at: Vec<_> = beats.iter().map(|of_stream| of_stream[turn]).collect();
        at.sort();
        at.windows(CROWD / 2).map(|some| some[CROWD / 2 - 1].saturating_sub(some[0])).min()
    };
    let crowded: Vec<_> = (0..TURNS).map(crowded).collect();
    assert!(crowded.iter().max() > Some(&Some(PERIOD / 5)), "half of them came within {crowded:?}");
}

/// A stream that always has something to say still ends, with the hint, and says all it has heard before.
#[test]
fn a_stop_ends_streams_in_the_midst_of_events() {
    let scene = Scene::new();
    let mut front = scene.front();
    let streams = crowd(&front);
    let (published, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut redis = scene.redis.client();
            for n in 0.. {
                redis.run(&["PUBLISH", "t", &n.to_string()]);
                published.store(n, Ordering::Relaxed);
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let readers: Vec<_> =
            streams.into_iter().map(|mut stream| scope.spawn(move || stream.rest())).collect();
        eventually("events flow", || published.load(Ordering::Relaxed) > 100);
        front.stop();
        let heard: Vec<_> = readers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stopped.store(true, Ordering::Relaxed); // before anything can fail: the publisher is waited for
        publisher.join().expect("published");
        for blocks in heard {
            let mut blocks = blocks.expect("read to its end");
            blocks.retain(|block| block != ":"); // a heartbeat may come before the first event
            let (hint, events) = blocks[1..].split_last().expect("a last word");
            assert!(hint.starts_with("retry: "), "{hint}");
            let first: usize = number(&events[0]);
            for (expected, event) in (first..).zip(events) {
                assert_eq!(number(event), expected);
            }
        }
    });
    assert_eq!(front.ended().cut, 0);
}

fn number(event: &str) -> usize {
    event.strip_prefix("data: ").and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{event:?}"))
}
