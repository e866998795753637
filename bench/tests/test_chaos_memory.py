"""The memory of bench/chaos: a series that grows is found, one that only warms up or has a peak is not."""

import asyncio
import subprocess
import sys
from statistics import median

import pytest

from chaos.memory import MIB, Life, Sampler, by_name, mistakes

RUN_S = 90


def life(used_mib, seconds=RUN_S, name="front"):
    """A life whose memory follows ``used_mib(second)``."""
    return Life(name, 7, [(at / 4, used_mib(at / 4) * MIB) for at in range(4 * seconds + 1)])


def found(*lives, lasting=()):
    return list(mistakes(lives, lasting, RUN_S))


@pytest.mark.parametrize(
    ("why", "used_mib"),
    [
        ("as it began", lambda second: 20),
        ("warms up, then is flat", lambda second: min(60, 2 * second)),
        ("a peak at the end", lambda second: 200 if second > 80 else 20),
        ("up and down", lambda second: 20 + 10 * (second % 3)),
        ("gives back", lambda second: 60 - second / 2),
        ("a fifth of much", lambda second: 100 + second / 2),
    ],
)
def test_what_is_flat_passes(why, used_mib):
    assert found(life(used_mib)) == [], why


@pytest.mark.parametrize(
    ("why", "used_mib"),
    [
        ("a leak", lambda second: 20 + second / 3),
        ("a leak beside peaks", lambda second: 20 + second / 2 + 10 * (second % 3)),
        ("a step in the last third", lambda second: 20 + 9 * (second > 65)),
    ],
)
def test_what_grows_is_found(why, used_mib):
    assert "front 7 grew by" in found(life(used_mib))[0], why


def test_a_short_life_is_all_warm_up():
    young = life(lambda second: 20 + second, seconds=20)
    assert found(young) == []
    assert by_name([young]) == {"front": {"lives": 1, "max_mib": 40.0}}


def test_what_was_to_last_has_one_life_as_long_as_the_run():
    whole, half = life(lambda second: 20), life(lambda second: 20, seconds=45)
    assert found(whole, lasting=("front",)) == []
    for lives in ([], [half], [half, half]):
        assert "front was to live through 90 s" in found(*lives, lasting=("front",))[0]


def test_of_many_lives_the_worst_is_told():
    lives = [life(lambda second: 20), life(lambda second: 20 + second / 5), life(lambda second: 90, seconds=5)]
    about = by_name(lives)["front"]
    assert (about["lives"], about["judged"], about["max_mib"]) == (3, 2, 90.0)
    assert about["growth_mib"] == pytest.approx(6, abs=0.2)


def sampled(program, samples):
    """The life of a Python program that gets a line, does ``step()`` once and answers, before each sample."""
    code = f"import sys\n{program}\nfor _ in sys.stdin: step(); print(flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def processes():
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            return [("program", process.pid)]

        sampler = Sampler(processes, every_s=0)

        async def until_enough():
            sampling = asyncio.create_task(sampler.run())
            while not sampler.lives or len(sampler.lives[0].samples) < samples:
                await asyncio.sleep(0)
            sampling.cancel()

        asyncio.run(until_enough())
        process.stdin.close()
    [only] = sampler.lives
    # The times are made up: it need not run for a minute.
    return Life(only.name, only.pid, [(second, used) for second, (_, used) in enumerate(only.samples)])


def test_who_has_ended_before_it_could_be_looked_at_has_no_life():
    ended = subprocess.Popen(["true"])
    ended.wait()
    sampler = Sampler(lambda: [("ended", ended.pid)], every_s=0)

    async def once():
        sampling = asyncio.create_task(sampler.run())
        await asyncio.sleep(0.01)
        sampling.cancel()

    asyncio.run(once())
    assert sampler.lives == []


def test_a_program_that_leaks_is_found_and_one_that_does_not_is_not():
    leaks = sampled("kept = []\ndef step(): kept.append(bytearray(b'x' * 400_000))", 90)
    assert "program" in found(leaks)[0]
    assert leaks.growth == pytest.approx(30 * 400_000, rel=0.1)
    steady = sampled("def step(): bytearray(b'x' * 400_000)", 90)
    assert found(steady) == []
    assert median(used for _, used in steady.samples) > MIB
