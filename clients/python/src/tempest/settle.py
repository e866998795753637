"""How a claimed job leaves its run list: answered, acked, put off or given up (SPEC "Ack", "Failures").

Reply first, ack second: a crash between the two gives a duplicate, never a loss. The ack removes exactly the bytes that
were claimed. A settlement whose confirmation was lost is sent again as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import Refused
from .limits import DEAD_JOBS_MAX
from .link import Command, Link
from .outbox import Outbox


@dataclass(slots=True)
class Ack:
    """Removes the job from its run list; before that answers it if there is a reply."""

    run_key: str
    data: bytes
    reply_to: str | None = None
    reply: bytes = b""
    deadline: int = 0


@dataclass(slots=True)
class Exchange:
    """Moves the job out of its run list and, as ``member``, into ``later`` or ``dead``: both or none."""

    run_key: str
    data: bytes
    set_key: str
    member: bytes
    score_ms: int
    is_dead: bool

    def commands(self) -> list[Command]:
        """What to send, in one write."""
        return [
            ("MULTI",),
            ("ZADD", self.set_key, self.score_ms, self.member),
            ("LREM", self.run_key, 1, self.data),
            ("EXEC",),
        ]

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


_EXCHANGE = 4
"""Commands of an exchange."""

Settlement = Ack | Exchange


class Settling:
    """What is done, settled in one write: first all replies, one command for each mailbox, then all acks, then the
    exchanges. What is confirmed leaves the list ``done``."""

    def __init__(self, done: list[Settlement]) -> None:
        self._done = done
        self._acks = [each for each in done if isinstance(each, Ack)]
        self._exchanges = [each for each in done if isinstance(each, Exchange)]
        self._replies: dict[str, list[Ack]] = {}
        for ack in self._acks:
            if ack.reply_to is not None:
                self._replies.setdefault(ack.reply_to, []).append(ack)

    def commands(self) -> list[Command]:
        """What to send, in one write."""
        commands: list[Command] = [("RPUSH", to, *[ack.reply for ack in acks]) for to, acks in self._replies.items()]
        commands += [("LREM", ack.run_key, 1, ack.data) for ack in self._acks]
        for exchange in self._exchanges:
            commands += exchange.commands()
        return commands

    def confirm(self, answers: list[Any], link: Link, outbox: Outbox) -> None:
        """Reads what Redis made of it; refused replies go to the outbox. ``LREM`` 0 is no error: the job was taken
        away meanwhile. Raises :class:`Refused` or :class:`RedisAway`; what is still in ``done`` is to be sent again."""
        pushed, answers = answers[: len(self._replies)], answers[len(self._replies) :]
        for answer in answers[: len(self._acks)]:
            if isinstance(answer, Refused):
                raise answer
        for answer, acks in zip(pushed, self._replies.values(), strict=True):
            if isinstance(answer, Refused):
                for ack in acks:
                    outbox.put(str(ack.reply_to), ack.reply, ack.deadline)
        self._done[:] = self._exchanges
        answers = answers[len(self._acks) :]
        for exchange in self._exchanges:
            own, answers = answers[:_EXCHANGE], answers[_EXCHANGE:]
            exchange.confirm(own, link)
            self._done.pop(0)
