"""bench/compare: which parts it runs with what, and that nothing outlives it."""

import signal
import subprocess
import sys
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "compare"
LOADER = SourceFileLoader("compare", str(SCRIPT))
compare = module_from_spec(spec_from_loader("compare", LOADER))
LOADER.exec_module(compare)


def options(**given):
    return SimpleNamespace(**{"smoke": False, "quick": False, "only": None, "seconds": None, "rounds": None, **given})


def test_a_whole_run_has_every_part():
    assert set(compare.plan(options())) == set(compare.SCRIPTS)


def test_a_contender_stands_for_its_part():
    assert compare.plan(options(only="rust,bare")) == {"answers": ["--only", "rust,bare"]}


def test_seconds_and_rounds_are_for_what_is_under_load():
    parts = compare.plan(options(only="answers,waiting", seconds=3, rounds=2))
    assert parts["answers"][-4:] == ["--seconds", "3", "--rounds", "2"]
    assert "--seconds" not in parts["waiting"]


def test_an_unknown_name_is_refused():
    with pytest.raises(SystemExit, match="no part and no contender named gunicron"):
        compare.plan(options(only="gunicron"))


def test_the_page_has_goals_tables_and_failures():
    part = {
        "command": "bench/answers.py",
        "goals": [{"goal": "fast", "figure": 0.5, "limit": 0.65, "met": False}],
        "tables": [{"title": "Speed", "columns": ["who", "how"], "rows": [["memory|usage", "1"]]}],
        "failures": ["a wrong answer"],
    }
    page = compare.markdown({"answers": part}, {"processor": "2 x any"}, "2026-01-01")
    assert "| fast | 0.50 | 0.65 | **missed** |" in page
    assert "| memory usage | 1 |" in page
    assert "**FAILED**: a wrong answer" in page


def children(pid):
    """The pids of processes whose parent that is."""
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in said.split()]


def until(what):
    end = time.monotonic() + 30
    while not (found := what()):
        assert time.monotonic() < end, "waited 30 s in vain"
        time.sleep(0.05)
    return found


def born(pid):
    """When a process was started, which tells it from another one that has got its pid; none when it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def test_nothing_outlives_it(tmp_path):
    tempest = tmp_path / "tempest"
    tempest.write_text("#!/bin/sh\nexec sleep 60\n")
    tempest.chmod(0o755)
    command = [sys.executable, SCRIPT, "--only", "waiting", "--bin", tmp_path, "--out", tmp_path]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = until(lambda: children(run.pid) and [pid for pid in children(run.pid) if len(children(pid)) == 2])[0]
    started = {pid: born(pid) for pid in [part, *children(part)]}
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 143
    assert not [pid for pid, at in started.items() if at and born(pid) == at]
