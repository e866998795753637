"""bench/instructions: when it fails, and what it stores. The programs are shell scripts, so the counts are given."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "instructions"
# 5000 to begin, and so many a round.
VALGRIND = """#!/bin/sh
for rounds; do :; done
echo "Collected : $((5000 + rounds * COST))" >&2
"""
HOTPATH = """#!/bin/sh
echo encode
"""


class Ground:
    """A folder with the programs, and what is stored."""

    def __init__(self, folder):
        self.folder, self.stored = folder, folder / "stored.json"
        for name, text in {"valgrind": VALGRIND, "bench-hotpath": HOTPATH}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(self, cost, *arguments, **variables):
        """Runs the script where a round costs so many instructions."""
        path = f"{self.folder}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "COST": str(cost), "UPDATE": "", **variables}
        command = [sys.executable, SCRIPT, "--bin", self.folder, "--stored", self.stored, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def counts(self):
        return json.loads(self.stored.read_text())["counts"]


@pytest.fixture
def ground(tmp_path):
    ground = Ground(tmp_path)
    assert ground.run(1000, "--update").returncode == 0
    assert ground.counts() == {"encode": 1000}
    return ground


@pytest.mark.parametrize("cost", [1000, 1100, 901])
def test_within_the_room_it_passes(ground, cost):
    run = ground.run(cost)
    assert run.returncode == 0, run.stderr


def test_more_than_the_room_fails_and_names_the_piece(ground):
    run = ground.run(1101)
    assert run.returncode == 1
    assert "encode" in run.stdout
    assert "+10.1 %: MORE" in run.stdout
    assert "--update" in run.stderr
    assert ground.counts() == {"encode": 1000}


def test_the_room_can_be_another(ground):
    assert ground.run(1050, "--room", "4").returncode == 1
    assert ground.run(1050, "--room", "5").returncode == 0


def test_much_less_passes_and_asks_to_be_stored(ground):
    run = ground.run(500)
    assert run.returncode == 0
    assert "store that it is less" in run.stdout


def test_a_piece_that_is_not_stored_fails(ground):
    ground.stored.write_text(json.dumps({"made_with": {}, "counts": {}}))
    run = ground.run(1000)
    assert run.returncode == 1
    assert "is not stored" in run.stdout


def test_the_variable_updates_too(ground):
    assert ground.run(2000, UPDATE="1").returncode == 0
    assert ground.counts() == {"encode": 2000}


def test_a_program_that_ends_badly_is_no_count(ground):
    (ground.folder / "valgrind").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    run = ground.run(1000)
    assert run.returncode == 1
    assert "broken" in run.stderr
