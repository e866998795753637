"""The faults of docs/failure.md: how each is brought about for real, how it ends, and what it may do to clients."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

from stage import LONG, expect, free_ports, need, request, until

AWAY, TIMEOUT = "503 redis_away", "504 timeout"
LASTS_S = 20 if LONG else 0
"""How long a fault lasts at least that lasts until it is ended: past leases, deadlines and the life of a mailbox."""
ALL = ("front", "py", "rust")
"""The programs that say what is wrong with Redis; the shell worker says nothing."""


@dataclass(frozen=True)
class Fault:
    """A fault, by the name it has in docs/failure.md."""

    name: str
    begin: Callable
    end: Callable = lambda stand: None
    told: tuple = ()
    """What clients may be told but the answer, as ``503 redis_away`` or ``POST 504 timeout``."""
    hurts: bool = True
    """Whether some clients are surely told so."""
    reason: str | None = None
    """The reason of readiness; none if the front stays ready, or is not ready too shortly to be seen."""
    words: tuple = ()
    """The kinds of fault that the log names, each once; the last is that of readiness."""
    brief: tuple = ()
    """Kinds that may be too short for somebody to meet."""
    hits: tuple = ALL
    """Whose log names them."""
    hold_s: float = 0.0
    """How long it lasts at least."""
    lasts: bool = True
    """Whether it lasts until it is ended, rather than for a moment."""
    loses: bool = False
    """Whether jobs that Redis had confirmed may be lost."""
    runs_twice: bool = True
    """Whether a GET may run twice. A POST never does."""
    kills: bool = False
    """Whether workers are held for dead."""


def lose_redis(stand):
    """Redis dies; what it has written stays."""
    stand.end_redis()


def lose_all(stand):
    """Redis dies with all it knew."""
    stand.end_redis()
    for left in (*stand.data.rglob("*.aof"), *stand.data.rglob("*.rdb"), *stand.data.rglob("*.manifest")):
        left.unlink()


def start(stand):
    """Redis is started on the data it has."""
    stand.start_redis()


def restart_large(stand):
    """Redis dies and takes its time to read its data. While it reads, it refuses everything with LOADING."""
    stand.bus.execute_command("DEBUG", "POPULATE", 6000, "filling")
    stand.bus.bgrewriteaof()
    until("the data is written", lambda: not stand.bus.info("persistence")["aof_rewrite_in_progress"])
    stand.end_redis()
    stand.start_redis("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")


def loaded(stand):
    """Waits until Redis has read its data; then that is taken out again."""
    until("Redis has read its data", lambda: _says_pong(stand))
    stand.bus.eval("for n = 0, 5999 do redis.call('DEL', 'filling:' .. n) end", 0)


def _says_pong(stand):
    try:
        return stand.bus.ping()
    except redis.RedisError:
        return False


def pause_clients(stand):
    """Redis answers nobody for a while, as ``CLIENT PAUSE`` of an operator has it."""
    stand.bus.client_pause(max(4, LASTS_S) * 1_000)


def kill_clients(stand):
    """Cuts every connection, as a proxy or a network does."""
    for kind in ("normal", "pubsub"):
        expect(stand.bus.client_kill_filter(_type=kind) > 0, f"connections of type {kind}")


def small_buffers(stand):
    """Redis cuts whoever it has to send more than a little: who hears a large event, and who claims a large job."""
    stand.bus.config_set("client-output-buffer-limit", "normal 64kb 0 0 pubsub 32kb 0 0")
    stand.bus.publish("news", "x" * 100_000)
    threading.Thread(target=request, args=(stand.port, "POST", "/py", b"x" * 300_000), daemon=True).start()


def usual_buffers(stand):
    """What Redis does without being told otherwise."""
    stand.bus.config_set("client-output-buffer-limit", "normal 0 0 0 pubsub 32mb 8mb 60")


def follow_nobody(stand):
    """Redis becomes the replica of a server that is not there."""
    stand.bus.replicaof("127.0.0.1", free_ports(1)[0])


def lose_folder(stand):
    """The folder of its data is gone, so that Redis cannot save, and takes no write in consequence."""
    gone = stand.folder / "gone"
    gone.mkdir()
    stand.bus.config_set("dir", str(gone))
    gone.rmdir()
    stand.bus.config_set("save", "3600 1")
    stand.bus.bgsave()
    until("the save has failed", lambda: stand.bus.info("persistence")["rdb_last_bgsave_status"] == "err")


def find_folder(stand):
    """There is a folder again."""
    stand.bus.config_set("dir", str(stand.data))
    stand.bus.bgsave()
    until("a save has succeeded", lambda: stand.bus.info("persistence")["rdb_last_bgsave_status"] == "ok")


def loop(stand):
    """A script of somebody else that does not end."""
    stand.looping = subprocess.Popen(
        [need("redis-cli"), "-p", str(stand.redis_port), "EVAL", "while true do end", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def end_loop(stand):
    """What an operator does."""
    until("the script can be killed", lambda: stand.bus.script_kill())
    stand.looping.wait()


def flush_scripts(stand):
    """Forgets the scripts; then a delayed job is due, which one of them moves."""
    stand.bus.script_flush()
    job = json.dumps({"action": "note", "id": "later-1", "args": "later-1"})
    stand.bus.zadd("tempest:{py}:later", {job: int(time.time() * 1000)})
    stand.bus.sadd("tempest:queues", "py")
    until("the delayed job has run", lambda: "later-1" in stand.runs())


def deny(user, *commands):
    """Takes commands from an account."""
    return lambda stand: stand.bus.execute_command("ACL", "SETUSER", user, *(f"-{command}" for command in commands))


def permit(user, *commands):
    """Gives them back."""
    return lambda stand: stand.bus.execute_command("ACL", "SETUSER", user, *(f"+{command}" for command in commands))


def denial(name, user, *commands, **how):
    """A fault that is a command an account may not use."""
    return Fault(name, deny(user, *commands), permit(user, *commands), words=("NOPERM",), **how)


CUT = ("POST 504 timeout", AWAY)
"""Told when connections break: a push in doubt that may not be repeated is waited for."""

KEPT = [
    Fault("restart with its data", lose_redis, start, (AWAY, TIMEOUT), words=("away",), brief=("LOADING",)),
    Fault(
        "`LOADING`",
        restart_large,
        loaded,
        (AWAY, TIMEOUT),
        reason="redis_away",
        words=("away", "LOADING"),
        brief=("LOADING",),
        lasts=False,
    ),
    Fault("restart without data", lose_all, start, (AWAY, TIMEOUT), words=("away",), brief=("LOADING",), loses=True),
    Fault(
        "`kill -STOP` for 10 s",
        lambda stand: stand.redis.send_signal(19),
        lambda stand: stand.redis.send_signal(18),
        (AWAY, TIMEOUT),
        reason="redis_away",
        words=("away",),
        hold_s=10,
    ),
]
"""On a Redis that writes a log of what it does."""

LIVE = [
    Fault("`CLIENT KILL`", kill_clients, told=CUT, hurts=False, words=("away",), lasts=False),
    Fault("script cache flushed", flush_scripts, hurts=False, hits=(), runs_twice=False, lasts=False),
    Fault(
        "`CLIENT PAUSE`",
        pause_clients,
        lambda stand: _says_pong(stand),
        (AWAY, TIMEOUT),
        reason="redis_away",
        words=("away",),
    ),
    Fault(
        "output buffer over its limit",
        small_buffers,
        usual_buffers,
        (TIMEOUT, "503 queue_full"),
        hold_s=4,
        words=("away",),
        hits=("front", "py"),
    ),
    Fault(
        "`OOM`",
        lambda stand: stand.bus.config_set("maxmemory", "1mb"),
        lambda stand: stand.bus.config_set("maxmemory", 0),
        (AWAY, TIMEOUT, "503 queue_full"),
        reason="redis_refuses",
        words=("OOM",),
        runs_twice=False,
    ),
    Fault(
        "`READONLY`",
        follow_nobody,
        lambda stand: stand.bus.replicaof("NO", "ONE"),
        (AWAY, TIMEOUT),
        reason="redis_refuses",
        words=("READONLY",),
        runs_twice=False,
    ),
    Fault(
        "`MISCONF`",
        lose_folder,
        find_folder,
        (AWAY, TIMEOUT),
        reason="redis_refuses",
        words=("MISCONF",),
        runs_twice=False,
    ),
    Fault("`BUSY`", loop, end_loop, (AWAY, TIMEOUT), reason="redis_refuses", words=("BUSY",), runs_twice=False),
]
"""On a Redis that keeps nothing."""

DENIED = [
    denial("a front may not push", "front", "rpush", told=(AWAY,), reason="redis_refuses", hits=("front",)),
    denial(
        "a front may not read its mailbox", "front", "blmove", told=(TIMEOUT,), reason="mailbox_unread", hits=("front",)
    ),
    denial("a front may not publish", "front", "publish", hurts=False, reason="topics_silent", hits=("front",)),
    denial("a worker may not claim", "worker", "blmove", "lmove", told=(TIMEOUT,), hits=("py", "rust"), hold_s=4),
    denial("a worker may not reply", "worker", "rpush", told=(TIMEOUT,), hits=("py", "rust"), hold_s=4),
    denial(
        "a worker may not beat",
        "worker",
        "set",
        told=("503 no_worker", "POST 502 worker_lost", TIMEOUT),
        hits=("py", "rust"),
        hold_s=5,
        kills=True,
    ),
]
"""An ACL that denies a command."""
