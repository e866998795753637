"""Frames: one map in JSON or MessagePack, told by its first byte (SPEC "Frames").

A frame is cut into its fields once; what the fields mean is not known here.
"""

from __future__ import annotations

import json
import json.decoder
import json.scanner
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import msgpack

from .errors import WireError
from .limits import DEPTH_MAX

Encoding = Literal["json", "msgpack"]


@dataclass(frozen=True)
class Field:
    """A field of a map: its name, its value, and where the value stands in the frame, in bytes."""

    name: str
    value: Any
    start: int
    end: int


@dataclass(frozen=True)
class Frame:
    """A frame cut into its fields, in order, duplicates included."""

    data: bytes
    encoding: Encoding
    fields: list[Field]

    def values(self) -> dict[str, Any]:
        """The fields by name; of equal names the last one counts, and null is the same as absent."""
        return {name: value for name, value in self.raw_values().items() if value is not None}

    def raw_values(self) -> dict[str, Any]:
        """The same with nulls kept."""
        return {field.name: field.value for field in self.fields}

    def last(self, name: str) -> Field | None:
        """The last field of this name, also if it is null."""
        return next((field for field in reversed(self.fields) if field.name == name), None)


def read(data: bytes, ext_in: str) -> Frame:
    """Cuts a frame. MessagePack ext types are allowed in the field ``ext_in`` only.

    Raises :class:`WireError`: ``bad_frame``, ``bad_json``, ``bad_msgpack`` or ``too_deep``.
    """
    encoding = _encoding_of(data)
    fields = _json_fields(data) if encoding == "json" else _msgpack_fields(data, ext_in)
    return Frame(data, encoding, fields)


def _encoding_of(data: bytes) -> Encoding:
    head = data.lstrip(b" \t\r\n")[:1] if data[:1] in b" \t\r\n" else data[:1]
    if head == b"{":
        return "json"
    if data.startswith(b"\xef\xbb\xbf"):
        raise WireError("bad_json", "a byte order mark before the map")
    if data and (0x80 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF)):
        return "msgpack"
    raise WireError("bad_frame", "neither a JSON nor a MessagePack map")


# --- JSON ----------------------------------------------------------------------------------------------------------

_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89abcdefABCDEF]")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*")


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


def _integer(digits: str) -> int:
    if len(digits) > 300:
        _finite(digits)
    return int(digits)


_decoder = json.JSONDecoder(parse_float=_finite, parse_int=_integer, parse_constant=_refuse_constant)
_scan_string: Any = json.decoder.scanstring  # type: ignore[attr-defined]


def _json_fields(data: bytes) -> list[Field]:
    _check_json_depth(data)
    try:
        text = data.decode()
        fields = _scan_map(text)
    except (ValueError, RecursionError) as error:
        raise WireError("bad_json", str(error)) from None
    if _SURROGATE.search(text):
        _check_surrogates(text)
    return fields if len(text) == len(data) else _in_bytes(text, fields)


def _check_json_depth(data: bytes) -> None:
    """Before any parser recurses. Most frames have too few brackets to be looked at one by one."""
    if data.count(b"{") + data.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for match in _BRACKETS.finditer(data):
        if match.group(1):
            depth += 1
            if depth > DEPTH_MAX:
                raise WireError("too_deep", f"nested deeper than {DEPTH_MAX}")
        elif match.group(2):
            depth = max(0, depth - 1)


def _check_surrogates(text: str) -> None:
    """In valid JSON a backslash begins an escape; every half of a pair must stand beside the other."""
    high_end = -1
    for match in _ESCAPE.finditer(text):
        unit = int(match.group(1), 16) if match.group(1) else 0
        is_low_of_pair = 0xDC00 <= unit <= 0xDFFF and high_end == match.start()
        if (high_end >= 0 or 0xDC00 <= unit <= 0xDFFF) and not is_low_of_pair:
            raise WireError("bad_json", "lone surrogate")
        high_end = match.end() if 0xD800 <= unit <= 0xDBFF else -1
    if high_end >= 0:
        raise WireError("bad_json", "lone surrogate")


def _scan_map(text: str) -> list[Field]:
    """Reads the outermost map by hand, so that the place of each value is known; its values with the parser."""
    fields: list[Field] = []
    at = _skip(text, _skip(text, 0) + 1)
    if text[at : at + 1] == "}":
        return _end_of_map(text, at + 1, fields)
    while True:
        if text[at : at + 1] != '"':
            raise ValueError(f"a name is due at character {at}")
        name, at = _scan_string(text, at + 1, True)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError(f"a colon is due at character {at}")
        start = _skip(text, at + 1)
        value, end = _decoder.raw_decode(text, start)
        fields.append(Field(name, value, start, end))
        at = _skip(text, end)
        mark = text[at : at + 1]
        if mark == "}":
            return _end_of_map(text, at + 1, fields)
        if mark != ",":
            raise ValueError(f"a comma is due at character {at}")
        at = _skip(text, at + 1)


def _end_of_map(text: str, at: int, fields: list[Field]) -> list[Field]:
    if _skip(text, at) != len(text):
        raise ValueError("something stands behind the map")
    return fields


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _in_bytes(text: str, fields: list[Field]) -> list[Field]:
    """The same fields with places in bytes instead of characters."""
    places, at, byte = [], 0, 0
    for field in fields:
        byte += len(text[at : field.start].encode())
        start, at = byte, field.start
        byte += len(text[at : field.end].encode())
        at = field.end
        places.append(Field(field.name, field.value, start, byte))
    return places


def json_bytes(value: Any) -> bytes:
    """Writes a value as JSON: UTF-8, no blanks, no NaN, no lone surrogates.

    Raises :class:`WireError` ``bad_json`` if it has no JSON form.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError("bad_json", f"it has no JSON form: {error}") from None


# --- MessagePack ---------------------------------------------------------------------------------------------------


def _msgpack_fields(data: bytes, ext_in: str) -> list[Field]:
    try:
        fields = _unpack(data, "strict")
    except UnicodeDecodeError:
        # Text that is not UTF-8: bytes that another language's library packed as `str`.
        fields = _unpack(data, "surrogateescape")
        fields = [Field(_utf8(f.name), _unescape(f.value), f.start, f.end) for f in fields]
    for field in fields:
        _check_value(field.value, 1, field.name == ext_in)
    return fields


def _utf8(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise WireError("bad_msgpack", "a name is not UTF-8") from None
    return name


def _unpack(data: bytes, unicode_errors: str) -> list[Field]:
    unpacker = msgpack.Unpacker(
        None,
        raw=False,
        strict_map_key=False,
        unicode_errors=unicode_errors,
        max_buffer_size=len(data),
    )
    unpacker.feed(data)
    fields = []
    try:
        for _ in range(unpacker.read_map_header()):
            name = unpacker.unpack()
            start = unpacker.tell()
            value = unpacker.unpack()
            fields.append(Field(_msgpack_name(name), value, start, unpacker.tell()))
        end = unpacker.tell()
    except UnicodeDecodeError:
        raise
    except msgpack.StackError:
        raise WireError("too_deep", f"nested deeper than {DEPTH_MAX}") from None
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise WireError("bad_msgpack", str(error) or type(error).__name__) from None
    if end != len(data):
        raise WireError("bad_msgpack", "bytes after the map")
    return fields


def _msgpack_name(name: Any) -> str:
    """A name: ``str``, or ``bin`` that is UTF-8 (some languages pack their strings so)."""
    if isinstance(name, bytes):
        name = _text_of(name)
    if not isinstance(name, str):
        raise WireError("bad_msgpack", "a name is not text")
    return name


def _text_of(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _name(key: Any) -> Any:
    if not isinstance(key, bytes):
        return key
    text = _text_of(key)
    return key if text is None else text


def _unescape(value: Any) -> Any:
    """Makes bytes of text that is not UTF-8, as deep as the value goes."""
    if isinstance(value, str):
        data = value.encode(errors="surrogateescape")
        text = _text_of(data)
        return data if text is None else text
    if isinstance(value, list):
        return [_unescape(item) for item in value]
    if isinstance(value, dict):
        return {_unescape(key): _unescape(item) for key, item in value.items()}
    return value


def _check_value(value: Any, depth: int, ext: bool) -> None:
    """Depth, and ext types only where they are allowed. ``depth`` is that of the map or list around the value.

    Names of inner maps become text where they are UTF-8, whichever way they were packed.
    """
    kind = type(value)
    if kind is dict and any(type(key) is bytes for key in value):
        items = list(value.items())
        value.clear()
        value.update((_name(key), item) for key, item in items)
    if kind is dict or kind is list:
        if depth >= DEPTH_MAX:
            raise WireError("too_deep", f"nested deeper than {DEPTH_MAX}")
        for item in value.values() if kind is dict else value:
            _check_value(item, depth + 1, ext)
        if kind is dict and not ext:
            for key in value:
                _check_value(key, depth + 1, ext)
    elif not ext and kind in (msgpack.ExtType, msgpack.Timestamp):
        raise WireError("bad_msgpack", f"ext types are not allowed here: {value!r}")


def msgpack_bytes(value: Any) -> bytes:
    """Writes a value as MessagePack: text as ``str``, bytes as ``bin``.

    Raises :class:`WireError` ``bad_msgpack`` if it has no such form.
    """
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError("bad_msgpack", f"it has no MessagePack form: {error}") from None
    return packed


def write(encoding: Encoding, value: Any) -> bytes:
    """Writes a value in either encoding. Raises :class:`WireError` if it has no such form."""
    return json_bytes(value) if encoding == "json" else msgpack_bytes(value)


# --- the one change a retry makes, and what `dead` adds ------------------------------------------------------------


def with_field(frame: Frame, name: str, number: int) -> bytes:
    """The same frame with another integer in the field ``name``: every other byte stays; a frame without the field
    gets it at the front."""
    field, value = frame.last(name), write(frame.encoding, number)
    if field is not None:
        return frame.data[: field.start] + value + frame.data[field.end :]
    if frame.encoding == "msgpack":
        header = {0xDE: 3, 0xDF: 5}.get(frame.data[0], 1)
        return _map_header(len(frame.fields) + 1) + msgpack_bytes(name) + value + frame.data[header:]
    brace = frame.data.index(b"{") + 1
    return frame.data[:brace] + json_bytes(name) + b":" + value + b"," + frame.data[brace:]


def with_fields_before(frame: Frame, new: dict[str, Any]) -> bytes:
    """A map with ``new`` in front of the frame's own fields, whose values keep their bytes. Own fields of the same
    names are left out."""
    own = [(f.name, frame.data[f.start : f.end]) for f in frame.fields if f.name not in new]
    first = [(name, write(frame.encoding, value)) for name, value in new.items()]
    if frame.encoding == "msgpack":
        packed = b"".join(msgpack_bytes(name) + value for name, value in first + own)
        return _map_header(len(first) + len(own)) + packed
    return b"{" + b",".join(json_bytes(name) + b":" + value for name, value in first + own) + b"}"


def _map_header(fields: int) -> bytes:
    header: bytes = msgpack.Packer().pack_map_header(fields)
    return header
