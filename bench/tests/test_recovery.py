"""bench/recovery: who is killed, which second start counts, and which is a mistake."""

import os
import signal
import socket
import subprocess
import threading

import pytest
from recovery import kills
from recovery.ears import Ears


class Sleepers:
    """A fleet whose workers sleep. `after(say, id, pid)` is called when the one that has a job has died."""

    def __init__(self, port, after):
        self.after, self.processes, self._port, self._threads = after, [], port, []
        self._mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        for thread in self._threads:
            thread.join()
        self._mouth.close()

    def names(self, count):
        return [f"job-{number}" for number in range(count)]

    def say(self, name, attempt, pid):
        self._mouth.sendto(f"{name} {attempt} {pid}".encode(), ("127.0.0.1", self._port))

    def give(self, names):
        for name in names:
            process = subprocess.Popen(["sleep", "60"])
            self.processes.append(process)
            self.say(name, 1, process.pid)
            self._threads.append(threading.Thread(target=self._watch, args=[name, process]))
            self._threads[-1].start()

    def _watch(self, name, process):
        process.wait()
        self.after(self.say, name, process.pid)


def next_start(say, name, pid):
    say(name, 2, pid + 1)


def test_every_worker_is_killed_and_every_wait_counted():
    with Ears() as ears, Sleepers(ears.port, next_start) as fleet:
        outcome = kills.at_once(fleet, ears, 3, 0.1, 30)
        assert [process.wait() for process in fleet.processes] == [-signal.SIGKILL] * 3
    assert len(outcome.waited_ms) == 3
    assert all(0 < ms < 30_000 for ms in outcome.waited_ms)
    assert outcome.early == 0


def test_a_job_that_never_comes_back_is_named():
    with Ears() as ears, Sleepers(ears.port, lambda *_: None) as fleet, pytest.raises(RuntimeError, match="job-0"):
        kills.at_once(fleet, ears, 1, 0, 0.2)


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (lambda say, name, pid: say(name, 2, pid), "no next start"),
        (lambda say, name, pid: say(name, 1, pid + 1), "no next start"),
        (lambda say, name, pid: say("another", 2, pid + 1), "no next start"),
        (lambda say, name, pid: [say("job-0", 2, pid + 1) for _ in range(2)], "a third time"),
    ],
)
def test_what_is_no_second_start_is_a_mistake(after, what):
    with Ears() as ears, Sleepers(ears.port, after) as fleet, pytest.raises(RuntimeError, match=what):
        kills.at_once(fleet, ears, 2, 0, 5)


def test_a_second_start_beside_a_living_worker_has_no_time():
    class Hasty(Sleepers):
        def give(self, names):
            super().give(names)
            self.say(names[0], 2, os.getpid())

    with Ears() as ears, Hasty(ears.port, lambda *_: None) as fleet:
        outcome = kills.at_once(fleet, ears, 1, 0.5, 5)
        assert fleet.processes[0].poll() is None
    assert outcome == ([], 1)
