"""What benchmarks share: waiting for a server, and what /proc says of a process."""

import contextlib
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time


@contextlib.contextmanager
def running(command, how=signal.SIGKILL, **options):
    """A process for the time of a block: it is ended however the block is left, by a SIGTERM while it starts too."""
    process, ended = None, []
    before = signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    try:
        process = subprocess.Popen(command, **options)
        signal.signal(signal.SIGTERM, before)
        if ended:
            signal.raise_signal(signal.SIGTERM)
        yield process
    finally:
        signal.signal(signal.SIGTERM, before)
        if process:
            process.send_signal(how)
            process.wait()


def open_many_files():
    """Lets this program and what it starts open as many files as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wait_for(port, seconds=20):
    """Waits until somebody listens there; else ends the program."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def _kilobytes(pid, file, key):
    for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {key} of process {pid}")


def resident_bytes(pid):
    """The memory of a process that is in use."""
    return _kilobytes(pid, "status", "VmRSS:")


def anonymous_bytes(pid):
    """The same without the pages of files: what the process itself has written."""
    return _kilobytes(pid, "status", "RssAnon:")


def proportional_bytes(pid):
    """The same, where a page that several processes share counts for each in part (PSS)."""
    return _kilobytes(pid, "smaps_rollup", "Pss:")


def cpu_seconds(pid):
    """What a process has used of a processor so far, in its own code and in the system's."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def started_ticks(pid):
    """When a process was started, in the system's ticks since it runs: tells it from a later one of the same number."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


def family(pid):
    """A process and all it has started that lives, the oldest first."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for parent in found:
        found += sorted(children.get(parent, []))
    return found
