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
    goes_ahead = True
    """It may stand in one write before the next claim."""

    def commands(self) -> list[Command]:
        """What to send, in one write."""
        ack: Command = ("LREM", self.run_key, 1, self.data)
        return [ack] if self.reply_to is None else [("RPUSH", self.reply_to, self.reply), ack]

    def confirm(self, answers: list[Any], link: Link, outbox: Outbox) -> None:
        """Reads what Redis made of it; a refused reply goes to the outbox. ``LREM`` 0 is no error: the job was taken
        away meanwhile. Raises :class:`Refused` if the ack was refused."""
        if isinstance(answers[-1], Refused):
            raise answers[-1]
        if self.reply_to is not None and isinstance(answers[0], Refused):
            outbox.put(self.reply_to, self.reply, self.deadline)


@dataclass(slots=True)
class Exchange:
    """Moves the job out of its run list and, as ``member``, into ``later`` or ``dead``: both or none."""

    run_key: str
    data: bytes
    set_key: str
    member: bytes
    score_ms: int
    is_dead: bool
    goes_ahead = False

    def commands(self) -> list[Command]:
        """What to send, in one write."""
        return [
            ("MULTI",),
            ("ZADD", self.set_key, self.score_ms, self.member),
            ("LREM", self.run_key, 1, self.data),
            ("EXEC",),
        ]

    def confirm(self, answers: list[Any], link: Link, outbox: Outbox) -> None:
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


Settlement = Ack | Exchange
