"""Notes at the end of an ONNX file, written and read without the package `onnx`.

An ONNX file is a protocol buffer, and a repeated field may go on at its very end: the stamp is a run of
`metadata_props` entries (field 14: key, field 1, and value, field 2) behind everything that was there. Its last entry
is the SHA-256 of all bytes before, so that a torn or changed file is known as such. Whoever reads the file through
onnx or onnxruntime meets ordinary metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

_METADATA_PROPS = 14
_LENGTH_DELIMITED = 2
_CHECKSUM = "sha256"
# The last entry is as long in every file: two tags and lengths, the key, the value, and its own tag and length.
_CHECKSUM_BYTES = 2 + 2 + len(_CHECKSUM) + 2 + 64


def stamp(model: bytes, notes: Mapping[str, str]) -> bytes:
    """`model` with `notes` and the checksum behind it."""
    content = model + b"".join(_entry(key, value) for key, value in notes.items())
    return content + _entry(_CHECKSUM, hashlib.sha256(content).hexdigest())


def read_stamp(model: bytes) -> dict[str, str] | None:
    """All metadata of a whole file that `stamp` wrote; None for a torn or changed one and for any other file."""
    content = memoryview(model)[:-_CHECKSUM_BYTES]
    if model[-_CHECKSUM_BYTES:] != _entry(_CHECKSUM, hashlib.sha256(content).hexdigest()):
        return None
    # The checksum says that these are the bytes of `stamp`, so that every length in them is right.
    notes, position = {}, 0
    while position < len(content):
        tag, position = _read_number(content, position)
        if tag & 7 != _LENGTH_DELIMITED:
            _, position = _read_number(content, position)
            continue
        length, position = _read_number(content, position)
        if tag >> 3 == _METADATA_PROPS:
            key, value = _read_pair(content[position : position + length])
            notes[key] = value
        position += length
    return notes


def _entry(key: str, value: str) -> bytes:
    return _field(_METADATA_PROPS, _field(1, key.encode("utf-8")) + _field(2, value.encode("utf-8")))


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _LENGTH_DELIMITED) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """Seven bits per byte, the lowest first; the eighth says that more follow."""
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


def _read_number(content: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position


def _read_pair(content: memoryview) -> tuple[str, str]:
    texts, position = [], 0
    for _ in range(2):
        _, position = _read_number(content, position)
        length, position = _read_number(content, position)
        texts.append(bytes(content[position : position + length]).decode("utf-8"))
        position += length
    return texts[0], texts[1]
