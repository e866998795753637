"""Background jobs from the push to the end: records, results, retries, dead jobs, unique keys, chains, groups."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import Process, Proxy, Server, until
from tempest import CallFailed, Client, Draft, Group, NoSuchJob, NotUnique, Record, chain
from tempest.limits import DEAD_AGE_MS, SHORT_JOB_S

Start = Callable[..., Process]
Marks = Callable[[], list[str]]

LANE = "tempest:{default}"


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(url=server.caller_url) as made:
        yield made


def left(server: Server) -> set[str]:
    """Keys of the queue but for those of workers that live."""
    keys = {key.decode() for key in server.redis.keys(f"{LANE}*")}
    return {key for key in keys if ":lease:" not in key and not key.endswith(":workers")}


def record(client: Client, job_id: str, state: str) -> Record:
    def reached() -> Record | None:
        found = client.job("default", job_id)
        return found if found is not None and found.state == state else None

    found: Record = until(reached)
    return found


def due_now(server: Server) -> None:
    """What a front does when a job is due."""
    for frame in server.redis.zrange(f"{LANE}:later", 0, -1):
        server.redis.zrem(f"{LANE}:later", frame)
        server.redis.rpush(LANE, frame)


def test_what_comes_after_a_job_comes_also_when_redis_forgot_it(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    after = {"id": "n", "action": "mark", "keep": 60_000, "args": "n"}
    job = {"id": "j", "action": "mark", "keep": 60_000, "then": [after], "args": "j"}
    kept = [f"{LANE}:job:{name}" for name in ("j", "n", "j:result", "n:result")]
    for times in (1, 2):
        # As a restart without the last moments has it: the job is there again, and nothing of its end.
        server.redis.pipeline().delete(*kept).rpush(LANE, json.dumps(job)).execute()
        until(lambda: server.redis.exists(*kept) == len(kept))
        assert marks() == ["j", "n"] * times


def test_a_copy_of_a_finished_job_holds_no_key(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    for _ in range(2):
        push = server.redis.pipeline().set(f"{LANE}:unique:k", "j").hset(f"{LANE}:job:j", "state", "waiting")
        push.rpush(LANE, json.dumps({"id": "j", "action": "mark", "unique": "k", "args": "j"})).execute()
        until(lambda: not left(server))
    assert marks() == ["j"]


def test_nothing_is_left_of_a_job_that_keeps_nothing(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url)
    ids = client.push_many("default", [Draft("mark", f"m{number}") for number in range(200)])
    until(lambda: len(marks()) == 200)
    until(lambda: not left(server))
    assert client.job("default", ids[0]) is None
    with pytest.raises(NoSuchJob, match=ids[0]):
        client.result("default", ids[0], timeout_s=5)


def test_a_result_is_kept_for_whoever_asks(server: Server, client: Client, start: Start) -> None:
    job_id = client.push("default", "echo", {"n": 1}, keep_s=60)
    with pytest.raises(CallFailed, match="timeout"):
        client.result("default", job_id)
    with pytest.raises(CallFailed, match="timeout"):
        client.result("default", job_id, timeout_s=0.05)
    start(server.url)
    assert client.result("default", job_id, timeout_s=10) == {"n": 1}
    assert client.result("default", job_id) == {"n": 1}
    found = record(client, job_id, "done")
    assert (found.attempt, found.worker, found.is_over) == (1, None, True)
    assert found.done_at
    assert found.work_us is not None
    assert found.action == "echo"
    for key in (f"{LANE}:job:{job_id}", f"{LANE}:job:{job_id}:result"):
        assert 0 < server.redis.pttl(key) <= 60_000
    assert server.redis.llen(f"{LANE}:run") == 0


def test_bytes_are_kept_as_bytes(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "echo", b"\0\xff", keep_s=60, encoding="msgpack")
    assert client.result("default", job_id, timeout_s=10) == b"\0\xff"


def test_many_kept_results(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    ids = client.push_many("default", [Draft("echo", number, keep_s=60) for number in range(300)])
    assert [client.result("default", each, timeout_s=10) for each in ids] == list(range(300))
    until(lambda: not any(":run:" in key for key in left(server)))


def test_a_forgotten_script_is_no_trouble(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    first = client.push("default", "echo", 1, keep_s=60)
    assert client.result("default", first, timeout_s=10) == 1
    server.redis.script_flush()
    second = client.push("default", "echo", 2, keep_s=60)
    assert client.result("default", second, timeout_s=10) == 2


def test_a_running_job_says_so(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "until", "go", keep_s=60)
    found = record(client, job_id, "running")
    assert found.worker is not None
    assert server.redis.exists(f"{LANE}:lease:{found.worker}")
    assert (found.attempt, bool(found.since)) == (1, True)
    server.redis.set("go", 1)
    assert client.result("default", job_id, timeout_s=10) == "go"
    assert record(client, job_id, "done").since is None


def test_a_job_tells_how_far_it_is(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "progress", "go", keep_s=60)
    found: Record = until(lambda: (known := client.job("default", job_id)) and known.progress and known)
    assert (found.state, found.progress) == ("running", {"done": 1})
    assert client.log("default", job_id) == ["begun"]
    server.redis.set("go", 1)
    assert client.result("default", job_id, timeout_s=10) == "told"
    assert client.log("default", job_id) == ["begun", "over"]
    assert 0 < server.redis.pttl(f"{LANE}:job:{job_id}:log") <= 60_000


def test_the_log_goes_with_the_job(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    server.redis.set("go", 1)
    client.push("default", "progress", "go")
    until(lambda: not left(server))


def test_what_is_told_after_the_end_is_written_nowhere(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url)
    client.push("default", "talkative", "go")
    until(lambda: not left(server))
    server.redis.set("go", 1)
    until(lambda: marks() == ["told"])
    assert not left(server)


def test_a_job_without_a_record_gets_one_when_it_tells_something(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    server.redis.rpush(LANE, json.dumps({"id": "j", "action": "progress", "args": "go"}))
    found: Record = until(lambda: (known := client.job("default", "j")) and known.progress and known)
    assert (found.state, client.log("default", "j")) == ("running", ["begun"])
    server.redis.set("go", 1)
    until(lambda: not left(server))


def test_a_job_that_was_taken_away_while_it_ran_keeps_its_record(server: Server, client: Client, start: Start) -> None:
    start(server.url, TEMPEST_CONCURRENCY="1")
    job_id = client.push("default", "until", "go")
    record(client, job_id, "running")
    time.sleep(SHORT_JOB_S)  # sooner nobody can have taken it away
    (run,) = server.redis.keys(f"{LANE}:run:*")
    server.redis.lmove(run, "elsewhere", "LEFT", "LEFT")
    server.redis.set("go", 1)
    following = client.push("default", "echo", 1, keep_s=60)
    assert client.result("default", following, timeout_s=10) == 1
    assert record(client, job_id, "running")


def test_an_end_whose_answer_was_cut_looks_before_it_removes_a_record(
    server: Server, proxy: Proxy, client: Client, start: Start
) -> None:
    proxy.cut_on = b"UNLINK"
    start(proxy.url)
    client.push("default", "echo")
    until(lambda: proxy.cuts == 1)
    following = client.push("default", "echo", 1, keep_s=60)
    assert client.result("default", following, timeout_s=10) == 1
    assert server.redis.info("commandstats")["cmdstat_unlink"]["calls"] == 1


def test_a_failure_is_tried_again_later(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "flaky", keep_s=60)
    found = record(client, job_id, "later")
    assert (found.code, found.message, found.attempt) == ("handler_error", "ValueError: not today", 1)
    assert found.due == int(server.redis.zrange(f"{LANE}:later", 0, -1, withscores=True)[0][1])
    due_now(server)
    assert client.result("default", job_id, timeout_s=10) == "at last"


def test_a_dead_job_is_kept_for_people(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "fail", attempts=1)
    found = record(client, job_id, "dead")
    assert (found.code, found.message) == ("handler_error", "RuntimeError: secret of the house")
    assert found.died_at
    (member,) = server.redis.zrange(f"{LANE}:dead", 0, -1)
    assert json.loads(member)["id"] == job_id
    assert 0 < server.redis.pttl(f"{LANE}:job:{job_id}") <= DEAD_AGE_MS
    with pytest.raises(CallFailed, match="handler_error"):
        client.result("default", job_id)


def test_how_a_job_died_is_its_result(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "nobody", keep_s=60)
    with pytest.raises(CallFailed, match="no_handler"):
        client.result("default", job_id, timeout_s=10)
    reply = json.loads(server.redis.lindex(f"{LANE}:job:{job_id}:result", 0))
    assert reply["error"]["code"] == "no_handler"


def test_a_job_that_came_too_late_is_dead(server: Server, client: Client, start: Start) -> None:
    job_id = client.push("default", "echo", ttl_s=0.01)
    deadline = json.loads(server.redis.lindex(LANE, 0))["deadline"]
    until(lambda: int(server.redis.time()[0] * 1000 + server.redis.time()[1] / 1000) > deadline)
    start(server.url)
    assert record(client, job_id, "dead").code == "expired"


def test_a_cancelled_job_leaves_nothing(server: Server, client: Client, start: Start, marks: Marks) -> None:
    start(server.url)
    job_id = client.push("default", "patient", 30, unique="u", keep_s=60)
    until(lambda: marks() == ["begin"])
    server.redis.publish(f"{LANE}:control", f"cancel {job_id}")
    until(lambda: not left(server))


# --- unique --------------------------------------------------------------------------------------------------------


def test_a_key_is_let_go_when_its_job_is_done(server: Server, client: Client, start: Start) -> None:
    job_id = client.push("default", "echo", unique="u", keep_s=60)
    with pytest.raises(NotUnique):
        client.push("default", "echo", unique="u")
    start(server.url)
    client.result("default", job_id, timeout_s=10)
    client.push("default", "echo", unique="u")
    until(lambda: not server.redis.exists(f"{LANE}:unique:u"))


def test_a_key_is_held_while_its_job_is_tried_again(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "flaky", unique="u")
    record(client, job_id, "later")
    with pytest.raises(NotUnique):
        client.push("default", "flaky", unique="u")
    due_now(server)
    until(lambda: not left(server))


def test_a_key_is_let_go_when_its_job_is_dead(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "fail", unique="u", attempts=1)
    record(client, job_id, "dead")
    assert not server.redis.exists(f"{LANE}:unique:u")


def test_a_key_may_be_held_only_while_its_job_waits(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "until", "go", unique="u", unique_while="queued", keep_s=60)
    until(lambda: not server.redis.exists(f"{LANE}:unique:u"))
    record(client, job_id, "running")
    second = client.push("default", "echo", unique="u", unique_while="queued")
    server.redis.set("go", 1)
    assert client.result("default", job_id, timeout_s=10) == "go"
    until(lambda: client.job("default", second) is None)


def test_a_key_held_for_a_time_outlives_its_job(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "echo", unique="u", unique_while="time", unique_s=60, keep_s=60)
    client.result("default", job_id, timeout_s=10)
    with pytest.raises(NotUnique):
        client.push("default", "echo", unique="u")


# --- chains and groups ---------------------------------------------------------------------------------------------


def test_a_chain_hands_on_what_came_out(server: Server, client: Client, start: Start, marks: Marks) -> None:
    start(server.url)
    start(server.url, TEMPEST_QUEUE="other")
    client.push_many(
        "default",
        [
            chain(
                Draft("input", 1, id="c1"),
                Draft("input", 2, id="c2", queue="other"),
                Draft("echo", 3, id="c3", keep_s=9),
            )
        ],
    )
    until(lambda: server.redis.exists("tempest:{other}:job:c3:result"))
    assert marks() == ["input:c1", "input:c2"]
    until(lambda: not any(":run:" in key for key in left(server)))
    reply = json.loads(server.redis.lindex("tempest:{other}:job:c3:result", 0))
    assert reply["result"] == 3
    assert not server.redis.exists(f"{LANE}:job:c1"), "nothing is left of one that keeps nothing"


def test_the_next_job_gets_the_result_as_input(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    client.push("default", "echo", {"x": [1]}, then=Draft("input", "mine", id="next", keep_s=60))
    until(lambda: client.job("default", "next"))
    assert client.result("default", "next", timeout_s=10) == {"args": "mine", "input": {"x": [1]}}


def test_a_job_without_an_id_has_a_next_one_too(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    following = [{"action": "input", "args": 2, "id": "next", "keep": 60_000}]
    server.redis.rpush(LANE, json.dumps({"action": "echo", "args": "first", "then": following}))
    until(lambda: client.job("default", "next"))
    assert client.result("default", "next", timeout_s=10) == {"args": 2, "input": "first"}


def test_what_comes_next_but_is_no_job_makes_its_job_dead(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    server.redis.rpush(LANE, json.dumps({"action": "echo", "id": "bad", "then": [{"args": 1}]}))
    assert record(client, "bad", "dead").code == "bad_job"


def test_a_failed_job_has_no_next_one(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "fail", attempts=1, then=Draft("echo", id="next"))
    record(client, job_id, "dead")
    assert client.job("default", "next") is None
    (member,) = server.redis.zrange(f"{LANE}:dead", 0, -1)
    assert json.loads(member)["then"][0]["id"] == "next", "its chain waits with it"


def test_a_group_ends_with_all_results_in_order(server: Server, client: Client, start: Start) -> None:
    for _ in range(2):
        start(server.url)
    group = client.group("default", [Draft("echo", number) for number in range(40)], Draft("input", "sum", keep_s=60))
    until(lambda: client.job("default", group.then))
    assert client.result("default", group.then, timeout_s=10) == {"args": "sum", "input": list(range(40))}
    until(lambda: left(server) == {f"{LANE}:job:{group.then}", f"{LANE}:job:{group.then}:result"})


def test_a_group_waits_for_a_job_that_is_tried_again(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    group = client.group("default", [Draft("echo", 1), Draft("flaky")], Draft("input", keep_s=60))
    record(client, group.jobs[1], "later")
    until(lambda: client.job("default", group.jobs[0]) is None)
    assert client.job("default", group.then) is None
    due_now(server)
    until(lambda: client.job("default", group.then))
    assert client.result("default", group.then, timeout_s=10)["input"] == [1, "at last"]


def pending(server: Server, group: Group) -> set[str]:
    """The jobs that the group waits for."""
    return {each.decode() for each in server.redis.smembers(f"{LANE}:group:{group.id}:pending")}


def test_a_job_that_is_cancelled_while_it_runs_leaves_its_group(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url, TEMPEST_CONCURRENCY="3")
    drafts = [Draft("waiting", 60, id="c1"), Draft("echo", 7), Draft("waiting", 60, id="c2")]
    group = client.group("default", drafts, Draft("input", keep_s=60))
    until(lambda: marks() == ["begin", "begin"] and pending(server, group) == {"c1", "c2"})
    server.redis.publish(f"{LANE}:control", "cancel c1")
    until(lambda: pending(server, group) == {"c2"})
    assert client.job("default", group.then) is None
    server.redis.publish(f"{LANE}:control", "cancel c2")
    record(client, group.then, "done")
    assert client.result("default", group.then, timeout_s=10)["input"] == [None, 7, None]
    until(lambda: left(server) == {f"{LANE}:job:{group.then}", f"{LANE}:job:{group.then}:result"})


def test_a_job_that_was_cancelled_before_it_is_claimed_leaves_its_group(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url)
    client.push("default", "waiting", 60, id="c0")
    until(lambda: marks() == ["begin"])
    group = client.group("default", [Draft("waiting", 60, id="c1")], Draft("input", keep_s=60))
    server.redis.publish(f"{LANE}:control", "cancel c1")
    server.redis.publish(f"{LANE}:control", "cancel c0")
    record(client, group.then, "done")
    assert client.result("default", group.then, timeout_s=10)["input"] == [None]
    assert marks().count("begin") == 1


@pytest.mark.parametrize("cut", [b"SREM", b"SCARD"])
def test_who_leaves_a_group_does_so_again_when_the_answer_was_cut(
    server: Server, proxy: Proxy, client: Client, start: Start, marks: Marks, cut: bytes
) -> None:
    start(proxy.url)
    group = client.group("default", [Draft("waiting", 60, id="c1")], Draft("input", keep_s=60))
    until(lambda: marks() == ["begin"])
    proxy.cut_on = cut
    server.redis.publish(f"{LANE}:control", "cancel c1")
    until(lambda: proxy.cuts == 1)
    record(client, group.then, "done")
    assert client.result("default", group.then, timeout_s=10)["input"] == [None]


def test_a_job_that_was_taken_away_does_not_leave_its_group(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url)
    group = client.group("default", [Draft("waiting", 60, id="c1")], Draft("input"))
    until(lambda: marks() == ["begin"])
    [run] = server.redis.keys(f"{LANE}:run:*")
    assert server.redis.lpop(run)
    server.redis.publish(f"{LANE}:control", "cancel c1")
    until(lambda: len(marks()) == 2)
    assert client.call("default", "echo", 1) == 1, "the one slot has settled what was before"
    assert pending(server, group) == {"c1"}, "whoever has it counts it"


def test_a_result_that_its_group_cannot_hold_is_dead_and_says_why(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url)
    mib = 1024 * 1024
    after = Draft("mark", "after")
    drafts = [
        Draft("large", 9 * mib),
        Draft("large", 9 * mib, keep_s=60, then=after),
        Draft("nest", 63),
        Draft("large", 3),
    ]
    group = client.group("default", drafts, Draft("lengths", keep_s=60))
    found = record(client, group.jobs[1], "dead")
    assert (found.code, str(9 * mib + 2) in str(found.message)) == ("too_large", True)
    with pytest.raises(CallFailed, match="too_large"):
        client.result("default", group.jobs[1])
    assert record(client, group.jobs[2], "dead").code == "bad_job"
    until(lambda: pending(server, group) == set(group.jobs[1:3]))
    assert (server.redis.zcard(f"{LANE}:dead"), marks()) == (2, [])
    # Somebody who deletes a dead job counts it; the last one ends the group.
    server.redis.srem(f"{LANE}:group:{group.id}:pending", group.jobs[1])
    server.redis.zremrangebyrank(f"{LANE}:dead", 0, -1)
    server.redis.rpush(LANE, json.dumps({"id": group.jobs[2], "action": "echo", "group": f"default:{group.id}"}))
    record(client, group.then, "done")
    assert client.result("default", group.then, timeout_s=10) == [9 * mib, None, None, 3]


def test_a_result_alone_that_is_larger_than_its_group_may_be(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    group = client.group("default", [Draft("large", 17 * 1024 * 1024)], Draft("input"))
    assert record(client, group.jobs[0], "dead").code == "too_large"


def test_a_result_too_large_to_be_kept_or_handed_on_is_dead_at_once_and_says_why(
    server: Server, client: Client, start: Start, marks: Marks
) -> None:
    start(server.url)
    size = 17 * 1024 * 1024
    kept = client.push("default", "large", size, keep_s=60)
    handed_on = client.push("default", "large", size, then=Draft("mark", "after"))
    for job_id in (kept, handed_on):
        found = record(client, job_id, "dead")
        assert (found.code, found.attempt) == ("too_large", 1)
        assert "16777216 are allowed" in str(found.message)
    with pytest.raises(CallFailed, match="too_large"):
        client.result("default", kept)
    assert marks() == []


# --- typed arguments -----------------------------------------------------------------------------------------------


def test_arguments_become_what_the_handler_asks_for(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    parcel: Any = {"to": {"name": "Bob"}, "weight_kg": 2}
    assert client.call("default", "typed", parcel) == "Bob 2.0 []"


def test_arguments_that_do_not_fit_are_final(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    job_id = client.push("default", "typed", {"to": {"name": 7}, "weight_kg": 2})
    found = record(client, job_id, "dead")
    assert (found.code, found.message) == ("bad_job", "args.to.name is text, not 7")
    with pytest.raises(CallFailed, match=r"bad_job: args\.weight_kg is missing"):
        client.call("default", "typed", {"to": {"name": "Bob"}})


# --- faults --------------------------------------------------------------------------------------------------------


def test_a_ledger_of_background_jobs_under_random_cuts_has_no_loss(
    server: Server, proxy: Proxy, client: Client, start: Start
) -> None:
    start(proxy.url, TEMPEST_LANES="high,normal")
    proxy.chance = 0.05
    count = 120
    kept = client.push_many(
        "default",
        [Draft("echo", n, keep_s=60, lane="high" if n % 3 else "normal", key="k" if n % 40 == 7 else None)
         for n in range(count)],
    )  # fmt: skip
    chained = [chain(Draft("echo", n), Draft("echo", n + 1), Draft("input", keep_s=60, id=f"l{n}")) for n in range(20)]
    client.push_many("default", chained)
    group = client.group("default", [Draft("echo", n) for n in range(30)], Draft("input", keep_s=60))
    try:
        assert [result_of(client, each) for each in kept] == list(range(count))
        assert [result_of(client, f"l{n}")["input"] for n in range(20)] == list(range(1, 21))
        assert result_of(client, group.then)["input"] == list(range(30))
    finally:
        proxy.chance = 0.0
    assert proxy.cuts > 0
    until(lambda: not any(":run:" in key for key in left(server)))


def result_of(client: Client, job_id: str) -> Any:
    until(lambda: client.job("default", job_id), 30)
    return client.result("default", job_id, timeout_s=30)


@pytest.mark.parametrize("action", ["echo", "fail"])
def test_an_end_whose_answer_was_cut_comes_once(
    server: Server, proxy: Proxy, client: Client, start: Start, action: str
) -> None:
    start(proxy.url)
    proxy.cut_on = b"done_at" if action == "echo" else b"died_at"
    following = Draft("echo", id="next", keep_s=60)
    job_id = client.push("default", action, 1, attempts=1, keep_s=60, then=following)
    until(lambda: proxy.cuts == 1)
    with contextlib.suppress(CallFailed):
        assert client.result("default", job_id, timeout_s=10) == 1
    until(lambda: not any(":run:" in key for key in left(server)))
    assert server.redis.zcard(f"{LANE}:dead") == (action == "fail")
    assert (client.job("default", "next") is None) == (action == "fail")


def test_a_job_that_was_taken_away_changes_nothing(server: Server, client: Client, start: Start, marks: Marks) -> None:
    start(server.url)
    job_id = client.push("default", "until", "go", keep_s=60)
    record(client, job_id, "running")
    (run_key,) = server.redis.keys(f"{LANE}:run:*")
    server.redis.delete(run_key)
    server.redis.hset(f"{LANE}:job:{job_id}", "state", "waiting")
    server.redis.set("go", 1)
    second = client.push("default", "echo", 2, keep_s=60)
    assert client.result("default", second, timeout_s=10) == 2
    found = client.job("default", job_id)
    assert found is not None
    assert found.state == "waiting", "whoever took it away says what becomes of it"
    assert not server.redis.exists(f"{LANE}:job:{job_id}:result")
