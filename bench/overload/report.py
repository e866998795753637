"""The goals and tables of what was found."""

import statistics

GOODPUT_MIN = 0.95
REFUSED_MS_MAX = 5.0


def median_of(rounds, *path):
    """The median over the rounds of a figure, named by its keys."""

    def figure(found):
        for key in path:
            found = found[key]
        return found

    return statistics.median(map(figure, rounds))


def share(found):
    """The goodput of each round as a share of the capacity found just before it; the median."""
    pairs = zip(found["rounds"], found["capacities"], strict=True)
    return statistics.median(figures["goodput"] / capacity for figures, capacity in pairs)


def round_line(key, found, number):
    """One line about a round, while it runs."""
    figures, capacity = found["rounds"][number], found["capacities"][number]
    return (
        f"{key}: capacity {capacity:,.0f}/s, offered {figures['offered']:,.0f}/s, goodput {figures['goodput']:,.0f}/s "
        f"({figures['goodput'] / capacity:.2f}, worst second {figures['worst'] / capacity:.2f}), accepted p99 "
        f"{figures['accepted_ms'][99]:.0f} ms, refused p99 {figures['refused_ms'][99]:.1f} ms, "
        f"wasted {figures['wasted']}, {figures['ends']}"
    )


def goals(part, name, deadline_ms, found):
    """What is to be reached."""
    of, rounds = f"{name}, deadline {deadline_ms} ms", found["rounds"]
    part.goal(f"{of}: goodput as a share of the capacity", round(share(found), 3), GOODPUT_MIN)
    p99 = median_of(rounds, "accepted_ms", 99)
    part.goal(f"{of}: p99 of the accepted, ms", round(p99, 1), deadline_ms, at_least=False)
    refused = median_of(rounds, "refused_ms", 99)
    part.goal(f"{of}: p99 of the time to a refusal, ms", round(refused, 2), REFUSED_MS_MAX, at_least=False)


def tables(part):
    """All that was found, in four tables; medians of the rounds."""
    kinds = {key: found for key, found in part.raw.items() if found["rounds"]}
    columns = ["worker, deadline ms", "capacity/s", "offered/s", "goodput/s", "share", "worst second"]
    columns += ["accepted p50", "p99", "max"]
    part.table("At twice the capacity; accepted: ms", columns, [served(*item) for item in kinds.items()])
    columns = ["worker, deadline ms", "refused/s", "p50", "p99", "max", "sent late p50", "p99", "wasted", "ends"]
    part.table("Refused: ms; wasted: jobs run for nobody", columns, [refused(*item) for item in kinds.items()])
    names = ["generator", "front", "redis-server", "worker"]
    rows = [
        [key, *(f"{median_of(found['rounds'], 'cores', name):.2f}" for name in names)] for key, found in kinds.items()
    ]
    part.table("Cores used meanwhile", ["worker, deadline ms", *names], rows)
    columns = ["worker, deadline ms", "not served before", "first second", "worst second", "served again after"]
    columns += ["calm p50 ms", "as calm after"]
    rows = [stepped(key, found["step"]) for key, found in kinds.items() if "step" in found]
    if rows:
        part.table("From 0.5 to 2 times the capacity and back; goodput of it, seconds", columns, rows)


def served(key, found):
    """A row of what was answered."""
    rounds, capacity = found["rounds"], statistics.median(found["capacities"])
    rates = [f"{value:,.0f}" for value in (capacity, median_of(rounds, "offered"), median_of(rounds, "goodput"))]
    times = [f"{median_of(rounds, 'accepted_ms', percent):,.0f}" for percent in (50, 99, 100)]
    return [key, *rates, f"{share(found):.3f}", f"{median_of(rounds, 'worst') / capacity:.2f}", *times]


def refused(key, found):
    """A row of what was not."""
    rounds = found["rounds"]
    seconds = median_of(rounds, "offered")
    rate = statistics.median(one["refused"] / (one["accepted"] + one["refused"]) for one in rounds) * seconds
    times = [f"{median_of(rounds, 'refused_ms', percent):.2f}" for percent in (50, 99, 100)]
    late = [f"{median_of(rounds, 'sent_late_ms', percent):.2f}" for percent in (50, 99)]
    ends = {}
    for one in rounds:
        for end, count in one["ends"].items():
            ends[end] = ends.get(end, 0) + count
    said = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return [key, f"{rate:,.0f}", *times, *late, sum(one["wasted"] for one in rounds), said]


def stepped(key, found):
    """A row of the step."""
    shares = [f"{found[name]:.2f}" for name in ("first", "worst")]
    times = [f"{found['recovered_s']:.2f}", f"{found['calm_ms']:.1f}", f"{found['settled_s']:.1f}"]
    return [key, found["calm_bad"], *shares, *times]
