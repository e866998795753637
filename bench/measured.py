"""What benchmarks share: waiting for a server, and what /proc says of a process."""

import pathlib
import socket
import sys
import time


def wait_for(port, seconds=20):
    """Waits until somebody listens there; else ends the program."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def resident_bytes(pid):
    """The memory of a process that is in use."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")
