"""Comparing what came out with what was recorded."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).with_name("recorded.json")


class Recorder:
    """A plugin of pytest that takes values in place of comparing them; only `tests.golden.record` makes one."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}


def plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return float(f"{value:.9g}") if isinstance(value, float) else value


def differences(found: Any, wanted: Any, absolute: float, relative: float, where: str = "") -> list[str]:
    """What differs, in words; numbers may differ by `absolute`, or by `relative` of the recorded one."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        told = [f"{where}: {key!r} is recorded or found only" for key in sorted(found.keys() ^ wanted.keys())]
        pairs = [(key, found[key], wanted[key]) for key in found if key in wanted]
    elif isinstance(found, list) and isinstance(wanted, list):
        told = [] if len(found) == len(wanted) else [f"{where}: {len(found)} items, recorded are {len(wanted)}"]
        pairs = [(index, *pair) for index, pair in enumerate(zip(found, wanted, strict=False))]
    else:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (found, wanted))
        allowed = max(absolute, relative * abs(wanted)) if numbers else 0
        same = abs(found - wanted) <= allowed if numbers else found == wanted
        return [] if same else [f"{where}: {found!r}, recorded is {wanted!r}"]
    for key, *pair in pairs:
        told += differences(*pair, absolute, relative, f"{where}/{key}")
    return told


class Golden:
    """Compares a named value with the recorded one, or records it."""

    def __init__(self, recorder: Recorder | None) -> None:
        self._taken = None if recorder is None else recorder.values

    def __call__(self, name: str, value: Any, absolute: float = 0, relative: float = 0) -> None:
        value = plain(value)
        if self._taken is not None:
            assert name not in self._taken, f"{name} is recorded twice"
            self._taken[name] = value
            return
        told = differences(value, json.loads(FILE.read_text("utf-8"))[name], absolute, relative, name)
        if told:
            pytest.fail("\n".join(told), pytrace=False)

    def mask(self, name: str, mask: np.ndarray) -> None:
        """For masks of 0 and 1: all but a thousandth of what either covers has to be covered by both."""
        packed = base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()
        if self._taken is not None:
            self(name, packed)
            return
        wanted = np.frombuffer(zlib.decompress(base64.b64decode(json.loads(FILE.read_text("utf-8"))[name])), np.uint8)
        wanted = np.unpackbits(wanted)[: mask.size].reshape(mask.shape)
        common, either = (mask & wanted).sum(), (mask | wanted).sum()
        assert common >= 0.999 * either, f"{name}: {common} pixels are common to both masks, {either} to either"


def sha(content: bytes | np.ndarray) -> str:
    """Of an array also its type and shape."""
    if isinstance(content, np.ndarray):
        content = f"{content.dtype} {content.shape}".encode() + np.ascontiguousarray(content).tobytes()
    return hashlib.sha256(content).hexdigest()[:32]


def grid(plane: np.ndarray, count: int = 8) -> list[Any]:
    """Means over count x count parts of [h, w] or [h, w, C]: where something lies, whatever a few pixels do."""
    rows = np.array_split(plane.astype(np.float64), count)
    return [[part.mean((0, 1)) for part in np.array_split(row, count, axis=1)] for row in rows]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Of 8-bit pictures, or of their pixels in a list."""
    return float(10 * np.log10(255**2 / max(((one.astype(np.float64) - other) ** 2).mean(), 1e-9)))
