"""The scripts of the package are those of the protocol."""

from __future__ import annotations

from pathlib import Path

from tempest import scripts

PROTOCOL = Path(__file__).resolve().parents[3] / "protocol" / "scripts"


def test_the_scripts_are_those_of_the_protocol() -> None:
    packed = {path.name: path.read_bytes() for path in scripts.FOLDER.glob("*.lua")}
    assert packed == {f"{script.name}.lua": (PROTOCOL / f"{script.name}.lua").read_bytes() for script in scripts.ALL}
