"""Makes the arguments of a job into the class that its handler asks for, or says which field does not fit.

Such a class is a dataclass, or one with ``model_validate`` (as pydantic has it). Anything else is left as it came.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import types
import typing
from collections.abc import Callable
from typing import Any

from .errors import WireError


def kind_of(function: Callable[..., Any], parameter: str) -> Any:
    """The class that a parameter of a handler asks for; none: it takes what comes."""
    try:
        kind = typing.get_type_hints(function).get(parameter)
    except Exception:  # a name that only a type checker knows
        return None
    return kind if _is_model(kind) or _is_dataclass(kind) else None


def made(kind: Any, value: Any) -> Any:
    """The value made into the class. Raises :class:`WireError` ``bad_job``, which names the field."""
    return _made(kind, value, "args")


def _is_dataclass(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and callable(getattr(kind, "model_validate", None))


def _bad(where: str, wanted: str, value: Any) -> WireError:
    return WireError("bad_job", f"{where} is {wanted}, not {value!r:.100}")


def _made(kind: Any, value: Any, where: str) -> Any:
    if _is_model(kind):
        return _validated(kind, value, where)
    if _is_dataclass(kind):
        return _filled(kind, value, where)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(kind), value, where)
    if origin is typing.Literal:
        return _listed(typing.get_args(kind), value, where)
    if origin is not None:
        return _gathered(origin, typing.get_args(kind), value, where)
    return _plain(kind, value, where)


def _filled(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _bad(where, "a map", value)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    unknown = next((name for name in value if name not in fields), None)
    if unknown is not None:
        raise WireError("bad_job", f"{where} has a field {unknown!r} that {kind.__name__} does not know")
    absent = next((name for name, field in fields.items() if name not in value and _is_required(field)), None)
    if absent is not None:
        raise WireError("bad_job", f"{where}.{absent} is missing")
    hints = typing.get_type_hints(kind)
    given = {name: _made(hints[name], each, f"{where}.{name}") for name, each in value.items()}
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:  # what its __post_init__ says
        raise WireError("bad_job", f"{where}: {error}") from None


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _validated(kind: Any, value: Any, where: str) -> Any:
    try:
        return kind.model_validate(value)
    except ValueError as error:  # as pydantic's ValidationError is
        raise WireError("bad_job", _told(error, where)) from None


def _told(error: ValueError, where: str) -> str:
    """The first thing that is wrong, if the error can list them."""
    errors = getattr(error, "errors", None)
    found = errors() if callable(errors) else None
    if not (isinstance(found, list) and found and isinstance(found[0], dict)):
        return f"{where}: {error}"
    path = "".join(f".{step}" for step in found[0].get("loc", ()))
    return f"{where}{path}: {found[0].get('msg', error)}"


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    wrong: list[WireError] = []
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _made(kind, value, where)
        except WireError as error:
            wrong.append(error)
    # One kind or nothing: its own words say more than a list of kinds.
    raise wrong[0] if len(wrong) == 1 else _bad(where, " or ".join(map(_word, kinds)), value)


def _listed(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if not any(type(each) is type(value) and each == value for each in allowed):
        raise _bad(where, "one of " + ", ".join(map(repr, allowed)), value)
    return value


def _gathered(origin: Any, kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if origin is dict:
        if not isinstance(value, dict):
            raise _bad(where, "a map", value)
        return {name: _made(kinds[1], each, f"{where}.{name}") for name, each in value.items()}
    if origin not in (list, tuple, set, frozenset):
        return value
    if not isinstance(value, list):
        raise _bad(where, "a list", value)
    if origin is tuple and not (len(kinds) == 2 and kinds[1] is ...):
        if len(kinds) != len(value):
            raise _bad(where, f"a list of {len(kinds)}", value)
        return tuple(
            _made(kind, each, f"{where}.{at}") for at, (kind, each) in enumerate(zip(kinds, value, strict=True))
        )
    return origin(_made(kinds[0], each, f"{where}.{at}") for at, each in enumerate(value))


_WORDS = {str: "text", int: "an integer", float: "a number", bool: "true or false", bytes: "bytes", list: "a list"}
_WORDS |= {dict: "a map", type(None): "null"}


def _word(kind: Any) -> str:
    return _WORDS.get(kind) or str(getattr(kind, "__name__", kind))


def _plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind in _WORDS:
        if type(value) is not kind:
            raise _bad(where, _WORDS[kind], value)
        return value
    if isinstance(kind, type) and issubclass(kind, (enum.Enum, datetime.datetime, datetime.date)):
        return _read(kind, value, where)
    return value


def _read(kind: Any, value: Any, where: str) -> Any:
    """Text in the form of ISO 8601 as a date, a value as a member of an enumeration."""
    try:
        return kind(value) if issubclass(kind, enum.Enum) else kind.fromisoformat(value)
    except (TypeError, ValueError):
        raise _bad(where, f"a {kind.__name__}", value) from None
