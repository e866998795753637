"""Pushes and claims with very many jobs waiting, beside those with a few."""

import statistics

from jobs.rates import started

SHALLOW = 100
# Two runs of the same differ by so much: what is within it is no slower.
NOISE = 0.95
STEPS = ("push", "claim", "ack")


def measure(part, options):
    """Rounds in alternating order; the same programs at both depths."""
    deep, turns, seconds, rounds = sizes(options)
    found = {SHALLOW: [], deep: []}
    for number in range(rounds):
        for depth in sorted(found, reverse=number % 2 == 1):
            found[depth].append(once(options.bin, depth, turns, seconds))
            print(f"{depth:,} waiting: {shown(found[depth][-1])}", flush=True)
    part.raw["depth"] = found
    tell(part, found, deep, not options.smoke)


def sizes(options):
    """How deep, turns of one at a time, seconds of a worker, rounds."""
    if options.smoke:
        return 1000, 200, 0.3, 1
    return (200_000, 3000, 2, 2) if options.quick else (1_000_000, 20_000, 5, 3)


def once(binaries, depth, turns, seconds):
    """One run at a depth: one after the other, then a worker with many slots."""
    given = {
        "deep": ["--depth", depth, "--turns", turns],
        "steady": ["--depth", depth, "--slots", 64, "--seconds", seconds],
    }
    found = {}
    for command, words in given.items():
        with started("rust", binaries) as system:
            program = [system.ground.built("bench-jobs"), command, *words]
            found[command] = system.finished(program, system.environment())
    return found


def shown(found):
    """A line about one run."""
    steps = ", ".join(f"{step} {found['deep'][step]['p50_us']:.0f} µs" for step in STEPS)
    return f"{steps}, a worker {found['steady']['rate']:,.0f}/s"


def medians(runs):
    """Of the runs at one depth: rates a second, and times in µs, by name."""
    found = {
        f"{step}, {name}": [run["deep"][step][name] for run in runs]
        for step in STEPS
        for name in ("rate", "p50_us", "p99_us")
    }
    found["worker, rate"] = [run["steady"]["rate"] for run in runs]
    return {name: statistics.median(values) for name, values in found.items()}


def tell(part, found, deep, judged):
    """The table and the goals."""
    few, many = medians(found[SHALLOW]), medians(found[deep])
    rows = [[name, f"{few[name]:,.0f}", f"{many[name]:,.0f}", f"{many[name] / few[name]:.2f}"] for name in few]
    part.table(f"{deep:,} jobs waiting beside {SHALLOW}, medians", ["", f"{SHALLOW}", f"{deep:,}", "ratio"], rows)
    if judged:
        for name in ("push, rate", "claim, rate", "worker, rate"):
            part.goal(f"{deep:,} waiting / {SHALLOW}: {name}, at least {NOISE}", many[name] / few[name], NOISE)
