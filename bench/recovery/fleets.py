"""What is measured: a private Redis, workers of one queue that take one job at a time, and how they get jobs.

Each handler says that it began, and a first attempt then lasts as long as its process. A fleet is a block: what it has
started ends with it.
"""

import contextlib
import json
import subprocess
import sys

import redis

from contenders import CLIENT, Ground, Missing, tool
from recovery.ears import READY
from stage import ROOT, Programs, free_ports, until

BULLMQ = ROOT / "bench/bullmq"
QUEUE = "held"
# The look that tells who is dead counts connections only that have been up for 5 s (SPEC "Recovery").
SETTLED_S = 6


class Fleet:
    """What all of them are: a Redis and `count` workers."""

    # How long it must have run before a kill says anything about its daily life.
    settle_s = 0

    def __init__(self, programs, binaries, ears, count):
        self.ground = Ground(programs, binaries, 1)
        self.ears, self.count = ears, count
        (self.redis_port,) = free_ports(1)
        self.ground.redis(self.redis_port)
        self.redis = redis.Redis(port=self.redis_port, socket_timeout=10)
        self._last = 0

    def names(self, count):
        """Ids of jobs that were never used."""
        self._last += count
        return [f"job-{number}" for number in range(self._last - count + 1, self._last + 1)]

    def end(self):
        """Closes what talks to Redis."""
        self.redis.close()


class Tempest(Fleet):
    """Workers in a language, by their command."""

    def __init__(self, *about, command):
        super().__init__(*about)
        self.url = f"redis://127.0.0.1:{self.redis_port}"
        self.command = command(self.ground)
        self.environment = {"TEMPEST_CONCURRENCY": "1", "PYTHONPATH": str(CLIENT)}
        self.launch()
        self.wait()

    def wait(self):
        """Until each worker has its lease, and none else has one."""
        pattern = f"tempest:{{{QUEUE}}}:lease:*"
        until(f"{self.count} workers have a lease", lambda: len(self.redis.keys(pattern)) == self.count)

    def give(self, names):
        """Background jobs: they may be started three times."""
        for name in names:
            frame = {"id": name, "action": "hold", "args": {"port": self.ears.port}}
            self.redis.rpush(f"tempest:{{{QUEUE}}}", json.dumps(frame))


class Supervised(Tempest):
    """`tempest up` starts the workers, and hears of their deaths."""

    def launch(self):
        (port,) = free_ports(1)
        env = ", ".join(f'{key} = "{value}"' for key, value in self.environment.items())
        file = self.ground.programs.folder / "tempest.toml"
        file.write_text(
            f'[front]\nlisten = "127.0.0.1:{port}"\n[admin]\nlisten = ""\n[redis]\nurl = "{self.url}"\n'
            f'[[worker]]\nname = "held"\nqueues = ["{QUEUE}"]\ncount = {self.count}\n'
            f"command = {[str(word) for word in self.command]}\nenv = {{ {env} }}\n"
        )
        self.ground.start(self.ground.built("tempest"), "up", "--config", file, log="up.log")


class Alone(Tempest):
    """A front, and workers that nobody supervises: the front finds out who is dead."""

    settle_s = SETTLED_S

    def launch(self):
        (port,) = free_ports(1)
        command = [self.ground.built("tempest"), "front", "--listen", f"127.0.0.1:{port}", "--admin-listen", ""]
        self.ground.start(*command, "--redis-url", self.url, log="front.log")
        told = {"TEMPEST_REDIS_URL": self.url, "TEMPEST_QUEUE": QUEUE, **self.environment}
        for number in range(self.count):
            self.ground.start(*self.command, log=f"worker-{number}.log", **told)


class BullMQ(Fleet):
    """Workers of BullMQ, with these options or with none."""

    def __init__(self, *about, options):
        super().__init__(*about)
        node = tool("node")
        if not (BULLMQ / "node_modules").is_dir():
            raise Missing("BullMQ is missing (script/bootstrap bench, or npm ci in bench/bullmq)")
        self.told = [str(self.redis_port), QUEUE, str(self.ears.port)]
        self.node, self.options = node, json.dumps(options)
        for number in range(self.count):
            command = [node, BULLMQ / "work.js", *self.told, self.options]
            self.ground.start(*command, log=f"worker-{number}.log")
        ready = self.ears.expect(self.count, "workers of BullMQ that are ready")
        if any(start.id != READY for start in ready):
            raise RuntimeError(f"a job began before there was any: {ready}")

    def give(self, names):
        """Jobs with the options they have by default."""
        command = [self.node, BULLMQ / "add.js", *self.told[:2], *names]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


def rust(ground):
    """bench/programs/src/hanging.rs"""
    return [ground.built("bench-hanging")]


def python(_):
    """bench/cancel/hanging.py"""
    return [sys.executable, ROOT / "bench/cancel/hanging.py"]


@contextlib.contextmanager
def running(kind, binaries, ears, count, **about):
    """A fleet of this kind for the time of a block."""
    with Programs() as programs:
        fleet = kind(programs, binaries, ears, count, **about)
        try:
            yield fleet
        finally:
            fleet.end()
