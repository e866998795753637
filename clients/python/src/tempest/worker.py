"""A worker: what serves queues until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from . import settings
from .bus import Bus
from .clock import Clock, running_s
from .control import Control
from .desk import Desk, Report
from .errors import RedisAway, Refused, SetupError, TempestError
from .handler import Handler
from .hooks import Around, Hooks, OnError
from .limits import COMMAND_ANSWER_S, GRACE_S, RUN_MAX_S
from .link import Link, Pauses, Place
from .names import Keys, check_name
from .outbox import Outbox
from .presence import Identity, Presence, Source
from .queue_limits import QueueLimits
from .slot import Slot
from .telling import Teller
from .tls import Untrusted

log = logging.getLogger("tempest")

F = TypeVar("F", bound=Callable[..., Any])

_WAKE_S = 0.05
"""How often blocked claims are ended while draining: one may have begun just after the last time."""


class Worker:
    """Serves queues, one job at a time unless ``concurrency`` says more.

    ``queues`` default to ``TEMPEST_QUEUE``, ``lanes`` to ``TEMPEST_LANES``, ``url`` to ``TEMPEST_REDIS_URL``,
    ``prefix`` to ``TEMPEST_PREFIX``, ``concurrency`` (threads) to ``TEMPEST_CONCURRENCY``. ``run_max_s`` is how long a
    handler may run before its context says cancelled and its job fails with ``timeout``; ``grace_s`` how long a drain
    waits for running handlers.
    """

    def __init__(
        self,
        *queues: str,
        url: str | None = None,
        prefix: str | None = None,
        topic_prefix: str | None = None,
        lanes: Sequence[str] | None = None,
        concurrency: int | None = None,
        run_max_s: float = RUN_MAX_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._given = (queues, url, prefix, topic_prefix, lanes, concurrency)
        self._run_max_s = run_max_s
        self._grace_s = grace_s
        self._handlers: dict[str, Handler] = {}
        self._hooks = Hooks()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._signals = 0

    def on(self, action: str, *, http: bool | None = None) -> Callable[[F], F]:
        """Decorates the handler of an action.

        Handlers of HTTP jobs (``url``, or any action with ``http=True``) take a :class:`tempest.Request` and return
        ``(status, headers, body)``, text, bytes, a dict or list (JSON), or None (204). Those of other actions take the
        job's ``args``; what they return is the ``result``. Either may take a :class:`tempest.Context` as well. A
        handler that raises fails its job. Raises :class:`WireError` ``bad_name``, ``TypeError``.
        """
        check_name("action", action)
        is_http = action == "url" if http is None else http

        def register(function: F) -> F:
            self._handlers[action] = Handler.of(function, is_http)
            return function

        return register

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their actions."""
        return self._handlers

    @property
    def hooks(self) -> Hooks:
        """What is done around them, and when one fails."""
        return self._hooks

    def around(self, hook: Around) -> Around:
        """Decorates a function that runs around every handler: it takes the context and what calls the handler, and
        returns what the handler is to have returned. The first that was given is the outermost. It runs in the thread
        of the handler, also around an ``async`` one; what it raises fails the job, as if the handler had raised it.
        """
        self._hooks.around.append(hook)
        return hook

    def on_error(self, hook: OnError) -> OnError:
        """Decorates a function that is told of every handler that fails: it takes the context and the exception. Not of
        those that were cancelled. It changes nothing; what it raises is logged."""
        self._hooks.on_error.append(hook)
        return hook

    def stop(self) -> None:
        """Makes :meth:`run` drain and return. May be called from any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):  # then the pipe is full of requests to stop
            os.write(self._wake_write, b".")

    def run(self) -> Report:
        """Serves until SIGTERM, SIGINT, :meth:`stop` or a drain, finishes what runs, and says what was done.

        A second signal ends the process at once. When the worker cannot start (no Redis, wrong URL, a policy that
        evicts) the process ends with one line that says what to do: use :meth:`serve` to catch that.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        before = self._catch_signals()
        try:
            report = self.serve()
        except SetupError as error:
            sys.exit(f"tempest: {error.detail}")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        log.info("worker ended: %s", report)
        return report

    def serve(self, serving: Callable[[], None] | None = None) -> Report:
        """The same without signals and log set-up; calls ``serving`` when jobs are claimed. Raises
        :class:`SetupError`."""
        shift = _Shift(self._given, self._handlers, self._hooks, self._run_max_s, self._grace_s)
        return shift.work(self._wake_read, serving)

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}

    def _on_signal(self, number: int, _frame: object) -> None:
        self._signals += 1
        if self._signals > 1:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.stop()


class _Shift:
    """One run of a worker, from its first beat to its report."""

    def __init__(
        self, given: Any, handlers: dict[str, Handler], hooks: Hooks, run_max_s: float, grace_s: float
    ) -> None:
        queues, url, prefix, topic_prefix, lanes, concurrency = given
        self.place = Place(settings.redis_url(url))
        self.keys = Keys(settings.prefix(prefix))
        self.queues, self.lanes = settings.queues(queues), settings.lanes(lanes)
        self.slots_count = settings.concurrency(concurrency)
        self.run_max_s, self.grace_s = run_max_s, grace_s
        self.draining = threading.Event()
        self.clock = Clock()
        self.bus = Bus(self.place, self.keys, settings.topic_prefix(topic_prefix))
        self.desk = Desk(self.keys, handlers, hooks, self.bus, self.clock)
        self.outbox = Outbox(self.place, self.clock)
        self.teller = Teller(self.place, self.desk.memory)
        self.limits = QueueLimits()
        self.slots: list[Slot] = []
        self.drain_read, self.drain_write = os.pipe()

    def work(self, wake: int, serving: Callable[[], None] | None) -> Report:
        """Registers, serves until something can be read from ``wake``, drains."""
        link = ready(self.place)
        self.clock.learn(link)
        self.worker = settings.new_worker_id()
        sources = self._sources()
        identity = Identity(self.worker, settings.host(), self.slots_count)
        flat = [source for each in sources for source in each]
        self.presence = Presence(self.place, self.keys, identity, flat, self.clock)
        self.presence.jobs = self.desk.memory.in_hand
        self.presence.done = self.desk.report.finished
        self.presence.on_limits = self._limited
        self.presence.beat(link)
        self.control = self._control()
        self.slots = [
            Slot(
                number,
                self.place,
                each,
                self.presence,
                self.desk,
                self.outbox,
                self.draining,
                ahead=self.slots_count == 1,
                keys=self.keys,
                limits=self.limits,
            )
            for number, each in enumerate(sources)
        ]
        self.presence.on_held = self._held
        for thread in (self.presence, self.control, self.outbox, self.teller):
            thread.start()
        self.control.listening.wait(COMMAND_ANSWER_S)
        for slot in self.slots:
            slot.start()
        link.close()
        served = f"{', '.join(self.queues)} ({', '.join(self.lanes)})"
        log.info("worker %s serves %s at %s, %d at once", self.worker, served, self.place.shown, self.slots_count)
        if serving is not None:
            serving()
        self._watch(wake)
        return self._drain()

    def _sources(self) -> list[list[Source]]:
        """For each slot its lanes, the first served first. Each has a number of its own, the slot of the keys."""
        wanted = [(queue, lane) for lane in self.lanes for queue in self.queues]

        def source(number: int, queue: str, lane: str) -> Source:
            run_key = self.keys.run(queue, self.worker, number)
            return Source(queue, lane, self.keys.lane(queue, lane), run_key, f"{self.worker}.{number}")

        numbers = range(self.slots_count)
        return [[source(n * len(wanted) + i, *each) for i, each in enumerate(wanted)] for n in numbers]

    def _control(self) -> Control:
        channels = [self.keys.control(queue) for queue in self.queues]

        def drain() -> None:
            os.write(self.drain_write, b".")

        return Control(self.place, channels, self.worker, self.desk.memory.cancel, drain, self.presence.beat_soon)

    def _limited(self, queue: str, values: list[bytes | None]) -> None:
        """A claim that blocks now was sent before the limits were known."""
        if self.limits.learn(queue, values):
            self._wake()

    def _held(self, run_key: str, held: int) -> None:
        for slot in self.slots:
            slot.found_in(run_key, held)

    def _watch(self, wake: int) -> None:
        """Waits to be told to stop; meanwhile looks after handlers that run too long."""
        while True:
            ready_to_read, _, _ = select.select([wake, self.drain_read], [], [], 1.0)
            if ready_to_read:
                os.read(ready_to_read[0], 4096)
                return
            self._warn_overlong()

    def _warn_overlong(self) -> None:
        """A thread cannot be ended from outside, so the handler is asked to end; its job fails when it does."""
        for context in self.desk.memory.running():
            if not context.overran and running_s() - context.started_s > self.run_max_s:
                context.overrun()
                log.error("action %s, job %s runs longer than %g s", context.job.action, context.id, self.run_max_s)

    def _drain(self) -> Report:
        """Claims nothing new, lets handlers finish within the grace, gives back the rest, and leaves."""
        log.info("draining: %d running", len(self.desk.memory.running()))
        self.presence.draining = True
        self.draining.set()
        self.limits.wake()
        until = running_s() + self.grace_s
        while any(slot.is_alive() for slot in self.slots) and running_s() < until:
            self._wake()
            for slot in self.slots:
                slot.join(_WAKE_S / len(self.slots))
        report = self.desk.report
        report.unsent = self.outbox.stop(max(0.0, until - running_s()))
        self.teller.stop()
        self.presence.stop()
        self.control.stop()
        try:
            link = self.place.open()
            report.left = self.presence.leave(link)
            link.close()
        except TempestError as error:
            log.warning("Redis does not know that this worker ends: %s", error.detail)
        self.bus.close()
        for pipe in (self.drain_read, self.drain_write):
            os.close(pipe)
        return report

    def _wake(self) -> None:
        blocked = [client for slot in self.slots for client in slot.blocked_clients()]
        if blocked:
            with contextlib.suppress(RedisAway, Refused):  # then the blocks end by themselves
                self.bus.ask_all(*[("CLIENT", "UNBLOCK", client) for client in blocked])


def ready(place: Place) -> Link:
    """Connects to a Redis that can serve. Raises :class:`SetupError`, one line that says what to do."""
    pauses = Pauses()
    while True:
        try:
            link = place.open()
            _check_server(place, link)
            return link
        except Untrusted as error:
            raise SetupError(f"cannot speak TLS with Redis at {place.shown}: {error.detail}") from None
        except RedisAway as error:
            raise SetupError(
                f"no Redis at {place.shown} ({error.detail.rstrip('.')}): {place.hint}start one with `redis-server`, "
                "or say where it is with TEMPEST_REDIS_URL"
            ) from None
        except Refused as error:
            if error.word in ("NOAUTH", "WRONGPASS"):
                raise SetupError(
                    f"Redis at {place.shown} wants another name or password: "
                    "write them into the URL as redis://name:password@host:port"
                ) from None
            if pauses.is_news(error):
                log.info("Redis at %s is not ready yet: %s", place.shown, error.word)
            threading.Event().wait(pauses.after(error))


def _check_server(place: Place, link: Link) -> None:
    answers = link.ask_all([("INFO", "server"), ("INFO", "memory")])
    if any(isinstance(answer, Refused) and answer.word == "NOPERM" for answer in answers):
        log.warning("not permitted to ask INFO: whether Redis evicts keys is not known")
        return
    info: dict[str, str] = {}
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer
        lines = (line.partition(":") for line in bytes(answer).decode(errors="replace").splitlines())
        info.update({name: value for name, _, value in lines})
    version, policy = info.get("redis_version", "7"), info.get("maxmemory_policy", "noeviction")
    if int(version.partition(".")[0] or 0) < 7:
        raise SetupError(f"Redis at {place.shown} is version {version}: Tempest needs 7.0 or newer")
    if policy != "noeviction":
        raise SetupError(
            f"Redis at {place.shown} evicts keys when memory is short (maxmemory-policy {policy}), so jobs would "
            "vanish: run `redis-cli config set maxmemory-policy noeviction` and write it into redis.conf"
        )
