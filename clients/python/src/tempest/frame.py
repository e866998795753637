"""Frames: one map in JSON or MessagePack, told by its first byte (SPEC "Frames").

The map is read in one go by the C parser. Where each field stands is only found out for frames that are written again
with a change. What the fields mean is not known here.
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


class Frame:
    """A frame: its map by name, and where each field stands, which only few jobs need to know."""

    __slots__ = ("_ext_in", "_fields", "data", "encoding", "values")

    def __init__(self, data: bytes, encoding: Encoding, values: dict[str, Any], ext_in: str) -> None:
        self.data = data
        self.encoding = encoding
        self.values = values
        """The fields by name, nulls kept; of equal names the last one counts."""
        self._ext_in = ext_in
        self._fields: list[Field] | None = None

    @property
    def fields(self) -> list[Field]:
        """The fields in order, duplicates included."""
        if self._fields is None:
            json = self.encoding == "json"
            self._fields = _json_fields(self.data) if json else _msgpack_fields(self.data, self._ext_in)
        return self._fields

    def last(self, name: str) -> Field | None:
        """The last field of this name, also if it is null."""
        return next((field for field in reversed(self.fields) if field.name == name), None)


def read(data: bytes, ext_in: str) -> Frame:
    """Reads a frame. MessagePack ext types are allowed in the field ``ext_in`` only.

    Raises :class:`WireError`: ``bad_frame``, ``bad_json``, ``bad_msgpack`` or ``too_deep``.
    """
    encoding = _encoding_of(data)
    values = _json_map(data) if encoding == "json" else _msgpack_map(data, ext_in)
    return Frame(data, encoding, values, ext_in)


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


decoder = json.JSONDecoder(parse_float=_finite, parse_int=_integer, parse_constant=_refuse_constant)
"""As strict as RFC 8259."""
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_scan_string: Any = json.decoder.scanstring  # type: ignore[attr-defined]


def _json_map(data: bytes) -> dict[str, Any]:
    _check_json_depth(data)
    try:
        text = data.decode()
        values: dict[str, Any] = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise WireError("bad_json", str(error)) from None
    if b"\\u" in data and _SURROGATE.search(text):
        _check_surrogates(text)
    return values


def _json_fields(data: bytes) -> list[Field]:
    """The fields of a frame that :func:`_json_map` has read."""
    text = data.decode()
    fields = _scan_map(text)
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
    """Walks through the outermost map of valid JSON, so that the place of each value is known."""
    fields: list[Field] = []
    at = skip(text, skip(text, 0) + 1)
    while text[at] != "}":
        name, at = _scan_string(text, at + 1, True)
        start = skip(text, skip(text, at) + 1)
        value, end = decoder.raw_decode(text, start)
        fields.append(Field(name, value, start, end))
        at = skip(text, end)
        if text[at] == ",":
            at = skip(text, at + 1)
    return fields


def skip(text: str, at: int) -> int:
    """Where the blanks end that stand here."""
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
        return _encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError("bad_json", f"it has no JSON form: {error}") from None


# --- MessagePack ---------------------------------------------------------------------------------------------------


_EXT = (msgpack.ExtType, msgpack.Timestamp)


def _msgpack_map(data: bytes, ext_in: str) -> dict[str, Any]:
    try:
        values: dict[Any, Any] = msgpack.unpackb(data, strict_map_key=False)
    except Exception:
        return {field.name: field.value for field in _msgpack_fields(data, ext_in)}  # says what is wrong, or mends it
    for name, value in values.items():
        kind = type(value)
        if type(name) is not str:
            return {field.name: field.value for field in _msgpack_fields(data, ext_in)}
        if kind is not str and kind is not int:
            _check_value(value, 1, name == ext_in)
    return values


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
    if kind is dict or kind is list:
        if depth >= DEPTH_MAX:
            raise WireError("too_deep", f"nested deeper than {DEPTH_MAX}")
        if kind is dict:
            _check_names(value, depth + 1, ext)
        for item in value.values() if kind is dict else value:
            if type(item) is not str:
                _check_value(item, depth + 1, ext)
    elif not ext and kind in _EXT:
        raise WireError("bad_msgpack", f"ext types are not allowed here: {value!r}")


def _check_names(value: dict[Any, Any], depth: int, ext: bool) -> None:
    kinds = {type(key) for key in value}
    if bytes in kinds:
        items = list(value.items())
        value.clear()
        value.update((_name(key), item) for key, item in items)
    if kinds != {str}:
        for key in value:
            _check_value(key, depth, ext)


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
    return remade(frame, {name: write(frame.encoding, value) for name, value in new.items()})


def remade(frame: Frame, front: dict[str, bytes], without: tuple[str, ...] = ()) -> bytes:
    """The same with values that are written already; own fields of the names in ``without`` are left out, too."""
    left = front.keys() | set(without)
    fields = list(front.items())
    fields += [(f.name, frame.data[f.start : f.end]) for f in frame.fields if f.name not in left]
    if frame.encoding == "msgpack":
        return _map_header(len(fields)) + b"".join(msgpack_bytes(name) + value for name, value in fields)
    return b"{" + b",".join(json_bytes(name) + b":" + value for name, value in fields) + b"}"


def _map_header(fields: int) -> bytes:
    header: bytes = msgpack.Packer().pack_map_header(fields)
    return header
