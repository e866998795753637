#!/usr/bin/env python3
"""Memory and CPU of idle EventSource streams: opens N of them on a front and reads what /proc says of it.

usage: bench/idle_streams.py [--streams 15000] [--seconds 60] [--only plain,tls,http2,axum]
                             [--bin target/release] [--json FILE]

plain   the front takes the socket back from hyper
tls     HTTP/1.1 in TLS, a connection a stream
http2   HTTP/2 in TLS, a connection a stream, as browsers do
axum    the embed example: plaintext, the stream is a response body

Prints resident bytes a stream (whole process, after minus before), CPU a stream and second while they are idle but for
heartbeats each 25 s, and how many then heard an event. Exit code 1 if one did not; with --strict also if a stream in
plaintext needs more than 4,096 bytes or 2 us.
"""

import contextlib
import os
import pathlib
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "acceptance"))

import private  # noqa: E402
from crowd import frame, get_http2  # noqa: E402
from measured import cpu_seconds, open_many_files, resident_bytes, running, wait_for  # noqa: E402
from part import Part, argument_parser  # noqa: E402
from stage import free_ports  # noqa: E402

REQUEST = b"GET /sub/bench HTTP/1.1\r\nhost: localhost\r\n\r\n"
PING, ACK = 6, 1


class Client:
    """A client of one stream on one connection, in plaintext."""

    def __init__(self, port):
        self.sock = self.connected(socket.create_connection(("127.0.0.1", port), 30))
        self.text, self.beats = b"", 0
        self.ask()
        while b"retry:" not in self.text:
            self.take(self.sock.recv(4096))
        self.text = b""
        self.sock.setblocking(False)

    def connected(self, sock):
        return sock

    def ask(self):
        self.sock.sendall(REQUEST)

    def read(self):
        """What has come, if anything."""
        with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
            while True:
                self.take(self.sock.recv(4096))

    def take(self, piece):
        if not piece:
            sys.exit(f"a stream has ended: {self.text!r}")
        self.beats += piece.count(b":\n\n")
        self.text += piece

    def heard(self):
        """Whether the event has come."""
        return b"data: ping" in self.text


def trusting(protocol):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


class TlsClient(Client):
    """The same in TLS."""

    context = trusting("http/1.1")

    def connected(self, sock):
        return self.context.wrap_socket(sock)


class Http2Client(TlsClient):
    """The same with HTTP/2; pings are answered."""

    context = trusting("h2")
    frames = b""

    def ask(self):
        self.sock.sendall(get_http2("localhost", "/sub/bench"))

    def take(self, piece):
        self.frames += piece
        while len(self.frames) >= 9 and len(self.frames) >= (end := 9 + int.from_bytes(self.frames[:3], "big")):
            kind, flags, payload = self.frames[3], self.frames[4], self.frames[9:end]
            if kind == PING and not flags & ACK:
                self.sock.sendall(frame(PING, ACK, 0, payload))
            elif kind == 0:
                super().take(payload)
            self.frames = self.frames[end:]
        if not piece:
            super().take(b"")


RESIDENT_MAX, CPU_US_MAX = 4_096, 2
KINDS = {"plain": Client, "tls": TlsClient, "http2": Http2Client, "axum": Client}


def read_for(selector, seconds, done=lambda: False):
    """Reads and answers as clients do, for this time or until it is done."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not done():
        for key, _ in selector.select(min(left, 0.5)):
            key.data.read()


def measure(kind, process, port, redis, options):
    """The figures of one server, as a row of the table and by name."""
    wait_for(port)
    time.sleep(1)
    before, begun = resident_bytes(process.pid), time.monotonic()
    clients, selector = [], selectors.DefaultSelector()
    for _ in range(options.streams):
        client = KINDS[kind](port)
        selector.register(client.sock, selectors.EVENT_READ, client)
        clients.append(client)
        if len(clients) % 500 == 0:
            read_for(selector, 0.01)
    opened = time.monotonic() - begun
    read_for(selector, 3)
    idle, cpu, clock = resident_bytes(process.pid), cpu_seconds(process.pid), time.monotonic()
    beats = sum(client.beats for client in clients)
    read_for(selector, options.seconds)
    cpu = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - clock)
    beats = sum(client.beats for client in clients) - beats
    idle = max(idle, resident_bytes(process.pid))
    redis.ask("publish", "bench", '["ping"]')
    read_for(selector, 20, lambda: all(client.heard() for client in clients))
    heard = sum(client.heard() for client in clients)
    for client in clients:
        client.sock.close()
    selector.close()
    return {
        "kind": kind,
        "streams": options.streams,
        "opened_s": opened,
        "before_bytes": before,
        "idle_bytes": idle,
        "resident_bytes": (idle - before) / options.streams,
        "cpu_us": cpu / options.streams * 1e6,
        "heartbeats": beats / options.streams,
        "heard": heard,
    }


def say(found, options, part):
    """The table, the goals, and whether every stream heard the event."""
    rows = [
        [
            one["kind"],
            one["streams"],
            f"{one['opened_s']:.1f}",
            f"{one['resident_bytes']:,.0f}",
            f"{one['before_bytes'] / 1e6:.1f} -> {one['idle_bytes'] / 1e6:.1f}",
            f"{one['cpu_us']:.2f}",
            f"{one['heartbeats']:.2f}",
            one["heard"],
        ]
        for one in found
    ]
    columns = ["server", "streams", "opened in s", "bytes each", "whole process, MB", "CPU us each a second"]
    columns += [f"heartbeats each in {options.seconds:.0f} s", "heard an event"]
    part.table("Idle event streams", columns, rows)
    for one in found:
        if one["heard"] != options.streams:
            part.fail(f"{one['kind']}: {one['heard']} of {options.streams} streams heard the event")
        if one["kind"] == "plain":
            part.goal(f"bytes of an idle stream ≤ {RESIDENT_MAX}", one["resident_bytes"], RESIDENT_MAX, False)
            part.goal(f"us of a processor a stream and second ≤ {CPU_US_MAX}", one["cpu_us"], CPU_US_MAX, False)


def certificate(folder):
    """A certificate for localhost, and its key."""
    pem, key = f"{folder}/a.pem", f"{folder}/a.key"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", pem]
    subprocess.run(["openssl", "req", "-x509", *new, "-subj", "/CN=localhost"], check=True, capture_output=True)
    return pem, key


def serve(kind, folder, options):
    """A Redis and a server of a kind, measured and ended."""
    redis_port, port, tls_port = free_ports(3)
    url = f"redis://127.0.0.1:{redis_port}"
    environment = {**os.environ, "TEMPEST_REDIS_URL": url, "PORT": str(port), "RUST_LOG": "warn", "TEMPEST_LOG": "warn"}
    pem, key = certificate(folder)
    tls = ["--tls-listen", f"127.0.0.1:{tls_port}", "--tls-certificate", pem, "--tls-key", key]
    built = options.bin.resolve()
    front = [built / "tempest", "front", "--listen", f"127.0.0.1:{port}", "--redis-url", url, "--admin-listen", ""]
    if kind in ("tls", "http2"):
        front, port = front + tls, tls_port
    with private.redis(redis_port, folder) as redis:
        command = [built / "embed"] if kind == "axum" else front
        with running(command, env=environment, stdout=subprocess.DEVNULL, cwd=folder) as server:
            return measure(kind, server, port, redis, options)


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--streams", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", default=",".join(KINDS), help="servers, separated by commas")
    parser.add_argument("--strict", action="store_true", help="fails if a goal is missed")
    options, part = parser.parse_args(), Part()
    open_many_files()
    found = part.raw["servers"] = []
    for kind in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found.append(serve(kind, folder, options))
    say(found, options, part)
    missed = options.strict and any(not goal["met"] for goal in part.goals)
    sys.exit(part.finish(options.json) or missed)


if __name__ == "__main__":
    main()
