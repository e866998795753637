"""What a round comes to. Pure: lists of requests in, figures out."""

import math
from collections import Counter

REFUSED = 503
GOOD = 200


def percentile(values, percent):
    """The value that so many percent do not exceed; none of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def is_good(one, deadline_s):
    """Answered, and in time."""
    return one.status == GOOD and one.took_s <= deadline_s


def goodput(asked, deadline_s, from_s, to_s):
    """Good answers per second of this time, each counted when it came: what was due in it and answered later is not of
    it."""
    good = sum(from_s <= one.ended_s < to_s and is_good(one, deadline_s) for one in asked)
    return good / (to_s - from_s)


def worst(asked, deadline_s, from_s, to_s, window_s=1.0):
    """The goodput of the worst of the windows that fill this time."""
    count = max(1, int((to_s - from_s) / window_s))
    begins = [from_s + number * window_s for number in range(count)]
    return min(goodput(asked, deadline_s, begin, begin + window_s) for begin in begins)


def account(asked, deadline_s, seconds):
    """The figures of a round that lasted so long: rates per second, times in milliseconds."""
    refused = [one.took_s * 1e3 for one in asked if one.status == REFUSED]
    accepted = [one.took_s * 1e3 for one in asked if one.status != REFUSED]
    late = [(one.sent_s - one.due_s) * 1e3 for one in asked]
    return {
        "offered": len(asked) / seconds,
        "goodput": goodput(asked, deadline_s, 0, seconds),
        "worst": worst(asked, deadline_s, 1, seconds) if seconds >= 2 else math.nan,
        "accepted": len(accepted),
        "accepted_ms": {percent: percentile(accepted, percent) for percent in (50, 99, 100)},
        "refused": len(refused),
        "refused_ms": {percent: percentile(refused, percent) for percent in (50, 99, 100)},
        "sent_late_ms": {percent: percentile(late, percent) for percent in (50, 99, 100)},
        "answered": sum(one.status == GOOD for one in asked),
        "ends": dict(Counter(f"{one.status} {one.code}".removesuffix(" -") for one in asked)),
        "unanswered": sum(one.status == 0 for one in asked),
    }


def recovered_s(asked, deadline_s, since_s):
    """How long after this time the last request was due that was not served well; 0 if all were."""
    bad = [one.due_s - since_s for one in asked if one.due_s >= since_s and not is_good(one, deadline_s)]
    return max(bad, default=0.0)


def settled_s(asked, since_s, as_before_ms, window_s=0.1):
    """How long after this time those who are answered wait no longer than this in the median, from then on; none if
    never."""
    windows = {}
    for one in asked:
        if one.due_s >= since_s and one.status == GOOD:
            windows.setdefault(int((one.due_s - since_s) / window_s), []).append(one.took_s * 1e3)
    slow = [number for number, took in windows.items() if percentile(took, 50) > as_before_ms]
    if slow and max(slow) == max(windows):
        return math.nan
    return (max(slow) + 1) * window_s if slow else 0.0
