"""The worker that the tests start: a handler for each behaviour. Configured by the environment alone."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import redis

from tempest import Context, Request, Worker


@dataclass
class Person:
    name: str


@dataclass
class Parcel:
    to: Person
    weight_kg: float
    tags: list[str] = field(default_factory=list)


worker = Worker(run_max_s=float(os.environ.get("RUN_MAX_S", "900")), grace_s=float(os.environ.get("GRACE_S", "30")))


def mark(word: object) -> None:
    with open(os.environ["MARKS"], "a") as file:
        file.write(f"{word}\n")


@worker.on("url")
def url(request: Request) -> Any:
    kind = request.query.get("kind", "text")
    if kind == "bytes":
        return request.body
    if kind == "tuple":
        return 201, {"X-Two": ["a", "b"], "set-cookie": ["a=1", "b=2"]}, bytes(range(256))
    if kind == "json":
        return {"path": request.path, "accept": request.headers.all("Accept"), "cookies": request.cookies}
    if kind == "none":
        return None
    if kind == "bad-header":
        return 200, {"x": "a\r\nset-cookie: evil"}, ""
    if kind == "bad-status":
        return 99, {}, ""
    return f"{request.method} {request.url}"


@worker.on("echo")
def echo(args: Any) -> Any:
    return args


@worker.on("mark")
def mark_args(args: Any) -> None:
    mark(args)


@worker.on("slow")
def slow(args: Any) -> str:
    mark("begin")
    time.sleep(args)
    mark("end")
    return "slept"


@worker.on("patient")
def patient(args: Any, context: Context) -> str:
    mark("begin")
    end = time.monotonic() + args
    while not context.cancelled():
        if time.monotonic() > end:
            return "waited"
        time.sleep(0.01)
    mark("cancelled")
    return "cancelled"


@worker.on("checking")
def checking(args: Any, context: Context) -> None:
    mark("begin")
    while True:
        context.check()
        time.sleep(0.01)


@worker.on("waiting")
def waiting(args: float | None, context: Context) -> bool:
    mark("begin")
    was_cancelled = context.wait(args)
    mark(was_cancelled)
    return was_cancelled


@worker.on("hurt")
def hurt(args: Any, context: Context) -> None:
    """Fails because it was told to end."""
    mark("begin")
    context.wait()
    raise RuntimeError("what I began is half done")


@worker.on("stubborn")
def stubborn(args: float, context: Context) -> str:
    """Hears of nothing, like what waits inside a library."""
    mark("begin")
    time.sleep(args)
    mark("end")
    return "done"


@worker.on("async")
async def asynchronous(args: float) -> str:
    mark("begin")
    beside = asyncio.get_running_loop().create_task(beside_it())
    try:
        await asyncio.sleep(args)
        return f"slept beside {beside.get_name() != ''}"
    finally:
        mark("end")


async def beside_it() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        mark("beside")


@worker.on("fail")
def fail(args: Any) -> None:
    mark("fail")
    raise RuntimeError("secret of the house")


@worker.on("slow-fail")
def slow_fail(args: Any) -> None:
    mark("begin")
    time.sleep(args)
    raise RuntimeError("too late")


@worker.on("leave")
def leave(args: Any) -> None:
    raise SystemExit(3)


@worker.on("large")
def large(args: int) -> str:
    return "x" * args


@worker.on("nest")
def nest(args: int) -> Any:
    """A list in a list, so deep."""
    inner: Any = None
    for _ in range(args):
        inner = [inner]
    return inner


@worker.on("lengths")
def lengths(args: Any, context: Context) -> list[int | None]:
    return [None if each is None else len(each) for each in context.input]


@worker.on("unsayable")
def unsayable(args: Any) -> object:
    return object()


@worker.on("who")
def who(args: Any) -> int:
    return os.getpid()


@worker.on("signal")
def signal_self(args: Any) -> None:
    """What kills, stops or ends its own process while jobs behind it wait."""
    mark("signal")
    if args == signal.SIGSTOP:
        signal.pthread_kill(threading.get_ident(), args)  # at once; else this thread runs on until another one stops
    else:
        os.kill(os.getpid(), args)
    if args == signal.SIGTERM:
        time.sleep(0.3)


@worker.on("cancel")
def cancel(args: str, context: Context) -> None:
    """Cancels another job and then itself: when it hears the one, the worker has heard the other."""
    with redis.Redis.from_url(os.environ["ADMIN_URL"]) as client:  # a worker may not say that
        for cancelled in (args, context.id):
            client.publish(f"tempest:{{{context.queue}}}:control", f"cancel {cancelled}")
    context.wait(10)


@worker.on("tell")
def tell(args: Any, context: Context) -> list[Any]:
    pushed = context.push("other", "mark", {"from": context.id}, lane="low")
    return [context.publish("news", ["Bob"]), pushed, context.attempt, context.time_left()]


@worker.on("progress")
def progress(args: Any, context: Context) -> str:
    """Tells how far it is and waits until it is told to go on."""
    context.log("begun")
    context.progress({"done": 1})
    wait_for(args)
    context.log("over")
    return "told"


@worker.on("talkative")
def talkative(args: str, context: Context) -> None:
    """Leaves a thread behind that goes on telling."""

    def tell() -> None:
        wait_for(args)
        context.log("late")
        context.progress(1)
        mark("told")

    threading.Thread(target=tell).start()


@worker.on("until")
def until(args: str) -> str:
    """Waits until somebody writes the key `args`."""
    mark("begin")
    wait_for(args)
    return args


def wait_for(key: str) -> None:
    admin = redis.Redis.from_url(os.environ["ADMIN_URL"])
    while not admin.exists(key):
        time.sleep(0.005)
    admin.close()


@worker.on("input")
def with_input(args: Any, context: Context) -> Any:
    mark(f"input:{context.id}")
    return {"args": args, "input": context.input}


@worker.on("flaky")
def flaky(args: Any, context: Context) -> str:
    if context.attempt == 1:
        raise ValueError("not today")
    return "at last"


@worker.on("typed")
def typed(args: Parcel, context: Context) -> str:
    return f"{args.to.name} {args.weight_kg:.1f} {args.tags}"


if __name__ == "__main__":
    worker.run()
