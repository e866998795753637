"""The programs of a run: Redis, two fronts, a supervisor and its workers, and workers nobody supervises.

Each program but Redis reaches Redis through the proxy of its role. All of them live in one folder, carry a mark, and
end with the run. What is killed is started again: by the supervisor where there is one, else here.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chaos.proxy import Proxy
from chaos.schedule import ROLES
from stage import BIN, ROOT, Programs, free_ports, listens

WORKERS = Path(__file__).resolve().parent / "workers"
REQUEST_TIMEOUT_MS = 15_000
READY_S = 60
# How soon what has ended is started again; how long a start may take to fail; how long orphans may live.
RESTART_S = 0.1
START_S = 20
ORPHANS_S = 10

UP, FRONT = "up", "front"

# Those on an SDK take several jobs at a time, from all lanes.
SLOTS = {"rust": 3, "python": 2}
# Name, queue, how many, and the program.
SUPERVISED = (
    ("rust", "sdk", 2, ["chaos-worker"]),
    ("python", "sdk", 2, ["python", WORKERS / "sdk.py"]),
    ("ruby", "plain", 2, ["ruby", WORKERS / "ruby.rb"]),
    ("node", "plain", 1, ["node", WORKERS / "node.js"]),
    ("sh", "plain", 1, ["sh", WORKERS / "plain.sh"]),
)
ALONE = (
    ("rust-alone", "sdk", ["chaos-worker"]),
    ("python-alone", "sdk", ["python", WORKERS / "sdk.py"]),
    ("ruby-alone", "plain", ["ruby", WORKERS / "ruby.rb"]),
)
NAMES = tuple(name for name, *_ in (*SUPERVISED, *ALONE))


@dataclass
class Told:
    """What the fleet did to itself, in milliseconds of the wall clock: who was killed, and when a front was down."""

    kills: list = field(default_factory=list)
    redis_kills: list = field(default_factory=list)
    outages: dict = field(default_factory=dict)
    disorder: list = field(default_factory=list)
    # Programs that found no Redis at their start and said so; whoever starts programs starts them again.
    not_started: Counter = field(default_factory=Counter)

    def was_down(self, front, from_ms, to_ms):
        """Whether a front was away at some moment between these."""
        return any(begin <= to_ms and from_ms <= end for begin, end in self.outages.get(front, []))


class Fleet(Programs):
    """All programs, and the proxies between them and Redis."""

    def __init__(self, fsync="always"):
        super().__init__()
        self.fsync, self.told = fsync, Told()
        self.evidence = self.folder / "evidence"
        self.evidence.mkdir()
        self.redis_port, *self.front_ports = free_ports(3)
        self.proxies = {role: Proxy(self.redis_port) for role in ROLES}
        self.redis_server = None
        # All but Redis and what the supervisor starts: by name, with when each was started.
        self.programs, self._since = {}, {}
        self._starts = 0

    # --- from start to end

    async def begin(self):
        """Starts everything and waits until both fronts listen and every worker has its lease."""
        await self.start_redis()
        for proxy in self.proxies.values():
            await proxy.start()
        (self.folder / "tempest.toml").write_text(self._config())
        for name in (UP, FRONT, *(name for name, *_ in ALONE)):
            self.launch(name)
        await asyncio.gather(*(self.ready(place) for place in (0, 1)))
        wanted = sum(count for _, _, count, _ in SUPERVISED) + len(ALONE)
        async with self.client() as client:
            await _until("every worker has its lease", lambda: _leases(client, wanted))

    async def end(self):
        """SIGTERM to all but Redis, then to Redis; gives those that did not end in order, and what is left."""
        programs = self.programs
        for program in programs.values():
            program.terminate()
        with suppress(AssertionError):
            await _until("all end", lambda: all(program.poll() is not None for program in programs.values()))
        codes = {name: program.poll() for name, program in programs.items()}
        unwilling = [f"{name} ended with {code} after SIGTERM" for name, code in codes.items() if code != 0]
        self.redis_server.terminate()
        self.redis_server.wait()
        for proxy in self.proxies.values():
            await proxy.stop()
        with suppress(AssertionError):
            await _until("nothing is left", lambda: not self.alive(), ORPHANS_S)
        return unwilling + [f"{command} is left" for command in self.alive().values()]

    def client(self, port=None, limit_s=4):
        """A client that never sends a command twice; of Redis itself, past the proxies, unless a port is named."""
        retry, port = Retry(NoBackoff(), 0), port or self.redis_port
        return redis.asyncio.Redis(port=port, retry=retry, socket_timeout=limit_s, socket_connect_timeout=limit_s)

    async def start_redis(self):
        """Starts Redis with the data it has, and waits until that is read."""
        about = ["--appendonly", "yes", "--appendfsync", self.fsync, "--save", "", "--dir", self.folder]
        command = ["redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", *about]
        self.redis_server = self.start_logged("redis", *command)
        async with self.client() as client:
            await _until("Redis answers", lambda: _answers(client))

    def start_logged(self, name, *command, **environment):
        """Starts a program with a log of its own."""
        self._starts += 1
        return self.start(*command, log=f"{name}-{self._starts}.log", **environment)

    def launch(self, name):
        """Starts a front, the supervisor, or a worker nobody supervises."""
        config = ["--config", self.folder / "tempest.toml"]
        if name == UP:
            command, own = [BIN, "up", *config], {}
        elif name == FRONT:
            # As options: a `tempest up` of the same folder is asked before the environment.
            own_redis = ["--listen", f"127.0.0.1:{self.front_ports[1]}", "--redis-url", self._url("front")]
            command, own = [BIN, "front", *config, *own_redis], {}
        else:
            queue, command = next((queue, command) for each, queue, command in ALONE if each == name)
            own = {"TEMPEST_REDIS_URL": self._url("alone"), "TEMPEST_QUEUE": queue, **self._worker_environment(name)}
        self.programs[name] = self.start_logged(name, *command, **own)
        self._since[name] = time.monotonic()

    async def keep(self):
        """Starts again whatever has ended, until it is cancelled, as an init would."""
        while True:
            for name, program in list(self.programs.items()):
                if program.poll() is not None:
                    self._ended(name, program.returncode)
                    self.launch(name)
            await asyncio.sleep(RESTART_S)

    def _ended(self, name, code):
        if code == -signal.SIGKILL:
            return
        if time.monotonic() - self._since[name] < START_S:
            self.told.not_started[name] += 1
        else:
            self.told.disorder.append(f"{name} ended by itself with {code}")

    def _url(self, role):
        return f"redis://127.0.0.1:{self.proxies[role].port}"

    def _worker_environment(self, name):
        modules = ROOT / "examples/hello/node/node_modules"
        slots = {"TEMPEST_CONCURRENCY": str(SLOTS[name])} if name in SLOTS else {}
        return {"CHAOS_EVIDENCE": str(self.evidence), "CHAOS_WORKER": name, "NODE_PATH": str(modules), **slots}

    def _config(self):
        routes = (
            '[[route]]\npath = "/sdk/{*rest}"\nqueue = "sdk"\nencoding = "msgpack"\n'
            '[[route]]\npath = "/plain/{*rest}"\nqueue = "plain"\n'
        )
        workers = "".join(
            f'[[worker]]\nname = "{name}"\ncount = {count}\nqueues = ["{queue}"]\n'
            f"lanes = {['high', 'normal', 'low'] if name in SLOTS else ['normal']}\n"
            f"command = {[str(word) for word in command]}\nenv = {{ {_toml(self._worker_environment(name))} }}\n"
            for name, queue, count, command in SUPERVISED
        )
        return (
            f'[front]\nlisten = "127.0.0.1:{self.front_ports[0]}"\ntimeout_ms = {REQUEST_TIMEOUT_MS}\n'
            f'[admin]\nlisten = ""\n[redis]\nurl = "{self._url("up")}"\n[log]\naccess = "off"\n{routes}{workers}'
        )

    # --- who lives

    def workers(self):
        """The workers that live: (name, pid), in an order that does not depend on pids."""
        parents = {os.getpid(), self.programs[UP].pid}
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                name = _variable(entry, "CHAOS_WORKER")
                if name and self._is_ours(int(entry)) and _parent(entry) in parents:
                    found.append((name, int(entry)))
        return sorted(found)

    def workers_by_name(self):
        """Pids of the workers that live, by name."""
        found = {}
        for name, pid in self.workers():
            found.setdefault(name, []).append(pid)
        return found

    async def ready(self, place):
        """Waits until a front serves; gives the time."""
        await _until(f"front {place} serves", lambda: listens(self.front_ports[place]))
        return now_ms()

    # --- what is done to them

    def kill_worker(self, pid, name):
        """kill -9 of one worker."""
        self.told.kills.append((now_ms(), pid, name, "alone" if name in self.programs else "supervised"))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def kill_supervisor(self):
        """kill -9 of ``tempest up``; its workers must end with it. Comes back when its front serves again."""
        workers = [(name, pid) for name, pid in self.workers() if name not in self.programs]
        killed_ms = self._kill_front(UP)
        for name, pid in workers:
            self.told.kills.append((killed_ms, pid, name, "supervisor"))
        with suppress(AssertionError):
            await _until("its workers end", lambda: not any(_lives(pid) for _, pid in workers), ORPHANS_S)
        self.told.disorder += [f"{name} outlived its supervisor" for name, pid in workers if _lives(pid)]
        await self._back(0)

    async def kill_front(self):
        """kill -9 of the front beside it. Comes back when it serves again."""
        self._kill_front(FRONT)
        await self._back(1)

    def _kill_front(self, name):
        place, killed_ms = (UP, FRONT).index(name), now_ms()
        self.told.outages.setdefault(place, []).append([killed_ms, float("inf")])
        self.programs[name].kill()
        self.programs[name].wait()
        return killed_ms

    async def _back(self, place):
        self.told.outages[place][-1][1] = await self.ready(place)

    async def kill_redis(self, away_s):
        """kill -9 of Redis, and the same data again after so many seconds."""
        self.told.redis_kills.append(now_ms())
        self.redis_server.kill()
        self.redis_server.wait()
        await asyncio.sleep(away_s)
        await self.start_redis()


def now_ms():
    """Milliseconds since 1970, as the workers write them."""
    return time.time_ns() // 1_000_000


async def _until(what, holds, patience_s=READY_S):
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        given = holds()
        if asyncio.iscoroutine(given):
            given = await given
        if given:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


async def _answers(client):
    try:
        return await client.ping()
    except (RedisError, OSError):
        return False


async def _leases(client, wanted):
    return len(await client.keys("tempest:*:lease:*")) >= wanted


def _variable(pid, name):
    for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if pair.startswith(name.encode() + b"="):
            return pair.partition(b"=")[2].decode()
    return None


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def _parent(pid):
    return int(_stat(pid)[1])


def _lives(pid):
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def _toml(environment):
    return ", ".join(f'{key} = "{value}"' for key, value in environment.items())
