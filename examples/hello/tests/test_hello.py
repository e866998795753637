"""The hello workers side by side: the same behaviour in every language, with and without an SDK."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from conftest import until

Start = Callable[..., "subprocess.Popen[bytes]"]

LANE = "tempest:{default}"
MAILBOX = "tempest:mailbox:{front-1}"
numbers = itertools.count(1)


def job(**fields: Any) -> str:
    """A job as the front writes it: no blanks, `args` last."""
    envelope = {
        "id": f"j{next(numbers)}",
        "reply_to": MAILBOX,
        "action": "url",
        **fields,
    }
    args = {
        "method": "GET",
        "url": "/",
        "headers": {"host": "h"},
        "remote": "127.0.0.1",
        "scheme": "http",
        "host": "h",
    }
    given = {name: value for name, value in envelope.items() if value is not None}
    return json.dumps({**given, "args": args}, separators=(",", ":"))


def answer(server: redis.Redis, within_s: float = 6) -> dict[str, Any]:
    popped = server.blpop([MAILBOX], within_s)
    assert popped, "no reply"
    return json.loads(popped[1])


def ask(server: redis.Redis, frame: str) -> dict[str, Any]:
    server.rpush(LANE, frame)
    return answer(server)


def held(server: redis.Redis) -> list[bytes]:
    """Everything in run lists."""
    return [frame for key in server.keys("*:run:*") for frame in server.lrange(key, 0, -1)]


def dead(server: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(member) for member in server.zrange(f"{LANE}:dead", 0, -1)]


def test_it_counts_and_acks(server: redis.Redis, start: Start) -> None:
    start()
    for number in (1, 2, 3):
        frame = job()
        reply = ask(server, frame)
        # What an SDK tells of its time.
        timing = [reply.pop(name, 0) for name in ("claimed_at", "work_us")]
        assert all(type(value) is int for value in timing)
        assert reply == {
            "id": json.loads(frame)["id"],
            "attempt": 1,
            "status": 200,
            "headers": {"content-type": "text/plain; charset=utf-8"},
            "body": f"Hello world! #{number}",
        }
        until(lambda: not held(server))
    assert server.llen(LANE) == 0
    assert dead(server) == []


def test_it_is_registered_before_it_claims(server: redis.Redis, start: Start) -> None:
    worker = start(TEMPEST_WORKER_TAG="abc123")
    (lease,) = server.keys("*:lease:*")
    name = lease.decode().removeprefix(f"{LANE}:lease:")
    assert name.endswith(f"-{worker.pid}-abc123")
    assert server.smembers(f"{LANE}:workers") == {f"{name}.0".encode()}
    assert server.smembers("tempest:queues") == {b"default"}
    assert json.loads(server.get(lease))["lang"] in ("python", "ruby", "node", "sh")
    for _ in range(12):
        assert server.pttl(lease) > 500
        time.sleep(0.2)


def test_it_repeats_the_attempt_wherever_it_stands(server: redis.Redis, start: Start) -> None:
    start()
    assert ask(server, job(attempt=2))["attempt"] == 2
    assert ask(server, '{"attempt":3,' + job()[1:])["attempt"] == 3


def test_bodies_and_blanks_do_not_matter(server: redis.Redis, start: Start) -> None:
    start()
    whole = json.loads(job())
    whole["args"]["body"] = '"reply_to":"tempest:{other}","action":"evil",\n\\{"args":é'
    for frame in (
        json.dumps(whole),
        json.dumps(whole, ensure_ascii=False),
        f" {json.dumps(whole)}\n",
    ):
        server.delete(MAILBOX)
        whole["id"] = f"b{next(numbers)}"
        assert ask(server, frame.replace(json.loads(frame)["id"], whole["id"]))["status"] == 200
        until(lambda: not held(server))


def test_an_unknown_action_is_answered_or_dead(server: redis.Redis, start: Start) -> None:
    start()
    assert ask(server, job(action="mail"))["error"]["code"] == "no_handler"
    server.rpush(LANE, job(action="mail", reply_to=None))
    assert until(lambda: dead(server))[0]["error"]["code"] == "no_handler"
    until(lambda: not held(server))


@pytest.mark.parametrize(
    "frame",
    [
        b"hello",
        b"\xff\x00\r\n\\x41\"'$(date)",
        b'{"action":',
        b'["url",[],"127.0.0.1:1",1]',
        b'{"id":"x"}',
        bytes.fromhex("82a6616374696f6ea375726ca461726773c4030aff00"),
        b'{"id":"x","reply_to":"tempest:{other}","action":"url"}',
        b'{"id":"x","reply_to":"other:mailbox:{a}","action":"url"}',
    ],
)
def test_what_it_cannot_read_goes_to_dead_byte_for_byte(
    server: redis.Redis, start: Start, language: str, frame: bytes
) -> None:
    if language == "python-sdk" and frame[0] == 0x82:
        pytest.skip("the SDK reads MessagePack")
    start()
    server.rpush(LANE, frame)
    (kept,) = until(lambda: dead(server))
    assert kept["error"]["code"] == "bad_job"
    assert base64.b64decode(kept["raw_base64"]) == frame
    assert abs(kept["died_at"] - time.time() * 1000) < 5_000
    until(lambda: not held(server))
    assert not server.exists("tempest:{other}", "other:mailbox:{a}")
    assert ask(server, job())["body"] == "Hello world! #1"


def test_a_late_job_is_acked_unrun(server: redis.Redis, start: Start) -> None:
    start()
    server.rpush(LANE, job(deadline=int(time.time() * 1000) - 5_000))
    until(lambda: not server.llen(LANE) and not held(server))
    assert ask(server, job(deadline=int(time.time() * 1000) + 60_000))["body"] == "Hello world! #1"


def test_what_lies_in_its_run_list_is_its_next_job(server: redis.Redis, start: Start) -> None:
    start()
    (entry,) = server.smembers(f"{LANE}:workers")
    server.rpush(f"{LANE}:run:{entry.decode()}", job(id="stray"))
    assert answer(server)["id"] == "stray"
    until(lambda: not held(server))


def is_waiting(server: redis.Redis) -> bool:
    """Whether a worker is blocked in its claim."""
    return any(client["cmd"] == "blmove" and "b" in client["flags"] for client in server.client_list())


def is_stopped(worker: subprocess.Popen[bytes]) -> bool:
    """Whether every thread has come to a halt: after SIGSTOP some may still run for a while on a busy machine."""
    stats = Path(f"/proc/{worker.pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(") ")[2].startswith("T") for stat in stats)


def stop_when_waiting(server: redis.Redis, worker: subprocess.Popen[bytes]) -> None:
    """Stops it while it waits for a job: the next one will be in its run list, unread."""

    def stopped_in_time() -> bool:
        until(lambda: is_waiting(server))
        os.kill(worker.pid, signal.SIGSTOP)
        until(lambda: is_stopped(worker))
        if not is_waiting(server):
            os.kill(worker.pid, signal.SIGCONT)
            return False
        return True

    until(stopped_in_time)


def test_killed_with_a_claim_it_leaves_the_job_and_its_name(server: redis.Redis, start: Start) -> None:
    worker = start()
    stop_when_waiting(server, worker)
    frame = job()
    server.rpush(LANE, frame)
    until(lambda: held(server) == [frame.encode()])
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    (key,) = server.keys("*:run:*")
    assert server.smembers(f"{LANE}:workers") == {key.rpartition(b":run:")[2]}
    until(lambda: not server.keys("*:lease:*"), 5)
    assert held(server) == [frame.encode()]
    time.sleep(1.2)
    assert not server.keys("*:lease:*"), "nothing beats for a dead worker"


def test_stopped_beyond_its_lease_it_does_not_start_what_others_took(server: redis.Redis, start: Start) -> None:
    worker = start()
    for is_taken in (True, False):
        stop_when_waiting(server, worker)
        server.rpush(LANE, job(id=f"taken-{is_taken}"))
        until(lambda: held(server))
        until(lambda: not server.keys("*:lease:*"), 6)
        if is_taken:
            server.delete(*server.keys("*:run:*"))
        os.kill(worker.pid, signal.SIGCONT)
        until(lambda: server.keys("*:lease:*"), 5)
        assert ask(server, job(id="after"))["id"] == ("after" if is_taken else "taken-False")
        until(lambda: not held(server))


def test_a_refused_reply_loses_nothing(server: redis.Redis, start: Start) -> None:
    worker = start()
    stop_when_waiting(server, worker)
    server.rpush(LANE, job(id="o1"))
    until(lambda: held(server))
    server.config_set("maxmemory", "1")
    os.kill(worker.pid, signal.SIGCONT)
    time.sleep(1.5)
    assert server.llen(MAILBOX) == 0
    server.config_set("maxmemory", "0")
    assert answer(server, 10)["id"] == "o1"
    until(lambda: not held(server))


def test_it_outlives_redis_connections(server: redis.Redis, start: Start) -> None:
    start()
    assert ask(server, job())["status"] == 200
    for _ in range(3):
        server.client_kill_filter(_type="normal", skipme=True)
        assert ask(server, job())["status"] == 200
    until(lambda: not held(server))


def test_forgotten_by_redis_it_is_registered_anew_before_it_claims(server: redis.Redis, start: Start) -> None:
    start()
    until(lambda: is_waiting(server))
    with server.monitor() as monitor, server.client() as one:
        own = {one.client_id(), *(each["id"] for each in server.client_list() if each["cmd"] == "monitor")}
        others = [each["id"] for each in server.client_list() if int(each["id"]) not in map(int, own)]
        # As a restart of Redis without its data, but for the time that takes.
        both = one.pipeline().flushall().rpush(LANE, job())
        for number in others:
            both.execute_command("CLIENT", "KILL", "ID", number)
        both.execute()
        commands = (each["command"].split() for each in monitor.listen())
        seen = itertools.takewhile(lambda words: words[0].upper() not in ("BLMOVE", "LMOVE"), commands)
        after = itertools.dropwhile(lambda words: words[0].upper() != "FLUSHALL", seen)
        assert ["SADD", f"{LANE}:workers"] in [[words[0].upper(), *words[1:2]] for words in after]
    assert answer(server)["status"] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_nothing_is_left(server: redis.Redis, start: Start, number: signal.Signals) -> None:
    worker = start()
    assert ask(server, job())["body"] == "Hello world! #1"
    until(lambda: not held(server))
    os.kill(worker.pid, number)
    assert worker.wait(10) == 0, "soon: at the end of the claim that blocks at the latest, and of the last beat"
    assert server.keys("*:lease:*") == []
    assert server.smembers(f"{LANE}:workers") == set()
    time.sleep(1.2)
    assert server.keys("*:lease:*") == [], "nothing beats on"


def test_two_side_by_side_lose_and_double_nothing(server: redis.Redis, start: Start) -> None:
    start()
    start()
    wanted = {f"s{number}" for number in range(60)}
    server.rpush(LANE, *(job(id=name) for name in wanted))
    answered = [answer(server, 20)["id"] for _ in wanted]
    assert sorted(answered) == sorted(wanted)
    until(lambda: not held(server))
