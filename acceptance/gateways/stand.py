"""The servers of acceptance/wsgi: applications under gunicorn and as workers behind a front, and single gateways."""

from pathlib import Path

from gateways import table
from stage import BIN, Programs, expect, free_ports, listens, need, request, until

HERE = Path(__file__).resolve().parent
APPS = {"bare": "bare:app", "flask": "flasked:app", "django": "djangoed:app"}
WAYS = {
    "bare": ("--processes", "2"),
    "flask": ("--processes", "1", "--threads", "4"),
    "django": ("--processes", "2", "--threads", "2", "--no-preload"),
}
"""Each application is served in another way."""
SERVING = {"bare": 2, "flask": 1, "django": 2}
CONFIG = """
[[route]]
path = "/slow"
host = "{host}"
queue = "{app}"
encoding = "{encoding}"
timeout_ms = 1500

[[route]]
path = "/{{*rest}}"
host = "{host}"
queue = "{app}"
encoding = "{encoding}"
"""


def host(app):
    """The host of the requests for an application; the front has a route for each."""
    return f"{app}.test"


def config(folder, encoding):
    """A front with a queue for each application."""
    path = folder / f"{encoding}.toml"
    path.write_text("".join(CONFIG.format(app=app, host=host(app), encoding=encoding) for app in APPS))
    return path


class Servers(Programs):
    """A Redis, a front for each encoding, and both servers of each application."""

    def __init__(self):
        super().__init__()
        self.marks = self.folder / "marks"
        self.marks.mkdir()
        # The order of sets shall be the same on both sides.
        self.environment = {"GATEWAY_MARKS": str(self.marks), "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
        self.redis_port = free_ports(1)[0]
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}"
        try:
            self.start("redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", "--save", "")
            until("Redis listens", lambda: listens(self.redis_port))
            self.fronts = {encoding: self.front(encoding) for encoding in ("json", "msgpack")}
            self.natives = {app: self.native(app, named) for app, named in APPS.items()}
            for app, named in APPS.items():
                self.gateway(f"{app}.log", named, "--queue", app, *WAYS[app], "--chdir", HERE / "wsgi")
            for app in APPS:
                until(f"{app} serves", lambda app=app: self.log(f"{app}.log").count(" serves ") == SERVING[app])
        except BaseException:
            for name in sorted(self.folder.glob("*.log")):
                print(f"--- {name.name}\n{name.read_text(errors='replace')[-2000:]}")
            self.__exit__()
            raise

    def front(self, encoding):
        """A front whose jobs are in this encoding."""
        port = free_ports(1)[0]
        options = ("--config", config(self.folder, encoding), "--redis-url", self.redis_url)
        self.start(BIN, "front", "--listen", f"127.0.0.1:{port}", *options, log=f"front-{encoding}.log")
        until("the front listens", lambda: listens(port))
        return table.Side("tempest", port, self.marks)

    def native(self, app, named):
        """The application under gunicorn."""
        port = free_ports(1)[0]
        command = (need("gunicorn"), "--workers", "2", "--timeout", "60", "--bind", f"127.0.0.1:{port}")
        self.start(*command, named, log=f"gunicorn-{app}.log", PYTHONPATH=str(HERE / "wsgi"), **self.environment)
        until(f"{app} listens under gunicorn", lambda: listens(port))
        return table.Side("native", port, self.marks)

    def gateway(self, log, *arguments):
        """The application as workers."""
        command = ("python", "-m", "tempest.wsgi", *arguments, "--redis-url", self.redis_url)
        return self.start(*command, log=log, **self.environment)


# --- the gateway as a program ----------------------------------------------------------------------------------------

APP = """
import os
import time

def app(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s %d" % (WORD, os.getpid())]

WORD = b"old"
"""


class Gateway:
    """A gateway on a queue of its own, with an application in a folder of its own, and a front for it."""

    def __init__(self, servers, name, *options, app=APP, serves=True):
        self._servers, self._name = servers, name
        self.folder = servers.folder / name
        self.folder.mkdir()
        self.write(app)
        self.port = free_ports(1)[0]
        file = self.folder / "tempest.toml"
        file.write_text(f'[[route]]\npath = "/{{*rest}}"\nqueue = "{name}"\n')
        common = ("--redis-url", servers.redis_url)
        servers.start(
            BIN, "front", "--listen", f"127.0.0.1:{self.port}", "--config", file, *common, log=f"{name}-front.log"
        )
        self.program = servers.gateway(f"{name}.log", "app:app", "--queue", name, "--chdir", self.folder, *options)
        until("the front listens", lambda: listens(self.port))
        if serves:
            self.heard(" serves ")

    def write(self, text):
        """Saves the application."""
        unready = self.folder / "app.new"
        unready.write_text(text)
        unready.rename(self.folder / "app.py")

    def log(self):
        """What the gateway has said."""
        return self._servers.log(f"{self._name}.log")

    def heard(self, words, times=1):
        """Waits until the gateway has said something so often."""
        until(f"the gateway says {words!r}", lambda: self.log().count(words) >= times)

    def ask(self, seconds=""):
        """The word and the pid of a reply."""
        status, text, _ = request(self.port, path=f"/?{seconds}")
        expect(status == 200, f"{status} {text}\n{self.log()}")
        return text.split()

    def word(self):
        """The word of a reply."""
        return self.ask()[0]

    def processes(self):
        """Its processes that live."""
        return [pid for pid, command in self._servers.alive().items() if f"--queue {self._name} " in command]

    def ends(self):
        """Waits for its end and gives the exit code; then none of its processes is left."""
        code = self.program.wait(40)
        until(f"the processes of {self._name} end", lambda: not self.processes())
        return code
