"""The files in deploy/ and the health check of the image, judged by what the built tool says and does."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = Path(os.environ.get("TEMPEST_BIN_DIR", ROOT / "target" / "debug"))
TEMPEST = BUILT / "tempest"
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
OBJECTS: list[dict[str, Any]] = [
    part for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")) for part in yaml.safe_load_all(file.read_text())
]
PODS = [it for it in OBJECTS if it["kind"] in ("Deployment", "StatefulSet")]


def tempest(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("TEMPEST_")}
    return subprocess.run(
        [TEMPEST, *arguments], check=False, capture_output=True, text=True, timeout=20, cwd="/", env=kept
    )


def defaults() -> dict[str, str]:
    settings = json.loads(tempest("config", "--json").stdout)["settings"]
    return {key: value["value"] for key, value in settings.items()}


DEFAULTS = defaults()


def find(kind: str, name: str) -> dict[str, Any]:
    [found] = [it for it in OBJECTS if it["kind"] == kind and it["metadata"]["name"] == name]
    return found


def container(pod: dict[str, Any]) -> dict[str, Any]:
    [it] = pod["spec"]["template"]["spec"]["containers"]
    return it


FRONT = find("Deployment", "tempest-front")
FRONT_ENV = {it["name"]: it.get("value") for it in container(FRONT)["env"]}


# --- a front that runs ---------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def asked(port: int, path: str) -> int:
    """The status of a page; 0 if nobody is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", path)
        return connection.getresponse().status
    return 0


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The admin port of a front, and its Redis."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if not program:
        pytest.skip("redis-server is missing")
    folder, redis_port, port = tmp_path_factory.mktemp("front"), free_port(), free_port()
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    redis = subprocess.Popen([program, "--port", str(redis_port), "--bind", "127.0.0.1", "--save", ""], **quiet)
    try:
        until(lambda: connects(redis_port))
        url = f"redis://127.0.0.1:{redis_port}"
        listen = ["--listen", "127.0.0.1:0", "--admin-listen", f"127.0.0.1:{port}"]
        running = subprocess.Popen([TEMPEST, "front", "--redis-url", url, *listen], **quiet)
        try:
            until(lambda: asked(port, "/readyz") == 200)
            yield port, redis
        finally:
            running.kill()
            running.wait()
    finally:
        redis.kill()
        redis.wait()


def connects(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Any) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "never happened"
        time.sleep(0.02)


# --- Kubernetes ----------------------------------------------------------------------------------------------------


def test_every_file_has_objects() -> None:
    kinds = sorted(it["kind"] for it in OBJECTS)
    assert kinds.count("Deployment") == 2
    assert {"StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget"} <= set(kinds)
    for it in OBJECTS:
        assert it["apiVersion"]
        assert it["metadata"]["name"]


def test_whoever_is_selected_is_there() -> None:
    labels = [pod["spec"]["template"]["metadata"]["labels"] for pod in PODS]
    for it in OBJECTS:
        selector = it["spec"].get("selector") if "spec" in it else None
        if selector:
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= each.items() for each in labels), it["metadata"]["name"]


def test_a_service_leads_to_a_port_of_its_pods() -> None:
    [port] = find("Service", "tempest-front")["spec"]["ports"]
    ports = {it["name"]: it["containerPort"] for it in container(FRONT)["ports"]}
    assert str(ports[port["targetPort"]]) == FRONT_ENV["TEMPEST_LISTEN"].rpartition(":")[2]


def probes() -> dict[str, dict[str, Any]]:
    names = ("livenessProbe", "readinessProbe", "startupProbe")
    return {name: container(FRONT)[name]["httpGet"] for name in names}


def test_probes_ask_the_admin_listener() -> None:
    ports = {it["name"]: it["containerPort"] for it in container(FRONT)["ports"]}
    assert {it["port"] for it in probes().values()} == {"admin"}
    assert str(ports["admin"]) == FRONT_ENV["TEMPEST_ADMIN_LISTEN"].rpartition(":")[2]
    [port] = {DEFAULTS["admin.listen"].rpartition(":")[2]}
    assert str(ports["admin"]) == port, "the usual one"
    assert probes()["livenessProbe"]["path"] == "/healthz"
    assert probes()["readinessProbe"]["path"] == "/readyz"


def test_a_front_has_the_pages_that_probes_ask_for(front: tuple[int, Any]) -> None:
    port, _ = front
    for probe in probes().values():
        assert asked(port, probe["path"]) == 200, probe


def test_a_front_has_the_time_it_needs_to_stop() -> None:
    needed = int(FRONT_ENV["TEMPEST_STOP_DELAY_MS"] or 0) + int(FRONT_ENV["TEMPEST_DRAIN_MS"] or 0) + 5_000
    given = FRONT["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] * 1_000
    assert given >= needed
    probe = container(FRONT)["readinessProbe"]
    noticed = (probe["periodSeconds"] + probe["timeoutSeconds"]) * probe["failureThreshold"] * 1_000
    assert int(FRONT_ENV["TEMPEST_STOP_DELAY_MS"] or 0) >= noticed


def test_a_front_understands_its_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "tempest.toml"
    file.write_text(find("ConfigMap", "tempest")["data"]["tempest.toml"])
    program, *arguments = container(FRONT)["args"]
    assert program == "front"
    told = tempest(program, *arguments, "--help").stdout
    assert all(name in told for name in FRONT_ENV), "a variable is not known"
    environment = {**os.environ, **{name: text for name, text in FRONT_ENV.items() if text}}
    done = subprocess.run(
        [TEMPEST, "config", "--config", file], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "route /sub/{*topic} → topic {topic}" in done.stdout


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["metadata"]["name"])
def test_nobody_has_rights_it_does_not_need(pod: dict[str, Any]) -> None:
    whole, one = pod["spec"]["template"]["spec"]["securityContext"], container(pod)["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert one == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    limits, requests = container(pod)["resources"]["limits"], container(pod)["resources"]["requests"]
    assert "memory" in limits
    assert set(requests) == {"cpu", "memory"}


def test_the_image_runs_as_the_user_that_is_named() -> None:
    [user] = re.findall(r"--uid (\d+)", (ROOT / "Dockerfile").read_text().split("AS base")[1].split("FROM")[0])
    assert FRONT["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(user)


def test_redis_evicts_nothing_and_keeps_what_it_has() -> None:
    lines = find("ConfigMap", "redis")["data"]["redis.conf"].splitlines()
    options = dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    assert options["maxmemory-policy"] == "noeviction"
    assert (options["appendonly"], options["appendfsync"]) == ("yes", "everysec")
    assert "maxmemory" in options


# --- the image -----------------------------------------------------------------------------------------------------


def test_the_health_check_of_the_image_follows_readiness(front: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, redis = front
    text = (ROOT / "Dockerfile").read_text().split("HEALTHCHECK")[1].split("CMD ", 1)[1]
    command = json.loads(text.splitlines()[0])
    usual = DEFAULTS["admin.listen"].rpartition(":")[2]
    assert f"/dev/tcp/127.0.0.1/{usual} " in command[-1]
    command[-1] = command[-1].replace(f"/{usual} ", f"/{port} ")

    def healthy() -> bool:
        return subprocess.run(command, check=False, timeout=20, capture_output=True).returncode == 0

    assert healthy()
    redis.send_signal(19)  # SIGSTOP: it is there and does not answer
    try:
        until(lambda: not healthy())
    finally:
        redis.send_signal(18)
    until(healthy)


# --- systemd -------------------------------------------------------------------------------------------------------


def unit(name: str) -> dict[str, list[str]]:
    """Every key of a unit with its values."""
    keys: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            keys.setdefault(key, []).append(value)
    return keys


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, with programs that this machine has."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing")
    programs = {"/usr/bin/tempest": str(TEMPEST), "/srv/tempest/worker": "/bin/true"}
    written = []
    for file in UNITS:
        text = file.read_text()
        for old, new in programs.items():
            text = text.replace(old, new)
        path = tmp_path / file.name.replace("@.", "@1.")
        path.write_text(text)
        written.append(path)
    return written


def test_systemd_understands_the_units(units: list[Path]) -> None:
    command = ["systemd-analyze", "verify", "--man=no", *map(str, units)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "tempest" in line]
    assert not ours, "\n".join(ours)
    assert done.returncode == 0, done.stderr


def test_the_units_are_hardened(units: list[Path]) -> None:
    for path in units:
        if path.suffix == ".service":
            command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=30", str(path)]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_a_unit_starts_a_command_and_gives_it_time() -> None:
    front = unit("tempest-front.service")
    _, *arguments = front["ExecStart"][0].split()
    assert tempest(*arguments, "--help").returncode == 0
    needed = int(DEFAULTS["front.stop_delay_ms"]) + int(DEFAULTS["front.drain_ms"]) + 5_000
    assert int(front["TimeoutStopSec"][0]) * 1_000 >= needed
    assert front["Type"] == ["notify"]
    assert front["KillMode"] == ["mixed"]
    assert int(front["LimitNOFILE"][0]) > int(DEFAULTS["front.streams_max"])
    assert front["Sockets"] == ["tempest-front.socket"]
    assert unit("tempest-front.socket")["FileDescriptorName"] == ["http"]


# --- proxies -------------------------------------------------------------------------------------------------------


NGINX, CADDY = (DEPLOY / "nginx/tempest.conf").read_text(), (DEPLOY / "caddy/Caddyfile").read_text()


def seconds(text: str, name: str) -> list[int]:
    """Every value of an option of a proxy; at least one."""
    found = [int(value) for value in re.findall(rf"^\s*{name} (\d+)s;?$", text, re.MULTILINE)]
    assert found, name
    return found


def test_a_proxy_is_the_first_to_close_and_the_last_to_give_up() -> None:
    keep_alive_s = int(DEFAULTS["http.keep_alive_ms"]) / 1_000
    timeout_s = int(DEFAULTS["front.timeout_ms"]) / 1_000
    assert max(seconds(NGINX, "keepalive_timeout") + seconds(CADDY, "keepalive")) < keep_alive_s
    reads = seconds(NGINX, "proxy_read_timeout")
    assert min(reads + seconds(CADDY, "response_header_timeout")) > timeout_s
    assert max(reads) >= 3 * int(DEFAULTS["front.heartbeat_ms"]) / 1_000
