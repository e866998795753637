"""EventSource clients by the thousand, on plain sockets and one thread."""

import contextlib
import heapq
import random
import resource
import selectors
import socket
import time

from stage import expect


def raise_open_files(wanted):
    """A stream is an open file here and another one in the front."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    expect(hard == resource.RLIM_INFINITY or hard >= wanted, f"{wanted} open files are needed, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Client:
    """One of them: what it has heard, and since when."""

    def __init__(self, begin, rude=False):
        self.begin, self.rude = begin, rude
        self.sock, self.text, self.retry_ms = None, b"", None
        self.opened = self.ended = None


class Crowd:
    """Clients of one front that all ask for the same topic. Nothing happens outside of ``until``."""

    def __init__(self, port, topic, clients):
        self.address, self.clients = ("127.0.0.1", port), clients
        self.request = f"GET /sub/{topic} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n".encode()
        self.selector, self.queue, self.refused = selectors.DefaultSelector(), [], 0
        for client in clients:
            self._later(client, client.begin)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            if client.sock:
                client.sock.close()
        self.selector.close()

    def until(self, what, holds, patience_s=60):
        """Connects, reads and comes back as the clients would, until ``holds()``."""
        end = time.monotonic() + patience_s
        while not holds():
            now = time.monotonic()
            if now > end:
                raise AssertionError(f"never happened: {what}")
            while self.queue and self.queue[0][0] <= now:
                self._connect(heapq.heappop(self.queue)[2])
            pause = self.queue[0][0] - now if self.queue else 1
            for key, events in self.selector.select(max(0, min(pause, 0.05))):
                self._serve(key.data, events)

    def count(self, text):
        """How many have heard this since they connected last."""
        return sum(text in client.text for client in self.clients)

    def open(self):
        """How many have an open stream."""
        return self.count(b"retry:") - sum(client.ended is not None for client in self.clients)

    def _later(self, client, at):
        heapq.heappush(self.queue, (at, id(client), client))

    def _connect(self, client):
        client.text, client.opened, client.ended = b"", None, None
        client.sock = socket.socket()
        client.sock.setblocking(False)
        client.sock.connect_ex(self.address)
        self.selector.register(client.sock, selectors.EVENT_WRITE, client)

    def _serve(self, client, events):
        try:
            if events & selectors.EVENT_WRITE:
                client.sock.send(self.request)
                self.selector.modify(client.sock, selectors.EVENT_READ, client)
                return None
            piece = client.sock.recv(65_536)
        except OSError:
            piece = b""
        if not piece:
            return self._end(client)
        client.text += piece
        if client.opened is None and b"retry:" in client.text:
            expect(client.text.startswith(b"HTTP/1.1 200 "), client.text)
            client.opened = time.monotonic()
        return None

    def _end(self, client):
        """Refused, or at the end of its stream: a browser waits as it was told, a rude client does not."""
        self.selector.unregister(client.sock)
        client.sock.close()
        now = time.monotonic()
        if client.opened is None:
            self.refused += 1
            expect(not client.text, f"refused: {client.text!r}")
        else:
            client.ended = now
            hints = client.text.rsplit(b"retry: ", 1)
            with contextlib.suppress(ValueError):
                client.retry_ms = int(hints[-1].split(b"\n")[0])
        self._later(client, now + (0.05 if client.rude or client.retry_ms is None else client.retry_ms / 1000))


def arriving(count, within_s, rude_share=0):
    """Clients that begin at even distances; some of them are rude."""
    now, chance = time.monotonic(), random.Random(5)
    return [Client(now + within_s * n / count, chance.random() < rude_share) for n in range(count)]


def get_http2(host, path):
    """What a client of HTTP/2 sends for one request, on stream 1 (RFC 9113; header fields are not compressed)."""
    fields = bytes([0x82, 0x87]) + _literal(0x04, path) + _literal(0x01, host)  # GET, https, :path, :authority
    settings, headers = frame(4, 0, 0, b""), frame(1, 0x05, 1, fields)  # END_STREAM and END_HEADERS
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers


def frame(kind, flags, stream, payload):
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name, value):
    return bytes([name, len(value)]) + value.encode()
