"""The contenders: each a set of private processes on free ports that answers `GET /` with the same line.

Not here: load and figures. Whatever is started ends with the `Programs` it was started in.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "acceptance"))

from load import wrong_answer  # noqa: E402
from measured import family, wait_for  # noqa: E402
from stage import free_ports  # noqa: E402

CLIENT = ROOT / "clients/python/src"
SYSTEM = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

# One worker process a processor, connections kept on both sides, no log of requests; the rest is what Debian ships.
NGINX = """
worker_processes auto;
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  {http}
  upstream behind {{
    server {upstream};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://behind;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }}
  }}
}}
"""


# What every nginx here has in its `http` block.
NGINX_HTTP = """access_log off;
  tcp_nodelay on;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;"""


# A front that shares its processors with Redis and workers (docs/operations/tuning.md).
SHARED = {"TOKIO_WORKER_THREADS": "1"}


class Missing(Exception):
    """A contender cannot run here; the text says what to install."""


class Contender:
    """One that answers. `processes`: the heads of its process trees by name; `redis_port`: its Redis, if it has one."""

    def __init__(self, key, about, port, processes, redis_port=None, admin_port=None):
        self.key, self.about, self.port = key, about, port
        self.redis_port, self.admin_port = redis_port, admin_port
        self._heads = processes

    def refusals(self):
        """How many requests its front has refused so far, by code; nothing for one without a front."""
        if not self.admin_port:
            return {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as page:
            said = re.findall(r'^tempest_refusals_total\{code="(\w+)"\} (\d+)$', page.read().decode(), re.MULTILINE)
        return {code: int(count) for code, count in said if int(count)}

    def processes(self):
        """Its processes by name: the whole tree of each."""
        return {name: family(head.pid) for name, head in self._heads.items()}


def tool(name):
    """The path of a tool of the system."""
    found = shutil.which(name, path=SYSTEM)
    if not found:
        raise Missing(f"{name} is missing (script/bootstrap bench)")
    return found


def module(name):
    """Refuses if this Python has no such module, or lacks one that it needs."""
    sys.path.insert(0, str(CLIENT))
    try:
        found = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        found = False
    finally:
        sys.path.remove(str(CLIENT))
    if not found:
        raise Missing(f"Python module {name} is missing (script/bootstrap bench, then .venv/bin/python)")


class Ground:
    """Where contenders are started: the programs, the built binaries, how many jobs a worker has in hand."""

    def __init__(self, programs, binaries, concurrency, wrap=lambda name: []):
        self.programs, self.binaries, self.concurrency = programs, Path(binaries).resolve(), concurrency
        # What a front or a worker built here is to run in: the words before its own.
        self.wrap = wrap
        self._bare, self._heads = None, []

    def stop(self):
        """Ends what was started, the last first, each as its operator would: what it has started ends with it."""
        for head in reversed(self._heads):
            head.terminate()
        for head in self._heads:
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(30)

    def start(self, *command, **environment):
        """Starts a program in the folder; `log` names the file for what it says."""
        self._heads.append(self.programs.start(*command, **environment))
        return self._heads[-1]

    def built(self, name):
        """The path of a program of this checkout."""
        path = self.binaries / name
        if not path.exists():
            raise Missing(f"{path} is not built (cargo build --release -p tempest -p tempest-bench)")
        return path

    def bare(self):
        """axum that answers itself; one for all who need it."""
        if self._bare is None:
            (port,) = free_ports(1)
            head = self.start(self.built("bench-axum"), log="axum.log", PORT=str(port))
            wait_for(port)
            self._bare = Contender("bare", "axum answers itself", port, {"axum": head})
        return self._bare

    def nginx(self, upstream):
        """nginx in front of an upstream. Gives its port and its process."""
        (port,) = free_ports(1)
        return port, self.run_nginx(NGINX, port, upstream=upstream)

    def run_nginx(self, configuration, port, **fields):
        """An nginx with this configuration, once it listens. Gives its process."""
        folder = self.programs.folder / f"nginx-{port}"
        folder.mkdir()
        user = "user root;" if os.geteuid() == 0 else ""
        http = NGINX_HTTP.format(folder=folder)
        text = configuration.format(folder=folder, user=user, http=http, port=port, **fields)
        (folder / "nginx.conf").write_text(text)
        head = self.start(tool("nginx"), "-p", folder, "-c", folder / "nginx.conf", log=f"nginx-{port}.log")
        wait_for(port)
        return head

    def front(self, **environment):
        """A Redis and a front with its metrics, in this environment. Gives the ports of front, Redis and metrics, both
        processes, and what a worker must know."""
        port, admin, redis_port = free_ports(3)
        url = f"redis://127.0.0.1:{redis_port}"
        redis = self.redis(redis_port)
        command = [*self.wrap("front"), self.built("tempest"), "front", "--listen", f"127.0.0.1:{port}"]
        command += ["--redis-url", url, "--admin-listen", f"127.0.0.1:{admin}", "--log-access", "off", "--log", "warn"]
        front = self.start(*command, log=f"front-{port}.log", **environment)
        wait_for(port)
        return port, (redis_port, admin), {"front": front, "redis-server": redis}, {"TEMPEST_REDIS_URL": url}

    def redis(self, port):
        """A Redis of its own without persistence, once it listens. Gives its process."""
        command = [tool("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", ""]
        head = self.start(*command, "--dir", self.programs.folder, log=f"redis-{port}.log")
        wait_for(port)
        return head

    def python(self, *arguments, **environment):
        """This Python, with the client of this checkout and the applications of the benchmark."""
        path = os.pathsep.join([str(CLIENT), str(ROOT / "bench/apps")])
        log = f"python-{arguments[1]}-{arguments[2].replace(':', '-')}.log"
        return self.start(sys.executable, *arguments, log=log, PYTHONPATH=path, **environment)


def bare(ground):
    return ground.bare()


def nginx(ground):
    upstream = ground.bare()
    port, head = ground.nginx(f"127.0.0.1:{upstream.port}")
    (axum,) = upstream._heads.values()
    return Contender("nginx", "nginx proxy_pass to that axum", port, {"nginx": head, "axum": axum})


def floor(ground):
    # No logs, deadlines, leases, metrics (bench/programs/src/floor).
    port, redis_port = free_ports(2)
    program, ports = ground.built("bench-floor"), {"PORT": str(port), "REDIS_PORT": str(redis_port)}
    redis = ground.redis(redis_port)
    front = ground.start(*ground.wrap("front"), program, "front", log="floor-front.log", **ports)
    wait_for(port)
    worker = ground.start(*ground.wrap("worker"), program, "worker", log="floor-worker.log", **ports)
    about = "the least that a path through Redis costs"
    heads = {"front": front, "redis-server": redis, "worker": worker}
    return Contender("floor", about, port, heads, redis_port)


def rust(ground):
    port, others, heads, environment = ground.front(**SHARED)
    environment["TEMPEST_CONCURRENCY"] = str(ground.concurrency)
    command = [*ground.wrap("worker"), ground.built("bench-worker")]
    heads["worker"] = ground.start(*command, log="worker.log", **environment)
    return Contender("rust", "Tempest: front, Redis, one Rust worker", port, heads, *others)


def _gunicorn(key, about, ground, application):
    module("gunicorn")
    name = application.split(":")[0]
    socket = ground.programs.folder / f"{name}.socket"
    command = ["-m", "gunicorn", application, "--workers", "2", "--worker-class", "sync", "--bind", f"unix:{socket}"]
    head = ground.python(*command)
    port, proxy = ground.nginx(f"unix:{socket}")
    return Contender(key, about, port, {"nginx": proxy, "gunicorn": head})


def _wsgi(key, about, ground, application):
    module("tempest.wsgi")
    port, others, heads, environment = ground.front(**SHARED)
    command = ["-m", "tempest.wsgi", application, "--queue", "default", "--processes", "2"]
    heads["worker"] = ground.python(*command, **environment)
    return Contender(key, about, port, heads, *others)


def gunicorn(ground):
    return _gunicorn("gunicorn", "nginx and gunicorn, 2 sync workers, bare WSGI", ground, "plain:app")


def wsgi(ground):
    return _wsgi("wsgi", "Tempest: 2 processes of tempest.wsgi, bare WSGI", ground, "plain:app")


def gunicorn_flask(ground):
    module("flask")
    return _gunicorn("gunicorn-flask", "nginx and gunicorn, 2 sync workers, Flask", ground, "flasked:app")


def wsgi_flask(ground):
    module("flask")
    return _wsgi("wsgi-flask", "Tempest: 2 processes of tempest.wsgi, Flask", ground, "flasked:app")


ALL = {
    "bare": bare,
    "nginx": nginx,
    "floor": floor,
    "rust": rust,
    "gunicorn": gunicorn,
    "wsgi": wsgi,
    "gunicorn-flask": gunicorn_flask,
    "wsgi-flask": wsgi_flask,
}


def start(key, ground, patience_s=30):
    """Starts a contender and waits until its answer is right."""
    contender = ALL[key](ground)
    end = time.monotonic() + patience_s
    while wrong := wrong_answer(contender.port):
        if time.monotonic() > end:
            raise RuntimeError(f"{key} {wrong}\n{_logs(ground.programs)}")
        time.sleep(0.1)
    return contender


def _logs(programs):
    logs = sorted(programs.folder.glob("*.log"))
    return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-500:]}" for log in logs if log.stat().st_size)
