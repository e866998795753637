"""The report of bench/chaos shows all that was counted, and a ledger that somebody has tampered with fails its run."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from chaos.evidence import Entry
from chaos.ledger import Known, settle
from chaos.load import Ended, answer
from chaos.memory import MIB, Life
from chaos.orders import orders
from chaos.remains import Dead
from chaos.report import Result, as_json, page, text
from chaos.schedule import Wish

SECONDS = 4
FLAT = Life("spared", 3, [(second, 20 * MIB) for second in range(90)])


class Ledger:
    """The records of a run in which all went well."""

    def __init__(self):
        self.orders = [order for order in orders(5, SECONDS, 10, 10) if not order.leaves_ms and not order.fails]
        self.ended, self.evidence, self.dead = {}, {}, {}
        for order in self.orders:
            self.ended[order.id] = self.answered(order)
            self.evidence[order.id] = [self.entry(order, "start", 10), self.entry(order, "end", 20)]

    @staticmethod
    def answered(order):
        if order.kind == "job":
            return Ended("pushed", 0, 5)
        return Ended("answered", 0, 30, 200, f"{order.id} {order.payload}")

    @staticmethod
    def entry(order, what, ms, attempt=1):
        return Entry(ms, what, "rust", 7, order.id, attempt, order.payload)

    def first(self, *kinds, attempts=1):
        """The first order of these kinds that may be started so often."""
        return next(order for order in self.orders if order.kind in kinds and order.attempts >= attempts)

    def refuse(self, order, status, code):
        self.ended[order.id] = Ended("answered", 0, 30, status, json.dumps({"code": code}))
        del self.evidence[order.id]

    def result(self, fsync="always", forgetful_ms=(), **changed):
        known = Known(self.ended, self.evidence, self.dead, [], lambda *_: False, forgetful_ms)
        return Result(
            **{
                "wish": Wish(seed=5, seconds=80),
                "fsync": fsync,
                "again": "bench/chaos/run --seed 5",
                "took_s": 81.0,
                "late_s": 0.01,
                "account": settle(self.orders, known),
                "strikes": Counter({"kill rust": 4}),
                "missed": Counter(),
                "not_started": Counter(),
                "waits": {"supervised": [4, 40, 400]},
                "lives": [FLAT],
                "lasting": ("spared",),
                "starts": Counter(rust=20),
                **changed,
            }
        )


def test_a_ledger_in_order_passes():
    assert Ledger().result().mistakes == []


def lose_a_job(ledger):
    order = ledger.first("job")
    del ledger.evidence[order.id]
    return order


def lose_a_request(ledger):
    order = ledger.first("get", "post")
    ledger.ended[order.id] = Ended("cut", 0, 30)
    return order


def forget_a_request(ledger):
    order = ledger.first("get", "post")
    del ledger.ended[order.id]
    return order


def change_an_answer(ledger):
    order = ledger.first("get", "post")
    body = ledger.ended[order.id].body
    ledger.ended[order.id] = replace(ledger.ended[order.id], body=body[:-1] + "?")
    return order


def answer_twice(ledger):
    order = ledger.first("get", "post")
    ledger.ended[order.id] = replace(ledger.ended[order.id], more="HTTP/1.1 200 OK\r\n")
    return order


def do_twice(ledger):
    order = ledger.first("post")
    ledger.evidence[order.id] *= 2
    return order


def change_a_payload(ledger):
    order = ledger.first("job")
    ledger.evidence[order.id][0] = replace(ledger.evidence[order.id][0], payload="other")
    return order


def give_up_without_a_cause(ledger):
    order = ledger.first("job")
    ledger.dead[order.id] = [Dead(order.id, "bad_job", "", order.attempts, order.payload)]
    return order


@pytest.mark.parametrize(
    "tamper",
    [
        lose_a_job,
        lose_a_request,
        forget_a_request,
        change_an_answer,
        answer_twice,
        do_twice,
        change_a_payload,
        give_up_without_a_cause,
    ],
)
def test_a_ledger_that_was_tampered_with_fails_and_names_the_id(tamper):
    ledger = Ledger()
    order = tamper(ledger)
    mistakes = ledger.result().mistakes
    assert len(mistakes) == 1
    assert f" {order.id}: " in mistakes[0]


def test_two_answers_that_were_swapped_are_two_mistakes():
    ledger = Ledger()
    one, other = [order for order in ledger.orders if order.kind != "job"][:2]
    ledger.ended[one.id], ledger.ended[other.id] = ledger.ended[other.id], ledger.ended[one.id]
    assert len(ledger.result().account.wrong) == 2


def test_a_strange_id_a_leak_and_a_calm_run_fail_too():
    ledger = Ledger()
    ledger.evidence["nobodys"] = [Entry(1, "start", "rust", 7, "nobodys", 1, "x")]
    leak = Life("spared", 3, [(second, (20 + second) * MIB) for second in range(90)])
    result = ledger.result(lives=[leak], starts=Counter(rust=20, sh=0), disorder=["rust is left"])
    kinds = Counter(mistake.split()[0] for mistake in result.mistakes)
    assert kinds == {"wrong": 1, "memory": 1, "idle": 1, "order": 1}


def test_the_report_shows_each_outcome_and_the_times_of_recovery():
    ledger = Ledger()
    refused = ledger.first("get", "post")
    ledger.refuse(refused, 503, "queue_full")
    dead, again = [order for order in ledger.orders if order.kind == "job" and order.attempts > 1][:2]
    ledger.dead[dead.id] = [Dead(dead.id, "worker_lost", "", dead.attempts, dead.payload)]
    del ledger.evidence[dead.id]
    ledger.evidence[again.id] += [ledger.entry(again, "start", 30, 2), ledger.entry(again, "end", 40, 2)]
    result = ledger.result()
    assert result.mistakes == []
    told = text(result)
    for line in (
        "1  request refused: queue_full",
        "1  job dead: worker_lost",
        "1  retried",
        "1  done more than once",
        "1  repeated in all",
        "supervised    3 times, median 40 ms, longest 400 ms;  < 10 ms: 1  < 100 ms: 1  < 1 s: 1  < 7 s: 0",
        "spared           1 lives, at most   20.0; 1 long ones, the worst grew by +0.0 from 20.0 in a life of 89 s",
        "lost 0, wrong 0",
    ):
        assert line in told
    as_data = json.loads(as_json(result))
    assert as_data["outcomes"]["request refused: queue_full"] == 1
    assert as_data["recovery_ms"]["supervised"]["histogram"]["< 10 ms"] == 1
    assert "**passed**" in page(result, "today", "a machine")


def test_what_redis_forgot_is_told_apart_with_a_figure():
    ledger = Ledger()
    order = lose_a_job(ledger)
    result = ledger.result("everysec", (5 + 700,))
    assert result.mistakes == []
    assert "1  job lost with the last moments of Redis" in text(result)
    assert "1  lost, known at most 700 ms before Redis ended" in text(result)
    assert order.id in ledger.result("everysec", (5 + 3_001,)).mistakes[0]


@pytest.mark.parametrize(
    ("bytes_", "how"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", ("answered", 200, "ok", "")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1", ("answered", 200, "ok", "HTTP/1.1")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", ("cut",)),
        (b"HTTP/1.1 200 OK\r\n", ("cut",)),
        (b"", ("cut",)),
    ],
)
def test_an_answer_is_whole_and_alone(bytes_, how):
    assert answer(bytes_) == how
