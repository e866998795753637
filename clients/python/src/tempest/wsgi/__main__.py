"""``python -m tempest.wsgi module:app`` serves a WSGI application."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import NoReturn

from ..errors import SetupError
from ..limits import GRACE_S, RUN_MAX_S
from ..presence import VERSION
from .lead import Lead
from .load import load
from .plan import PROCESSES_MAX, Plan
from .serving import set_up_log

_ABOUT = """Serves a WSGI application as workers. What is not said here is as the environment says: TEMPEST_REDIS_URL,
TEMPEST_PREFIX, TEMPEST_QUEUE, TEMPEST_LANES, TEMPEST_CONCURRENCY (threads), TEMPEST_TOPIC_PREFIX, SCRIPT_NAME."""
_AFTER = """SIGTERM and SIGINT drain, a second one ends all at once. SIGHUP loads the application anew: new processes
take over when they serve; when it cannot be loaded the old ones go on."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other mistake."""
        self.exit(2, f"tempest: {message} (see {self.prog} --help)\n")


def _number(least: int, most: int, text: str) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
        raise argparse.ArgumentTypeError(f"a whole number of {least} to {most}, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1_000_000:
        raise argparse.ArgumentTypeError(f"seconds from 0, not {text!r}")
    return seconds


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m tempest.wsgi", description=_ABOUT, epilog=_AFTER)
    add = parser.add_argument
    add("app", metavar="MODULE:APP", help="an application, MODULE:FACTORY() that gives one, or MODULE:application")
    add("--queue", type=_words, action="extend", metavar="NAMES", help="queues, with commas (default)")
    add("--lanes", type=_words, metavar="NAMES", help="lanes, the first served first: high,normal,low (normal)")
    add("--processes", type=partial(_number, 1, PROCESSES_MAX), default=1, metavar="N", help="processes (1)")
    add("--threads", type=partial(_number, 1, 1000), metavar="N", help="requests at once in each process (1)")
    add("--redis-url", metavar="URL", help="where Redis is (redis://127.0.0.1:6379)")
    add("--prefix", metavar="NAME", help="what all keys begin with (tempest)")
    add("--topic-prefix", metavar="TEXT", help="stands before every topic")
    add("--action", default="url", metavar="NAME", help="the action to serve, if a route names another one (url)")
    add("--script-name", metavar="PATH", help="where the application is mounted, such as /shop")
    add("--chdir", metavar="FOLDER", help="go there first; modules are found there")
    preload = "load the application once, before the processes are made (the default); without it each loads it"
    add("--preload", action=argparse.BooleanOptionalAction, default=True, help=preload)
    add("--reload", action="store_true", help="load the application anew when a file of it changes; for development")
    add("--run-max-s", type=_seconds, default=RUN_MAX_S, metavar="S", help=f"longest a request may run ({RUN_MAX_S:g})")
    add("--grace-s", type=_seconds, default=GRACE_S, metavar="S", help=f"how long a drain waits ({GRACE_S:g})")
    add("--version", action="version", version=f"tempest {VERSION}")
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    script_name = os.environ.get("SCRIPT_NAME", "") if given.script_name is None else given.script_name
    return Plan(
        partial(load, given.app),
        queues=given.queue or (),
        processes=given.processes,
        threads=given.threads,
        url=given.redis_url,
        prefix=given.prefix,
        topic_prefix=given.topic_prefix,
        lanes=given.lanes,
        action=given.action,
        script_name=script_name.rstrip("/"),
        run_max_s=given.run_max_s,
        grace_s=given.grace_s,
        preload=given.preload,
        reload=given.reload,
    )


def main(arguments: list[str] | None = None) -> None:
    """Serves what the arguments name; a mistake ends the process with one line."""
    given = _parser().parse_args(arguments)
    try:
        if given.chdir is not None:
            os.chdir(given.chdir)
    except OSError as error:
        sys.exit(f"tempest: cannot go to {given.chdir}: {error.strerror}")
    sys.path.insert(0, os.getcwd())
    if given.reload:
        sys.dont_write_bytecode = True  # its stamp is a second: a file saved twice within one would not be seen
    set_up_log()
    plan = _plan(given)
    try:
        plan.check()
    except SetupError as error:
        sys.exit(f"tempest: {error.detail}")
    sys.exit(Lead(plan).run())


if __name__ == "__main__":
    main()
