"""Pushing background jobs: with records, each once, at once or later, many at a time, unique."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from conftest import Proxy, Server
from tempest import Client, Draft, NotUnique, QueueFull, WireError, chain
from tempest.limits import PUSH_MANY, RECORD_AGE_MS

LANE = "tempest:{default}"
UTC = datetime.timezone.utc


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(url=server.caller_url) as made:
        yield made


def lane(server: Server, key: str = LANE) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in server.redis.lrange(key, 0, -1)]


def later(server: Server) -> list[tuple[dict[str, Any], float]]:
    return [(json.loads(frame), due) for frame, due in server.redis.zrange(f"{LANE}:later", 0, -1, withscores=True)]


def now_ms(server: Server) -> int:
    seconds, micros = server.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_a_job_lies_in_its_lane_with_a_record(server: Server, client: Client) -> None:
    job_id = client.push("default", "mail", {"to": "Bob"}, lane="high")
    (job,) = lane(server, f"{LANE}:high")
    assert (job["id"], job["action"], job["args"]) == (job_id, "mail", {"to": "Bob"})
    record = client.job("default", job_id)
    assert record is not None
    assert (record.state, record.action, record.lane) == ("waiting", "mail", "high")
    assert record.queued_at == job["queued_at"]
    assert 0 < server.redis.pttl(f"{LANE}:job:{job_id}") <= RECORD_AGE_MS
    assert server.redis.smembers("tempest:queues") == {b"default"}


def test_nobody_knows_of_a_job_that_never_was(client: Client) -> None:
    assert client.job("default", "nobody") is None


def test_an_id_is_pushed_once(server: Server, client: Client) -> None:
    assert client.push("default", "a", 1, id="j1") == "j1"
    assert client.push("default", "a", 2, id="j1") == "j1"
    assert [job["args"] for job in lane(server)] == [1]


def test_a_delayed_job_lies_in_later(server: Server, client: Client) -> None:
    begun = now_ms(server)
    job_id = client.push("default", "a", in_s=60, ttl_s=5)
    ((job, due),) = later(server)
    assert begun + 60_000 <= due <= now_ms(server) + 60_000
    assert job["deadline"] == due + 5_000, "the time to live begins when it is due"
    record = client.job("default", job_id)
    assert record is not None
    assert (record.state, record.due) == ("later", due)
    assert not lane(server)


@pytest.mark.parametrize("at", [datetime.datetime(2040, 1, 2, tzinfo=UTC), 2209075200.0])
def test_a_job_is_due_at_a_time(server: Server, client: Client, at: Any) -> None:
    client.push("default", "a", at=at)
    assert [due for _, due in later(server)] == [2209075200000]


def test_words_that_mean_nothing_are_refused(client: Client) -> None:
    for words in (
        {"in_s": 1, "at": 2.0},
        {"at": datetime.datetime(2040, 1, 2)},
        {"unique": "u", "unique_while": "never"},
        {"unique": "u", "unique_while": "time"},
        {"then": Draft("b", in_s=1)},
        {"then": Draft("b", unique="u")},
        {"then": Draft("b", then=Draft("c"))},
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            client.push("default", "a", **cast(Any, words))
    for words in ({"key": "a}b"}, {"unique": "a b"}, {"id": "a/b"}, {"lane": "top"}):
        with pytest.raises(WireError, match="bad_name"):
            client.push("default", "a", **cast(Any, words))


def test_many_jobs_keep_their_order(server: Server, client: Client) -> None:
    count = 2 * PUSH_MANY + 3
    ids = client.push_many("default", [Draft("a", number) for number in range(count)])
    assert [job["id"] for job in lane(server)] == ids
    assert [job["args"] for job in lane(server)] == list(range(count))
    assert server.redis.exists(*[f"{LANE}:job:{each}" for each in ids]) == count


def test_many_jobs_go_where_each_belongs(server: Server, client: Client) -> None:
    ids = client.push_many("default", [Draft("a"), Draft("b", lane="low"), Draft("c", in_s=9), Draft("d", at=1.0)])
    assert [job["id"] for job in lane(server)] == ids[:1]
    assert [job["id"] for job in lane(server, f"{LANE}:low")] == ids[1:2]
    assert [job["action"] for job, _ in later(server)] == ["d", "c"]


def test_many_jobs_cost_one_round_trip(server: Server, client: Client) -> None:
    client.push("default", "warm")
    before = server.redis.info("stats")["total_reads_processed"]
    client.push_many("default", [Draft("a") for _ in range(PUSH_MANY // 4)])
    assert server.redis.info("stats")["total_reads_processed"] - before == 2, "one, and that of INFO"


def test_a_full_lane_takes_no_more(server: Server) -> None:
    with Client(url=server.caller_url, lane_jobs_max=3) as client:
        ids = [f"j{number}" for number in range(5)]
        with pytest.raises(QueueFull) as caught:
            client.push_many("default", [Draft("a", id=each) for each in ids])
        assert caught.value.pushed == ids[:3]
        assert [job["id"] for job in lane(server)] == ids[:3]
        with pytest.raises(QueueFull):
            client.push("default", "a", id="j9")
        assert client.job("default", "j9") is None
        client.push("default", "a", in_s=5)


def test_a_push_whose_answer_was_lost_is_sent_again_and_pushes_once(server: Server, proxy: Proxy) -> None:
    with Client(url=proxy.caller_url) as client:
        client.push("default", "first")
        proxy.cut_on = b'"second"'
        client.push("default", "second")
        assert proxy.cuts == 1
        assert [job["action"] for job in lane(server)] == ["first", "second"]


def test_a_script_that_redis_forgot_is_sent_again(server: Server, client: Client) -> None:
    client.push("default", "a")
    server.redis.script_flush()
    client.push("default", "b")
    assert [job["action"] for job in lane(server)] == ["a", "b"]


def test_a_unique_key_is_held_by_one(server: Server, client: Client) -> None:
    first = client.push("default", "a", unique="order:1")
    with pytest.raises(NotUnique, match="order:1") as caught:
        client.push("default", "a", unique="order:1")
    assert (caught.value.code, caught.value.holder) == ("not_unique", first)
    client.push("default", "a", unique="order:2")
    assert len(lane(server)) == 2


def test_a_unique_push_may_be_repeated(server: Server, client: Client) -> None:
    assert client.push("default", "a", id="j1", unique="u") == client.push("default", "a", id="j1", unique="u")
    assert len(lane(server)) == 1


def test_a_unique_push_that_is_repeated_is_known_whoever_holds_the_key_by_then(server: Server, client: Client) -> None:
    client.push("default", "a", id="j1", unique="u", unique_while="queued")
    server.redis.delete(f"{LANE}:unique:u")  # a worker has started it
    for job_id in ("j2", "j1"):
        assert client.push("default", "a", id=job_id, unique="u", unique_while="queued") == job_id
    for _ in range(2):
        assert client.push("default", "a", id="j3", unique="v", unique_while="time", unique_s=60) == "j3"
        server.redis.delete(f"{LANE}:job:j3")  # a worker has done it
    assert [job["id"] for job in lane(server)] == ["j1", "j2", "j3"]


def test_a_holder_without_a_record_holds_nothing(server: Server, client: Client) -> None:
    gone = client.push("default", "a", unique="u")
    server.redis.delete(f"{LANE}:job:{gone}")
    taker = client.push("default", "a", unique="u")
    assert server.redis.get(f"{LANE}:unique:u").decode() == taker


def test_a_key_held_for_a_time_is_held_whatever_becomes_of_its_job(server: Server, client: Client) -> None:
    holder = client.push("default", "a", unique="u", unique_while="time", unique_s=60)
    server.redis.delete(f"{LANE}:job:{holder}")
    with pytest.raises(NotUnique) as caught:
        client.push("default", "a", unique="u")
    assert caught.value.holder == holder
    assert 0 < server.redis.pttl(f"{LANE}:unique:u") <= 60_000


def test_a_unique_job_may_be_for_later(server: Server, client: Client) -> None:
    client.push("default", "a", unique="u", in_s=30)
    assert len(later(server)) == 1
    with pytest.raises(NotUnique):
        client.push("default", "a", unique="u")


def test_a_chain_is_one_job_with_the_others_behind_it(server: Server, client: Client) -> None:
    first = chain(Draft("a", 1, keep_s=5), Draft("b", queue="mail", id="j2"), Draft("c", lane="low", keep_s=1))
    client.push_many("default", [first])
    (job,) = lane(server)
    assert (job["action"], job["keep"]) == ("a", 5000)
    assert job["then"][0] == {"id": "j2", "action": "b", "args": None, "queue": "mail"}
    assert (job["then"][1]["lane"], job["then"][1]["keep"]) == ("low", 1000)
    assert job["then"][1]["id"], "each has an id, so that what is pushed twice runs once"
    with pytest.raises(ValueError, match="at least one"):
        chain()


def test_a_group_lies_where_its_last_job_goes(server: Server, client: Client) -> None:
    group = client.group("default", [Draft("a", 1), Draft("a", 2)], Draft("sum", queue="mail"))
    base = f"tempest:{{mail}}:group:{group.id}"
    assert server.redis.smembers(f"{base}:pending") == {each.encode() for each in group.jobs}
    written = server.redis.hgetall(base)
    assert json.loads(written[b"jobs"]) == group.jobs
    assert json.loads(written[b"then"])["id"] == group.then
    assert [(job["id"], job["group"]) for job in lane(server)] == [(i, f"mail:{group.id}") for i in group.jobs]
    assert server.redis.pttl(base) > 0
    assert server.redis.pttl(f"{base}:pending") > 0


def test_a_group_that_cannot_be_pushed_is_none(server: Server) -> None:
    with Client(url=server.caller_url, lane_jobs_max=1) as client, pytest.raises(QueueFull):
        client.group("default", [Draft("a"), Draft("a")], Draft("sum"))
    assert not server.redis.keys("tempest:{default}:group:*")
