"""A copy of script/ in a folder of its own, on a machine made of chosen programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent

# What a bare Debian has without any package of ours.
BASE = """bash cat chmod cut dirname env flock grep head mkdir mktemp nice printf ps rm sed
sh sha256sum sleep tail tee timeout tr"""


class Machine:
    """A checkout with script/ in it, and a PATH that holds only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copytree(
            SCRIPTS,
            self.root / "script",
            ignore=shutil.ignore_patterns("tests", "__pycache__"),
        )
        python = self.root / "clients" / "python"
        python.mkdir(parents=True)
        (python / "requirements.lock").write_text("redis==5.2.1\n")
        (python / "pyproject.toml").write_text("[project]\n")
        for name in BASE.split():
            where = shutil.which(name)
            assert where, f"{name} is on every Debian"
            (self.bin / name).symlink_to(where)

    def program(self, name: str, text: str, folder: Path | None = None) -> None:
        """Puts a shell program on PATH (or into `folder`)."""
        file = (folder or self.bin) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def without(self, *names: str) -> None:
        for name in names:
            (self.bin / name).unlink()

    def environment(self, **extra: str) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": str(self.root), "NGINX_MODULES": str(self.bin), **extra}

    def run(self, *argv: str, as_user: bool = False, **extra: str) -> subprocess.CompletedProcess[str]:
        """Runs a script of the copy; `as_user` gives up root if the test has it."""
        identity = {}
        if as_user and os.geteuid() == 0:
            identity = {"user": 65534, "group": 65534, "extra_groups": []}
            for path in [self.root, *self.root.rglob("*")]:
                if not path.is_symlink():
                    os.chown(path, 65534, 65534)
        return subprocess.run(
            [str(self.root / argv[0]), *argv[1:]],
            check=False,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            **identity,
        )


@pytest.fixture
def machine() -> Iterator[Machine]:
    # pytest's own folders are closed to other users.
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    folder.chmod(0o755)
    yield Machine(folder)
    shutil.rmtree(folder)
