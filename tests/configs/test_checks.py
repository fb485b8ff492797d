from __future__ import annotations

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from configs.load import load_config
from configs.parsing import ConfigError
from configs.schema import ModelConfig
from models.presets import PRESETS

TINY = "configs/smoke.yml"
PHASE1, PHASE2 = "configs/nafnet_phase1_l1.yml", "configs/nafnet_phase2_msssim.yml"
MS_SSIM = "loss=[{name: ms_ssim, weight: 1.0, data_range: 255}]"


@pytest.mark.parametrize(
    ("path", "overrides", "message"),
    [
        (TINY, ["model.encoder_blocks=[1]"], r"model\.decoder_blocks: 2 levels up, but 1 down"),
        (PHASE1, ["data.crop=512"], r"train\.stages\.5\.patch: 1024 is larger than .*data\.crop: 512"),
        (PHASE1, ["train.stages=[]"], r"train\.stages: empty"),
        (PHASE1, ["train.iterations=599999"], r"train\.stages: .* add up to 600000, but train\.iterations is 599999"),
        (PHASE2, ["train.stages.0.patch=160"], r"train\.stages\.0\.patch: 160 is too small for loss\.1 .* 161"),
        (PHASE2, [MS_SSIM], r"loss\.0\.data_range: 255\.0 does not match data\.value_range 1\.0"),
        (PHASE1, ["data.value_range=255"], r"data\.value_range: 255"),
        (PHASE1, ["loss=[]"], r"loss: empty; at least one term"),
        (PHASE1, ["loss=[{name: l2, weight: 1}]"], r"loss\.0\.name: 'l2'"),
        (PHASE1, ["loss=[{name: l1, weight: 1, epsilon: 1}]"], r"loss\.0\.epsilon: no such key"),
        (PHASE1, ["loss.0.weight=true"], r"loss\.0\.weight: True"),
        (PHASE1, ["loss=[{name: mask_bce, weight: 1}]"], r"loss\.0\.name: mask_bce needs .*model\.gate: true"),
        (PHASE1, ["model.gate=true"], r"model\.gate: true, but no term .* add mask_bce or mask_dice"),
        (TINY, ["loss=[{name: l1}, {name: fill}, {name: mask_bce, weight: 0}]"], r"model\.gate: true, but no term"),
        (PHASE1, ["schedule.restarts=[416000, 184000]"], r"schedule\.restarts\.1: 184000 does not come after 416000"),
        (PHASE1, ["schedule.restarts=[184000, 600000]"], r"schedule\.restarts\.1: 600000 is not inside"),
        (PHASE1, ["schedule.eta_min=[1e-5, 1e-6]"], r"schedule\.eta_min: 2 values, .* 3 periods"),
        (PHASE1, ["schedule.eta_min=[1e-3]"], r"schedule\.eta_min\.0: 0\.001 is above"),
        (PHASE1, ["schedule.warmup=200000"], r"schedule\.warmup: 200000 is longer than the first period"),
        (PHASE1, ["model.decoder_blocks=[1]"], r"model\.decoder_blocks: 1 levels up, but 4 down"),
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


def test_a_long_side_alone_or_beside_the_same_downscale_is_accepted() -> None:
    alone = load_config(PHASE1, ["predict.downscale=1", "predict.long_side=1024"]).predict
    assert (alone.downscale, alone.long_side) == (1, 1024)
    assert load_config(PHASE1, ["predict.long_side=1024"]).predict.downscale == 2


def test_the_smallest_patch_of_ms_ssim_is_accepted() -> None:
    assert load_config(PHASE2, ["train.stages.0.patch=161"]).train.stages[0].patch == 161


@pytest.mark.parametrize("name", ["mask_bce", "mask_dice"])
def test_mask_losses_are_accepted_with_a_gate(name: str) -> None:
    config = load_config(PHASE1, [f"loss=[{{name: {name}, weight: 1.0}}]", "model.gate=true"])
    assert config.model.overrides() == {"gate": True}


def test_the_schema_names_every_preset() -> None:
    names = get_args(get_type_hints(ModelConfig)["preset"])
    assert set(names) == set(PRESETS)


def test_configs_are_read_without_paddle() -> None:
    code = f"import sys, configs.load as c; c.load_config({PHASE2!r}); sys.exit('paddle' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
