"""script/test: which steps it runs, how it counts them and what it prints."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import SCRIPTS, Machine

STEPS = """
case $1 in
  clippy) echo "clippy is unhappy"; exit 1 ;;
  docs) echo "skipped: docs are missing"; exit 77 ;;
  valkey) echo "skipped: no such package"; exit 78 ;;
  shell) sleep 30 & echo "left behind: $!" ;;
  *) echo "$1 ran in CI=${CI:-no} at length $TEMPEST_TEST_LENGTH" ;;
esac"""


@pytest.fixture
def suite(machine: Machine) -> Machine:
    machine.program("bootstrap", "exit 0", machine.root / "script")
    machine.program("steps.sh", STEPS, machine.root / "script")
    return machine


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited 20 s in vain"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process exists and is more than an entry init has yet to remove."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def result(output: str, step: str) -> str:
    found = re.findall(rf"^{step} +(\w+) +\d+\.\d s$", output, re.MULTILINE)
    assert len(found) == 1, (step, output)
    return found[0]


def test_counts_every_step_and_says_so_last(suite: Machine) -> None:
    run = suite.run("script/test")
    assert run.returncode == 1
    steps = suite.run("script/test", "--list").stdout.split()
    expected = f"tempest: {len(steps) - 3} passed, 1 failed, 2 skipped"
    assert run.stdout.splitlines()[-1] == expected
    assert result(run.stdout, "clippy") == "failed"
    assert result(run.stdout, "docs") == "skipped"
    assert result(run.stdout, "format") == "passed"
    assert "skipped: docs are missing" in run.stdout.splitlines()[-3:]


def test_prints_what_failed_after_all_that_passed(suite: Machine) -> None:
    output = suite.run("script/test").stdout
    assert output.count("clippy is unhappy") == 1
    for line in ("format ran", "fuzz ran", "hello ran", "container ran"):
        assert output.index(line) < output.index("clippy is unhappy")


def test_a_skipped_step_fails_in_ci(suite: Machine) -> None:
    run = suite.run("script/test", "--only", "docs", CI="true")
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == "tempest: 0 passed, 1 failed, 0 skipped"
    run = suite.run("script/test", "--only", "docs")
    assert run.returncode == 0
    assert run.stdout.splitlines()[-1] == "tempest: 0 passed, 0 failed, 1 skipped"


def test_what_no_package_brings_is_skipped_in_ci_too(suite: Machine) -> None:
    run = suite.run("script/test", "--only", "valkey", CI="true")
    assert run.returncode == 0
    assert run.stdout.splitlines()[-2:] == ["skipped: no such package", "tempest: 0 passed, 0 failed, 1 skipped"]


def test_passes_when_nothing_failed(suite: Machine) -> None:
    run = suite.run("script/test", "--only", "format", "--only", "fuzz", "--long")
    assert run.returncode == 0
    assert "fuzz ran in CI=no at length long" in run.stdout
    assert run.stdout.splitlines()[-1] == "tempest: 2 passed, 0 failed, 0 skipped"


def test_ends_what_a_step_left_behind(suite: Machine) -> None:
    output = suite.run("script/test", "--only", "shell").stdout
    pid = int(re.findall(r"left behind: (\d+)", output)[0])
    until(lambda: not runs(pid))


def test_every_executable_in_acceptance_is_a_step(suite: Machine) -> None:
    suite.program("load", "exit 0", suite.root / "acceptance")
    (suite.root / "acceptance" / "README.md").write_text("not a step")
    steps = suite.run("script/test", "--list").stdout.split()
    assert [step for step in steps if "acceptance" in step] == ["acceptance:load"]


@pytest.mark.parametrize("argv", [["--only", "nope"], ["--only"], ["--fast"]])
def test_refuses_what_it_does_not_know(suite: Machine, argv: list[str]) -> None:
    run = suite.run("script/test", *argv)
    assert run.returncode == 2
    assert run.stderr.startswith("script/test: ")


def test_every_listed_step_is_written_and_every_written_one_listed() -> None:
    text = (SCRIPTS / "steps.sh").read_text()
    written = set(re.findall(r"^step_([\w-]+)\(\)", text, re.MULTILINE))
    listed = set()
    for option in ("--quick", "--long"):
        argv = [str(SCRIPTS / "test"), option, "--list"]
        listed |= set(subprocess.check_output(argv, text=True).split())
    listed = {step for step in listed if not step.startswith("acceptance:")}
    assert listed == written


def test_ctrl_c_ends_the_steps(suite: Machine) -> None:
    mark = suite.root / "started"
    suite.program("steps.sh", f"echo $$ >{mark}; sleep 60", suite.root / "script")
    run = subprocess.Popen(
        [str(suite.root / "script" / "test"), "--only", "format"],
        env=suite.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: mark.exists() and mark.read_text().strip() != "")
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 130
        until(lambda: not runs(int(mark.read_text())))
    finally:
        run.kill()
