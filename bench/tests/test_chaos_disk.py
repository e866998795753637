"""The disk of bench/chaos loses what Redis wrote last, and nothing else."""

import pytest

from chaos import disk
from chaos.disk import Disk


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(disk.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "appendonlydir/appendonly.aof.1.incr.aof"
    path.parent.mkdir()
    path.write_bytes(b"0123")
    return path


def watched(file, clock, lengths):
    """A disk that has seen the file grow to these lengths, one each second."""
    kept = Disk(file.parent.parent)
    kept.begin()
    for second, length in enumerate(lengths, start=1):
        clock[0] = second
        file.write_bytes(b"x" * length)
        kept.note()
    return kept


@pytest.mark.parametrize(("seconds", "left"), [(0, 40), (0.5, 30), (1, 30), (2, 20), (60, 4)])
def test_it_is_cut_back_to_what_it_was_and_never_behind_the_start_of_redis(file, clock, seconds, left):
    kept = watched(file, clock, (10, 20, 30, 40))
    assert kept.lose(seconds) == 40 - left
    assert file.stat().st_size == left


def test_nothing_is_lost_where_there_is_no_file(tmp_path):
    kept = Disk(tmp_path)
    kept.begin()
    assert kept.lose(1) == 0
