"""A flood is a few lines."""

from __future__ import annotations

import logging

import pytest

from tempest.rarely import Rarely


def test_a_flood_is_some_lines_and_then_one_with_the_number_left_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    rarely = Rarely(logging.getLogger("tempest"))
    for number in range(1_000):
        rarely.warn("piece %d", number)
    assert [record.getMessage() for record in caplog.records] == [f"piece {number}" for number in range(10)]
    now += 1
    rarely.warn("piece %d", 1_000)
    rarely.warn("piece %d", 1_001)
    assert caplog.records[-1].getMessage() == "piece 1000 (990 more like this)"
    assert len(caplog.records) == 11
