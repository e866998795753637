#!/usr/bin/env python3
"""Memory of what waits: idle connections and requests without a reply on a front, and their jobs in Redis.

usage: bench/waiting.py [--requests 5000] [--body-bytes 0] [--tempest target/release/tempest]

Nobody works: a lease is written by hand, so that the front believes that somebody will. Prints resident bytes of the
whole front (after minus before) and `used_memory` of Redis, each by the number of what waits.
"""

import argparse
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

from measured import resident_bytes, wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a browser sends, some 700 bytes.
HEAD = (
    "{method} /articles/42?page=2 HTTP/1.1\r\nhost: shop.example\r\n"
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\naccept-language: en-GB,en;q=0.5\r\n"
    "accept-encoding: gzip, deflate, br, zstd\r\nreferer: https://shop.example/articles?page=1\r\n"
    "cookie: session=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef; theme=dark; consent=1\r\n"
    "upgrade-insecure-requests: 1\r\nsec-fetch-dest: document\r\nsec-fetch-mode: navigate\r\n"
    "sec-fetch-site: same-origin\r\n"
    "sec-fetch-user: ?1\r\npriority: u=0, i\r\ncontent-length: {length}\r\n\r\n"
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """A private server, asked by redis-cli."""

    def __init__(self, folder):
        self.port = free_port()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(self.port, 10)

    def ask(self, *words):
        command = ["redis-cli", "-p", str(self.port), *map(str, words)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def used_bytes(self):
        info = self.ask("INFO", "memory")
        return int(next(line for line in info.splitlines() if line.startswith("used_memory:")).split(":")[1])

    def pretend_a_worker(self):
        self.ask("SADD", "tempest:queues", "default")
        self.ask("SADD", "tempest:{default}:workers", "bench-0-0.0")
        self.ask("SET", "tempest:{default}:lease:bench-0-0", "{}", "PX", "600000")


def measure(redis, front, port, options):
    time.sleep(2)  # it has seen the lease
    empty, redis_empty = resident_bytes(front.pid), redis.used_bytes()
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(options.requests)]
    time.sleep(2)
    idle = resident_bytes(front.pid)
    body = b"x" * options.body_bytes
    request = HEAD.format(method="POST" if body else "GET", length=len(body)).encode() + body
    for client in clients:
        client.sendall(request)
    end = time.monotonic() + 60
    while int(redis.ask("LLEN", "tempest:{default}")) < options.requests:
        if time.monotonic() > end:
            sys.exit(f"only {redis.ask('LLEN', 'tempest:{default}')} jobs wait")
        time.sleep(0.1)
    time.sleep(1)
    waiting, redis_waiting = resident_bytes(front.pid), redis.used_bytes()
    count = options.requests
    print(f"{count} requests of {len(request)} bytes")
    held, more = (idle - empty) / count, (waiting - idle) / count
    print(f"front: {held:,.0f} B a connection, {more:,.0f} B more a request that waits")
    print(f"Redis: {(redis_waiting - redis_empty) / count:,.0f} B a job that waits")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--body-bytes", type=int, default=0)
    parser.add_argument("--tempest", default=ROOT / "target/release/tempest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        redis, port = Redis(folder), free_port()
        redis.pretend_a_worker()
        command = [options.tempest, "front", "--listen", f"127.0.0.1:{port}", "--redis-url"]
        command += [f"redis://127.0.0.1:{redis.port}", "--timeout-ms", "600000", "--log", "error"]
        front = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(port)
            measure(redis, front, port, options)
        finally:
            front.kill()
            front.wait()
            redis.process.kill()
            redis.process.wait()


main()
