"""What a job says that nobody waits for (SPEC "Background jobs"). Most jobs say none of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .fields import Fields
from .names import is_name

HOLDS = ("queued", "running", "time")
"""How long a job holds its unique key: until a worker starts it, until it ends, or for a time."""
BACKGROUND = frozenset(("keep", "unique", "unique_while", "key", "group", "then", "input"))
"""The names of the fields."""


@dataclass(slots=True)
class Background:
    """The fields of an envelope that only background jobs have."""

    keep: int = 0
    """How long record and result are kept after the end of the job, in ms; 0: not at all."""
    unique: str | None = None
    """While it holds this key of its queue, no other job with the same one is pushed."""
    unique_while: str = "running"
    key: str | None = None
    """Of the jobs of a queue with the same key only so many run at a time as its limits say, one if nothing."""
    group: str | None = None
    """``<queue>:<group>`` it belongs to."""
    then: list[dict[str, Any]] | None = None
    """The jobs that come one after the other when this one is done."""
    input: Any = None
    """What came out of the job before it, or of the jobs of a group."""

    @property
    def is_plain(self) -> bool:
        """Tells whether the end of the job concerns nobody but its own record."""
        return not (self.keep or self.unique or self.key or self.group or self.then)

    @property
    def tells_more(self) -> bool:
        """Tells whether the end of the job leaves something behind: a result, or what comes after it."""
        return bool(self.keep or self.group or self.then)

    def fields(self) -> dict[str, Any]:
        """What is to be written, in the promised order."""
        held = self.unique_while if self.unique_while != "running" else None
        said = {"keep": self.keep or None, "unique": self.unique, "unique_while": held}
        return {**said, "key": self.key, "group": self.group, "then": self.then, "input": self.input}


def background_of(fields: Fields) -> Background | None:
    """Reads them; none if nothing is said. Raises :class:`WireError` ``bad_job``."""
    read = Background(
        keep=fields.integer("keep") or 0,
        unique=_name(fields, "unique", "key"),
        unique_while=_holds(fields),
        key=_name(fields, "key", "key"),
        group=_group(fields),
        then=_then(fields),
        input=fields.values.get("input"),
    )
    return None if read == Background() else read


def _name(fields: Fields, name: str, kind: str) -> str | None:
    return None if fields.values.get(name) is None else fields.name(name, kind)


def _holds(fields: Fields) -> str:
    word = fields.text("unique_while")
    if word is not None and word not in HOLDS:
        raise fields.bad("unique_while", "queued, running or time")
    return word or "running"


def _group(fields: Fields) -> str | None:
    text = fields.text("group")
    if text is None:
        return None
    queue, colon, group = text.partition(":")
    if not (colon and is_name("queue", queue) and is_name("group", group)):
        raise fields.bad("group", "<queue>:<group>")
    return text


def _then(fields: Fields) -> list[dict[str, Any]] | None:
    value = fields.values.get("then")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise fields.bad("then", "a list of maps")
    return value
