"""The ledger of bench/chaos finds what is lost and what is wrong, and nothing else."""

import json

import pytest

from chaos.evidence import Entry, parse, read
from chaos.ledger import Known, settle
from chaos.load import Ended
from chaos.orders import Order
from chaos.recovery import histogram, waits
from chaos.remains import Dead

PAYLOAD = "abc"


def job(attempts=3, fails=0):
    return Order(0.0, "j", "job", "sdk", PAYLOAD, 1, attempts, fails)


def request(kind="post"):
    return Order(0.0, "j", kind, "sdk", PAYLOAD, 1, 2 if kind == "get" else 1)


def entry(what, attempt=1, ms=10, pid=1, payload=PAYLOAD, name="j"):
    return Entry(ms, what, "rust", pid, name, attempt, payload)


RUN = (entry("start"), entry("end", ms=20))


def account(order, how="pushed", evidence=RUN, dead=(), waiting=(), was_down=False, forgetful_ms=(), **answer):
    """The account of one order."""
    known = Known(
        ended={"j": Ended(how, 0, 50, **answer)} if how else {},
        evidence={"j": list(evidence)} if evidence else {},
        dead={"j": list(dead)} if dead else {},
        waiting=list(waiting),
        was_down=lambda *_: was_down,
        forgetful_ms=forgetful_ms,
    )
    return settle([order], known)


def problem(code):
    return {"status": 502, "body": json.dumps({"code": code})}


def given_up(code="worker_lost", attempt=3, payload=PAYLOAD):
    return Dead("j", code, "", attempt, payload)


OWN = {"status": 200, "body": f"j {PAYLOAD}"}


@pytest.mark.parametrize(
    ("outcome", "given"),
    [
        ("job done", account(job())),
        ("job done", account(job(), how="unknown")),
        ("job done", account(job(), evidence=(*RUN, *RUN))),
        ("job done", account(job(), dead=[given_up()])),
        (
            "job done",
            account(job(fails=1), evidence=(entry("start"), entry("fail"), entry("start", 2), entry("end", 2))),
        ),
        ("job dead: worker_lost", account(job(), evidence=(), dead=[given_up()])),
        ("job dead: handler_error", account(job(1, 1), evidence=RUN[:1], dead=[given_up("handler_error", 1)])),
        ("job never arrived (its push was cut)", account(job(), how="unknown", evidence=())),
        ("job refused by Redis", account(job(), how="refused", evidence=())),
        ("request answered", account(request(), "answered", **OWN)),
        ("request answered", account(request("get"), "answered", evidence=(*RUN, *RUN), **OWN)),
        ("request refused: worker_lost", account(request(), "answered", **problem("worker_lost"))),
        ("request refused: no_worker", account(request(), "answered", evidence=(), **problem("no_worker"))),
        ("request left: its client hung up", account(request(), "left", evidence=())),
        ("request cut: its front was killed", account(request(), "cut", was_down=True)),
        ("request unreached: its front was dead", account(request(), "unreached", evidence=(), was_down=True)),
    ],
)
def test_what_is_promised_is_accepted(outcome, given):
    assert given.outcomes == {outcome: 1}
    assert not given.lost
    assert not given.wrong


@pytest.mark.parametrize(
    "given",
    [
        account(job(), evidence=()),
        account(job(), evidence=RUN[:1]),
        account(job(), how="unknown", evidence=RUN[:1]),
        account(job(), how="refused", evidence=RUN[:1]),
        account(job(), evidence=(), waiting=["j"]),
        account(job(), how=None, evidence=()),
        account(request(), "hung"),
        account(request(), "cut"),
        account(request(), "unreached", evidence=()),
        account(request(), None),
    ],
)
def test_what_is_lost_is_found(given):
    assert given.outcomes == {"lost": 1}
    assert len(given.lost) == 1


@pytest.mark.parametrize(
    ("why", "given"),
    [
        ("started 2 times", account(job(attempts=1), evidence=(*RUN, *RUN))),
        ("started 2 times", account(request(), "answered", evidence=(*RUN, *RUN), **OWN)),
        ("attempt 4 of 3", account(job(), evidence=(entry("start", 4), entry("end", 4)))),
        ("was to fail", account(job(fails=1))),
        ("payload", account(job(), evidence=(entry("start", payload="x"), RUN[1]))),
        ("payload", account(job(), dead=[given_up(payload="x")])),
        ("without a cause", account(job(), dead=[given_up("bad_job")])),
        ("without a cause", account(job(), dead=[given_up("handler_error")])),
        ("with attempt 2 of 3", account(job(), dead=[given_up(attempt=2)])),
        ("not its own", account(request(), "answered", status=200, body="k abc")),
        ("answered twice", account(request(), "answered", more="HTTP/1.1 200 OK", **OWN)),
        ("nobody has done it", account(request(), "answered", evidence=RUN[:1], **OWN)),
        ("refused with 502 internal", account(request(), "answered", **problem("internal"))),
        ("refused with 502", account(request(), "answered", status=502, body="a page")),
        ("refused with no_worker, but started", account(request(), "answered", **problem("no_worker"))),
        ("a request in dead", account(request(), "answered", dead=[given_up(attempt=1)], **OWN)),
    ],
)
def test_what_is_wrong_is_found(why, given):
    assert any(why in one for one in given.wrong), given.wrong


@pytest.mark.parametrize(("killed_ms", "is_lost"), [(60, False), (10, False), (4_000, True)])
def test_what_redis_may_forget_is_forgiven_in_its_last_moments_alone(killed_ms, is_lost):
    given = account(job(), evidence=RUN[:1], forgetful_ms=(killed_ms,))
    assert bool(given.lost) == is_lost
    repeated = account(job(attempts=1), evidence=(*RUN, *RUN), forgetful_ms=(killed_ms,))
    assert bool(repeated.wrong) == is_lost


def test_what_is_forgiven_is_counted_with_its_distance():
    given = account(job(), evidence=RUN[:1], forgetful_ms=(60, 1_060))
    assert given.forgotten == {"lost": [10], "repeated": []}
    repeated = account(job(attempts=1), evidence=(*RUN, entry("start", ms=900)), forgetful_ms=(720,))
    assert repeated.forgotten == {"lost": [], "repeated": [700]}


@pytest.mark.parametrize(
    "given",
    [
        account(request(), "hung", forgetful_ms=(40,)),
        account(request(), "cut", forgetful_ms=(40,)),
        account(job(), evidence=(), waiting=["j"], forgetful_ms=(40,)),
    ],
)
def test_a_client_is_told_and_a_job_that_is_there_is_done_whatever_redis_forgot(given):
    assert len(given.lost) == 1


def test_what_nobody_ordered_is_wrong():
    known = Known({}, {"k": list(RUN)}, {"": [given_up()]}, [], None)
    assert len(settle([], known).wrong) == 2


def test_what_was_done_twice_is_counted():
    assert account(job(), evidence=(*RUN, *RUN, *RUN)).notes["repeated in all"] == 2


def test_a_line_that_broke_off_is_no_evidence(tmp_path):
    whole = "start 1763700000000 rust 7 j 1 abc"
    (tmp_path / "rust-7").write_text(f"{whole}\n{whole[:20]}")
    assert read(tmp_path) == {"j": [Entry(1_763_700_000_000, "start", "rust", 7, "j", 1, "abc")]}
    assert parse("begin 1 rust 7 j 1 abc") is None
    assert parse("start x rust 7 j 1 abc") is None


def test_a_recovery_is_the_time_from_the_kill_to_the_next_start():
    entries = {"j": [entry("start", ms=100, pid=1), entry("start", 2, ms=160, pid=2), entry("end", 2, ms=170, pid=2)]}
    assert waits([(150, 1, "rust", "supervised")], entries) == {"supervised": [10]}
    # It was not in the middle of the job: killed before its start, or after its end.
    assert waits([(50, 1, "rust", "alone")], entries) == {}
    assert waits([(200, 2, "rust", "alone")], entries) == {}


def test_a_number_that_two_processes_had_is_not_counted_twice():
    entries = {"j": [entry("start", ms=100, pid=1), entry("start", 2, ms=160, pid=2), entry("end", 2, ms=170, pid=2)]}
    assert waits([(150, 1, "rust", "alone"), (900, 1, "rust", "supervised")], entries) == {"alone": [10]}


def test_a_histogram_counts_each_time_once():
    counts = histogram([0, 9, 10, 99, 6_999, 7_000, 100_000])
    assert counts == {"< 10 ms": 2, "< 100 ms": 2, "< 1 s": 0, "< 7 s": 1, "< 15 s": 1, "longer": 1}
