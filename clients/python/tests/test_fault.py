"""A fault is one line when it begins and one when it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tempest.errors import RedisAway, Refused
from tempest.fault import Faults

OOM = Refused("OOM", "no memory")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "tempest")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("tempest.fault.running_s", lambda: now[0])
    return now


def test_a_fault_is_said_once_however_much_it_hits(said: Callable[[], list[str]], clock: list[float]) -> None:
    faults = Faults()
    for number in range(1_000):
        faults.failed(f"part {number % 3}", OOM)
    faults.failed("control", RedisAway("timed out"))
    assert said() == ["Redis is in trouble (OOM, part 0): Redis refuses: OOM no memory; going on as soon as it serves"]
    faults.failed("beats", Refused("LOADING", "reading"))
    assert len(said()) == 2, "another kind is news"


def test_it_ends_when_all_was_well_for_a_while(said: Callable[[], list[str]], clock: list[float]) -> None:
    faults = Faults()
    faults.failed("claims", OOM)
    faults.failed("beats", OOM)
    clock[0] += 5
    faults.well("claims")
    clock[0] += 1
    faults.failed("beats", OOM)
    faults.well("claims")
    faults.well("beats")
    assert len(said()) == 1, "that was only just"
    clock[0] += 3
    faults.well("beats")
    assert said()[1:] == ["Redis serves again: OOM for 6.0 s"]
    faults.well("beats")
    faults.failed("beats", OOM)
    assert len(said()) == 3, "the next one is news"


def test_what_tries_nothing_more_keeps_no_fault_alive(said: Callable[[], list[str]], clock: list[float]) -> None:
    faults = Faults()
    faults.failed("replies", OOM)
    clock[0] += 9
    faults.well("beats")
    assert len(said()) == 2


def test_an_order_to_connect_anew_is_no_fault(said: Callable[[], list[str]], clock: list[float]) -> None:
    Faults().failed("claims", Refused("UNBLOCKED", "instance state changed"))
    assert said() == []
