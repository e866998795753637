"""The proxy of bench/chaos: what it carries, and how it hurts."""

import asyncio
import contextlib

from chaos.proxy import Proxy


@contextlib.asynccontextmanager
async def echoes():
    """A proxy before a server that gives back what it gets, and a connection through it."""

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            while chunk := await reader.read(100):
                writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"begin")
        assert await reader.readexactly(5) == b"begin"
        yield proxy, reader, writer
    finally:
        writer.close()
        await proxy.stop()
        server.close()


def run(scene):
    """Runs a scene, a function of proxy, reader and writer, within ten seconds."""

    async def all_of_it():
        async with asyncio.timeout(10), echoes() as given:
            await scene(*given)

    asyncio.run(all_of_it())


def test_it_carries_everything_both_ways():
    async def scene(proxy, reader, writer):
        writer.write(b"x" * 200_000)
        assert await reader.readexactly(200_000) == b"x" * 200_000

    run(scene)


def test_a_cut_downwards_lets_so_many_bytes_through():
    async def scene(proxy, reader, writer):
        proxy.links[0].cut_after(7, upwards=False)
        writer.write(b"0123456789")
        assert await reader.read() == b"0123456"

    run(scene)


def test_a_cut_upwards_counts_over_several_writes():
    async def scene(proxy, reader, writer):
        proxy.links[0].cut_after(7, upwards=True)
        writer.write(b"01234")
        assert await reader.readexactly(5) == b"01234"
        writer.write(b"56789")
        with contextlib.suppress(ConnectionError):
            assert (await reader.read()) in (b"56", b"")
        assert reader.at_eof() or reader.exception()

    run(scene)


def test_a_silent_connection_says_nothing_and_then_ends():
    async def scene(proxy, reader, writer):
        silence = asyncio.create_task(proxy.links[0].silence(0.5))
        await asyncio.sleep(0)
        writer.write(b"hello")
        begun = asyncio.get_running_loop().time()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - begun > 0.3
        await silence

    run(scene)


def test_a_delayed_connection_is_late_and_whole():
    async def scene(proxy, reader, writer):
        delay = asyncio.create_task(proxy.links[0].delay(0.3, each_s=0.2))
        await asyncio.sleep(0)
        begun = asyncio.get_running_loop().time()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert asyncio.get_running_loop().time() - begun >= 0.2
        await delay

    run(scene)


def test_while_nobody_listens_behind_it_connections_end_at_once():
    async def scene():
        proxy = Proxy(1)
        await proxy.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        assert proxy.links == []
        writer.close()
        await proxy.stop()

    asyncio.run(asyncio.wait_for(scene(), 10))
