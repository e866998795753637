"""What a job costs Redis while it waits, is delayed, or has its result kept."""

import json
import time

from jobs.rates import PATIENCE_S, started
from jobs.systems import QUEUE, Way

SIZE = 100
DAY_MS = 86_400_000
KEEP_S = 3600


def plain(system, jobs):
    """Jobs as anybody pushes them with a plain RPUSH: no id, no record."""
    frame = json.dumps({"action": "noop", "args": "x" * SIZE, "queued_at": 1_700_000_000_000}, separators=(",", ":"))
    for _ in range(0, jobs, 1000):
        system.redis.rpush(f"tempest:{{{QUEUE}}}", *[frame] * 1000)


def waiting(system, jobs):
    """Jobs as the system's own client enqueues them."""
    system.fill(system.fills[0], jobs, SIZE)


def delayed(system, jobs):
    """Jobs that are due tomorrow."""
    due = int(time.time() * 1000) + DAY_MS
    system.finished(*system.fill_command(system.fills[0].told, jobs, SIZE, "--due", due))


def kept(system, jobs):
    """Jobs that are done, each with a result as long as its arguments."""
    given = ["--action", "echo", "--keep", KEEP_S]
    system.finished(*system.fill_command(system.fills[0].told, jobs, SIZE, *given))
    with system.work(Way("", {"TEMPEST_CONCURRENCY": "64"})) as worker:
        end = time.monotonic() + PATIENCE_S
        while system.redis.llen(f"tempest:{{{QUEUE}}}"):
            worker.check()
            if time.monotonic() > end:
                raise RuntimeError("the jobs whose results are kept were not done in time")
            time.sleep(0.05)
        worker.end()


KINDS = (
    ("Tempest: waiting, with its record", "rust", waiting),
    ("Tempest: waiting, without an id", "rust", plain),
    ("Tempest: delayed, with its record", "rust", delayed),
    ("Tempest: done, result and record kept", "rust", kept),
    ("BullMQ: waiting", "bullmq", waiting),
    ("Celery: waiting", "celery", waiting),
    ("RQ: waiting", "rq", waiting),
)


def measure(part, families, options):
    """Each kind on a Redis of its own."""
    jobs = 1000 if options.smoke else 20_000 if options.quick else 100_000
    found = {}
    for about, family, put in KINDS:
        if family in families:
            with started(family, options.bin) as system:
                found[about] = each(system, put, jobs)
            print(f"{about}: {found[about]:.0f} bytes", flush=True)
    part.raw["memory"] = found
    rows = [[about, f"{size:,.0f}"] for about, size in found.items()]
    part.table(f"bytes of Redis a job, arguments of {SIZE} bytes", ["", "bytes"], rows)


def each(system, put, jobs):
    """Bytes a job. What goes on beside the jobs is in it: a few kilobytes in all."""
    before = system.redis.info("memory")["used_memory"]
    put(system, jobs)
    return (system.redis.info("memory")["used_memory"] - before) / jobs
