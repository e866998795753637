"""Names, checked so that none can reach into another key, and every key of the bus (SPEC "Names", "Keys")."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from functools import lru_cache

from .errors import WireError

LANES = ("high", "normal", "low")
"""Priority lanes of a queue, the first served first."""

_PLAIN = "[A-Za-z0-9._-]"
_SHAPES = {
    "queue": re.compile(_PLAIN + "{1,64}"),
    "action": re.compile(_PLAIN + "{1,128}"),
    "worker": re.compile(_PLAIN + "{1,128}"),
    "prefix": re.compile(_PLAIN + "{1,32}"),
    "mailbox": re.compile(_PLAIN + "{1,64}"),
    "id": re.compile(_PLAIN + "{1,64}"),
    "group": re.compile(_PLAIN + "{1,64}"),
    "schedule": re.compile(_PLAIN + "{1,50}"),
    "key": re.compile("[A-Za-z0-9._/:-]{1,128}"),
    "topic": re.compile("[A-Za-z0-9._/:-]{1,256}"),
}
_RESERVED_QUEUES = ("queues", "mailboxes")


def is_name(kind: str, name: str) -> bool:
    """Tells whether ``name`` is a name of this kind (``queue``, ``action``, ``worker``, ``prefix``, ``mailbox``,
    ``id``, ``group``, ``schedule``, ``key``, ``topic``)."""
    if kind == "queue" and name in _RESERVED_QUEUES:
        return False
    return _SHAPES[kind].fullmatch(name) is not None


def check_name(kind: str, name: str) -> str:
    """Gives the name back. Raises :class:`WireError` ``bad_name`` if it is none of this kind."""
    if not isinstance(name, str) or not is_name(kind, name):
        raise WireError("bad_name", f"{name!r} is no {kind} name")
    return name


def check_lane(lane: str) -> str:
    """Gives the lane back. Raises :class:`WireError` ``bad_name`` if it is not high, normal or low."""
    if lane not in LANES:
        raise WireError("bad_name", f"a lane is high, normal or low, not {lane!r}")
    return lane


def new_id() -> str:
    """Gives a new job id: a UUID of version 7 (RFC 9562 section 5.7), so ids sort by time."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True)
class Keys:
    """Makes the Redis keys and channels of the cluster with this prefix. Names are checked by whoever passes them."""

    prefix: str = "tempest"

    def lane(self, queue: str, lane: str) -> str:
        """LIST: jobs waiting in a lane."""
        return f"{self.prefix}:{{{queue}}}" + ("" if lane == "normal" else f":{lane}")

    def run(self, queue: str, worker: str, slot: int) -> str:
        """LIST: what a slot of a worker has claimed and not acked."""
        return f"{self.prefix}:{{{queue}}}:run:{worker}.{slot}"

    def workers(self, queue: str) -> str:
        """SET of ``<worker>.<slot>``: where to look for claimed jobs."""
        return f"{self.prefix}:{{{queue}}}:workers"

    def lease(self, queue: str, worker: str) -> str:
        """STRING with an expiry: the worker lives while it exists."""
        return f"{self.prefix}:{{{queue}}}:lease:{worker}"

    def later(self, queue: str) -> str:
        """ZSET: delayed and retried jobs by due time."""
        return f"{self.prefix}:{{{queue}}}:later"

    def dead(self, queue: str) -> str:
        """ZSET: jobs given up, by time of death."""
        return f"{self.prefix}:{{{queue}}}:dead"

    def record(self, queue: str, id: str) -> str:
        """HASH with an expiry: what is known of a background job."""
        return f"{self.prefix}:{{{queue}}}:job:{id}"

    def log(self, queue: str, id: str) -> str:
        """LIST with an expiry: lines that a background job wrote."""
        return f"{self.prefix}:{{{queue}}}:job:{id}:log"

    def result(self, queue: str, id: str) -> str:
        """LIST of one reply, with an expiry: what came out of a background job."""
        return f"{self.prefix}:{{{queue}}}:job:{id}:result"

    def unique(self, queue: str, name: str) -> str:
        """STRING with an expiry: which job holds a unique key."""
        return f"{self.prefix}:{{{queue}}}:unique:{name}"

    def limits(self, queue: str) -> str:
        """HASH: what limits a queue: ``paused``, ``concurrency``, ``rate``, ``per``, ``per_key``."""
        return f"{self.prefix}:{{{queue}}}:limits"

    def running(self, queue: str) -> str:
        """SET of ``<worker>.<slot>``: who was given a job while the queue had a limit of concurrency."""
        return f"{self.prefix}:{{{queue}}}:running"

    def rate(self, queue: str) -> str:
        """STRING with an expiry: until when what was started uses up the rate, in µs."""
        return f"{self.prefix}:{{{queue}}}:rate"

    def swept(self, queue: str) -> str:
        """STRING with an expiry: the places of slots that hold nothing any more were looked for just now."""
        return f"{self.prefix}:{{{queue}}}:swept"

    def key(self, queue: str, name: str) -> str:
        """SET of ``<worker>.<slot>``: who runs jobs of a key."""
        return f"{self.prefix}:{{{queue}}}:key:{name}"

    def aside(self, queue: str, name: str) -> str:
        """LIST: jobs of a key that are set aside."""
        return f"{self.prefix}:{{{queue}}}:aside:{name}"

    def asides(self, queue: str) -> str:
        """SET: the keys of a queue that have jobs set aside."""
        return f"{self.prefix}:{{{queue}}}:asides"

    def schedules(self, queue: str) -> str:
        """HASH: the schedules of a queue, by name."""
        return f"{self.prefix}:{{{queue}}}:schedules"

    def due(self, queue: str) -> str:
        """ZSET: the names of schedules by the time at which they are due."""
        return f"{self.prefix}:{{{queue}}}:due"

    def group(self, queue: str, group: str) -> str:
        """HASH with an expiry: a group of jobs."""
        return f"{self.prefix}:{{{queue}}}:group:{group}"

    def pending(self, queue: str, group: str) -> str:
        """SET with an expiry: the ids of those jobs of a group that are not done."""
        return f"{self.prefix}:{{{queue}}}:group:{group}:pending"

    def results(self, queue: str, group: str) -> str:
        """HASH with an expiry: the results of a group's jobs by their ids, in JSON."""
        return f"{self.prefix}:{{{queue}}}:group:{group}:results"

    def run_of(self, queue: str, entry: str) -> str:
        """LIST: what a slot has claimed and not acked, by its ``<worker>.<slot>``."""
        return f"{self.prefix}:{{{queue}}}:run:{entry}"

    def control(self, queue: str) -> str:
        """Channel: ``cancel <id>``, ``kill <id> <ms>``, ``drain``, ``drain <worker>``, ``limits``."""
        return f"{self.prefix}:{{{queue}}}:control"

    def queues(self) -> str:
        """SET: every queue that was used."""
        return f"{self.prefix}:queues"

    def mailboxes(self) -> str:
        """SET: every mailbox that was opened."""
        return f"{self.prefix}:mailboxes"

    def mailbox(self, mailbox: str) -> str:
        """LIST: replies for one process. The full key is what ``reply_to`` carries."""
        return f"{self.prefix}:mailbox:{{{mailbox}}}"

    def about(self, mailbox: str) -> str:
        """STRING with an expiry: the mailbox's owner lives."""
        return f"{self.mailbox(mailbox)}:about"

    def probe(self, mailbox: str) -> str:
        """Channel on which a process hears its own liveness probe."""
        return f"{self.prefix}:probe:{{{mailbox}}}"

    def topic(self, topic: str) -> str:
        """STREAM: kept events of a topic."""
        return f"{self.prefix}:topic:{{{topic}}}"

    def is_mailbox(self, reply_to: str) -> bool:
        """Tells whether a ``reply_to`` is the full key of a mailbox of this cluster."""
        return _is_mailbox(self.prefix, reply_to)


@lru_cache(maxsize=1024)
def _is_mailbox(prefix: str, reply_to: str) -> bool:
    """There are as many mailboxes as fronts, and each is asked for with every job."""
    start, end = f"{prefix}:mailbox:{{", "}"
    if not (reply_to.startswith(start) and reply_to.endswith(end)):
        return False
    return is_name("mailbox", reply_to[len(start) : -len(end)])
