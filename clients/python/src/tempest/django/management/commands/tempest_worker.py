"""``manage.py tempest_worker`` runs the tasks of this project."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ...__main__ import arguments
from ...running import worker_of


class Command(BaseCommand):  # type: ignore[misc]
    """The same as ``python -m tempest.django``."""

    help = "Runs the tasks of this project until it is told to stop."

    def add_arguments(self, parser: Any) -> None:
        """What may be said."""
        arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Runs the worker."""
        worker_of(options["backend"], queues=tuple(options["queue"]), concurrency=options["concurrency"]).run()
