"""How background jobs come into their queue (SPEC "Background jobs", Push): with a record, and each once, however often
it is pushed. So a push whose answer was lost is sent again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from . import scripts
from .bus import Bus
from .clock import Clock
from .draft import Draft
from .errors import NotUnique, QueueFull, RedisAway, Refused
from .limits import BACKLOG_JOBS_MAX, BLOCK_ANSWER_S, PUSH_MANY, RECORD_AGE_MS
from .link import Command, open_within
from .names import check_name
from .scripts import Call
from .wire import Job

Prepared = tuple[Draft, Job]


class StandIn(Protocol):
    """Takes jobs instead of Redis; see :mod:`tempest.testing`."""

    def push(self, queue: str, draft: Draft, traceparent: str | None) -> str:
        """Takes one and gives its id."""

    def call(self, queue: str, job: Job) -> Any:
        """Gives the result of one."""

    def result(self, queue: str, job_id: str) -> Any:
        """Gives what came out of one."""


stand_in: StandIn | None = None


class Pusher:
    """Pushes drafts. ``lane_jobs_max``: how many jobs may lie in a lane, or in ``later``; 0: any number."""

    def __init__(self, bus: Bus, clock: Clock, lane_jobs_max: int = BACKLOG_JOBS_MAX) -> None:
        self._bus = bus
        self._clock = clock
        self._lane_jobs_max = lane_jobs_max

    def push(self, queue: str, draft: Draft, traceparent: str | None = None) -> str:
        """Pushes one and gives its id."""
        if stand_in is not None:
            return stand_in.push(draft.queue or queue, draft, traceparent)
        job = draft.job(self.now_ms(), traceparent=traceparent)
        queue = check_name("queue", draft.queue or queue)
        if draft.unique is None:
            self.push_jobs(queue, [(draft, job)])
        else:
            self._push_unique(queue, draft, job)
        return str(job.id)

    def push_many(
        self, queue: str, drafts: Sequence[Draft], traceparent: str | None = None, group: str | None = None
    ) -> list[str]:
        """Pushes several in one round trip, in their order, and gives their ids."""
        if stand_in is not None:
            return [stand_in.push(draft.queue or queue, draft, traceparent) for draft in drafts]
        if any(draft.unique is not None or draft.queue not in (None, queue) for draft in drafts):
            raise ValueError("jobs that are pushed at once have one queue and no unique key")
        now_ms = self.now_ms()
        prepared = [(draft, draft.job(now_ms, traceparent=traceparent, group=group)) for draft in drafts]
        self.push_jobs(check_name("queue", queue), prepared)
        return [str(job.id) for _, job in prepared]

    def now_ms(self) -> int:
        """Redis time."""
        if self._clock.is_stale():
            link = open_within(self._bus.place, BLOCK_ANSWER_S)
            self._clock.learn(link)
            link.close()
        return self._clock.stamp_ms()

    def push_jobs(self, queue: str, prepared: Sequence[Prepared]) -> None:
        """Pushes jobs that have their ids. Raises :class:`QueueFull`, which tells what was pushed all the same."""
        if not prepared:
            return
        batches = list(_batches(prepared))
        calls = [self._call(queue, batch) for batch in batches]
        answers = self._run([self._known(queue), *calls])
        pushed = _pushed(batches, [_answer(answer) for answer in answers[1:]])
        if len(pushed) < len(prepared):
            raise QueueFull(queue, [str(job.id) for job in pushed])

    def _run(self, calls: Sequence[Call | Command]) -> list[Any]:
        """Once more if the connection broke: nothing of it does anything twice."""
        try:
            return self._bus.run(calls)
        except RedisAway:
            return self._bus.run(calls)

    def _known(self, queue: str) -> Command:
        return ("SADD", self._bus.keys.queues(), queue)

    def _call(self, queue: str, batch: Sequence[Prepared]) -> Call:
        """The jobs of a batch go to one place."""
        (draft, job), keys = batch[0], self._bus.keys
        now_ms = int(job.queued_at or 0)
        is_later = draft.due_ms(now_ms) is not None
        place = keys.later(queue) if is_later else keys.lane(queue, draft.lane)
        jobs: list[Any] = []
        for each, made in batch:
            jobs += [made.action, "" if not is_later else each.due_ms(now_ms), made.encode()]
        records = [keys.record(queue, str(made.id)) for _, made in batch]
        return Call(scripts.PUSH, [place, *records], [self._room, RECORD_AGE_MS, now_ms, draft.lane, *jobs])

    @property
    def _room(self) -> int | str:
        return self._lane_jobs_max or ""

    def _push_unique(self, queue: str, draft: Draft, job: Job) -> None:
        answer = _answer(self._run([self._known(queue), self._unique_call(queue, draft, job, "")])[1])
        if isinstance(answer, bytes) and not answer.startswith(b"!"):
            # A holder that has no record any more is gone; the script looks.
            again = self._unique_call(queue, draft, job, answer.decode())
            answer = _answer(self._run([again])[0])
        if isinstance(answer, bytes):
            raise NotUnique(str(draft.unique), answer.decode().removeprefix("!"))
        if answer[1] < 0:
            raise QueueFull(queue)

    def _unique_call(self, queue: str, draft: Draft, job: Job, gone: str) -> Call:
        keys, now_ms = self._bus.keys, int(job.queued_at or 0)
        due = draft.due_ms(now_ms)
        place = keys.lane(queue, draft.lane) if due is None else keys.later(queue)
        record = keys.record(queue, str(job.id))
        holder = keys.record(queue, gone) if gone else record
        value = f"!{job.id}" if draft.unique_while == "time" else str(job.id)
        when = "" if due is None else due
        head = [self._room, RECORD_AGE_MS, now_ms, draft.lane, job.action, when]
        return Call(
            scripts.PUSH_UNIQUE,
            [place, record, keys.unique(queue, str(draft.unique)), holder],
            [*head, job.encode(), value, draft.unique_ms, gone],
        )


def _batches(prepared: Sequence[Prepared]) -> Iterator[list[Prepared]]:
    """Neighbours that go to one place, at most as many as one call takes."""
    batch: list[Prepared] = []
    for each in prepared:
        if batch and (len(batch) == PUSH_MANY or _place(each[0]) != _place(batch[0][0])):
            yield batch
            batch = []
        batch.append(each)
    yield batch


def _pushed(batches: Sequence[Sequence[Prepared]], results: Sequence[Any]) -> list[Job]:
    """Those for which there was room, as the script says of each."""
    jobs = [job for batch in batches for _, job in batch]
    ones = [one for _, *of_batch in results for one in of_batch]
    return [job for job, one in zip(jobs, ones, strict=True) if one >= 0]


def _place(draft: Draft) -> tuple[str, bool]:
    return draft.lane, draft.in_s is not None or draft.at is not None


def _answer(answer: Any) -> Any:
    if isinstance(answer, Refused):
        raise answer
    return answer
