"""What bench/overload makes of requests: each counts when its answer came, from when it was due."""

import math

import pytest

from overload.account import account, goodput, recovered_s, settled_s, worst
from overload.arrivals import Asked, parsed
from overload.report import share


def asked(due_s, took_s, status=200, code="-"):
    return Asked(due_s, due_s, due_s + took_s, status, code)


def test_a_line_is_read():
    one = parsed("1500000 1500200 1502500 503 queue_full\n")
    assert one == (1.5, 1.5002, 1.5025, 503, "queue_full")
    assert one.took_s == pytest.approx(0.0025)


def test_goodput_is_what_came_in_time_and_within_the_round():
    round_ = [asked(0, 0.2), asked(0, 0.3), asked(1.9, 0.2), asked(1, 0.01, 503, "queue_full"), asked(1, 0.1)]
    assert goodput(round_, 0.25, 0, 2) == 1.0


def test_the_worst_second_is_found():
    steady = [asked(number / 10, 0) for number in range(30) if not 10 <= number < 18]
    assert goodput(steady, 1, 0, 3) == pytest.approx(22 / 3)
    assert worst(steady, 1, 0, 3) == 2


def test_refused_and_accepted_are_told_apart_and_nothing_is_left_out():
    round_ = [asked(0, 0.1)] * 97 + [asked(0, 1, 504, "timeout")] * 2 + [asked(0, 0.001, 503, "queue_full")] * 50
    figures = account([*round_, asked(0, 2, 0, "cut")], 1, 10)
    assert figures["accepted"] == 100
    assert figures["accepted_ms"][50] == pytest.approx(100)
    assert figures["accepted_ms"][99] == pytest.approx(1_000)
    assert figures["refused_ms"][100] == pytest.approx(1)
    assert figures["ends"] == {"200": 97, "504 timeout": 2, "503 queue_full": 50, "0 cut": 1}
    assert figures["unanswered"] == 1


def test_a_round_without_refusals_has_no_time_of_them():
    assert math.isnan(account([asked(0, 0.1)], 1, 1)["refused_ms"][99])


def test_it_has_recovered_when_the_last_bad_one_was_due():
    round_ = [asked(9, 0, 503), asked(10.5, 0, 503), asked(11, 0.1), asked(12.25, 3), asked(13, 0.1)]
    assert recovered_s(round_, 1, 10) == pytest.approx(2.25)
    assert recovered_s([asked(9, 0, 503), asked(11, 0.1)], 1, 10) == 0


def test_it_is_calm_again_when_nobody_waits_longer_than_before():
    falling = [asked(10 + number / 100, 1 - number / 100) for number in range(100)]
    calm = [asked(11 + number / 100, 0.01) for number in range(100)]
    assert settled_s(falling + calm, 10, 500) == pytest.approx(0.5)
    assert math.isnan(settled_s(falling, 10, 5))


def test_the_share_is_that_of_the_round_beside():
    found = {"capacities": [100, 200, 100], "rounds": [{"goodput": goodput} for goodput in (95, 196, 97)]}
    assert share(found) == pytest.approx(0.97)
