#!/usr/bin/env python3
"""What workers without work cost Redis: starts N Rust workers that get no job and reads what Redis says of itself.

usage: bench/idle_workers.py [--workers 1000] [--seconds 20] [--settle S] [--only alone,supervised]
                             [--bin target/release] [--json FILE]

alone        each was started by somebody, beside a front
supervised   `tempest up` has started them

Prints processor time of Redis and its commands per second and worker. Then each worker is given a job, and all are
answered.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "acceptance"))

import private  # noqa: E402
from measured import cpu_seconds, open_many_files, running, wait_for  # noqa: E402
from part import Part, argument_parser  # noqa: E402
from stage import free_ports  # noqa: E402

GOALS = {"alone": 5, "supervised": 2}
# What workers do at their start is over. Of a thousand that start at once some lose a lease and beat for half a minute.
SETTLE_S = {"alone": 8, "supervised": 45}
PATIENCE_S = 120
AT_ONCE = 50  # so many start side by side: one that cannot connect within a second gives up


def wait_for_workers(redis, count):
    """Waits until so many are registered."""
    end = time.monotonic() + PATIENCE_S
    while (there := int(redis.ask("SCARD", "tempest:{default}:workers"))) < count:
        if time.monotonic() > end:
            sys.exit(f"only {there} of {count} workers came")
        time.sleep(0.2)


@contextlib.contextmanager
def started(kind, options, folder, redis, port):
    """A front and the workers."""
    built = options.bin.resolve()
    environment = {"PATH": os.environ["PATH"], "TEMPEST_REDIS_URL": redis.url}
    listen = ["--listen", f"127.0.0.1:{port}", "--admin-listen", "", "--log", "error"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "env": environment}
    with contextlib.ExitStack() as stack:
        if kind == "supervised":
            worker = f'[[worker]]\nname = "idle"\ncommand = "{built}/hello-rust"\ncount = {options.workers}\n'
            pathlib.Path(folder, "tempest.toml").write_text(worker)
            stack.enter_context(running([built / "tempest", "up", *listen], how=signal.SIGTERM, **quiet))
        else:
            stack.enter_context(running([built / "tempest", "front", *listen], **quiet))
            for number in range(1, options.workers + 1):
                stack.enter_context(running([built / "hello-rust"], **quiet))
                if number % AT_ONCE == 0:
                    wait_for_workers(redis, number)
        wait_for(port)
        wait_for_workers(redis, options.workers)
        yield


def measure(kind, options, folder):
    """The figures of one way to start them."""
    redis_port, port = free_ports(2)
    with (
        private.redis(redis_port, folder, "--maxclients", "20000") as redis,
        started(kind, options, folder, redis, port),
    ):
        time.sleep(options.settle or SETTLE_S[kind])
        (before, _), cpu, clock = redis.counts(), cpu_seconds(redis.pid), time.monotonic()
        time.sleep(options.seconds)
        seconds, cpu = time.monotonic() - clock, cpu_seconds(redis.pid) - cpu
        after, _ = redis.counts()
        answered = sum(answers(port) for _ in range(options.workers))
    calls = {name: (count - before.get(name, 0)) / seconds / options.workers for name, count in after.items()}
    return {"kind": kind, "percent": 100 * cpu / seconds, "calls": calls, "answered": answered}


def answers(port):
    """Whether a request is answered. Workers wait in line, so each gets one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def say(found, options, part):
    """The table, the goals, and whether every worker was there in the end."""
    rows = []
    for one in found:
        most = sorted(one["calls"].items(), key=lambda call: -call[1])
        calls = ", ".join(f"{name} {count:.2f}" for name, count in most if count >= 0.01)
        total = sum(one["calls"].values())
        rows.append([one["kind"], f"{one['percent']:.1f}", f"{total:.2f}", calls, one["answered"]])
    columns = ["started", "Redis, % of a core", "commands each a second", "which", "answered afterwards"]
    part.table(f"{options.workers} idle workers", columns, rows)
    for one in found:
        if one["answered"] != options.workers:
            part.fail(f"{one['kind']}: {one['answered']} of {options.workers} requests were answered")
        limit = GOALS[one["kind"]]
        part.goal(f"{one['kind']}: % of a core on Redis ≤ {limit}", one["percent"], limit, False)


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--settle", type=float, help="seconds between their start and the measurement")
    parser.add_argument("--only", default=",".join(GOALS), help="ways to start them, separated by commas")
    options, part = parser.parse_args(), Part()
    open_many_files()
    found = part.raw["ways"] = []
    for kind in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(kind, options, folder))
    say(found, options, part)
    sys.exit(part.finish(options.json))


if __name__ == "__main__":
    main()
