"""A Redis for the time of a part: on loopback, private, keeping nothing on disk."""

import contextlib
import subprocess

from measured import running, wait_for


class Redis:
    """A server that runs, asked by redis-cli."""

    def __init__(self, port, pid=None):
        self.port, self.pid, self.url = port, pid, f"redis://127.0.0.1:{port}"

    def ask(self, *words):
        """What redis-cli prints."""
        command = ["redis-cli", "-p", str(self.port), *map(str, words)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def info(self):
        """What it says of itself: texts by name."""
        return dict(line.split(":", 1) for line in self.ask("info", "everything").splitlines() if ":" in line)

    def counts(self):
        """What it has done so far: calls by command, but for these questions, and seconds of a processor."""
        fields = self.info()
        calls = {
            name.removeprefix("cmdstat_"): int(value.split(",")[0].removeprefix("calls="))
            for name, value in fields.items()
            if name.startswith("cmdstat_") and name != "cmdstat_info"
        }
        return calls, float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])


@contextlib.contextmanager
def redis(port, folder, *options):
    """One for the time of a block."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options]
    with running(command, stdout=subprocess.DEVNULL) as server:
        wait_for(port)
        yield Redis(port, server.pid)
