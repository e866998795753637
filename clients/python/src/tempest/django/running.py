"""Runs tasks: the handler of a worker for all tasks of a backend."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections

from ..context import Context
from ..limits import RECORD_AGE_MS
from ..names import LANES
from ..record import Record
from ..worker import Worker
from .backend import ACTION, TempestBackend
from .compat import TaskContext, TaskResult, TaskResultStatus, task_backends, task_finished, task_started
from .story import Story, key_of


def worker_of(alias: str = "default", *, queues: tuple[str, ...] = (), concurrency: int | None = None) -> Worker:
    """A worker for the tasks of a backend, of all its queues if none is named, and of all lanes.

    More handlers may be added to it. Raises ``TypeError`` if that backend is not of Tempest.
    """
    backend = task_backends[alias]
    if not isinstance(backend, TempestBackend):
        raise TypeError(f"TASKS[{alias!r}] is no tempest.django.TempestBackend")
    options = backend.options
    worker = Worker(
        *(queues or sorted(backend.queues)),
        url=options.get("URL"),
        prefix=options.get("PREFIX"),
        lanes=LANES,
        concurrency=concurrency,
    )

    @worker.around
    def with_fresh_connections(context: Context, call_next: Callable[[], Any]) -> Any:
        close_old_connections()
        try:
            return call_next()
        finally:
            close_old_connections()

    @worker.on(ACTION)
    def run(args: Any, context: Context) -> Any:
        return _Running(backend, context).run()

    return worker


class _Running:
    """One start of a task."""

    def __init__(self, backend: TempestBackend, context: Context) -> None:
        self._backend = backend
        self._bus = backend.client.bus
        self._queue, self._id = context.queue, str(context.id)
        self._worker = context.worker
        self._record = Record(self._id, "running", queued_at=context.job.queued_at)
        self._story = self._read()

    def _read(self) -> Story:
        data = self._bus.ask_again("GET", key_of(self._bus.keys, self._queue, self._id))
        if data is None:
            raise LookupError(f"nothing is known of task {self._id}: what it was to do has expired")
        return Story.of(data)

    def run(self) -> Any:
        """Gives what the task returns, or raises what it raises, and writes down either."""
        self._begin()
        result = self._result()
        task_started.send(sender=type(self._backend), task_result=result)
        try:
            value = self._call(result)
        except BaseException as error:
            self._failed(result, error)
            raise
        self._ended(result, TaskResultStatus.SUCCESSFUL, value)
        return value

    def _begin(self) -> None:
        now = _now().isoformat()
        self._story.started_at = self._story.started_at or now
        self._story.last_attempted_at = now
        self._story.worker_ids.append(self._worker)
        self._story.write(self._bus, self._bus.keys, self._queue, self._id, RECORD_AGE_MS)

    def _result(self) -> TaskResult:
        return self._backend.found(self._queue, self._story, self._record, None)

    @staticmethod
    def _call(result: TaskResult) -> Any:
        task, args, kwargs = result.task, result.args, result.kwargs
        given = (TaskContext(task_result=result), *args) if task.takes_context else tuple(args)
        return task.call(*given, **kwargs)

    def _failed(self, result: TaskResult, error: BaseException) -> None:
        kind = type(error)
        told = "".join(traceback.format_exception(error))
        self._story.errors.append({"exception_class_path": f"{kind.__module__}.{kind.__qualname__}", "traceback": told})
        self._story.write(self._bus, self._bus.keys, self._queue, self._id, RECORD_AGE_MS)
        self._ended(result, TaskResultStatus.FAILED, None)

    def _ended(self, result: TaskResult, status: Any, value: Any) -> None:
        for name, said in (("status", status), ("finished_at", _now()), ("_return_value", value)):
            object.__setattr__(result, name, said)
        task_finished.send(type(self._backend), task_result=result)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
