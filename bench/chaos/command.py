"""The command: options, and a run from its start to its end."""

import argparse
import asyncio
import datetime
import json
import os
import platform
import shutil
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from chaos import evidence, firings, ledger, orders, records, recovery, remains, report, schedule
from chaos.background import background
from chaos.crew import KILLED, LASTING, NAMES, SPARED, SUPERVISED
from chaos.fleet import Fleet
from chaos.load import Load
from chaos.memory import Sampler
from chaos.strike import Striker

# What is asked after the last fault shows that the fleet is whole again.
CALM_S = 3
# A worker that woke up late still writes down what it was at.
LATE_S = 1
# A loss of power that is played takes what it says, and a little more while the machine is busy.
POWER_LATE_MS = 300
# The options that repeat a run, beside the wish.
GIVEN = ("requests_per_s", "jobs_per_s", "fsync", "power_loss_s")


def main(arguments=None, about=__doc__, **defaults):
    """Runs with these options; gives the exit code. ``defaults`` stand for options that are not given."""
    parser = _parser(about, defaults)
    options = parser.parse_args(arguments)
    if options.power_loss_s and options.fsync == "always":
        parser.error("what was synced is not lost: --power-loss-s wants --fsync everysec or no")
    wish = schedule.Wish(
        options.seed, options.seconds, options.kills, options.redis_restarts, options.stops, options.links
    )
    plan = schedule.plan(wish, KILLED, SUPERVISED[SPARED])
    if options.plan:
        print(schedule.as_json(plan))
        return 0
    result = asyncio.run(_run(wish, plan, options))
    print(report.text(result), flush=True)
    if options.json:
        Path(options.json).write_text(report.as_json(result))
    if options.page:
        machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {platform.machine()}"
        Path(options.page).write_text(report.page(result, datetime.date.today(), machine))
    print("passed" if not result.mistakes else f"FAILED: {len(result.mistakes)} mistakes", flush=True)
    return 1 if result.mistakes else 0


def _parser(about, defaults):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    wish = schedule.Wish(**defaults)
    parser.add_argument("--seed", type=int, default=wish.seed, help="the same seed gives the same plan")
    parser.add_argument("--seconds", type=float, default=wish.seconds, help="how long faults come")
    parser.add_argument("--kills", type=int, default=wish.kills, help="kill -9 of workers, supervisor and front")
    parser.add_argument("--redis-restarts", type=int, default=wish.redis_restarts, help="kill -9 of Redis")
    parser.add_argument("--stops", type=int, default=wish.stops, help="SIGSTOP of anybody, for 1 to 6 s each")
    parser.add_argument("--links", type=int, default=wish.links, help="connections cut, delayed or silenced")
    parser.add_argument("--requests-per-s", type=float, default=10)
    parser.add_argument("--jobs-per-s", type=float, default=10)
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="always")
    parser.add_argument("--power-loss-s", type=float, default=0, help="what each kill of Redis takes from its file")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    parser.add_argument("--keep", metavar="FOLDER", help="keep logs, evidence and how each id ended")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    parser.add_argument("--page", metavar="FILE", help="write the report as a dated page")
    return parser


async def _run(wish, plan, options):
    begun = time.monotonic()
    asked = _asked(wish, options)
    with Fleet(options.fsync, options.power_loss_s) as fleet:
        try:
            await fleet.begin()
            print(f"up after {time.monotonic() - begun:.1f} s; {len(plan)} faults, {len(asked)} ids", flush=True)
            return await _judge(fleet, plan, asked, wish, options, begun)
        finally:
            if options.keep:
                # The sockets of `tempest up` are nothing to keep.
                away = shutil.ignore_patterns(".tempest")
                shutil.copytree(fleet.folder, options.keep, ignore=away, dirs_exist_ok=True)


def _asked(wish, options):
    """What is asked, in the order of time."""
    seconds = wish.seconds + CALM_S
    made = orders.orders(wish.seed, seconds, options.requests_per_s, options.jobs_per_s)
    made += background(wish.seed, seconds, options.jobs_per_s)
    return sorted(made, key=lambda order: order.at_s)


def _again(wish, options):
    """The command that does the same once more."""
    given = {**asdict(wish), **{name: getattr(options, name) for name in GIVEN}}
    return "bench/chaos/run " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())


def _write_down(fleet, striker, load, waiting, lives, left):
    """What happened and how everything ended, beside the logs and the evidence: for --keep."""
    told = {"faults": striker.times, "waiting": waiting, **vars(fleet.told)}
    ended = {key: asdict(one) for key, one in load.ended.items()}
    memory = [asdict(life) for life in lives]
    (fleet.folder / "told.json").write_text(
        json.dumps({**told, "ended": ended, "memory": memory, "left": asdict(left)})
    )


async def _judge(fleet, plan, asked, wish, options, begun):
    striker, load, sampler = Striker(fleet), Load(fleet), Sampler(fleet.processes)
    behind = [sampler.run(), fleet.keep(), *([fleet.disk.watch()] if fleet.power_loss_s else [])]
    background = [asyncio.create_task(each) for each in behind]
    async with fleet.client() as client:
        planted = await firings.plant(client)
    # A kill of Redis that comes at once does not make them unheard of.
    await asyncio.sleep(0 if fleet.fsync == "always" else ledger.FORGOTTEN_MS / 1_000)
    await asyncio.gather(striker.carry_out(plan), load.give(asked))
    async with fleet.client() as client:
        planted, asleep = await firings.pull_out(client, planted)
        waiting = await remains.drained(client)
        dead = await remains.dead(client)
        left = await records.read(client)
    await asyncio.sleep(LATE_S)
    for each in background:
        each.cancel()
    disorder = fleet.told.disorder + asleep + await fleet.end()
    fired = [account for one in planted for account in one.accounts()]
    asked = [*asked, *(order for order, _ in fired)]
    load.ended.update({order.id: ended for order, ended in fired})
    entries = evidence.read(fleet.evidence)
    _write_down(fleet, striker, load, waiting, sampler.lives, left)
    forgetful = () if fleet.fsync == "always" else tuple(fleet.told.redis_kills)
    forgotten_ms = round(options.power_loss_s * 1_000) + POWER_LATE_MS if options.power_loss_s else ledger.FORGOTTEN_MS
    known = ledger.Known(
        load.ended, entries, dead, waiting, fleet.told.was_down, forgetful, forgotten_ms, left, tuple(planted)
    )
    starts = Counter(dict.fromkeys(NAMES, 0))
    starts.update(entry.worker for each in entries.values() for entry in each if entry.what == "start")
    return report.Result(
        wish=wish,
        fsync=options.fsync,
        again=_again(wish, options),
        took_s=time.monotonic() - begun,
        account=ledger.settle(asked, known),
        strikes=striker.done,
        missed=striker.missed,
        not_started=fleet.told.not_started,
        late_s=sampler.late_s,
        waits=recovery.waits(fleet.told.kills, entries),
        lives=sampler.lives,
        lasting=LASTING,
        starts=starts,
        disorder=disorder,
    )
