"""Claiming ahead: fast handlers get several jobs with one write, and nobody else loses anything by it."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Process, Proxy, Server, until
from tempest.ahead import Ahead
from tempest.limits import AHEAD_RUNS
from test_worker import MAILBOX, answer, answered, ask, idle, leases, run_lists

Start = Callable[..., Process]
Marks = Callable[[], list[str]]

LANE = "tempest:{default}"
BEFORE = 7
"""Looks of 1, 2 and 4, or smaller ones on a slow machine: the eighth job never comes alone when more wait."""


def job(name: str, action: str, args: Any = None, **more: Any) -> bytes:
    return json.dumps({"id": name, "reply_to": MAILBOX, "attempts": 2, "action": action, "args": args, **more}).encode()


def echoes(word: str, count: int, **more: Any) -> list[bytes]:
    return [job(f"{word}{number}", "echo", number, **more) for number in range(count)]


def marked(word: str, count: int, **more: Any) -> list[bytes]:
    return [job(f"{word}{number}", "mark", f"{word}{number}", **more) for number in range(count)]


def warm(server: Server) -> None:
    """Makes the worker know that its handlers are fast, and lets it become idle."""
    server.redis.rpush(LANE, *echoes("warm", 2 * AHEAD_RUNS))
    for _ in range(2 * AHEAD_RUNS):
        answer(server)
    idle(server)
    until(lambda: any(client["cmd"] == "blmove" for client in server.redis.client_list()))
    time.sleep(2.2)  # a claim that brought nothing resets the look


def claimed(server: Server) -> list[bytes]:
    return [frame for frames in run_lists(server).values() for frame in frames]


def waiting(server: Server) -> list[bytes]:
    frames: list[bytes] = server.redis.lrange(LANE, 0, -1)
    return frames


def ids(frames: list[bytes]) -> list[str]:
    return [json.loads(frame)["id"] for frame in frames]


def replies(server: Server, count: int) -> list[str]:
    return [answer(server)["id"] for _ in range(count)]


def looks(server: Server) -> int:
    calls: int = server.redis.info("commandstats").get("cmdstat_lmove", {}).get("calls", 0)
    return calls


# --- how many ------------------------------------------------------------------------------------------------------


def test_nothing_is_claimed_ahead_before_handlers_are_known_to_be_fast() -> None:
    ahead = Ahead()
    for _ in range(AHEAD_RUNS - 1):
        ahead.ran(0.0001)
        ahead.brought(1, 1, False)
        assert ahead.look() == 1
    ahead.ran(0.0001)
    assert ahead.look() == 2


def test_a_full_claim_doubles_the_next_and_any_other_resets_it() -> None:
    ahead = Ahead()
    for _ in range(AHEAD_RUNS):
        ahead.ran(0.0001)
    seen = []
    for count in (1, 2, 4, 8, 16, 16, 15, 1):
        seen.append(ahead.look())
        ahead.brought(seen[-1], count, False)
    assert seen == [1, 2, 4, 8, 16, 16, 16, 1]
    assert ahead.look() == 2
    ahead.brought(2, 2, True)
    assert ahead.look() == 1, "a job that must be alone resets it"


@pytest.mark.parametrize(("seconds", "look"), [(0.0001, 16), (0.0009, 5), (0.0019, 2), (0.0021, 1), (1.0, 1)])
def test_a_claim_brings_what_can_be_done_in_time(seconds: float, look: int) -> None:
    ahead = Ahead()
    for _ in range(AHEAD_RUNS):
        ahead.ran(seconds)
    ahead.brought(16, 16, False)
    assert ahead.look() == look
    ahead.ran(5.0)
    assert ahead.look() == look, "one slow run does not change the median"


def test_fast_handlers_get_several_jobs_with_one_write(server: Server, start: Start) -> None:
    start(server.url)
    before = server.redis.info("stats")["total_reads_processed"]
    server.redis.rpush(LANE, *echoes("e", 1000))
    idle_replies = Counter(replies(server, 1000))
    reads = server.redis.info("stats")["total_reads_processed"] - before - 1000
    assert set(idle_replies.values()) == {1}
    assert reads < 500, "a read of Redis brings several settled jobs and the next claim"
    assert looks(server) > 500


def test_slow_handlers_get_one_job_at_a_time(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    server.redis.rpush(LANE, *(job(f"s{number}", "slow", 0.003) for number in range(60)))
    most = 0
    while len(marks()) < 120:
        most = max(most, len(claimed(server)))
    idle(server)
    assert most == 1
    assert looks(server) == 0


def test_threads_claim_nothing_ahead(server: Server, start: Start) -> None:
    start(server.url, TEMPEST_CONCURRENCY="2")
    server.redis.rpush(LANE, *echoes("e", 300))
    replies(server, 300)
    assert looks(server) == 0


def test_workers_share_evenly(server: Server, start: Start) -> None:
    workers = [start(server.url) for _ in range(3)]
    shares: Counter[int] = Counter()
    for turn in range(3):
        server.redis.rpush(LANE, *(job(f"w{turn}-{number}", "who") for number in range(2000)))
        shares.update(answer(server)["result"] for _ in range(2000))
    assert set(shares) == {worker.pid for worker in workers}
    assert min(shares.values()) > 6000 * 0.15, shares


# --- what is given back --------------------------------------------------------------------------------------------


def test_a_slow_job_keeps_back_nothing(server: Server, start: Start, marks: Marks) -> None:
    worker = start(server.url)
    warm(server)
    behind = echoes("behind", 20)
    server.redis.rpush(LANE, *echoes("before", BEFORE), job("slow", "slow", 1.5), *behind)
    until(lambda: marks() == ["begin"])
    until(lambda: waiting(server) == behind, 1)
    assert ids(claimed(server)) == ["slow"]
    assert replies(server, BEFORE) == [f"before{number}" for number in range(BEFORE)], (
        "replies are not kept back either"
    )
    assert marks() == ["begin"]
    assert replies(server, 21)[0] == "slow"
    idle(server)
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    assert " 0 given back" not in worker.said()


def test_replies_that_are_ready_do_not_wait_for_a_slow_job_of_the_same_claim(
    server: Server, start: Start, marks: Marks
) -> None:
    start(server.url)
    warm(server)
    server.redis.rpush(LANE, *echoes("before", BEFORE + 1), job("slow", "slow", 2), *echoes("behind", 3))
    until(lambda: marks() == ["begin"])
    assert replies(server, BEFORE + 1)[-1] == f"before{BEFORE}"
    assert marks() == ["begin"]


def test_another_worker_takes_what_a_slow_one_gave_back(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    warm(server)
    server.redis.rpush(LANE, *echoes("before", BEFORE), job("slow", "slow", 30), *echoes("behind", 20))
    until(lambda: marks() == ["begin"])
    start(server.url)
    assert "slow" not in replies(server, BEFORE + 20)


def test_jobs_that_may_run_once_are_alone(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    warm(server)
    before, behind = echoes("before", BEFORE + 1), echoes("behind", 3)
    server.redis.rpush(
        LANE, *before, job("post", "slow", 0.5, attempts=1), *behind, job("again", "slow", 0.5, attempt=2)
    )
    until(lambda: marks() == ["begin"])
    assert ids(claimed(server)) == ["post"], "what was claimed with it was given back, or waits"
    assert waiting(server)[:3] == behind
    until(lambda: len(marks()) == 3)
    assert ids(claimed(server)) == ["again"]
    order = [*ids(before), "post", *ids(behind), "again"]
    assert replies(server, len(order)) == order


# --- deaths --------------------------------------------------------------------------------------------------------


def recover(server: Server) -> list[str]:
    """What recovery does with the run lists of workers that died (SPEC "Recovery"). Gives the ids that were lost."""
    lost = []
    for key, frames in run_lists(server).items():
        for frame in reversed(frames):
            fields = json.loads(frame)
            attempt = fields.get("attempt", 1)
            assert server.redis.lrem(key, 1, frame) == 1
            if attempt < fields["attempts"]:
                server.redis.lpush(LANE, json.dumps({**fields, "attempt": attempt + 1}))
            else:
                lost.append(fields["id"])
    return lost


def test_a_worker_killed_with_jobs_ahead_loses_none(server: Server, start: Start, marks: Marks) -> None:
    worker = start(server.url)
    warm(server)
    jobs = [*echoes("before", BEFORE), job("killer", "signal", int(signal.SIGKILL)), *echoes("behind", 20)]
    server.redis.rpush(LANE, *jobs)
    assert worker.ends() == -signal.SIGKILL
    held, left = claimed(server), waiting(server)
    assert held[0] == jobs[BEFORE]
    assert len(held) > 1, "jobs were claimed ahead"
    assert held + left == jobs[BEFORE:], "none is lost, all are as they were"


def test_a_job_that_kills_takes_no_other_with_it(server: Server, start: Start) -> None:
    start(server.url)
    warm(server)
    innocent = [*echoes("a", BEFORE), *echoes("b", 30), *echoes("post", 3, attempts=1)]
    jobs = [*innocent[:BEFORE], job("killer", "signal", int(signal.SIGKILL)), *innocent[BEFORE:]]
    server.redis.rpush(LANE, *jobs)
    lost: list[str] = []
    for _ in range(2):
        until(lambda: any(b'"killer"' in frame for frame in claimed(server)))
        until(lambda: not server.redis.client_list(_type="normal")[1:])
        lost += recover(server)
        start(server.url)
    assert lost == ["killer"], "it is given up after its own attempts, alone"
    assert sorted(set(replies(server, len(innocent)))) == sorted(ids(innocent))
    idle(server)


def test_a_stopped_worker_starts_nothing_that_it_had_claimed_ahead_and_lost(
    server: Server, start: Start, marks: Marks
) -> None:
    worker = start(server.url)
    warm(server)
    behind = marked("behind", 20)
    server.redis.rpush(LANE, *echoes("before", BEFORE), job("stop", "signal", int(signal.SIGSTOP)), *behind)
    until(lambda: marks() == ["signal"])
    until(lambda: not leases(server), 6)
    held = claimed(server)
    assert held[0].startswith(b'{"id": "stop"')
    assert len(held) > 1
    # What recovery does, for all but the last one that was claimed ahead; another worker has the rest of the lane.
    server.redis.delete(LANE)
    (key,) = run_lists(server)
    server.redis.ltrim(key, -1, -1)
    kept = json.loads(held[-1])["args"] if len(held) > 2 else None
    worker.signal(signal.SIGCONT)
    until(lambda: leases(server), 6)
    replied = ask(server, {"action": "echo", "args": 1})
    while replied.get("result") != 1:
        replied = answer(server)
    idle(server)
    assert set(marks()) <= {"signal", kept}


# --- cancel, drain, cut connections --------------------------------------------------------------------------------


def test_a_job_cancelled_while_it_was_claimed_ahead_is_not_started(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    warm(server)
    jobs = [*echoes("before", BEFORE), job("canceller", "cancel", "behind1"), *marked("behind", 4)]
    server.redis.rpush(LANE, *jobs)
    assert replies(server, BEFORE + 3) == [*ids(jobs[:BEFORE]), "behind0", "behind2", "behind3"]
    idle(server)
    assert marks() == ["behind0", "behind2", "behind3"]


def test_a_draining_worker_gives_back_what_it_claimed_ahead(server: Server, start: Start, marks: Marks) -> None:
    worker = start(server.url)
    warm(server)
    behind = marked("behind", 20)
    server.redis.rpush(LANE, *echoes("before", BEFORE), job("end", "signal", int(signal.SIGTERM)), *behind)
    assert worker.ends() == 0
    assert waiting(server) == behind
    assert not run_lists(server)
    assert marks() == ["signal"]
    assert replies(server, BEFORE + 1)[-1] == "end"


def test_claims_whose_answers_were_cut_are_done(server: Server, proxy: Proxy, start: Start, marks: Marks) -> None:
    start(proxy.url)
    warm(server)
    proxy.cut_on = b"\r\nLMOVE"
    jobs = marked("m", 60)
    server.redis.rpush(LANE, *jobs)
    got: set[str] = set()
    while len(got) < 60:
        got |= set(replies(server, 1))
    assert proxy.cuts == 1
    idle(server)
    assert sorted(marks()) == sorted(f"m{number}" for number in range(60)), "each once"


def test_a_ledger_under_random_cuts_has_no_loss(server: Server, proxy: Proxy, start: Start) -> None:
    start(proxy.url)
    warm(server)
    proxy.chance = 0.05
    wanted = {f"n{number}" for number in range(3000)}
    for number in range(0, 3000, 100):
        server.redis.rpush(LANE, *(job(f"n{number + step}", "echo", step) for step in range(100)))
    found = answered(server, wanted)
    assert proxy.cuts > 3
    assert wanted - found == set()
    proxy.chance = 0.0
    idle(server)


def test_lanes_keep_their_order_while_jobs_are_claimed_ahead(server: Server, start: Start, marks: Marks) -> None:
    start(server.url, TEMPEST_LANES="high,normal")
    server.redis.rpush(LANE, *echoes("warm", 100))
    replies(server, 100)
    server.redis.rpush(LANE, job("hold", "slow", 0.5))
    until(lambda: marks() == ["begin"])
    server.redis.rpush(LANE, *marked("normal", 20))
    server.redis.rpush(f"{LANE}:high", *marked("high", 10, lane="high"))
    replies(server, 31)
    done = marks()[2:]
    assert [each for each in done if each.startswith("high")] == [f"high{number}" for number in range(10)]
    assert [each for each in done if each.startswith("normal")] == [f"normal{number}" for number in range(20)]
    assert done.index("high9") < done.index("normal19")
