"""Lists that stand in a frame: cut into their values, and put together again, each value byte for byte."""

from __future__ import annotations

import msgpack

from .frame import Encoding, decoder, skip


def items(data: bytes, encoding: Encoding) -> list[bytes]:
    """The values of a list that stands in a frame which was read, each as it stands there."""
    return _json_items(data.decode()) if encoding == "json" else _msgpack_items(data)


def _json_items(text: str) -> list[bytes]:
    found, at = [], skip(text, 1)
    while text[at] != "]":
        _, end = decoder.raw_decode(text, at)
        found.append(text[at:end].encode())
        at = skip(text, end)
        at = skip(text, at + 1) if text[at] == "," else at
    return found


def _msgpack_items(data: bytes) -> list[bytes]:
    unpacker = msgpack.Unpacker(None, raw=True, strict_map_key=False, max_buffer_size=len(data))
    unpacker.feed(data)
    found = []
    for _ in range(unpacker.read_array_header()):
        start = unpacker.tell()
        unpacker.skip()
        found.append(data[start : unpacker.tell()])
    return found


def list_of(values: list[bytes], encoding: Encoding) -> bytes:
    """A list of values that are written already."""
    if encoding == "json":
        return b"[" + b",".join(values) + b"]"
    header: bytes = msgpack.Packer().pack_array_header(len(values))
    return header + b"".join(values)
