"""Nothing is lost and nothing is run that others were given: kills, stops, cuts, and Redis in trouble."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from conftest import Process, Proxy, Server, until
from test_worker import MAILBOX, answer, answered, ask, idle, leases, members, run_lists

Start = Callable[..., Process]
Marks = Callable[[], list[str]]

LANE = "tempest:{default}"


def only_run_list(server: Server) -> tuple[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = until(lambda: run_lists(server))
    assert len(found) == 1
    return next(iter(found.items()))


# --- registration --------------------------------------------------------------------------------------------------


def test_the_first_beat_is_answered_before_the_first_claim(server: Server, start: Start) -> None:
    with server.redis.monitor() as monitor:
        start(server.url)
        seen: list[str] = []
        while not any(command.startswith("BLMOVE") for command in seen):
            seen.append(monitor.next_command()["command"])
    lease = next(at for at, command in enumerate(seen) if command.startswith("SET tempest:{default}:lease:"))
    workers = next(at for at, command in enumerate(seen) if command.startswith("SADD tempest:{default}:workers"))
    assert workers < lease < len(seen) - 1
    assert seen[lease].endswith("PX 3000")
    assert seen[-1].startswith("BLMOVE tempest:{default} tempest:{default}:run:")
    assert seen[-1].endswith(" LEFT RIGHT 2.0")


def test_a_forgotten_registration_is_there_again(server: Server, start: Start) -> None:
    start(server.url)
    server.redis.flushall()
    until(lambda: leases(server) and server.redis.smembers("tempest:{default}:workers"), 2.5)
    assert server.redis.smembers("tempest:queues") == {b"default"}


def test_a_killed_worker_leaves_its_job_where_recovery_finds_it(server: Server, start: Start, marks: Marks) -> None:
    worker = start(server.url)
    frame = b'{"id":"k1", "action":"slow","args":60}'
    server.redis.rpush(LANE, frame)
    until(lambda: marks() == ["begin"])
    worker.signal(signal.SIGKILL)
    worker.ends()
    key, jobs = only_run_list(server)
    assert jobs == [frame]
    entry = key.rpartition(b":run:")[2]
    assert server.redis.smembers("tempest:{default}:workers") == {entry}
    until(lambda: not leases(server), 4)


def test_a_worker_killed_while_it_waits_gets_nothing(server: Server, start: Start) -> None:
    worker = start(server.url)
    time.sleep(0.2)
    worker.signal(signal.SIGKILL)
    worker.ends()
    until(lambda: all(client["cmd"] != "blmove" for client in server.redis.client_list()))
    server.redis.rpush(LANE, "{}")
    assert server.redis.llen(LANE) == 1
    assert not run_lists(server)


# --- cut connections -----------------------------------------------------------------------------------------------


def test_a_claim_whose_answer_was_cut_is_done(server: Server, proxy: Proxy, start: Start, marks: Marks) -> None:
    start(proxy.url)
    proxy.cut_on = b"BLMOVE"
    until(lambda: server.redis.info("commandstats").get("cmdstat_blmove", {}).get("calls", 0) >= 2)
    server.redis.rpush(LANE, json.dumps({"id": "c1", "action": "mark", "args": "c1", "reply_to": MAILBOX}))
    assert answer(server)["result"] is None
    assert proxy.cuts == 1
    idle(server)
    assert marks() == ["c1"]
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1


def test_an_ack_whose_answer_was_cut_is_repeated_and_nothing_run_twice(
    server: Server, proxy: Proxy, start: Start, marks: Marks
) -> None:
    start(proxy.url)
    proxy.cut_on = b"LREM"
    job = {"id": "c2", "action": "mark", "args": "c2", "reply_to": MAILBOX}
    server.redis.rpush(LANE, json.dumps(job))
    assert answer(server)["id"] == "c2"
    until(lambda: proxy.cuts == 1)
    idle(server)
    assert answer(server)["id"] == "c2", "both reply and ack are sent again"
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1
    assert marks() == ["c2"]


def test_a_reply_that_was_cut_on_its_way_is_sent_again_and_nothing_run_twice(
    server: Server, proxy: Proxy, start: Start, marks: Marks
) -> None:
    start(proxy.url)
    proxy.cut_before = b"LREM"
    server.redis.rpush(LANE, json.dumps({"id": "c4", "action": "mark", "args": "c4", "reply_to": MAILBOX}))
    assert answer(server)["id"] == "c4"
    assert proxy.cuts == 1
    idle(server)
    assert marks() == ["c4"]


@pytest.mark.parametrize("attempt", [1, 3])
@pytest.mark.parametrize(("job_id", "cut_on"), [(None, b"EXEC"), ("c3", b"EVAL")])
def test_a_failure_whose_answer_was_cut_is_kept_once(
    server: Server, proxy: Proxy, start: Start, attempt: int, job_id: str | None, cut_on: bytes
) -> None:
    start(proxy.url)
    proxy.cut_on = cut_on
    server.redis.rpush(LANE, json.dumps({"id": job_id, "action": "fail", "attempt": attempt}))
    until(lambda: proxy.cuts == 1)
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1
    idle(server)
    kept = {"later": members(server, "later"), "dead": members(server, "dead")}
    assert [len(each) for each in kept.values()] == ([1, 0] if attempt == 1 else [0, 1])


def test_a_ledger_under_random_cuts_has_no_loss(server: Server, proxy: Proxy, start: Start) -> None:
    start(proxy.url, TEMPEST_LANES="high,normal")
    proxy.chance = 0.01
    wanted = {f"n{number}" for number in range(1500)}
    for number, job_id in enumerate(sorted(wanted)):
        lane = LANE + ":high" * (number % 3 == 0)
        job = {"id": job_id, "reply_to": MAILBOX, "action": "echo", "args": number}
        server.redis.rpush(lane, json.dumps(job))
    found = answered(server, wanted)
    assert proxy.cuts > 10
    assert wanted - found == set()
    proxy.chance = 0.0
    idle(server)


def test_a_stray_claim_is_found_under_load(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    (entry,) = server.redis.smembers("tempest:{default}:workers")
    run_key = f"tempest:{{default}}:run:{entry.decode()}"
    server.redis.rpush(LANE, *(json.dumps({"action": "slow", "args": 0.02}) for _ in range(400)))
    until(lambda: len(marks()) > 10)
    server.redis.rpush(run_key, '{"id":"stray","action":"mark","args":"stray"}')
    until(lambda: "stray" in marks(), 4)
    assert server.redis.llen(LANE) > 50, "it was found while the lane was never empty"


# --- stopped processes ---------------------------------------------------------------------------------------------


def stopped_with_a_job(server: Server, worker: Process, queue: str) -> bool:
    """Stops a worker and gives it a job whose claim it cannot read. Gives whether its claim was blocked in that moment;
    if not the worker goes on and the job is gone."""
    lane, job = f"tempest:{{{queue}}}", json.dumps({"id": queue, "action": "mark", "args": queue})
    worker.stop()
    server.redis.rpush(lane, job)
    if run_lists(server, queue):
        return True
    assert server.redis.lrem(lane, 1, job) == 1
    worker.signal(signal.SIGCONT)
    time.sleep(0.05)
    return False


def test_a_worker_stopped_beyond_its_lease_does_not_start_what_others_took(
    server: Server, start: Start, marks: Marks
) -> None:
    queues = [f"q{number}" for number in range(6)]
    workers = [start(server.url, TEMPEST_QUEUE=queue) for queue in queues]
    for worker, queue in zip(workers, queues, strict=True):
        until(partial(stopped_with_a_job, server, worker, queue))
    until(lambda: not server.redis.keys("tempest:{*}:lease:*"), 5)
    # What recovery does, for all but the last one.
    for queue in queues[:-1]:
        for key in run_lists(server, queue):
            server.redis.delete(key)
    for worker in workers:
        worker.signal(signal.SIGCONT)
    until(lambda: marks() == ["q5"], 5)
    until(lambda: len(server.redis.keys("tempest:{*}:lease:*")) == 6, 5)
    for queue in queues[:-1]:
        mailbox = {"id": f"after-{queue}", "reply_to": MAILBOX, "action": "echo", "args": queue}
        server.redis.rpush(f"tempest:{{{queue}}}", json.dumps(mailbox))
    assert {answer(server)["result"] for _ in queues[:-1]} == set(queues[:-1])
    assert marks() == ["q5"], "only the job that nobody took was started"


def test_a_failed_job_that_was_taken_away_meanwhile_is_not_put_off(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    server.redis.rpush(LANE, '{"id":"t1","action":"slow-fail","args":0.5}')
    until(lambda: marks() == ["begin"])
    for key in run_lists(server):
        server.redis.delete(key)
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1
    assert members(server, "later") == []


# --- Redis in trouble ----------------------------------------------------------------------------------------------


def test_a_refused_reply_is_kept_and_sent_again(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    server.redis.rpush(LANE, json.dumps({"id": "o1", "reply_to": MAILBOX, "action": "slow", "args": 0.5}))
    until(lambda: marks() == ["begin"])
    server.redis.config_set("maxmemory", "1")
    until(lambda: marks() == ["begin", "end"])
    idle(server)
    assert server.redis.llen(MAILBOX) == 0
    time.sleep(1.5)
    server.redis.config_set("maxmemory", "0")
    assert answer(server)["result"] == "slept"
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1


def test_a_failure_under_oom_is_kept_and_put_off_later(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    frame = b'{"id":"o2","action":"slow-fail","args":0.5}'
    server.redis.rpush(LANE, frame)
    until(lambda: marks() == ["begin"])
    server.redis.config_set("maxmemory", "1")
    time.sleep(1.5)
    assert list(run_lists(server).values()) == [[frame]]
    server.redis.config_set("maxmemory", "0")
    until(lambda: members(server, "later"))
    idle(server)
    assert marks() == ["begin"], "it was run once"


def test_workers_outlive_redis(server: Server, start: Start) -> None:
    worker = start(server.url, TEMPEST_LANES="high,normal")
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1
    server.kill()
    time.sleep(3.5)
    server.start()
    result = ask(server, {"action": "echo", "args": 2})["result"]
    # If Redis died before the worker had read that the first job is acked, its reply comes once more.
    assert result == 2 or answer(server)["result"] == 2
    assert worker.process.poll() is None
    until(lambda: server.redis.publish("tempest:{default}:control", "drain"))
    assert worker.ends() == 0
    assert worker.said().count("Redis is in trouble") == 1, "an outage is said once"


def test_an_account_without_unblock_still_drains_and_serves_lanes(server: Server, start: Start) -> None:
    server.redis.execute_command("ACL", "SETUSER", "worker", "-client|unblock")
    worker = start(server.url, TEMPEST_LANES="high,normal,low")
    for lane in (":high", "", ":low") * 3:
        assert ask(server, {"action": "echo", "args": lane}, LANE + lane)["result"] == lane
    worker.signal(signal.SIGTERM)
    assert worker.ends(5) == 0
    assert "not permitted" in worker.said()
    server.redis.acl_log_reset()


def test_a_missing_permission_is_said_once_and_waited_for(server: Server, start: Start) -> None:
    worker = start(server.url)
    server.redis.execute_command("ACL", "SETUSER", "worker", "-blmove")
    until(lambda: "NOPERM" in worker.said(), 6)
    server.redis.execute_command("ACL", "SETUSER", "worker", "+blmove")
    server.redis.rpush(LANE, json.dumps({"id": "p1", "reply_to": MAILBOX, "action": "echo", "args": 1}))
    assert answer(server, 8)["result"] == 1
    assert worker.said().count("Redis is in trouble") == 1
    until(lambda: "Redis serves again: NOPERM" in worker.said(), 8)
    server.redis.acl_log_reset()
