"""Plain values (what YAML gives) become the dataclasses of `configs.schema`; every error names the key's path."""

from __future__ import annotations

import difflib
import math
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Parsed = TypeVar("Parsed")


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type, out of range or impossible; the message names its key."""


def join(path: str, key: str | int) -> str:
    """The path of `key` below `path`, as `-o` takes it: train.stages.0.batch."""
    return f"{path}.{key}" if path else str(key)


def parse_dataclass(cls: type[Parsed], tree: Any, path: str = "") -> Parsed:
    """Makes `cls` from a dictionary; nested dataclasses too.

    Raises:
        ConfigError: unknown or missing key, wrong type, value out of range.
    """
    if not isinstance(tree, dict):
        raise ConfigError(f"{path or 'the config'}: expected keys and values, got {describe(tree)}")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for key in tree:
        if key not in known:
            raise ConfigError(f"{join(path, key)}: unknown key{_suggestion(str(key), list(known))}")
    hints = get_type_hints(cls)
    values = {}
    for name, item in known.items():
        if name in tree:
            values[name] = parse_value(hints[name], tree[name], join(path, name), item.metadata)
        elif item.default is MISSING:
            raise ConfigError(f"{join(path, name)}: missing; {item.metadata['explanation']}")
    return cls(**values)


def _suggestion(key: str, known: list[str]) -> str:
    name, colon, value = key.partition(":")
    if colon:
        return f"; YAML wants a space after the colon: {name}: {value}"
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def describe(value: Any) -> str:
    """A value and its kind in the words of YAML, for error messages."""
    if value is None:
        return "null"
    kinds = {
        bool: "true/false", int: "a whole number", float: "a number", str: "text", dict: "keys and values",
        list: "a list", tuple: "a list",
    }
    return f"{value!r} ({kinds.get(type(value), type(value).__name__)})"


def parse_value(kind: Any, value: Any, path: str, limits: Any) -> Any:
    """Checks one value against its type hint and its limits; lists become tuples."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (kind,) = [option for option in get_args(kind) if option is not type(None)]
        return parse_value(kind, value, path, limits)
    if is_dataclass(kind):
        return parse_dataclass(kind, value, path)
    if origin is Literal:
        if value not in get_args(kind):
            raise ConfigError(f"{path}: expected one of {', '.join(map(str, get_args(kind)))}, got {describe(value)}")
        return value
    if origin is tuple:
        return _parse_list(kind, value, path, limits)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: expected keys and values, got {describe(value)}")
        return dict(value)
    return _parse_scalar(kind, value, path, limits)


def _parse_list(kind: Any, value: Any, path: str, limits: Any) -> tuple[Any, ...]:
    item_kinds = get_args(kind)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}: expected a list, got {describe(value)}")
    if item_kinds[-1] is not Ellipsis and len(value) != len(item_kinds):
        raise ConfigError(f"{path}: expected {len(item_kinds)} values, got {len(value)}")
    return tuple(parse_value(item_kinds[0], item, join(path, index), limits) for index, item in enumerate(value))


def _parse_scalar(kind: type, value: Any, path: str, limits: Any) -> Any:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    # bool is an int in Python, but `batch: true` is a mistake.
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise ConfigError(f"{path}: expected {names[kind]}, got {describe(value)}")
    if kind in (int, float):
        if not math.isfinite(value):
            raise ConfigError(f"{path}: expected a finite number, got {value}")
        minimum, maximum = limits["minimum"], limits["maximum"]
        if minimum is not None and value < minimum:
            raise ConfigError(f"{path}: {value} is too small, expected at least {minimum}")
        if maximum is not None and value > maximum:
            raise ConfigError(f"{path}: {value} is too large, expected at most {maximum}")
    return kind(value)
