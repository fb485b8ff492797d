"""The terms of the training loss as data: names, keys, defaults and needs.

Nothing here imports paddle, so that a config can be checked without it; `losses.total` builds the losses.
A config lists terms, for example

    loss:
      - {name: charbonnier, weight: 1.0, eps: 0.001}
      - {name: ms_ssim, weight: 1.0, data_range: 1.0}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from metrics.ms_ssim import MINIMUM_SIDE


@dataclass(frozen=True)
class Key:
    """One key of a term, beside `name` and `weight`.

    Attributes:
        meaning: a sentence for people.
        default: None where the config must state it.
        whole: only whole numbers are meant.
        lowest: the smallest value allowed.
        above: the value must be greater than `lowest`, not equal to it.
    """

    meaning: str
    default: float | None = None
    whole: bool = False
    lowest: float = 0.0
    above: bool = True


@dataclass(frozen=True)
class TermSpec:
    """What one kind of term is called, takes and needs.

    Attributes:
        summary: a sentence for people.
        inputs: which of the training step's tensors it reads: result, clean, restored, mask_logit, mask.
        keys: its keys beside `name` and `weight`.
        minimum_patch: the smallest side of a patch, in pixels, on which it is defined.
    """

    summary: str
    inputs: tuple[str, ...]
    keys: Mapping[str, Key] = field(default_factory=lambda: MappingProxyType({}))
    minimum_patch: int = 1

    @property
    def needs_gate(self) -> bool:
        """Whether it reads what only a network with `gate: true` gives."""
        return bool({"restored", "mask_logit"} & set(self.inputs))


_DATA_RANGE = Key("The value of white in the tensors that are compared: 1.0 for values in [0, 1].")

TERMS: Mapping[str, TermSpec] = MappingProxyType(
    {
        "l1": TermSpec("Mean absolute error.", ("result", "clean")),
        "charbonnier": TermSpec(
            "Mean of sqrt(error^2 + eps^2): L1 with a round bottom.",
            ("result", "clean"),
            {"eps": Key("Errors well under it count squared, others as they are.", 1e-3)},
        ),
        "ms_ssim": TermSpec(
            "1 - MS-SSIM.", ("result", "clean"), {"data_range": _DATA_RANGE}, minimum_patch=MINIMUM_SIDE
        ),
        "psnr": TermSpec(
            "Minus the PSNR in dB, the mean over the patches.", ("result", "clean"), {"data_range": _DATA_RANGE}
        ),
        "mask_bce": TermSpec("Binary cross-entropy of the predicted mask.", ("mask_logit", "mask")),
        "mask_dice": TermSpec(
            "1 - Dice overlap of the predicted mask: counts a small occluder as much as a large one.",
            ("mask_logit", "mask"),
        ),
        "fill": TermSpec(
            "Mean absolute error of the ungated restored picture inside the widened mask.",
            ("restored", "clean", "mask"),
            {"radius": Key("By how many pixels the mask is widened on every side.", 4, whole=True, above=False)},
        ),
    }
)


def normalise_terms(terms: Sequence[Mapping[str, Any]], path: str = "loss") -> list[dict[str, Any]]:
    """Checks a list of terms and fills in the defaults.

    Args:
        terms: one mapping per term: `name`, optionally `weight` (default 1.0; 0 only reports the value), and the keys
            of its `TermSpec`.
        path: where the list stands in the config, for messages.

    Returns:
        New dictionaries with name, weight and every key.

    Raises:
        ValueError: names the key's path, what was found and what is expected.
    """
    if not isinstance(terms, Sequence) or isinstance(terms, str):
        raise ValueError(f"{path}: expected a list of terms such as {{name: l1, weight: 1.0}}, got {terms!r}")
    if not terms:
        raise ValueError(f"{path}: empty; at least one term is needed, such as {{name: l1, weight: 1.0}}")
    complete = [_normalise_term(term, f"{path}.{index}") for index, term in enumerate(terms)]
    names = [term["name"] for term in complete]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{path}.{index}.name: {name!r} is listed twice; give one term the sum of the weights")
    if not any(term["weight"] for term in complete):
        raise ValueError(f"{path}: every weight is 0, so there is nothing to train on")
    return complete


def _normalise_term(term: Mapping[str, Any], path: str) -> dict[str, Any]:
    if not isinstance(term, Mapping):
        raise ValueError(f"{path}: expected a mapping such as {{name: l1, weight: 1.0}}, got {term!r}")
    name = term.get("name")
    if not isinstance(name, str) or name not in TERMS:
        raise ValueError(f"{path}.name: {name!r} is no loss; there are {', '.join(TERMS)}")
    spec = TERMS[name]
    allowed = ("name", "weight", *spec.keys)
    for key in term:
        if key not in allowed:
            raise ValueError(f"{path}.{key}: no such key of {name!r}; it takes {', '.join(allowed)}")
    weight = Key("How much the term counts in the sum.", 1.0, above=False)
    complete = {"name": name, "weight": _number(term.get("weight", weight.default), weight, f"{path}.weight")}
    for key, rule in spec.keys.items():
        if key not in term and rule.default is None:
            raise ValueError(f"{path}.{key}: {name!r} needs it. {rule.meaning}")
        complete[key] = _number(term.get(key, rule.default), rule, f"{path}.{key}")
    return complete


def _number(value: Any, rule: Key, path: str) -> float | int:
    kind = "a whole number" if rule.whole else "a number"
    if isinstance(value, str):
        raise ValueError(f"{path}: {value!r} is text, expected {kind} (YAML takes 1e-3 for text; write 1.0e-3)")
    if isinstance(value, bool) or not isinstance(value, int if rule.whole else (int, float)):
        raise ValueError(f"{path}: {value!r} is not {kind}")
    if not math.isfinite(value) or value < rule.lowest or (rule.above and value == rule.lowest):
        bound = "greater than" if rule.above else "at least"
        raise ValueError(f"{path}: {value!r} must be finite and {bound} {rule.lowest:g}")
    return value if rule.whole else float(value)


def needs_gate(terms: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the terms that only a network with `gate: true` can serve; empty when there are none."""
    return [term["name"] for term in terms if TERMS[term["name"]].needs_gate]


def minimum_patch(terms: Sequence[Mapping[str, Any]]) -> int:
    """The smallest side of a patch, in pixels, on which every term is defined (161 with MS-SSIM, otherwise 1)."""
    return max(TERMS[term["name"]].minimum_patch for term in terms)


def data_ranges(terms: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The stated value range of each term that has one, by the term's name; all must equal the data's range."""
    return {term["name"]: term["data_range"] for term in terms if "data_range" in TERMS[term["name"]].keys}
