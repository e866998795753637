"""Limits of a queue, and of jobs with a key."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import Process, Server, until
from tempest import Client, Draft
from tempest.queue_limits import QueueLimits

Start = Callable[..., Process]
Marks = Callable[[], list[str]]

LANE = "tempest:{default}"


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(url=server.caller_url) as made:
        yield made


def limit(server: Server, **fields: Any) -> None:
    """What the tool does: writes the hash and says so."""
    server.redis.delete(f"{LANE}:limits")
    if fields:
        server.redis.hset(f"{LANE}:limits", mapping=fields)
    server.redis.publish(f"{LANE}:control", "limits")


def claimed(server: Server) -> list[bytes]:
    return [frame for key in server.redis.keys(f"{LANE}:run:*") for frame in server.redis.lrange(key, 0, -1)]


def calls(server: Server, command: str) -> int:
    found: int = server.redis.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)
    return found


def looked(server: Server, command: str) -> None:
    """Waits until the worker has looked at its limits and has asked again."""
    before = calls(server, command)
    until(lambda: calls(server, command) > before + 1)


def test_only_what_governs_claims_counts() -> None:
    limits = QueueLimits()
    assert not limits.learn("q", [None, None, None])
    assert not limits.is_any
    assert limits.learn("q", [b"1", None, None])
    assert (limits.is_any, limits.governs("q"), limits.is_paused("q")) == (True, True, True)
    assert not limits.learn("q", [b"1", None, None])
    assert limits.learn("q", [b"0", None, b"5"])
    assert (limits.governs("q"), limits.is_paused("q"), limits.governs("other")) == (True, False, False)
    assert limits.learn("q", [None, None, None])
    assert not limits.is_any


@pytest.mark.parametrize("lanes", ["normal", "high,normal"])
def test_a_paused_queue_is_not_claimed_from(
    server: Server, client: Client, start: Start, marks: Marks, lanes: str
) -> None:
    limit(server, paused=1)
    start(server.url, TEMPEST_LANES=lanes)
    client.push_many("default", [Draft("mark", number) for number in range(3)])
    looked(server, "hmget")
    assert (marks(), server.redis.llen(LANE)) == ([], 3)
    limit(server)
    until(lambda: marks() == ["0", "1", "2"])


def test_a_pause_is_heard_while_a_worker_waits(server: Server, client: Client, start: Start, marks: Marks) -> None:
    start(server.url)
    limit(server, paused=1)
    looked(server, "hmget")
    client.push("default", "mark", 1)
    looked(server, "hmget")
    assert (marks(), server.redis.llen(LANE)) == ([], 1)
    limit(server)
    until(lambda: marks() == ["1"])


@pytest.mark.parametrize("lanes", ["normal", "high,normal"])
def test_no_more_run_at_a_time_than_may(server: Server, client: Client, start: Start, marks: Marks, lanes: str) -> None:
    limit(server, concurrency=2)
    for _ in range(2):
        start(server.url, TEMPEST_CONCURRENCY="2", TEMPEST_LANES=lanes)
    ids = client.push_many("default", [Draft("until", "go", keep_s=60) for _ in range(6)])
    until(lambda: len(marks()) == 2)
    looked(server, "smembers")
    assert (len(marks()), len(claimed(server))) == (2, 2)
    server.redis.set("go", 1)
    assert [client.result("default", each, timeout_s=10) for each in ids] == ["go"] * 6
    until(lambda: not claimed(server))


def test_a_limited_queue_that_is_empty_waits_without_asking(server: Server, client: Client, start: Start) -> None:
    limit(server, concurrency=5)
    start(server.url)
    until(lambda: any(each["cmd"] == "blmove" for each in server.redis.client_list()))
    job_id = client.push("default", "echo", 1, keep_s=60)
    assert client.result("default", job_id, timeout_s=10) == 1


def test_a_rate_spreads_the_starts(server: Server, client: Client, start: Start) -> None:
    limit(server, rate=20)
    start(server.url)
    ids = client.push_many("default", [Draft("echo", keep_s=60) for _ in range(10)])
    for each in ids:
        client.result("default", each, timeout_s=10)
    done = sorted(int(server.redis.hget(f"{LANE}:job:{each}", "done_at")) for each in ids)
    assert done[-1] - done[0] >= 8 * 50 - 50, "two at once, then one each 50 ms"


# --- jobs with a key -----------------------------------------------------------------------------------------------


def test_one_job_of_a_key_runs_at_a_time(server: Server, client: Client, start: Start, marks: Marks) -> None:
    for _ in range(3):
        start(server.url)
    ids = client.push_many("default", [Draft("slow", 0.02, key="k", keep_s=60) for _ in range(8)])
    assert [client.result("default", each, timeout_s=20) for each in ids] == ["slept"] * 8
    assert marks() == ["begin", "end"] * 8
    until(lambda: not server.redis.exists(f"{LANE}:key:k", f"{LANE}:aside:k", f"{LANE}:asides"))


def test_other_keys_run_beside(server: Server, client: Client, start: Start, marks: Marks) -> None:
    start(server.url, TEMPEST_CONCURRENCY="3")
    client.push("default", "until", "go", key="a")
    until(lambda: marks() == ["begin"])
    second = client.push("default", "echo", 2, key="a", keep_s=60)
    until(lambda: server.redis.llen(f"{LANE}:aside:a") == 1)
    record = client.job("default", second)
    assert record is not None
    assert (record.state, record.key) == ("waiting", "a")
    third = client.push("default", "echo", 3, key="b", keep_s=60)
    assert client.result("default", third, timeout_s=10) == 3
    assert server.redis.smembers(f"{LANE}:asides") == {b"a"}
    server.redis.set("go", 1)
    assert client.result("default", second, timeout_s=10) == 2


def test_as_many_of_a_key_run_as_may(server: Server, client: Client, start: Start, marks: Marks) -> None:
    limit(server, per_key=2)
    start(server.url, TEMPEST_CONCURRENCY="4")
    ids = client.push_many("default", [Draft("until", "go", key="k", keep_s=60) for _ in range(4)])
    until(lambda: server.redis.llen(f"{LANE}:aside:k") == 2)
    assert len(marks()) == 2
    server.redis.set("go", 1)
    assert [client.result("default", each, timeout_s=10) for each in ids] == ["go"] * 4


def test_what_is_set_aside_goes_back_to_its_own_lane(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url, TEMPEST_CONCURRENCY="2", TEMPEST_LANES="high,normal")
    client.push("default", "until", "go", key="k")
    until(lambda: marks() == ["begin"])
    client.push("default", "until", "never", key="k", lane="high", id="urgent")
    until(lambda: server.redis.llen(f"{LANE}:aside:k") == 1)
    limit(server, paused=1)
    looked(server, "hmget")
    server.redis.set("go", 1)
    until(lambda: server.redis.llen(f"{LANE}:high") == 1)
    assert json.loads(server.redis.lindex(f"{LANE}:high", 0))["id"] == "urgent"


def test_jobs_with_a_key_are_not_claimed_beside_others(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    drafts = [Draft("echo", number, key="k" if number % 5 == 0 else None, keep_s=60) for number in range(100)]
    ids = client.push_many("default", drafts)
    assert [client.result("default", each, timeout_s=20) for each in ids] == list(range(100))


def test_a_place_of_a_worker_that_died_is_free_again(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    dying = start(server.url)
    client.push("default", "until", "never", key="k", attempts=1)
    until(lambda: marks() == ["begin"])
    dying.kill()
    for run_key in server.redis.keys(f"{LANE}:run:*"):
        server.redis.delete(run_key)  # what recovery does when it gives the job up
    start(server.url)
    job_id = client.push("default", "echo", 1, key="k", keep_s=60)
    assert client.result("default", job_id, timeout_s=10) == 1


def test_the_key_of_a_failed_job_is_released(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    for action in itertools.islice(itertools.cycle(["fail", "flaky"]), 4):
        client.push("default", action, key="k")
    job_id = client.push("default", "echo", 1, key="k", keep_s=60)
    assert client.result("default", job_id, timeout_s=10) == 1
