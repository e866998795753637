"""What the acceptance checks share: a cluster as a user starts it, and the count at the end.

Nothing here knows how Tempest works inside; it starts programs, talks to their ports, and looks at processes.
"""

import contextlib
import fcntl
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("TEMPEST_BIN", ROOT / "target/debug/tempest")).resolve()
LONG = os.environ.get("TEMPEST_TEST_LENGTH") == "long"
PATIENCE_S = 30

_checks = []

# Whoever ends a check from outside, a limit of time for instance, ends the programs it has started too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Skipped(Exception):
    """A tool is missing."""


def check(about):
    """Registers a check; ``about`` says in the words of a user what it holds."""

    def register(function):
        _checks.append((about, function))
        return function

    return register


def need(tool):
    """The path of a tool, or the check is skipped."""
    return shutil.which(tool, path=search_path()) or _skip(f"{tool} is missing")


def _skip(why):
    raise Skipped(why)


def run_checks(*arguments):
    """Runs every registered check with these arguments, forgets them, and gives how many passed and failed."""
    passed = failed = 0
    checks, _checks[:] = _checks[:], []
    for about, function in checks:
        start = time.monotonic()
        try:
            said = function(*arguments)
        except Skipped as why:
            if os.environ.get("CI") == "true":
                failed += 1
                print(f"FAILED  {about}: {why}", flush=True)
            else:
                print(f"skipped {about}: {why}", flush=True)
            continue
        except Exception as error:
            failed += 1
            print(f"FAILED  {about}: {error or type(error).__name__}", flush=True)
            continue
        passed += 1
        print(f"ok      {about} ({time.monotonic() - start:.1f} s){f': {said}' if said else ''}", flush=True)
    return passed, failed


def finish(*counts):
    """Prints the sum of the counts and ends with 1 if anything failed."""
    passed, failed = (sum(column) for column in zip(*counts, strict=False))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def expect(condition, what):
    """Fails the check with one line unless the condition holds."""
    if not condition:
        raise AssertionError(what)


def until(what, holds, patience_s=PATIENCE_S):
    """Asks again until ``holds()`` is true, and gives what it gave."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        given = holds()
        if given:
            return given
        time.sleep(0.01)
    raise AssertionError(f"never happened: {what}")


def free_ports(count):
    """Ports nobody listens on at this moment, of those that the system does not give to outgoing connections: none of
    these takes one before its program does, or while that is started again."""
    outgoing_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(10_000, outgoing_from) or range(10_000, 65_536)
    with contextlib.ExitStack() as stack:
        ports = []
        while len(ports) < count:
            port = random.choice(candidates)
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


def listens(port):
    """Whether somebody accepts connections there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def search_path():
    """Built programs first, then the checkout's Python, then what the user has."""
    return os.pathsep.join([str(BIN.parent), str(ROOT / ".venv/bin"), os.environ.get("PATH", "")])


class Programs:
    """Programs of one check; they and all they started are ended with it.

    Everything carries a mark in its environment, so that it is found however it was orphaned; redis-server writes over
    its environment and is found by its folder.
    """

    def __init__(self):
        self.mark = f"TEMPEST_ACCEPTANCE={uuid.uuid4()}"
        self.folder = Path(tempfile.mkdtemp(prefix="tempest-acceptance-"))
        self._started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for program in self._started:
            program.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *command, log=None, files=(), folder=None, **environment):
        """Starts a program in a folder, that of the check if none is named, with a process group of its own. It gets
        open files as 3, 4 and so on."""
        name, value = self.mark.split("=")
        inherited = {key: text for key, text in os.environ.items() if not key.startswith("TEMPEST_")}
        output = (self.folder / log).open("wb") if log else subprocess.DEVNULL
        program = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder or self.folder,
            env={**inherited, name: value, "PATH": search_path(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=range(3, 3 + len(files)),
            preexec_fn=(lambda: _renumber(files)) if files else None,
        )
        self._started.append(program)
        return program

    def alive(self):
        """The processes of this check that live: pid to command line."""
        return {pid: _command(pid) for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)}

    def _is_ours(self, pid):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
            marked = self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
            return marked or Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(self.folder)
        except OSError:
            return False

    def log(self, name):
        """What a program has said so far."""
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""


def _renumber(files):
    # First all out of the way, since one of them may have the number of another.
    copies = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3 + len(files)) for file in files]
    for number, copy in enumerate(copies, start=3):
        os.dup2(copy, number)


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class Front(Programs):
    """A private Redis and a front, each of which can be ended alone; the front keeps its port."""

    def __init__(self, *options):
        super().__init__()
        self.port, self.redis_port = free_ports(2)
        self.url, self.redis_url = f"http://127.0.0.1:{self.port}", f"redis://127.0.0.1:{self.redis_port}"
        self._command = [BIN, "front", "--listen", f"127.0.0.1:{self.port}", "--redis-url", self.redis_url, *options]
        try:
            self.start(need("redis-server"), "--port", self.redis_port, "--bind", "127.0.0.1", "--save", "")
            until("Redis listens", lambda: listens(self.redis_port))
            self.launch()
        except BaseException:
            self.__exit__()
            raise

    def launch(self):
        """Starts the front."""
        self.front = self.start(*self._command, log="front.log")
        until("the front listens", lambda: listens(self.port))


class Cluster(Programs):
    """``tempest up`` on free ports. ``config_in(folder)`` gives its configuration file."""

    def __init__(self, config_in, *options):
        super().__init__()
        config = config_in(self.folder)
        self.port, self.redis_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        command = [BIN, "up", "--config", config, "--listen", f"127.0.0.1:{self.port}", "--redis-port", self.redis_port]
        command += options
        self.up = self.start(*command, log="up.log")
        try:
            until("tempest up says its addresses", self._is_up)
        except AssertionError:
            sys.stdout.write(self.log("up.log"))
            self.__exit__()
            raise

    def _is_up(self):
        expect(self.up.poll() is None, f"tempest up ended: {self.log('up.log')}")
        return f"front {self.url}" in self.log("up.log")

    def tempest(self, *arguments):
        """What a command of the tool prints."""
        return subprocess.run(
            [BIN, *arguments],
            cwd=self.folder,
            env={**os.environ, "PATH": search_path()},
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        ).stdout

    def workers(self):
        """The processes of live workers, by what their leases say."""
        states = json.loads(self.tempest("workers", "--json"))
        return sorted(state["about"]["pid"] for state in states if state["alive"])

    def redis(self, *command):
        """What redis-cli prints."""
        return redis_cli(self.redis_port, *command)


def redis_cli(port, *command):
    """What redis-cli prints; empty while Redis is away."""
    done = subprocess.run(
        [need("redis-cli"), "-p", str(port), *map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.stdout.strip()


def run(*command, ok=True):
    """What a program prints."""
    done = subprocess.run(
        [need(command[0]), *map(str, command[1:])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    expect(not ok or done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}{done.stdout}")
    return done.stdout + done.stderr


def certificate(folder, file, names):
    """A certificate for these names that is its own authority."""
    named = ",".join(f"DNS:{name}" for name in names)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{file}.key")
    about = ("-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={named}", "-days", "30")
    run("openssl", "req", "-x509", *key, "-out", folder / f"{file}.pem", *about)


def request(port, method="GET", path="/", body=None):
    """One request on a connection of its own: status, body, and seconds it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    start = time.monotonic()
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        return response.status, text, time.monotonic() - start
    finally:
        connection.close()
