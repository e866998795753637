"""Jobs drained and enqueued per second."""

import contextlib
import statistics
import time

import redis as client

from contenders import Ground
from jobs.systems import ALL
from stage import Programs, free_ports

# How often is looked how many are left: each look costs Redis some microseconds.
LOOK_S = 0.01
PATIENCE_S = 180
# How often each setting is tried before the rounds that count.
TRIES = 2
BESIDE = {"rust": ("bullmq", "celery"), "python": ("celery", "rq")}


@contextlib.contextmanager
def started(family, binaries):
    """A system with a Redis of its own for the time of a block."""
    with Programs() as programs:
        ground = Ground(programs, binaries, 1)
        ALL[family].check(ground)
        (port,) = free_ports(1)
        ground.redis(port)
        with contextlib.closing(client.Redis(port=port, socket_timeout=30)) as redis:
            yield ALL[family](ground, redis, port)


def filled(system, way, jobs):
    """Jobs enqueued per second. The queue holds them afterwards."""
    seconds = system.fill(way, jobs)
    if (there := system.left()) != jobs:
        raise RuntimeError(f"{there} of {jobs} jobs are in the queue")
    return jobs / seconds


def drained(system, way, jobs):
    """Jobs drained per second, by a worker that is started on the full queue; its start does not count."""
    samples, end = [(time.monotonic(), jobs)], time.monotonic() + PATIENCE_S
    with system.work(way) as worker:
        while samples[-1][1]:
            samples.append((time.monotonic(), system.left()))
            worker.check()
            if time.monotonic() > end:
                raise RuntimeError(
                    f"{samples[-1][1]} of {jobs} jobs are left after {PATIENCE_S} s: {worker.said()[-300:]}"
                )
            time.sleep(LOOK_S)
        if (ran := worker.end()) != jobs:
            raise RuntimeError(f"{ran} jobs were run, not {jobs}")
    return rate(samples, jobs)


def rate(samples, jobs):
    """Of looks (when, how many were left): from the first at which some were done to that at which all were."""
    ended = next(at for at, left in samples if left == 0)
    begun, left = next((at, left) for at, left in samples if left < jobs)
    if ended == begun:  # it was faster than that: it began after the look before
        begun, left = max((at, left) for at, left in samples if left == jobs)
    return left / (ended - begun)


def once(part, binaries, family, drain, fill, jobs):
    """Both rates of one round; none where it failed."""
    try:
        with started(family, binaries) as system:
            rates = filled(system, fill, jobs), drained(system, drain, jobs)
    except RuntimeError as error:
        return part.fail(f"{ALL[family].about}, {drain.about}: {error}")
    print(f"{ALL[family].about}, {drain.about}: {rates[1]:,.0f}/s; {fill.about}: {rates[0]:,.0f}/s", flush=True)
    return rates


class Choice:
    """The ways of each system that were the fastest in a first round."""

    def __init__(self, part, families, options):
        self.part, self.options, self.rows = part, options, []
        self.ways = {family: self._best(ALL[family]) for family in families}

    def _best(self, kind):
        if self.options.smoke:
            return kind.drains[0], kind.fills[0]
        drain = max(kind.drains, key=lambda way: self._tried(kind, way, f"drained, {way.about}", self._drained))
        return drain, max(kind.fills, key=lambda way: self._tried(kind, way, f"enqueued, {way.about}", self._filled))

    def _tried(self, kind, way, about, once):
        """The best of some tries: what runs beside them makes a try slower, never faster."""
        best = max(once(kind, way, share(kind, self.options, 2)) for _ in range(1 if self.options.quick else TRIES))
        self.rows.append([kind.about, about, f"{best:,.0f}"])
        return best

    def _drained(self, kind, way, jobs):
        found = once(self.part, self.options.bin, kind.family, way, kind.fills[0], jobs)
        return found[1] if found else 0

    def _filled(self, kind, way, jobs):
        with started(kind.family, self.options.bin) as system:
            return filled(system, way, jobs)


def share(kind, options, parts=1):
    """How many jobs a round of this run has."""
    if options.smoke:
        return max(kind.jobs // 100, 50)
    return max(kind.jobs // parts // (4 if options.quick else 1), 100)


def measure(part, families, options):
    """Chooses, plays the rounds there and back again, tells."""
    choice = Choice(part, families, options)
    if choice.rows:
        part.table("settings that were tried, half as many jobs", ["", "", "jobs/s"], choice.rows)
    found = {family: [] for family in families}
    for number in range(1 if options.smoke else options.rounds):
        for family in families if number % 2 == 0 else reversed(families):
            rates = once(part, options.bin, family, *choice.ways[family], share(ALL[family], options))
            found[family] += [rates] if rates else []
    part.raw["rates"] = {family: {"enqueued/s, drained/s": rounds} for family, rounds in found.items()}
    tell(part, {family: rounds for family, rounds in found.items() if rounds}, choice.ways, not options.smoke)


def tell(part, found, ways, judged):
    """Tables and goals."""
    medians = {}
    for place, what in ((1, "drained"), (0, "enqueued")):
        rows = []
        for family, rounds in found.items():
            rates = [each[place] for each in rounds]
            medians[what, family] = statistics.median(rates)
            spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
            rows.append([ALL[family].about, ways[family][1 - place].about, f"{statistics.median(rates):,.0f}", spread])
        part.table(
            f"{what} per second, median of {max(map(len, found.values()), default=0)} rounds",
            ["", "", "jobs/s", "least to most"],
            rows,
        )
    if judged:
        judge(part, medians)


def judge(part, medians):
    """The goals, as far as what they speak of was measured."""
    for what, limit in (("drained", 50_000), ("enqueued", 100_000)):
        if (what, "rust") in medians:
            part.goal(f"Rust: jobs {what} a second, at least {limit:,}", medians[what, "rust"], limit)
    for ours, others in BESIDE.items():
        for other in others:
            pair = medians.get(("drained", ours)), medians.get(("drained", other))
            if all(pair):
                part.goal(f"drained: {ALL[ours].about} / {ALL[other].about}, at least 3", pair[0] / pair[1], 3)
