"""From a YAML file with `_base_` files and `-o` overrides to a checked `Config`, and back to YAML."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from configs.schema import RESTORMER_PRESETS, Config, ConfigError, ModelConfig, describe, join, parse_dataclass
from utils.files import looked_for, printable

BASE_KEY = "_base_"
_SETTINGS = {BASE_KEY, *(setting.name for setting in fields(Config))}
_LARGEST = 100_000


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 2e-4 as a number (YAML 1.1 takes it for text), and refuses keys that are no text or stand
    twice, and aliases that hold themselves or blow a small file up.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.root: yaml.Node | None = None
        self.sizes: dict[yaml.Node, int] = {}  # how many values stand below a node, aliases written out

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event, fault = self.peek_event(), ""
        self.root = self.root or parent
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            fault = "" if node in self.sizes else "an alias stands inside what it names"
        else:
            if event.anchor and parent is self.root and getattr(index, "value", "x") not in _SETTINGS:
                # Held for aliases, whatever it is called.
                index.value = f"x-{index.value}"
            pairs = node.value if node.id == "mapping" else []
            below = [value for _, value in pairs] if pairs else node.value if node.id == "sequence" else []
            keys = Counter(key.value if key.id == "scalar" else None for key, _ in pairs)
            self.sizes[node] = 1 + sum(self.sizes[value] for value in below)
            if None in keys:
                fault = "a key has to be a plain text, no list and no keys"
            elif len(keys) < len(pairs):
                fault = f"key {describe(keys.most_common(1)[0][0])} stands twice"
            elif self.sizes[node] > _LARGEST:
                fault = f"more than {_LARGEST} values, aliases written out"
        if fault:
            raise yaml.composer.ComposerError(None, None, fault, event.start_mark)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Reads a config file, its bases, and overrides such as `train.stages.0.batch=2`. FileNotFoundError for the file or
    a base; ConfigError names the key, and the override that gave it, else the file with all of them.
    """
    given = {f"{text.partition('=')[0].strip()}.": f"-o {printable(text)[:80]}" for text in overrides}
    tree = override(_read_tree(Path(path), ()), overrides, "-o")
    try:
        return parse_config(tree)
    except ConfigError as error:
        key = f"{str(error).partition(':')[0]}."
        blamed = [words for name, words in given.items() if key.startswith(name) or name.startswith(key)]
        together = f"{os.fspath(path)}{' with ' if given else ''}{' '.join(given.values())}"
        raise ConfigError(f"{blamed[-1] if blamed else together}: {error}") from error


def override(tree: dict[str, Any], overrides: Iterable[str], option: str) -> dict[str, Any]:
    """A copy of nested dictionaries with single values replaced; ConfigError names the `option` that cannot do it."""
    for text in overrides:
        name, separator, value = text.partition("=")
        keys = name.strip().split(".")
        try:
            if not separator or not all(keys):
                raise ConfigError("expected key=value, such as train.stages.0.batch=2")
            tree = _replace(tree, keys, _parse_yaml(value))
        except ConfigError as error:
            raise ConfigError(f"{option} {printable(text)[:80]}: {error}") from error
    return tree


def parse_config(tree: dict[str, Any]) -> Config:
    """Makes a checked `Config` from nested dictionaries; `ConfigError` names the key."""
    config = parse_dataclass(Config, tree)
    for fault in _faults(config):
        raise ConfigError(fault)
    return config


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, every value written out; `load_config` reads it back to the same config."""
    return yaml.safe_dump(asdict(config), default_flow_style=None, sort_keys=False, allow_unicode=True, width=120)


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark, words = getattr(error, "problem_mark", None), vars(error)
        place = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"not valid YAML: {place}{printable(words.get('problem') or words['reason'])}") from error
    except RecursionError as error:
        raise ConfigError("not valid YAML: lists or keys within one another, too deep") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # What PyYAML makes of a value is Python's: a date in month 13, a number of 5000 digits, `!!bool maybe`.
        why = printable(error).partition(";")[0]
        raise ConfigError(f"not valid YAML: a value that is none of its kind ({why})") from error


def _read_tree(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """A YAML file merged over its bases; `children` are the files that led here, for cycles and messages."""
    here = path.resolve()
    if here in children:
        chain = " -> ".join(map(str, (*children, here)))
        raise ConfigError(f"{path}: {BASE_KEY} leads back to a file that is being read: {chain}")
    if not path.is_file():
        wanted_by = f" (the {BASE_KEY} of {children[-1]})" if children else ""
        raise FileNotFoundError(f"{path}: no such config file{wanted_by or looked_for(path)}")
    try:
        tree = _parse_yaml(path.read_bytes().decode("utf-8-sig")) or {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values, got {describe(tree)}")
    tree = {key: value for key, value in tree.items() if not str(key).startswith("x-")}  # They hold values for aliases.
    bases = tree.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) and base == printable(base) for base in bases):
        raise ConfigError(f"{path}: {BASE_KEY}: expected a file name or a list of them, got {describe(bases)}")
    return reduce(_merge, [*(_read_tree(path.parent / base, (*children, here)) for base in bases), tree])


def _merge(below: Any, above: Any) -> Any:
    """`above` over `below`: keys and values are merged level by level, anything else, lists too, is replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}


def _replace(node: Any, keys: list[str], value: Any, path: str = "") -> Any:
    """A copy of `node` with another value below it; whole numbers among the keys count the items of a list."""
    if not keys:
        return value
    (key, *rest), here = keys, join(path, keys[0])
    if node is None or isinstance(node, dict):
        return {**(node or {}), key: _replace((node or {}).get(key), rest, value, here)}
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise ConfigError(f"{here}: {path} is a list of {len(node)}; its items are 0 .. {len(node) - 1}")
        index = int(key)
        return [*node[:index], _replace(node[index], rest, value, here), *node[index + 1 :]]
    raise ConfigError(f"{here}: {path} is {describe(node)} and has no keys below it")


def _faults(config: Config) -> Iterator[str]:
    """What could not train, or would silently train something else than the config says; only the first one counts."""
    model, data, train, schedule, predict = config.model, config.data, config.train, config.schedule, config.predict
    stages, finds, highest = train.stages, model.network == "locator", config.optimizer.learning_rate
    if model.network == "restormer":
        if model.preset not in RESTORMER_PRESETS:
            yield f"model.preset: {model.preset} is a NAFNet's; a Restormer has {', '.join(RESTORMER_PRESETS)}"
        for key, value in vars(ModelConfig()).items():
            if key not in ("network", "preset") and getattr(model, key) != value:
                yield f"model.{key}: is for a NAFNet; a Restormer is its preset's, and restores whole pictures"
        if predict.tlc_ratio:
            yield "predict.tlc_ratio: a Restormer has no channel means that TLC could make local ones; set it to 0"
    else:
        if model.preset in RESTORMER_PRESETS:
            yield f"model.preset: {model.preset} is a Restormer's; set model.network: restormer, or take a NAFNet's"
        down, up = (len(model.arguments()[f"{way}_blocks"]) for way in ("encoder", "decoder"))
        if down != up:
            yield f"model.decoder_blocks: {up} levels up, but {down} down (model.encoder_blocks, preset {model.preset})"
        if model.mask_input and (model.gate or finds or predict.fill != "network"):
            yield "model.mask_input: true needs model.network: nafnet, model.gate: false and predict.fill: network"
    if finds and (model.gate or predict.fill != "page"):
        yield "model.network: a locator paints nothing; set model.gate: false and predict.fill: page"
    if finds and (not data.whole or any(stage.patch % 32 for stage in stages)):
        yield "model.network: a locator sees whole photographs; set data.whole: true, patches to multiples of 32"
    if data.whole and not finds:
        yield "data.whole: true is for model.network: locator; a NAFNet learns from patches"

    total = sum(stage.iterations for stage in stages)
    if total != train.iterations:
        yield f"train.stages: their iterations add up to {total}, but train.iterations is {train.iterations}"
    for index, stage in enumerate(stages):
        if not data.whole and stage.patch > data.crop:
            yield (f"train.stages.{index}.patch: {stage.patch} is larger than the stored patches (data.crop: "
                   f"{data.crop}); prepare larger ones with `data_preparation.py --size {stage.patch}`")

    for index, term in enumerate(config.loss):
        key = f"loss.{index}.name: {term.name}"
        if term.name in [earlier.name for earlier in config.loss[:index]]:
            yield f"{key} is listed twice; give one term the sum of the weights"
        if finds and set(term.inputs) != {"mask_logit", "mask"}:
            yield f"{key} compares pictures, and a locator paints none; take mask_bce and mask_dice"
        told = model.mask_input and "restored" in term.inputs
        if not {"mask_logit", "restored"}.isdisjoint(term.inputs) and not (model.gate or finds or told):
            yield f"{key} needs the occlusion mask; set model.gate: true or remove the term"
        for number, stage in enumerate(stages):
            if stage.patch < term.minimum_patch:
                yield (f"train.stages.{number}.patch: {stage.patch} is too small for loss.{index} ({term.name}), which "
                       f"needs {term.minimum_patch}")
    counting = [term for term in config.loss if term.weight]
    if not counting:
        yield "loss: at least one term with a weight above 0 is needed, such as {name: l1, weight: 1.0}"
    if model.gate and not any("mask_logit" in term.inputs for term in counting):
        yield "model.gate: true, but no term of the loss teaches the mask; add mask_bce or mask_dice, or set false"

    borders = [0, *schedule.restarts, train.iterations]
    for index, restart in enumerate(schedule.restarts):
        if not borders[index] < restart < train.iterations:
            yield f"schedule.restarts.{index}: {restart} does not lie between {borders[index]} and {train.iterations}"
    if len(schedule.eta_min) not in (1, len(borders) - 1):
        yield f"schedule.eta_min: {len(schedule.eta_min)} values, expected 1 or those of {len(borders) - 1} periods"
    for index, lowest in enumerate(schedule.eta_min):
        if lowest > highest:
            yield f"schedule.eta_min.{index}: {lowest} is above optimizer.learning_rate {highest}"

    if config.validation.every and data.val_pages is None:
        yield "validation.every: there are no pages to validate on; give data.val_pages or set it to 0"
    # A network that learnt on halved photos sees everything twice as large at full size; the default says nothing.
    default = type(predict)().long_side
    own_size = predict.downscale == 1 and predict.long_side not in (0, default)
    if not data.whole and predict.downscale != data.downscale and not own_size:
        yield (f"predict.downscale: {predict.downscale}, but patches are shrunk by data.downscale {data.downscale}; "
               f"set both to the same, or predict.downscale: 1 and a predict.long_side other than {default}")
