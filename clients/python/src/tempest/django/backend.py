"""The backend: pushes tasks as background jobs, and finds what came out of them."""

from __future__ import annotations

import datetime
import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..client import Client
from ..limits import RECORD_AGE_MS
from ..names import new_id
from ..record import Record, record_of
from ..wire import decode_reply
from .compat import (
    BaseTaskBackend,
    Task,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from .story import Story, key_of

ACTION = "django-task"
"""What all jobs of Django are for."""
_KEEP_S = 7 * 24 * 3600.0
_STATUS = {
    "waiting": TaskResultStatus.READY,
    "later": TaskResultStatus.READY,
    "running": TaskResultStatus.RUNNING,
    "done": TaskResultStatus.SUCCESSFUL,
    "dead": TaskResultStatus.FAILED,
}


def lane_of(priority: int) -> str:
    """``high`` above 0, ``low`` below it."""
    return "high" if priority > 0 else "low" if priority < 0 else "normal"


class TempestBackend(BaseTaskBackend):  # type: ignore[misc]
    """``QUEUES`` names the queues of Tempest. ``OPTIONS`` may have ``URL`` and ``PREFIX`` (else ``TEMPEST_REDIS_URL``
    and ``TEMPEST_PREFIX``), ``KEEP_S`` (how long results are kept; 7 days), ``ATTEMPTS`` (how often a task may be
    started when it fails or its worker dies; 1), ``LANE_JOBS_MAX`` (how many tasks may wait).

    A priority above 0 is the lane ``high``, one below it the lane ``low``. A task that runs for less than 10 ms is
    never seen ``RUNNING``. One whose worker dies is ``FAILED``, unless it may be started again.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        if not self.queues:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: name its QUEUES, so that results are found")
        self.keep_s = float(self.options.get("KEEP_S", _KEEP_S))
        self.attempts = int(self.options.get("ATTEMPTS", 1))
        self._client: Client | None = None
        self._process = 0

    @property
    def client(self) -> Client:
        """The client of this process; connections are not shared with children that were forked."""
        if self._client is None or self._process != os.getpid():
            options = {"url": self.options.get("URL"), "prefix": self.options.get("PREFIX")}
            if "LANE_JOBS_MAX" in self.options:
                options["lane_jobs_max"] = int(self.options["LANE_JOBS_MAX"])
            self._client, self._process = Client(**options), os.getpid()
        return self._client

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Pushes a task. Raises :class:`tempest.TempestError` if it could not be pushed."""
        self.validate_task(task)
        now = datetime.datetime.now(datetime.timezone.utc)
        result = self._result(task, new_id(), args, kwargs, now)
        run_after = _aware(task.run_after)
        story = Story(
            task.module_path,
            result.args,
            result.kwargs,
            task.priority,
            None if run_after is None else run_after.isoformat(),
        )
        bus = self.client.bus
        story.write(bus, bus.keys, task.queue_name, result.id, RECORD_AGE_MS)
        self.client.push(
            task.queue_name,
            ACTION,
            {"task": story.task},
            id=result.id,
            at=run_after,
            lane=lane_of(task.priority),
            attempts=self.attempts,
            keep_s=self.keep_s,
        )
        task_enqueued.send(type(self), task_result=result)
        return result

    def _result(self, task: Task, job_id: str, args: Any, kwargs: Any, enqueued_at: Any) -> TaskResult:
        return TaskResult(
            task=task,
            id=job_id,
            status=TaskResultStatus.READY,
            enqueued_at=enqueued_at,
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )

    def get_result(self, result_id: str) -> TaskResult:
        """Finds a task in any of its queues. Raises ``TaskResultDoesNotExist``."""
        bus, queues = self.client.bus, sorted(self.queues)
        commands: list[tuple[Any, ...]] = []
        for queue in queues:
            record = bus.keys.record(queue, result_id)
            commands += [("GET", key_of(bus.keys, queue, result_id)), ("HGETALL", record)]
            commands += [("LINDEX", bus.keys.result(queue, result_id), 0)]
        answers = bus.ask_all(*commands)
        for at, queue in enumerate(queues):
            story, record, reply = answers[3 * at : 3 * at + 3]
            if isinstance(story, bytes) and isinstance(record, list) and record:
                return self.found(queue, Story.of(story), record_of(result_id, record), reply)
        raise TaskResultDoesNotExist(result_id)

    def found(self, queue: str, story: Story, record: Record, reply: bytes | None) -> TaskResult:
        """The result as it is written down."""
        task = import_string(story.task).using(
            priority=story.priority, queue_name=queue, run_after=_time(story.run_after), backend=self.alias
        )
        result = self._result(task, record.id, story.args, story.kwargs, _time_of(record.queued_at))
        said = {
            "status": _STATUS.get(record.state, TaskResultStatus.READY),
            "started_at": _time(story.started_at),
            "last_attempted_at": _time(story.last_attempted_at),
            "finished_at": _time_of(record.done_at or record.died_at),
            "errors": [TaskError(**error) for error in story.errors],
            "worker_ids": story.worker_ids,
        }
        if record.state == "done" and reply is not None:
            said["_return_value"] = (decode_reply(reply).result or (None,))[0]
        for name, value in said.items():
            object.__setattr__(result, name, value)
        return result


def _aware(time: datetime.datetime | None) -> datetime.datetime | None:
    """Without ``USE_TZ`` times are those of this machine."""
    return time if time is None or time.tzinfo is not None else time.astimezone()


def _time(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)


def _time_of(ms: int | None) -> datetime.datetime | None:
    return None if ms is None else datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
