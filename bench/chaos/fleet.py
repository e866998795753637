"""The programs of a run, started, killed and started again: Redis, fronts, supervisors and workers (crew).

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

from chaos import crew
from chaos.crew import ALONE, FRONT, FRONTS, SUPERVISED, UP
from chaos.disk import Disk
from chaos.proxy import Proxy
from chaos.schedule import ROLES
from stage import BIN, Programs, free_ports, listens

READY_S = 60
# How soon what has ended is started again; how long a start may take to fail; how long orphans may live.
RESTART_S = 0.1
START_S = 20
ORPHANS_S = 10


@dataclass
class Told:
    """What the fleet did to itself, in milliseconds of the wall clock: who was killed, and when a front was down."""

    kills: list = field(default_factory=list)
    redis_kills: list = field(default_factory=list)
    bytes_lost: int = 0
    outages: dict = field(default_factory=dict)
    disorder: list = field(default_factory=list)
    # Programs that found no Redis at their start and said so; whoever starts programs starts them again.
    not_started: Counter = field(default_factory=Counter)

    def was_down(self, front, from_ms, to_ms):
        """Whether a front was away at some moment between these."""
        return any(begin <= to_ms and from_ms <= end for begin, end in self.outages.get(front, []))


class Fleet(Programs):
    """All programs, and the proxies between them and Redis. ``power_loss_s`` is what each kill of Redis takes from its
    file."""

    def __init__(self, fsync="always", power_loss_s=0.0):
        super().__init__()
        self.fsync, self.power_loss_s, self.told = fsync, power_loss_s, Told()
        self.disk = Disk(self.folder)
        self.evidence = self.folder / "evidence"
        self.evidence.mkdir()
        self.redis_port, *self.front_ports = free_ports(1 + len(FRONTS))
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
        for name in SUPERVISED:
            # A folder each: two of `tempest up` do not share one.
            (self.folder / name).mkdir()
            port = self.front_ports[FRONTS.index(name)]
            text = crew.config(name, port, self._url(name), self.evidence)
            (self.folder / name / "tempest.toml").write_text(text)
        for name in (*FRONTS, *ALONE):
            self.launch(name)
        await asyncio.gather(*(self.ready(place) for place in range(len(FRONTS))))
        async with self.client() as client:
            await _until("every worker has its lease", lambda: _leases(client, crew.COUNT))

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
        if self.power_loss_s:
            about += ["--auto-aof-rewrite-percentage", "0"]
        command = ["redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", *about]
        self.disk.begin()
        self.redis_server = self.start_logged("redis", *command)
        async with self.client() as client:
            await _until("Redis answers", lambda: _answers(client))

    def start_logged(self, name, *command, **environment):
        """Starts a program with a log of its own."""
        self._starts += 1
        return self.start(*command, log=f"{name}-{self._starts}.log", **environment)

    def launch(self, name):
        """Starts a front, a supervisor, or a worker nobody supervises."""
        if name in SUPERVISED:
            folder = self.folder / name
            command, own = [BIN, "up", "--config", folder / "tempest.toml"], {"folder": folder}
        elif name == FRONT:
            own_redis = ["--listen", f"127.0.0.1:{self.front_ports[1]}", "--redis-url", self._url(FRONT)]
            command, own = [BIN, "front", "--config", self.folder / UP / "tempest.toml", *own_redis], {}
        else:
            queue, command = crew.program(name)
            own = {"TEMPEST_REDIS_URL": self._url("alone"), "TEMPEST_QUEUE": queue}
            own |= crew.environment(name, self.evidence)
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

    # --- who lives

    def workers(self):
        """The workers that live: (name, pid), in an order that does not depend on pids."""
        children = (pid for name in SUPERVISED for pid in _children(self.programs[name].pid))
        found = [(_variable(pid, "CHAOS_WORKER"), pid) for pid in children]
        found += [(name, self.programs[name].pid) for name in ALONE]
        return sorted((name, pid) for name, pid in found if name and _lives(pid))

    def workers_by_name(self):
        """Pids of the workers that live, by name."""
        found = {}
        for name, pid in self.workers():
            found.setdefault(name, []).append(pid)
        return found

    def processes(self):
        """All programs that live: (name, pid). The supervisors have a front in them."""
        programs = [(name, self.programs[name].pid) for name in FRONTS]
        return [("redis", self.redis_server.pid), *programs, *self.workers()]

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
        workers = [(name, pid) for name, pid in self.workers() if name in SUPERVISED[UP]]
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
        place, killed_ms = FRONTS.index(name), now_ms()
        self.told.outages.setdefault(place, []).append([killed_ms, float("inf")])
        self.programs[name].kill()
        self.programs[name].wait()
        return killed_ms

    async def _back(self, place):
        try:
            self.told.outages[place][-1][1] = await self.ready(place)
        except AssertionError as error:
            # One outage that does not end: the run goes on, and has failed.
            self.told.disorder.append(f"{FRONTS[place]} after a kill: {error}")

    async def kill_redis(self, away_s):
        """kill -9 of Redis, and the same data again after so many seconds."""
        self.told.redis_kills.append(now_ms())
        self.redis_server.kill()
        self.redis_server.wait()
        if self.power_loss_s:
            self.told.bytes_lost += self.disk.lose(self.power_loss_s)
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


def _children(pid):
    """The processes that one has started; what ends meanwhile has none."""
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            yield from map(int, listed.read_text().split())


def _variable(pid, name):
    """What a variable is for a process; none where it is not set, or before its program is there."""
    with suppress(OSError):
        for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if pair.startswith(name.encode() + b"="):
                return pair.partition(b"=")[2].decode()
    return None


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
