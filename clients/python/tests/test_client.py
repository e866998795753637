"""A caller against a real Redis and a real worker."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import Process, Proxy, Server, until
from tempest import CallFailed, Client, QueueFull, RedisAway, Reply, Request, WireError

Start = Callable[..., Process]


@contextlib.contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Does something beside a block, and has ended when the block has: its Redis goes with the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(url=server.caller_url) as made:
        yield made


def test_a_call_gives_the_result(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    assert client.call("default", "echo", {"a": [1, None]}) == {"a": [1, None]}
    assert client.call("default", "echo", b"\0\xff", encoding="msgpack") == b"\0\xff"
    assert client.call("default", "echo") is None


def test_a_call_of_an_http_job_gives_the_reply(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    reply = client.call("default", "url", Request("POST", "/x?kind=bytes", body=b"\xff"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"\xff")


def test_threads_share_a_client(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(client.call("default", "echo", n))) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == list(range(20))


def test_a_failed_call_raises_its_code(server: Server, client: Client, start: Start) -> None:
    start(server.url)
    for action, code in (("fail", "handler_error"), ("nobody", "no_handler")):
        with pytest.raises(CallFailed) as caught:
            client.call("default", action)
        assert caught.value.code == code


def test_a_call_in_vain_takes_its_job_back(server: Server, client: Client) -> None:
    with pytest.raises(CallFailed) as caught:
        client.call("default", "echo", timeout_s=0.2)
    assert caught.value.code == "timeout"
    assert server.redis.llen("tempest:{default}") == 0


def test_a_call_given_up_cancels_the_running_job(
    server: Server, client: Client, start: Start, marks: Callable[[], list[str]]
) -> None:
    start(server.url)
    with pytest.raises(CallFailed, match="no reply"):
        client.call("default", "patient", 30, timeout_s=0.3)
    until(lambda: marks() == ["begin", "cancelled"])


def test_parts_are_put_together_in_their_order(server: Server, client: Client) -> None:
    def answer_in_parts() -> None:
        _, data = server.redis.blpop(["tempest:{default}"])
        job = json.loads(data)
        parts: list[dict[str, Any]] = [
            {"more": True, "seq": 0, "status": 200, "headers": {"x": "y"}, "body": "a"},
            {"seq": 2, "body": "c"},
            {"more": True, "seq": 1, "body": "b"},
        ]
        for part in parts:
            server.redis.rpush(job["reply_to"], json.dumps({"id": job["id"], "attempt": 1, **part}))

    with beside(answer_in_parts):
        reply = client.call("default", "url", Request("GET", "/"), timeout_s=5)
    assert (reply.status, reply.headers, reply.body) == (200, [("x", "y")], b"abc")


def test_an_unreadable_reply_is_bad_reply(server: Server, client: Client) -> None:
    def answer_badly() -> None:
        job = json.loads(server.redis.blpop(["tempest:{default}"])[1])
        server.redis.rpush(job["reply_to"], "nonsense", json.dumps({"id": job["id"], "status": 99}))

    with beside(answer_badly), pytest.raises(CallFailed) as caught:
        client.call("default", "url", timeout_s=5)
    assert caught.value.code == "bad_reply"


def test_a_mailbox_is_known_to_live_and_removed(server: Server, start: Start) -> None:
    start(server.url)
    with Client(url=server.caller_url) as client:
        client.call("default", "echo")
        (name,) = server.redis.smembers("tempest:mailboxes")
        about = "tempest:mailbox:{%s}:about" % name.decode()  # noqa: UP031
        assert 0 < server.redis.pttl(about) <= 10_000
        server.redis.delete(about)
        until(lambda: server.redis.exists(about), 3)
    assert server.redis.keys("tempest:mailbox*") == []


def test_a_reply_that_came_while_the_reader_was_cut_is_not_lost(server: Server, proxy: Proxy, start: Start) -> None:
    start(server.url)
    with Client(url=proxy.caller_url) as client:
        assert client.call("default", "echo", 0) == 0
        for number in range(1, 6):
            proxy.cut_on = b"BLMOVE"
            assert client.call("default", "echo", number, timeout_s=10) == number
    assert proxy.cuts >= 1


def test_push_tells_the_queue_and_the_id(server: Server, client: Client) -> None:
    job_id = client.push("mail", "send", {"to": "Bob"}, lane="high", attempts=5)
    job = json.loads(server.redis.lpop("tempest:{mail}:high"))
    assert job.pop("queued_at")
    assert job == {
        "id": job_id,
        "action": "send",
        "attempts": 5,
        "lane": "high",
        "args": {"to": "Bob"},
    }
    assert job_id[14] == "7"
    assert server.redis.smembers("tempest:queues") == {b"mail"}


def test_a_push_whose_answer_was_cut_is_there_once(server: Server, proxy: Proxy) -> None:
    with Client(url=proxy.caller_url) as client:
        proxy.cut_on = b"RPUSH"
        job_id = client.push("mail", "send")
    assert proxy.cuts == 1
    (frame,) = server.redis.lrange("tempest:{mail}", 0, -1)
    assert json.loads(frame)["id"] == job_id


def test_a_full_lane_refuses(server: Server, client: Client) -> None:
    server.redis.rpush("tempest:{mail}", *(["x"] * 10_000))
    with pytest.raises(QueueFull):
        client.call("mail", "send")
    assert server.redis.llen("tempest:{mail}") == 10_000


def test_a_heavy_lane_refuses(server: Server, client: Client) -> None:
    server.redis.rpush("tempest:{mail}", *(["x" * 1024 * 1024] * 65))
    with pytest.raises(QueueFull):
        client.call("mail", "send")
    assert server.redis.llen("tempest:{mail}") == 65


def test_publish_reaches_the_channel(server: Server) -> None:
    heard = server.redis.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("team:test")
    heard.get_message(timeout=5)
    with Client(url=server.caller_url, topic_prefix="team:") as client:
        for payload in (["Bob"], "as it is", b"\xff"):
            assert client.publish("test", payload) == 1
    found = [until(lambda: heard.get_message(timeout=1))["data"] for _ in range(3)]
    assert found == [b'["Bob"]', b"as it is", b"\xff"]
    heard.close()


def test_an_idle_client_outlives_redis(server: Server, client: Client) -> None:
    client.push("mail", "send")
    server.kill()
    with pytest.raises(RedisAway):
        client.push("mail", "send")
    server.start()
    client.push("mail", "send")
    assert server.redis.llen("tempest:{mail}") == 1


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.push("a b", "x"), "bad_name"),
        (lambda client: client.push("queues", "x"), "bad_name"),
        (lambda client: client.push("a", "x/y"), "bad_name"),
        (lambda client: client.push("a", "x", lane="urgent"), "bad_name"),
        (lambda client: client.push("a", "x", b"bytes"), "bad_json"),
        (lambda client: client.push("a", "x", float("nan")), "bad_json"),
        (lambda client: client.push("a", "x", "\ud800"), "bad_json"),
        (lambda client: client.publish("a b", "x"), "bad_name"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    server: Server, client: Client, call: Callable[[Client], object], code: str
) -> None:
    with pytest.raises(WireError) as caught:
        call(client)
    assert caught.value.code == code
    assert server.redis.keys("*") == []


def test_the_deadline_of_a_call_is_in_redis_time(server: Server, client: Client) -> None:
    def call() -> None:
        with pytest.raises(CallFailed):
            client.call("default", "x", timeout_s=1)

    calling = threading.Thread(target=call)
    calling.start()
    job = json.loads(until(lambda: server.redis.lindex("tempest:{default}", 0)))
    assert abs(job["deadline"] - time.time() * 1000 - 1000) < 300
    calling.join()
