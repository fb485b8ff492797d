"""Comparing what came out with what was recorded."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).with_name("recorded.json")
# In place of comparing values `tests.golden.record`, and nobody else, takes them.
TAKEN: dict[str, Any] | None = None


def plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return float(f"{value:.9g}") if isinstance(value, float) else value


def leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The numbers, words and empty collections in a value, each with its place."""
    if not value or not isinstance(value, dict | list):
        yield where, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(item, f"{where}/{key}")


def differences(found: Any, wanted: Any, absolute: float, relative: float, name: str) -> list[str]:
    """What differs, in words; numbers may differ by `absolute`, or by `relative` of the recorded one."""
    found, wanted = dict(leaves(found, name)), dict(leaves(wanted, name))
    told = [f"{where} is recorded or found only" for where in sorted(found.keys() ^ wanted.keys())]
    for where in found.keys() & wanted.keys():
        one, other = found[where], wanted[where]
        if one != pytest.approx(other, abs=absolute, rel=relative):
            told.append(f"{where}: {one!r}, recorded is {other!r}")
    return told


def compare(name: str, value: Any, absolute: float = 0, relative: float = 0) -> None:
    """A named value with the recorded one; or it is recorded."""
    value = plain(value)
    if TAKEN is not None:
        assert name not in TAKEN, f"{name} is recorded twice"
        TAKEN[name] = value
        return
    told = differences(value, json.loads(FILE.read_text("utf-8"))[name], absolute, relative, name)
    if told:
        pytest.fail("\n".join(told), pytrace=False)


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
