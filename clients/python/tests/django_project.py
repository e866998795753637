"""The tasks of the Django project of test_django.py."""

from __future__ import annotations

import os
import time
from typing import Any

import redis
from django_tasks import TaskContext, task


@task
def add(a: int, b: int = 0) -> dict[str, int]:
    return {"sum": a + b}


@task(queue_name="mail", priority=5)
async def shout(text: str) -> str:
    return text.upper()


@task
def fail(text: str) -> None:
    raise LookupError(text)


@task(takes_context=True)
def look(context: TaskContext) -> list[Any]:
    return [context.attempt, context.task_result.id, str(context.task_result.status)]


@task
def until(key: str) -> str:
    admin = redis.Redis.from_url(os.environ["ADMIN_URL"])
    while not admin.exists(key):
        time.sleep(0.005)
    admin.close()
    return key


@task
def opaque() -> object:
    return object()
