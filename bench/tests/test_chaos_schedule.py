"""The schedule and the orders of bench/chaos: the same seed gives the same, and as much as was wished."""

from collections import Counter

import pytest

from chaos.crew import KILLED, LASTING
from chaos.orders import orders
from chaos.schedule import KINDS, Fault, Wish, as_json, plan

WORKERS = ("rust", "python", "sh")
WISH = Wish(seed=7, seconds=60, kills=60, redis_restarts=5, stops=9, links=200)


def test_the_same_seed_gives_the_same_plan_and_another_one_another():
    assert as_json(plan(WISH, WORKERS)) == as_json(plan(WISH, WORKERS))
    assert as_json(plan(WISH, WORKERS)) != as_json(plan(Wish(**{**vars(WISH), "seed": 8}), WORKERS))


def test_a_plan_has_as_many_faults_of_each_kind_as_were_wished():
    kinds = Counter(fault.kind for fault in plan(WISH, WORKERS))
    assert kinds["kill"] == 60
    assert kinds["redis"] == 5
    assert kinds["stop"] == 9
    assert kinds["cut"] + kinds["delay"] + kinds["half-open"] == 200
    assert set(kinds) == set(KINDS)


def test_kills_hit_everybody_and_workers_most():
    targets = Counter(fault.target for fault in plan(WISH, WORKERS) if fault.kind == "kill")
    assert set(targets) == {*WORKERS, "supervisor", "front"}
    assert targets["supervisor"] == 3
    assert min(targets[name] for name in WORKERS) > 3


def test_who_is_spared_is_never_killed_and_meets_everything_else():
    wish = Wish(seed=7, seconds=60, kills=200, redis_restarts=5, stops=100, links=200)
    faults = plan(wish, KILLED, LASTING)
    hit = {kind: {fault.target for fault in faults if fault.kind == kind} for kind in KINDS}
    assert hit["kill"] == {*KILLED, "supervisor", "front"}
    assert hit["stop"] >= {*LASTING, *KILLED, "up", "front", "redis"}
    for kind in ("cut", "delay", "half-open"):
        assert "spared" in hit[kind]


def test_faults_come_in_order_and_within_the_run():
    times = [fault.at_s for fault in plan(WISH, WORKERS)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 60


def test_a_plan_without_faults_is_empty():
    assert plan(Wish(kills=0, redis_restarts=0, stops=0, links=0), WORKERS) == []


@pytest.mark.parametrize("kind", ["cut", "delay", "half-open", "stop", "redis", "kill"])
def test_every_fault_can_be_read(kind):
    fault = next(fault for fault in plan(WISH, WORKERS) if fault.kind == kind)
    assert kind in str(fault)
    assert fault.target in str(fault)


@pytest.mark.parametrize(("pick", "chosen"), [(0.0, "a"), (0.5, "b"), (0.9999, "c"), (1.0, "c")])
def test_a_fault_hits_one_of_those_that_live(pick, chosen):
    fault = Fault(0.0, "kill", "rust", pick=pick)
    assert fault.chosen(["a", "b", "c"]) == chosen
    assert fault.chosen([]) is None


def test_the_same_seed_gives_the_same_orders():
    assert orders(3, 10, 5, 5) == orders(3, 10, 5, 5)
    assert orders(3, 10, 5, 5) != orders(4, 10, 5, 5)


def test_orders_have_ids_of_their_own_and_the_rate_that_was_asked():
    made = orders(3, 10, 20, 7)
    kinds = Counter(order.kind for order in made)
    assert len({order.id for order in made}) == len(made) == 270
    assert kinds["job"] == 70
    assert kinds["get"] + kinds["post"] == 200


def test_what_fails_can_be_tried_again_by_its_workers():
    assert {order.queue for order in orders(3, 100, 1, 10) if order.fails} == {"sdk"}


def test_jobs_lie_in_every_lane_of_the_workers_that_serve_them():
    keys = {order.key for order in orders(3, 100, 0, 10)}
    assert keys == {"tempest:{sdk}", "tempest:{sdk}:high", "tempest:{sdk}:low", "tempest:{plain}"}


def test_some_clients_leave_before_they_are_answered():
    leaving = [order for order in orders(3, 100, 10, 0) if order.leaves_ms]
    assert 20 < len(leaving) < 120


def test_whoever_may_run_twice_is_safe_to_repeat():
    for order in orders(3, 50, 20, 0):
        assert order.attempts == (2 if order.kind == "get" else 1)
