"""What is measured: systems of background jobs, each with programs that fill and drain a queue of a private Redis.

Not here: what is made of the figures. Whatever is started ends with the `Ground` it was started on.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from contenders import CLIENT, Missing, module, tool
from stage import ROOT

PROGRAMS = Path(__file__).resolve().parent / "programs"
BULLMQ = ROOT / "bench/bullmq"
QUEUE = "jobs"
PATIENCE_S = 600


class Way(NamedTuple):
    """A way to drain or to fill: its name in tables, and what the system's program is told."""

    about: str
    told: dict


class System:
    """A system on a Redis that is empty. `jobs`: how many it is given in a round that counts."""

    about, jobs, family = "", 0, ""
    drains, fills = (), ()
    # What the script needs to run it at all, by module; empty for programs that were built.
    needs = ()

    def __init__(self, ground, redis, port):
        self.ground, self.redis, self.port = ground, redis, port

    @classmethod
    def check(cls, ground):
        """Raises :class:`Missing` with what to install."""
        for name in cls.needs:
            module(name)

    def fill(self, way, jobs, size=0):
        """Enqueues so many with arguments of so many bytes (0: a number), and gives the seconds that took."""
        command, environment = self.fill_command(way.told, jobs, size)
        return self.finished(command, environment)["seconds"]

    def finished(self, command, environment):
        """What a program says that is run to its end."""
        command = [str(word) for word in command]
        done = subprocess.run(
            command, env={**os.environ, **environment}, cwd=PROGRAMS, capture_output=True, text=True, timeout=PATIENCE_S
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def work(self, way):
        """Starts the worker."""
        command, environment = self.work_command(way.told)
        file = self.ground.programs.folder / f"{self.family}-{self.port}.out"
        with file.open("w") as out:
            process = subprocess.Popen(
                [str(word) for word in command],
                env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=PROGRAMS,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Worker(process, file)

    def left(self):
        """How many jobs are not done yet. Cheap while there are many."""
        raise NotImplementedError


class Worker:
    """A worker that runs, with the processes it has started."""

    def __init__(self, process, file):
        self.process, self._file = process, file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def check(self):
        """Raises if it has ended by itself."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the worker ended with {self.process.returncode}: {self.said()[-500:]}")

    def said(self):
        """What it printed."""
        return self._file.read_text(errors="replace")

    def end(self):
        """Ends it as its operator would. Gives how many jobs it says it ran."""
        self.process.terminate()
        self.process.wait(60)
        return ran(self.said())


def ran(said):
    """The sum of what the processes of a worker say they ran, among what else they print."""
    found = []
    for line in said.splitlines():
        if line.startswith("{"):
            found.append(json.loads(line)["ran"])
    if not found:
        raise RuntimeError(f"the worker does not say what it ran: {said[-500:]}")
    return sum(found)


class Tempest(System):
    """Either language: the keys are the same."""

    def environment(self):
        url = f"redis://127.0.0.1:{self.port}"
        return {"TEMPEST_REDIS_URL": url, "TEMPEST_QUEUE": QUEUE, "PYTHONPATH": str(CLIENT)}

    def left(self):
        # Each has a record until it is done; looking for them is dear while there are many.
        return self.redis.llen(f"tempest:{{{QUEUE}}}") or len(self.redis.keys(f"tempest:{{{QUEUE}}}:job:*"))


class Rust(Tempest):
    """bench/programs/src/jobs"""

    about, jobs, family = "Tempest, Rust", 200_000, "rust"
    drains = tuple(Way(f"{slots} slots", {"TEMPEST_CONCURRENCY": str(slots)}) for slots in (64, 1, 16, 256))
    fills = tuple(
        Way(f"push_many of {batch:,}, {calls} at a time", {"batch": batch, "calls": calls})
        for batch, calls in ((1000, 2), (100, 1), (1000, 1), (1000, 4))
    )

    @classmethod
    def check(cls, ground):
        ground.built("bench-jobs")

    def fill_command(self, told, jobs, size, *more):
        given = ["--jobs", jobs, "--bytes", size, *(f"--{name}={value}" for name, value in told.items()), *more]
        return [self.ground.built("bench-jobs"), "fill", "--queue", QUEUE, *given], self.environment()

    def work_command(self, told):
        return [self.ground.built("bench-jobs"), "work"], {**self.environment(), **told}


class Python(Tempest):
    """clients/python"""

    about, jobs, family, needs = "Tempest, Python", 40_000, "python", ("tempest", "hiredis")
    drains = tuple(Way(f"{threads} at a time", {"TEMPEST_CONCURRENCY": str(threads)}) for threads in (1, 4))
    fills = tuple(Way(f"push_many of {batch:,}", {"batch": batch}) for batch in (1000, 100))
    program = PROGRAMS / "tempest_jobs.py"

    def fill_command(self, told, jobs, size):
        return [sys.executable, self.program, "fill", jobs, size, told["batch"]], self.environment()

    def work_command(self, told):
        return [sys.executable, self.program, "work"], {**self.environment(), **told}


class BullMQ(System):
    """bench/bullmq"""

    about, jobs, family = "BullMQ", 40_000, "bullmq"
    drains = tuple(
        Way(f"concurrency {slots}{', auto-pipelining' * (pipelining == 'auto')}", {"told": [slots, pipelining]})
        for slots, pipelining in ((100, "plain"), (1, "plain"), (20, "plain"), (500, "plain"), (100, "auto"))
    )
    fills = tuple(Way(f"addBulk of {batch:,}", {"batch": batch}) for batch in (1000, 100))

    @classmethod
    def check(cls, ground):
        tool("node")
        if not (BULLMQ / "node_modules").is_dir():
            raise Missing("BullMQ is missing (script/bootstrap bench, or npm ci in bench/bullmq)")

    def fill_command(self, told, jobs, size):
        return [tool("node"), BULLMQ / "fill.js", self.port, QUEUE, jobs, told["batch"], size], {}

    def work_command(self, told):
        return [tool("node"), BULLMQ / "drain.js", self.port, QUEUE, *told["told"]], {}

    def left(self):
        asked = self.redis.pipeline(transaction=False)
        return sum(asked.llen(f"bull:{QUEUE}:wait").llen(f"bull:{QUEUE}:active").execute())


LATE = {"task_acks_late": True, "task_reject_on_worker_lost": True}


class Celery(System):
    """bench/jobs/programs/celery_jobs.py"""

    about, jobs, family, needs = "Celery, late acks", 6_000, "celery", ("celery", "redis")
    settings = LATE
    drains = tuple(
        Way(f"{pool}, concurrency {slots}, prefetch {prefetch}", {"pool": [pool, slots], "prefetch": prefetch})
        for pool, slots, prefetch in (
            ("prefork", 1, 64),
            ("prefork", 2, 64),
            ("prefork", 1, 4),
            ("prefork", 2, 4),
            ("solo", 1, 64),
        )
    )
    fills = (Way("one producer", {"how": "producer"}), Way("group", {"how": "group"}))
    program = PROGRAMS / "celery_jobs.py"

    def environment(self, **more):
        return {"BROKER": f"redis://127.0.0.1:{self.port}/0", "CELERY": json.dumps({**self.settings, **more})}

    def fill_command(self, told, jobs, size):
        return [sys.executable, self.program, jobs, size, told["how"]], self.environment()

    def work_command(self, told):
        pool, slots = told["pool"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "celery_jobs",
            "worker",
            "--pool",
            pool,
            "--concurrency",
            slots,
        ]
        return [*command, *quiet], self.environment(worker_prefetch_multiplier=told["prefetch"])

    def left(self):
        asked = self.redis.pipeline(transaction=False)
        return sum(asked.llen("celery").hlen("unacked").execute())


class CeleryEarly(Celery):
    """The same with the acks it has by default: a worker that is killed loses what it has begun."""

    about, family, settings = "Celery, early acks (not crash-safe)", "celery-early", {}


class RQ(System):
    """bench/jobs/programs/rq_jobs.py"""

    about, jobs, family, needs = "RQ, SimpleWorker", 3_000, "rq", ("rq", "redis")
    drains = (Way("in its process", {"kind": "simple"}),)
    fills = tuple(Way(f"enqueue_many of {batch:,}", {"batch": batch}) for batch in (1000, 100))
    program = PROGRAMS / "rq_jobs.py"

    def fill_command(self, told, jobs, size):
        return [sys.executable, self.program, "fill", self.port, QUEUE, jobs, size, told["batch"]], {}

    def work_command(self, told):
        return [sys.executable, self.program, "work", self.port, QUEUE, told["kind"]], {}

    def left(self):
        asked = self.redis.pipeline(transaction=False)
        return sum(asked.llen(f"rq:queue:{QUEUE}").zcard(f"rq:wip:{QUEUE}").execute())


class RQFork(RQ):
    """The worker that its documentation recommends: a process a job."""

    about, family, jobs = "RQ, Worker", "rq-fork", 400
    drains = (Way("a process a job", {"kind": "fork"}),)
    fills = RQ.fills[:1]


ALL = {kind.family: kind for kind in (Rust, Python, BullMQ, Celery, CeleryEarly, RQ, RQFork)}
