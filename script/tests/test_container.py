"""Dockerfile and docker-compose.yml, judged without Docker Engine.

What cannot be told here: that the base images exist, and that the build itself succeeds.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = Path(os.environ.get("TEMPEST_BIN_DIR", ROOT / "target" / "debug"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def instructions() -> list[tuple[str, str]]:
    """Dockerfile as (INSTRUCTION, rest), comments gone, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(kept))
    lines = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest) for word, rest in lines]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each named stage, FROM included."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            name = rest.split()[-1]
            found[name] = []
        if name:
            found[name].append((word, rest))
    return found


STAGES = stages()


def inherited(stage: str) -> list[tuple[str, str]]:
    """A stage's instructions after those of the stages it is built on."""
    base = STAGES[stage][0][1].split()[0]
    return (inherited(base) if base in STAGES else []) + STAGES[stage]


def last(stage: str, word: str) -> str | None:
    values = [rest for known, rest in inherited(stage) if known == word]
    return values[-1] if values else None


def argv(service: str) -> list[str]:
    """What the container of a service runs."""
    stage = SERVICES[service]["build"]["target"]
    command = SERVICES[service].get("command") or json.loads(last(stage, "CMD") or "[]")
    return json.loads(last(stage, "ENTRYPOINT") or "[]") + command


def travels(path: str) -> bool:
    """Whether .dockerignore lets a path of the checkout into the build."""
    verdict = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = Path(path).parts
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        names = heads + (list(parts) if "**/" in line else [])
        if any(fnmatch.fnmatchcase(name, pattern) for name in names):
            verdict = line.startswith("!")
    return verdict


def test_compose_has_the_whole_cluster() -> None:
    assert set(SERVICES) == {"redis", "front", "worker-rust", "worker-python"}


@pytest.mark.parametrize("service", OURS)
def test_every_target_is_a_stage(service: str) -> None:
    assert SERVICES[service]["build"]["target"] in STAGES


@pytest.mark.parametrize("service", OURS)
def test_every_image_runs_without_rights_and_ends_on_sigterm(service: str) -> None:
    stage = SERVICES[service]["build"]["target"]
    assert last(stage, "USER") == "tempest"
    assert last(stage, "STOPSIGNAL") == "SIGTERM"


def test_a_plain_build_gives_the_tool() -> None:
    assert list(STAGES)[-1] == "tempest"


def test_what_is_copied_is_there_and_travels() -> None:
    copied = []
    for stage, lines in STAGES.items():
        for word, rest in lines:
            if word != "COPY":
                continue
            *sources, _ = rest.split()
            if sources[0].startswith("--from="):
                assert sources.pop(0).removeprefix("--from=") in STAGES, rest
            elif sources != ["."]:
                copied += sources
                for source in sources:
                    assert (ROOT / source).exists(), (stage, source)
                    assert travels(source), f"{source} is in .dockerignore"
    assert copied, "no COPY was read"


def test_every_member_of_the_workspace_travels() -> None:
    cargo = ["cargo", "metadata", "--no-deps", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.check_output(cargo, cwd=ROOT))
    files = ["Cargo.toml", "Cargo.lock"]
    for package in metadata["packages"]:
        files += [package["manifest_path"]]
        files += [target["src_path"] for target in package["targets"]]
    for file in files:
        path = os.path.relpath(ROOT / file, ROOT)
        assert travels(path), f"{path} is in .dockerignore"
    assert not travels(".venv/bin/python")
    assert not travels("target/debug/tempest")
    assert not travels("examples/hello/node/node_modules/x")


def test_what_is_installed_from_the_build_is_a_binary_of_the_workspace() -> None:
    installed = re.findall(r"target/release/([\w-]+)", (ROOT / "Dockerfile").read_text())
    assert sorted(installed) == ["hello-rust", "tempest"]
    for name in installed:
        assert (BUILT / name).exists(), f"cargo built no {name}"


def test_the_front_understands_its_arguments() -> None:
    program, *arguments = argv("front")
    assert program == "tempest"
    run = subprocess.run(
        [BUILT / program, *arguments, "--help"],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.returncode == 0, run.stderr
    for variable in SERVICES["front"]["environment"]:
        assert variable in run.stdout, f"tempest front --help knows no {variable}"


def test_the_workers_are_there() -> None:
    assert argv("worker-rust") == ["hello-rust"]
    program, file = argv("worker-python")
    assert program == "python"
    folder = ROOT / "examples" / "hello" / "python-sdk"
    compiled = subprocess.run(
        [sys.executable, "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", folder / file],
        check=False,
    )
    assert compiled.returncode == 0


def test_redis_evicts_nothing_and_keeps_a_log() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"
    assert any(volume.endswith(":/data") for volume in SERVICES["redis"]["volumes"])


@pytest.mark.parametrize("service", list(SERVICES))
def test_ports_are_open_to_this_machine_alone(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("service", OURS)
def test_everyone_finds_redis_and_waits_for_it(service: str) -> None:
    described = SERVICES[service]
    assert described["environment"]["TEMPEST_REDIS_URL"] == "redis://redis:6379"
    assert described["depends_on"]["redis"] == {"condition": "service_healthy"}
    assert "healthcheck" in SERVICES["redis"]


def test_a_volume_that_is_used_is_named() -> None:
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "/"))
    }
    assert used == set(COMPOSE["volumes"])
