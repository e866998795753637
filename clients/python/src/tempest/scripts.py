"""The Lua that runs inside Redis (SPEC "Scripts"): files of the protocol, each of which says what it takes and gives.

The first call on a connection sends the text, which makes Redis know it; later ones send its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import Refused
from .link import Command, Link

FOLDER = Path(__file__).parent / "scripts"


class Script:
    """One of the files."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (FOLDER / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a script."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Any]

    def command(self, known: set[str]) -> Command:
        """What to send on a connection on which these scripts, by their hashes, were sent before."""
        tail = (len(self.keys), *self.keys, *self.args)
        if self.script.sha in known:
            return ("EVALSHA", self.script.sha, *tail)
        known.add(self.script.sha)
        return ("EVAL", self.script.text, *tail)


def run(link: Link, calls: Sequence[Call | Command]) -> list[Any]:
    """Sends calls, and commands among them, in one write and gives the answers; a refused one gives its
    :class:`Refused`. Where Redis has forgotten a script its calls are sent once more, behind all others."""
    answers = link.ask_all(to_send(link, calls))
    for at, call in enumerate(calls):
        if isinstance(call, Call) and is_forgotten(link, answers[at]):
            answers[at] = link.ask_all([call.command(link.known)])[0]
    return answers


def to_send(link: Link, calls: Sequence[Call | Command]) -> list[Command]:
    """The calls as commands for this connection."""
    return [call.command(link.known) if isinstance(call, Call) else call for call in calls]


def is_forgotten(link: Link, answer: Any) -> bool:
    """Tells whether Redis does not know the script any more (``SCRIPT FLUSH``); then the next call sends its text."""
    if not (isinstance(answer, Refused) and answer.word == "NOSCRIPT"):
        return False
    link.known.clear()
    return True


PUSH = Script("push")
PUSH_UNIQUE = Script("push_unique")
BEGIN = Script("begin")
NOTE = Script("note")
SETTLE = Script("settle")
TAKE = Script("take")
SWEEP = Script("sweep")
ADMIT = Script("admit")
RELEASE = Script("release")
COUNT = Script("count")
COMPLETE = Script("complete")
ALL = (PUSH, PUSH_UNIQUE, BEGIN, NOTE, SETTLE, TAKE, SWEEP, ADMIT, RELEASE, COUNT, COMPLETE)
