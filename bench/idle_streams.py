#!/usr/bin/env python3
"""Memory and CPU of idle EventSource streams: opens N of them on a front and reads what /proc says of it.

usage: bench/idle_streams.py [--streams 15000] [--topics 1] [--seconds 30] [--tempest target/release/tempest]
                             [--embed target/release/embed]

The front takes its sockets back from hyper; the embed example, served by axum, keeps them: both in one run.
Prints one line a server: resident bytes per stream (whole process, after minus before), CPU per stream and second.
"""

import argparse
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def open_stream(port, topic):
    stream = socket.create_connection(("127.0.0.1", port), 10)
    stream.sendall(f"GET /sub/{topic} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    head = b""
    while b"retry:" not in head:
        part = stream.recv(4096)
        if not part:
            sys.exit(f"a stream was refused: {head!r}")
        head += part
    if not head.startswith(b"HTTP/1.1 200"):
        sys.exit(f"a stream was refused: {head!r}")
    return stream


def publish(redis_port, topic, payload):
    subprocess.run(["redis-cli", "-p", str(redis_port), "publish", topic, payload], check=True, capture_output=True)


def measure(name, process, port, redis_port, options):
    wait_for(port)
    time.sleep(1)
    before = resident_bytes(process.pid)
    begun = time.monotonic()
    streams = [open_stream(port, f"bench{n % options.topics}") for n in range(options.streams)]
    opened = time.monotonic() - begun
    time.sleep(3)
    idle, cpu, clock = resident_bytes(process.pid), cpu_seconds(process.pid), time.monotonic()
    time.sleep(options.seconds)
    cpu = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - clock)
    for topic in range(options.topics):
        publish(redis_port, f"bench{topic}", '["ping"]')
    heard = 0
    for stream in streams:
        stream.settimeout(10)
        text = b""
        while b"data: ping" not in text:
            part = stream.recv(4096)
            if not part:
                break
            text += part
        heard += b"data: ping" in text
    print(
        f"{name}: {options.streams} streams opened in {opened:.1f} s;"
        f" {(idle - before) / options.streams:.0f} B resident a stream"
        f" ({before / 1e6:.1f} -> {idle / 1e6:.1f} MB, whole process);"
        f" {cpu / options.streams * 1e6:.2f} us CPU a stream and second;"
        f" {heard} of {options.streams} heard an event",
        flush=True,
    )
    for stream in streams:
        stream.close()
    return heard == options.streams


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=15_000)
    parser.add_argument("--topics", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--tempest", default=ROOT / "target/release/tempest")
    parser.add_argument("--embed", default=ROOT / "target/release/embed")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    processes, complete = [], True
    with tempfile.TemporaryDirectory() as folder:
        try:
            redis_port, port, embed_port = free_port(), free_port(), free_port()
            url = f"redis://127.0.0.1:{redis_port}"
            redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            processes.append(subprocess.Popen(redis, stdout=subprocess.DEVNULL))
            wait_for(redis_port)
            environment = {**os.environ, "TEMPEST_REDIS_URL": url, "PORT": str(embed_port), "RUST_LOG": "warn"}
            front = [options.tempest, "front", "--listen", f"127.0.0.1:{port}", "--redis-url", url]
            processes.append(subprocess.Popen(front, env=environment, stdout=subprocess.DEVNULL))
            complete &= measure("front", processes[-1], port, redis_port, options)
            processes.append(subprocess.Popen([options.embed], env=environment, stdout=subprocess.DEVNULL))
            complete &= measure("axum ", processes[-1], embed_port, redis_port, options)
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(20)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
