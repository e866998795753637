"""Very many delayed jobs that are due at the same moment: when the last of them is in its lane, and how others fare."""

import json
import statistics
import subprocess
import time

from jobs.rates import started
from jobs.systems import QUEUE
from measured import wait_for
from stage import free_ports

LOOK_S = 0.005
# When sampling begins before that moment; and for how long after it.
BEFORE_S, AFTER_S = 1, 5
PATIENCE_S = 60
GOAL_S = 2


def measure(part, options):
    """Rounds of a quiet time, then of the moment."""
    jobs, rounds, ahead_s = sizes(options)
    found = [once(options.bin, jobs, ahead_s) for _ in range(rounds)]
    part.raw["due"] = found
    tell(part, jobs, found, not options.smoke)


def sizes(options):
    """How many jobs, rounds, how long before the moment they are pushed in seconds."""
    if options.smoke:
        return 500, 1, 5
    return (100_000, 1, 15) if options.quick else (100_000, 3, 20)


def once(binaries, jobs, ahead_s):
    """Pushes the jobs, samples a quiet time, then the moment."""
    with started("rust", binaries) as system:
        (port,) = free_ports(1)
        front = [system.ground.built("tempest"), "front", "--listen", f"127.0.0.1:{port}", "--admin-listen", ""]
        system.ground.start(*front, "--redis-url", f"redis://127.0.0.1:{system.port}", "--log", "warn", log="front.log")
        wait_for(port)
        due = time.time() + ahead_s
        command, environment = system.fill_command({"batch": 1000, "calls": 2}, jobs, 0, "--due", int(due * 1000))
        system.finished(command, environment)
        quiet = Trips(system, due - time.time() - BEFORE_S - 1).result()
        sleep_until(due - BEFORE_S)
        busy = Trips(system, BEFORE_S + AFTER_S)
        moved_s = watch(system.redis, jobs, due)
        return {"moved_s": moved_s, "quiet": quiet, "busy": busy.result()}


def sleep_until(moment):
    """Raises if it is over: then the figures would say nothing about it."""
    if time.time() > moment:
        raise RuntimeError("the jobs were due before they were pushed and a quiet time was sampled")
    time.sleep(moment - time.time())


def watch(redis, jobs, due):
    """Seconds from the moment until all jobs lie in their lane."""
    while (there := redis.llen(f"tempest:{{{QUEUE}}}")) < jobs:
        if time.time() > due + PATIENCE_S:
            raise RuntimeError(f"{there} of {jobs} jobs were moved {PATIENCE_S} s after they were due")
        time.sleep(LOOK_S)
    return time.time() - due


class Trips:
    """Jobs of another queue, one each 5 ms, while the block goes on."""

    def __init__(self, system, seconds):
        command = [system.ground.built("bench-jobs"), "trips", "--seconds", f"{seconds:.3f}"]
        self._process = subprocess.Popen(command, env=system.environment(), stdout=subprocess.PIPE, text=True)

    def result(self):
        said, _ = self._process.communicate(timeout=PATIENCE_S)
        if self._process.returncode:
            raise RuntimeError(f"bench-jobs trips ended with {self._process.returncode}")
        return json.loads(said)


def tell(part, jobs, found, judged):
    """The tables and the goal."""
    rows = [[number, f"{one['moved_s']:.2f}"] for number, one in enumerate(found, 1)]
    part.table(f"{jobs:,} delayed jobs due at once: until the last is in its lane", ["round", "s"], rows)
    rows = []
    for when in ("quiet", "busy"):
        rows.append(
            [
                when,
                *(f"{statistics.median(one[when][name] for one in found) / 1000:.1f}" for name in ("p50_us", "p99_us")),
                f"{max(one[when]['max_us'] for one in found) / 1000:.1f}",
            ]
        )
    part.table("push of a job of another queue -> it has run, one each 5 ms, ms", ["", "median", "p99", "worst"], rows)
    if judged:
        worst = max(one["moved_s"] for one in found)
        part.goal(
            f"{jobs:,} delayed jobs due at once: s until all are in their lane, at most {GOAL_S}", worst, GOAL_S, False
        )
