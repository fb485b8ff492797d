"""The description of the terms: refusals with the key's path, defaults, needs; and no paddle in it."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys

import pytest

from losses import LOSSES, TERMS, data_ranges, minimum_patch, needs_gate, normalise_terms
from losses.settings import Key


def test_defaults_are_filled_in_and_the_input_stays_as_it_was():
    terms = [{"name": "charbonnier"}, {"name": "ms_ssim", "weight": 2, "data_range": 1}, {"name": "fill"}]
    assert normalise_terms(terms) == [
        {"name": "charbonnier", "weight": 1.0, "eps": 1e-3},
        {"name": "ms_ssim", "weight": 2.0, "data_range": 1.0},
        {"name": "fill", "weight": 1.0, "radius": 4},
    ]
    assert terms[0] == {"name": "charbonnier"}


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], r"^loss: empty; at least one term"),
        ({"name": "l1"}, r"^loss: expected a list"),
        ("l1", r"^loss: expected a list"),
        (["l1"], r"^loss\.0: expected a mapping"),
        ([{"name": "l2"}], r"^loss\.0\.name: 'l2' is no loss; there are l1, charbonnier"),
        ([{"weight": 1.0}], r"^loss\.0\.name: None is no loss"),
        ([{"name": ["l1"]}], r"^loss\.0\.name: \['l1'\] is no loss"),
        ([{"name": "l1"}, {"name": "l1", "eps": 1e-3}], r"^loss\.1\.eps: no such key of 'l1'; it takes name, weight"),
        ([{"name": "ms_ssim"}], r"^loss\.0\.data_range: 'ms_ssim' needs it"),
        ([{"name": "psnr"}], r"^loss\.0\.data_range: 'psnr' needs it"),
        ([{"name": "l1", "weight": "1e-3"}], r"^loss\.0\.weight: '1e-3' is text.*1\.0e-3"),
        ([{"name": "l1", "weight": True}], r"^loss\.0\.weight: True is not a number"),
        ([{"name": "l1", "weight": None}], r"^loss\.0\.weight: None is not a number"),
        ([{"name": "l1", "weight": -1}], r"^loss\.0\.weight: -1 must be finite and at least 0"),
        ([{"name": "l1", "weight": math.inf}], r"^loss\.0\.weight: inf must be finite"),
        ([{"name": "l1", "weight": math.nan}], r"^loss\.0\.weight: nan must be finite"),
        ([{"name": "charbonnier", "eps": 0}], r"^loss\.0\.eps: 0 must be finite and greater than 0"),
        ([{"name": "fill", "radius": 2.5}], r"^loss\.0\.radius: 2\.5 is not a whole number"),
        ([{"name": "fill", "radius": -1}], r"^loss\.0\.radius: -1 must be finite and at least 0"),
        ([{"name": "l1"}, {"name": "l1"}], r"^loss\.1\.name: 'l1' is listed twice"),
        ([{"name": "l1", "weight": 0}], r"^loss: every weight is 0"),
    ],
)
def test_refusals_name_the_path(terms, message):
    with pytest.raises(ValueError, match=message):
        normalise_terms(terms)


def test_needs():
    plain = [{"name": "l1"}, {"name": "charbonnier"}, {"name": "psnr", "data_range": 1.0}]
    gated = [{"name": "mask_bce"}, {"name": "mask_dice"}, {"name": "fill"}]
    assert needs_gate(plain) == []
    assert needs_gate(plain + gated) == ["mask_bce", "mask_dice", "fill"]
    assert minimum_patch(plain + gated) == 1
    assert minimum_patch([*plain, {"name": "ms_ssim", "data_range": 1.0}]) == 161
    assert data_ranges([*plain, {"name": "ms_ssim", "data_range": 255.0}]) == {"psnr": 1.0, "ms_ssim": 255.0}


def test_specs_and_classes_agree():
    assert list(LOSSES) == list(TERMS)
    for name, spec in TERMS.items():
        assert tuple(inspect.signature(LOSSES[name].forward).parameters)[1:] == spec.inputs
        own_init = vars(LOSSES[name]).get("__init__")
        parameters = dict(inspect.signature(own_init).parameters) if own_init else {}
        parameters.pop("self", None)
        defaults = {key: parameter.default for key, parameter in parameters.items()}
        empty = inspect.Parameter.empty
        assert defaults == {key: empty if rule.default is None else rule.default for key, rule in spec.keys.items()}
        assert all(isinstance(rule, Key) and rule.meaning for rule in spec.keys.values())


def test_a_config_can_be_checked_without_paddle():
    code = (
        "import sys, losses, losses.settings, metrics\n"
        "losses.normalise_terms([{'name': 'l1'}])\n"
        "assert 'paddle' not in sys.modules\n"
        "losses.TotalLoss\n"
        "assert 'paddle' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import losses

    with pytest.raises(AttributeError, match="has no attribute 'perceptual'"):
        losses.perceptual  # noqa: B018
