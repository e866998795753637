"""Strict readers of the values of an envelope."""

from __future__ import annotations

from typing import Any

from .errors import WireError
from .limits import INTEGER_MAX
from .names import is_name


class Fields:
    """Strict readers of the values of an envelope. Null is absent. Every failure has one code."""

    def __init__(self, values: dict[str, Any], code: str) -> None:
        self.values = values
        self.code = code

    def bad(self, name: str, wanted: str) -> WireError:
        return WireError(self.code, f"{name} is {wanted}, not {self.values.get(name)!r:.100}")

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None or type(value) is str:
            return value
        text = text_of(value)
        if text is None:
            raise self.bad(name, "text")
        return text

    def name(self, name: str, kind: str) -> str:
        value = self.text(name)
        if value is None or not is_name(kind, value):
            raise self.bad(name, f"a name ({kind})")
        return value

    def integer(self, name: str, least: int = 0) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) <= INTEGER_MAX:
            value = int(value)
        if type(value) is not int or not least <= value <= INTEGER_MAX:
            raise self.bad(name, f"an integer of {least} to 2^53 - 1")
        return value

    def boolean(self, name: str) -> bool:
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            raise self.bad(name, "true or false")
        return value


def text_of(value: Any) -> str | None:
    """Text as it is, or bytes that are UTF-8; none for anything else."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) else None
