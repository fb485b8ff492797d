"""Plain values (what YAML gives) become the dataclasses of `configs.schema`; every error names the key's path."""

import math
import reprlib
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from utils.files import printable

Parsed = TypeVar("Parsed")

_KINDS = {type(None): "null", bool: "true or false", int: "a whole number", float: "a number", str: "text",
          dict: "keys and values", list: "a list", tuple: "a list"}  # fmt: skip
# Above them a number is a slip, and what is computed from it would overflow.
_MAXIMA = {int: 2**31 - 1, float: 1e9}
_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxdict, _short.maxstring, _short.maxlong, _short.maxother = 2, 4, 4, 80, 40, 80


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type, out of range or impossible; the message names its key."""


def join(path: str, key: str | int) -> str:
    """The path of `key` below `path`, as `-o` takes it: train.stages.0.batch."""
    return f"{path}.{key}" if path else str(key)


def describe(value: Any) -> str:
    """A value and its kind in the words of YAML, for error messages."""
    return "null" if value is None else f"{_in_short(value)} ({_KINDS.get(type(value), type(value).__name__)})"


def _in_short(value: Any) -> str:
    try:
        return _short.repr(value)
    except ValueError:
        return "a number of thousands of digits"  # Python writes none that are so long.


def parse_dataclass(cls: type[Parsed], tree: Any, path: str = "") -> Parsed:
    """Makes `cls` from a dictionary; nested dataclasses too, and lists become tuples.

    ConfigError for an unknown or missing key, a wrong type, and a value out of range.
    """
    if not isinstance(tree, dict):
        raise ConfigError(f"{path or 'the config'}: expected keys and values, got {describe(tree)}")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for key in tree:
        if key not in known:
            raise ConfigError(f"{printable(join(path, key))[:200]}: unknown key; known here: {', '.join(known)}")
    hints, values = get_type_hints(cls), {}
    for name, item in known.items():
        if name in tree:
            values[name] = _parse(hints[name], tree[name], join(path, name), item.metadata)
        elif item.default is MISSING:
            raise ConfigError(f"{join(path, name)}: missing; {item.metadata['explanation']}")
    return cls(**values)


def _parse(kind: Any, value: Any, path: str, limits: Any) -> Any:
    """Checks one value against its type hint and its limits."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if not is_dataclass(arguments[0]):
            return None if value is None else _parse(arguments[0], value, path, limits)  # X | None
        # One of several dataclasses, by the name that the value gives.
        known = {cls.name: cls for cls in arguments}
        name = value.get("name") if isinstance(value, dict) else next(iter(known))
        if not isinstance(name, str) or name not in known:
            raise ConfigError(f"{join(path, 'name')}: expected one of {', '.join(known)}, got {describe(name)}")
        return parse_dataclass(known[name], value, path)
    if is_dataclass(kind):
        return parse_dataclass(kind, value, path)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{path}: expected one of {', '.join(arguments)}, got {describe(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path}: expected a list, got {describe(value)}")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ConfigError(f"{path}: expected {len(arguments)} values, got {len(value)}")
        return tuple(_parse(arguments[0], item, join(path, index), limits) for index, item in enumerate(value))
    # bool is an int in Python, but `batch: true` is a mistake.
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ConfigError(f"{path}: expected {_KINDS[kind]}, got {describe(value)}")
    if kind is str and (not value or value != printable(value)):
        raise ConfigError(f"{path}: expected a text on one line that is not empty, got {describe(value)}")
    if kind in (int, float):
        minimum, maximum = limits["minimum"], _MAXIMA[kind] if limits["maximum"] is None else limits["maximum"]
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{path}: expected a finite number, got {value}")
        if minimum is not None and value < minimum:
            raise ConfigError(f"{path}: {_in_short(value)} is too small, expected at least {minimum}")
        if value > maximum:
            raise ConfigError(f"{path}: {_in_short(value)} is too large, expected at most {maximum}")
    return kind(value)
