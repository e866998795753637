"""A worker on the Python client whose handlers hang until nobody waits any more, and say when they got to know; one of
them as long as its process lives (bench/recovery)."""

import asyncio
import os
import socket
import time

from tempest import Worker

worker = Worker()
told = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def say(request, what):
    """``what`` and the time of this machine in nanoseconds, to whoever measures."""
    told.sendto(f"{what} {request.query['n']} {time.time_ns()}".encode(), ("127.0.0.1", int(request.query["port"])))


@worker.on("async", http=True)
async def hang_in_a_loop(request):
    say(request, "began")
    try:
        await asyncio.sleep(3600)
    finally:
        say(request, "told")


@worker.on("waiting", http=True)
def hang_in_a_wait(request, context):
    say(request, "began")
    context.wait()
    say(request, "told")


@worker.on("asking", http=True)
def ask_now_and_then(request, context):
    """What a sequential handler can do: each piece of its work takes a millisecond, and it asks between two."""
    say(request, "began")
    while not context.cancelled():
        time.sleep(0.001)
    say(request, "told")


@worker.on("hold")
def hold(job, context):
    """Says ``<id> <attempt> <pid>``. A first attempt then lasts until its process is killed, or the job cancelled."""
    told.sendto(f"{context.id} {context.attempt} {os.getpid()}".encode(), ("127.0.0.1", job["port"]))
    if context.attempt == 1:
        context.wait()


if __name__ == "__main__":
    worker.run()
