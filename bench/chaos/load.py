"""Asks, at the times of the orders, and writes down how each request and each push ended.

A request ends as ``answered`` (status and body), ``cut`` (its connection broke), ``unreached`` (nobody listened) or
``hung`` (no answer long past the front's own deadline), ``left`` (its client hung up, as the order says). It is never
asked twice. How a push ends say the pushes.
"""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass

from chaos.crew import REQUEST_TIMEOUT_MS
from chaos.fleet import now_ms
from chaos.pushes import push

HUNG_S = REQUEST_TIMEOUT_MS / 1_000 + 30


@dataclass(frozen=True)
class Ended:
    """How an order ended for whoever gave it; times in milliseconds of the wall clock."""

    how: str
    from_ms: int
    to_ms: int
    status: int = 0
    body: str = ""
    # What came on the connection after the answer.
    more: str = ""

    @property
    def code(self):
        """The code word of a refusal; empty if there is none in it."""
        try:
            return json.loads(self.body)["code"]
        except (ValueError, KeyError, TypeError):
            return ""


class Load:
    """Gives the orders of a run. ``ended`` is how each ended, by its id."""

    def __init__(self, fleet):
        self.fleet, self.ended = fleet, {}

    async def give(self, orders):
        """Gives all of them at their times and waits until each has ended."""
        client = self.fleet.client(self.fleet.proxies["load"].port)
        begin = time.monotonic()
        async with client, asyncio.TaskGroup() as group:
            for order in orders:
                if order.after or order.group:
                    continue
                await asyncio.sleep(begin + order.at_s - time.monotonic())
                group.create_task(self._one(order, client))

    async def _one(self, order, client):
        from_ms = now_ms()
        how = await (push(client, order, from_ms) if order.kind == "job" else self._ask(order))
        self.ended[order.id] = Ended(how[0], from_ms, now_ms(), *how[1:])
        if how[0] == "pushed":
            await asyncio.gather(*(self._one(member, client) for member in order.members))
        else:
            self.ended.update({member.id: Ended("withheld", from_ms, now_ms()) for member in order.members})

    async def _ask(self, order):
        port = self.fleet.front_ports[order.front]
        try:
            async with asyncio.timeout(HUNG_S):
                return await ask(port, order)
        except TimeoutError:
            return ("hung",)


async def ask(port, order):
    """One request on a connection of its own, read to its end."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return ("unreached",)
    try:
        writer.write(_head(port, order) + (order.payload.encode() if order.kind == "post" else b""))
        async with asyncio.timeout(order.leaves_ms / 1_000 or None):
            return answer(await reader.read())
    except TimeoutError:
        return ("left",)
    except OSError:
        return ("cut",)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _head(port, order):
    lines = [
        f"{order.kind.upper()} {order.path} HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "accept: application/problem+json",
    ]
    if order.kind == "post":
        lines.append(f"content-length: {len(order.payload)}")
    return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def answer(bytes_):
    """Status and body of a whole response; what ends early was cut."""
    head, gap, body = bytes_.partition(b"\r\n\r\n")
    if not gap:
        return ("cut",)
    status, *fields = head.decode("latin-1").split("\r\n")
    length = next((int(field[15:]) for field in fields if field.lower().startswith("content-length:")), None)
    if length is None or len(body) < length:
        return ("cut",)
    own, more = (part.decode(errors="replace") for part in (body[:length], body[length:]))
    return ("answered", int(status.split()[1]), own, more)
