"""Carries out the schedule on the fleet, and writes down what was done and what could not be."""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import suppress

from chaos.crew import FRONTS
from chaos.evidence import has_job
from chaos.fleet import now_ms

FIND_S = 15
BUSY_S = 3


class Striker:
    """Does each fault at its time. ``done`` and ``missed`` (it found nobody) count them, ``times`` says when."""

    def __init__(self, fleet, say=print):
        self.fleet, self.say = fleet, say
        self.done, self.missed = Counter(), Counter()
        self.times = []
        self._redis = asyncio.Lock()
        self._supervisor = asyncio.Lock()
        self._front = asyncio.Lock()

    async def carry_out(self, faults):
        """Does all of them, and comes back when everything that was hit is back."""
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(begin + fault.at_s - time.monotonic())
                group.create_task(self._do(fault))

    async def _do(self, fault):
        self.say(str(fault))
        self.times.append((now_ms(), str(fault)))
        act = {"kill": self._kill, "redis": self._kill_redis, "stop": self._stop}.get(fault.kind, self._hurt)
        what = f"{fault.kind} {fault.target}"
        counter = self.done if await act(fault) else self.missed
        counter[what] += 1

    async def _kill(self, fault):
        if fault.target == "supervisor":
            async with self._supervisor:
                await self.fleet.kill_supervisor()
            return True
        if fault.target == "front":
            async with self._front:
                await self.fleet.kill_front()
            return True
        pid = await self._find(fault)
        if pid:
            self.fleet.kill_worker(pid, fault.target)
        return bool(pid)

    async def _kill_redis(self, fault):
        async with self._redis:
            await self.fleet.kill_redis(fault.seconds)
        return True

    async def _stop(self, fault):
        if fault.target == "redis":
            async with self._redis:
                return await _stop(self.fleet.redis_server.pid, fault.seconds)
        if fault.target in FRONTS:
            return await _stop(self.fleet.programs[fault.target].pid, fault.seconds)
        pid = await self._find(fault)
        return bool(pid) and await _stop(pid, fault.seconds)

    async def _find(self, fault):
        """A worker of that name, as soon as there is one; if it can be soon, one that has a job in hand."""
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < FIND_S:
            living = self.fleet.workers_by_name().get(fault.target, [])
            busy = [pid for pid in living if has_job(self.fleet.evidence / f"{fault.target}-{pid}")]
            choice = busy if fault.busy and passed < BUSY_S else living
            if choice:
                return fault.chosen(choice)
            await asyncio.sleep(0.02)
        return None

    async def _hurt(self, fault):
        link = fault.chosen(self.fleet.proxies[fault.target].links)
        if link is None:
            return False
        if fault.kind == "cut":
            link.cut_after(fault.bytes, fault.upwards)
        elif fault.kind == "delay":
            await link.delay(fault.seconds)
        else:
            await link.silence(fault.seconds)
        return True


async def _stop(pid, seconds):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
    return True
