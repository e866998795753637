"""A worker against a real Redis: claims, replies, failures, drain."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from conftest import Process, Server, until

Start = Callable[..., Process]
Marks = Callable[[], list[str]]

MAILBOX = "tempest:mailbox:{test}"
numbers = itertools.count(1)


def ask(server: Server, job: dict[str, Any], queue: str = "tempest:{default}", **pack: Any) -> dict[str, Any]:
    """Pushes a job as JSON, or MessagePack with `pack=True`, and waits for its reply."""
    whole = {"id": f"j{next(numbers)}", "reply_to": MAILBOX, **job}
    server.redis.rpush(queue, msgpack.packb(whole) if pack else json.dumps(whole))
    return answer(server)


def answer(server: Server, within_s: float = 5) -> dict[str, Any]:
    popped = server.redis.blpop([MAILBOX], within_s)
    assert popped, "no reply"
    data = popped[1]
    reply: dict[str, Any] = json.loads(data) if data[:1] == b"{" else msgpack.unpackb(data)
    return reply


def untimed(reply: dict[str, Any]) -> dict[str, Any]:
    """The reply without what it tells of its time, which it must tell."""
    claimed_at, work_us = reply.pop("claimed_at"), reply.pop("work_us")
    assert type(claimed_at) is int
    assert type(work_us) is int
    return reply


def http(url: str, **more: Any) -> dict[str, Any]:
    return {"action": "url", "args": {"method": "GET", "url": url, **more}}


def run_lists(server: Server, queue: str = "default") -> dict[bytes, list[bytes]]:
    keys = server.redis.keys(f"tempest:{{{queue}}}:run:*")
    return {key: server.redis.lrange(key, 0, -1) for key in keys}


def idle(server: Server) -> None:
    """Every claimed job is acked."""
    until(lambda: not run_lists(server))


def answered(server: Server, wanted: set[str]) -> set[str]:
    """The ids of the jobs that were answered once all of these were, at the latest after a minute."""
    found: set[str] = set()
    end = time.monotonic() + 60
    while found != wanted and time.monotonic() < end:
        found |= {json.loads(data)["id"] for data in server.redis.lpop(MAILBOX, 100) or []}
        time.sleep(0.02)
    return found


def members(server: Server, name: str, queue: str = "default") -> list[dict[str, Any]]:
    found = server.redis.zrange(f"tempest:{{{queue}}}:{name}", 0, -1)
    return [json.loads(each) if each[:1] == b"{" else msgpack.unpackb(each) for each in found]


# --- replies -------------------------------------------------------------------------------------------------------


def test_text(server: Server, start: Start) -> None:
    start(server.url)
    reply = ask(server, {"id": "j1", **http("/a?x=1")})
    assert untimed(reply) == {
        "id": "j1",
        "attempt": 1,
        "status": 200,
        "headers": {"content-type": "text/plain; charset=utf-8"},
        "body": "GET /a?x=1",
    }
    idle(server)


def test_reply_fields_stand_in_the_promised_order(server: Server, start: Start) -> None:
    start(server.url)
    fields = ["id", "attempt", "claimed_at", "work_us", "status", "headers", "body"]
    assert list(ask(server, http("/"))) == fields


def test_a_reply_tells_when_its_job_was_claimed_and_how_long_it_took(server: Server, start: Start) -> None:
    start(server.url)
    seconds, micros = server.redis.time()
    reply = ask(server, {"action": "slow", "args": 0.2})
    # A worker knows Redis time to a millisecond or two.
    assert -5 <= reply["claimed_at"] - (seconds * 1000 + micros / 1000) < 5_000
    assert 200_000 <= reply["work_us"] < 5_000_000
    assert ask(server, {"action": "nobody"})["work_us"] < 5_000_000, "errors tell it too"


def test_json_body_with_request_details(server: Server, start: Start) -> None:
    start(server.url)
    headers = {"accept": ["a", "b"], "cookie": 'one=1; two="2"'}
    reply = ask(server, http("/caf%C3%A9/%2F?kind=json", headers=headers))
    assert reply["headers"] == {"content-type": "application/json"}
    assert json.loads(reply["body"]) == {
        "path": "/café//",
        "accept": ["a", "b"],
        "cookies": {"one": "1", "two": "2"},
    }


def test_none_is_204(server: Server, start: Start) -> None:
    start(server.url)
    reply = ask(server, {"id": "j1", **http("/?kind=none")})
    assert untimed(reply) == {"id": "j1", "attempt": 1, "status": 204, "headers": {}}


def test_binary_bodies_survive_in_json(server: Server, start: Start) -> None:
    start(server.url)
    reply = ask(server, http("/?kind=bytes", body_base64="AP+A"))
    assert (reply["body_base64"], "body" in reply) == ("AP+A", False)


def test_binary_bodies_survive_in_messagepack(server: Server, start: Start) -> None:
    start(server.url)
    reply = ask(server, http("/?kind=tuple"), pack=True)
    assert reply["status"] == 201
    assert reply["headers"]["x-two"] == ["a", "b"]
    assert reply["headers"]["set-cookie"] == ["a=1", "b=2"]
    assert reply["body"] == bytes(range(256))
    echoed = ask(server, http("/?kind=bytes", body=bytes(range(256))), pack=True)
    assert echoed["body"] == bytes(range(256))


def test_bodies_packed_as_str_by_another_language_survive(server: Server, start: Start) -> None:
    start(server.url)
    job = {"id": "j1", "reply_to": MAILBOX, **http("/?kind=bytes", body=b"\xff\x00\x80")}
    server.redis.rpush("tempest:{default}", msgpack.packb(job, use_bin_type=False))
    assert answer(server)["body"] == b"\xff\x00\x80"


@pytest.mark.parametrize("kind", ["bad-header", "bad-status"])
def test_a_reply_that_cannot_be_is_an_error(server: Server, start: Start, kind: str) -> None:
    worker = start(server.url)
    assert ask(server, http(f"/?kind={kind}"))["error"]["code"] == "handler_error"
    assert "bad_reply" in worker.said()


def test_other_actions_give_results(server: Server, start: Start) -> None:
    start(server.url)
    assert ask(server, {"action": "echo", "args": [1, None, "é"]})["result"] == [1, None, "é"]
    assert ask(server, {"action": "echo", "args": {"b": b"\0\xff"}}, pack=True)["result"] == {"b": b"\0\xff"}
    assert untimed(ask(server, {"id": "j0", "action": "mark", "args": "x"})) == {
        "id": "j0",
        "attempt": 1,
        "result": None,
    }


def test_the_context_publishes_and_pushes(server: Server, start: Start) -> None:
    start(server.url)
    heard = server.redis.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("news")
    heard.get_message(timeout=5)
    deadline = int(time.time() * 1000) + 20_000
    told = ask(server, {"id": "t1", "action": "tell", "attempt": 2, "deadline": deadline})
    count, pushed, attempt, left = told["result"]
    assert (count, attempt) == (1, 2)
    assert 10 < left <= 20
    message = until(lambda: heard.get_message(timeout=1))
    assert message["data"] == b'["Bob"]'
    heard.close()
    job = json.loads(server.redis.lpop("tempest:{other}:low"))
    assert job.pop("queued_at")
    assert job == {"id": pushed, "action": "mark", "lane": "low", "args": {"from": "t1"}}
    assert server.redis.sismember("tempest:queues", "other")


@pytest.mark.parametrize("trace", ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-ab-cd-01"])
def test_a_pushed_job_goes_on_with_the_trace_of_its_pusher(server: Server, start: Start, trace: str) -> None:
    start(server.url)
    ask(server, {"action": "tell", "deadline": int(time.time() * 1000) + 20_000, "traceparent": trace})
    assert json.loads(server.redis.lpop("tempest:{other}:low"))["traceparent"] == trace


# --- failures ------------------------------------------------------------------------------------------------------


def test_a_handler_that_raises_fails_its_job_not_its_worker(server: Server, start: Start) -> None:
    worker = start(server.url)
    for action in ("fail", "leave", "unsayable"):
        error = ask(server, {"action": action})["error"]
        assert error == {"code": "handler_error", "message": "the handler failed"}
    assert "secret of the house" in worker.said()
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1


def test_a_reply_beyond_the_limit_is_too_large(server: Server, start: Start) -> None:
    start(server.url)
    assert ask(server, {"action": "large", "args": 17 * 1024 * 1024})["error"]["code"] == "too_large"


def test_a_failed_background_job_is_put_off(server: Server, start: Start) -> None:
    start(server.url)
    frame = b'{"id":"b1","action":"fail", "args":9007199254740993}'
    before = time.time() * 1000
    server.redis.rpush("tempest:{default}", frame)
    later = until(lambda: server.redis.zrange("tempest:{default}:later", 0, -1, withscores=True))
    assert later[0][0] == b'{"attempt":2,"id":"b1","action":"fail", "args":9007199254740993}'
    assert before - 50 <= later[0][1] <= before + 3_000
    idle(server)
    assert members(server, "dead") == []


def test_a_background_job_without_attempts_left_is_dead(server: Server, start: Start) -> None:
    start(server.url)
    frame = b'{"id":"b1","action":"fail","attempt":3,"args":1.0}'
    server.redis.rpush("tempest:{default}", frame)
    until(lambda: members(server, "dead"))
    found, score = server.redis.zrange("tempest:{default}:dead", 0, -1, withscores=True)[0]
    assert found.endswith(b'"id":"b1","action":"fail","attempt":3,"args":1.0}')
    job = json.loads(found)
    assert job["error"]["code"] == "handler_error"
    assert job["died_at"] == score
    assert abs(score - time.time() * 1000) < 5_000
    idle(server)


def test_dead_keeps_messagepack(server: Server, start: Start) -> None:
    start(server.url)
    server.redis.rpush("tempest:{default}", msgpack.packb({"action": "fail", "attempts": 1, "args": b"\xff"}))
    dead = until(lambda: members(server, "dead"))[0]
    assert dead["args"] == b"\xff"
    assert dead["error"]["code"] == "handler_error"


def test_a_waited_job_never_enters_dead(server: Server, start: Start) -> None:
    start(server.url)
    assert ask(server, {"action": "fail", "attempts": 3})["error"]["code"] == "handler_error"
    idle(server)
    assert members(server, "dead") + members(server, "later") == []


@pytest.mark.parametrize(
    "frame",
    [b"", b"hello", b"\xff\x00", b'{"action":', b'["url",[],"127.0.0.1:1",1]', b'{"id":"x"}', b"\xc1", b"{}" * 40],
)
def test_bytes_that_are_no_job_go_to_dead(server: Server, start: Start, frame: bytes) -> None:
    start(server.url)
    server.redis.rpush("tempest:{default}", frame)
    dead = until(lambda: members(server, "dead"))[0]
    assert dead["error"]["code"] == "bad_job"
    assert base64.b64decode(dead["raw_base64"]) == frame
    idle(server)
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1


def test_a_foreign_reply_to_is_no_job(server: Server, start: Start) -> None:
    start(server.url)
    server.redis.rpush("tempest:{default}", '{"id":"x","action":"echo","reply_to":"tempest:{other}"}')
    assert until(lambda: members(server, "dead"))[0]["error"]["code"] == "bad_job"
    assert not server.redis.exists("tempest:{other}")


def test_an_unknown_action_is_answered_or_dead(server: Server, start: Start) -> None:
    start(server.url)
    assert ask(server, {"action": "nobody"})["error"]["code"] == "no_handler"
    server.redis.rpush("tempest:{default}", '{"action":"nobody"}')
    assert until(lambda: members(server, "dead"))[0]["error"]["code"] == "no_handler"
    idle(server)


def test_http_that_is_none_is_answered(server: Server, start: Start) -> None:
    start(server.url)
    assert ask(server, {"action": "url", "args": 7})["error"]["code"] == "bad_http"
    assert ask(server, http("/", body="a", body_base64="YQ=="))["error"]["code"] == "bad_body"


def test_expired_jobs_do_not_run(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    past = int(time.time() * 1000) - 5_000
    late = {"action": "mark", "args": "late", "deadline": past}
    server.redis.rpush("tempest:{default}", json.dumps({**late, "id": "w", "reply_to": MAILBOX}))
    server.redis.rpush("tempest:{default}", json.dumps(late))
    assert until(lambda: members(server, "dead"))[0]["error"]["code"] == "expired"
    idle(server)
    assert marks() == []
    assert server.redis.llen(MAILBOX) == 0
    assert len(members(server, "dead")) == 1


def test_a_copy_of_a_finished_job_is_not_run_again(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    for attempt in (1, 1, 2):
        job = {"id": "same", "action": "mark", "args": attempt, "attempt": attempt}
        server.redis.rpush("tempest:{default}", json.dumps(job))
    until(lambda: marks() == ["1", "2"])
    idle(server)


@pytest.mark.parametrize(("attempt", "place"), [(1, "later"), (2, "dead")])
def test_a_move_that_redis_forgot_is_made_again(
    server: Server, start: Start, marks: Marks, attempt: int, place: str
) -> None:
    start(server.url)
    key, frame = f"tempest:{{default}}:{place}", f'{{"id":"b","action":"fail","attempt":{attempt},"attempts":2}}'
    server.redis.rpush("tempest:{default}", frame)
    until(lambda: server.redis.zcard(key))
    idle(server)
    # As a restart without the last moments has it: the move is undone, the job is there again.
    both = server.redis.pipeline()
    both.delete(key).rpush("tempest:{default}", frame).execute()
    until(lambda: server.redis.zcard(key))
    idle(server)
    assert marks() == ["fail", "fail"]


# --- cancel --------------------------------------------------------------------------------------------------------


def test_a_running_job_is_cancelled(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    job = {"id": "c1", "action": "patient", "args": 30, "reply_to": MAILBOX}
    server.redis.rpush("tempest:{default}", json.dumps(job))
    until(lambda: marks() == ["begin"])
    assert server.redis.publish("tempest:{default}:control", "cancel c1") == 1
    until(lambda: marks() == ["begin", "cancelled"])
    idle(server)
    assert server.redis.llen(MAILBOX) == 0


def test_a_job_in_hand_stands_in_the_lease(server: Server, start: Start, marks: Marks) -> None:
    def told() -> Any:
        leases = server.redis.keys("tempest:{default}:lease:*")
        value = server.redis.get(leases[0]) if leases else None
        return json.loads(value)["jobs"] if value else None

    start(server.url)
    until(lambda: told() == [])
    seconds, _ = server.redis.time()
    server.redis.rpush("tempest:{default}", json.dumps({"id": "h1", "action": "patient", "args": 30}))
    until(lambda: marks() == ["begin"])
    until(lambda: bool(told()))
    (job,) = told()
    since = job.pop("since")
    assert job == {"id": "h1", "action": "patient", "queue": "default"}
    assert seconds * 1000 <= since <= (seconds + 60) * 1000
    server.redis.publish("tempest:{default}:control", "cancel h1")
    until(lambda: told() == [])


def test_a_cancelled_job_is_not_started(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    server.redis.rpush("tempest:{default}", json.dumps({"id": "c1", "action": "patient", "args": 30}))
    until(lambda: marks() == ["begin"])
    # What the last of these does shows that all of them were heard.
    for word in ("cancel c2", "cancel", "cancel *", "dance", "cancel c2 c3", "drain somebody-else", "cancel c1"):
        server.redis.publish("tempest:{default}:control", word)
    until(lambda: marks() == ["begin", "cancelled"])
    server.redis.rpush("tempest:{default}", '{"id":"c2","action":"mark","args":"c2"}')
    server.redis.rpush("tempest:{default}", '{"id":"c3","action":"mark","args":"c3"}')
    until(lambda: marks()[2:] == ["c3"])
    idle(server)
    assert marks()[2:] == ["c3"]


def test_a_handler_beyond_its_limit_fails_with_timeout(server: Server, start: Start) -> None:
    start(server.url, RUN_MAX_S="0.2")
    assert ask(server, {"action": "patient", "args": 20})["error"]["code"] == "timeout"


# --- lanes, queues, concurrency ------------------------------------------------------------------------------------


def test_lanes_are_served_in_order_and_low_does_not_starve(server: Server, start: Start, marks: Marks) -> None:
    for lane in (":low", "", ":high"):
        for number in range(20):
            job = {"action": "mark", "args": f"{lane[1:] or 'normal'}-{number}"}
            server.redis.rpush(f"tempest:{{default}}{lane}", json.dumps(job))
    start(server.url, TEMPEST_LANES="high,normal,low")
    until(lambda: len(marks()) == 60)
    order = marks()
    assert [word.split("-")[0] for word in order[:15]] == ["high"] * 15
    assert order[15] == "low-0", "every 16th claim starts from the low end"
    for lane in ("high", "normal", "low"):
        assert [word for word in order if word.startswith(lane)] == [f"{lane}-{n}" for n in range(20)]
    idle(server)


def test_a_job_in_any_lane_wakes_an_idle_worker_at_once(server: Server, start: Start) -> None:
    start(server.url, TEMPEST_LANES="high,normal,low", TEMPEST_QUEUE="default,other")
    keys = [f"tempest:{{{queue}}}{lane}" for queue in ("default", "other") for lane in (":high", "", ":low")]
    for key in keys * 3:
        time.sleep(0.05)
        begin = time.monotonic()
        assert ask(server, {"action": "echo", "args": key}, key)["result"] == key
        assert time.monotonic() - begin < 1, f"{key}: long before a block ends"
    assert not run_lists(server)
    assert not run_lists(server, "other")


def test_what_other_lanes_brought_is_given_back(server: Server, start: Start, marks: Marks) -> None:
    start(server.url, TEMPEST_LANES="high,normal,low")
    for turn in range(20):
        with server.redis.pipeline(transaction=True) as both:
            for lane in (":low", "", ":high"):
                word = f"{turn}-{lane[1:] or 'normal'}"
                both.rpush(f"tempest:{{default}}{lane}", json.dumps({"id": word, "action": "mark", "args": word}))
            both.execute()
        wanted = 3 * (turn + 1)
        until(functools.partial(lambda count: len(marks()) == count, wanted))
    assert sorted(marks()) == sorted(set(marks()))
    idle(server)


def test_threads_work_side_by_side(server: Server, start: Start, marks: Marks) -> None:
    start(server.url, TEMPEST_CONCURRENCY="4")
    begin = time.monotonic()
    for number in range(8):
        job = {"id": f"s{number}", "reply_to": MAILBOX, "action": "slow", "args": 0.5}
        server.redis.rpush("tempest:{default}", json.dumps(job))
    assert sorted(answer(server)["id"] for _ in range(8)) == [f"s{n}" for n in range(8)]
    assert 0.9 < time.monotonic() - begin < 3
    assert len(server.redis.smembers("tempest:{default}:workers")) == 4
    idle(server)


# --- drain ---------------------------------------------------------------------------------------------------------


def leases(server: Server) -> list[bytes]:
    found: list[bytes] = server.redis.keys("tempest:{default}:lease:*")
    return found


@pytest.mark.parametrize("lanes", ["normal", "high,normal,low"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_drains_at_once(server: Server, start: Start, lanes: str, number: signal.Signals) -> None:
    worker = start(server.url, TEMPEST_LANES=lanes)
    assert len(leases(server)) == 1
    time.sleep(0.2)
    begin = time.monotonic()
    worker.signal(number)
    assert worker.ends() == 0
    assert time.monotonic() - begin < 1.5, "the block was ended early"
    assert "worker ended: 0 done, 0 failed, 0 dropped, 0 given back, 0 left" in worker.said()
    assert leases(server) == []
    assert server.redis.smembers("tempest:{default}:workers") == set()
    assert server.redis.smembers("tempest:queues") == {b"default"}


def test_a_draining_worker_finishes_what_it_holds_and_takes_nothing_new(
    server: Server, start: Start, marks: Marks
) -> None:
    worker = start(server.url)
    job = {"id": "d1", "reply_to": MAILBOX, "action": "slow", "args": 1}
    server.redis.rpush("tempest:{default}", json.dumps(job))
    until(lambda: marks() == ["begin"])
    worker.signal(signal.SIGTERM)
    waiting = b'{"id":"d2","action":"mark","args":"d2"}'
    server.redis.rpush("tempest:{default}", waiting)
    assert answer(server)["result"] == "slept"
    assert worker.ends() == 0
    assert server.redis.lrange("tempest:{default}", 0, -1) == [waiting]
    assert marks() == ["begin", "end"]
    assert "1 done" in worker.said()


def test_control_drains(server: Server, start: Start) -> None:
    worker = start(server.url)
    name = leases(server)[0].decode().rpartition(":")[2]
    server.redis.publish("tempest:{default}:control", f"drain {name}")
    assert worker.ends() == 0


def test_what_outlives_the_grace_is_left_to_recovery(server: Server, start: Start, marks: Marks) -> None:
    worker = start(server.url, GRACE_S="0.3")
    server.redis.rpush("tempest:{default}", '{"id":"g1","action":"slow","args":60}')
    until(lambda: marks() == ["begin"])
    worker.signal(signal.SIGTERM)
    assert worker.ends(5) == 0
    assert "1 left" in worker.said()
    assert list(run_lists(server).values()) == [[b'{"id":"g1","action":"slow","args":60}']]
    assert leases(server) == []
    assert len(server.redis.smembers("tempest:{default}:workers")) == 1


def test_a_second_signal_ends_at_once(server: Server, start: Start, marks: Marks) -> None:
    worker = start(server.url)
    server.redis.rpush("tempest:{default}", '{"id":"g2","action":"slow","args":60}')
    until(lambda: marks() == ["begin"])
    worker.signal(signal.SIGTERM)
    until(lambda: "draining" in worker.said())
    worker.signal(signal.SIGTERM)
    assert worker.ends(3) == -signal.SIGTERM
    assert len(run_lists(server)) == 1
