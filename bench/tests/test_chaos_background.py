"""The ledger of bench/chaos finds background jobs that are lost, early, fired twice or held together; nothing else."""

import asyncio
import json
from collections import Counter

import pytest

from chaos import pushes
from chaos.background import background
from chaos.evidence import Entry
from chaos.firings import Planted, Schedule
from chaos.ledger import Known, settle
from chaos.load import Ended
from chaos.orders import Order
from chaos.records import Left
from chaos.remains import Dead

FROM_MS, TO_MS = 10_000, 10_005


def order(name="j", **more):
    return Order(
        0.0, name, "job", **{"queue": "sdk", "payload": "abc", "ms": 1, "attempts": 3, "how": "delayed", **more}
    )


def entry(what, ms, attempt=1, name="j"):
    return Entry(ms, what, "rust", 7, name, attempt, "abc")


def run(begin_ms, end_ms, attempt=1, name="j"):
    return [entry("start", begin_ms, attempt, name), entry("end", end_ms, attempt, name)]


def died(ms, name="j", attempt=3):
    return [Dead(name, "worker_lost", "", attempt, "abc", ms)]


def account(*orders, evidence=(), dead=(), ended=None, left=None, planted=(), **more):
    """The account of these; evidence and dead are lists of entries. All were pushed unless ``ended`` says how."""
    by_id, graves = {}, {}
    for one in evidence:
        by_id.setdefault(one.id, []).append(one)
    for one in dead:
        graves.setdefault(one.id, []).append(one)
    how = {one.id: Ended("pushed", FROM_MS, TO_MS) for one in orders if not one.after} | (ended or {})
    by_id = {key: sorted(entries) for key, entries in by_id.items()}
    return settle(list(orders), Known(how, by_id, graves, [], None, left=left or Left(), planted=planted, **more))


def is_good(given):
    assert not given.lost
    assert not given.wrong
    return given


# --- delayed


def test_a_delayed_job_that_runs_when_it_is_due_is_good():
    given = is_good(account(order(in_ms=500), evidence=run(10_540, 10_560)))
    assert given.outcomes == {"job done": 1}
    assert given.kinds == {"delayed": 1}
    assert given.late_ms == [40]
    is_good(account(order(in_ms=500), dead=died(11_000)))


def test_a_delayed_job_that_is_lost_is_found():
    assert "j: pushed, never started, and is nowhere" in account(order(in_ms=500)).lost
    assert len(account(order(in_ms=500), evidence=[entry("start", 10_600)]).lost) == 1


def test_a_delayed_job_that_starts_early_is_found():
    [wrong] = account(order(in_ms=1_000), evidence=run(10_600, 10_700)).wrong
    assert "was due at 11000" in wrong


# --- pushed twice


def test_a_job_that_was_pushed_twice_and_runs_twice_is_found():
    twice = order(how="twice", pushes=2)
    [wrong] = account(twice, evidence=[*run(10_100, 10_110), *run(10_400, 10_410)]).wrong
    assert "attempt 1 was started twice" in wrong
    is_good(account(twice, evidence=[*run(10_100, 10_110), *run(10_400, 10_410, attempt=2)]))
    forgetful = account(twice, evidence=[*run(10_100, 10_110), *run(10_400, 10_410)], forgetful_ms=(10_300,))
    assert is_good(forgetful).forgotten["repeated"] == [190]


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        ([("unknown",), ("pushed",)], "pushed"),
        ([("pushed",), ("unknown",)], "pushed"),
        ([("pushed",), ("refused", 0, "OOM")], "pushed"),
        ([("unknown",), ("not_unique", 0, "k")], "unknown"),
        ([("unknown",), ("refused", 0, "OOM")], "unknown"),
        ([("not_unique", 0, "k")], "not_unique"),
    ],
)
def test_what_was_pushed_stays_so_and_what_nobody_knows_too(ended, verdict):
    assert pushes.verdict(ended)[0] == verdict


class Deaf:
    """A client that loses the first answers."""

    def __init__(self, lost):
        self.lost, self.calls = lost, []

    async def eval(self, _, count, *words):
        self.calls.append(words[count:])
        if len(self.calls) <= self.lost:
            raise ConnectionResetError
        return [1, 1]


@pytest.mark.parametrize(("keep_ms", "times", "how"), [(5, 3, "pushed"), (0, 1, "unknown")])
def test_a_push_without_an_answer_is_repeated_as_it_was_if_its_job_is_kept(keep_ms, times, how, monkeypatch):
    monkeypatch.setattr(pushes, "REPEAT_S", 0)
    client = Deaf(lost=2)
    assert asyncio.run(pushes.push(client, order(keep_ms=keep_ms, in_ms=9), FROM_MS))[0] == how
    assert len(client.calls) == times
    assert {call[-1] for call in client.calls} == {pushes.frame(order(keep_ms=keep_ms), FROM_MS)}
    assert {call[-2] for call in client.calls} == {FROM_MS + 9}


# --- unique


def holder(name, **more):
    return order(name, how="unique", unique="k", **more)


def pushed(**names):
    """How pushes ended, by name: in the same moment, or from and to when."""
    return {name: Ended("pushed", *at) for name, at in names.items()}


A, B = holder("a"), holder("b")
ONE_BY_ONE = pushed(a=(10_000, 10_005), b=(10_300, 10_305))


def test_jobs_of_one_key_may_come_one_after_the_other():
    evidence = [*run(10_010, 10_200, name="a"), *run(10_310, 10_400, name="b")]
    is_good(account(A, B, evidence=evidence, ended=ONE_BY_ONE))


def test_two_that_hold_a_key_together_are_found():
    evidence = [*run(10_010, 10_350, name="a"), *run(10_310, 10_400, name="b")]
    [wrong] = account(A, B, evidence=evidence, ended=ONE_BY_ONE).wrong
    assert wrong.startswith("a and b held k together")


def test_two_that_were_both_accepted_while_neither_ran_are_found():
    evidence = [*run(10_500, 10_550, name="a"), *run(10_600, 10_650, name="b")]
    assert len(account(A, B, evidence=evidence, ended=ONE_BY_ONE).wrong) == 1


def test_one_that_is_to_be_tried_again_holds_its_key_still():
    evidence = [entry("start", 10_010, name="a"), *run(10_310, 10_400, name="b"), *run(10_500, 10_510, 2, "a")]
    assert len(account(A, B, evidence=evidence, ended=ONE_BY_ONE).wrong) == 1


def test_a_stopped_worker_that_goes_on_with_what_was_taken_away_holds_nothing():
    late = [entry("start", 10_010, name="a"), *run(10_100, 10_200, 2, "a"), entry("end", 10_350, name="a")]
    is_good(account(A, B, evidence=[*late, *run(10_310, 10_400, name="b")], ended=ONE_BY_ONE))


def test_one_that_is_dead_held_its_key_until_then():
    evidence = [entry("start", 10_010, 3, "a"), *run(20_000, 20_100, name="b"), entry("end", 20_050, 3, "a")]
    ended = pushed(a=(10_000, 10_005), b=(19_990, 19_995))
    is_good(account(A, B, evidence=evidence, ended=ended, dead=died(19_900, "a")))
    assert len(account(A, B, evidence=evidence, ended=ended, dead=died(25_000, "a")).wrong) == 1


def test_a_key_that_is_held_while_queued_is_held_until_the_job_is_due():
    ended = pushed(a=(10_000, 10_005), b=(11_000, 11_005))
    one, other = (holder(name, unique_while="queued", in_ms=5_000) for name in "ab")
    evidence = [*run(15_010, 15_020, name="a"), *run(16_010, 16_020, name="b")]
    assert len(account(one, other, evidence=evidence, ended=ended).wrong) == 1
    # When the first is due it may have been started, and killed before it wrote that.
    ended = pushed(a=(10_000, 10_005), b=(15_100, 15_105))
    evidence = [*run(17_010, 17_020, 2, name="a"), *run(20_110, 20_120, name="b")]
    is_good(account(one, other, evidence=evidence, ended=ended))


def test_other_keys_are_others():
    evidence = [*run(10_010, 10_350, name="a"), *run(10_310, 10_400, name="b")]
    is_good(account(A, order("b", how="unique", unique="l"), evidence=evidence, ended=ONE_BY_ONE))


def refused(holder_):
    return {"b": Ended("not_unique", FROM_MS, TO_MS, 0, holder_)}


def test_one_that_was_refused_never_runs_and_its_holder_is_one():
    evidence = run(10_010, 10_100, name="a")
    given = is_good(account(A, B, evidence=evidence, ended=refused("a")))
    assert given.outcomes["job refused: another one held its key"] == 1
    [wrong] = account(A, B, evidence=evidence, ended=refused("x")).wrong
    assert "told that x holds k" in wrong
    given = account(A, B, evidence=[*evidence, *run(10_200, 10_210, name="b")], ended=refused("a"))
    assert any("refused as not unique, but started" in one for one in given.wrong)


# --- chains

FIRST, SECOND = order("f", how="chain"), order("s", how="next", after="f")


def test_a_chain_goes_on_when_its_first_job_is_done():
    is_good(account(FIRST, SECOND, evidence=[*run(10_010, 10_020, name="f"), *run(10_030, 10_040, name="s")]))
    given = is_good(account(FIRST, SECOND, dead=died(12_000, "f")))
    assert given.outcomes["job never pushed: the one before it is not done"] == 1
    # It died between its push of the next one and its ack, or before both.
    is_good(account(FIRST, SECOND, evidence=run(10_010, 10_020, 3, "f"), dead=died(12_000, "f")))


def test_a_chain_that_broke_or_ran_ahead_is_found():
    assert len(account(FIRST, SECOND, evidence=run(10_010, 10_020, name="f")).lost) == 1
    evidence = [*run(10_010, 10_050, name="f"), *run(10_030, 10_040, name="s")]
    [wrong] = account(FIRST, SECOND, evidence=evidence).wrong
    assert "f was not done yet" in wrong


def test_a_chain_that_redis_forgot_is_told_apart():
    given = account(FIRST, SECOND, evidence=run(10_010, 10_020, name="f"), forgetful_ms=(10_100,))
    assert is_good(given).forgotten["lost"] == [80]


# --- groups

MEMBERS = tuple(order(name, how="member", group="g") for name in ("m1", "m2"))
END = order("e", how="end", members=MEMBERS)
BOTH = [*run(10_010, 10_020, name="m1"), *run(10_010, 10_050, name="m2")]


def test_a_group_ends_when_all_its_jobs_are_done():
    given = is_good(account(END, *MEMBERS, evidence=[*BOTH, *run(10_060, 10_070, name="e")]))
    assert given.kinds == {"member": 2, "end": 1}
    # One that was killed twice, and one whose stopped worker counted it.
    late = [*run(10_010, 10_020, name="m1"), *run(10_010, 10_050, name="m2"), *run(10_055, 10_090, 2, "m2")]
    is_good(account(END, *MEMBERS, evidence=[*late, *run(10_060, 10_070, name="e")]))


def test_a_group_waits_for_a_job_that_is_dead_or_never_came():
    one = run(10_010, 10_020, name="m1")
    given = is_good(account(END, *MEMBERS, evidence=one, dead=died(12_000, "m2")))
    assert given.outcomes["job never pushed: its group is not done"] == 1
    cut = {"m2": Ended("unknown", FROM_MS, TO_MS)}
    given = is_good(account(END, *MEMBERS, evidence=one, ended=cut))
    assert given.outcomes["job never pushed: its group is not done"] == 1
    # It died between its count and its ack, or before both.
    is_good(account(END, *MEMBERS, evidence=BOTH, dead=died(12_000, "m2")))
    is_good(account(END, *MEMBERS, evidence=[*BOTH, *run(10_060, 10_070, name="e")], dead=died(12_000, "m2")))


def test_a_group_that_could_not_be_written_is_nobodys_loss():
    ended = {"e": Ended("unknown", FROM_MS, TO_MS)} | {m.id: Ended("withheld", FROM_MS, TO_MS) for m in MEMBERS}
    given = is_good(account(END, *MEMBERS, ended=ended))
    assert given.outcomes["job never pushed: its group was not written"] == 2


def test_an_end_that_is_lost_or_comes_early_or_twice_is_found():
    [lost] = account(END, *MEMBERS, evidence=BOTH).lost
    assert lost.startswith("e: pushed, never started")
    [wrong] = account(END, *MEMBERS, evidence=[*BOTH, *run(10_030, 10_040, name="e")]).wrong
    assert "its group was not done yet" in wrong
    given = account(END, *MEMBERS, evidence=[*run(10_010, 10_020, name="m1"), *run(10_060, 10_070, name="e")])
    assert any("m2 of its group was not done" in one for one in given.wrong)
    twice = [*run(10_060, 10_070, name="e"), *run(10_080, 10_090, name="e")]
    [wrong] = account(END, *MEMBERS, evidence=[*BOTH, *twice]).wrong
    assert "attempt 1 was started twice" in wrong


def test_a_group_that_redis_forgot_is_told_apart():
    given = account(END, *MEMBERS, evidence=BOTH, forgetful_ms=(10_100,))
    assert is_good(given).forgotten["lost"] == [50]
    # The last job was pushed and done in its last moments: the group waits for it again.
    ended = [*BOTH, *run(10_060, 10_070, name="e")]
    is_good(account(END, *MEMBERS, evidence=ended, left=Left(groups=("g",)), forgetful_ms=(10_100,)))


# --- schedules


def planted(missed="all", asleep_ms=0):
    """Every second; planted at 100 s, pulled out before 103 s."""
    schedule = Schedule("s", {"every_ms": 1_000}, 1_000, missed, 1, asleep_ms)
    return Planted(schedule, 100_500, 101_000 - asleep_ms, 103_000)


def fired(one, *dues):
    """The account of a schedule that fired for these; ``x2``: a due that stands there twice fired twice."""
    accounts = list(one.accounts())
    evidence = [
        Entry(due + more, what, "rust", 7, f"s.{due}", 1, "of-s")
        for due in dues
        for what, more in (("start", 20), ("end", 30))
    ]
    ended = {each.id: how for each, how in accounts}
    return account(*(each for each, _ in accounts), evidence=evidence, ended=ended, planted=(one,))


def test_a_schedule_that_fires_each_time_once_is_good():
    given = is_good(fired(planted(), 101_000, 102_000))
    assert given.kinds == {"scheduled": 2}
    assert given.late_ms == [20, 20]


def test_a_firing_that_is_missing_or_comes_twice_or_never_was_due_is_found():
    assert len(fired(planted(), 102_000).lost) == 1
    [wrong] = fired(planted(), 101_000, 102_000, 102_000).wrong
    assert wrong.startswith("s.102000: attempt 1 was started twice")
    assert fired(planted(), 101_000, 101_500, 102_000).wrong == ["s.101500: nobody ordered it"]
    assert fired(planted(), 101_000, 102_000, 103_000).wrong == ["s.103000: nobody ordered it"]


def test_a_firing_before_its_time_is_found():
    one = planted()
    early = [Entry(101_400, what, "rust", 7, "s.102000", 1, "of-s") for what in ("start", "end")]
    orders, ended = zip(*one.accounts(), strict=True)
    given = account(*orders, evidence=early, ended={each.id: how for each, how in zip(orders, ended, strict=True)})
    assert any("was due at 102000" in each for each in given.wrong)


def test_what_was_missed_is_made_up_for_as_the_schedule_says():
    soon = (101_000, 102_000)
    every = range(31_000, 103_000, 1_000)
    is_good(fired(planted("all", 70_000), *every))
    assert len(fired(planted("all", 70_000), *every[1:]).lost) == 1
    given = is_good(fired(planted("once", 70_000), *range(40_000, 103_000, 1_000)))
    assert given.kinds["missed"] == 70
    [wrong] = fired(planted("once", 70_000), *soon).wrong
    assert "none was made up for" in wrong
    [wrong] = fired(planted("once", 70_000), 36_000, 37_000, *soon).wrong
    assert "more than one was made up for" in wrong
    [wrong] = fired(planted("once", 70_000), 40_000, 40_000, *soon).wrong
    assert "attempt 1 was started twice" in wrong


# --- what is left

KEPT, GONE = order(keep_ms=1_000), order()
DONE = run(10_010, 10_020)


@pytest.mark.parametrize(
    "given",
    [
        account(GONE, evidence=DONE),
        account(KEPT, evidence=DONE, left=Left({"j": "done"}, {"j": "j"})),
        account(GONE, dead=died(12_000), left=Left({"j": "dead"})),
        account(KEPT, dead=died(12_000), left=Left({"j": "dead"})),
        account(order(keep_ms=9, queue="plain"), evidence=DONE),
        account(KEPT, evidence=DONE, left=Left(), forgetful_ms=(10_100,)),
    ],
)
def test_what_is_left_as_it_is_to_be_is_good(given):
    is_good(given)


@pytest.mark.parametrize(
    ("why", "given"),
    [
        ("record says waiting", account(GONE, evidence=DONE, left=Left({"j": "waiting"}))),
        ("record says running", account(GONE, evidence=DONE, left=Left({"j": "running"}))),
        ("record says later", account(GONE, dead=died(12_000), left=Left({"j": "later"}))),
        ("record says nothing", account(GONE, evidence=DONE, left=Left({"j": ""}))),
        ("it is not in dead", account(GONE, evidence=DONE, left=Left({"j": "dead"}))),
        ("nothing of it is kept", account(GONE, evidence=DONE, left=Left({"j": "done"}))),
        ("nothing: there is none", account(KEPT, evidence=DONE, left=Left({}, {"j": "j"}))),
        ("its result is 'k'", account(KEPT, evidence=DONE, left=Left({"j": "done"}, {"j": "k"}))),
        ("its result is None", account(KEPT, evidence=DONE, left=Left({"j": "done"}))),
        (
            "e: its result is 'e after m1'",
            account(
                order("e", how="end", members=MEMBERS, keep_ms=9),
                *MEMBERS,
                evidence=[*BOTH, *run(10_060, 10_070, name="e")],
                left=Left({"e": "done"}, {"e": "e after m1"}),
            ),
        ),
        (
            "it has ended its group, which is there still",
            account(END, *MEMBERS, evidence=[*BOTH, *run(10_060, 10_070, name="e")], left=Left(groups=("g",))),
        ),
        ("this unique key is held", account(GONE, evidence=DONE, left=Left(held=("k",)))),
        (
            "its result is 's'",
            account(
                FIRST,
                order("s", how="next", after="f", keep_ms=9),
                evidence=[*run(10_010, 10_020, name="f"), *run(10_030, 10_040, name="s")],
                left=Left({"s": "done"}, {"s": "s"}),
            ),
        ),
    ],
)
def test_what_is_left_and_is_not_so_is_found(why, given):
    assert any(why in one for one in given.wrong), given.wrong


# --- the seed


def test_the_same_seed_gives_the_same_background_jobs_of_every_kind():
    made = list(background(3, 60, 10))
    assert made == list(background(3, 60, 10))
    assert made != list(background(4, 60, 10))
    assert set(Counter(one.how for one in made)) == {
        "delayed",
        "twice",
        "chain",
        "next",
        "unique",
        "member",
        "end",
    }
    assert len({one.id for one in made}) == len(made)
    assert all(200 <= one.in_ms <= 8_000 for one in made if one.how == "delayed")
    assert all(one.keep_ms for one in made if one.pushes > 1)


def test_only_workers_of_the_sdks_get_what_others_leave_behind():
    assert {one.queue for one in background(3, 60, 10) if one.how != "delayed"} == {"sdk"}
    assert not any(one.fails for one in background(3, 60, 10) if one.queue == "plain")


def test_two_or_more_want_a_key_at_once_and_it_is_held_in_one_way():
    unique = [one for one in background(3, 60, 10) if one.unique]
    rounds = Counter(one.id.partition(".")[0] for one in unique)
    assert min(rounds.values()) >= 2
    assert all(one.unique.startswith(one.unique_while) for one in unique)


def test_a_group_has_its_jobs_and_is_named_in_each():
    made = list(background(3, 60, 10))
    ends = [one for one in made if one.members]
    assert sorted(m.id for end in ends for m in end.members) == sorted(one.id for one in made if one.group)
    assert all(2 <= len(end.members) <= 6 for end in ends)
    member = ends[0].members[0]
    assert json.loads(pushes.frame(member))["group"] == f"sdk:{member.group}"
    assert all(one.attempts > 1 and one.keep_ms for one in made if one.group)


def test_a_frame_says_what_its_order_says():
    second = order("s", keep_ms=7, after="f")
    said = json.loads(pushes.frame(order("f", keep_ms=5, then=second, lane="low", unique="k"), 9))
    assert (said["id"], said["keep"], said["lane"], said["unique"], said["queued_at"]) == ("f", 5, "low", "k", 9)
    assert [(one["id"], one["keep"], one["args"]["id"]) for one in said["then"]] == [("s", 7, "s")]
