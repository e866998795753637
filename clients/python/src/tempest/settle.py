"""How a claimed job leaves its run list: answered, acked, put off or given up (SPEC "Ack", "Failures").

Reply first, ack second: a crash between the two gives a duplicate, never a loss. The ack removes exactly the bytes that
were claimed. A settlement whose confirmation was lost is sent again as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import scripts
from .clock import running_s
from .errors import Refused, WireError
from .limits import DEAD_JOBS_MAX, SETTLE_BYTES, SHORT_JOB_S
from .link import Command, Link
from .outbox import Outbox
from .scripts import Call

log = logging.getLogger("tempest")

_REFUSALS_MAX = 3
"""How often what comes before the end of a job may be refused."""

_PASSING = ("OOM", "MISCONF", "BUSY", "READONLY", "LOADING")
"""First words of refusals that pass by themselves."""


@dataclass(slots=True)
class Ack:
    """Removes the job from its run list; before that answers it if there is a reply."""

    run_key: str
    data: bytes
    reply_to: str | None = None
    reply: bytes = b""
    deadline: int = 0
    gone: tuple[str, ...] = ()
    """What goes with it: the record of a job of which nothing is kept, and its log."""
    begun_s: float = 0.0
    """When the job was begun, if something goes with it."""
    was_sent: bool = False

    def is_in_doubt(self, now_s: float) -> bool:
        """Tells whether the job may have been taken away meanwhile: then its record stays, and a script looks."""
        return bool(self.gone) and (self.was_sent or now_s - self.begun_s >= SHORT_JOB_S)

    def call(self) -> Call:
        """The script that does it only if the job was not taken away."""
        record = self.gone[0]
        keys = [self.run_key, record, f"{record}:log", f"{record}:result", record, record]
        return Call(scripts.SETTLE, keys, [self.data, "", 0, "", 0, ""])

    @property
    def is_alone(self) -> bool:
        """Tells whether it is not settled in one write with others."""
        return False

    @property
    def is_over(self) -> bool:
        """Tells whether the job does not come again: it is neither put off nor dead."""
        return True

    @property
    def is_urgent(self) -> bool:
        """Tells whether it is settled before the next job starts."""
        return len(self.reply) > SETTLE_BYTES


@dataclass(slots=True)
class Exchange:
    """Moves the job out of its run list and, as ``member``, into ``later`` or ``dead``: both or none."""

    run_key: str
    data: bytes
    set_key: str
    member: bytes
    score_ms: int
    is_dead: bool
    is_alone = True
    is_over = False
    is_urgent = True

    def commands(self) -> list[Command]:
        """What to send, in one write."""
        return [
            ("MULTI",),
            ("ZADD", self.set_key, self.score_ms, self.member),
            ("LREM", self.run_key, 1, self.data),
            ("EXEC",),
        ]

    def carry_out(self, link: Link) -> None:
        """Settles it. Raises :class:`RedisAway` or :class:`Refused`; then it must be tried again."""
        self.confirm(link.ask_all(self.commands()), link)

    def confirm(self, answers: list[Any], link: Link) -> None:
        """Reads what Redis made of it.

        Was the job taken away meanwhile, the set does not keep it; unless it was there already: then an earlier
        sending of this settlement was carried out and only its answer was lost. Raises :class:`Refused`.
        """
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        added, removed = answers[3]
        if isinstance(added, Refused) and removed == 1:
            link.ask("RPUSH", self.run_key, self.data)
        for answer in (added, removed):
            if isinstance(answer, Refused):
                raise answer
        if removed == 0 and added == 1:
            link.ask("ZREM", self.set_key, self.member)
        if self.is_dead:
            link.ask_all([("ZREMRANGEBYRANK", self.set_key, 0, -DEAD_JOBS_MAX - 1)])


@dataclass(slots=True)
class Ending:
    """Ends a job with a script that does all or nothing."""

    run_key: str
    data: bytes
    call: Call | Command
    is_over: bool = True
    """It does not come again: it is neither put off nor dead."""
    dead_key: str | None = None
    """The set of dead jobs that it goes to, which must not grow without end."""
    before: Callable[[Link], None] | None = None
    """What must be done before, and may be done twice."""
    otherwise: Callable[[str, str], Ending | Exchange] | None = None
    """What is done instead when that cannot be done, or is refused time and again; of a code and a message that say
    why."""
    after: Callable[[Link], None] | None = None
    """What must be done after it, and may be done twice: not if the job was taken away."""
    refusals: int = 0
    is_tried: bool = False
    """It was sent before, and may have been done."""
    size: int = 0

    @property
    def is_alone(self) -> bool:
        """Tells whether it is not settled in one write with others."""
        return not self.is_over or self.before is not None or self.after is not None

    @property
    def is_urgent(self) -> bool:
        """Tells whether it is settled before the next job starts."""
        return self.is_alone or self.size > SETTLE_BYTES

    def carry_out(self, link: Link) -> None:
        """Settles it by itself. Raises :class:`RedisAway` or :class:`Refused`; then it must be tried again."""
        instead = self._prepare(link)
        if instead is not None:
            instead.carry_out(link)
            return
        was_tried, self.is_tried = self.is_tried, True
        answer = scripts.run(link, [self.call])[0]
        if isinstance(answer, Refused):
            raise answer
        if self.dead_key is not None:
            link.ask_all([("ZREMRANGEBYRANK", self.dead_key, 0, -DEAD_JOBS_MAX - 1)])
        if self.after is not None and (answer == 1 or was_tried):
            self._follow_up(self.after, link)

    def _prepare(self, link: Link) -> Ending | Exchange | None:
        """Does what must be done before. Gives what is done instead if that is impossible."""
        try:
            if self.before is not None:
                self.before(link)
        except WireError as error:
            if self.otherwise is None:
                raise
            return self.otherwise(error.code, error.detail)
        except Refused as error:
            if self.otherwise is None or not self._is_final(error):
                raise
            return self.otherwise("bad_job", f"what comes after it cannot be pushed: {error}")
        return None

    def _follow_up(self, after: Callable[[Link], None], link: Link) -> None:
        try:
            after(link)
        except Refused as error:
            if not self._is_final(error):
                raise
            log.warning("a cancelled job is not counted in its group, which waits until it expires: %s", error)

    def _is_final(self, error: Refused) -> bool:
        """Tells whether it was refused so often that it is not tried again."""
        self.refusals += 1
        return self.refusals >= _REFUSALS_MAX and error.word not in _PASSING


Settlement = Ack | Exchange | Ending


class Settling:
    """What is done and can be settled together, in one write: first all replies, one command for each mailbox, then all
    acks, then what goes with them, then the endings and the acks that are in doubt. What is confirmed leaves the list
    ``done``."""

    def __init__(self, done: list[Settlement]) -> None:
        self._done = done
        now_s = running_s()
        self._acks: list[Ack] = []
        self._calls: list[tuple[Settlement, Call | Command]] = []
        for each in done:
            if isinstance(each, Ack):
                if each.is_in_doubt(now_s):
                    self._calls.append((each, each.call()))
                else:
                    self._acks.append(each)
            elif isinstance(each, Ending) and not each.is_alone:
                self._calls.append((each, each.call))
        self._gone = [key for ack in self._acks for key in ack.gone]
        self._replies: dict[str, list[Ack]] = {}
        for ack in self._acks:
            if ack.reply_to is not None:
                self._replies.setdefault(ack.reply_to, []).append(ack)

    def commands(self, link: Link) -> list[Command]:
        """What to send on this connection, in one write."""
        commands: list[Command] = [("RPUSH", to, *[ack.reply for ack in acks]) for to, acks in self._replies.items()]
        for ack in self._acks:
            commands.append(("LREM", ack.run_key, 1, ack.data))
            ack.was_sent = True
        if self._gone:
            commands.append(("UNLINK", *self._gone))
        return commands + scripts.to_send(link, [call for _, call in self._calls])

    def confirm(self, answers: list[Any], link: Link, outbox: Outbox) -> None:
        """Reads what Redis made of it; refused replies go to the outbox. ``LREM`` 0 is no error: the job was taken
        away meanwhile. A record that could not be removed expires. Raises :class:`Refused`; what is still in ``done``
        is to be sent again."""
        pushed, answers = answers[: len(self._replies)], answers[len(self._replies) :]
        acked, answers = answers[: len(self._acks)], answers[len(self._acks) + bool(self._gone) :]
        for answer in acked:
            if isinstance(answer, Refused):
                raise answer
        for answer, acks in zip(pushed, self._replies.values(), strict=True):
            if isinstance(answer, Refused):
                for ack in acks:
                    outbox.put(str(ack.reply_to), ack.reply, ack.deadline)
        if self._acks:
            waiting = {id(each) for each, _ in self._calls}
            self._done[:] = [each for each in self._done if not isinstance(each, Ack) or id(each) in waiting]
        for each, answer in zip(self._calls, answers, strict=True):
            if scripts.is_forgotten(link, answer):
                continue
            if isinstance(answer, Refused):
                raise answer
            self._done.remove(each[0])
