"""What anyone may do on the bus: push jobs, take them back, cancel them, publish events (SPEC "Push", "Topics")."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from .errors import QueueFull, RedisAway, Refused
from .frame import json_bytes
from .limits import CANCEL_DEPTH_MAX, COMMAND_ANSWER_S, LANE_BYTES_MAX, LANE_JOBS_MAX
from .link import Command, Link, Place, open_within
from .names import Keys, check_name
from .scripts import Call, run
from .wire import Job


class Bus:
    """One connection for commands that never block; it may be used by several threads."""

    def __init__(self, place: Place, keys: Keys, topic_prefix: str = "") -> None:
        self.place = place
        self.keys = keys
        self.topic_prefix = topic_prefix
        self._lock = threading.Lock()
        self._link: Link | None = None

    def _open(self) -> Link:
        # Nothing is under way, so something to read is the end of a connection that Redis closed meanwhile.
        if self._link is not None and not self._link.broken and self._is_over(self._link):
            self._link.close()
        if self._link is None or self._link.broken:
            self._link = open_within(self.place, COMMAND_ANSWER_S)
        return self._link

    @staticmethod
    def _is_over(link: Link) -> bool:
        try:
            return link.has_answer()
        except RedisAway:
            return True

    def ask_all(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Sends commands in one write; a refused one gives its :class:`Refused`.

        Raises :class:`RedisAway`: unless the connection could not be made at all, it is unknown what was done.
        """
        with self._lock:
            return self._open().ask_all(commands)

    def run(self, calls: Sequence[Call | Command]) -> list[Any]:
        """The same with calls of scripts among the commands."""
        with self._lock:
            return run(self._open(), calls)

    def ask(self, *command: Any) -> Any:
        """Sends one command. Raises :class:`RedisAway` or :class:`Refused`."""
        return _answer(self.ask_all(command)[0])

    def ask_again(self, *command: Any) -> Any:
        """Sends one command that may be carried out twice; once more if the connection broke."""
        try:
            return self.ask(*command)
        except RedisAway:
            return self.ask(*command)

    def push(self, queue: str, job: Job) -> int:
        """Puts a job at the end of its lane. Gives the depth of the lane, this job included.

        Raises :class:`QueueFull` over the caps; :class:`RedisAway` if it is unknown whether the job waits: it is sent a
        second time only when the first one was taken back.
        """
        lane, frame = self.keys.lane(check_name("queue", queue), job.lane), job.encode()
        commands = (
            ("SADD", self.keys.queues(), queue),
            ("RPUSH", lane, frame),
            ("MEMORY", "USAGE", lane),
        )
        try:
            answers = self.ask_all(*commands)
        except RedisAway as error:
            if not self._take_back(lane, frame):
                raise RedisAway(f"whether the job was pushed is unknown ({error.detail})") from None
            answers = self.ask_all(*commands)
        depth = int(_answer(answers[1]))
        # Not every account may ask for the bytes; then only the number of jobs is capped.
        size = answers[2] if isinstance(answers[2], int) else 0
        if (depth > LANE_JOBS_MAX or size > LANE_BYTES_MAX) and self._take_back(lane, frame):
            raise QueueFull(queue)
        return depth

    def _take_back(self, lane: str, frame: bytes) -> bool:
        return int(self.ask_again("LREM", lane, -1, frame)) > 0

    def cancel(self, queue: str, job: Job, depth: int) -> None:
        """Cancels a job nobody waits for any more: out of a short lane, or by telling whoever runs it."""
        lane = self.keys.lane(queue, job.lane)
        if depth < CANCEL_DEPTH_MAX and self._take_back(lane, job.encode()):
            return
        if job.id is not None:
            self.ask_again("PUBLISH", self.keys.control(queue), f"cancel {job.id}")

    def publish(self, topic: str, payload: Any) -> int:
        """Publishes a live event. Text and bytes are the payload as they are, anything else becomes JSON.

        Gives how many connections heard it (fronts, not browsers). Raises :class:`WireError` ``bad_name`` or
        ``bad_json``, :class:`RedisAway`, :class:`Refused`.
        """
        data = payload if isinstance(payload, (str, bytes)) else json_bytes(payload)
        return int(self.ask("PUBLISH", self.topic_prefix + check_name("topic", topic), data))

    def close(self) -> None:
        """Closes the connection; the next command opens another."""
        with self._lock:
            if self._link is not None:
                self._link.close()
                self._link = None


def _answer(answer: Any) -> Any:
    if isinstance(answer, Refused):
        raise answer
    return answer
