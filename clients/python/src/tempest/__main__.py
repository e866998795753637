"""``python -m tempest MODULE:WORKER`` runs a worker that a module defines."""

from __future__ import annotations

import argparse
import importlib
import sys

from .worker import Worker


def main(arguments: list[str] | None = None) -> None:
    """Finds the worker and runs it; a mistake ends the process with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m tempest",
        description="Runs a worker. Environment: TEMPEST_REDIS_URL, TEMPEST_PREFIX, TEMPEST_QUEUE, TEMPEST_LANES, "
        "TEMPEST_CONCURRENCY, TEMPEST_TOPIC_PREFIX.",
    )
    parser.add_argument("worker", metavar="MODULE:WORKER", help="for example hello:worker for `worker` in hello.py")
    module_name, _, name = parser.parse_args(arguments).worker.partition(":")
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        sys.exit(f"tempest: no module {module_name} here; run this in the folder of {module_name}.py")
    worker = getattr(module, name or "worker", None)
    if not isinstance(worker, Worker):
        sys.exit(f"tempest: {module_name} has no Worker named {name or 'worker'}")
    worker.run()


if __name__ == "__main__":
    main()
