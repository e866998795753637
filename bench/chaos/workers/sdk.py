"""A worker on the Python client that writes down what it starts and ends: the evidence of the ledger."""

import os
import time
from pathlib import Path

from tempest import Worker

NAME = os.environ["CHAOS_WORKER"]
# Unbuffered and to append: each line is one write, so a process that is killed leaves whole lines.
evidence = (Path(os.environ["CHAOS_EVIDENCE"]) / f"{NAME}-{os.getpid()}").open("ab", buffering=0)

worker = Worker()


class PlannedFailure(Exception):
    """The order says that this attempt fails."""


def write(what, order, attempt):
    """``what ms worker pid id attempt payload``."""
    now_ms = time.time_ns() // 1_000_000
    evidence.write(f"{what} {now_ms} {NAME} {os.getpid()} {order['id']} {attempt} {order['payload']}\n".encode())


def carry_out(order, attempt):
    write("start", order, attempt)
    time.sleep(int(order["ms"]) / 1000)
    if attempt <= order.get("fails", 0):
        write("fail", order, attempt)
        raise PlannedFailure("it was to fail")
    write("end", order, attempt)


@worker.on("url")
def request(request, context):
    payload = request.text or request.query["payload"]
    order = {"id": request.path.rsplit("/", 1)[1], "ms": request.query["ms"], "payload": payload}
    carry_out(order, context.attempt)
    return f"{order['id']} {order['payload']}"


@worker.on("work")
def work(order, context):
    order["id"] = context.id
    carry_out(order, context.attempt)
    before = context.input
    if isinstance(before, list):
        before = "+".join("nothing" if each is None else each for each in before)
    return context.id if before is None else f"{context.id} after {before}"


if __name__ == "__main__":
    worker.run()
