#!/usr/bin/env python3
"""Memory of what waits: idle connections and requests without a reply on a front, and their jobs in Redis.

usage: bench/waiting.py [--requests 10000] [--body-bytes 0] [--bin target/release] [--json FILE]

Nobody works: a lease is written by hand, so that the front believes that somebody will. Prints resident bytes of the
whole front (after minus before) and `used_memory` of Redis, each by the number of what waits.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time

import private
from measured import open_many_files, proportional_bytes, resident_bytes, running, wait_for
from part import ROOT, Part, argument_parser

sys.path.insert(0, str(ROOT / "acceptance"))

from stage import free_ports

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


def pretend_a_worker(redis):
    """Registers one that takes nothing."""
    redis.ask("SADD", "tempest:queues", "default")
    redis.ask("SADD", "tempest:{default}:workers", "bench-0-0.0")
    redis.ask("SET", "tempest:{default}:lease:bench-0-0", "{}", "PX", "600000")


def wait_until_all_wait(redis, count):
    """Waits until so many jobs are in the queue."""
    end = time.monotonic() + 120
    while (jobs := int(redis.ask("LLEN", "tempest:{default}"))) < count:
        if time.monotonic() > end:
            sys.exit(f"only {jobs} of {count} jobs wait")
        time.sleep(0.1)


def memory(front, redis):
    """Resident and proportional bytes of the front, bytes Redis uses for itself and for data."""
    return resident_bytes(front.pid), proportional_bytes(front.pid), int(redis.info()["used_memory"])


def measure(redis, front, port, options, part):
    """Opens connections, sends a request on each, and says what both cost."""
    time.sleep(2)  # it has seen the lease
    empty = memory(front, redis)
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(options.requests)]
    time.sleep(2)
    idle = memory(front, redis)
    body = b"x" * options.body_bytes
    request = HEAD.format(method="POST" if body else "GET", length=len(body)).encode() + body
    for client in clients:
        client.sendall(request)
    wait_until_all_wait(redis, options.requests)
    time.sleep(1)
    waiting = memory(front, redis)
    part.raw.update(empty=empty, idle=idle, waiting=waiting, request_bytes=len(request))
    rows = [[name, *(f"{bytes_ / 1e6:.1f}" for bytes_ in found)] for name, found in part.raw.items() if "_" not in name]
    title = f"{options.requests} connections, then a request of {len(request)} bytes waits on each: MB"
    part.table(title, ["state", "front RSS", "front PSS", "Redis"], rows)
    each = [(waiting[0] - idle[0]), (idle[0] - empty[0]), (waiting[2] - empty[2])]
    names = ["front, a request that waits", "front, its connection", "Redis, its job"]
    rows = [[name, f"{bytes_ / options.requests:,.0f}"] for name, bytes_ in zip(names, each, strict=True)]
    part.table("Bytes each, resident", ["of", "bytes"], rows)
    for client in clients:
        client.close()


def arguments():
    parser = argument_parser(__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--body-bytes", type=int, default=0)
    return parser.parse_args()


def main():
    options, part = arguments(), Part()
    open_many_files()
    with tempfile.TemporaryDirectory() as folder:
        redis_port, port = free_ports(2)
        command = [options.bin.resolve() / "tempest", "front", "--listen", f"127.0.0.1:{port}", "--admin-listen", ""]
        command += ["--redis-url", f"redis://127.0.0.1:{redis_port}", "--timeout-ms", "600000", "--log", "error"]
        with private.redis(redis_port, folder) as redis:
            pretend_a_worker(redis)
            with running(command, stdout=subprocess.DEVNULL, cwd=folder, env={"PATH": os.environ["PATH"]}) as front:
                wait_for(port)
                measure(redis, front, port, options, part)
    sys.exit(part.finish(options.json))


if __name__ == "__main__":
    main()
