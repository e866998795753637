"""Claims: how a slot waits for its next job (SPEC "Claim").

With one lane a claim is one ``BLMOVE``. With several the lanes are looked at in order with ``LMOVE`` (every 16th time
from the low end), then one ``BLMOVE`` blocks on each, on a connection of its own; when one of them has an answer the
others are unblocked, and what they still brought goes back to the head of its lane. So a job that comes while the slot
waits is taken at once, whichever lane it is in, and none is hoarded.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Sequence
from typing import Any

from .clock import running_s
from .errors import RedisAway, Refused
from .limits import BLOCK_ANSWER_S, BLOCK_S, LOOK_MAX, LOW_FIRST_EVERY
from .link import Command, Link, Place, pack
from .presence import Source

log = logging.getLogger("tempest")

Claimed = tuple[Source, list[bytes]]

_SHORT_BLOCK_S = 0.1
"""How long claims on several lanes block where ``CLIENT UNBLOCK`` is not permitted."""


class Claims:
    """The connections of one slot. ``main`` also carries everything the slot does between two claims.

    Any error leaves it useless: close it, connect anew, and look into the run lists.
    """

    def __init__(self, place: Place, sources: Sequence[Source], may_unblock: bool) -> None:
        self.sources = self._sources = sources
        self._block_s = BLOCK_S if may_unblock or len(sources) == 1 else _SHORT_BLOCK_S
        self._may_unblock = may_unblock
        self._count = 0
        self._links: list[Link] = []
        try:
            for _ in sources:
                self._links.append(place.open(BLOCK_ANSWER_S))
            self._ids = [int(link.ask("CLIENT", "ID")) for link in self._links]
        except BaseException:
            self.close()
            raise
        self.main = self._links[0]
        self._order: list[int] = []
        self._wanted = 1
        self._looks = [pack([("LMOVE", each.lane_key, each.run_key, "LEFT", "RIGHT")]) for each in sources]

    @property
    def client_ids(self) -> list[int]:
        """The connections that may be blocked: ``CLIENT UNBLOCK`` them to end a wait early."""
        return self._ids

    def begin(self, ahead: Sequence[Command], wanted: int) -> list[Any]:
        """Sends commands and, in the same write, the beginning of a claim of up to ``wanted`` jobs. Gives the answers
        to the commands; :meth:`wait` must follow."""
        self._order, self._wanted = self.next_order(), wanted
        self.main.send_packed(pack(ahead) + self._first_claim())
        return [self.main.read_or_refusal() for _ in ahead]

    def wait(self) -> Claimed | None:
        """Gives what was claimed, in order; none when there was nothing to claim for a while."""
        if len(self._sources) == 1:
            return self._claimed(0)
        for number, index in enumerate(self._order):
            if number:
                self.main.send_packed(self._looks[index] * self._wanted)
            claimed = self._claimed(index)
            if claimed:
                return claimed
        return self._block()

    def next_order(self) -> list[int]:
        """Which lanes are looked at first."""
        self._count += 1
        order = list(range(len(self._sources)))
        return order[::-1] if self._count % LOW_FIRST_EVERY == 0 else order

    def _first_claim(self) -> bytes:
        """What follows a claim that blocks on the same connection waits for its answer, so further looks can stand
        behind it."""
        if len(self._sources) > 1:
            return self._looks[self._order[0]] * self._wanted
        return pack([self._block_on(0)]) + self._looks[0] * (self._wanted - 1)

    def _block_on(self, index: int) -> Command:
        source = self._sources[index]
        return ("BLMOVE", source.lane_key, source.run_key, "LEFT", "RIGHT", self._block_s)

    def _claimed(self, index: int) -> Claimed | None:
        """Reads the answers to a claim."""
        answers = [self.main.read() for _ in range(self._wanted)]
        frames = [answer for answer in answers if answer is not None]
        return (self._sources[index], frames) if frames else None

    def _block(self) -> Claimed | None:
        """Waits on all lanes at once. Of several that answer the first in order is taken."""
        answers = self._race({index: self._block_on(index) for index in range(len(self._links))})
        found = [(self._sources[index], frame) for index, frame in answers.items()]
        claimed: list[Claimed] = [(source, [frame]) for source, frame in found if frame is not None]
        claimed.sort(key=lambda each: self._order.index(self._sources.index(each[0])))
        for source, _ in claimed[1:]:
            self.give_back(source)
        return claimed[0] if claimed else None

    def peek(self, indexes: Sequence[int], block_s: float) -> None:
        """Waits until a job lies in one of these lanes, and moves none."""
        lanes = {index: self._sources[index].lane_key for index in indexes}
        block_s = max(0.001, min(block_s, self._block_s))
        self._race({index: ("BLMOVE", lane, lane, "LEFT", "LEFT", block_s) for index, lane in lanes.items()})

    def _race(self, blocking: dict[int, Command]) -> dict[int, Any]:
        """Sends a blocking command on each of these connections. When one is answered the others are unblocked."""
        for index, command in blocking.items():
            self._links[index].send([command])
        waiting, answers = set(blocking), dict[int, Any]()
        until = running_s() + BLOCK_ANSWER_S
        while waiting:
            patience = 0.01 if answers else until - running_s()
            for index in self._readable(waiting, patience):
                waiting.discard(index)
                answers[index] = self._links[index].read()
            if running_s() > until:
                raise RedisAway("a claim was not answered")
            self._unblock(waiting)
        return answers

    def _readable(self, waiting: set[int], patience: float) -> list[int]:
        links = {self._links[index].fileno(): index for index in waiting}
        ready, _, _ = select.select(list(links), [], [], max(0.0, patience))
        return [index for index in sorted(map(links.__getitem__, ready)) if self._links[index].has_answer()]

    def _unblock(self, waiting: set[int]) -> None:
        """Over a connection that has its answer. A claim that Redis has not read yet is not blocked yet, so this is
        said again until all have answered."""
        free = [link for index, link in enumerate(self._links) if index not in waiting]
        if not (waiting and free and self._may_unblock):
            return
        for answer in free[0].ask_all([("CLIENT", "UNBLOCK", self._ids[index]) for index in sorted(waiting)]):
            if isinstance(answer, Refused):
                self._may_unblock = False
                self._block_s = _SHORT_BLOCK_S
                log.warning("CLIENT UNBLOCK is not permitted (%s): several lanes are served more slowly", answer.word)
                return

    def give_back(self, source: Source) -> bool:
        """Returns the newest job of a run list to the head of its lane: bytes unchanged, not an attempt. Gives whether
        there was one."""
        return self.main.ask("LMOVE", source.run_key, source.lane_key, "RIGHT", "LEFT") is not None

    def look(self) -> Claimed | None:
        """Gives what lies in the first run list that is not empty, the oldest first: jobs that were claimed without
        this slot getting to know."""
        commands: list[Command] = [("LRANGE", source.run_key, 0, LOOK_MAX - 1) for source in self._sources]
        for source, answer in zip(self._sources, self.main.ask_all(commands), strict=True):
            if isinstance(answer, Refused):
                raise answer
            if answer:
                return source, answer
        return None

    def close(self) -> None:
        """Closes all connections."""
        for link in self._links:
            link.close()
