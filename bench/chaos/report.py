"""What a run says of itself: for people, as JSON, and as a dated page."""

import json
from dataclasses import asdict, dataclass, field
from statistics import median

from chaos import recovery
from chaos.memory import GROWTH_BYTES_MAX, GROWTH_SHARE_MAX, MIB, by_name
from chaos.memory import mistakes as memory_mistakes

SHOWN_MAX = 20


@dataclass
class Result:
    """All that was found. A run has passed when ``mistakes`` is empty."""

    wish: object
    fsync: str
    again: str
    took_s: float
    # By how much the run itself was late at most, on a busy machine.
    late_s: float
    account: object
    strikes: dict
    missed: dict
    not_started: dict
    waits: dict
    lives: list
    # Who was to live as long as there were faults.
    lasting: tuple
    starts: dict
    disorder: list = field(default_factory=list)

    @property
    def mistakes(self):
        """Why the run has failed, a line each."""
        account = self.account
        return [
            *(f"lost   {one}" for one in account.lost),
            *(f"wrong  {one}" for one in account.wrong),
            *(f"memory {one}" for one in memory_mistakes(self.lives, self.lasting, self.wish.seconds)),
            *(f"order  {one}" for one in self.disorder),
            *self._idle(),
        ]

    def _idle(self):
        """A run in which little happened shows little."""
        outcomes = self.account.outcomes
        good = outcomes["request answered"] + outcomes["job done"]
        if good < self.account.ids / 4:
            yield f"idle   only {good} of {self.account.ids} were answered or done"
        for name, count in self.starts.items():
            if not count:
                yield f"idle   {name} started nothing"
        if sum(self.missed.values()) > sum(self.strikes.values()) / 4:
            yield f"idle   {sum(self.missed.values())} faults found nobody to hit"


def text(result):
    """The report for people."""
    account = result.account
    lines = [
        f"seed {result.wish.seed}, fsync {result.fsync}, {result.took_s:.0f} s in all; again: {result.again}",
        f"the run itself was late by {result.late_s * 1000:.0f} ms at most",
        "",
        *_columns("faults", result.strikes),
        *_columns("faults that found nobody", result.missed),
        *_columns("found no Redis at their start, and were started again", result.not_started),
        *_columns(f"{account.ids} ids", account.outcomes),
        *_columns("of these", account.notes),
        *_columns("background jobs that were not only pushed", account.kinds),
        *_late(account.late_ms),
        *(_forgotten(account.forgotten) if result.fsync != "always" else ()),
        *_columns("starts", result.starts),
        *_recoveries(result.waits),
        *_memory(result.lives),
        f"lost {len(account.lost)}, wrong {len(account.wrong)}",
    ]
    mistakes = result.mistakes
    lines += mistakes[:SHOWN_MAX]
    if len(mistakes) > SHOWN_MAX:
        lines.append(f"and {len(mistakes) - SHOWN_MAX} more")
    return "\n".join(lines)


def _columns(title, counts):
    if not counts:
        return []
    rows = [f"  {count:7}  {name}" for name, count in sorted(counts.items())]
    return [f"{title}:", *rows, ""]


def _late(milliseconds):
    """From when jobs were due to when they were started."""
    if not milliseconds:
        return []
    middle, last = median(milliseconds), max(milliseconds)
    earliest = min(milliseconds)
    return [f"started after they were due: median {middle:.0f} ms, the first {earliest} ms, the last {last} ms", ""]


def _recoveries(waits):
    lines = ["worker killed in the middle of a job -> job started elsewhere:"]
    for how, found in sorted(waits.items()):
        about, buckets = recovery.summary(found), recovery.histogram(found)
        shown = "  ".join(f"{name}: {count}" for name, count in buckets.items())
        median, longest = about["median_ms"], about["max_ms"]
        lines.append(f"  {how:10} {about['count']:4} times, median {median:.0f} ms, longest {longest} ms;  {shown}")
    return [*lines, ""]


def _memory(lives):
    limit = f"{GROWTH_BYTES_MAX / MIB:.0f} MiB or {GROWTH_SHARE_MAX:.0%}"
    lines = [f"memory, MiB (growth: median of the last third of a life beside that of its second; limit {limit}):"]
    for name, about in sorted(by_name(lives).items()):
        line = f"  {name:13} {about['lives']:4} lives, at most {about['max_mib']:6.1f}"
        if "judged" in about:
            worst = f"grew by {about['growth_mib']:+.1f} from {about['warm_mib']:.1f} in a life of {about['of_s']} s"
            line += f"; {about['judged']} long ones, the worst {worst}"
        lines.append(line)
    return [*lines, ""]


def _forgotten(forgotten):
    """What Redis took with it, as it may with this ``fsync``."""
    lines = [
        f"  {len(times):7}  {how}" + (f", known at most {max(times)} ms before Redis ended" if times else "")
        for how, times in sorted(forgotten.items())
    ]
    return ["with the last moments of Redis:", *lines, ""]


def as_json(result):
    """The report for programs."""
    account = result.account
    late = account.late_ms
    about = {
        "wish": asdict(result.wish),
        "fsync": result.fsync,
        "again": result.again,
        "took_s": round(result.took_s, 1),
        "late_ms_max": round(result.late_s * 1000),
        "ids": account.ids,
        "outcomes": account.outcomes,
        "notes": account.notes,
        "kinds": account.kinds,
        "late_ms": {"median": median(late), "first": min(late), "last": max(late)} if late else None,
        "forgotten_ms": account.forgotten,
        "lost": account.lost,
        "wrong": account.wrong,
        "faults": result.strikes,
        "missed": result.missed,
        "not_started": result.not_started,
        "starts": result.starts,
        "recovery_ms": {
            how: {**recovery.summary(found), "histogram": recovery.histogram(found)}
            for how, found in result.waits.items()
        },
        "memory": by_name(result.lives),
        "mistakes": result.mistakes,
    }
    return json.dumps(about, indent=1) + "\n"


def page(result, date, machine):
    """The report as a dated page of bench/results."""
    verdict = "passed" if not result.mistakes else "FAILED"
    return (
        f"# The ledger, {date}\n\n`{result.again}` on {machine}: **{verdict}**, {result.account.ids} ids, lost "
        f"{len(result.account.lost)}, wrong {len(result.account.wrong)}.\n\n"
        f"How to read it: [bench/chaos](../chaos/README.md).\n\n```\n{text(result)}\n```\n"
    )
