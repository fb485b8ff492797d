"""From a YAML file with `_base_` files and `-o` overrides to a checked `Config`, and back to YAML."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from configs.checks import check
from configs.parsing import ConfigError, describe, join, parse_dataclass
from configs.schema import Config

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


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line, as people write them."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.Node:
        plain = all(not isinstance(item, dict | list) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)


def load_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """Reads a config file, its bases, and overrides such as `train.stages.0.batch=2`.

    Raises:
        FileNotFoundError: the file or one of its bases does not exist.
        ConfigError: not YAML, a cycle of bases, or a setting that is refused; the message names file and key.
    """
    tree = _read_tree(Path(path), ())
    try:
        for override in overrides:
            tree = _apply_override(tree, override)
        return parse_config(tree)
    except ConfigError as error:
        raise ConfigError(f"{os.fspath(path)}: {error}") from error


def parse_config(tree: dict[str, Any]) -> Config:
    """Makes a checked `Config` from nested dictionaries, such as those in a checkpoint; `ConfigError` names the key."""
    config = parse_dataclass(Config, tree)
    check(config)
    return config


def to_tree(config: Config) -> dict[str, Any]:
    """The config as nested dictionaries and lists of plain values; `parse_config` takes it back."""
    return _lists(asdict(config))


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, every value written out; `load_config` reads it back to the same config."""
    return yaml.dump(to_tree(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from error


def _read_tree(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """A YAML file merged over its bases; `children` are the files that led here, for cycles and messages."""
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
        merged = _merge(merged, _read_tree(path.parent / base, (*children, here)))
    return _merge(merged, tree)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`: keys and values are merged level by level, anything else, lists too, is replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply_override(tree: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of `tree` with `a.b=c` applied: the value is read as YAML, whole numbers in the path count list items."""
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"override {override!r}: expected key=value, such as train.stages.0.batch=2")
    return _replace(tree, keys, _parse_yaml(text, f"override {override!r}"), "")


def _replace(node: Any, keys: list[str], value: Any, path: str) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    here = join(path, key)
    if node is None or isinstance(node, dict):
        node = node or {}
        return {**node, key: _replace(node.get(key), rest, value, here)}
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise ConfigError(f"{here}: {path} is a list of {len(node)}; its items are 0 .. {len(node) - 1}")
        index = int(key)
        return [*node[:index], _replace(node[index], rest, value, here), *node[index + 1 :]]
    raise ConfigError(f"{here}: {path} is {describe(node)} and has no keys below it")
