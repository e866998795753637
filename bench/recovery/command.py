"""Options, rounds, the table."""

import argparse
import math
import os
import statistics
import time
from functools import partial
from typing import NamedTuple

from contenders import Missing
from part import Part, argument_parser
from recovery import fleets, kills
from recovery.ears import Ears


class Kind(NamedTuple):
    """A row of the table: a fleet, its workers, kills a round (one by one, or spread over a time), the goal in ms."""

    about: str
    fleet: object
    given: dict
    workers: int
    kills: int
    over_s: float | None
    goal_ms: float | None = None
    patience_s: float = 30


# A second is what somebody may dare whose handlers never hold up their event loop for as long; 100 ms nobody should.
SECOND, TENTH = ({"lockDuration": ms, "stalledInterval": ms} for ms in (1000, 100))
# Kills of the last three are spread over one interval of the check, so that they meet every moment of it.
KINDS = {
    "rust": Kind("Tempest, supervised, Rust", fleets.Supervised, {"command": fleets.rust}, 4, 20, None, 10),
    "python": Kind("Tempest, supervised, Python", fleets.Supervised, {"command": fleets.python}, 4, 20, None, 10),
    "rust-alone": Kind("Tempest, no supervisor, Rust", fleets.Alone, {"command": fleets.rust}, 16, 8, 3, 7000),
    "python-alone": Kind("Tempest, no supervisor, Python", fleets.Alone, {"command": fleets.python}, 16, 8, 3, 7000),
    "bullmq": Kind("BullMQ, as it comes: 30 s", fleets.BullMQ, {"options": {}}, 10, 5, 30, None, 120),
    "bullmq-1s": Kind("BullMQ, lock and check each 1 s", fleets.BullMQ, {"options": SECOND}, 16, 8, 1),
    "bullmq-100ms": Kind("BullMQ, lock and check each 100 ms", fleets.BullMQ, {"options": TENTH}, 16, 8, 0.1),
}
SMOKE = {
    "rust": KINDS["rust"]._replace(workers=2, kills=2),
    "python": KINDS["python"]._replace(workers=2, kills=2),
    "rust-alone": KINDS["rust-alone"]._replace(workers=2, kills=1, over_s=0),
    "bullmq-1s": KINDS["bullmq-1s"]._replace(workers=2, kills=1, over_s=0),
}


def main(about):
    options = arguments(about)
    kinds = SMOKE if options.smoke else {key: KINDS[key] for key in options.only}
    part, found = Part(), {key: [] for key in kinds}
    for number in range(1 if options.smoke else options.rounds):
        # There and back again, so that nobody is always first.
        for key in list(kinds) if number % 2 == 0 else reversed(kinds):
            play(part, found[key], kinds[key], options)
    tell(part, kinds, found, judged=not options.smoke)
    return part.finish(options.json)


def arguments(about):
    parser = argument_parser(about)
    parser.add_argument("--only", type=_kinds, default=list(KINDS), help=f"some of {','.join(KINDS)} [all]")
    parser.add_argument("--rounds", type=int, default=2, help="how often each fleet is started [2]")
    parser.add_argument("--smoke", action="store_true", help="a kill or two of some; judges no figure")
    return parser.parse_args()


def _kinds(text):
    keys = text.split(",")
    if unknown := [key for key in keys if key not in KINDS]:
        raise argparse.ArgumentTypeError(f"no kind named {unknown[0]}")
    return keys


def play(part, found, kind, options):
    """One round of one kind."""
    kill = kills.one_by_one if kind.over_s is None else partial(kills.at_once, over_s=kind.over_s)
    try:
        with Ears() as ears, fleets.running(kind.fleet, options.bin, ears, kind.workers, **kind.given) as fleet:
            time.sleep(0 if options.smoke else fleet.settle_s)
            found.append(kill(fleet, ears, kind.kills, patience_s=kind.patience_s))
            print(f"{kind.about}: {' '.join(f'{ms:.1f}' for ms in found[-1].waited_ms)} ms", flush=True)
    except Missing as missing:
        if options.smoke:
            print(f"skipped: {kind.about}: {missing}")
        else:
            part.fail(f"{kind.about}: {missing}")
    except (RuntimeError, AssertionError) as error:
        part.fail(f"{kind.about}: {error}")


def tell(part, kinds, found, judged):
    """The table, the goals, and what somebody must know."""
    rows = []
    for key, rounds in found.items():
        waited_ms = sorted(ms for outcome in rounds for ms in outcome.waited_ms)
        part.raw[key] = waited_ms
        if not waited_ms:
            continue
        kind, early = kinds[key], sum(outcome.early for outcome in rounds)
        figures = (statistics.median(waited_ms), waited_ms[math.ceil(len(waited_ms) * 0.95) - 1], waited_ms[-1])
        rows.append([kind.about, len(waited_ms), *(f"{figure:.1f}" for figure in figures)])
        if judged and kind.goal_ms:
            part.goal(f"{kind.about}: median in ms, below {kind.goal_ms}", figures[0], kind.goal_ms, at_least=False)
        if early:
            part.note(f"{kind.about}: {early} jobs began again although their worker lived; they have no time")
    part.table("worker killed -> its job begins in another, ms", ["", "kills", "median", "p95", "most"], rows)
    part.note(f"load of the machine at the end: {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors")
