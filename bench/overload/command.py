"""The rounds, one after the other: capacity and twice of it in turn; then a step up and back."""

import statistics
import time

from contenders import Ground, Missing
from overload import arrivals, report
from overload.account import account, goodput, is_good, percentile, recovered_s, settled_s, worst
from overload.kinds import KINDS, Scene
from part import Part, argument_parser
from stage import Programs

FACTOR = 2.0
# What is left behind is done or dropped by then, and idle connections are quiet.
REST_S = 0.5


def main(about):
    options = arguments(about)
    part = Part()
    with Programs() as programs:
        ground = Ground(programs, options.bin, concurrency=0)
        try:
            for name in options.only:
                for deadline_ms in options.deadlines or KINDS[name].deadlines_ms:
                    measure(part, ground, name, deadline_ms, options)
        except Missing as why:
            part.fail(str(why))
        finally:
            ground.stop()
    report.tables(part)
    return part.finish(options.json)


def arguments(about):
    parser = argument_parser(about)
    parser.add_argument("--only", choices=KINDS, nargs="+", default=list(KINDS), help="these kinds of workers [all]")
    parser.add_argument("--deadlines", type=int, nargs="+", metavar="MS", help="these, not those of the kind")
    parser.add_argument("--rounds", type=int, default=3, help="at twice the capacity, each after one that finds it [3]")
    parser.add_argument("--seconds", type=float, default=10, help="of each round at twice the capacity [10]")
    parser.add_argument("--no-steps", dest="steps", action="store_false", help="without the step up and back")
    parser.add_argument("--smoke", action="store_true", help="one kind, one deadline, a second each: does it work?")
    options = parser.parse_args()
    if options.smoke:
        options.only, options.deadlines, options.rounds, options.seconds = ["sleep"], [1_000], 1, 1
    return options


def measure(part, ground, name, deadline_ms, options):
    """All rounds of one kind and deadline."""
    scene, program = Scene(ground, KINDS[name], deadline_ms), ground.built("bench-arrivals")
    key = f"{name} {deadline_ms}"
    found = part.raw[key] = {"capacities": [], "rounds": []}
    try:
        find_capacity(scene, program, KINDS[name], 1)  # it finds everything cold
        for number in range(options.rounds):
            found["capacities"].append(find_capacity(scene, program, KINDS[name], max(1, options.seconds / 2)))
            capacity = statistics.median(found["capacities"])
            found["rounds"].append(overload(scene, program, capacity, deadline_ms, options.seconds, number))
            check(part, key, found["rounds"][-1])
            print(report.round_line(key, found, number), flush=True)
        if options.steps:
            found["step"] = step(scene, program, capacity, deadline_ms, options.seconds)
            check(part, key, found["step"])
    finally:
        scene.stop()
    if not options.smoke:
        report.goals(part, name, deadline_ms, found)


def find_capacity(scene, program, kind, seconds):
    """Answers per second while just enough clients ask."""
    asked, _ = arrivals.closed(program, scene.port, kind.clients, seconds)
    return goodput(asked, float("inf"), 0, seconds)


def connections(capacity, deadline_ms):
    """More than requests can wait without being late."""
    return int(1.25 * capacity * deadline_ms / 1e3) + 500


def overload(scene, program, capacity, deadline_ms, seconds, seed):
    """One round at twice the capacity."""
    begun, cpu_s, start = scene.begun(), scene.cpu_s(), time.monotonic()
    asked, generator_s = arrivals.offered(
        program, scene.port, connections(capacity, deadline_ms), [(FACTOR * capacity, seconds)], seed
    )
    took_s = time.monotonic() - start
    used_s = {"generator": generator_s} | {name: s - cpu_s[name] for name, s in scene.cpu_s().items()}
    time.sleep(REST_S)
    figures = account(asked, deadline_ms / 1e3, seconds)
    figures["wasted"] = scene.begun() - begun - figures["answered"]
    figures["cores"] = {name: s / took_s for name, s in used_s.items()}
    return figures


def step(scene, program, capacity, deadline_ms, seconds):
    """Half the capacity, twice of it, and half of it again."""
    deadline_s = deadline_ms / 1e3
    calm_s, after_s = seconds / 2, seconds / 2 + 4 * deadline_s
    phases = [(capacity / 2, calm_s), (capacity * FACTOR, seconds), (capacity / 2, after_s)]
    asked, _ = arrivals.offered(program, scene.port, connections(capacity, deadline_ms), phases, seed=99)
    up_s, down_s = calm_s, calm_s + seconds
    before_ms = [one.took_s * 1e3 for one in asked if one.due_s < up_s and is_good(one, deadline_s)]
    calm_ms = percentile(before_ms, 50)
    time.sleep(REST_S)
    return {
        "ends": account(asked, deadline_s, calm_s + seconds + after_s)["ends"],
        "unanswered": sum(one.status == 0 for one in asked),
        "calm_bad": sum(one.due_s < up_s and not is_good(one, deadline_s) for one in asked),
        "first": goodput(asked, deadline_s, up_s, up_s + 1) / capacity,
        "worst": worst(asked, deadline_s, up_s, down_s) / capacity,
        "recovered_s": recovered_s(asked, deadline_s, down_s),
        "calm_ms": calm_ms,
        "settled_s": settled_s(asked, down_s, 2 * calm_ms),
    }


def check(part, key, figures):
    """Each request is answered, with what an overload explains."""
    known = {"200", "503 queue_full", "504 timeout"}
    strange = {end: count for end, count in figures["ends"].items() if end not in known}
    if strange or figures["unanswered"]:
        part.fail(f"{key}: {strange}")
