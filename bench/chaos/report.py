"""What a run says of itself: for people, as JSON, and as a dated page."""

import json
from dataclasses import asdict, dataclass, field

from chaos import recovery
from chaos.memory import by_name

SHOWN_MAX = 20


@dataclass
class Result:
    """All that was found. A run has passed when ``mistakes`` is empty."""

    wish: object
    fsync: str
    again: str
    took_s: float
    account: object
    strikes: dict
    missed: dict
    not_started: dict
    waits: dict
    lives: list
    starts: dict
    disorder: list = field(default_factory=list)

    @property
    def mistakes(self):
        """Why the run has failed, a line each."""
        account = self.account
        return [
            *(f"lost   {one}" for one in account.lost),
            *(f"wrong  {one}" for one in account.wrong),
            *(f"memory {life.name} {life.pid} grew by {life.growth / (1 << 20):.0f} MiB" for life in self._growing()),
            *(f"order  {one}" for one in self.disorder),
            *self._idle(),
        ]

    def _growing(self):
        return [life for life in self.lives if life.is_long and not life.is_flat]

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
        "",
        *_columns("faults", result.strikes),
        *_columns("faults that found nobody", result.missed),
        *_columns("found no Redis at their start, and were started again", result.not_started),
        *_columns(f"{account.ids} ids", account.outcomes),
        *_columns("of these", account.notes),
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


def _recoveries(waits):
    lines = ["worker killed in the middle of a job -> job started elsewhere:"]
    for how, found in sorted(waits.items()):
        about, buckets = recovery.summary(found), recovery.histogram(found)
        shown = "  ".join(f"{name}: {count}" for name, count in buckets.items())
        median, longest = about["median_ms"], about["max_ms"]
        lines.append(f"  {how:10} {about['count']:4} times, median {median:.0f} ms, longest {longest} ms;  {shown}")
    return [*lines, ""]


def _memory(lives):
    lines = ["memory, MiB (growth: last quarter of a life beside its second):"]
    for name, about in sorted(by_name(lives).items()):
        growth = (
            f"largest growth {about['growth_mib']:.1f} of {about['judged']}" if about["judged"] else "none lived long"
        )
        lines.append(f"  {name:13} {about['lives']:4} lives, at most {about['max_mib']:6.1f}; {growth}")
    return [*lines, ""]


def as_json(result):
    """The report for programs."""
    account = result.account
    about = {
        "wish": asdict(result.wish),
        "fsync": result.fsync,
        "again": result.again,
        "took_s": round(result.took_s, 1),
        "ids": account.ids,
        "outcomes": account.outcomes,
        "notes": account.notes,
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
