"""Combinations that cannot work and files that are missing are refused by key, with what would be right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from configs.load import check_lists, load_config
from configs.parsing import ConfigError
from configs.schema import AnyTerm
from losses import LOSSES
from metrics.score import MINIMUM_SIDE

TINY, LOCATOR = "configs/smoke.yml", "configs/locator.yml"
PHASE1, PHASE2 = "configs/nafnet_phase1_l1.yml", "configs/nafnet_phase2_msssim.yml"


@pytest.mark.parametrize(
    ("path", "overrides", "message"),
    [
        (LOCATOR, ["loss=[{name: l1}]"], r"loss\.0\.name: l1 compares pictures"),
        (LOCATOR, ["data.whole=false"], r"model\.network: .* sees whole photographs"),
        (LOCATOR, ["predict.fill=network"], r"model\.network: .* paints nothing"),
        (LOCATOR, ["train.stages.0.patch=100"], "multiple of 32"),
        (TINY, ["model.encoder_blocks=[1]"], r"model\.decoder_blocks: 2 levels up, but 1 down"),
        (PHASE1, ["data.crop=512"], r"train\.stages\.5\.patch: 1024 is larger than .*data\.crop: 512"),
        (PHASE1, ["train.stages=[]"], r"train\.stages: empty"),
        (PHASE1, ["train.iterations=599999"], r"train\.stages: .* add up to 600000, but train\.iterations is 599999"),
        (PHASE2, ["train.stages.0.patch=160"], r"train\.stages\.0\.patch: 160 is too small for loss\.1 .* 161"),
        # The fault of the original: MS-SSIM on [0, 1] with the constants of 255. There is no such setting.
        (PHASE2, ["loss=[{name: ms_ssim, data_range: 255}]"], r"loss\.0\.data_range: unknown key"),
        (PHASE1, ["data.value_range=255"], r"data\.value_range: unknown key"),
        (PHASE1, ["loss=[]"], r"loss: at least one term"),
        (PHASE1, ["loss=[{name: l1, weight: 0}]"], r"loss: at least one term with a weight above 0"),
        (PHASE1, ["loss={name: l1}"], r"loss: expected a list"),
        (PHASE1, ["loss=[l1]"], r"loss\.0: expected keys and values, got 'l1'"),
        (PHASE1, ["loss=[{weight: 1}]"], r"loss\.0\.name: expected one of l1, charbonnier, .*, got null"),
        (PHASE1, ["loss=[{name: [l1]}]"], r"loss\.0\.name: expected one of"),
        (PHASE1, ["loss=[{name: l2, weight: 1}]"], r"loss\.0\.name: expected one of .*, got 'l2'"),
        (PHASE1, ["loss=[{name: l1}, {name: l1}]"], r"loss\.1\.name: l1 is listed twice"),
        (PHASE1, ["loss=[{name: l1, weight: 1, eps: 1}]"], r"loss\.0\.eps: unknown key"),
        (PHASE1, ["loss.0.weight=true"], r"loss\.0\.weight: expected a number, got True"),
        (PHASE1, ["loss.0.weight=-1"], r"loss\.0\.weight: -1 is too small"),
        (PHASE1, ["loss=[{name: charbonnier, eps: 0}]"], r"loss\.0\.eps: 0 is too small"),
        (TINY, ["loss.1.radius=2.5"], r"loss\.1\.radius: expected a whole number"),
        (PHASE1, ["loss=[{name: mask_bce, weight: 1}]"], r"loss\.0\.name: mask_bce needs .*model\.gate: true"),
        (PHASE1, ["model.gate=true"], r"model\.gate: true, but no term .* add mask_bce or mask_dice"),
        (TINY, ["loss=[{name: l1}, {name: fill}, {name: mask_bce, weight: 0}]"], r"model\.gate: true, but no term"),
        (PHASE1, ["schedule.restarts=[416000, 184000]"], r"schedule\.restarts\.1: 184000 does not come after 416000"),
        (PHASE1, ["schedule.restarts=[184000, 600000]"], r"schedule\.restarts\.1: 600000 is not inside"),
        (PHASE1, ["schedule.eta_min=[1e-5, 1e-6]"], r"schedule\.eta_min: 2 values, .* 3 periods"),
        (PHASE1, ["schedule.eta_min=[1e-3]"], r"schedule\.eta_min\.0: 0\.001 is above"),
        (PHASE1, ["schedule.warmup=200000"], r"schedule\.warmup: 200000 is longer than the first period"),
        (PHASE1, ["data.paste.printed_photos=0.5"], r"data\.paste\.printed_photos: has no effect"),
        (PHASE1, ["data.val_pages=null"], r"validation\.every: there are no pages"),
        (PHASE1, ["predict.tlc_ratio=0.001"], r"predict\.tlc_ratio: .*smaller than a pixel"),
        (PHASE1, ["predict.downscale=1"], r"predict\.downscale: 1, but .*data\.downscale 2"),
        (PHASE1, ["predict.downscale=3", "predict.long_side=1024"], r"predict\.downscale: 3, but .*data\.downscale 2"),
        (PHASE1, ["data.downscale=1"], r"predict\.downscale: 2, but .*data\.downscale 1"),
    ],
)
def test_impossible_combinations_are_refused(path: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(path, overrides)


def test_what_is_just_possible_is_accepted() -> None:
    alone = load_config(PHASE1, ["predict.downscale=1", "predict.long_side=1024"]).predict
    assert (alone.downscale, alone.long_side) == (1, 1024)
    assert load_config(PHASE1, ["predict.long_side=1024"]).predict.downscale == 2
    assert load_config(PHASE2, ["train.stages.0.patch=161"]).train.stages[0].patch == 161
    for name in ("mask_bce", "mask_dice"):
        assert load_config(PHASE1, [f"loss=[{{name: {name}}}]", "model.gate=true"]).model.arguments()["gate"]


def test_the_schema_s_terms_are_the_losses() -> None:
    terms = {term.name: term for term in get_args(AnyTerm)}
    assert list(terms) == list(LOSSES)
    assert terms["ms_ssim"].minimum_patch == MINIMUM_SIDE


def test_configs_are_read_without_paddle() -> None:
    code = f"import sys, configs.load as c; c.load_config({PHASE2!r}); sys.exit('paddle' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("key", "remedy"), [("data.val_pages", "run data_preparation.py first"), ("data.train_list", "generate_meta_info")]
)
def test_a_missing_list_is_named_with_its_key_and_its_script(tmp_path: Path, key: str, remedy: str) -> None:
    overrides = [f"{name}={tmp_path / 'list.txt'}" for name in ("data.train_list", "data.val_pages")]
    (tmp_path / "list.txt").write_text("a b c\n")
    check_lists(load_config(TINY, overrides))
    missing = [*overrides, f"{key}={tmp_path / 'no.txt'}"]
    with pytest.raises(ConfigError, match=rf"^{key}: .*no\.txt does not exist; .*{remedy}"):
        check_lists(load_config(TINY, missing))
    with pytest.raises(ConfigError, match=rf"^{key}: .* is a folder"):
        check_lists(load_config(TINY, [*overrides, f"{key}={tmp_path}"]))
    if key == "data.val_pages":
        check_lists(load_config(TINY, [*missing, "validation.every=0"]))
