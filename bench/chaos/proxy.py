"""Connections to Redis through a place where they can be hurt: cut after a number of bytes, delayed, or silent.

A silent connection is half open: whatever comes is swallowed, in both directions, and nobody is told. It is never
healed, since bytes are missing from it; its time over, it is cut.
"""

import asyncio
import contextlib

CHUNK = 65_536


class Link:
    """One connection, from whoever called to Redis."""

    def __init__(self, caller, redis):
        self.caller, self.redis = caller, redis
        self.is_silent = False
        self._delay_s = 0.0
        self._until_cut = {}

    async def run(self):
        """Carries bytes in both directions until either end, or a fault, ends it."""
        (from_caller, to_caller), (from_redis, to_redis) = self.caller, self.redis
        both = [
            asyncio.ensure_future(self._carry(from_caller, to_redis, upwards=True)),
            asyncio.ensure_future(self._carry(from_redis, to_caller, upwards=False)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _carry(self, source, sink, upwards):
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self.is_silent:
                    continue
                left = self._until_cut.get(upwards)
                if left is not None and len(chunk) >= left:
                    sink.write(chunk[:left])
                    await sink.drain()
                    return
                if left is not None:
                    self._until_cut[upwards] = left - len(chunk)
                sink.write(chunk)
                await sink.drain()

    def cut_after(self, size, upwards):
        """Ends it when so many more bytes have gone in this direction."""
        self._until_cut[upwards] = size

    async def delay(self, seconds, each_s=0.1):
        """Holds up what is read by ``each_s``, for so long."""
        self._delay_s = each_s
        await asyncio.sleep(seconds)
        self._delay_s = 0.0

    async def silence(self, seconds):
        """Swallows everything for so long, then ends it."""
        self.is_silent = True
        await asyncio.sleep(seconds)
        self.cut()

    def cut(self):
        """Ends it now. What was written reaches either end as far as the system has it."""
        for _, writer in (self.caller, self.redis):
            writer.close()


class Proxy:
    """A port that leads to Redis. ``links`` are those that live, the oldest first."""

    def __init__(self, redis_port):
        self.links = []
        self.port = None
        self._redis_port = redis_port
        self._server = None

    async def start(self):
        """Listens on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        """Ends all links and listens no more."""
        self._server.close()
        for link in list(self.links):
            link.cut()
        while self.links:
            await asyncio.sleep(0.01)

    async def _serve(self, *caller):
        try:
            redis = await asyncio.open_connection("127.0.0.1", self._redis_port)
        except OSError:
            # As if nobody listened: the caller has no word of Redis.
            caller[1].close()
            return
        link = Link(caller, redis)
        self.links.append(link)
        try:
            await link.run()
        except asyncio.CancelledError:
            # The run was interrupted; asyncio would tell of it for every connection.
            link.cut()
        finally:
            self.links.remove(link)
