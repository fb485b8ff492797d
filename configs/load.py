"""From a YAML file with `_base_` files and `-o` overrides to a checked `Config`, and back to YAML."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from configs.checks import check
from configs.parsing import ConfigError, describe, join, parse_dataclass
from configs.schema import Config
from losses.settings import normalise_terms

BASE_KEY = "_base_"


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 2e-4 as a number (YAML 1.1 takes it for text) and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """Reads a config file, its bases, and overrides such as `train.stages.0.batch=2`.

    Raises:
        FileNotFoundError: the file or one of its bases does not exist.
        ConfigError: not YAML, a cycle of bases, or a setting that is refused; the message names file and key.
    """
    tree = read_tree(path)
    try:
        for override in overrides:
            tree = apply_override(tree, override)
        return parse_config(tree)
    except ConfigError as error:
        raise ConfigError(f"{os.fspath(path)}: {error}") from error


def parse_config(tree: dict[str, Any]) -> Config:
    """Makes a checked `Config` from nested dictionaries, such as those in a checkpoint.

    Raises:
        ConfigError: a setting is refused; the message names its key.
    """
    config = parse_dataclass(Config, tree)
    try:
        config = replace(config, loss=tuple(normalise_terms(config.loss)))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    check(config)
    return config


def read_tree(path: str | os.PathLike[str], children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a YAML file merged over its `_base_` files (one or a list, relative to the file; later ones win)."""
    path = Path(path)
    here = path.resolve()
    if here in children:
        chain = " -> ".join(str(file) for file in (*children, here))
        raise ConfigError(f"{path}: {BASE_KEY} leads back to a file that is being read: {chain}")
    if not path.is_file():
        wanted_by = f" (the {BASE_KEY} of {children[-1]})" if children else ""
        raise FileNotFoundError(f"{path}: no such config file{wanted_by}")
    tree = _parse_yaml(path.read_text(encoding="utf-8"), str(path))
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values, got {describe(tree)}")
    bases = tree.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: {BASE_KEY}: expected a file name or a list of them, got {describe(bases)}")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = merge(merged, read_tree(path.parent / base, (*children, here)))
    return merge(merged, tree)


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`: keys and values are merged level by level, anything else, lists too, is replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from error


def apply_override(tree: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of `tree` with `a.b=c` applied: the value is read as YAML, whole numbers in the path count list items.

    Raises:
        ConfigError: no `=`, a list item that does not exist, or a path that leads through a plain value.
    """
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"override {override!r}: expected key=value, such as train.stages.0.batch=2")
    return _replace(tree, keys, _parse_yaml(text, f"override {override!r}"), "")


def _replace(node: Any, keys: list[str], value: Any, path: str) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if node is None or isinstance(node, dict):
        node = node or {}
        return {**node, key: _replace(node.get(key), rest, value, join(path, key))}
    if isinstance(node, list | tuple):
        if not key.isdigit() or int(key) >= len(node):
            raise ConfigError(f"{join(path, key)}: {path} is a list of {len(node)}; its items are 0 .. {len(node) - 1}")
        items = list(node)
        items[int(key)] = _replace(items[int(key)], rest, value, join(path, key))
        return items
    raise ConfigError(f"{join(path, key)}: {path} is {describe(node)} and has no keys below it")


def to_tree(config: Config) -> dict[str, Any]:
    """The config as nested dictionaries and lists of plain values; `parse_config` takes it back."""
    return _plain(asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, every value written out; `load_config` reads it back to the same config."""
    return yaml.dump(to_tree(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line, as people write them."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.Node:
        plain = all(not isinstance(item, dict | list) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)
