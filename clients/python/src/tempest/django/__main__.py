"""``python -m tempest.django`` runs the tasks of a Django project, which ``DJANGO_SETTINGS_MODULE`` names."""

from __future__ import annotations

import argparse
import sys

import django

from .running import worker_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said."""
    parser.add_argument("--backend", default="default", help="which of TASKS (default)")
    parser.add_argument("--queue", action="append", default=[], help="a queue; may be repeated (all of the backend)")
    parser.add_argument("--concurrency", type=int, help="tasks at once, in threads (TEMPEST_CONCURRENCY, else 1)")


def main() -> None:
    """Sets the project up and runs until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tempest.django", description="Runs the tasks of a Django project.")
    arguments(parser)
    given = parser.parse_args()
    sys.path.insert(0, "")
    django.setup()
    worker_of(given.backend, queues=tuple(given.queue), concurrency=given.concurrency).run()


if __name__ == "__main__":
    main()
