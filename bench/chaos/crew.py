"""Who there is in a run, by name: fronts, supervisors, and workers in five languages; and how each is configured.

``up`` is a supervisor with a front in it, ``front`` another front, and some workers have nobody who looks after them.
All of them are killed again and again. What hangs on ``spared`` is not: it meets every other fault, and lives from the
first second of a run to its last, so that its memory has time to grow.
"""

import os
from pathlib import Path

from stage import ROOT

WORKERS = Path(__file__).resolve().parent / "workers"
REQUEST_TIMEOUT_MS = 15_000

UP, FRONT, SPARED = "up", "front", "spared"
# Requests name a front by its place.
FRONTS = (UP, FRONT, SPARED)

SDK, PLAIN = "sdk", "plain"
PROGRAMS = {
    "rust": (SDK, ["chaos-worker"]),
    "python": (SDK, ["python", WORKERS / "sdk.py"]),
    "ruby": (PLAIN, ["ruby", WORKERS / "ruby.rb"]),
    "node": (PLAIN, ["node", WORKERS / "node.js"]),
    "sh": (PLAIN, ["sh", WORKERS / "plain.sh"]),
}
# How many jobs those take at a time that take several; they claim from every lane.
SLOTS = {"rust": 3, "python": 2, "rust-spared": 3, "python-spared": 2}
# By supervisor: the names of its workers, and how many there are of each.
SUPERVISED = {
    UP: {"rust": 2, "python": 2, "ruby": 2, "node": 1, "sh": 1},
    SPARED: {f"{language}-spared": 1 for language in PROGRAMS},
}
ALONE = ("rust-alone", "python-alone", "ruby-alone")
KILLED = (*SUPERVISED[UP], *ALONE)
NAMES = (*KILLED, *SUPERVISED[SPARED])
# Everything whose one life lasts as long as the run.
LASTING = (SPARED, *SUPERVISED[SPARED])
COUNT = sum(sum(counts.values()) for counts in SUPERVISED.values()) + len(ALONE)


def program(name):
    """Queue and command of a worker."""
    return PROGRAMS[name.partition("-")[0]]


def environment(name, evidence):
    """What a worker of the ledger is told besides where Redis is."""
    modules = ROOT / "examples/hello/node/node_modules"
    slots = {"TEMPEST_CONCURRENCY": str(SLOTS[name])} if name in SLOTS else {}
    return {"CHAOS_EVIDENCE": str(evidence), "CHAOS_WORKER": name, "NODE_PATH": str(modules), **slots}


def config(supervisor, port, redis_url, evidence):
    """The tempest.toml of a supervisor, and of a front that has the same routes."""
    routes = (
        '[[route]]\npath = "/sdk/{*rest}"\nqueue = "sdk"\nencoding = "msgpack"\n'
        '[[route]]\npath = "/plain/{*rest}"\nqueue = "plain"\n'
    )
    workers = "".join(_worker(name, count, evidence) for name, count in SUPERVISED[supervisor].items())
    return (
        f'[front]\nlisten = "127.0.0.1:{port}"\ntimeout_ms = {REQUEST_TIMEOUT_MS}\n'
        f'[admin]\nlisten = ""\n[redis]\nurl = "{redis_url}"\n[log]\naccess = "off"\n{routes}{workers}'
    )


def _worker(name, count, evidence):
    queue, command = program(name)
    return (
        f'[[worker]]\nname = "{name}"\ncount = {count}\nqueues = ["{queue}"]\n'
        f"lanes = {['high', 'normal', 'low'] if name in SLOTS else ['normal']}\n"
        f"command = {[os.fspath(word) for word in command]}\nenv = {{ {_toml(environment(name, evidence))} }}\n"
    )


def _toml(pairs):
    return ", ".join(f'{key} = "{value}"' for key, value in pairs.items())
