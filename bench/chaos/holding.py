"""Who held a unique key, and when: two at a time are wrong.

The rule of protocol/SPEC.md: from its push on a job holds its key until it is done or dead, whatever happens to its
workers meanwhile: what is recovered or tried again holds it still. It has let go when its *last* attempt ended, or
when it was put into ``dead``; an earlier attempt that a stopped worker goes on with holds nothing. With ``queued`` it
lets go when a worker starts it, which nobody writes down who is killed with the next instruction. This much is sure:

- it holds the key no later than its push was answered, or it was started;
- it holds it at least until its last attempt wrote its end, or until it died; with ``queued``, if it is delayed,
  until it was due.

These spans of two jobs of one key never meet. Who was told that another one holds the key never runs, and that other
one is a job that had it.
"""

import itertools

# By how much the clocks of those who write when a job died differ.
CLOCK_MS = 1_000


def judge(cases):
    """Which jobs held a key together, a line each."""
    keys = {}
    for case in cases.values():
        if case.order.unique and span(case):
            keys.setdefault((case.order.queue, case.order.unique), []).append(case)
    for (_, key), holders in keys.items():
        for one, other in itertools.combinations(holders, 2):
            (begin, end), (other_begin, other_end) = span(one), span(other)
            if max(begin, other_begin) < min(end, other_end):
                spans = f"{begin} to {end} and {other_begin} to {other_end}"
                yield f"{one.order.id} and {other.order.id} held {key} together, from {spans}"
    yield from _judge_refusals(cases)


def _judge_refusals(cases):
    for case in cases.values():
        if case.ended is None or case.ended.how != "not_unique":
            continue
        holder = cases.get(case.ended.body)
        has_held = holder and holder.order.unique == case.order.unique and holder.ended.how in ("pushed", "unknown")
        if not has_held:
            yield f"{case.order.id}: told that {case.ended.body or 'nobody'} holds {case.order.unique}, which never did"


def span(case):
    """From when to when a job is sure to have held its key, in milliseconds; none if it is not sure that it did."""
    begins = [case.starts[0].ms] if case.starts else []
    if case.ended and case.ended.how == "pushed":
        begins.append(case.ended.to_ms)
    end = _end(case)
    return (min(begins), end) if begins and end is not None and min(begins) < end else None


def _end(case):
    if case.order.unique_while == "queued":
        return case.due_ms - CLOCK_MS if case.due_ms else None
    if case.dead:
        return min(dead.died_ms for dead in case.dead) - CLOCK_MS
    last = max((start.attempt for start in case.starts), default=0)
    ends = [end.ms for end in case.ends if end.attempt == last]
    return min(ends, default=None)
