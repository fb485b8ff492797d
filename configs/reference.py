"""The reference page of all settings, made from the dataclasses so that it cannot fall behind them."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from configs.parsing import join
from configs.schema import Config
from losses.settings import TERMS

_INTRODUCTION = """# Settings

Made by `python -m configs --write`; edit `configs/schema.py` instead.

A config is a YAML file; every key below may stand in it, and no other. `_base_: other.yml` (or a list of files,
relative to this one) starts from other files: keys are merged level by level, lists are replaced as a whole.
`train.py -c FILE -o key=value ...` changes single keys, list items by number: `-o train.stages.0.batch=2`.
`python -m configs FILE [-o key=value ...]` checks a config and prints it with every value written out, as a run keeps
it in its folder.

| file | what it trains |
|---|---|
| `nafnet_phase1_l1.yml` | the write-up's first phase: from random weights, L1 |
| `nafnet_phase2_msssim.yml` | its second phase: from the first's weights, Charbonnier + MS-SSIM |
| `nafnet_phase3_all.yml` | its third phase: the same loss on all data |
| `nafnet_*_gated.yml` | the same three with the occlusion mask as a second output |
| `smoke.yml` | a tiny network on a small drawn set, to see every part work within two minutes |
"""


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join([_INTRODUCTION, *_section(Config, "", "The run"), *_loss_section()])


def _section(cls: type, path: str, title: str) -> Iterator[str]:
    yield f"## {title}\n"
    if path:
        yield f"{(cls.__doc__ or '').strip()}\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    hints, nested = get_type_hints(cls), []
    for item in fields(cls):
        inner = _dataclass_in(hints[item.name])
        here = join(path, item.name)
        if inner is None:
            default = "required" if item.default is MISSING else f"`{_as_yaml(item.default)}`"
            kind = _kind(hints[item.name])
            yield f"| `{here}` | {kind}{_limits(item)} | {default} | {item.metadata['explanation']} |"
        else:
            many = get_origin(hints[item.name]) is tuple
            nested.append((inner, f"{here}.N" if many else here))
            yield f"| `{here}` | {'list, ' if many else ''}see below | | {item.metadata['explanation']} |"
    yield ""
    for inner, here in nested:
        yield from _section(inner, here, f"`{here}`")


def _dataclass_in(kind: Any) -> type | None:
    candidates = [kind, *get_args(kind)]
    return next((candidate for candidate in candidates if is_dataclass(candidate)), None)  # type: ignore[return-value]


def _kind(kind: Any) -> str:
    names = {int: "whole number", float: "number", str: "text", bool: "true/false", dict: "keys and values"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if option is type(None) else _kind(option) for option in arguments)
    if origin is Literal:
        return ", ".join(f"`{option}`" for option in arguments)
    if origin is tuple:
        count = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        return f"list{count}: {_kind(arguments[0])}"
    return names[origin or kind]


def _limits(item: Field[Any]) -> str:
    minimum, maximum = item.metadata["minimum"], item.metadata["maximum"]
    if maximum is not None:
        return f", {minimum} to {maximum}"
    return "" if minimum is None else f", at least {minimum}"


def _as_yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return str(value)


def _loss_section() -> Iterator[str]:
    yield "## Terms of the loss\n"
    yield "Each item of `loss` has a `name` and a `weight` (default 1.0), and the settings of its term.\n"
    yield "| name | settings | needs | meaning |"
    yield "|---|---|---|---|"
    for name, spec in TERMS.items():
        settings = "; ".join(
            f"`{key}`: {rule.meaning} ({'required' if rule.default is None else f'default {rule.default:g}'})"
            for key, rule in spec.keys.items()
        )
        patch = f"patches of at least {spec.minimum_patch}" if spec.minimum_patch > 1 else ""
        needs = ", ".join(need for need in ("`model.gate: true`" if spec.needs_gate else "", patch) if need)
        yield f"| `{name}` | {settings} | {needs} | {spec.summary} |"
    yield ""
