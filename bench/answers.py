#!/usr/bin/env python3
"""Requests per second and latency of Tempest and its peers: the same answer, in one run, one after the other in turn.

usage: bench/answers.py [--only bare,nginx,rust,…] [--connections 1,64,256] [--seconds 5] [--rounds 5] [--json FILE]

bare            axum answers itself                              (bench/programs)
nginx           nginx proxy_pass to that axum, connections kept on both sides
floor           the least that a path front, Redis, worker costs: no logs, deadlines, leases, metrics (bench/programs)
rust            front, Redis, one Rust worker; crash-safe, metrics on
gunicorn        nginx and gunicorn with 2 sync workers, a bare application of PEP 3333; gunicorn-flask: with Flask
wsgi            front, Redis, 2 processes of `python -m tempest.wsgi`, the same; wsgi-flask: with Flask

In each round every contender has its turn; ratios are taken within a round, and the median of the rounds is printed.
Fails if an answer is wrong before or after, or if wrk counts an error. What is missing is named and left out; with
CI=true that is a failure too.
"""

import os
import statistics
import sys

import contenders
import load
from measured import cpu_seconds, proportional_bytes, resident_bytes
from part import Part, argument_parser
from private import Redis
from stage import Programs

# (ours, peer, connections, figure, limit, at least): what the ratio of ours to the peer's must be.
GOALS = [
    ("rust", "bare", 256, "per_second", 0.65, True),
    ("rust", "bare", 64, "per_second", 0.55, True),
    ("rust", "nginx", 256, "per_second", 1.5, True),
    ("rust", "bare", 1, "p50_us", 2.5, False),
    ("wsgi", "gunicorn", 64, "per_second", 2.0, True),
    ("wsgi", "gunicorn", 256, "per_second", 2.0, True),
    ("wsgi-flask", "gunicorn-flask", 64, "per_second", 1.5, True),
    ("wsgi-flask", "gunicorn-flask", 256, "per_second", 1.5, True),
]
FIGURES = {"per_second": "requests per second", "p50_us": "median latency"}
NOTES = [
    "one machine, one run, in turn; wrk has the same processors as whom it asks; the idle ones stay up meanwhile",
    "the same status, content-type, content-length and body from all, checked before and after; connections are kept",
    "access logs are off everywhere; the front's metrics are on; Redis without persistence; jobs are crash-safe "
    "(in a run list of the worker until answered)",
]


def one_run(contender, connections, seconds):
    """The figures of one run against one contender, with what its processes and its Redis did meanwhile."""
    trees = contender.processes()
    cpu = {name: sum(map(cpu_seconds, tree)) for name, tree in trees.items()}
    redis = Redis(contender.redis_port) if contender.redis_port else None
    before = redis.counts() if redis else None
    refused = contender.refusals()
    figures = load.run(contender.port, connections, seconds)
    requests = max(1, figures["requests"])
    used = {name: sum(map(cpu_seconds, tree)) - cpu[name] for name, tree in trees.items()}
    figures["cpu_us"] = {name: seconds / requests * 1e6 for name, seconds in used.items()}
    if figures["errors"] and contender.admin_port:
        more = {code: count - refused.get(code, 0) for code, count in contender.refusals().items()}
        figures["errors"] += f" (refused: {', '.join(f'{count} {code}' for code, count in more.items() if count)})"
    if redis:
        calls, cpu_s = redis.counts()
        made = {name: (count - before[0].get(name, 0)) / requests for name, count in calls.items()}
        figures["redis_calls"] = {name: count for name, count in made.items() if count > 0.0005}
        figures["redis_cpu_us"] = (cpu_s - before[1]) / requests * 1e6
    return figures


def start_all(keys, ground, part):
    """Starts the contenders, and names those that cannot run here."""
    started = []
    for key in keys:
        try:
            started.append(contenders.start(key, ground))
        except contenders.Missing as why:
            if os.environ.get("CI") == "true":
                part.fail(f"{key}: {why}")
            else:
                part.note(f"skipped {key}: {why}")
    return started


def measure(running, options, part):
    """All runs: figures by contender and connections, a list with an entry per round."""
    runs = {contender.key: {count: [] for count in options.connections} for contender in running}
    for contender in running:
        load.run(contender.port, 64, 1)  # warm
    for count in options.connections:
        for turn in range(options.rounds):
            first = turn % len(running) if running else 0
            for contender in running[first:] + running[:first]:
                figures = one_run(contender, count, options.seconds)
                runs[contender.key][count].append(figures)
                if figures["errors"]:
                    part.fail(f"{contender.key} with {count} connections: {figures['errors']}")
    for contender in running:
        if wrong := load.wrong_answer(contender.port):
            part.fail(f"{contender.key} {wrong} after the load")
    return runs


def median(runs, name):
    """The median of a figure over the rounds."""
    return statistics.median(figures[name] for figures in runs)


def ratio(ours, peer, name):
    """The median of the ratios of the rounds."""
    return statistics.median(one[name] / other[name] for one, other in zip(ours, peer, strict=True))


def say_speed(runs, part):
    """The tables of throughput and latency."""
    base = runs.get("bare")
    for count in next(iter(runs.values())):
        rows = []
        for key, by_count in runs.items():
            figures = by_count[count]
            each = [run["per_second"] for run in figures]
            share = f"{ratio(figures, base[count], 'per_second'):.2f}" if base else "-"
            spread = f"{min(each):,.0f}-{max(each):,.0f}"
            times = [f"{median(figures, name):,.0f}" for name in ("p50_us", "p99_us")]
            rows.append([key, f"{median(figures, 'per_second'):,.0f}", spread, share, *times])
        columns = ["contender", "requests/s", "of all rounds", "share of bare", "p50 us", "p99 us"]
        part.table(f"{count} connection{'s' * (count > 1)}", columns, rows)


def say_costs(runs, part):
    """The tables of what a request costs: processor time by process, commands of Redis."""
    rows, calls = [], []
    for key, by_count in runs.items():
        for count, figures in by_count.items():
            names = figures[0]["cpu_us"]
            cpu = {name: statistics.median(run["cpu_us"][name] for run in figures) for name in names}
            each = ", ".join(f"{name} {us:.1f}" for name, us in cpu.items())
            redis = f"{median(figures, 'redis_cpu_us'):.1f}" if "redis_cpu_us" in figures[0] else "-"
            rows.append([key, count, f"{sum(cpu.values()):.1f}", redis, each])
            if "redis_calls" in figures[0]:
                made = figures[-1]["redis_calls"]
                most = sorted(made.items(), key=lambda item: -item[1])
                words = ", ".join(f"{name} {number:.2f}" for name, number in most if number >= 0.005)
                calls.append([key, count, f"{sum(made.values()):.2f}", words])
    columns = ["contender", "connections", "all us", "Redis by INFO", "by process"]
    part.table("Processor time a request, us", columns, rows)
    if calls:
        part.table("Commands of Redis a job, last round", ["contender", "connections", "all", "by command"], calls)


def say_memory(running, part):
    """The table of memory after the load."""
    rows = []
    for contender in running:
        for name, tree in contender.processes().items():
            resident, proportional = (sum(map(f, tree)) / 1e6 for f in (resident_bytes, proportional_bytes))
            rows.append([contender.key, name, len(tree), f"{resident:.1f}", f"{proportional:.1f}"])
            part.raw.setdefault("memory", []).append([contender.key, name, len(tree), resident, proportional])
    part.table("Memory after the load, MB", ["contender", "process", "processes", "RSS", "PSS"], rows)


def judge(runs, part):
    """The goals for which both sides ran."""
    print()
    for ours, peer, count, name, limit, at_least in GOALS:
        if ours in runs and peer in runs and count in runs[ours]:
            figure = ratio(runs[ours][count], runs[peer][count], name)
            sign = "≥" if at_least else "≤"
            text = (
                f"{FIGURES[name]} of {ours} {sign} {limit} times that of {peer}, {count} connection{'s' * (count > 1)}"
            )
            part.goal(text, figure, limit, at_least)


def draw(running, runs, part):
    """The bars of the chart."""
    count = max(next(iter(runs.values())))
    for contender in running:
        value = median(runs[contender.key][count], "per_second")
        ours = contender.about.startswith("Tempest")
        of = "" if contender.key in ("bare", "nginx", "floor", "rust") else " of one WSGI application"
        part.bar(f"Requests per second{of}, {count} connections", contender.about, value, ours)


def numbers(text):
    """A list of numbers from 1, separated by commas."""
    return [int(word) for word in text.split(",") if int(word) > 0]


def arguments():
    parser = argument_parser(__doc__)
    parser.add_argument("--only", default=",".join(contenders.ALL), help="contenders, separated by commas")
    parser.add_argument("--connections", type=numbers, default=[1, 64, 256])
    parser.add_argument("--seconds", type=int, default=5, help="of each run, whole seconds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=64, help="jobs the Rust worker has in hand at once")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(contenders.ALL):
        parser.error(f"no contender named {', '.join(sorted(unknown))}")
    return options


def compare(running, options, part):
    """Measures those who run, and says what came of it."""
    runs = part.raw["runs"] = measure(running, options, part)
    say_speed(runs, part)
    say_costs(runs, part)
    say_memory(running, part)
    judge(runs, part)
    draw(running, runs, part)


def main():
    options, part = arguments(), Part()
    with Programs() as programs:
        contenders.tool("wrk")
        ground = contenders.Ground(programs, options.bin, options.concurrency)
        try:
            if running := start_all(options.only, ground, part):
                compare(running, options, part)
        finally:
            ground.stop()
    for text in NOTES:
        part.note(text)
    sys.exit(part.finish(options.json))


if __name__ == "__main__":
    try:
        main()
    except (contenders.Missing, RuntimeError) as why:
        sys.exit(f"bench/answers.py: {why}")
