"""What Django wants to know of a task and the record of a job does not tell: its arguments, who tried it, and what was
raised. A hash beside the record, which expires with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ..bus import Bus
from ..errors import Refused
from ..limits import RECORD_AGE_MS
from ..names import Keys


@dataclass
class Story:
    """One task. Times are those of ISO 8601."""

    task: str
    """The path of the function: ``module.name``."""
    args: list[Any]
    kwargs: dict[str, Any]
    priority: int
    run_after: str | None
    started_at: str | None = None
    last_attempted_at: str | None = None
    worker_ids: list[str] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    """The class and the traceback of what was raised, the newest last."""

    def write(self, bus: Bus, keys: Keys, queue: str, job_id: str, lives_ms: int) -> None:
        """Writes it so that it lives so long. Raises :class:`RedisAway`, :class:`Refused`; ``TypeError`` for arguments
        without a form in JSON."""
        key = key_of(keys, queue, job_id)
        for answer in bus.ask_all(("SET", key, json.dumps(asdict(self)), "PX", min(lives_ms, RECORD_AGE_MS))):
            if isinstance(answer, Refused):
                raise answer

    @staticmethod
    def of(data: bytes) -> Story:
        """Reads one."""
        return Story(**json.loads(data))


def key_of(keys: Keys, queue: str, job_id: str) -> str:
    """STRING with an expiry."""
    return f"{keys.record(queue, job_id)}:task"
