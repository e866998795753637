"""Options, the parts, the page."""

import argparse
import datetime
import json
import os
import pathlib
import shlex
import sys

from contenders import Ground, Missing
from jobs import depth, due, memory, rates
from jobs.systems import ALL, BULLMQ
from page import machine, module_version, page
from part import Part, argument_parser
from stage import ROOT, Programs

PARTS = ("rates", "depth", "due", "memory")
# Systems as they are named on the command line; what comes with them.
WITH = {"celery": ("celery", "celery-early"), "rq": ("rq", "rq-fork")}
SYSTEMS = ("rust", "python", "bullmq", "celery", "rq")


def main(about):
    """Gives the exit code."""
    options, part = arguments(about), Part()
    on = machine(
        node=["node", "--version"],
        bullmq=["node", "-p", f"require('{BULLMQ}/node_modules/bullmq/package.json').version"],
        celery=module_version("celery"),
        rq=module_version("rq"),
    )
    families = there(part, [family for name in options.systems for family in WITH.get(name, (name,))], options)
    run = {
        "rates": lambda: rates.measure(part, families, options),
        "depth": lambda: depth.measure(part, options),
        "due": lambda: due.measure(part, options),
        "memory": lambda: memory.measure(part, families, options),
    }
    for name in options.only:
        try:
            run[name]()
        except (RuntimeError, AssertionError, Missing) as error:
            part.fail(f"{name}: {error}")
    part.note(f"load of the machine at the end: {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors")
    if not options.smoke:
        write(part, on, options)
    return part.finish(options.json)


def there(part, families, options):
    """Those that can run here. What the others miss fails the run, but not a smoke run without one of the peers."""
    found = []
    with Programs() as programs:
        ground = Ground(programs, options.bin, 1)
        for family in families:
            try:
                ALL[family].check(ground)
                found.append(family)
            except Missing as missing:
                if options.smoke and family != "rust":
                    print(f"skipped: {ALL[family].about}: {missing}", flush=True)
                else:
                    part.fail(f"{ALL[family].about}: {missing}")
    return found


def arguments(about):
    """The options of the command line."""
    parser = argument_parser(about)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="fewer jobs and rounds: a few minutes")
    length.add_argument("--smoke", action="store_true", help="only whether all works: figures mean nothing")
    parser.add_argument("--only", type=_some_of(PARTS), default=PARTS, help="parts, separated by commas [all]")
    parser.add_argument("--systems", type=_some_of(SYSTEMS), default=SYSTEMS, help="systems, separated by commas [all]")
    parser.add_argument("--rounds", type=int, help="of the part rates [5, quick: 2]")
    parser.add_argument("--out", type=pathlib.Path, help="where the page is written [bench/results, else target/bench]")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    return options


def _some_of(known):
    def some(text):
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {unknown[0]}, only {', '.join(known)}")
        return names

    return some


def write(part, on, options):
    """The page and the figures."""
    is_whole = not options.quick and options.only is PARTS and options.systems is SYSTEMS
    out = options.out or ROOT / ("bench/results" if is_whole else "target/bench")
    out.mkdir(parents=True, exist_ok=True)
    date = datetime.date.today().isoformat()
    found = {name: getattr(part, name) for name in ("tables", "goals", "notes", "failures", "raw")}
    command = shlex.join(["bench/jobs/run", *sys.argv[1:]])
    text = page(f"Background jobs, {date}", command, on, {"Figures": found})
    (out / f"{date}-jobs.md").write_text(text)
    figures = {"date": date, "machine": on, **found}
    (out / f"{date}-jobs.json").write_text(json.dumps(figures, separators=(",", ":")) + "\n")
    print(f"\nwritten: {out / f'{date}-jobs.md'}")
